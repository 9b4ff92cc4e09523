//! Decoding in tiles, so that memory does not grow with the picture.

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use frozen::{Layer, Pullback, add_to};

/// The smallest tile, in latents a side.
pub(super) const LEAST: usize = 8;

/// A decoder applied to tiles of the latents that overlap, their pictures blended into each other where they do.
///
/// Nothing of a tile is kept: the pullback decodes each one again. The picture is not exactly that of the whole, since norms and
/// attention see one tile at a time.
pub(super) struct Tiled<L> {
    decoder: Arc<L>,
    tile: usize,
    overlap: usize,
    factor: usize,
}

/// One tile: its first latent in both directions, and its size.
#[derive(Clone, Copy)]
struct Tile {
    y: usize,
    x: usize,
    h: usize,
    w: usize,
}

impl<L> Tiled<L> {
    /// Tiles of `tile` latents a side, a quarter of it overlapping; a latent is `factor` pixels a side of the picture.
    pub fn new(decoder: Arc<L>, tile: usize, factor: usize) -> Result<Self> {
        if tile < 2 || factor == 0 {
            bail!("tiles of {tile} latents cannot overlap");
        }
        Ok(Self {
            decoder,
            tile,
            overlap: tile.div_ceil(4),
            factor,
        })
    }

    /// Starts of the tiles along a side of `latents`, the last one ending with it.
    fn starts(&self, latents: usize) -> Vec<usize> {
        if latents <= self.tile {
            return vec![0];
        }
        let count = (latents - self.overlap).div_ceil(self.tile - self.overlap);
        let rest = latents - self.tile;
        (0..count).map(|i| i * rest / (count - 1)).collect()
    }

    /// How much each pixel along a tile's side counts: rising over the overlap at an end that is not the picture's. [`Tiled::shares`]
    /// normalises the weights of neighbours.
    fn ramp(&self, start: usize, size: usize, latents: usize) -> Vec<f32> {
        let (pixels, overlap) = (size * self.factor, self.overlap * self.factor);
        (0..pixels)
            .map(|i| {
                let rise = |distance: usize| ((distance as f32 + 0.5) / overlap as f32).min(1.0);
                let low = if start > 0 { rise(i) } else { 1.0 };
                let high = if start + size < latents {
                    rise(pixels - 1 - i)
                } else {
                    1.0
                };
                low * high
            })
            .collect()
    }

    /// For each tile along a side, the share of each of its pixels.
    fn shares(&self, starts: &[usize], latents: usize) -> Vec<Vec<f32>> {
        let size = self.tile.min(latents);
        let mut sum = vec![0.0; latents * self.factor];
        let mut ramps: Vec<Vec<f32>> = (starts.iter())
            .map(|&start| self.ramp(start, size, latents))
            .collect();
        for (&start, ramp) in starts.iter().zip(&ramps) {
            for (sum, share) in sum[start * self.factor..].iter_mut().zip(ramp) {
                *sum += share;
            }
        }
        for (&start, ramp) in starts.iter().zip(&mut ramps) {
            for (share, sum) in ramp.iter_mut().zip(&sum[start * self.factor..]) {
                *share /= sum;
            }
        }
        ramps
    }

    /// The tiles, each with the share of its pixels, `[1, 1, h, w]`.
    fn plan(&self, latents: &Tensor) -> Result<Vec<(Tile, Tensor)>> {
        let (_, _, h, w) = latents.dims4()?;
        let (rows, columns) = (self.starts(h), self.starts(w));
        let down = self.shares(&rows, h);
        let along = self.shares(&columns, w);
        let (h, w) = (self.tile.min(h), self.tile.min(w));
        let mut plan = vec![];
        for (&y, down) in rows.iter().zip(&down) {
            for (&x, along) in columns.iter().zip(&along) {
                let device = latents.device();
                let down = Tensor::from_slice(down, (1, 1, down.len(), 1), device)?;
                let along = Tensor::from_slice(along, (1, 1, 1, along.len()), device)?;
                let share = down.broadcast_mul(&along)?.to_dtype(latents.dtype())?;
                plan.push((Tile { y, x, h, w }, share));
            }
        }
        Ok(plan)
    }
}

