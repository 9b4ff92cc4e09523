//! Samplers: how a noisy image and the clean one that is seen in it make the image of the next, lower noise level.

use candle_core::{Result, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rule of a sampler's step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Denoising diffusion implicit models (Song et al. 2021).
    ///
    /// In the coordinates of Karras et al. this is [`Sampler::EulerAncestral`] with the same eta (equations 12 and 16): the variance
    /// `eta^2 (1 - a') / (1 - a) (1 - a / a')`, divided by `a' = 1 / (1 + s'^2)`, is `eta^2 s'^2 (s^2 - s'^2) / s^2`.
    Ddim,
    /// Euler's method.
    ///
    /// Along the line from the noisy to the clean image (Karras et al. 2022, algorithm 1 without its correction).
    Euler,
    /// Euler's method with new noise at every step.
    ///
    /// To below the next level, and back up to it with new noise (Karras et al. 2022, algorithm 2's idea; Crowson's k-diffusion).
    EulerAncestral,
    /// DPM-Solver++(2M): second order, the best in few steps.
    ///
    /// Lu et al. 2022, arXiv 2211.01095, algorithm 2.
    #[serde(rename = "dpmpp_2m")]
    DpmPlusPlus2M,
}

/// The noise levels of one step.
#[derive(Clone, Copy, Debug)]
pub struct SamplerStep {
    /// The level of the step before, if there was one.
    pub previous: Option<f64>,
    /// The noise level of the image.
    pub from: f64,
    /// The noise level to go to; 0 gives the clean image.
    pub to: f64,
}

impl Sampler {
    /// The share of new noise where it is not set: 0 adds none, 1 as much as the process that the network was trained on. `None` for
    /// samplers that never add noise.
    pub fn default_eta(self) -> Option<f64> {
        match self {
            Self::Ddim => Some(0.0),
            Self::EulerAncestral => Some(1.0),
            Self::Euler | Self::DpmPlusPlus2M => None,
        }
    }

    /// The share of new noise in a step: `set`, or [`Sampler::default_eta`] where it is `None`; 0 for samplers that never add noise.
    pub fn eta(self, set: Option<f64>) -> f64 {
        self.default_eta().map_or(0.0, |eta| set.unwrap_or(eta))
    }

    /// The deviation that is gone down to and that of the new noise, which make `to` together.
    fn split(eta: f64, from: f64, to: f64) -> (f64, f64) {
        let up = (eta * to / from * (from * from - to * to).max(0.0).sqrt()).min(to);
        ((to * to - up * up).sqrt(), up)
    }

    /// The image at the level `to`.
    ///
    /// `eta` replaces [`Sampler::default_eta`]; `x` is the image at `from`, `denoised` the clean image seen in it, `previous` the clean image of the step before
    /// (read by the multistep solver alone), all of one shape; `noise` gives standard normal noise of that shape.
    pub fn step(
        self,
        eta: Option<f64>,
        x: &Tensor,
        denoised: &Tensor,
        previous: Option<&Tensor>,
        at: SamplerStep,
        noise: impl FnOnce() -> Result<Tensor>,
    ) -> Result<Tensor> {
        let SamplerStep { from, to, .. } = at;
        if to == 0.0 {
            return Ok(denoised.clone());
        }
        // d + (x - d) * share
        let towards = |clean: &Tensor, share: f64| (x * share)? + (clean * (1.0 - share))?;
        match self {
            Self::Euler => towards(denoised, to / from),
            Self::Ddim | Self::EulerAncestral => {
                let (down, up) = Self::split(self.eta(eta), from, to);
                let x = towards(denoised, down / from)?;
                if up == 0.0 {
                    return Ok(x);
                }
                x + (noise()? * up)?
            }
            Self::DpmPlusPlus2M => {
                let (Some(old), Some(before)) = (previous, at.previous) else {
                    return towards(denoised, to / from);
                };
                // steps of the logarithm of the level; exp(-step) = to / from
                let (last, step) = ((before / from).ln(), (from / to).ln());
                let ahead = step / (2.0 * last);
                let clean = ((denoised * (1.0 + ahead))? - (old * ahead)?)?;
                towards(&clean, to / from)
            }
        }
    }
}
