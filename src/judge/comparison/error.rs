//! Why recipes cannot be compared.

use std::path::PathBuf;

use thiserror::Error;

use super::battery::PLACE;
use crate::models::{EmbeddedModel, is_embedded};
use crate::recipe::NamedFile;

/// Why recipes cannot be compared as asked.
#[derive(Debug, Error)]
pub enum ComparisonError {
    /// There are fewer than two recipes.
    #[error("a comparison needs at least two recipes, and {} given", if *.0 == 1 { "one is" } else { "none is" })]
    TooFew(usize),
    /// No CLIP judges.
    #[error(
        "a comparison needs a judge: name a CLIP that guides none of the recipes (`--judge MODEL`)"
    )]
    NoJudge,
    /// Two judges are the same model, or one is part of the other.
    #[error(
        "the judges `{first}` and `{second}` are one model, which would count twice: name each CLIP once"
    )]
    SameJudge {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// A judge takes part in guiding a recipe.
    #[error(
        "the judge `{judge}` takes part in guiding {} ({}) and would judge its own work: name a CLIP that guides none of the recipes{}",
        recipe.display(),
        listed(guides),
        advice(judge, guides)
    )]
    Guide {
        /// The judge.
        judge: String,
        /// The file of the recipe.
        recipe: PathBuf,
        /// Where the recipe names the model, and how.
        guides: Vec<NamedFile>,
    },
    /// A seed is given twice.
    #[error("the seed {0} is given twice")]
    SeedTwice(u64),
    /// A prompt has no place in a recipe.
    #[error("{}: {why}", recipe.display())]
    NoPlace {
        /// The file of the recipe.
        recipe: PathBuf,
        /// The rest of the sentence.
        why: String,
    },
    /// A recipe has a place for prompts, and none are given.
    #[error("{} has `{PLACE}` in its texts, and no prompts are given to take its place: `--prompts FILE` gives them", .0.display())]
    NoPrompts(PathBuf),
    /// There is no text to compare a recipe's pictures with.
    #[error("{} has no text of positive weight to compare its pictures with: `--prompts FILE` gives prompts", .0.display())]
    NoText(PathBuf),
    /// Recipes paint different texts.
    #[error(
        "the pictures of {} and {} cannot be compared with one text: theirs are \"{}\" and \"{}\"; `--prompts FILE` gives both the same prompts",
        first.0.display(),
        second.0.display(),
        first.1,
        second.1
    )]
    Texts {
        /// The file of a recipe, and its first text of positive weight.
        first: (PathBuf, String),
        /// Those of another.
        second: (PathBuf, String),
    },
}

/// Where models are named, and how.
fn listed(guides: &[NamedFile]) -> String {
    let guides = guides.iter();
    let guides = guides.map(|NamedFile { path, name, .. }| format!("`{path}: {name}`"));
    Vec::from_iter(guides).join(", ")
}

/// How the embedded CLIP can judge.
fn advice(judge: &str, guides: &[NamedFile]) -> String {
    if !is_embedded(judge) {
        return String::new();
    }
    let [transformer, resnet] =
        [EmbeddedModel::Transformer, EmbeddedModel::ResNet].map(EmbeddedModel::name);
    if guides.iter().all(|guide| guide.name == transformer) {
        return format!("; offline, judge with `{resnet}`");
    }
    let keys = match guides {
        [only] => format!("let `{}` be", only.path),
        _ => "let each of these be".to_owned(),
    };
    format!("; offline, {keys} `{transformer}`, and judge with `{resnet}`")
}
