//! Masks: where in a picture the prompts of a region count.

use anyhow::Result;
use candle_core::{Device, Tensor};
use frozen::Crop;

use crate::frame::Frame;

/// How far the edge of a rectangle is blurred, as a share of the picture's shorter side: half of it lies inside of the rectangle, half outside. Two
/// rectangles side by side add up to 1, so that no seam is left between them.
const FEATHER: f64 = 0.2;
/// The frame is where the mask is at least this share of its largest value: an image's black is seldom exactly black.
const IN_FRAME: f32 = 1.0 / 16.0;

/// Where a prompt counts in a picture of one size.
#[derive(Debug)]
pub(crate) struct RegionMask {
    /// `[1, 1, height, width]` in 0..=1.
    values: Tensor,
    /// The sum of the values above and to the left of each corner of a pixel, `[height + 1, width + 1]`.
    sums: Vec<f64>,
    size: [usize; 2],
    frame: Frame,
}

impl RegionMask {
    /// Creates a mask from values in 0..=1, `[height, width]`. `None` if all of them are 0.
    pub fn new(
        values: Vec<f32>,
        [width, height]: [usize; 2],
        device: &Device,
    ) -> Result<Option<Self>> {
        let largest = values.iter().copied().fold(0.0, f32::max);
        let Some(frame) = frame(&values, width, largest * IN_FRAME).filter(|_| largest > 0.0)
        else {
            return Ok(None);
        };
        let mut sums = vec![0.0; (width + 1) * (height + 1)];
        for (y, row) in values.chunks_exact(width).enumerate() {
            let mut sum = 0.0;
            for (x, value) in row.iter().enumerate() {
                sum += f64::from(*value);
                sums[(y + 1) * (width + 1) + x + 1] = sums[y * (width + 1) + x + 1] + sum;
            }
        }
        let size = [width, height];
        let tensor = |values| Tensor::from_vec(values, (1, 1, height, width), device);
        Ok(Some(Self {
            values: tensor(values)?,
            sums,
            size,
            frame,
        }))
    }

    /// Creates the mask of a rectangle of left, top, width and height in shares of the picture's. `None` if it is too small for a value above 0.
    pub fn rectangle(
        rectangle: [f64; 4],
        size: [usize; 2],
        device: &Device,
    ) -> Result<Option<Self>> {
        Self::new(rectangle_mask(rectangle, size), size, device)
    }

    /// Width and height of the picture.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The part of the picture that holds the region.
    pub fn frame(&self) -> Frame {
        self.frame
    }

    /// The frame's share of the picture's area.
    pub fn share(&self) -> f64 {
        let [width, height] = self.size;
        self.frame.width * self.frame.height / (width * height) as f64
    }

    /// A gradient `[1, 3, height, width]` times the mask: exactly 0 outside of the region.
    pub fn apply(&self, grad: &Tensor) -> candle_core::Result<Tensor> {
        grad.broadcast_mul(&self.values.to_dtype(grad.dtype())?)
    }

    /// How much cutouts count for the region: the mean of the mask under each, divided by the square root of the mask's mean in the frame (pytti's
    /// rule), so that cutouts of a region with holes do not count for too little.
    pub fn weights<'a>(&self, crops: impl Iterator<Item = &'a Crop>) -> Vec<f64> {
        let Frame {
            top,
            left,
            height,
            width,
        } = self.frame;
        let scale = self.mean([top, left, top + height, left + width]).sqrt();
        crops
            .map(|crop| {
                let (bottom, right) = (crop.top + crop.height, crop.left + crop.width);
                self.mean([crop.top, crop.left, bottom, right]) / scale
            })
            .collect()
    }

    /// The mean of the mask in a rectangle of top, left, bottom and right, as far as it lies within the picture; 0 outside of it.
    fn mean(&self, [top, left, bottom, right]: [f64; 4]) -> f64 {
        let [width, height] = self.size.map(|side| side as f64);
        let [top, bottom] = [top, bottom].map(|y| y.clamp(0.0, height));
        let [left, right] = [left, right].map(|x| x.clamp(0.0, width));
        let area = (bottom - top) * (right - left);
        if area <= 0.0 {
            return 0.0;
        }
        let sum = self.sum(bottom, right) - self.sum(top, right) - self.sum(bottom, left)
            + self.sum(top, left);
        (sum / area).clamp(0.0, 1.0)
    }

    /// The sum of the mask above and to the left of a point, which may lie inside of a pixel.
    fn sum(&self, y: f64, x: f64) -> f64 {
        let [width, height] = self.size;
        let at = |y: usize, x: usize| self.sums[y.min(height) * (width + 1) + x.min(width)];
        let (row, column) = (y.floor() as usize, x.floor() as usize);
        let (down, over) = (y - row as f64, x - column as f64);
        let along = |row| at(row, column) * (1.0 - over) + at(row, column + 1) * over;
        along(row) * (1.0 - down) + along(row + 1) * down
    }
}

/// The bounding box of the values of at least `least`; none if there are none.
fn frame(values: &[f32], width: usize, least: f32) -> Option<Frame> {
    let inside = |value: &f32| *value >= least;
    let rows = || values.chunks_exact(width);
    let top = rows().position(|row| row.iter().any(inside))?;
    let bottom = rows().rposition(|row| row.iter().any(inside))? + 1;
    let column = |x: &usize| rows().any(|row| inside(&row[*x]));
    let left = (0..width).find(column)?;
    let right = (0..width).rev().find(column)? + 1;
    Some(Frame {
        top: top as f64,
        left: left as f64,
        height: (bottom - top) as f64,
        width: (right - left) as f64,
    })
}

