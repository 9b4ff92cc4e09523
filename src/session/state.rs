//! What a session needs in order to go on later, exactly as if it had not stopped.

use anyhow::{Result, bail};
use generators::State;
use serde::{Deserialize, Serialize};

use super::{Course, Session};
use crate::recipe::Edit;

/// What brings prompts and terms with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A stage, by number.
    Stage(usize),
    /// An edit, by its place in the timeline.
    Edit(usize),
}

/// A session's numbers and wishes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedSession {
    /// Steps done.
    pub step: usize,
    /// What is being painted.
    pub course: Course,
    /// What the recipe's learning rate is multiplied by.
    pub rate: f64,
    /// Changes of prompts and terms so far: when, and what brought them.
    pub asked: Vec<(usize, Source)>,
    /// How many edits of the timeline took effect, without a stop.
    pub edits: usize,
    /// The course that the last restart ended.
    pub before_restart: Option<Course>,
}

/// A session as it was between two steps.
#[derive(Clone, Debug)]
pub struct SavedState {
    /// Its numbers and wishes.
    pub session: SavedSession,
    /// The generator.
    pub generator: State,
    /// The generator before the last restart, so that it can be taken back.
    pub before_restart: Option<State>,
    /// The recipe in the run folder at that time; checkpoints of older versions have none.
    pub recipe: Option<String>,
}

impl Session {
    /// All that is needed to go on from here.
    pub fn save(&self) -> Result<SavedState> {
        Ok(SavedState {
            session: SavedSession {
                step: self.step,
                course: self.course.clone(),
                rate: self.rate,
                asked: (self.asked.iter())
                    .map(|(source, edit)| (edit.step, *source))
                    .collect(),
                // a stop is removed when the render is resumed
                edits: self.timeline.len() - usize::from(self.is_stopped()),
                before_restart: (self.before_restart.as_ref()).map(|(course, _)| course.clone()),
            },
            generator: self.generator.save()?,
            before_restart: (self.before_restart.as_ref()).map(|(_, state)| state.clone()),
            recipe: None,
        })
    }

    /// Goes on from where `saved` was saved: this session must be new, and of the same recipe. Edits of its timeline that are
    /// not part of what was saved are still to come.
    ///
    /// # Errors
    /// When it was saved of another recipe.
    pub fn load(&mut self, saved: SavedState) -> Result<()> {
        let SavedState {
            session,
            generator,
            before_restart,
            recipe: _,
        } = saved;
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
        self.rate = session.rate;
        let stages = self.studio()?.stages();
        if session.course.stage >= stages {
            bail!(
                "stage {} was saved, and the recipe has {stages}",
                session.course.stage + 1
            );
        }
        self.studio()?.set_rate(session.rate);
        self.revive(session.course, &generator)?;
        self.step = session.step;
        self.fit_mask()?;
        // the first were asked for when this session was made
        let known = self.asked.len().min(session.asked.len());
        for (step, source) in session.asked.into_iter().skip(known) {
            let edit = match source {
                Source::Stage(stage) if stage < stages => self.wishes(stage)?,
                Source::Edit(index) if index < self.timeline.len() => self.timeline[index].clone(),
                Source::Stage(_) | Source::Edit(_) => {
                    bail!("what was asked for at step {step} is not in the recipe")
                }
            };
            self.ask(source, &Edit { step, ..edit })?;
        }
        self.before_restart = session.before_restart.zip(before_restart);
        Ok(())
    }
}
