//! What was changed while a render ran. A recipe with its timeline paints the same picture again, headless.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Prompt, Recipe, TermOptions, forms};

/// One change, between two steps. Several things may change at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// How many steps were done when it took effect.
    pub step: usize,
    /// What is asked for from here on.
    #[serde(
        default,
        deserialize_with = "forms::some_entries",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "phantasia_core::schema::entries::<Prompt>")]
    pub prompts: Option<Vec<Prompt>>,
    /// Over how many steps the prompts before go out and these come in; 0 changes at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fade: Option<usize>,
    /// What is asked of the picture beside its prompts, from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<TermOptions>,
    /// The recipe's learning rate times this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// How many steps the stage at hand has from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// The stage at hand begins again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// The render ends here, before its last step. Later edits have no effect until the stop is removed, as `phantasia resume` does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stop: bool,
}

/// Where a generator begins again. Its schedule begins again too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// From its own start, with other noise.
    Scratch,
    /// From the picture as it is.
    Image,
    /// Where it was before the last restart.
    Undo,
}

impl Edit {
    /// A change at a step that changes nothing yet.
    pub fn at(step: usize) -> Self {
        Self {
            step,
            ..Self::default()
        }
    }

    /// Whether it changes what the picture is judged by: prompts or terms.
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