impl<L: Layer + 'static> Layer for Tiled<L> {
    fn eval(&self, latents: &Tensor) -> Result<Tensor> {
        let (_, _, h, w) = latents.dims4()?;
        let size = (h * self.factor, w * self.factor);
        let mut image: Option<Tensor> = None;
        for (tile, share) in self.plan(latents)? {
            let part = self.decoder.eval(&tile.of(latents, 1)?)?;
            let part = tile.placed(&part.broadcast_mul(&share)?, size, self.factor)?;
            add_to(&mut image, part)?;
        }
        image.ok_or_else(|| candle_core::Error::Msg("no latents to decode".to_owned()))
    }

    fn vjp(&self, latents: &Tensor) -> Result<(Tensor, Pullback)> {
        let (image, plan) = (self.eval(latents)?, self.plan(latents)?);
        let (latents, factor) = (latents.detach(), self.factor);
        let decoder = Arc::clone(&self.decoder);
        let (_, _, h, w) = latents.dims4()?;
        let pullback = move |grad: &Tensor| {
            let mut sum = latents.zeros_like()?;
            for (tile, share) in &plan {
                let grad = tile.of(grad, factor)?.broadcast_mul(share)?;
                let (_, pull) = decoder.vjp(&tile.of(&latents, 1)?)?;
                sum = (sum + tile.placed(&pull(&grad)?, (h, w), 1)?)?;
            }
            Ok(sum)
        };
        Ok((image, Box::new(pullback)))
    }
}

impl Tile {
    /// This part of latents, or of a picture whose pixels are `factor` a latent.
    fn of(&self, x: &Tensor, factor: usize) -> Result<Tensor> {
        x.narrow(2, self.y * factor, self.h * factor)?
            .narrow(3, self.x * factor, self.w * factor)?
            .contiguous()
    }

    /// `part` with zeros around it, at this place in a plane of `h` x `w`.
    fn placed(&self, part: &Tensor, (h, w): (usize, usize), factor: usize) -> Result<Tensor> {
        let (y, x) = (self.y * factor, self.x * factor);
        let (_, _, ph, pw) = part.dims4()?;
        part.pad_with_zeros(2, y, h - y - ph)?
            .pad_with_zeros(3, x, w - x - pw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use frozen::UpsampleNearest;

    fn latents(h: usize, w: usize) -> Result<Tensor> {
        let values: Vec<f32> = (0..2 * h * w).map(|i| (0.7 * i as f32).sin()).collect();
        Tensor::from_vec(values, (1, 2, h, w), &Device::Cpu)
    }

    fn distance(a: &Tensor, b: &Tensor) -> Result<f32> {
        (a - b)?.abs()?.max_all()?.to_scalar()
    }

    #[test]
    fn tiles_of_a_local_decoder_make_up_the_whole() -> Result<()> {
        // each pixel depends on one latent alone, so that where a tile ends does not show
        for (h, w) in [(3, 4), (9, 8), (8, 21), (30, 17)] {
            let whole = UpsampleNearest::new(2)?;
            let tiled = Tiled::new(Arc::new(whole), 8, 2)?;
            let z = latents(h, w)?;
            let (image, pull) = tiled.vjp(&z)?;
            assert!(distance(&image, &whole.eval(&z)?)? < 1e-6, "{h} x {w}");
            let grad = image.affine(3.0, 0.5)?;
            let expected = whole.vjp(&z)?.1(&grad)?;
            assert!(distance(&pull(&grad)?, &expected)? < 1e-5, "{h} x {w}");
        }
        Ok(())
    }
}
