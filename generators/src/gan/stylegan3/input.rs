//! The waves that everything begins with.

use candle_core::{Result, Tensor};
use frozen::{Layer, Pullback};

use crate::gan::layers::Traced;

/// What keeps the length of a frequency of 0 from having no gradient.
const LEAST_SQUARE: f64 = 1e-24;

/// Plane waves [1, c, h, w], which a row of w [1, w] turns and shifts as one picture, mixed by a matrix.
pub(super) struct Waves {
    /// From w to cosine and sine of the turn, to be scaled to 1, and the shift along x and y: the weight [w, 4] and the bias [1, 4].
    pub affine: [Tensor; 2],
    /// A change of all places, [3, 3], before that one.
    pub transform: Tensor,
    /// Periods a unit of length along x and y, [c, 2].
    pub freqs: Tensor,
    /// In periods, [c, 1].
    pub phases: Tensor,
    /// The mixture, [c, c].
    pub weight: Tensor,
    /// The places of pixels: x and y, [2, h w].
    pub places: Tensor,
    /// The features' height and width.
    pub size: usize,
    /// Pixels a unit of length.
    pub rate: f64,
    /// The frequency up to which waves have their whole strength; at half the rate they have none.
    pub bandwidth: f64,
}

/// The places of pixels around the middle, [2, h w].
pub(super) fn places(size: usize, rate: f64, device: &candle_core::Device) -> Result<Tensor> {
    let at = |i: usize| (i as f64 + 0.5 - size as f64 / 2.0) / rate;
    let pixels = || 0..size * size;
    let both: Vec<f32> = (pixels().map(|i| at(i % size)))
        .chain(pixels().map(|i| at(i / size)))
        .map(|place| place as f32)
        .collect();
    Tensor::from_vec(both, (2, size * size), device)
}

impl Waves {
    fn of(&self, w: &Tensor) -> Result<Tensor> {
        let [weight, bias] = &self.affine;
        let q = w.matmul(weight)?.add(bias)?;
        let length = q.narrow(1, 0, 2)?.sqr()?.sum_keepdim(1)?.sqrt()?;
        let q = q.broadcast_div(&length)?;
        let part = |i: usize| q.narrow(1, i, 1);
        let (cos, sin, x, y) = (part(0)?, part(1)?, part(2)?, part(3)?);
        // shifted, then turned: the turn, and what becomes of the shift
        let shift_x = ((&sin * &y)? - (&cos * &x)?)?;
        let shift_y = ((&sin * &x)? + (&cos * &y)?)?.neg()?;
        let moved = Tensor::cat(
            &[
                Tensor::cat(&[&cos, &sin.neg()?, &shift_x], 1)?,
                Tensor::cat(&[&sin, &cos, &shift_y], 1)?,
            ],
            0,
        )?;
        let moved = self.freqs.matmul(&moved.matmul(&self.transform)?)?;
        let freqs = moved.narrow(1, 0, 2)?.contiguous()?;
        let phases = (&self.phases + moved.narrow(1, 2, 1)?)?;
        let lengths = (freqs.sqr()?.sum_keepdim(1)? + LEAST_SQUARE)?.sqrt()?;
        // 1 up to the bandwidth, and down to 0 at half the rate
        let fall = 1.0 / (self.rate / 2.0 - self.bandwidth);
        let strengths = lengths
            .affine(-fall, 1.0 + fall * self.bandwidth)?
            .clamp(0.0, 1.0)?;
        let turns = freqs.matmul(&self.places)?.broadcast_add(&phases)?;
        let waves = (turns * std::f64::consts::TAU)?.sin()?;
        let mixed = self.weight.matmul(&waves.broadcast_mul(&strengths)?)?;
        mixed.reshape((1, (), self.size, self.size))
    }
}

impl Layer for Waves {
    fn eval(&self, w: &Tensor) -> Result<Tensor> {
        self.of(&w.detach())
    }

    fn vjp(&self, w: &Tensor) -> Result<(Tensor, Pullback)> {
        Traced(|w: &Tensor| self.of(w)).vjp(w)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gan::testing::{slopes_agree, wave};
    use candle_core::{DType, Device};

    #[test]
    fn waves_match_finite_differences() -> Result<()> {
        let size = 4;
        let waves = Waves {
            affine: [wave(0.1, &[3, 4])?, wave(0.2, &[1, 4])?],
            transform: wave(0.3, &[3, 3])?,
            freqs: wave(0.4, &[5, 2])?,
            phases: wave(0.5, &[5, 1])?,
            weight: wave(0.6, &[5, 5])?,
            places: places(size, 3.0, &Device::Cpu)?.to_dtype(DType::F64)?,
            size,
            rate: 3.0,
            bandwidth: 0.5,
        };
        slopes_agree(
            &[wave(1.0, &[1, 3])?],
            |w| waves.eval(&w[0]),
            |w, g| Ok(vec![waves.vjp(&w[0])?.1(g)?]),
        )
    }
}
