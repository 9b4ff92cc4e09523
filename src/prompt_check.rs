//! Checks, before a render, how the CLIPs of a recipe read its texts.

use crate::clip::Library;
use crate::recipe::{PartialRecipe, Recipe, RecipeError};

/// Tokenizes all texts of a recipe, those of stages and of the timeline included, with the tokenizers of those of its CLIPs that are on
/// this machine. Returns a warning, with its location in the recipe, for each part of a text that is not read as written.
///
/// # Errors
/// When a CLIP can read no part of a text.
pub fn check_prompts(
    partial: &PartialRecipe,
    recipe: &Recipe,
    library: &Library,
) -> Result<Vec<String>, RecipeError> {
    let mut refused = vec![];
    let mut warnings = vec![];
    for (index, clip) in recipe.clip.iter().enumerate() {
        let name = &clip.model;
        let tokenizer = match library.tokenizer(name) {
            Ok(Some(tokenizer)) => tokenizer,
            Ok(None) => continue,
            Err(error) => {
                let message = format!("the texts could not be checked with `{name}`: {error:#}");
                warnings.push(partial.message_about(&format!("clip.{index}"), &message));
                continue;
            }
        };
        for (path, text) in recipe.texts() {
            match tokenizer.read_parts(name, text, clip.long_text) {
                Ok(read) => {
                    for message in read.unread.of_recipe(name, "the prompt") {
                        warnings.push(partial.message_about(&path, &message));
                    }
                }
                Err(error) => refused.push((path, error.to_string())),
            }
        }
    }
    if refused.is_empty() {
        Ok(warnings)
    } else {
        Err(partial.refusal(refused))
    }
}
