//! Mirrored cutouts.

use phantasia_core::random;
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cutout::Cutout;

/// Mirrored left to right with probability `p`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Flip")]
pub struct Config {
    /// Probability.
    #[schemars(range(min = 0, max = 1))]
    pub p: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { p: 0.5 }
    }
}

impl Config {
    pub(crate) fn apply(&self, cutout: &mut Cutout, _: usize, _: f64, rng: &mut impl Rng) {
        cutout.crop.flip ^= random::chance(rng, self.p);
    }
}
