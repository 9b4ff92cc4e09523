//! Recipes in a folder that must stay as they were when its work began, because pictures of different recipes cannot be compared.

use std::path::Path;

use anyhow::{Context, Result};

use crate::recipe::{PartialRecipe, Recipe};
use crate::run::RECIPE;

/// The recipe in a folder, which must still be `before`, the recipe when the work there began. `allow` copies into `before` what may have changed.
/// `restart` ends the sentence of an error and says how to begin anew.
///
/// # Errors
/// When it cannot be read, or was changed.
pub(super) fn unchanged_recipe(
    folder: &Path,
    before: &str,
    allow: impl FnOnce(&mut Recipe, &Recipe),
    restart: &str,
) -> Result<Recipe> {
    let partial = PartialRecipe::load(&folder.join(RECIPE))?;
    let now = partial.finish()?;
    let origin = "the recipe as it was";
    let mut before = PartialRecipe::parse(before, origin, folder)?.unchecked()?;
    allow(&mut before, &now);
    let differences = before.differences(&now);
    let differences = differences.context("cannot compare the recipe with what it was")?;
    let refused: Vec<_> = (differences.into_iter())
        .map(|difference| {
            let why = format!(
                "it is {} here, and was {} when {restart}",
                difference.now, difference.before
            );
            (difference.path, why)
        })
        .collect();
    if refused.is_empty() {
        Ok(now)
    } else {
        Err(partial.refusal(refused).into())
    }
}
