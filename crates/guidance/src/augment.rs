//! What is done to views after they are cut, as layers: affine in the pixels, so that their gradients are exact.

use candle_core::{Device, Result, Tensor};
use frozen::{Layer, Pullback};

/// A colour matrix for each view.
pub struct ColorAffine {
    /// `[views, 3, 3]`
    matrix: Tensor,
    /// `[views, 3, 1]`
    shift: Tensor,
}

impl ColorAffine {
    /// Three rows of three factors and a shift for each view; none leaves its colours.
    pub fn new(
        colors: impl ExactSizeIterator<Item = Option<[f32; 12]>>,
        device: &Device,
    ) -> Result<Self> {
        const IDENTITY: [f32; 12] = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        let n = colors.len();
        let rows: Vec<f32> = colors.flat_map(|color| color.unwrap_or(IDENTITY)).collect();
        let rows = Tensor::from_vec(rows, (n, 3, 4), device)?;
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
    /// `[views, 1, size, size]`, 0 where the view is erased; none where nothing is.
    pub kept: Option<Tensor>,
    /// `[views, 3, size, size]`
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
