//! Pictures made small, to compare what is coarse in them.

use candle_core::{Result, Tensor};
use frozen::{Filter, Resample};
use phantasia_core::Seamless;

/// What the mean squared difference of small pictures is multiplied by: far from the target, the gradient is then about as large as that of the
/// embedded CLIP.
pub(crate) const STRENGTH: f64 = 20.0;

/// The width and height of a picture whose shorter side has at most `side` pixels.
pub(crate) fn size([width, height]: [usize; 2], side: usize) -> [usize; 2] {
    let short = width.min(height);
    if short <= side {
        return [width, height];
    }
    let scale = side as f64 / short as f64;
    [width, height].map(|side| (side as f64 * scale).round() as usize)
}

/// What resizes an image `[1, 3, height, width]` to that size.
///
/// # Errors
/// Where it is not of that shape.
pub(crate) fn resample(image: &Tensor, side: usize, seamless: Seamless) -> Result<Resample> {
    let (_, _, height, width) = image.dims4()?;
    let [width, height] = size([width, height], side);
    Ok(Resample::new(height, width, Filter::Bilinear, true)?.wrapping(seamless.axes()))
}
