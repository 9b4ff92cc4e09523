//! Saves and restores a session between two steps, so that it continues exactly as if it had not stopped.

use anyhow::{Result, bail};
use candle_core::Tensor;
use generators::State;
use serde::{Deserialize, Serialize};

use super::{Replaced, Segment, Session};
use crate::recipe::Edit;

/// Where prompts and terms come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A stage, by number.
    Stage(usize),
    /// An edit, by its place in the timeline.
    Edit(usize),
}

/// What a checkpoint holds of a session, the generator apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedSession {
    /// Steps done.
    pub step: usize,
    /// The segment that is being painted.
    #[serde(rename = "course")]
    pub segment: Segment,
    /// What the recipe's learning rate is multiplied by.
    #[serde(rename = "rate")]
    pub learning_rate_scale: f64,
    /// Changes of prompts and terms so far: at which step, and where they came from.
    #[serde(rename = "asked")]
    pub objective_edits: Vec<(usize, Source)>,
    /// The number of applied edits, without a stop.
    pub edits: usize,
    /// The segment that the last restart ended.
    pub before_restart: Option<Segment>,
}

/// The state of a session between two steps.
#[derive(Clone, Debug)]
pub struct SavedState {
    /// The session, the generator apart.
    pub session: SavedSession,
    /// The generator.
    pub generator: State,
    /// The generator before the last restart, so that it can be taken back.
    pub before_restart: Option<State>,
    /// The picture that the segment started from, and the one that the segment before the last restart did, where that is not the recipe's `init`.
    pub bases: [Option<Tensor>; 2],
    /// The recipe in the run folder at that time; checkpoints of older versions have none.
    pub recipe: Option<String>,
}

impl Session {
    /// The state needed to continue from here.
    pub fn save(&self) -> Result<SavedState> {
        let before = self.before_restart.as_ref();
        Ok(SavedState {
            session: SavedSession {
                step: self.step,
                segment: self.segment.clone(),
                learning_rate_scale: self.learning_rate_scale,
                objective_edits: (self.objective_edits.iter())
                    .map(|(source, edit)| (edit.step, *source))
                    .collect(),
                // a stop is removed when the render is resumed
                edits: self.timeline.len() - usize::from(self.is_stopped()),
                before_restart: before.map(|before| before.segment.clone()),
            },
            generator: self.generator.save()?,
            before_restart: before.map(|before| before.generator.clone()),
            bases: [
                self.base.clone(),
                before.and_then(|before| before.base.clone()),
            ],
            recipe: None,
        })
    }

    /// Continues from a saved state. This session must be new, and of the same recipe. Edits of its timeline that were not applied
    /// before the state was saved are applied later.
    ///
    /// # Errors
    /// When it belongs to another recipe.
    pub fn load(&mut self, saved: SavedState) -> Result<()> {
        let session = saved.session;
        if self.step != 0 {
            bail!("a state is loaded into a session that has made no step");
        }
        if self.ahead.len() < session.edits {
            bail!(
                "{} edits were made before it was saved, and the recipe's timeline has {}",
                session.edits,
                self.ahead.len()
            );
        }
        self.timeline = self.ahead.drain(..session.edits).collect();
        self.learning_rate_scale = session.learning_rate_scale;
        let stages = self.backend()?.stages();
        let stage = session.segment.stage;
        if stage >= stages {
            bail!("stage {} was saved, and the recipe has {stages}", stage + 1);
        }
        let scale = Edit::with(|edit| edit.lr = Some(session.learning_rate_scale));
        self.backend()?.apply(&scale)?;
        let [base, base_before] = saved.bases;
        self.set_base(base)?;
        self.restore(session.segment, &saved.generator)?;
        self.step = session.step;
        self.fit_mask()?;
        // the first were applied when this session was made
        let known = self.objective_edits.len();
        for (step, source) in session.objective_edits.into_iter().skip(known) {
            let edit = match source {
                Source::Stage(stage) if stage < stages => self.backend()?.stage_edit(stage),
                Source::Edit(index) if index < self.timeline.len() => self.timeline[index].clone(),
                Source::Stage(_) | Source::Edit(_) => {
                    bail!("the prompts and terms of step {step} are not in the recipe")
                }
            };
            self.set_objective(source, &Edit { step, ..edit })?;
        }
        self.before_restart =
            (session.before_restart.zip(saved.before_restart)).map(|(segment, generator)| {
                Replaced {
                    segment,
                    generator,
                    base: base_before,
                }
            });
        Ok(())
    }
}
