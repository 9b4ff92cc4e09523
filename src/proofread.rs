//! What the CLIPs of a recipe make of its texts, before anything is painted.

use crate::recipe::{Draft, Fault, Recipe, RecipeError};
use crate::weights;

/// Reads all texts of a recipe, also those of its later stages and of its timeline, with the tokenizers of its CLIPs, those that are on
/// this machine. Gives what of them is not read as it was written, each with its place.
///
/// # Errors
/// Where a CLIP can read nothing of a text.
pub fn proofread(draft: &Draft, recipe: &Recipe) -> Result<Vec<String>, RecipeError> {
    let mut problems = vec![];
    let mut warnings = vec![];
    for (index, clip) in recipe.clip.iter().enumerate() {
        let name = &clip.model;
        let tokenizer = match weights::tokenizer(name) {
            Ok(Some(tokenizer)) => tokenizer,
            Ok(None) => continue,
            Err(error) => {
                let words = format!("the texts were not read with `{name}`: {error:#}");
                warnings.push(draft.remark(&format!("clip.{index}"), &words));
                continue;
            }
        };
        for (path, text) in recipe.texts() {
            match tokenizer.read_text(name, text) {
                Ok(tokens) => {
                    let sentences = tokens.unread.of_model(name, "the prompt");
                    warnings.extend(sentences.iter().map(|words| draft.remark(&path, words)));
                }
                Err(error) => problems.push((path, Fault::Invalid(error.to_string()))),
            }
        }
    }
    if problems.is_empty() {
        Ok(warnings)
    } else {
        Err(draft.refuse(problems))
    }
}
