//! Turned and shifted cutouts.

use phantasia_core::{Schedule, config, random};
use rand::Rng;

use crate::cutout_layer::Cutout;

config! {
    /// Turned by up to `degrees` and shifted by up to `translate` of the side, with probability `p`.
    #[schemars(rename = "Affine")]
    pub struct Config {
        /// Largest angle.
        #[schemars(range(min = 0, max = 180))]
        pub degrees: Schedule = 30.0.into(),
        /// Largest shift as a share of the side.
        #[schemars(range(min = 0, max = 1))]
        pub translate: Schedule = 0.1.into(),
        /// Probability.
        #[schemars(range(min = 0, max = 1))]
        pub p: f64 = 0.8,
    }
}

impl Config {
    pub(crate) fn apply(&self, cutout: &mut Cutout, _: usize, t: f64, rng: &mut impl Rng) {
        let angle = random::uniform(rng, -1.0, 1.0) * self.degrees.at(t).to_radians();
        // a cutout is two units wide
        let shift = 2.0 * self.translate.at(t);
        let [x, y] = std::array::from_fn(|_| random::uniform(rng, -shift, shift));
        if random::chance(rng, self.p) {
            let (sin, cos) = angle.sin_cos();
            cutout.warp([cos, -sin, x, sin, cos, y, 0.0, 0.0, 1.0]);
        }
    }
}
