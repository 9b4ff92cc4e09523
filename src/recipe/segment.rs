//! Segments: the parts of a render between changes of its generator.

use serde::{Deserialize, Serialize};

/// A part of a render with one generator and one schedule: a stage, or what follows a restart in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The index of the recipe's generator.
    pub stage: usize,
    /// The step of the whole render at which the generator began; decides its random numbers.
    pub began: usize,
    /// The step of the whole render at which its schedule begins. Differs from `began` after a restart was taken back.
    pub origin: usize,
    /// The length of the schedule.
    pub steps: usize,
    /// Whether it started from a picture.
    pub from_image: bool,
}

impl Segment {
    /// A segment that begins after `step` steps of the render.
    pub(crate) fn new(stage: usize, step: usize, steps: usize, from_image: bool) -> Self {
        Self {
            stage,
            began: step,
            origin: step,
            steps,
            from_image,
        }
    }

    /// The step of the whole render at which it ends.
    pub fn end(&self) -> usize {
        self.origin + self.steps
    }

    /// The same, to continue at a step of the render after a restart that began at `began` was taken back: its schedule continues from where it
    /// was.
    pub(crate) fn resumed(self, step: usize, began: usize) -> Self {
        Self {
            origin: self.origin + step.saturating_sub(began),
            ..self
        }
    }
}
