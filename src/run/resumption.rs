//! Resuming a run from its checkpoint, with the recipe that is in its folder now.

use anyhow::{Context, Result};
use candle_core::Device;

use super::Run;
use super::folder::RunFolder;
use super::names::RECIPE;
use crate::recipe::{Edit, OutputConfig, PartialRecipe, Recipe};
use crate::session::{SavedSession, SavedState, Session, SessionOptions};

/// A run to resume, whose checkpoint and recipe were read and match. No model is loaded yet.
pub struct Resumption {
    folder: RunFolder,
    recipe: Recipe,
    saved: SavedState,
    changes: Edit,
    device: Device,
}

impl Resumption {
    /// Reads the last checkpoint, or with `previous` the one before it, and the recipe. Stops up to the checkpoint's step are removed from
    /// the timeline. Changes made to the recipe since the checkpoint was written become an edit where possible: prompts and terms, unless
    /// a stage or an edit has replaced them, and the steps of a single generator. Edits that have not taken effect yet and `output`, apart from
    /// `output.pixel_size`, may be changed freely.
    ///
    /// # Errors
    /// When the recipe or the checkpoint cannot be read. If anything else in the recipe was changed, a
    /// [`RecipeError`](crate::recipe::RecipeError) that names it, because the picture so far was painted by another recipe.
    pub fn read(folder: RunFolder, previous: bool, device: &Device) -> Result<Self> {
        let partial = PartialRecipe::load(&folder.path().join(RECIPE))?;
        let now = partial.finish()?;
        let saved = folder.read_checkpoint(previous, device)?;
        let mut until = saved.session.step;
        if previous {
            // the stop at which the last checkpoint was written
            until = until.max(now.stops_at().unwrap_or(0));
        }
        let mut recipe = now.without_stops(until);
        let mut changes = Edit::default();
        if let Some(text) = &saved.recipe {
            let before = PartialRecipe::parse(text, "the recipe in the checkpoint", folder.path())?
                .unchecked()?
                .without_stops(until);
            let refused = reconcile(before, &mut recipe, &saved.session, &mut changes)?;
            if !refused.is_empty() {
                return Err(partial.refusal(refused).into());
            }
        }
        Ok(Self {
            folder,
            recipe,
            saved,
            changes,
            device: device.clone(),
        })
    }

    /// The recipe that painted the run so far, including edits that have not taken effect yet.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Prepares the next step. The changes made to the recipe since the checkpoint are returned with it, to be applied with
    /// [`Run::edit`]; they are empty if there are none. Metrics of later steps are removed, because those steps are made again.
    ///
    /// # Errors
    /// When a model cannot be loaded, the checkpoint does not fit the recipe, or the folder cannot be written to.
    pub fn into_run(mut self, options: &SessionOptions) -> Result<(Run, Edit)> {
        let session = Session::resume(&self.recipe, &self.device, options, self.saved)?;
        self.folder.cut_metrics(session.step())?;
        let mut run = Run::new(session, self.folder, &self.recipe)?;
        run.checkpoint_step = Some(run.session.step());
        Ok((run, self.changes))
    }
}

/// Restores a changed recipe to the one that painted the run so far, and moves what an edit can change into `changes`. Returns the other
/// changes, each with its path and the reason for refusing it.
fn reconcile(
    before: Recipe,
    now: &mut Recipe,
    saved: &SavedSession,
    changes: &mut Edit,
) -> Result<Vec<(String, String)>> {
    let mut refused = timeline_changes(&before.timeline, &now.timeline, saved);
    let mut refuse = |path: &str, why: String| refused.push((path.to_owned(), why));
    let replaced = "were replaced during the run, so that a change here has no effect";
    let edits = || before.timeline.iter().take(saved.edits);
    let stages = || before.generator.0.iter().take(saved.segment.stage + 1);
    if now.prompts != before.prompts {
        let in_stages = stages().any(|stage| stage.prompts.is_some());
        if in_stages || edits().any(|edit| edit.prompts.is_some()) {
            let how = "give the new prompts as `--prompt`, or change it back";
            refuse("prompts", format!("they {replaced}: {how}"));
        }
        changes.prompts = Some(std::mem::replace(&mut now.prompts, before.prompts.clone()));
    }
    if now.terms != before.terms {
        let in_stages = stages().any(|stage| stage.terms.is_some());
        if in_stages || edits().any(|edit| edit.terms.is_some()) {
            let how = "give the new terms by `--control -` (`set_terms`), or change it back";
            refuse("terms", format!("they {replaced}: {how}"));
        }
        changes.terms = Some(std::mem::replace(&mut now.terms, before.terms.clone()));
    }
    if now.steps != before.steps {
        let done = saved.step - saved.segment.origin;
        let is_as_begun = matches!(before.generator.0.as_slice(), [only] if only.steps.is_none())
            && saved.segment.steps == before.steps;
        if !is_as_begun {
            let why = "the number of steps was changed during the run, or it has several generators: give the new total as `--steps`, and \
                       change this back";
            refuse("steps", why.to_owned());
        } else if now.steps < done {
            let why = format!(
                "{} is fewer than the {done} that the run has made already",
                now.steps
            );
            refuse("steps", why);
        }
        changes.steps = Some(std::mem::replace(&mut now.steps, before.steps));
    }
    // the rest of `output` has no effect on the picture
    let output = OutputConfig {
        pixel_size: before.output.pixel_size,
        ..now.output.clone()
    };
    let comparable = Recipe {
        timeline: now.timeline.clone(),
        output,
        ..before
    };
    let differences = comparable.differences(now);
    for difference in differences.context("cannot compare the recipe with the checkpoint's")? {
        let why = format!(
            "it is {} here, and {} in the run's checkpoint, which the picture so far was painted with. Change it back, or start a new run of \
             this recipe with `phantasia render`",
            difference.now, difference.before
        );
        refuse(&difference.path, why);
    }
    Ok(refused)
}

/// Changes in the edits that had taken effect when the checkpoint was written. Later edits may be changed freely.
fn timeline_changes(before: &[Edit], now: &[Edit], saved: &SavedSession) -> Vec<(String, String)> {
    if now.len() < saved.edits {
        let why = format!(
            "{} edits had taken effect when the run's checkpoint was written, and {} are left: put them back",
            saved.edits,
            now.len()
        );
        return vec![("timeline".to_owned(), why)];
    }
    let mut refused = vec![];
    for (index, edit) in now.iter().enumerate() {
        if index < saved.edits {
            if before.get(index).is_some_and(|old| old != edit) {
                let why = "this edit had taken effect when the run's checkpoint was written, and was changed since: change it back";
                refused.push((format!("timeline.{index}"), why.to_owned()));
            }
        } else if edit.step < saved.step {
            let why = format!(
                "the run's checkpoint was written after step {}, so this edit comes too late: give it that step or a later one",
                saved.step
            );
            refused.push((format!("timeline.{index}.step"), why));
        }
    }
    refused
}
