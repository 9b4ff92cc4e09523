//! The codebook of a VQGAN.

use candle_core::{D, Result, Tensor, bail};
use frozen::{Layer, Linear};

/// Distances that are worked on at once.
const DISTANCES: usize = 1 << 24;

/// A codebook: `count` vectors of `channels` numbers.
pub struct Codebook {
    /// [count, channels]
    codes: Tensor,
    /// x to |c|^2 - 2 x.c for each code c, which is |x - c|^2 less |x|^2.
    distances: Linear,
    /// The least of each channel, [1, channels, 1, 1]; likewise the largest, and mean and standard deviation.
    low: Tensor,
    high: Tensor,
    mean: Tensor,
    deviation: Tensor,
}

impl Codebook {
    /// `codes` is [count, channels].
    ///
    /// # Errors
    /// Where it has another rank or is empty.
    pub fn new(codes: Tensor) -> Result<Self> {
        let (count, channels) = codes.dims2()?;
        if count == 0 || channels == 0 {
            bail!("a codebook of shape {:?} has no codes", codes.shape());
        }
        let column = |x: Tensor| x.reshape((1, channels, 1, 1));
        let mean = codes.mean_keepdim(0)?;
        let deviation = codes.broadcast_sub(&mean)?.sqr()?.mean_keepdim(0)?.sqrt()?;
        Ok(Self {
            distances: Linear::new((&codes * -2.0)?, Some(codes.sqr()?.sum(1)?))?,
            low: column(codes.min_keepdim(0)?)?,
            high: column(codes.max_keepdim(0)?)?,
            mean: column(mean)?,
            deviation: column(deviation)?,
            codes,
        })
    }

    /// How many vectors there are.
    pub fn count(&self) -> usize {
        self.codes.dims()[0]
    }

    /// Numbers in each vector.
    pub fn channels(&self) -> usize {
        self.codes.dims()[1]
    }

    /// The nearest code of each latent of `[batch, channels, h, w]`: their numbers, `[batch h w]`.
    ///
    /// # Errors
    /// Where the latents have another number of channels.
    pub fn nearest(&self, latents: &Tensor) -> Result<Tensor> {
        let (b, c, h, w) = latents.dims4()?;
        let rows = latents.permute((0, 2, 3, 1))?.reshape((b * h * w, c))?;
        let share = (DISTANCES / self.count()).max(1);
        let parts = (0..b * h * w).step_by(share).map(|start| {
            let part = rows.narrow(0, start, share.min(b * h * w - start))?;
            self.distances.eval(&part)?.argmin(D::Minus1)
        });
        Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)
    }

    /// The codes of those numbers, `[batch h w]`, as latents of shape `[batch, channels, h, w]`.
    ///
    /// # Errors
    /// Where there are not that many, or one is no code's.
    pub fn lookup(&self, numbers: &Tensor, shape: (usize, usize, usize)) -> Result<Tensor> {
        let (b, h, w) = shape;
        self.codes
            .index_select(numbers, 0)?
            .reshape((b, h, w, self.channels()))?
            .permute((0, 3, 1, 2))?
            .contiguous()
    }

    /// Each latent of `[batch, channels, h, w]` replaced by the nearest code. The gradient passes as if nothing was done
    /// (van den Oord et al. 2017: straight through).
    ///
    /// # Errors
    /// Where the latents have another number of channels.
    pub fn quantise(&self, latents: &Tensor) -> Result<Tensor> {
        let (b, _, h, w) = latents.dims4()?;
        self.lookup(&self.nearest(latents)?, (b, h, w))
    }

    /// Latents kept within the range that each channel has among the codes.
    ///
    /// # Errors
    /// Where the latents have another number of channels.
    pub fn clamp(&self, latents: &Tensor) -> Result<Tensor> {
        latents
            .broadcast_maximum(&self.low)?
            .broadcast_minimum(&self.high)
    }

    /// Standard noise to noise with the mean and deviation that each channel has among the codes.
    pub(crate) fn colour(&self, noise: &Tensor) -> Result<Tensor> {
        noise
            .broadcast_mul(&self.deviation)?
            .broadcast_add(&self.mean)
    }
}
