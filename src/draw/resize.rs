//! The resampler of everything that is displayed: the window, the terminal, contact sheets.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

use super::Rect;

/// Shares of a pixel are whole numbers of this fraction's bits.
const BITS: u32 = 14;
const ONE: u32 = 1 << BITS;

/// The largest rectangle of a picture's aspect in the middle of an area; empty if either is.
pub(crate) fn fit((width, height): (u32, u32), area: Rect) -> Rect {
    if width == 0 || height == 0 || area.is_empty() {
        return Rect::new(area.x, area.y, 0, 0);
    }
    let (width, height) = (f64::from(width), f64::from(height));
    let scale = (f64::from(area.width) / width).min(f64::from(area.height) / height);
    let side = |side: f64, most: i32| ((side * scale).round() as i32).clamp(1, most);
    let (width, height) = (side(width, area.width), side(height, area.height));
    let left = area.x + (area.width - width) / 2;
    let top = area.y + (area.height - height) / 2;
    Rect::new(left, top, width, height)
}

/// A picture in another size; of no size if either is empty.
///
/// A larger picture has the mean of the area that each of its pixels covers, so that source pixels keep their edges and are of
/// even size. A smaller one is resampled with Catmull and Rom's cubic.
pub(crate) fn resize(picture: &RgbImage, (width, height): (u32, u32)) -> RgbImage {
    let enlarges = width >= picture.width() && height >= picture.height();
    let resized = if [picture.width(), picture.height(), width, height].contains(&0) {
        None
    } else if enlarges {
        enlarged(picture, width, height)
    } else {
        // rows first, as for enlarged pictures
        convolved(picture, width, picture.height()).and_then(|wide| convolved(&wide, width, height))
    };
    resized.unwrap_or_default()
}

fn convolved(picture: &RgbImage, width: u32, height: u32) -> Option<RgbImage> {
    let (from_width, from_height) = picture.dimensions();
    let source = ImageRef::new(from_width, from_height, picture.as_raw(), PixelType::U8x3).ok()?;
    let mut target = Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    Resizer::new().resize(&source, &mut target, &options).ok()?;
    RgbImage::from_raw(width, height, target.into_vec())
}

fn enlarged(picture: &RgbImage, width: u32, height: u32) -> Option<RgbImage> {
    let columns = covered(picture.width(), width);
    let mut wide = Vec::with_capacity(3 * width as usize * picture.height() as usize);
    for row in picture.as_raw().chunks_exact(3 * picture.width() as usize) {
        for &(first, second, share) in &columns {
            wide.extend((0..3).map(|c| mix(row[3 * first + c], row[3 * second + c], share)));
        }
    }
    let mut pixels = Vec::with_capacity(3 * width as usize * height as usize);
    let row = |index: usize| wide.chunks_exact(3 * width as usize).nth(index);
    for (first, second, share) in covered(picture.height(), height) {
        let pairs = row(first)?.iter().zip(row(second)?);
        pixels.extend(pairs.map(|(first, second)| mix(*first, *second, share)));
    }
    RgbImage::from_raw(width, height, pixels)
}

/// The one or two source pixels that each pixel of an enlarged side covers, and the second one's share.
fn covered(from: u32, to: u32) -> Vec<(usize, usize, u32)> {
    let ratio = f64::from(from) / f64::from(to);
    (0..to)
        .map(|index| {
            let (start, end) = (f64::from(index) * ratio, f64::from(index + 1) * ratio);
            let first = (start + 1e-9).floor();
            let share = (end - first - 1.0).max(0.0) / ratio;
            let share = (share * f64::from(ONE)).round() as u32;
            let first = first as usize;
            (first, first + usize::from(share > 0), share)
        })
        .collect()
}

fn mix(first: u8, second: u8, share: u32) -> u8 {
    ((u32::from(first) * (ONE - share) + u32::from(second) * share + ONE / 2) >> BITS) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use proptest::prelude::*;

    fn picture(width: u32, height: u32, values: &[u8]) -> RgbImage {
        RgbImage::from_raw(width, height, values.to_vec()).expect("a picture")
    }

    #[test]
    fn the_aspect_is_kept() {
        let area = Rect::new(10, 20, 300, 200);
        assert_eq!(fit((256, 256), area), Rect::new(60, 20, 200, 200));
        assert_eq!(fit((600, 200), area), Rect::new(10, 70, 300, 100));
        assert_eq!(fit((4000, 1), area).height, 1);
        assert!(fit((0, 5), area).is_empty());
        assert!(fit((5, 5), Rect::default()).is_empty());
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        let rgb: Vec<u8> = (0..5 * 4 * 3).map(|value| value * 4).collect();
        let picture = picture(5, 4, &rgb);
        assert_eq!(resize(&picture, (5, 4)), picture);
    }

    #[test]
    fn enlarged_pixels_keep_their_edges() {
        let source = picture(2, 1, &[0, 0, 0, 200, 200, 200]);
        let levels = |size| -> Vec<u8> { resize(&source, size).pixels().map(|p| p.0[1]).collect() };
        let row = [0, 0, 0, 200, 200, 200];
        assert_eq!(levels((6, 2)), [row, row].concat());
        // a pixel that lies on both is their mean
        assert_eq!(levels((3, 1)), [0, 100, 200]);
    }

    #[test]
    fn reduced_stripes_become_grey() {
        let stripes = RgbImage::from_fn(64, 4, |x, _| Rgb([if x % 2 == 0 { 0 } else { 255 }; 3]));
        for pixel in resize(&stripes, (13, 4)).pixels() {
            assert!((100..=155).contains(&pixel.0[0]), "{pixel:?}");
        }
    }

    #[test]
    fn what_is_empty_stays_empty() {
        assert_eq!(resize(&RgbImage::new(2, 2), (0, 4)).dimensions(), (0, 0));
        assert_eq!(resize(&RgbImage::new(0, 3), (4, 4)).dimensions(), (0, 0));
    }

    proptest! {
        #[test]
        fn one_colour_stays_that_colour(value in any::<u8>(), from in (1u32..40, 1u32..40), to in (1u32..60, 1u32..60)) {
            let resized = resize(&RgbImage::from_pixel(from.0, from.1, Rgb([value; 3])), to);
            prop_assert_eq!(resized.dimensions(), to);
            prop_assert!(resized.into_raw().into_iter().all(|level| level == value));
        }
    }
}
