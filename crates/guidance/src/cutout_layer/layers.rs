//! Layers that change cutouts after they are cut. They are affine in the pixels, so that their gradients are exact.

use candle_core::{Device, Result, Tensor};
use frozen::{Layer, Pullback};

use super::color::ColorMatrix;

/// A colour matrix for each cutout.
pub struct ColorAffine {
    /// `[cutouts, 3, 3]`
    matrix: Tensor,
    /// `[cutouts, 3, 1]`
    shift: Tensor,
}

impl ColorAffine {
    /// One matrix for each cutout.
    pub fn new(
        matrices: impl ExactSizeIterator<Item = ColorMatrix>,
        device: &Device,
    ) -> Result<Self> {
        let shape = (matrices.len(), 3, 4);
        let rows: Vec<f32> = matrices.flat_map(|matrix| matrix.0).collect();
        let rows = Tensor::from_vec(rows, shape, device)?;
        Ok(Self {
            matrix: rows.narrow(2, 0, 3)?.contiguous()?,
            shift: rows.narrow(2, 3, 1)?.contiguous()?,
        })
    }
}

impl Layer for ColorAffine {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.matrix.matmul(&x.flatten_from(2)?)?;
        y.broadcast_add(&self.shift)?.reshape(x.shape())
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let transposed = self.matrix.t()?.contiguous()?;
        let pullback = move |grad: &Tensor| {
            transposed
                .matmul(&grad.contiguous()?.flatten_from(2)?)?
                .reshape(grad.shape())
        };
        Ok((self.eval(x)?, Box::new(pullback)))
    }
}

/// `x * kept + added`: erased rectangles and noise.
pub struct MaskAdd {
    /// `[cutouts, 1, size, size]`, 0 where a cutout is erased; none where nothing is.
    pub kept: Option<Tensor>,
    /// `[cutouts, 3, size, size]`
    pub added: Tensor,
}

impl Layer for MaskAdd {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        match &self.kept {
            None => x + &self.added,
            Some(kept) => x.broadcast_mul(kept)? + &self.added,
        }
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let kept = self.kept.clone();
        let pullback = move |grad: &Tensor| match &kept {
            None => Ok(grad.clone()),
            Some(kept) => grad.broadcast_mul(kept),
        };
        Ok((self.eval(x)?, Box::new(pullback)))
    }
}
