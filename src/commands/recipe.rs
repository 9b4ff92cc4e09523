//! `phantasia recipe`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use clap::builder::{PossibleValue, PossibleValuesParser};
use phantasia::clip::Library;
use phantasia::prompt_check::check_prompts;
use phantasia::recipe::{GeneratorConfig, PRESETS, Recipe, RecipeError};
use phantasia::run::video;
use phantasia_core::DiagnosticKind;

use super::console::{USAGE, eprint_diagnostics, eprint_line, print_line, warn_all};
use super::source::{self, INPUT};

/// Commands on recipes.
#[derive(Debug, Subcommand)]
pub enum RecipeCommand {
    /// Report all errors in recipes
    Check {
        /// The recipes; `-` is standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of recipes, for editors
    Schema,
    /// Print a commented recipe to start from
    New {
        /// The kind of its generator, or a preset
        #[arg(value_parser = kinds_and_presets())]
        kind: String,
    },
}

fn kinds_and_presets() -> PossibleValuesParser {
    let kinds = GeneratorConfig::KINDS.iter().copied();
    let presets = PRESETS.iter().map(|(name, _, about)| (*name, *about));
    PossibleValuesParser::from(
        (kinds.chain(presets))
            .map(|(name, about)| PossibleValue::new(name).help(about.trim_end_matches('.'))),
    )
}

/// The commented recipe of a preset.
fn preset(name: &str) -> Option<&'static str> {
    match name {
        "stack" => Some(include_str!("../../recipes/stack.yaml")),
        "ascent" => Some(include_str!("../../recipes/ascent.yaml")),
        _ => None,
    }
}

/// Checks or describes recipes, or starts one.
pub fn run(command: &RecipeCommand) -> Result<ExitCode> {
    match command {
        RecipeCommand::Check { files } => return check(files),
        RecipeCommand::Schema => print_line(serde_json::to_string_pretty(&Recipe::schema())?)?,
        RecipeCommand::New { kind } => {
            let config = GeneratorConfig::of_kind(kind).unwrap_or_default();
            let text = match preset(kind).or_else(|| config.settings().template()) {
                Some(template) => template.to_owned(),
                None => format!("prompts:\n  - a lighthouse\n\ngenerator:\n  kind: {kind}\n"),
            };
            print_line(text.trim_end())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn check(files: &[PathBuf]) -> Result<ExitCode> {
    let mut code = 0;
    for file in files {
        let name = file.display();
        match read(file).map(|recipe| recipe.output.video.map_or(Ok(()), video::available)) {
            Ok(Ok(())) => print_line(format_args!("{name}: ok"))?,
            // the recipe is valid, but this machine lacks what it needs
            Ok(Err(error)) => {
                eprint_line(format_args!("error: {name}: output.video: {error}"));
                code = code.max(1);
            }
            Err(error) => {
                eprint_diagnostics(&error);
                if looks_like_sweep(&error) {
                    eprint_line(format_args!(
                        "{name} looks like a sweep: `phantasia sweep {name} --dry-run` checks it"
                    ));
                }
                code = USAGE;
            }
        }
    }
    Ok(ExitCode::from(code))
}

/// Whether a file that is no recipe has the keys of a sweep.
fn looks_like_sweep(error: &RecipeError) -> bool {
    let is_of_sweep = |key: &str| ["recipe", "sweep", "zip"].contains(&key);
    (error.diagnostics.iter()).any(|diagnostic| {
        matches!(&diagnostic.kind, DiagnosticKind::UnknownKey { key, .. } if diagnostic.path.is_empty() && is_of_sweep(key))
    })
}

/// Reads a recipe and its texts, and prints warnings about what is valid but may not be intended.
fn read(file: &Path) -> Result<Recipe, RecipeError> {
    let partial = if file == Path::new(INPUT) {
        source::load_input()?
    } else {
        source::load_file(file)?
    };
    // before errors, whose cause they may explain
    warn_all(partial.warnings());
    let recipe = partial.finish()?;
    warn_all(partial.warnings_about(&recipe));
    warn_all(check_prompts(&partial, &recipe, &Library::default())?);
    Ok(recipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_begun_is_a_recipe() {
        let kinds = GeneratorConfig::KINDS.iter().map(|(kind, _)| (*kind, None));
        let presets = PRESETS.iter().map(|(name, kind, _)| (*kind, Some(*name)));
        for (kind, name) in kinds.chain(presets) {
            let config = GeneratorConfig::of_kind(kind).expect("a kind");
            let template = match name {
                Some(name) => preset(name),
                None => config.settings().template(),
            };
            let template = template.expect("a template");
            let recipe = Recipe::parse(template, "new.yaml", Path::new("")).expect("a recipe");
            let of_kind = &recipe.generator.0[0].config;
            assert_eq!(
                std::mem::discriminant(of_kind),
                std::mem::discriminant(&config)
            );
        }
    }
}
