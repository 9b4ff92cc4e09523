//! The common interface of samplers and networks: the clean image that a network predicts from a noisy one.

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use frozen::{Layer, Pullback};

use super::noise_schedule::NoiseSchedule;
use crate::ClampWithGrad;

/// What predicts the clean image: `denoised = model(x, sigma)` (Karras et al. 2022).
///
/// `x` is `[batch, channels, height, width]`, a clean image in -1..=1 plus `sigma` times standard normal noise; the value has
/// its shape.
pub trait Denoiser: Send + Sync {
    /// The clean image. Nothing is kept for a backward pass.
    fn eval(&self, x: &Tensor, sigma: f64) -> Result<Tensor>;

    /// The clean image, and the function that takes a gradient of it back to `x`.
    fn vjp(&self, x: &Tensor, sigma: f64) -> Result<(Tensor, Pullback)>;

    /// The noise levels that it was trained at.
    fn levels(&self) -> &NoiseSchedule;

    /// What both sides of its images must be a multiple of.
    fn multiple(&self) -> usize;
}

/// What a network predicts from a noisy image `alpha * image + beta * noise`, where `alpha^2 + beta^2 = 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prediction {
    /// The noise (Ho et al. 2020).
    Epsilon,
    /// `alpha * noise - beta * image` (Salimans and Ho 2022).
    Velocity,
    /// The image.
    Sample,
}

/// A network that predicts at a discrete time, `[batch, channels, height, width]` to the same shape.
pub trait Network: Send + Sync {
    /// The network at that time, which may lie between two that it was trained at.
    fn at(&self, time: f64) -> Result<Box<dyn Layer>>;

    /// What both sides of its images must be a multiple of.
    fn multiple(&self) -> usize;

    /// Sentences for the user about its files, such as unused tensors.
    fn warnings(&self) -> &[String] {
        &[]
    }
}

/// A network of discrete times as a [`Denoiser`].
#[derive(Clone)]
pub struct DiscreteDenoiser {
    /// The network.
    pub network: Arc<dyn Network>,
    /// The noise levels of its times.
    pub levels: NoiseSchedule,
    /// What it predicts.
    pub prediction: Prediction,
    /// Clamp the clean image to -range..=range, with the gradient of [`ClampWithGrad`].
    pub clip: Option<f64>,
}

impl DiscreteDenoiser {
    /// The factors of `x` and of the network's output in the clean image, `sigma` given.
    fn shares(&self, sigma: f64) -> (f64, f64) {
        let square = 1.0 + sigma * sigma;
        match self.prediction {
            // x - sigma * noise
            Prediction::Epsilon => (1.0, -sigma),
            // alpha * (alpha * x) - beta * v, with alpha = 1 / sqrt(1 + sigma^2) and beta = sigma * alpha
            Prediction::Velocity => (1.0 / square, -sigma / square.sqrt()),
            Prediction::Sample => (0.0, 1.0),
        }
    }

    fn network(&self, sigma: f64) -> Result<(f64, Box<dyn Layer>)> {
        if !(sigma > 0.0 && sigma.is_finite()) {
            bail!("a noise level of {sigma}: it must be above 0");
        }
        let scale = 1.0 / (1.0 + sigma * sigma).sqrt();
        Ok((scale, self.network.at(self.levels.time(sigma))?))
    }
}

fn blend(x: &Tensor, of_x: f64, y: &Tensor, of_y: f64) -> Result<Tensor> {
    let y = (y * of_y)?;
    if of_x == 0.0 { Ok(y) } else { (x * of_x)? + y }
}

/// [`ClampWithGrad`] over -range..=range.
fn clip(x: &Tensor, range: f64) -> Result<(Tensor, Pullback)> {
    let (y, pullback) = ClampWithGrad.vjp(&x.affine(0.5 / range, 0.5)?)?;
    // the two affine factors cancel out in the gradient
    Ok((y.affine(2.0 * range, -range)?, pullback))
}

impl Denoiser for DiscreteDenoiser {
    fn eval(&self, x: &Tensor, sigma: f64) -> Result<Tensor> {
        let (scale, network) = self.network(sigma)?;
        let (of_x, of_y) = self.shares(sigma);
        let clean = blend(x, of_x, &network.eval(&(x * scale)?)?, of_y)?;
        match self.clip {
            None => Ok(clean),
            Some(range) => clean.clamp(-range, range),
        }
    }

    fn vjp(&self, x: &Tensor, sigma: f64) -> Result<(Tensor, Pullback)> {
        let (scale, network) = self.network(sigma)?;
        let (of_x, of_y) = self.shares(sigma);
        let (y, pullback) = network.vjp(&(x * scale)?)?;
        let clean = blend(x, of_x, &y, of_y)?;
        let back = move |grad: &Tensor| {
            let through = pullback(&(grad * of_y)?)?;
            blend(grad, of_x, &through, scale)
        };
        let Some(range) = self.clip else {
            return Ok((clean, Box::new(back)));
        };
        let (clean, inside) = clip(&clean, range)?;
        Ok((clean, Box::new(move |grad| back(&inside(grad)?))))
    }

    fn levels(&self) -> &NoiseSchedule {
        &self.levels
    }

    fn multiple(&self) -> usize {
        self.network.multiple()
    }
}

/// Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598): `negative + scale *
/// (positive - negative)`, away from the prediction for one text and towards that for another.
#[derive(Clone)]
pub struct ClassifierFreeGuidance {
    /// The model conditioned on the positive text.
    pub positive: Arc<dyn Denoiser>,
    /// The model conditioned on the negative text, which may be empty.
    pub negative: Arc<dyn Denoiser>,
    /// 1 is the positive text alone, 0 the negative one.
    pub scale: f64,
}

impl Denoiser for ClassifierFreeGuidance {
    fn eval(&self, x: &Tensor, sigma: f64) -> Result<Tensor> {
        let (positive, negative) = (self.positive.eval(x, sigma)?, self.negative.eval(x, sigma)?);
        (positive * self.scale)? + (negative * (1.0 - self.scale))?
    }

    fn vjp(&self, x: &Tensor, sigma: f64) -> Result<(Tensor, Pullback)> {
        let (positive, pull_positive) = self.positive.vjp(x, sigma)?;
        let (negative, pull_negative) = self.negative.vjp(x, sigma)?;
        let scale = self.scale;
        let y = ((positive * scale)? + (negative * (1.0 - scale))?)?;
        let back = move |grad: &Tensor| {
            pull_positive(&(grad * scale)?)? + pull_negative(&(grad * (1.0 - scale))?)?
        };
        Ok((y, Box::new(back)))
    }

    fn levels(&self) -> &NoiseSchedule {
        self.positive.levels()
    }

    fn multiple(&self) -> usize {
        self.positive.multiple()
    }
}
