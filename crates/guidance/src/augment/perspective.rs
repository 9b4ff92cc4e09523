//! Cutouts seen in perspective.

use phantasia_core::{Schedule, config, random};
use rand::Rng;

use crate::cutout_layer::{Cutout, warp};

config! {
    /// A perspective warp with probability `p`: each corner moves inwards by up to `strength` times half the side.
    #[schemars(rename = "Perspective")]
    pub struct Config {
        /// Largest shift of a corner as a share of half the side.
        #[schemars(range(min = 0, max = 1))]
        pub strength: Schedule = 0.2.into(),
        /// Probability.
        #[schemars(range(min = 0, max = 1))]
        pub p: f64 = 0.4,
    }
}

impl Config {
    pub(crate) fn apply(&self, cutout: &mut Cutout, _: usize, t: f64, rng: &mut impl Rng) {
        let strength = self.strength.at(t);
        let inward = std::array::from_fn(|_| random::uniform(rng, 0.0, strength));
        if random::chance(rng, self.p) {
            cutout.warp(perspective(inward));
        }
    }
}

/// The map that takes the corners of a cutout to points inside of it: each of the eight numbers, 0..1, is how far one coordinate
/// of a corner moves towards the middle, as a share of half the side.
fn perspective(inward: [f64; 8]) -> [f64; 9] {
    let corner =
        |i: usize, x: f64, y: f64| (x * (1.0 - inward[2 * i]), y * (1.0 - inward[2 * i + 1]));
    let (x0, y0) = corner(0, -1.0, -1.0);
    let (x1, y1) = corner(1, 1.0, -1.0);
    let (x2, y2) = corner(2, 1.0, 1.0);
    let (x3, y3) = corner(3, -1.0, 1.0);
    // Heckbert 1989, section 2.2.3: the unit square to a quadrilateral
    let (dx1, dx2, sx) = (x1 - x2, x3 - x2, x0 - x1 + x2 - x3);
    let (dy1, dy2, sy) = (y1 - y2, y3 - y2, y0 - y1 + y2 - y3);
    let det = dx1 * dy2 - dx2 * dy1;
    let g = (sx * dy2 - dx2 * sy) / det;
    let h = (dx1 * sy - sx * dy1) / det;
    let square = [
        x1 - x0 + g * x1,
        x3 - x0 + h * x3,
        x0,
        y1 - y0 + g * y1,
        y3 - y0 + h * y3,
        y0,
        g,
        h,
        1.0,
    ];
    // from -1..=1 to the unit square
    warp::compose(&square, &[0.5, 0.0, 0.5, 0.0, 0.5, 0.5, 0.0, 0.0, 1.0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perspective_takes_corners_where_it_should() {
        let inward = [0.1, 0.2, 0.0, 0.3, 0.25, 0.0, 0.15, 0.05];
        let matrix = perspective(inward);
        for (i, (x, y)) in [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
            .into_iter()
            .enumerate()
        {
            let row = |r: usize| matrix[3 * r] * x + matrix[3 * r + 1] * y + matrix[3 * r + 2];
            let (u, v) = (row(0) / row(2), row(1) / row(2));
            assert!((u - x * (1.0 - inward[2 * i])).abs() < 1e-12);
            assert!((v - y * (1.0 - inward[2 * i + 1])).abs() < 1e-12);
        }
    }
}
