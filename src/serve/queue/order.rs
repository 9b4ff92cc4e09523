//! What an order to the queue paints.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::Queue;
use crate::protocol::Order;
use crate::recipe::{PartialRecipe, Prompt};
use crate::run::{CHECKPOINT, RECIPE, run_name};
use crate::serve::access::{check_files, file_within};

impl Queue {
    /// What an order paints: the name of its run's folder, a title, and the complete recipe; none if a run is resumed.
    pub(super) fn read(&self, order: &Order) -> Result<(String, String, Option<String>)> {
        let partial = |text: &str| PartialRecipe::parse(text, "recipe", &self.dir);
        let (name, mut partial) = match (&order.prompt, &order.recipe, &order.again, &order.resume)
        {
            (Some(text), None, None, None) => {
                let prompts = [Prompt::new(text)];
                (
                    text.clone(),
                    PartialRecipe::of_prompts(&prompts, "the prompt"),
                )
            }
            (None, Some(text), None, None) => {
                let name = order.name.clone().unwrap_or_else(|| "render".to_owned());
                (name, partial(text)?)
            }
            (None, None, Some(run), None) => {
                let path = self.recipe_of(run)?;
                (run_name(&path), PartialRecipe::load(&path)?)
            }
            (None, None, None, Some(run)) => {
                self.recipe_of(run)?;
                if file_within(&self.dir, run, CHECKPOINT).is_none() {
                    bail!("{run} has no checkpoint to continue from");
                }
                let title = format!("{run}, continued");
                return Ok((run.clone(), title, None));
            }
            _ => bail!("give one of `prompt`, `recipe`, `again` and `resume`"),
        };
        for assignment in &order.set {
            partial.set(assignment)?;
        }
        if let Some(seed) = order.seed {
            partial.set(&format!("seed={seed}"))?;
        }
        if let Some(steps) = order.steps {
            partial.set(&format!("steps={steps}"))?;
        }
        let mut recipe = partial.finish()?;
        if order.steps.is_some() {
            recipe = recipe.without_stops(usize::MAX);
        }
        check_files(&recipe, &self.dir)?;
        let texts = recipe.prompts.iter().flat_map(Prompt::texts);
        let title = Vec::from_iter(texts).join(", ");
        Ok((name, title, Some(recipe.to_yaml()?)))
    }

    fn recipe_of(&self, run: &str) -> Result<PathBuf> {
        (file_within(&self.dir, run, RECIPE)).with_context(|| format!("there is no run `{run}`"))
    }
}
