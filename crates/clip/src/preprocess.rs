//! CLIP's own preprocessing: from a picture of any size to the square of pixels that is a model's input.
//!
//! As in torchvision (open_clip) and transformers, on 8-bit pixels with Pillow's filters: the shortest edge is resized to the input's size with an
//! antialiased bicubic filter, and the center is cropped. Here both are one step, because pixels outside the crop need not be computed: memory
//! is bounded by the model's input, however long and thin the picture is. A few models expect distorted or padded pictures ([`ResizeMode`]).

use candle_core::{Device, Result as CandleResult, Tensor};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{Rgb, RgbImage};
use phantasia_core::picture::to_chw;

/// The resampling filter, widened when the picture is reduced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The triangle filter.
    Bilinear,
    /// Keys' cubic with a = -0.5, as in CLIP.
    #[default]
    Bicubic,
    /// A windowed sinc of three lobes.
    Lanczos,
}

impl Interpolation {
    /// Its radius in pixels, and its name in `fast_image_resize`.
    fn filter(self) -> (f64, FilterType) {
        match self {
            Self::Bilinear => (1.0, FilterType::Bilinear),
            Self::Bicubic => (2.0, FilterType::CatmullRom),
            Self::Lanczos => (3.0, FilterType::Lanczos3),
        }
    }
}

/// How a picture becomes square; the names are those of open_clip's `resize_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ResizeMode {
    /// The shortest edge is resized to the size, and the center is cropped, as in CLIP.
    #[default]
    Shortest,
    /// Both edges are resized to the size, which distorts the picture.
    Squash,
    /// The longest edge is resized to the size, and the rest is padded, so that the whole picture is seen, as in HPSv2.
    Longest,
}

/// The start of a center crop if the number of cropped pixels is odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CropRounding {
    /// At half of it, rounded down, as in transformers.
    Floor,
    /// At half of it, rounded to the nearest even number, as in torchvision and so in open_clip.
    HalfEven,
}

/// The preprocessing of a model's pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Preprocess {
    /// Side of the model's input in pixels.
    pub size: usize,
    /// What the shortest edge (both edges with [`ResizeMode::Squash`]) is resized to before the center crop, in pixels: at least `size`.
    pub resize: usize,
    /// The resampling filter.
    pub interpolation: Interpolation,
    /// How pictures become square.
    pub resize_mode: ResizeMode,
    /// The colour of the padding.
    pub fill_color: [u8; 3],
    /// The start of the center crop.
    pub crop_rounding: CropRounding,
}

impl Preprocess {
    /// CLIP's preprocessing for a model with that input size.
    pub fn new(size: usize, crop_rounding: CropRounding) -> Self {
        Self {
            size,
            resize: size,
            interpolation: Interpolation::default(),
            resize_mode: ResizeMode::default(),
            fill_color: [0; 3],
            crop_rounding,
        }
    }

    /// The preprocessed picture, `size` x `size`.
    ///
    /// # Errors
    /// If the picture has no pixels.
    pub fn apply(&self, picture: &RgbImage) -> CandleResult<RgbImage> {
        let (width, height) = picture.dimensions();
        let size = self.size as u32;
        if (width, height) == (size, size) && self.resize == self.size {
            return Ok(picture.clone());
        }
        let failed = |what: &dyn std::fmt::Display| {
            candle_core::Error::Msg(format!(
                "cannot resize a picture of {width} x {height} pixels to {size} x {size}: {what}"
            ))
        };
        if width == 0 || height == 0 {
            return Err(failed(&"it is empty"));
        }
        let (radius, filter) = self.interpolation.filter();
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
        let resize = |pixels: &[u8], (w, h): (u32, u32), to: (u32, u32), crop: [f64; 4]| {
            let source =
                ImageRef::new(w, h, pixels, PixelType::U8x3).map_err(|error| failed(&error))?;
            let mut resized = Image::new(to.0, to.1, PixelType::U8x3);
            let [left, top, across, down] = crop;
            Resizer::new()
                .resize(
                    &source,
                    &mut resized,
                    &options.crop(left, top, across, down),
                )
                .map_err(|error| failed(&error))?;
            CandleResult::Ok(resized.into_vec())
        };
        let (left, across, wide) = self.span(width, height);
        let (top, down, high) = self.span(height, width);
        // rows first, rounded to 8 bits, then columns, as in Pillow; only the rows that the columns read
        let reach = radius * (down / f64::from(high)).max(1.0);
        let first = (top - reach).floor().max(0.0);
        let rows = (top + down + reach).ceil().min(f64::from(height)) - first;
        let crop = [left, first, across, rows];
        let narrow = resize(picture.as_raw(), (width, height), (wide, rows as u32), crop)?;
        let crop = [0.0, top - first, f64::from(wide), down];
        let shown = resize(&narrow, (wide, rows as u32), (wide, high), crop)?;
        let shown = RgbImage::from_raw(wide, high, shown)
            .ok_or_else(|| failed(&"the result has another size"))?;
        if (wide, high) == (size, size) {
            return Ok(shown);
        }
        let mut square = RgbImage::from_pixel(size, size, Rgb(self.fill_color));
        let bar = |side: u32| i64::from((size - side) / 2);
        image::imageops::replace(&mut square, &shown, bar(wide), bar(high));
        Ok(square)
    }