/// The mask `[height, width]` of a rectangle of left, top, width and height in shares of the picture's.
fn rectangle_mask([left, top, wide, high]: [f64; 4], [width, height]: [usize; 2]) -> Vec<f32> {
    let (w, h) = (width as f64, height as f64);
    let feather = (FEATHER * w.min(h)).min(wide * w).min(high * h).max(1.0);
    let x = ramps(left * w, (left + wide) * w, width, feather);
    let y = ramps(top * h, (top + high) * h, height, feather);
    product(&x, &y)
}

/// The values of a row of pixels: 1 between two points, falling to 0 over `feather` pixels around each of them. Nothing falls off at a point that
/// lies at the picture's edge. Values are scaled so that the largest is 1, even if the points are less than a pixel apart.
fn ramps(first: f64, last: f64, pixels: usize, feather: f64) -> Vec<f64> {
    const AT_EDGE: f64 = 1e-3;
    let ramp = |distance: f64| {
        let x = (distance / feather + 0.5).clamp(0.0, 1.0);
        x * x * (3.0 - 2.0 * x)
    };
    let begins = first > AT_EDGE;
    let ends = last < pixels as f64 - AT_EDGE;
    let inside: Vec<f64> = (0..pixels)
        .map(|pixel| pixel as f64 + 0.5)
        .map(|x| {
            let rise = if begins { ramp(x - first) } else { 1.0 };
            let fall = if ends { ramp(last - x) } else { 1.0 };
            rise * fall
        })
        .collect();
    let largest = inside.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    inside.iter().map(|value| value / largest).collect()
}

/// `[y, x]`
fn product(x: &[f64], y: &[f64]) -> Vec<f32> {
    y.iter()
        .flat_map(|y| x.iter().map(move |x| (x * y) as f32))
        .collect()
}

#[cfg(test)]
mod tests {
    use candle_core::DType;
    use phantasia_core::NamedRegion;

    use super::*;

    const SIZE: [usize; 2] = [60, 40];

    fn mask(rectangle: [f64; 4]) -> RegionMask {
        let mask = RegionMask::rectangle(rectangle, SIZE, &Device::Cpu);
        mask.expect("a mask").expect("some of it")
    }

    fn values(mask: &RegionMask) -> Vec<f32> {
        let values = mask
            .values
            .flatten_all()
            .and_then(|values| values.to_vec1());
        values.expect("values")
    }

    fn crop(top: f64, left: f64, side: f64) -> Crop {
        Crop {
            top,
            left,
            height: side,
            width: side,
            flip: false,
        }
    }

    #[test]
    fn halves_add_up_to_the_whole_and_end() {
        for (one, other) in [
            (NamedRegion::Left, NamedRegion::Right),
            (NamedRegion::Top, NamedRegion::Bottom),
        ] {
            let [one, other] = [one, other].map(|name| values(&mask(name.rectangle())));
            for (a, b) in one.iter().zip(&other) {
                assert!((a + b - 1.0).abs() < 1e-6, "{a} {b}");
            }
        }
        let left = values(&mask(NamedRegion::Left.rectangle()));
        // the feather of 8 pixels lies around the middle, 30
        let row = &left[..60];
        assert!(row[..26].iter().all(|value| *value == 1.0), "{row:?}");
        assert!(row[34..].iter().all(|value| *value == 0.0), "{row:?}");
        assert!(row[26..34].is_sorted_by(|a, b| a > b), "{row:?}");
    }

    #[test]
    fn the_smallest_rectangle_has_a_pixel() {
        for rectangle in [
            [0.3, 0.7, 1e-9, 1e-9],
            [0.0, 0.0, 0.001, 1.0],
            [0.999, 0.999, 0.001, 0.001],
        ] {
            let mask = mask(rectangle);
            assert_eq!(values(&mask).iter().copied().fold(0.0, f32::max), 1.0);
            assert!(mask.share() > 0.0);
        }
    }

    #[test]
    fn cutouts_count_by_the_mean_of_the_mask_under_them() {
        let mut half = vec![0.0; 60 * 40];
        for row in half.chunks_exact_mut(60) {
            row[10..30].fill(0.5);
        }
        let mask = (RegionMask::new(half, SIZE, &Device::Cpu).expect("a mask")).expect("values");
        let frame = Frame {
            top: 0.0,
            left: 10.0,
            height: 40.0,
            width: 20.0,
        };
        assert_eq!(mask.frame(), frame);
        assert!((mask.share() - 1.0 / 3.0).abs() < 1e-12);
        let scale = 0.5f64.sqrt();
        for (crop, mean) in [
            (crop(0.0, 10.0, 20.0), 0.5),
            (crop(5.0, 20.0, 20.0), 0.25),
            (crop(5.5, 29.5, 10.0), 0.025),
            // what lies beyond the picture does not count
            (crop(-10.0, 0.0, 20.0), 0.25),
            (crop(-30.0, 0.0, 20.0), 0.0),
            (crop(0.0, 40.0, 20.0), 0.0),
        ] {
            let found = mask.weights([crop].iter())[0];
            assert!((found - mean / scale).abs() < 1e-9, "{crop:?}: {found}");
        }
    }

    #[test]
    fn nothing_is_left_of_a_gradient_outside_of_the_region() -> Result<()> {
        let mask = mask([0.5, 0.5, 0.25, 0.25]);
        let grad = Tensor::ones((1, 3, 40, 60), DType::F64, &Device::Cpu)?;
        let rest = mask.apply(&grad)?.narrow(3, 0, 26)?.abs()?.max_all()?;
        assert_eq!(rest.to_scalar::<f64>()?, 0.0);
        let inside = mask.apply(&grad)?.narrow(2, 24, 1)?.narrow(3, 37, 1)?;
        assert_eq!(inside.min_all()?.to_scalar::<f64>()?, 1.0);
        Ok(())
    }
}
