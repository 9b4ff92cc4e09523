//! How a CLIP is loaded.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::IntoDeserializer;
use serde::de::value::Error as ValueError;
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

/// What happens to a text that is longer than a CLIP's context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LongText {
    /// It is cut at the end of the context, as in training and in the reference libraries. A warning says where.
    #[default]
    Truncate,
    /// It is cut between words into parts that fit, each is embedded as a text of its own, and the mean of their embeddings is taken, weighted by
    /// their numbers of tokens.
    Average,
}

impl LongText {
    /// Whether it is the default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl FromStr for LongText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = Self::deserialize(text.into_deserializer());
        read.map_err(|_: ValueError| "expected truncate or average".to_owned())
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
