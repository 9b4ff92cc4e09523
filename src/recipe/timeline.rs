//! What was changed while a render ran. A recipe with its timeline paints the same picture again, headless.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Prompt, TermOptions, forms, schema};

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
    #[schemars(schema_with = "schema::prompts")]
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
}
