//! Pictures to start from, made to repeat without a seam.

use candle_core::{Result, Tensor};
use frozen::{Filter, Layer, Resample, resize_to_fill};

/// The share of a side over which an edge is blended.
const BAND: f64 = 0.125;

/// An image `[1, c, h, w]` blended with its mirror image near the edges of the axes that wrap, y and x: half and half at the edge itself,
/// so that opposite edges are equal, and less and less inwards, over an eighth of the side.
pub(super) fn blend_edges(image: &Tensor, wrap: [bool; 2]) -> Result<Tensor> {
    let mut image = image.clone();
    for (dim, wraps) in [(2, wrap[0]), (3, wrap[1])] {
        if !wraps {
            continue;
        }
        let size = image.dim(dim)?;
        let band = (BAND * size as f64).max(1.0);
        let share = |i: usize| {
            let inwards = i.min(size - 1 - i) as f64 / band;
            // half a cosine from 1/2 at the edge to 0
            0.25 * (1.0 + (std::f64::consts::PI * inwards.min(1.0)).cos())
        };
        let shares = (0..size).map(|i| share(i) as f32);
        let mut shape = [1; 4];
        shape[dim] = size;
        let shares = Tensor::from_iter(shares, image.device())?.reshape(shape.as_slice())?;
        let mirrored = (image.flip(&[dim])? - &image)?;
        image = (image + mirrored.broadcast_mul(&shares.to_dtype(mirrored.dtype())?)?)?;
    }
    Ok(image)
}

/// [`resize_to_fill`], in such a way that an image that repeats along the axes that wrap, y and x, still does. What has to be cropped is blended
/// again.
pub(super) fn resize_seamless(image: &Tensor, size: [usize; 2], wrap: [bool; 2]) -> Result<Tensor> {
    let (_, _, h, w) = image.dims4()?;
    let [width, height] = size;
    if wrap == [false; 2] || (h, w) == (height, width) {
        return resize_to_fill(image, size);
    }
    let [tall, wide] = [height * w, width * h];
    if tall == wide {
        return Resample::new(height, width, Filter::Bicubic, true)?
            .wrapping(wrap)
            .eval(image)?
            .clamp(0.0, 1.0);
    }
    let cropped = [wrap[0] && wide > tall, wrap[1] && tall > wide];
    blend_edges(&resize_to_fill(image, size)?, cropped)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn ramp(h: usize, w: usize) -> Result<Tensor> {
        let value =
            move |i: usize| (i % w) as f32 / w as f32 * 0.5 + (i / w % h) as f32 / h as f32 * 0.5;
        Tensor::from_iter((0..3 * h * w).map(value), &Device::Cpu)?.reshape((1, 3, h, w))
    }

    /// The largest difference of opposite edges along a dimension.
    fn jump(x: &Tensor, dim: usize) -> Result<f32> {
        let last = x.narrow(dim, x.dim(dim)? - 1, 1)?;
        (x.narrow(dim, 0, 1)? - last)?.abs()?.max_all()?.to_scalar()
    }

    #[test]
    fn opposite_edges_become_equal_and_the_middle_stays() -> Result<()> {
        let image = ramp(32, 40)?;
        let blended = blend_edges(&image, [true, false])?;
        assert!(jump(&blended, 2)? < 1e-6 && jump(&blended, 3)? > 0.4);
        let blended = blend_edges(&image, [true, true])?;
        assert!(jump(&blended, 2)? < 1e-6 && jump(&blended, 3)? < 1e-6);
        let middle = |x: &Tensor| x.narrow(2, 8, 16)?.narrow(3, 10, 20);
        let off = (middle(&blended)? - middle(&image)?)?.abs()?.max_all()?;
        assert!(off.to_scalar::<f32>()? < 1e-6);
        Ok(())
    }

    #[test]
    fn a_picture_that_repeats_still_does_in_another_size() -> Result<()> {
        let image = blend_edges(&ramp(32, 32)?, [true, true])?;
        for size in [[64, 64], [16, 16], [64, 32], [32, 64], [32, 32]] {
            let resized = resize_seamless(&image, size, [true, true])?;
            assert_eq!(resized.dims(), [1, 3, size[1], size[0]]);
            for dim in [2, 3] {
                assert!(jump(&resized, dim)? < 0.05, "{size:?} {dim}");
            }
        }
        Ok(())
    }

    #[test]
    fn without_an_axis_nothing_changes() -> Result<()> {
        let image = ramp(20, 30)?;
        let same = |a: &Tensor, b: &Tensor| -> Result<bool> {
            Ok(a.flatten_all()?.to_vec1::<f32>()? == b.flatten_all()?.to_vec1::<f32>()?)
        };
        assert!(same(&blend_edges(&image, [false; 2])?, &image)?);
        let resized = resize_seamless(&image, [17, 23], [false; 2])?;
        assert!(same(&resized, &resize_to_fill(&image, [17, 23])?)?);
        Ok(())
    }
}
