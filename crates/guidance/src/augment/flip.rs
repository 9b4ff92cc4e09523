//! Mirrored cutouts.

use phantasia_core::{config, random};
use rand::Rng;

use crate::cutout_layer::Cutout;

config! {
    /// Mirrored left to right with probability `p`.
    #[schemars(rename = "Flip")]
    pub struct Config {
        /// Probability.
        #[schemars(range(min = 0, max = 1))]
        pub p: f64 = 0.5,
    }
}

impl Config {
    pub(crate) fn apply(&self, cutout: &mut Cutout, _: usize, _: f64, rng: &mut impl Rng) {
        cutout.crop.flip ^= random::chance(rng, self.p);
    }
}
