//! Gated linear units.

use candle_core::{D, Result, Tensor, bail};

use crate::activation::{Activation, of_curve};
use crate::elementwise::{gate, gate_slope};
use crate::host::{self, Slice, fused};
use crate::layer::{Layer, Pullback};
use crate::real::Real;

/// The product of a gated linear unit (Shazeer 2020): of [..., 2 h], the activation of the first h elements times the last h, [..., h]. SwiGLU
/// with [`Activation::Silu`], GeGLU with [`Activation::Gelu`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gate(pub Activation);

impl Gate {
    fn value<T: Real>(self, x: &Tensor, half: usize) -> Result<Tensor> {
        let x = x.contiguous()?;
        let slice = Slice::<T>::new(&x)?;
        host::tensor(of_curve!(self.0, gate(&slice, half)), halved(&x, half))
    }

    fn pull<T: Real>(self, x: &Tensor, grad: &Tensor, half: usize) -> Result<Tensor> {
        let grad = grad.contiguous()?;
        let (slice, g) = (Slice::<T>::new(x)?, Slice::<T>::new(&grad)?);
        host::tensor(of_curve!(self.0, gate_slope(&slice, &g, half)), x.shape())
    }

    fn composed(self, x: &Tensor, half: usize) -> Result<Tensor> {
        let value = x.narrow(D::Minus1, half, half)?;
        self.0.composed(&x.narrow(D::Minus1, 0, half)?, false)? * value
    }

    fn pull_composed(self, x: &Tensor, grad: &Tensor, half: usize) -> Result<Tensor> {
        let gate = x.narrow(D::Minus1, 0, half)?;
        let value = x.narrow(D::Minus1, half, half)?;
        let to_gate = ((self.0.composed(&gate, true)? * value)? * grad)?;
        let to_value = (self.0.composed(&gate, false)? * grad)?;
        Tensor::cat(&[to_gate, to_value], D::Minus1)
    }
}

/// The shape of `x` with `half` as its last dimension.
fn halved(x: &Tensor, half: usize) -> Vec<usize> {
    let mut dims = x.dims().to_vec();
    dims.pop();
    dims.push(half);
    dims
}

/// Half of the last dimension.
fn half(x: &Tensor) -> Result<usize> {
    match x.dims().last() {
        Some(&width) if width > 0 && width % 2 == 0 => Ok(width / 2),
        _ => bail!("Gate: expected [..., 2 h], found {:?}", x.shape()),
    }
}

impl Layer for Gate {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let half = half(x)?;
        fused!(x, self.value(x, half), self.composed(x, half))
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (x, layer, half) = (x.contiguous()?, *self, half(x)?);
        let y = self.eval(&x)?;
        let shape = y.shape().clone();
        let pullback = move |grad: &Tensor| {
            host::check_grad("Gate", grad, &shape)?;
            fused!(
                grad,
                layer.pull(&x, grad, half),
                layer.pull_composed(&x, grad, half)
            )
        };
        Ok((y, Box::new(pullback)))
    }
}
