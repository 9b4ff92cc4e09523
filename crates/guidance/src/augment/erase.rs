//! Cutouts with a grey rectangle.

use phantasia_core::{Schedule, config, random};
use rand::Rng;

use crate::cutout_layer::Cutout;

/// Sides of the rectangle are in a ratio of at most this.
const MOST_RATIO: f64 = 3.3;
/// The smallest rectangle, as a share of the cutout.
const LEAST_AREA: f64 = 0.02;

config! {
    /// A rectangle of up to `area` of the cutout made grey, with probability `p` (random erasing, Zhong et al. 2017).
    #[schemars(rename = "Erase")]
    pub struct Config {
        /// Largest share of the cutout.
        #[schemars(range(min = 0, max = 1))]
        pub area: Schedule = 0.33.into(),
        /// Probability.
        #[schemars(range(min = 0, max = 1))]
        pub p: f64 = 0.7,
    }
}

impl Config {
    pub(crate) fn apply(&self, cutout: &mut Cutout, size: usize, t: f64, rng: &mut impl Rng) {
        let (side, most) = (size as f64, self.area.at(t));
        let area = random::uniform(rng, LEAST_AREA.min(most), most) * side * side;
        let ratio = (random::uniform(rng, -1.0, 1.0) * MOST_RATIO.ln()).exp();
        let [height, width] =
            [area * ratio, area / ratio].map(|x| x.sqrt().round().clamp(1.0, side));
        let mut first =
            |length: f64| random::uniform(rng, 0.0, side - length + 1.0).floor() as usize;
        let (top, left) = (first(height), first(width));
        if random::chance(rng, self.p) {
            let end = |first: usize, length: f64| (first + length as usize).min(size);
            cutout.erased = Some([top, left, end(top, height), end(left, width)]);
        }
    }
}
