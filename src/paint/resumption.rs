//! How a run goes on: from its checkpoint, with its recipe as it stands in the folder now.

use anyhow::Result;
use candle_core::Device;

use super::Painter;
use crate::output::{RECIPE, RunFolder};
use crate::recipe::{Draft, Edit, Recipe};
use crate::session::{SavedSession, SavedState, Session, SessionOptions};

/// A run that is about to go on: its checkpoint and its recipe are read, and fit each other. No model is loaded yet.
pub struct Resumption {
    folder: RunFolder,
    recipe: Recipe,
    saved: SavedState,
    changes: Edit,
    device: Device,
}

impl Resumption {
    /// Reads the last checkpoint, or with `previous` the one before it, and the recipe. Stops up to there are taken out of the
    /// timeline. What was changed in the recipe since the checkpoint was written becomes an edit, where that can be done: the prompts and
    /// the terms, while nothing has taken their place, and the steps of a single generator. Edits that are still to come and `output` may be
    /// changed at will.
    ///
    /// # Errors
    /// When the recipe or the checkpoint cannot be read. Where anything else was changed in the recipe it is a
    /// [`RecipeError`](crate::recipe::RecipeError) that names it: the picture so far is not that recipe's.
    pub fn read(folder: RunFolder, previous: bool, device: &Device) -> Result<Self> {
        let draft = Draft::load(&folder.path().join(RECIPE))?;
        let now = draft.finish()?;
        let saved = folder.read_checkpoint(previous, device)?;
        let mut until = saved.session.step;
        if previous {
            // the stop that the last checkpoint was written at
            until = until.max(now.stops_at().unwrap_or(0));
        }
        let mut recipe = now.without_stops(until);
        let mut changes = Edit::default();
        if let Some(text) = &saved.recipe {
            let before = Draft::parse(text, "the recipe in the checkpoint", folder.path())?
                .unchecked()?
                .without_stops(until);
            let refused = reconcile(before, &mut recipe, &saved.session, &mut changes);
            if !refused.is_empty() {
                return Err(draft.refusal(refused).into());
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

    /// The recipe by which it was painted so far, edits that are still to come among it.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Makes ready for the next step. Returned with the painter is what was changed in the recipe since the checkpoint, to be made an
    /// edit ([`Painter::edit`]); it is empty where nothing was. Metrics of later steps are forgotten: those steps are made again.
    ///
    /// # Errors
    /// When a model cannot be loaded, the checkpoint does not fit the recipe, or the folder cannot be written to.
    pub fn painter(self, options: &SessionOptions) -> Result<(Painter, Edit)> {
        let Self {
            mut folder,
            recipe,
            saved,
            changes,
            device,
        } = self;
        let mut session = Session::with_options(&recipe, &device, options)?;
        (session.load(saved))
            .map_err(|error| error.context("the checkpoint does not fit the run's recipe"))?;
        folder.cut_metrics(session.step())?;
        let mut painter = Painter::new(session, folder, &recipe)?;
        painter.kept = Some(painter.session.step());
        Ok((painter, changes))
    }
}

/// Brings a changed recipe back to what was painted so far, and puts into `changes` what an edit can do. Returns the rest: each
/// change by its path, and why it is refused.
fn reconcile(
    before: Recipe,
    now: &mut Recipe,
    saved: &SavedSession,
    changes: &mut Edit,
) -> Vec<(String, String)> {
    let mut refused = timeline_changes(&before.timeline, &now.timeline, saved);
    let applied = before.timeline.iter().take(saved.edits);
    let stages = before.generator.0.iter().take(saved.course.stage + 1);
    let replaced = |path: &str, flag: &str| {
        let why = format!(
            "others have taken their place since the run began, so that a change has no effect: {flag}, or change it back"
        );
        (path.to_owned(), why)
    };
    if now.prompts != before.prompts {
        let others = applied.clone().any(|edit| edit.prompts.is_some())
            || stages.clone().any(|stage| stage.prompts.is_some());
        if others {
            refused.push(replaced("prompts", "give the new prompts as `--prompt`"));
        }
        changes.prompts = Some(std::mem::replace(&mut now.prompts, before.prompts.clone()));
    }
    if now.terms != before.terms {
        let others = applied.clone().any(|edit| edit.terms.is_some())
            || stages.clone().any(|stage| stage.terms.is_some());
        if others {
            refused.push(replaced(
                "terms",
                "give the new terms by `--control -` (`set_terms`)",
            ));
        }
        changes.terms = Some(std::mem::replace(&mut now.terms, before.terms.clone()));
    }
    if now.steps != before.steps {
        let done = saved.step - saved.course.origin;
        let as_begun = matches!(before.generator.0.as_slice(), [only] if only.steps.is_none())
            && saved.course.steps == before.steps;
        if !as_begun {
            let why = "the length of this run was changed since it began, or it has several generators: give the new total as `--steps`, \
                       and change this back";
            refused.push(("steps".to_owned(), why.to_owned()));
        } else if now.steps < done {
            let why = format!(
                "{} are asked for, and the run has made {done} already",
                now.steps
            );
            refused.push(("steps".to_owned(), why));
        }
        changes.steps = Some(std::mem::replace(&mut now.steps, before.steps));
    }
    // what is written beside the picture changes nothing in it
    let comparable = Recipe {
        timeline: now.timeline.clone(),
        output: now.output.clone(),
        ..before
    };
    for difference in comparable.differences(now) {
        let why = format!(
            "it is {} here, and {} in the run's checkpoint: the picture so far was painted with that, and a run goes on as it began. Change it \
             back, or paint this recipe anew with `phantasia render`",
            difference.now, difference.before
        );
        refused.push((difference.path, why));
    }
    refused
}

/// What was changed in the edits that had taken effect when the checkpoint was written. Those after them are free.
fn timeline_changes(before: &[Edit], now: &[Edit], saved: &SavedSession) -> Vec<(String, String)> {
    let mut refused = vec![];
    if now.len() < saved.edits {
        let why = format!(
            "{} edits had taken effect when the run's checkpoint was written, and {} are left: put them back",
            saved.edits,
            now.len()
        );
        refused.push(("timeline".to_owned(), why));
        return refused;
    }
    for (index, (edit, old)) in now.iter().zip(before).take(saved.edits).enumerate() {
        if edit != old {
            let why = "this edit had taken effect when the run's checkpoint was written, and is another one now: change it back";
            refused.push((format!("timeline.{index}"), why.to_owned()));
        }
    }
    for (index, edit) in now.iter().enumerate().skip(saved.edits) {
        if edit.step < saved.step {
            let why = format!(
                "the run's checkpoint was written after step {}, so that this edit comes too late: give it that step or a later one",
                saved.step
            );
            refused.push((format!("timeline.{index}.step"), why));
        }
    }
    refused
}
