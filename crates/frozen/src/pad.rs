//! Padding of images.

use candle_core::{Result, Tensor, bail};

use crate::host::{self, dims4};
use crate::layer::{Layer, Pullback};

/// Images [b, c, h, w] with rows and columns added around them: of zeros, or along axes that wrap the pixels of the opposite side
/// (`torch.nn.functional.pad` with `mode="circular"`).
#[derive(Clone, Copy, Debug)]
pub struct Pad {
    sides: [Side; 2],
}

/// What is added along one axis.
#[derive(Clone, Copy, Debug)]
struct Side {
    before: usize,
    after: usize,
    wraps: bool,
}

impl Pad {
    /// How many rows are added above and below, and how many columns on the left and on the right; `wrap` says for y and for x whether
    /// the image continues at the opposite side.
    pub fn new(rows: [usize; 2], columns: [usize; 2], wrap: [bool; 2]) -> Self {
        let side = |[before, after]: [usize; 2], wraps| Side {
            before,
            after,
            wraps,
        };
        Self {
            sides: [side(rows, wrap[0]), side(columns, wrap[1])],
        }
    }
}

impl Side {
    fn apply(self, x: &Tensor, dim: usize) -> Result<Tensor> {
        let Self {
            before,
            after,
            wraps,
        } = self;
        if before + after == 0 {
            return Ok(x.clone());
        }
        if !wraps {
            return x.pad_with_zeros(dim, before, after);
        }
        let size = x.dim(dim)?;
        if before.max(after) > size {
            bail!("Pad: {size} pixels cannot wrap around to {before} and {after} more");
        }
        let mut parts = vec![];
        if before > 0 {
            parts.push(x.narrow(dim, size - before, before)?);
        }
        parts.push(x.clone());
        if after > 0 {
            parts.push(x.narrow(dim, 0, after)?);
        }
        Tensor::cat(&parts, dim)
    }

    /// The transpose: what was copied is added where it came from.
    fn pull(self, grad: &Tensor, dim: usize) -> Result<Tensor> {
        let Self {
            before,
            after,
            wraps,
        } = self;
        let size = grad.dim(dim)? - before - after;
        let mut sum = grad.narrow(dim, before, size)?;
        if wraps && after > 0 {
            let first = grad.narrow(dim, before + size, after)?;
            sum = (sum + first.pad_with_zeros(dim, 0, size - after)?)?;
        }
        if wraps && before > 0 {
            let last = grad.narrow(dim, 0, before)?;
            sum = (sum + last.pad_with_zeros(dim, size - before, 0)?)?;
        }
        sum.contiguous()
    }
}

impl Layer for Pad {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        dims4("Pad", x)?;
        let [rows, columns] = self.sides;
        columns.apply(&rows.apply(&x.detach(), 2)?, 3)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let padded = self.eval(x)?;
        let ([rows, columns], shape) = (self.sides, padded.shape().clone());
        let pullback = move |grad: &Tensor| {
            host::check_grad("Pad", grad, &shape)?;
            rows.pull(&columns.pull(grad, 3)?, 2)
        };
        Ok((padded, Box::new(pullback)))
    }
}
