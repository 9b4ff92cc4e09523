//! `phantasia recipe`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Subcommand;
use clap::builder::{PossibleValue, PossibleValuesParser};
use phantasia::proofread::proofread;
use phantasia::recipe::{PartialRecipe, Recipe, RecipeError};
use phantasia::run::video;

use super::console::{USAGE, eprint_diagnostics, eprint_line, print_line, warn_all};

macro_rules! start {
    ($kind:literal, $help:literal) => {
        (
            $kind,
            $help,
            include_str!(concat!("recipe/", $kind, ".yaml")),
        )
    };
}

/// Recipes to start from: the kind of the generator, its help, and the recipe.
const STARTS: [(&str, &str, &str); 8] = [
    start!("pyramid", "An image pyramid"),
    start!("diffusion", "A guided diffusion model"),
    start!(
        "noise",
        "The noise from which a one-step diffusion model makes a picture"
    ),
    start!("vqgan", "The latents of a VQGAN"),
    start!("latent", "The latents of an autoencoder"),
    start!("cellular", "A neural cellular automaton"),
    start!("pixels", "Pixels, of any colour or of a palette's"),
    start!("fft", "The picture's spectrum"),
];

/// Commands on recipes.
#[derive(Debug, Subcommand)]
pub enum RecipeCommand {
    /// Report all errors in recipes
    Check {
        /// The recipes
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of recipes, for editors
    Schema,
    /// Print a commented recipe to start from
    New {
        /// The kind of its generator
        #[arg(value_parser = kinds())]
        kind: String,
    },
}

fn kinds() -> PossibleValuesParser {
    PossibleValuesParser::new(STARTS.map(|(kind, help, _)| PossibleValue::new(kind).help(help)))
}

/// Checks or describes recipes, or starts one.
pub fn run(command: &RecipeCommand) -> Result<ExitCode> {
    match command {
        RecipeCommand::Check { files } => return check(files),
        RecipeCommand::Schema => print_line(serde_json::to_string_pretty(&Recipe::schema())?)?,
        RecipeCommand::New { kind } => {
            let start = STARTS.iter().find(|(name, ..)| name == kind);
            print_line(start.context("unknown kind")?.2.trim_end())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn check(files: &[PathBuf]) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    let mut has_errors = false;
    for file in files {
        match read(file).map(|recipe| recipe.output.video.map_or(Ok(()), video::available)) {
            Ok(Ok(())) => print_line(format_args!("{}: ok", file.display()))?,
            // the recipe is valid, but this machine lacks what it needs
            Ok(Err(error)) => {
                eprint_line(format_args!(
                    "error: {}: output.video: {error}",
                    file.display()
                ));
                if !has_errors {
                    code = ExitCode::FAILURE;
                }
            }
            Err(error) => {
                eprint_diagnostics(&error);
                has_errors = true;
                code = ExitCode::from(USAGE);
            }
        }
    }
    Ok(code)
}

/// Reads a recipe and its texts, and prints warnings about what is valid but may not be intended.
fn read(file: &Path) -> Result<Recipe, RecipeError> {
    let draft = PartialRecipe::load(file)?;
    // before errors, whose cause they may explain
    warn_all(draft.warnings());
    let recipe = draft.finish()?;
    warn_all(proofread(&draft, &recipe)?);
    Ok(recipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_recipes() {
        for (kind, _, text) in STARTS {
            Recipe::parse(text, "new.yaml", Path::new("")).expect(kind);
        }
    }
}
