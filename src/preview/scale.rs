//! A picture in the size in which it is shown.

use super::canvas::Rect;

/// Weights are whole numbers of this fraction's bits: sums of 8-bit values stay within 32.
const BITS: u32 = 14;

/// The largest rectangle of a picture's aspect in the middle of an area.
pub fn fitted(width: usize, height: usize, area: Rect) -> Rect {
    if width == 0 || height == 0 || area.is_empty() {
        return Rect::new(area.x, area.y, 0, 0);
    }
    let scale = (f64::from(area.width) / width as f64).min(f64::from(area.height) / height as f64);
    let side = |side: usize, most: i32| ((side as f64 * scale).round() as i32).clamp(1, most);
    let (width, height) = (side(width, area.width), side(height, area.height));
    Rect::new(
        area.x + (area.width - width) / 2,
        area.y + (area.height - height) / 2,
        width,
        height,
    )
}

/// For each pixel of the result, where its source pixels begin and what each counts.
struct Axis(Vec<(usize, Vec<i32>)>);

impl Axis {
    /// Enlarged, a pixel is the mean of what it covers, so that source pixels keep their edges and are of even size.
    /// Reduced, it is taken with Catmull and Rom's cubic over twice its extent to each side.
    fn new(from: usize, to: usize) -> Self {
        let ratio = from as f64 / to as f64;
        let weights = (0..to).map(|index| {
            let (start, end) = (index as f64 * ratio, (index + 1) as f64 * ratio);
            if ratio <= 1.0 {
                let first = (start + 1e-9) as usize;
                let last = ((end - 1e-9) as usize).clamp(first, from - 1);
                let shares = (first..=last).map(|source| {
                    (end.min(source as f64 + 1.0) - start.max(source as f64)) / ratio
                });
                (first, whole(&shares.collect::<Vec<_>>()))
            } else {
                let middle = (start + end) / 2.0;
                let first = (middle - 2.0 * ratio).floor().max(0.0) as usize;
                let last = ((middle + 2.0 * ratio).ceil() as usize).min(from);
                let shares =
                    (first..last).map(|source| catmull_rom((source as f64 + 0.5 - middle) / ratio));
                (first, whole(&shares.collect::<Vec<_>>()))
            }
        });
        Self(weights.collect())
    }
}

