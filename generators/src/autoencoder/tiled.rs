//! Decoding in tiles, so that memory does not grow with the picture.

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use frozen::{Layer, Pad, Pullback, add_to};

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
    /// Along y and x, whether the picture continues at the opposite side, and tiles lie across its edge.
    wrap: [bool; 2],
}

/// One tile: its first latent in both directions, and its size. It may reach over the far edge, to the opposite side.
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
            wrap: [false; 2],
        })
    }

    /// The same, for a picture that continues at the opposite side along the axes that wrap, y and x.
    pub fn wrapping(self, wrap: [bool; 2]) -> Self {
        Self { wrap, ..self }
    }

    /// Starts of the tiles along a side of `latents`: the last one ends with it, or overlaps with the first where it wraps.
    fn starts(&self, latents: usize, wraps: bool) -> Vec<usize> {
        if latents <= self.tile {
            return vec![0];
        }
        let step = self.tile - self.overlap;
        if wraps {
            let count = latents.div_ceil(step);
            return (0..count).map(|i| i * latents / count).collect();
        }
        let count = (latents - self.overlap).div_ceil(step);
        let rest = latents - self.tile;
        (0..count).map(|i| i * rest / (count - 1)).collect()
    }

    /// How much each pixel along a tile's side counts: rising over the overlap at an end that is not the picture's. [`Tiled::shares`]
    /// normalises the weights of neighbours.
    fn ramp(&self, start: usize, size: usize, latents: usize, wraps: bool) -> Vec<f32> {
        let (pixels, overlap) = (size * self.factor, self.overlap * self.factor);
        let wraps = wraps && size < latents;
        (0..pixels)
            .map(|i| {
                let rise = |distance: usize| ((distance as f32 + 0.5) / overlap as f32).min(1.0);
                let low = if wraps || start > 0 { rise(i) } else { 1.0 };
                let high = if wraps || start + size < latents {
                    rise(pixels - 1 - i)
                } else {
                    1.0
                };
                low * high
            })
            .collect()
    }

    /// For each tile along a side, the share of each of its pixels.
    fn shares(&self, starts: &[usize], latents: usize, wraps: bool) -> Vec<Vec<f32>> {
        let size = self.tile.min(latents);
        let pixels = latents * self.factor;
        let mut sum = vec![0.0; pixels];
        let mut ramps: Vec<Vec<f32>> = (starts.iter())
            .map(|&start| self.ramp(start, size, latents, wraps))
            .collect();
        for (&start, ramp) in starts.iter().zip(&ramps) {
            for (i, share) in ramp.iter().enumerate() {
                sum[(start * self.factor + i) % pixels] += share;
            }
        }
        for (&start, ramp) in starts.iter().zip(&mut ramps) {
            for (i, share) in ramp.iter_mut().enumerate() {
                *share /= sum[(start * self.factor + i) % pixels];
            }
        }
        ramps
    }

    /// The tiles, each with the share of its pixels, `[1, 1, h, w]`.
    fn plan(&self, latents: &Tensor) -> Result<Vec<(Tile, Tensor)>> {
        let (_, _, h, w) = latents.dims4()?;
        let [wraps_y, wraps_x] = self.wrap;
        let (rows, columns) = (self.starts(h, wraps_y), self.starts(w, wraps_x));
        let down = self.shares(&rows, h, wraps_y);
        let along = self.shares(&columns, w, wraps_x);
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
        let (_, _, h, w) = x.dims4()?;
        let (y, from_left) = (self.y * factor, self.x * factor);
        let (rows, columns) = (self.h * factor, self.w * factor);
        // over the edge, to the opposite side
        let below = (y + rows).saturating_sub(h);
        let right = (from_left + columns).saturating_sub(w);
        let x = Pad::new([0, below], [0, right], [true; 2]).eval(x)?;
        x.narrow(2, y, rows)?
            .narrow(3, from_left, columns)?
            .contiguous()
    }

    /// `part` with zeros around it, at this place in a plane of `h` x `w`.
    fn placed(&self, part: &Tensor, (h, w): (usize, usize), factor: usize) -> Result<Tensor> {
        let (y, x) = (self.y * factor, self.x * factor);
        let (_, _, ph, pw) = part.dims4()?;
        let placed = part
            .pad_with_zeros(2, y, h.saturating_sub(y + ph))?
            .pad_with_zeros(3, x, w.saturating_sub(x + pw))?;
        folded(&folded(&placed, 2, h)?, 3, w)
    }
}

/// `x` with what lies beyond `size` along a dimension added at its beginning.
fn folded(x: &Tensor, dim: usize, size: usize) -> Result<Tensor> {
    let over = x.dim(dim)? - size;
    if over == 0 {
        return Ok(x.clone());
    }
    let first = x.narrow(dim, size, over)?;
    x.narrow(dim, 0, size)? + first.pad_with_zeros(dim, 0, size - over)?
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

    #[test]
    fn tiles_across_the_edge_of_a_picture_that_wraps_make_up_the_whole() -> Result<()> {
        for (h, w) in [(3, 4), (9, 8), (8, 21), (30, 17)] {
            for wrap in [[true, true], [true, false], [false, true]] {
                let whole = UpsampleNearest::new(2)?;
                let tiled = Tiled::new(Arc::new(whole), 8, 2)?.wrapping(wrap);
                let z = latents(h, w)?;
                let (image, pull) = tiled.vjp(&z)?;
                assert!(
                    distance(&image, &whole.eval(&z)?)? < 1e-6,
                    "{h} x {w} {wrap:?}"
                );
                let grad = image.affine(3.0, 0.5)?;
                let expected = whole.vjp(&z)?.1(&grad)?;
                assert!(
                    distance(&pull(&grad)?, &expected)? < 1e-5,
                    "{h} x {w} {wrap:?}"
                );
            }
        }
        Ok(())
    }
}
