//! Which prompts a cutout is compared with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How several prompts count together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// All, each with its weight.
    #[default]
    All,
    /// The weighted mean of their embeddings, compared once.
    Mix,
    /// Each cutout follows the prompt that it is closest to.
    Best,
    /// Each cutout follows the prompt that it is farthest from.
    Worst,
}
