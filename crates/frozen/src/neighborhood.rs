//! The mean of neighbouring pixels.

use candle_core::{Result, Tensor, bail};

use crate::depthwise::DepthwiseConv2d;
use crate::host;
use crate::layer::{Layer, Pullback};

/// The mean of the k x k pixels around every pixel, or every second in both directions, of which those outside the image do not count:
/// [b, h, w, c] to [b, oh, ow, c], where `oh = ceil(h / stride)`. PyTorch's AvgPool2d with a padding of k / 2 and
/// `count_include_pad=False`.
#[derive(Clone, Debug)]
pub struct NeighborhoodMean {
    sum: DepthwiseConv2d,
    reach: usize,
    stride: usize,
}

impl NeighborhoodMean {
    /// For images of so many channels, in the type and on the device of `like`.
    ///
    /// # Errors
    /// Where the size is even, or the stride is neither 1 nor 2.
    pub fn new(channels: usize, size: usize, stride: usize, like: &Tensor) -> Result<Self> {
        if size.is_multiple_of(2) {
            bail!("NeighborhoodMean: the size must be odd, found {size}");
        }
        let shape = (channels, 1, size, size);
        let ones = Tensor::ones(shape, like.dtype(), like.device())?;
        Ok(Self {
            sum: DepthwiseConv2d::new(ones, None, 1, stride)?,
            reach: size / 2,
            stride,
        })
    }

    /// One over the number of pixels inside the image, for every position of the result, [oh, ow, 1].
    fn shares(&self, h: usize, w: usize, like: &Tensor) -> Result<Tensor> {
        let counts = |size: usize| -> Vec<f64> {
            let centers = (0..size).step_by(self.stride);
            let inside = |center: usize| {
                let last = (center + self.reach).min(size - 1);
                (last + 1 - center.saturating_sub(self.reach)) as f64
            };
            centers.map(inside).collect()
        };
        let (rows, columns) = (counts(h), counts(w));
        let shares = rows
            .iter()
            .flat_map(|y| columns.iter().map(move |x| 1.0 / (x * y)));
        host::constant(shares.collect(), &[rows.len(), columns.len(), 1], like)
    }
}

impl Layer for NeighborhoodMean {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let sums = self.sum.eval(x)?;
        let (_, h, w, _) = x.dims4()?;
        sums.broadcast_mul(&self.shares(h, w, x)?)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (sums, pullback) = self.sum.vjp(x)?;
        let (_, h, w, _) = x.dims4()?;
        let shares = self.shares(h, w, x)?;
        let y = sums.broadcast_mul(&shares)?;
        let shape = y.shape().clone();
        let back = move |grad: &Tensor| {
            host::check_grad("NeighborhoodMean", grad, &shape)?;
            pullback(&grad.broadcast_mul(&shares)?)
        };
        Ok((y, Box::new(back)))
    }
}
