//! Guidance: what the gradient of an image changes in the prediction of a clean one.

use candle_core::{DType, Result, Tensor};

/// How far the clean image is moved down a gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guide {
    /// The factor of the gradient.
    pub scale: f64,
    /// The largest root mean square of the scaled gradient, as Disco Diffusion bounds it (there 0.05).
    pub clamp: Option<f64>,
}

impl Guide {
    /// The clean image, moved: `denoised - sigma^2 * scale * grad` (k-diffusion's conditioning, after Dhariwal and Nichol 2021).
    ///
    /// `grad` is the gradient of the loss with respect to the noisy image `x`, of the shape of `denoised`. It is bounded in the coordinates
    /// in which the variance is preserved, where `x` is divided by, and its gradient multiplied by, `sqrt(1 + sigma^2)`.
    pub fn apply(&self, denoised: &Tensor, grad: &Tensor, sigma: f64) -> Result<Tensor> {
        if self.scale == 0.0 {
            return Ok(denoised.clone());
        }
        let mut factor = self.scale;
        if let Some(most) = self.clamp {
            let mean = grad.sqr()?.mean_all()?.to_dtype(DType::F64)?;
            let rms = (mean.to_scalar::<f64>()? * (1.0 + sigma * sigma)).sqrt() * factor.abs();
            if rms > most {
                factor *= most / rms;
            }
        }
        denoised - (grad * (sigma * sigma * factor))?
    }
}
