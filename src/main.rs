//! The command line: parse, run, print the error once.

mod cli;
mod commands;

use std::process::ExitCode;

use clap::Parser;
use phantasia::recipe::RecipeError;

use cli::{Cli, Command, PreviewChoice};
use commands::console::{Misuse, failure};
use commands::{classify, doctor, grow, models, recipe, render, rerank, resume, search};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bad usage or a bad recipe.
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Render(args) => render::run(&args, PreviewChoice::None),
        Command::Live(args) => render::run(&args, PreviewChoice::Window),
        Command::Resume(args) => resume::run(&args),
        Command::Rerank(args) => rerank::run(&args),
        Command::Score(args) => rerank::score(&args),
        Command::Classify(args) => classify::run(&args),
        Command::Search(args) => search::run(&args),
        Command::Grow(args) => grow::run(&args),
        Command::Recipe(command) => recipe::run(&command),
        Command::Models(args) => models::run(&args),
        Command::Doctor(args) => doctor::run(&args),
    };
    result.unwrap_or_else(|error| match error.downcast_ref::<RecipeError>() {
        Some(error) => {
            commands::console::problems(error);
            ExitCode::from(MISUSED)
        }
        None => {
            failure(&error);
            match error.is::<Misuse>() {
                true => ExitCode::from(MISUSED),
                false => ExitCode::FAILURE,
            }
        }
    })
}
