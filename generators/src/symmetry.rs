//! Symmetric pictures: the mean of a generator's picture and its mirrored and turned copies.
//!
//! The mean over a group of maps is the projection onto the pictures that these maps leave as they are. Its pullback is the same mean of the
//! gradient, so that a generator that follows a gradient follows that of the symmetric picture.

use std::f64::consts::TAU;

use candle_core::{Result, Tensor, bail};
use frozen::{Border, Layer, Pullback, Warp};
use phantasia_core::Seamless;
use phantasia_core::check::Checker;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Generator;
use crate::through::Through;

phantasia_core::config! {
    /// The symmetry of the picture: what is judged, shown and saved is the mean of the generator's picture and its mirrored and turned copies.
    #[schemars(rename = "Symmetry")]
    pub struct Config {
        /// The axes along which the picture is mirrored: `x` makes left and right mirror images of each other, `y` top and bottom, `both` both.
        pub mirror: Option<Mirror> = None,
        /// How many times a full turn shows the same picture: 6 is a snowflake's. Pictures that are not square may be turned by 2 alone.
        #[schemars(range(min = 2, max = 16))]
        pub rotate: Option<usize> = None,
    }
}

/// The axes along which a picture is mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Mirror {
    /// Left and right are mirror images of each other.
    X,
    /// Top and bottom are.
    Y,
    /// Both.
    Both,
}

impl Config {
    /// Reports what ranges cannot say. `size` is that of a stage's picture.
    pub fn check(&self, seamless: Seamless, size: [usize; 2], checker: &mut Checker) {
        let Some(rotate) = self.rotate else {
            if self.mirror.is_none() {
                checker.invalid(
                    "",
                    "it names neither `mirror` nor `rotate`: give one of them",
                );
            }
            return;
        };
        let [width, height] = size;
        if rotate > 2 && width != height {
            let message = format!(
                "a picture of {width} x {height} is not square, so that only half a turn maps it onto itself: give a square `size`, or `rotate: 2`"
            );
            checker.invalid("rotate", message);
        }
        let fits = match seamless {
            Seamless::No => true,
            Seamless::Both => rotate <= 2 || rotate == 4,
            Seamless::X | Seamless::Y => rotate <= 2,
        };
        if !fits {
            let turns = if seamless == Seamless::Both {
                "2 or 4"
            } else {
                "2"
            };
            let message = format!(
                "the turned copies of a `seamless` picture would end at its edges: give {turns}, or leave `seamless` out"
            );
            checker.invalid("rotate", message);
        }
    }

    /// The generator's pictures, made symmetric.
    pub fn apply(&self, generator: Box<dyn Generator>) -> Box<dyn Generator> {
        Box::new(Through::new(generator, MeanOfCopies::new(self)))
    }
}

/// A map that exchanges a picture's pixels without resampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flip {
    /// Left and right exchanged.
    X,
    /// Top and bottom exchanged.
    Y,
    /// Turned by half.
    Half,
    /// Turned by a quarter; the picture is square.
    Quarter,
}

impl Flip {
    fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::X => x.flip(&[3]),
            Self::Y => x.flip(&[2]),
            Self::Half => x.flip(&[2, 3]),
            Self::Quarter => x.transpose(2, 3)?.contiguous()?.flip(&[3]),
        }
    }

    fn back(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Quarter => x.flip(&[3])?.transpose(2, 3)?.contiguous(),
            flip => flip.apply(x),
        }
    }
}

/// The mean of a picture `[1, c, h, w]` and its mirrored and turned copies.
///
/// Mirror images, half and quarter turns exchange pixels, so that the result is exactly symmetric in them. Copies turned by other angles are
/// interpolated bilinearly, and what lies beyond the corners of the picture is its mirror image there.
#[derive(Clone, Debug)]
pub struct MeanOfCopies {
    /// The turns other than those of `flips` and none at all, in full turns.
    turns: Vec<f64>,
    /// Each doubles the copies: the mean of the picture so far and its flipped copy.
    flips: Vec<Flip>,
}

impl MeanOfCopies {
    /// The copies of a symmetry.
    pub fn new(config: &Config) -> Self {
        let mut turns = config.rotate.unwrap_or(1).max(1);
        if config.mirror == Some(Mirror::Both) && !turns.is_multiple_of(2) {
            // two mirrors are half a turn
            turns *= 2;
        }
        let mut flips = vec![];
        let mut exact = 1;
        if turns.is_multiple_of(2) {
            flips.push(Flip::Half);
            exact = 2;
        }
        if turns.is_multiple_of(4) {
            flips.push(Flip::Quarter);
            exact = 4;
        }
        match config.mirror {
            None => {}
            Some(Mirror::X | Mirror::Both) => flips.push(Flip::X),
            Some(Mirror::Y) => flips.push(Flip::Y),
        }
        let turns = (1..turns / exact)
            .map(|i| i as f64 / turns as f64)
            .collect();
        Self { turns, flips }
    }

    fn check(&self, x: &Tensor) -> Result<()> {
        let (n, _, h, w) = x.dims4()?;
        if n != 1 {
            bail!("a mean of copies is of one picture, not of {n}");
        }
        if h != w && (!self.turns.is_empty() || self.flips.contains(&Flip::Quarter)) {
            bail!("a picture of {w} x {h} cannot be turned: it is not square");
        }
        Ok(())
    }

    /// The map of a picture turned by a share of a full turn.
    fn turn(share: f64) -> Result<Warp> {
        let (sin, cos) = (TAU * share).sin_cos();
        let matrix = [cos, -sin, 0.0, sin, cos, 0.0, 0.0, 0.0, 1.0];
        Warp::new(vec![matrix], Border::Reflect)
    }
}

impl Layer for MeanOfCopies {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.vjp(x)?.0)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        self.check(x)?;
        let x = x.detach();
        let mut sum = x.clone();
        let mut turns = vec![];
        for &share in &self.turns {
            let (turned, pullback) = Self::turn(share)?.vjp(&x)?;
            sum = (sum + turned)?;
            turns.push(pullback);
        }
        let mut y = scaled(sum, 1 + turns.len())?;
        // the exact ones last, so that the result is exactly symmetric in them
        for flip in &self.flips {
            y = ((&y + flip.apply(&y)?)? * 0.5)?;
        }
        let (flips, shape) = (self.flips.clone(), x.shape().clone());
        let pullback = move |grad: &Tensor| {
            if grad.shape() != &shape {
                bail!(
                    "the gradient has shape {:?}, and the picture {shape:?}",
                    grad.shape()
                );
            }
            let mut grad = grad.detach();
            for flip in flips.iter().rev() {
                grad = ((&grad + flip.back(&grad)?)? * 0.5)?;
            }
            let mut sum = grad.clone();
            for turn in &turns {
                sum = (sum + turn(&grad)?)?;
            }
            scaled(sum, 1 + turns.len())
        };
        Ok((y, Box::new(pullback)))
    }
}

fn scaled(sum: Tensor, count: usize) -> Result<Tensor> {
    if count == 1 {
        Ok(sum)
    } else {
        sum / count as f64
    }
}

#[cfg(test)]
mod tests;
