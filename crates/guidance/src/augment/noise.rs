//! Noisy cutouts.

use phantasia_core::{Schedule, config, random};
use rand::Rng;

use crate::cutout_layer::Cutout;

config! {
    /// White noise, its standard deviation uniform in 0..=`strength` for each cutout.
    #[schemars(rename = "Noise")]
    pub struct Config {
        /// Largest standard deviation.
        #[schemars(range(min = 0, max = 16))]
        pub strength: Schedule = 0.1.into(),
    }
}

impl Config {
    pub(crate) fn apply(&self, cutout: &mut Cutout, _: usize, t: f64, rng: &mut impl Rng) {
        let deviation = random::uniform(rng, 0.0, self.strength.at(t));
        cutout.noise = Some((deviation as f32, rng.random()));
    }
}
