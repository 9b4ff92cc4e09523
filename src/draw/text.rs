//! Text in pixels, with the embedded font.

use std::collections::HashMap;

use ab_glyph::{Font, FontRef, GlyphId, PxScaleFont, ScaleFont, point};
use anyhow::{Context, Result};
use unicode_segmentation::UnicodeSegmentation;

use super::{Canvas, Color, Rect};

const REGULAR: &[u8] = include_bytes!("font/Inter-Regular.otf");
const SEMIBOLD: &[u8] = include_bytes!("font/Inter-SemiBold.otf");

/// Glyphs that are kept drawn; more than a prompt of any script needs.
const CACHED: usize = 4096;
/// A glyph is drawn at this many positions within a pixel.
const SUBPIXELS: f32 = 4.0;

/// How heavy the strokes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Weight {
    /// For reading.
    Regular,
    /// For headings and names of keys.
    Semibold,
}

/// A size and a weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    /// The em square's side in pixels.
    pub size: f32,
    /// How heavy the strokes are.
    pub weight: Weight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct GlyphKey {
    weight: Weight,
    glyph: GlyphId,
    /// The size in 64ths of a pixel.
    size: u32,
    /// The position within a pixel, in [`SUBPIXELS`].
    subpixel: u8,
}

/// A glyph in pixels.
#[derive(Debug)]
struct Raster {
    left: i32,
    top: i32,
    width: usize,
    coverage: Vec<u8>,
}

