//! The padding of convolutions that halve a picture's sides.

use candle_core::{Result, Tensor};
use frozen::{Layer, Pullback};

/// A row of zeros below and a column of zeros on the right: what both frameworks put in front of the convolution that
/// halves the sides.
pub(crate) struct PadEnd;

impl Layer for PadEnd {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        x.pad_with_zeros(2, 0, 1)?.pad_with_zeros(3, 0, 1)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (_, _, h, w) = x.dims4()?;
        let pullback = move |grad: &Tensor| grad.narrow(2, 0, h)?.narrow(3, 0, w)?.contiguous();
        Ok((self.eval(x)?, Box::new(pullback)))
    }
}
