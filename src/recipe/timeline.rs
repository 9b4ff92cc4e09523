//! Edits: what changes while a render runs. Front ends send them, and the recipe's timeline keeps them, so that the recipe paints the
//! same picture again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Prompt, Recipe, Segment, Terms, shorthand};

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
    /// Multiplies the recipe's learning rate, instead of the factor before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1e6), extend("exclusiveMinimum" = 0))]
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

    /// The edits of the timeline that come after the last step: the index of each, and the step after which the render ends.
    pub fn edits_after_end(&self) -> Vec<(usize, usize)> {
        let stages = self.generator.0.len();
        let begin = |stage, step, steps| Segment::new(stage, step, steps, false);
        let mut before = None;
        let mut now = begin(0, 0, self.stage_steps(0));
        let mut late = vec![];
        for (index, edit) in self.timeline.iter().enumerate() {
            while edit.step > now.end() && now.stage + 1 < stages {
                let next = now.stage + 1;
                now = begin(next, now.end(), self.stage_steps(next));
                before = None;
            }
            if edit.step > now.end() {
                late.push((index, now.end()));
                continue;
            }
            now.steps = edit.steps.unwrap_or(now.steps);
            match edit.restart {
                Some(Restart::Scratch | Restart::Image) => {
                    let again = begin(now.stage, edit.step, now.steps);
                    before = Some(std::mem::replace(&mut now, again));
                }
                Some(Restart::Undo) => {
                    if let Some(earlier) = before.take() {
                        now = earlier.resumed(edit.step, now.began);
                    }
                }
                None => {}
            }
        }
        late
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

#[cfg(test)]
mod tests {
    use super::*;

    fn late(rest: &str) -> Vec<(usize, usize)> {
        let text = format!("prompts: [a cat]\nsteps: 10\n{rest}");
        let recipe = Recipe::parse(&text, "r.yaml", std::path::Path::new("")).expect("a recipe");
        recipe.edits_after_end()
    }

    #[test]
    fn edits_after_the_last_step_are_found() {
        let cases = [
            (
                "timeline: [{ step: 9, lr: 1 }, { step: 10, lr: 2 }]",
                vec![],
            ),
            (
                "timeline: [{ step: 9, lr: 1 }, { step: 11, lr: 2 }]",
                vec![(1, 10)],
            ),
            (
                "timeline: [{ step: 10, steps: 20 }, { step: 20, lr: 2 }, { step: 21, lr: 1 }]",
                vec![(2, 20)],
            ),
            (
                "timeline: [{ step: 6, restart: image }, { step: 16, lr: 2 }, { step: 17, lr: 1 }]",
                vec![(2, 16)],
            ),
            // six steps after a restart are taken back, and four are left
            (
                "timeline: [{ step: 6, restart: image }, { step: 8, restart: undo }, { step: 12, lr: 2 }, { step: 13, lr: 1 }]",
                vec![(3, 12)],
            ),
            (
                "generator: [{ kind: pyramid }, { kind: fft, steps: 5 }]\ntimeline: [{ step: 15, lr: 2 }, { step: 16, lr: 1 }]",
                vec![(1, 15)],
            ),
        ];
        for (rest, expected) in cases {
            assert_eq!(late(rest), expected, "{rest}");
        }
    }
}
