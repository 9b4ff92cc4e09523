//! Edits: what changes while a render runs. Front ends send them, and the recipe's timeline keeps them, so that the recipe paints the
//! same picture again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Prompt, Recipe, Terms, shorthand};

/// A change of a render between two steps; what is not given stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The step after which it takes effect.
    pub step: usize,
    /// Replaces the prompts.
    #[serde(
        default,
        deserialize_with = "shorthand::some_entries",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "phantasia_core::schema::entries::<Prompt>")]
    pub prompts: Option<Vec<Prompt>>,
    /// Over how many steps the previous prompts fade out and these fade in; 0 changes at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fade: Option<usize>,
    /// Replaces the terms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
    /// Multiplies the recipe's learning rate, instead of the factor before; above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub lr: Option<f64>,
    /// The total number of steps of the current stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub steps: Option<usize>,
    /// Begins the current stage again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// Ends the render before its last step. Later edits have no effect until the stop is removed, as `phantasia resume` does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stop: bool,
}

/// Where a stage begins again. Its schedule begins again too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// From the start of its generator, with other noise.
    Scratch,
    /// From the present picture.
    Image,
    /// Continues from where it was before the last restart.
    Undo,
}

impl Edit {
    /// An edit that `change` makes of one that changes nothing.
    pub fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut edit = Self::default();
        change(&mut edit);
        edit
    }

    /// An edit that changes nothing yet.
    pub fn at(step: usize) -> Self {
        Self {
            step,
            ..Self::default()
        }
    }

    /// Whether an edit right before this one has no effect, because this one replaces all that it changes.
    pub(crate) fn replaces(&self, earlier: &Self) -> bool {
        let is_plain = |edit: &Self| edit.steps.is_none() && edit.restart.is_none() && !edit.stop;
        let sets = |edit: &Self| {
            [
                edit.prompts.is_some(),
                edit.terms.is_some(),
                edit.lr.is_some(),
            ]
        };
        let mut pairs = sets(earlier).into_iter().zip(sets(self));
        is_plain(earlier) && is_plain(self) && pairs.all(|(before, now)| now || !before)
    }

    /// Whether it changes the objective: prompts or terms.
    pub fn changes_objective(&self) -> bool {
        self.prompts.is_some() || self.terms.is_some()
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::at(self.step)
    }
}

impl Recipe {
    /// The step at which the timeline stops the render, if it does.
    pub fn stops_at(&self) -> Option<usize> {
        (self.timeline.iter()).find_map(|edit| edit.stop.then_some(edit.step))
    }

    /// The steps of the whole render, as far as edits do not change them: to the stop of the timeline, or to the end of the last stage.
    pub fn total_steps(&self) -> usize {
        let stages = 0..self.generator.0.len();
        let planned = stages.map(|stage| self.stage_steps(stage)).sum();
        self.stops_at().map_or(planned, |stop| stop.min(planned))
    }

    /// The recipe without the stops up to step `until`, to resume a render from there.
    pub fn without_stops(self, until: usize) -> Self {
        let timeline = (self.timeline.into_iter())
            .filter_map(|mut edit| {
                if !edit.stop || edit.step > until {
                    return Some(edit);
                }
                edit.stop = false;
                (!edit.is_empty()).then_some(edit)
            })
            .collect();
        Self { timeline, ..self }
    }
}
