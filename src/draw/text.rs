//! Text in pixels, with the embedded font.

use std::collections::HashMap;

use ab_glyph::{Font, FontRef, GlyphId, PxScale, ScaleFont, point};
use anyhow::{Context, Result};
use unicode_segmentation::UnicodeSegmentation;

use super::{Canvas, Color, Rect};

const REGULAR: &[u8] = include_bytes!("font/Inter-Regular.otf");
const SEMIBOLD: &[u8] = include_bytes!("font/Inter-SemiBold.otf");

/// Glyphs kept drawn; more than a prompt of any script needs.
const CACHED: usize = 4096;
/// A glyph is drawn at this many places between two pixels.
const PLACES: f32 = 4.0;

/// How heavy the strokes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Weight {
    /// For reading.
    Regular,
    /// For what matters.
    Semibold,
}

/// A size in pixels (of the em square) and a weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    /// The em square's side in pixels.
    pub size: f32,
    /// How heavy the strokes are.
    pub weight: Weight,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    weight: Weight,
    glyph: GlyphId,
    /// The size in 64ths of a pixel.
    size: u32,
    /// The place between two pixels, in [`PLACES`].
    place: u8,
}

struct Drawn {
    left: i32,
    top: i32,
    width: usize,
    coverage: Vec<u8>,
}

/// The embedded fonts, with the glyphs that were drawn.
pub struct Fonts {
    regular: FontRef<'static>,
    semibold: FontRef<'static>,
    drawn: HashMap<Key, Option<Drawn>>,
}

impl std::fmt::Debug for Fonts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fonts").finish_non_exhaustive()
    }
}

impl Fonts {
    /// The fonts.
    ///
    /// # Errors
    /// When the embedded files are damaged.
    pub fn embedded() -> Result<Self> {
        let read = |bytes| FontRef::try_from_slice(bytes).context("the embedded font is damaged");
        Ok(Self {
            regular: read(REGULAR)?,
            semibold: read(SEMIBOLD)?,
            drawn: HashMap::new(),
        })
    }

    fn font(&self, weight: Weight) -> &FontRef<'static> {
        match weight {
            Weight::Regular => &self.regular,
            Weight::Semibold => &self.semibold,
        }
    }

    /// What `ab_glyph` calls a size: the height from the lowest descender to the highest ascender.
    fn scale(&self, style: Style) -> PxScale {
        let font = self.font(style.weight);
        let units = font.units_per_em().unwrap_or(1000.0);
        PxScale::from(style.size * font.height_unscaled() / units)
    }

    /// Where each character begins, from the left edge of the text in pixels, by its offset in bytes; and where the text ends.
    pub fn positions(&self, text: &str, style: Style) -> Vec<(usize, f32)> {
        let font = self.font(style.weight).as_scaled(self.scale(style));
        let mut x = 0.0;
        let mut places = Vec::with_capacity(text.len() + 1);
        for (offset, grapheme) in text.grapheme_indices(true) {
            places.push((offset, x));
            x += (grapheme.chars())
                .filter(|c| !is_invisible(*c) && !is_mark(*c))
                .map(|c| font.h_advance(font.glyph_id(c)))
                .sum::<f32>();
        }
        places.push((text.len(), x));
        places
    }

    /// The width of a text in pixels.
    pub fn width(&self, text: &str, style: Style) -> f32 {
        let font = self.font(style.weight).as_scaled(self.scale(style));
        (text.chars())
            .filter(|c| !is_invisible(*c) && !is_mark(*c))
            .map(|c| font.h_advance(font.glyph_id(c)))
            .sum()
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
        let scale = self.scale(style);
        let size = (style.size * 64.0).round() as u32;
        let mut x = x;
        let mut letter = 0.0;
        for c in text.chars().filter(|c| !is_invisible(*c)) {
            let font = self.font(style.weight).as_scaled(scale);
            let glyph = font.glyph_id(c);
            let mark = is_mark(c);
            let advance = if mark { 0.0 } else { font.h_advance(glyph) };
            if glyph == GlyphId(0) {
                // a plain box, where the font has no such character
                let (side, thick) = (advance.round() as i32, (style.size / 15.0).max(1.0));
                let height = (style.size * 0.72).round() as i32;
                let rect = Rect::new(
                    x.round() as i32 + 1,
                    baseline.round() as i32 - height,
                    side - 2,
                    height,
                );
                if clip.intersection(rect) == rect {
                    canvas.border_round(rect, 2.0 * thick, thick, color);
                }
                (letter, x) = (advance, x + advance);
                continue;
            }
            // an accent of its own stands over the middle of the letter before it
            let mut at = x;
            if mark {
                if let Some(outline) = font.font.outline(glyph) {
                    let middle = (outline.bounds.min.x + outline.bounds.max.x) / 2.0;
                    at -= letter / 2.0 + middle * font.h_scale_factor();
                }
            } else {
                letter = advance;
            }
            let place = ((at - at.floor()) * PLACES) as u8;
            let key = Key {
                weight: style.weight,
                glyph,
                size,
                place,
            };
            if self.drawn.len() > CACHED {
                self.drawn.clear();
            }
            if !self.drawn.contains_key(&key) {
                let drawn = self.rasterised(key, scale);
                self.drawn.insert(key, drawn);
            }
            if let Some(Some(drawn)) = self.drawn.get(&key) {
                canvas.blend(
                    (
                        x.floor() as i32 + drawn.left,
                        baseline.round() as i32 + drawn.top,
                    ),
                    drawn.width,
                    &drawn.coverage,
                    color,
                    clip,
                );
            }
            x += advance;
        }
        x
    }

    fn rasterised(&self, key: Key, scale: PxScale) -> Option<Drawn> {
        let place = f32::from(key.place) / PLACES;
        let glyph = key.glyph.with_scale_and_position(scale, point(place, 0.0));
        let outline = self.font(key.weight).outline_glyph(glyph)?;
        let bounds = outline.px_bounds();
        let (width, height) = (bounds.width() as usize, bounds.height() as usize);
        let mut coverage = vec![0; width * height];
        outline.draw(|x, y, c| {
            if let Some(pixel) = coverage.get_mut(y as usize * width + x as usize) {
                *pixel = (c.clamp(0.0, 1.0) * 255.0).round() as u8;
            }
        });
        Some(Drawn {
            left: bounds.min.x as i32,
            top: bounds.min.y as i32,
            width,
            coverage,
        })
    }
}

/// Accents of their own, which stand over or under the letter before them and take no room.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// Characters that direct others and have no shape of their own.
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
            assert_ne!(fonts.regular.glyph_id(c), GlyphId(0), "{c}");
            assert_ne!(fonts.semibold.glyph_id(c), GlyphId(0), "{c}");
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
