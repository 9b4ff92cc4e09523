//! `phantasia recipe`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use phantasia::proofread::proofread;
use phantasia::recipe::{PartialRecipe, Recipe, RecipeError};
use phantasia::run::video;

use super::console::{note, problems, say, warn};
use crate::MISUSED;
use crate::cli::{RecipeCommand, RecipeKind};

const PYRAMID: &str = include_str!("recipe/pyramid.yaml");
const CELLULAR: &str = include_str!("recipe/cellular.yaml");
const PIXELS: &str = include_str!("recipe/pixels.yaml");
const FFT: &str = include_str!("recipe/fft.yaml");
const DIFFUSION: &str = include_str!("recipe/diffusion.yaml");
const NOISE: &str = include_str!("recipe/noise.yaml");
const VQGAN: &str = include_str!("recipe/vqgan.yaml");
const LATENT: &str = include_str!("recipe/latent.yaml");

/// Checks, describes or begins a recipe.
pub fn run(command: &RecipeCommand) -> Result<ExitCode> {
    match command {
        RecipeCommand::Check { files } => check(files),
        RecipeCommand::Schema => {
            say(serde_json::to_string_pretty(&Recipe::schema())?)?;
            Ok(ExitCode::SUCCESS)
        }
        RecipeCommand::New { kind } => {
            let text = match kind {
                RecipeKind::Pyramid => PYRAMID,
                RecipeKind::Diffusion => DIFFUSION,
                RecipeKind::Noise => NOISE,
                RecipeKind::Vqgan => VQGAN,
                RecipeKind::Latent => LATENT,
                RecipeKind::Cellular => CELLULAR,
                RecipeKind::Pixels => PIXELS,
                RecipeKind::Fft => FFT,
            };
            say(text.trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(files: &[PathBuf]) -> Result<ExitCode> {
    let (mut misused, mut lacking) = (false, false);
    for file in files {
        match read(file) {
            Ok(recipe) => match recipe.output.video.map_or(Ok(()), video::available) {
                Ok(()) => say(format_args!("{}: ok", file.display()))?,
                // the recipe is valid, but this machine lacks what it needs
                Err(error) => {
                    note(format_args!(
                        "error: {}: output.video: {error}",
                        file.display()
                    ));
                    lacking = true;
                }
            },
            Err(error) => {
                problems(&error);
                misused = true;
            }
        }
    }
    Ok(match (misused, lacking) {
        (true, _) => ExitCode::from(MISUSED),
        (false, true) => ExitCode::FAILURE,
        (false, false) => ExitCode::SUCCESS,
    })
}

/// Reads a recipe and its texts, and prints warnings about what is valid but may not be intended.
fn read(file: &Path) -> Result<Recipe, RecipeError> {
    let print = |warnings: Vec<String>| {
        for warning in warnings {
            warn(warning);
        }
    };
    let draft = PartialRecipe::load(file)?;
    // before errors, whose cause they may explain
    print(draft.warnings());
    let recipe = draft.finish()?;
    print(proofread(&draft, &recipe)?);
    Ok(recipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_begun_is_a_recipe() {
        for text in [
            PYRAMID, DIFFUSION, NOISE, VQGAN, LATENT, CELLULAR, PIXELS, FFT,
        ] {
            Recipe::parse(text, "new.yaml", Path::new("")).expect("a recipe");
        }
    }
}
