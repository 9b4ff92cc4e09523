//! Words drawn into pictures: a line at a time, in the program's own font.
//!
//! The font (Inter, under the SIL Open Font License) holds Latin, Greek and Cyrillic letters; what it lacks is drawn as a box.

use ab_glyph::{Font as _, FontRef, PxScale, ScaleFont as _, point};
use image::{Rgb, RgbImage};

const REGULAR: &[u8] = include_bytes!("preview/font/Inter-Regular.otf");

/// A font at one size.
#[derive(Clone)]
pub struct Font {
    font: FontRef<'static>,
    scale: PxScale,
}

impl Font {
    /// The font with lines of that height in pixels.
    ///
    /// # Errors
    /// When the font that is part of the program is damaged.
    pub fn new(height: f32) -> Result<Self, ab_glyph::InvalidFont> {
        Ok(Self {
            font: FontRef::try_from_slice(REGULAR)?,
            scale: PxScale::from(height),
        })
    }

    /// Height of a line in pixels.
    pub fn height(&self) -> u32 {
        self.scale.y.ceil() as u32
    }

    /// Width of a line in pixels.
    pub fn width(&self, text: &str) -> f32 {
        let scaled = self.font.as_scaled(self.scale);
        (text.chars())
            .map(|c| scaled.h_advance(scaled.glyph_id(c)))
            .sum()
    }

    /// The text, or as much of its beginning and end as fits into that width, with `…` between them.
    pub fn fit(&self, text: &str, width: f32) -> String {
        // a line of text: whatever would break it is a space
        let text: String = (text.chars())
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        if self.width(&text) <= width {
            return text;
        }
        let chars: Vec<char> = text.chars().collect();
        let cut = |kept: usize| {
            let (head, tail) = (kept - kept / 2, kept / 2);
            let mut short: String = chars[..head].iter().collect();
            short.push('…');
            short.extend(&chars[chars.len() - tail..]);
            short
        };
        // no font has letters so thin that more would fit
        let most = chars.len().min(width.max(0.0) as usize);
        // the width grows with the letters, but for their differences
        let (mut fits, mut too_long) = (0, most + 1);
        while fits + 1 < too_long {
            let middle = (fits + too_long) / 2;
            match self.width(&cut(middle)) <= width {
                true => fits = middle,
                false => too_long = middle,
            }
        }
        cut(fits)
    }

    /// Draws a line whose upper left corner is at `(x, y)`. What lies outside of the picture is left out.
    pub fn draw(&self, image: &mut RgbImage, (x, y): (i32, i32), color: [u8; 3], text: &str) {
        let scaled = self.font.as_scaled(self.scale);
        let mut pen = point(x as f32, y as f32 + scaled.ascent());
        for c in text.chars() {
            let id = scaled.glyph_id(c);
            let glyph = id.with_scale_and_position(self.scale, pen);
            pen.x += scaled.h_advance(id);
            let Some(outline) = self.font.outline_glyph(glyph) else {
                continue;
            };
            let bounds = outline.px_bounds();
            let (left, top) = (bounds.min.x as i64, bounds.min.y as i64);
            outline.draw(|dx, dy, cover| {
                let place = |start: i64, by: u32| u32::try_from(start + i64::from(by)).ok();
                let pixel = place(left, dx).zip(place(top, dy));
                if let Some(pixel) = pixel.and_then(|(x, y)| image.get_pixel_mut_checked(x, y)) {
                    *pixel = over(*pixel, color, cover.clamp(0.0, 1.0));
                }
            });
        }
    }
}

fn over(Rgb(below): Rgb<u8>, color: [u8; 3], cover: f32) -> Rgb<u8> {
    let mix = |channel: usize| {
        let (below, above) = (f32::from(below[channel]), f32::from(color[channel]));
        (below + (above - below) * cover).round() as u8
    };
    Rgb([mix(0), mix(1), mix(2)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_drawn_inside_of_its_box() {
        let font = Font::new(20.0).expect("the font");
        let mut image = RgbImage::new(120, 40);
        font.draw(&mut image, (10, 10), [255; 3], "1 0.2831");
        let end = 10 + font.width("1 0.2831").ceil() as u32;
        let lit = |(x, y, pixel): (u32, u32, &Rgb<u8>)| (pixel.0[0] > 40).then_some((x, y));
        let drawn: Vec<_> = image.enumerate_pixels().filter_map(lit).collect();
        assert!(drawn.len() > 60, "{}", drawn.len());
        assert!(
            drawn
                .iter()
                .all(|(x, y)| (10..=end).contains(x) && (10..=31).contains(y))
        );
    }

    #[test]
    fn what_reaches_over_the_edge_is_left_out() {
        let font = Font::new(20.0).expect("the font");
        let mut image = RgbImage::new(10, 10);
        font.draw(&mut image, (-30, -10), [255; 3], "wide words");
        font.draw(&mut image, (5, 5), [255; 3], "字 and a tab\t");
    }

    #[test]
    fn a_long_text_keeps_its_beginning_and_its_end() {
        let font = Font::new(14.0).expect("the font");
        let name = "a/very/long/path/to/some/folder/of/pictures/image-0001.png";
        let short = font.fit(name, 120.0);
        assert!(
            font.width(&short) <= 120.0 && short.chars().count() > 8,
            "{short}"
        );
        assert!(
            short.starts_with("a/v") && short.contains('…') && short.ends_with("png"),
            "{short}"
        );
        assert_eq!(font.fit("short", 120.0), "short");
        assert_eq!(font.fit("short", 0.0), "…");
        assert_eq!(font.fit("two\nlines", 120.0), "two lines");
    }
}
