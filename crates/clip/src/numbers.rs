//! In what numbers a CLIP is kept and computed.

use candle_core::{DType, Device, Result as CandleResult, Tensor};
use frozen::{Chain, Layer, Pullback};

use crate::Precision;

/// How weights are rounded, and what is computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// What weights are rounded to.
    pub rounded: DType,
    /// What they are kept and computed in.
    pub computed: DType,
}

impl Numbers {
    /// f32 throughout.
    pub const F32: Self = Self {
        rounded: DType::F32,
        computed: DType::F32,
    };

    /// What a precision means on a device. On a GPU weights and activations are of that precision. The processor has no fast kernels for
    /// halves: there the weights are rounded, and kept and computed in f32, so that the picture comes close to the GPU's, at the cost of f32.
    pub fn of(precision: Precision, device: &Device) -> Self {
        let rounded = match precision {
            Precision::F32 => DType::F32,
            Precision::F16 => DType::F16,
            Precision::Bf16 => DType::BF16,
        };
        Self {
            rounded,
            computed: match device.is_cpu() {
                true => DType::F32,
                false => rounded,
            },
        }
    }
}

/// Where a gradient grows beyond f16 on its way back, it is sent again, so much smaller, and so often at most.
const LOWERING: f64 = 1.0 / 256.0;
const LOWERINGS: usize = 3;

/// A network computed in other numbers than what goes in and comes out, which is f32.
pub struct Within {
    net: Chain,
    numbers: DType,
}

impl Within {
    /// `net` with weights of the type `numbers`.
    pub fn new(net: Chain, numbers: DType) -> Self {
        Self { net, numbers }
    }
}

impl Layer for Within {
    fn eval(&self, x: &Tensor) -> CandleResult<Tensor> {
        self.net
            .eval(&x.to_dtype(self.numbers)?)?
            .to_dtype(x.dtype())
    }

    fn vjp(&self, x: &Tensor) -> CandleResult<(Tensor, Pullback)> {
        let (numbers, outside) = (self.numbers, x.dtype());
        let (y, back) = self.net.vjp(&x.to_dtype(numbers)?)?;
        let pullback = move |grad: &Tensor| {
            let pull = |scale: f64| {
                let grad = back(&(grad * scale)?.to_dtype(numbers)?)?;
                grad.to_dtype(outside)? / scale
            };
            if numbers != DType::F16 {
                return pull(1.0);
            }
            let mut scale = lift(grad)?;
            for _ in 0..LOWERINGS {
                let pulled = pull(scale)?;
                let most = pulled.sqr()?.sum_all()?.to_dtype(DType::F64)?;
                if most.to_scalar::<f64>()?.is_finite() {
                    return Ok(pulled);
                }
                scale *= LOWERING;
            }
            pull(scale)
        };
        Ok((y.to_dtype(outside)?, Box::new(pullback)))
    }
}

/// The power of two that brings the largest value to between 1 and 2: f16 has no numbers below 6e-8, where most of a picture's gradient lies.
fn lift(grad: &Tensor) -> CandleResult<f64> {
    let most = grad.abs()?.flatten_all()?.max(0)?.to_dtype(DType::F64)?;
    let most = most.to_scalar::<f64>()?;
    Ok(match most > 0.0 && most.is_finite() {
        true => (-most.log2().floor()).exp2(),
        false => 1.0,
    })
}
