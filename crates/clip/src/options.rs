//! How a CLIP is loaded.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::activation::ClipActivation;

/// The precision of a model's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 24 significant bits.
    #[default]
    F32,
    /// 11 significant bits and a narrow range: half the memory.
    F16,
    /// 8 significant bits and the range of f32: half the memory.
    Bf16,
}

impl Precision {
    /// Whether it is f32.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// As recipes spell it.
impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// How a CLIP is loaded, as a recipe chooses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClipChoice {
    /// The precision of its weights and activations; [`DTypePolicy::of`](crate::DTypePolicy::of) says what it means on which device.
    pub precision: Precision,
    /// The nonlinearity of its transformers; overrides what its files say.
    pub activation: Option<ClipActivation>,
}
