//! The number types of a CLIP's weights and activations.

use candle_core::{DType, Device, Result as CandleResult, Tensor};
use frozen::{Layer, Pullback, TapsPullback, only_tap};

use crate::options::Precision;
use crate::trunk::{Tap, Trunk};

/// The types that a CLIP's weights are rounded to and that it computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DTypePolicy {
    /// The type that weights are rounded to.
    pub weights: DType,
    /// The type that weights are stored and activations computed in.
    pub compute: DType,
}

impl DTypePolicy {
    /// f32 throughout.
    pub const F32: Self = Self {
        weights: DType::F32,
        compute: DType::F32,
    };

    /// The policy for a precision on a device. On a GPU, weights and activations have that precision. The CPU has no fast kernels for half
    /// precision: there the weights are rounded, but stored and computed in f32, so that the picture is close to the GPU's at the cost of f32.
    pub fn of(precision: Precision, device: &Device) -> Self {
        let weights = match precision {
            Precision::F32 => DType::F32,
            Precision::F16 => DType::F16,
            Precision::Bf16 => DType::BF16,
        };
        Self {
            weights,
            compute: if device.is_cpu() { DType::F32 } else { weights },
        }
    }
}

/// When a gradient overflows f16 on its way back, it is computed again with a smaller scale, at most so many times.
const BACKOFF: f64 = 1.0 / 256.0;
const MAX_BACKOFFS: usize = 3;

/// A network that may compute in another type than that of its input and output, with loss scaling in f16.
pub struct Cast {
    pub net: Trunk,
    pub dtype: DType,
}

impl Cast {
    /// [`Trunk::vjp_taps`] in the type of `x`.
    pub fn vjp_taps(&self, x: &Tensor, taps: &[Tap]) -> CandleResult<(Vec<Tensor>, TapsPullback)> {
        let (dtype, outside) = (self.dtype, x.dtype());
        let (values, back) = self.net.vjp_taps(&x.to_dtype(dtype)?, taps)?;
        if dtype == outside {
            return Ok((values, back));
        }
        let pullback = move |grads: &[Tensor]| {
            let pull = |scale: f64| {
                let scaled = (grads.iter())
                    .map(|grad| (grad * scale)?.to_dtype(dtype))
                    .collect::<CandleResult<Vec<_>>>()?;
                back(&scaled)?.to_dtype(outside)? / scale
            };
            if dtype != DType::F16 {
                return pull(1.0);
            }
            let mut scale = loss_scale(grads)?;
            for _ in 0..MAX_BACKOFFS {
                let pulled = pull(scale)?;
                let most = pulled.sqr()?.sum_all()?.to_dtype(DType::F64)?;
                if most.to_scalar::<f64>()?.is_finite() {
                    return Ok(pulled);
                }
                scale *= BACKOFF;
            }
            pull(scale)
        };
        let values = values.iter().map(|value| value.to_dtype(outside));
        Ok((values.collect::<CandleResult<_>>()?, Box::new(pullback)))
    }
}

impl Layer for Cast {
    fn eval(&self, x: &Tensor) -> CandleResult<Tensor> {
        let y = self.net.eval(&x.to_dtype(self.dtype)?)?;
        y.to_dtype(x.dtype())
    }

    fn vjp(&self, x: &Tensor) -> CandleResult<(Tensor, Pullback)> {
        only_tap(self.vjp_taps(x, &[Tap::Embedding])?)
    }
}

/// The power of two that brings the largest value to between 1 and 2: f16 has no numbers below 6e-8, where most of a picture's gradient lies.
fn loss_scale(grads: &[Tensor]) -> CandleResult<f64> {
    let mut most = 0.0;
    for grad in grads {
        let own = grad.abs()?.flatten_all()?.max(0)?.to_dtype(DType::F64)?;
        let own = own.to_scalar::<f64>()?;
        // not `max`, which hides what is not a number
        if own > most || own.is_nan() {
            most = own;
        }
    }
    Ok(if most > 0.0 && most.is_finite() {
        (-most.log2().floor()).exp2()
    } else {
        1.0
    })
}