/// The embedded fonts, Inter in two weights, with the glyphs that were drawn. They have Latin, Greek and Cyrillic letters; a box stands
/// for any other.
#[derive(Debug)]
pub struct Fonts {
    /// By weight.
    faces: [FontRef<'static>; 2],
    drawn: HashMap<GlyphKey, Option<Raster>>,
}

type Scaled<'a> = PxScaleFont<&'a FontRef<'static>>;

/// A face in a size. What `ab_glyph` calls a size is the height from the lowest descender to the highest ascender.
fn scaled<'a>(faces: &'a [FontRef<'static>; 2], style: Style) -> Scaled<'a> {
    let font = &faces[style.weight as usize];
    let units = font.units_per_em().unwrap_or(1000.0);
    font.into_scaled(style.size * font.height_unscaled() / units)
}

impl Fonts {
    /// The fonts.
    ///
    /// # Errors
    /// When the embedded files are damaged.
    pub fn embedded() -> Result<Self> {
        let read = |bytes| FontRef::try_from_slice(bytes).context("the embedded font is damaged");
        Ok(Self {
            faces: [read(REGULAR)?, read(SEMIBOLD)?],
            drawn: HashMap::new(),
        })
    }

    /// Where each grapheme begins, in pixels from the left edge of the text, by its offset in bytes; and where the text ends.
    pub fn positions(&self, text: &str, style: Style) -> Vec<(usize, f32)> {
        let font = scaled(&self.faces, style);
        let mut x = 0.0;
        let mut positions = Vec::with_capacity(text.len() + 1);
        for (offset, grapheme) in text.grapheme_indices(true) {
            positions.push((offset, x));
            x += grapheme.chars().map(|c| advance(&font, c)).sum::<f32>();
        }
        positions.push((text.len(), x));
        positions
    }

    /// The width of a text in pixels.
    pub fn width(&self, text: &str, style: Style) -> f32 {
        let font = scaled(&self.faces, style);
        text.chars().map(|c| advance(&font, c)).sum()
    }

    /// A text cut to a width in pixels, with an ellipsis where something was left out.
    pub fn truncated(&self, text: &str, style: Style, room: f32) -> String {
        if self.width(text, style) <= room {
            return text.to_owned();
        }
        let room = room - self.width("…", style);
        let end = (self.positions(text, style).iter())
            .take_while(|(_, x)| *x <= room)
            .last()
            .map_or(0, |(offset, _)| *offset);
        format!("{}…", text[..end].trim_end())
    }

    /// Draws a text from `x` on, its letters standing on `baseline`, within `clip`. Returns where it ends.
    pub fn draw(
        &mut self,
        canvas: &mut Canvas,
        (x, baseline): (f32, f32),
        text: &str,
        style: Style,
        color: Color,
        clip: Rect,
    ) -> f32 {
        let font = scaled(&self.faces, style);
        let (mut x, baseline) = (x, baseline.round() as i32);
        let mut letter = 0.0;
        for c in text.chars().filter(|c| !is_invisible(*c)) {
            let glyph = font.glyph_id(c);
            let advance = advance(&font, c);
            if glyph == GlyphId(0) {
                // a plain box, where the font has no such character
                let thick = (style.size / 15.0).max(1.0);
                let height = (style.size * 0.72).round() as i32;
                let (left, width) = (x.round() as i32 + 1, advance.round() as i32 - 2);
                let rect = Rect::new(left, baseline - height, width, height);
                if clip.intersection(rect) == rect {
                    canvas.border_round(rect, 2.0 * thick, thick, color);
                }
                (letter, x) = (advance, x + advance);
                continue;
            }
            // an accent of its own stands over the middle of the letter before it
            let mut at = x;
            if is_mark(c) {
                if let Some(outline) = font.font.outline(glyph) {
                    let middle = (outline.bounds.min.x + outline.bounds.max.x) / 2.0;
                    at -= letter / 2.0 + middle * font.h_scale_factor();
                }
            } else {
                letter = advance;
            }
            let key = GlyphKey {
                weight: style.weight,
                glyph,
                size: (style.size * 64.0).round() as u32,
                subpixel: ((at - at.floor()) * SUBPIXELS) as u8,
            };
            if self.drawn.len() > CACHED {
                self.drawn.clear();
            }
            let raster = (self.drawn.entry(key)).or_insert_with(|| rasterised(&font, key));
            if let Some(raster) = raster {
                let at = (x.floor() as i32 + raster.left, baseline + raster.top);
                canvas.blend(at, raster.width, &raster.coverage, color, clip);
            }
            x += advance;
        }
        x
    }
}

/// How far a character moves the next one to the right.
fn advance(font: &Scaled<'_>, c: char) -> f32 {
    if is_invisible(c) || is_mark(c) {
        0.0
    } else {
        font.h_advance(font.glyph_id(c))
    }
}

fn rasterised(font: &Scaled<'_>, key: GlyphKey) -> Option<Raster> {
    let at = point(f32::from(key.subpixel) / SUBPIXELS, 0.0);
    let glyph = key.glyph.with_scale_and_position(font.scale, at);
    let outline = font.outline_glyph(glyph)?;
    let bounds = outline.px_bounds();
    let (width, height) = (bounds.width() as usize, bounds.height() as usize);
    let mut coverage = vec![0; width * height];
    outline.draw(|x, y, c| {
        if let Some(pixel) = coverage.get_mut(y as usize * width + x as usize) {
            *pixel = (c.clamp(0.0, 1.0) * 255.0).round() as u8;
        }
    });
    Some(Raster {
        left: bounds.min.x as i32,
        top: bounds.min.y as i32,
        width,
        coverage,
    })
}

/// Accents of their own, which stand over or under the letter before them and take no room.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// Characters that control others and have no shape of their own.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e007f}')
        || c.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style {
        size: 15.0,
        weight: Weight::Regular,
    };

    fn fonts() -> Fonts {
        Fonts::embedded().expect("the fonts")
    }

    #[test]
    fn digits_are_of_one_width() {
        let fonts = fonts();
        for weight in [Weight::Regular, Weight::Semibold] {
            let style = Style { weight, ..STYLE };
            let one = fonts.width("1", style);
            for digit in "0123456789".chars() {
                let width = fonts.width(&digit.to_string(), style);
                assert!((width - one).abs() < 0.05, "{digit}: {width} and {one}");
            }
        }
    }

    #[test]
    fn places_are_of_whole_characters_and_end_at_the_width() {
        let text = "ae\u{301}👩‍👩‍👧b";
        let places = fonts().positions(text, STYLE);
        let offsets: Vec<usize> = places.iter().map(|place| place.0).collect();
        assert_eq!(offsets, [0, 1, 4, text.len() - 1, text.len()]);
        assert_eq!(places[4].1, fonts().width(text, STYLE));
        assert!(places.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    }

    #[test]
    fn the_font_has_the_letters_of_europe() {
        let fonts = fonts();
        for c in "ÄßéñøłőşğțżΩλЖыїЎ–—“”…€→←↑↓ẽ".chars() {
            assert_ne!(fonts.faces[0].glyph_id(c), GlyphId(0), "{c}");
            assert_ne!(fonts.faces[1].glyph_id(c), GlyphId(0), "{c}");
        }
    }

    #[test]
    fn what_is_too_long_ends_in_an_ellipsis() {
        let fonts = fonts();
        assert_eq!(fonts.truncated("a cat", STYLE, 100.0), "a cat");
        let cut = fonts.truncated("a very long description of a cat", STYLE, 100.0);
        assert!(cut.starts_with("a very") && cut.ends_with('…'), "{cut}");
        assert!(fonts.width(&cut, STYLE) <= 100.0);
        assert_eq!(fonts.truncated("a cat", STYLE, 0.0), "…");
    }

    #[test]
    fn text_is_drawn_within_its_clip_alone() {
        let mut canvas = Canvas::new(60, 30, Color::rgb(0, 0, 0));
        let clip = Rect::new(10, 0, 20, 30);
        let white = Color::rgb(255, 255, 255);
        (fonts()).draw(&mut canvas, (0.0, 20.0), "MMMMMMM", STYLE, white, clip);
        let lit = |from: usize, to: usize| {
            (canvas.pixels().iter().enumerate())
                .any(|(index, pixel)| *pixel != 0 && (from..to).contains(&(index % 60)))
        };
        assert!(lit(10, 30));
        assert!(!lit(0, 10) && !lit(30, 60));
    }
}
