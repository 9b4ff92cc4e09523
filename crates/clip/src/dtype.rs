//! The number types of a CLIP's weights and activations.

use candle_core::{DType, Device, Result as CandleResult, Tensor};
use frozen::{Chain, Layer, Pullback};

use crate::options::Precision;

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

/// A network that computes in another type than that of its input and output, with loss scaling in f16.
pub struct Cast {
    pub net: Chain,
    pub dtype: DType,
}

impl Layer for Cast {
    fn eval(&self, x: &Tensor) -> CandleResult<Tensor> {
        let y = self.net.eval(&x.to_dtype(self.dtype)?)?;
        y.to_dtype(x.dtype())
    }

    fn vjp(&self, x: &Tensor) -> CandleResult<(Tensor, Pullback)> {
        let (dtype, outside) = (self.dtype, x.dtype());
        let (y, back) = self.net.vjp(&x.to_dtype(dtype)?)?;
        let pullback = move |grad: &Tensor| {
            let pull = |scale: f64| {
                let grad = back(&(grad * scale)?.to_dtype(dtype)?)?;
                grad.to_dtype(outside)? / scale
            };
            if dtype != DType::F16 {
                return pull(1.0);
            }
            let mut scale = loss_scale(grad)?;
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
        Ok((y.to_dtype(outside)?, Box::new(pullback)))
    }
}

/// The power of two that brings the largest value to between 1 and 2: f16 has no numbers below 6e-8, where most of a picture's gradient lies.
fn loss_scale(grad: &Tensor) -> CandleResult<f64> {
    let most = grad.abs()?.flatten_all()?.max(0)?.to_dtype(DType::F64)?;
    let most = most.to_scalar::<f64>()?;
    Ok(if most > 0.0 && most.is_finite() {
        (-most.log2().floor()).exp2()
    } else {
        1.0
    })
}
