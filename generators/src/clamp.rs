//! Clamping with a gradient outside of the range.

use candle_core::{Result, Tensor};
use frozen::{Layer, Pullback};

/// Clamps to 0..=1, and passes the gradient wherever descending along it does not lead farther outside.
///
/// A plain clamp has no gradient outside of its range, so that what has left it never comes back. Here the gradient `g` passes
/// where `g * (x - clamp(x)) >= 0`, that is inside, and outside where descending leads back in
/// (VQGAN-CLIP's `clamp_with_grad`).
#[derive(Clone, Copy, Debug, Default)]
pub struct ClampWithGrad;

impl Layer for ClampWithGrad {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        x.detach().clamp(0.0, 1.0)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let x = x.detach();
        let y = x.clamp(0.0, 1.0)?;
        let excess = (&x - &y)?;
        let pullback = move |grad: &Tensor| {
            let passes = (grad * &excess)?.ge(0.0)?.to_dtype(grad.dtype())?;
            grad * passes
        };
        Ok((y, Box::new(pullback)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn the_gradient_passes_inside_and_towards_the_inside() -> Result<()> {
        let x = Var::new(&[-0.5f32, -0.5, 0.5, 1.5, 1.5], &Device::Cpu)?;
        let g = Tensor::new(&[1f32, -1.0, 1.0, 1.0, -1.0], &Device::Cpu)?;
        let y = ClampWithGrad.forward(&x)?;
        assert_eq!(y.to_vec1::<f32>()?, [0.0, 0.0, 0.5, 1.0, 1.0]);
        let grads = (y * g)?.sum_all()?.backward()?;
        let grad = grads.get(&x).expect("a gradient").to_vec1::<f32>()?;
        // descent moves against the gradient: at -0.5 a negative one leads up, back inside
        assert_eq!(grad, [0.0, -1.0, 1.0, 1.0, 0.0]);
        Ok(())
    }
}
