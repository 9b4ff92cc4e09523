//! Cutouts of other colours.

use phantasia_core::{Schedule, config, random};
use rand::Rng;

use crate::cutout_layer::Cutout;
use crate::cutout_layer::color::ColorMatrix;

config! {
    /// Hue and saturation (and brightness and contrast) changed at random, with probability `p`.
    #[schemars(rename = "Jitter")]
    pub struct Config {
        /// Largest turn of the hue as a share of the circle.
        #[schemars(range(min = 0, max = 0.5))]
        pub hue: Schedule = 0.01.into(),
        /// Largest change of the saturation, as a share of 1.
        #[schemars(range(min = 0, max = 1))]
        pub saturation: Schedule = 0.01.into(),
        /// Largest change of the brightness, as a share of 1.
        #[schemars(range(min = 0, max = 1))]
        pub brightness: Schedule = 0.0.into(),
        /// Largest change of the contrast, as a share of 1.
        #[schemars(range(min = 0, max = 1))]
        pub contrast: Schedule = 0.0.into(),
        /// Probability.
        #[schemars(range(min = 0, max = 1))]
        pub p: f64 = 0.7,
    }
}

impl Config {
    pub(crate) fn apply(&self, cutout: &mut Cutout, _: usize, t: f64, rng: &mut impl Rng) {
        let mut up_to = |largest: &Schedule| random::uniform(rng, -largest.at(t), largest.at(t));
        let hue = ColorMatrix::hue(up_to(&self.hue));
        let saturation = ColorMatrix::saturation(1.0 + up_to(&self.saturation));
        let contrast = ColorMatrix::contrast(1.0 + up_to(&self.contrast));
        let brightness = ColorMatrix::brightness(up_to(&self.brightness));
        if random::chance(rng, self.p) {
            cutout.recolor(hue.then(&saturation).then(&contrast).then(&brightness));
        }
    }
}