    /// The part of a side of the picture that is shown: where it begins and how long it is, in the picture's pixels, and how long it
    /// becomes, in the model's.
    fn span(&self, side: u32, other: u32) -> (f64, f64, u32) {
        let whole = f64::from(side);
        let (size, resized) = (self.size as u64, self.resize as u64);
        let scaled = match self.resize_mode {
            ResizeMode::Squash => resized,
            ResizeMode::Longest => {
                // rounded as Python does
                let scaled = whole / (f64::from(side.max(other)) / size as f64);
                let shown = (scaled.round_ties_even() as u32).clamp(1, size as u32);
                return (0.0, whole, shown);
            }
            ResizeMode::Shortest => {
                let (side, shorter) = (u64::from(side), u64::from(side.min(other)));
                // the longer side is rounded down, as torchvision and transformers do
                (side * resized / shorter).max(resized)
            }
        };
        let over = scaled - size;
        let before = match self.crop_rounding {
            CropRounding::Floor => over / 2,
            CropRounding::HalfEven => match over % 4 {
                3 => over / 2 + 1,
                _ => over / 2,
            },
        };
        let pixel = whole / scaled as f64;
        // rounding must not lead over the edge
        let start = before as f64 * pixel;
        let length = (size as f64 * pixel).min(whole - start);
        (start, length, size as u32)
    }
}

/// Pictures of one size as a tensor `[n, 3, height, width]` in 0..=1.
///
/// # Errors
/// If there is none, their sizes differ, or the device has no room for them.
pub fn stack(pictures: &[&RgbImage], device: &Device) -> CandleResult<Tensor> {
    let Some(first) = pictures.first() else {
        candle_core::bail!("there is no picture to stack");
    };
    let (width, height) = first.dimensions();
    if pictures
        .iter()
        .any(|picture| picture.dimensions() != first.dimensions())
    {
        candle_core::bail!("pictures of different sizes cannot be stacked");
    }
    let values = pictures
        .iter()
        .flat_map(|picture| to_chw(picture))
        .collect();
    let shape = (pictures.len(), 3, height as usize, width as usize);
    Tensor::from_vec(values, shape, device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(size: usize) -> Preprocess {
        Preprocess::new(size, CropRounding::Floor)
    }

    #[test]
    fn a_picture_of_the_right_size_stays_as_it_is() {
        let picture = RgbImage::from_fn(8, 8, |x, y| Rgb([x as u8, y as u8, 7]));
        assert_eq!(clip(8).apply(&picture).expect("a picture"), picture);
    }

    #[test]
    fn the_middle_of_the_longer_side_is_kept() {
        // black, white, black in equal squares
        let picture = RgbImage::from_fn(24, 8, |x, _| {
            Rgb([if (8..16).contains(&x) { 255 } else { 0 }; 3])
        });
        let shown = clip(8).apply(&picture).expect("a picture");
        assert!(shown.pixels().all(|pixel| pixel.0 == [255; 3]));
        let squashed = Preprocess {
            resize_mode: ResizeMode::Squash,
            ..clip(8)
        };
        let shown = squashed.apply(&picture).expect("a picture");
        assert!(shown.get_pixel(0, 0).0[0] < 9 && shown.get_pixel(4, 4).0[0] > 246);
    }

    #[test]
    fn bars_fill_the_rest_of_a_padded_picture() {
        let padded = Preprocess {
            resize_mode: ResizeMode::Longest,
            ..clip(8)
        };
        let white = |width, height| {
            let shown = padded.apply(&RgbImage::from_pixel(width, height, Rgb([255; 3])));
            let shown = shown.expect("a picture");
            let rows = (0..8).map(|y| shown.get_pixel(4, y).0[0] == 255);
            let columns = (0..8).map(|x| shown.get_pixel(x, 4).0[0] == 255);
            (
                rows.filter(|&lit| lit).count(),
                columns.filter(|&lit| lit).count(),
            )
        };
        assert_eq!(white(32, 16), (4, 8));
        assert_eq!(white(4, 16), (8, 2));
        assert_eq!(white(5, 5), (8, 8));
        assert_eq!(white(1, 4000).1, 1);
    }

    #[test]
    fn an_odd_rest_is_rounded_as_each_library_does() {
        for (over, down, even) in [(1, 0, 0), (2, 1, 1), (3, 1, 2), (5, 2, 2), (7, 3, 4)] {
            let side = 8 + over;
            let start = |rounding| Preprocess::new(8, rounding).span(side, 8).0;
            assert_eq!(
                (start(CropRounding::Floor), start(CropRounding::HalfEven)),
                (f64::from(down), f64::from(even)),
                "{over}"
            );
        }
    }

    #[test]
    fn long_and_thin_pictures_take_no_more_memory_than_others() {
        for (width, height) in [(1, 60_000), (60_000, 1), (3, 2)] {
            let shown = clip(32)
                .apply(&RgbImage::new(width, height))
                .expect("a picture");
            assert_eq!(shown.dimensions(), (32, 32));
        }
    }

    #[test]
    fn an_empty_picture_is_an_error() {
        assert!(clip(8).apply(&RgbImage::new(0, 3)).is_err());
    }
}
