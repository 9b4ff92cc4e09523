//! The command line: parse, run, print the error once.

mod commands;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use phantasia::recipe::RecipeError;

use commands::console::{USAGE, UsageError, eprint_diagnostics, eprint_error};
use commands::{
    classify, compare, doctor, embed, evaluate, grow, models, recipe, render, rerank, resume,
    search, serve, shell, sweep,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// CLIP-guided generative art: write what you want to see, and the gradient paints it.
#[derive(Debug, Parser)]
#[command(name = "phantasia", version, propagate_version = true)]
struct Cli {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
enum Command {
    /// Paint a picture of a text, or from a recipe
    Render(render::RenderArgs),
    /// Compare recipes on the same prompts and seeds, judged by a CLIP that guided none of them
    #[command(
        after_help = compare::AFTER_HELP,
        mut_arg("set", |arg| arg.help("Change one value in every recipe, such as generator.lr=0.1 or prompts.0.weight=2; relative paths start from the working folder")),
        mut_arg("steps", |arg| arg.help("Optimiser steps of every picture; stops in the recipes' timelines are ignored")),
        mut_arg("size", |arg| arg.help("Width and height of every picture in pixels")),
    )]
    Compare(compare::CompareArgs),
    /// Paint one recipe with many values: every combination, on one machine or divided among many
    #[command(after_help = sweep::AFTER_HELP)]
    Sweep(sweep::SweepArgs),
    /// Resume a render, a tournament or a comparison that was stopped
    Resume(resume::ResumeArgs),
    /// Paint in a window in which the prompts can be edited
    #[command(mut_arg("preview", |arg| arg.help("Where the picture is shown while it is painted [default: window]")))]
    Live(render::RenderArgs),
    /// Paint in a page in the browser, with a queue and the runs of a folder
    Serve(serve::ServeArgs),
    /// Rank pictures by how well they fit prompts, best first
    Rerank(rerank::RerankArgs),
    /// Score how well each picture fits prompts, in the given order
    Score(rerank::ScoringArgs),
    /// Find which of several labels each picture fits best
    Classify(classify::ClassifyArgs),
    /// Measure how good, how fast and how large CLIPs are, on pictures whose labels are known
    Evaluate(evaluate::EvaluateArgs),
    /// Search a folder for pictures, by a text or by a picture
    Search(search::SearchArgs),
    /// Write the embeddings of pictures as Parquet, for other programs and for search --index
    Embed(embed::EmbedArgs),
    /// Grow a pattern from the rule of a cellular automaton that was rendered
    Grow(grow::GrowArgs),
    /// Check or describe recipes, or start one
    #[command(subcommand)]
    Recipe(recipe::RecipeCommand),
    /// List, locate and download the known models
    Models(models::ModelsArgs),
    /// Inspect this machine and paint a test picture
    Doctor(doctor::DoctorArgs),
    /// Print a script by which a shell completes commands and flags
    #[command(after_help = shell::COMPLETIONS_HELP)]
    Completions(shell::CompletionsArgs),
    /// Print the manual page
    Man(shell::ManArgs),
}

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|mut error| {
        search::explain(&mut error);
        error.exit()
    });
    let result = match cli.command {
        Command::Render(args) => render::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Live(args) => render::run_live(&args),
        Command::Resume(args) => resume::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Rerank(args) => rerank::run(&args),
        Command::Score(args) => rerank::run_score(&args),
        Command::Classify(args) => classify::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Search(args) => search::run(&args),
        Command::Embed(args) => embed::run(&args),
        Command::Grow(args) => grow::run(&args),
        Command::Recipe(command) => recipe::run(&command),
        Command::Models(args) => models::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => shell::completions(&args, Cli::command()),
        Command::Man(args) => shell::man(&args, Cli::command()),
    };
    result.unwrap_or_else(|error| {
        if let Some(error) = error.downcast_ref::<RecipeError>() {
            eprint_diagnostics(error);
            return ExitCode::from(USAGE);
        }
        eprint_error(&error);
        if error.is::<UsageError>() {
            ExitCode::from(USAGE)
        } else {
            ExitCode::FAILURE
        }
    })
}