fn catmull_rom(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

/// Shares as whole numbers whose sum is exactly one.
fn whole(shares: &[f64]) -> Vec<i32> {
    let one = 1 << BITS;
    let sum: f64 = shares.iter().sum();
    let mut weights: Vec<i32> = (shares.iter())
        .map(|share| (share / sum * f64::from(one)).round() as i32)
        .collect();
    let rest = one - weights.iter().sum::<i32>();
    if let Some(greatest) = weights.iter_mut().max() {
        *greatest += rest;
    }
    weights
}

fn level(sum: i32) -> u8 {
    ((sum + (1 << (BITS - 1))) >> BITS).clamp(0, 255) as u8
}

/// A picture of 3 bytes a pixel in another size, `0x00RRGGBB` a pixel. Empty where one of the sizes is, or where bytes are missing.
pub fn scaled(
    rgb: &[u8],
    (width, height): (usize, usize),
    (to_width, to_height): (usize, usize),
) -> Vec<u32> {
    let missing = (width.checked_mul(height)).is_none_or(|pixels| rgb.len() / 3 < pixels);
    if missing || [width, height, to_width, to_height].contains(&0) {
        return vec![];
    }
    // across
    let columns = Axis::new(width, to_width);
    let mut wide = vec![0u8; to_width * 3 * height];
    for (source, row) in rgb
        .chunks_exact(width * 3)
        .zip(wide.chunks_exact_mut(to_width * 3))
    {
        for ((first, weights), pixel) in columns.0.iter().zip(row.chunks_exact_mut(3)) {
            if weights.len() == 1 {
                pixel.copy_from_slice(&source[first * 3..first * 3 + 3]);
                continue;
            }
            let mut sums = [0i32; 3];
            for (weight, source) in weights.iter().zip(source[first * 3..].chunks_exact(3)) {
                for (sum, value) in sums.iter_mut().zip(source) {
                    *sum += weight * i32::from(*value);
                }
            }
            for (value, sum) in pixel.iter_mut().zip(sums) {
                *value = level(sum);
            }
        }
    }
    // down
    let mut pixels = Vec::with_capacity(to_width * to_height);
    let mut sums = vec![0i32; to_width * 3];
    let mut before: Option<&(usize, Vec<i32>)> = None;
    let rows = Axis::new(height, to_height);
    for row in &rows.0 {
        if before == Some(row) {
            // enlarged: the same source row again
            let start = pixels.len() - to_width;
            pixels.extend_from_within(start..);
            continue;
        }
        before = Some(row);
        if row.1.len() == 1 {
            let source = wide[row.0 * to_width * 3..].chunks_exact(3).take(to_width);
            pixels
                .extend(source.map(|value| u32::from_be_bytes([0, value[0], value[1], value[2]])));
            continue;
        }
        sums.fill(1 << (BITS - 1));
        for (weight, source) in row
            .1
            .iter()
            .zip(wide[row.0 * to_width * 3..].chunks_exact(to_width * 3))
        {
            for (sum, value) in sums.iter_mut().zip(source) {
                *sum += weight * i32::from(*value);
            }
        }
        pixels.extend(sums.chunks_exact(3).map(|sum| {
            let value = |index: usize| (sum[index] >> BITS).clamp(0, 255) as u32;
            value(0) << 16 | value(1) << 8 | value(2)
        }));
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_aspect_is_kept() {
        let area = Rect::new(10, 20, 300, 200);
        assert_eq!(fitted(256, 256, area), Rect::new(60, 20, 200, 200));
        assert_eq!(fitted(600, 200, area), Rect::new(10, 70, 300, 100));
        assert_eq!(fitted(4000, 1, area).height, 1);
        assert!(fitted(0, 5, area).is_empty());
        assert!(fitted(5, 5, Rect::default()).is_empty());
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        let rgb: Vec<u8> = (0..5 * 4 * 3).map(|value| value * 4).collect();
        let expected: Vec<u32> = (rgb.chunks_exact(3))
            .map(|p| u32::from(p[0]) << 16 | u32::from(p[1]) << 8 | u32::from(p[2]))
            .collect();
        assert_eq!(scaled(&rgb, (5, 4), (5, 4)), expected);
    }

    #[test]
    fn enlarged_pixels_keep_their_edges() {
        let rgb = [0, 0, 0, 200, 200, 200];
        let pixels = scaled(&rgb, (2, 1), (6, 2));
        assert_eq!(pixels[..6], [0, 0, 0, 0xc8c8c8, 0xc8c8c8, 0xc8c8c8]);
        assert_eq!(pixels[..6], pixels[6..]);
        // a pixel that lies on both is their mean
        assert_eq!(scaled(&rgb, (2, 1), (3, 1)), [0, 0x646464, 0xc8c8c8]);
    }

    #[test]
    fn reduced_stripes_become_grey() {
        let rgb: Vec<u8> = (0..64 * 4)
            .flat_map(|x| [if x % 2 == 0 { 0 } else { 255 }; 3])
            .collect();
        for pixel in scaled(&rgb, (64, 4), (13, 4)) {
            let level = pixel & 0xff;
            assert!((100..=155).contains(&level), "{level}");
        }
    }

    #[test]
    fn a_picture_that_is_cut_off_is_not_shown() {
        assert!(scaled(&[0; 11], (2, 2), (4, 4)).is_empty());
        assert!(scaled(&[0; 12], (2, 2), (0, 4)).is_empty());
        assert!(scaled(&[], (usize::MAX, 3), (4, 4)).is_empty());
    }

    proptest! {
        #[test]
        fn one_colour_stays_that_colour(value in any::<u8>(), from in (1usize..40, 1usize..40), to in (1usize..60, 1usize..60)) {
            let rgb = vec![value; from.0 * from.1 * 3];
            let expected = u32::from(value) * 0x010101;
            let pixels = scaled(&rgb, from, to);
            prop_assert_eq!(pixels.len(), to.0 * to.1);
            prop_assert!(pixels.iter().all(|pixel| *pixel == expected));
        }
    }
}
