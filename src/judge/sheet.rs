//! Contact sheets: pictures in rows, with their ranks, scores and names, as a PNG or as a page of HTML.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use rayon::prelude::*;

use crate::draw::{Canvas, Color, Fonts, Rect, Style, Weight, elide, fit, resize};
use crate::files::write_whole;
use crate::names::{one_line, percent_encoded};
use crate::{metadata, picture};

/// Side of a tile's picture in pixels.
const TILE: u32 = 208;
const GAP: u32 = 12;
const GROUND: Color = Color::rgb(24, 24, 27);
const EMPTY: Color = Color::rgb(45, 45, 50);
pub(crate) const BRIGHT: Color = Color::rgb(240, 240, 242);
pub(crate) const DIM: Color = Color::rgb(160, 160, 168);
/// Of captions, marks and failures where pictures compete.
pub(crate) const FAINT: Color = Color::rgb(150, 150, 158);
pub(crate) const GOOD: Color = Color::rgb(92, 200, 140);
pub(crate) const BAD: Color = Color::rgb(215, 96, 96);
/// The heights of the heading's line and of the captions' lines.
const LARGE: u32 = 20;
const SMALL: u32 = 15;
/// A line's height in sizes of its letters, and the share of it above the baseline.
const LINE_HEIGHT: f32 = 1.21;
const ASCENT: f32 = 0.8;
/// No sheet has more columns.
const MOST_COLUMNS: u32 = 8;
/// No sheet shows more pictures: what is more is told in its heading.
pub const MOST_TILES: usize = 400;
/// How well a thumbnail in HTML is kept, of 100.
const QUALITY: u8 = 85;

/// One picture of a sheet.
#[derive(Clone, Debug)]
pub struct Tile {
    /// Its file.
    pub path: PathBuf,
    /// Its score.
    pub score: f64,
}

/// Writes a sheet of pictures, the first with rank 1: HTML where the file's name ends in `.html` or `.htm`, else PNG. A picture that cannot be
/// read any more is an empty tile.
///
/// # Errors
/// When the sheet cannot be written.
pub fn write(path: &Path, heading: &str, tiles: &[Tile]) -> Result<()> {
    let shown = &tiles[..tiles.len().min(MOST_TILES)];
    let heading = match tiles.len() - shown.len() {
        0 => heading.to_owned(),
        more => format!("{heading} (and {more} more)"),
    };
    let thumbnails: Vec<Option<RgbImage>> = shown
        .par_iter()
        .map(|tile| Some(thumbnail(&picture::load_rgb(&tile.path).ok()?, TILE)))
        .collect();
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    let written = if ending == "html" || ending == "htm" {
        let page = page(path, &heading, shown, &thumbnails)?;
        write_whole(path, true, |file| file.write_all(page.as_bytes()))
    } else {
        let sheet = sheet(&heading, shown, &thumbnails)?;
        write_whole(path, true, |file| metadata::write(file, &sheet, &[]))
    };
    written.with_context(|| format!("the sheet {} is not written", path.display()))
}

/// The picture made to fit into a square, its sides in proportion.
pub(crate) fn thumbnail(picture: &RgbImage, side: u32) -> RgbImage {
    let square = Rect::new(0, 0, side as i32, side as i32);
    let place = fit(picture.dimensions(), square);
    resize(picture, (place.width as u32, place.height as u32))
}

/// A picture that thumbnails and lines of text are put on.
pub(crate) struct Sheet {
    canvas: Canvas,
    fonts: Fonts,
}

impl Sheet {
    pub(crate) fn new(width: u32, height: u32) -> Result<Self> {
        let canvas = Canvas::new(width as usize, height as usize, GROUND);
        let fonts = Fonts::embedded()?;
        Ok(Self { canvas, fonts })
    }

    pub(crate) fn into_picture(self) -> RgbImage {
        self.canvas.to_picture()
    }

    /// Puts a picture into the middle of a square, or shows that there is none.
    pub(crate) fn place(
        &mut self,
        thumbnail: Option<&RgbImage>,
        (left, top): (u32, u32),
        side: u32,
    ) {
        let Some(thumbnail) = thumbnail else {
            return self.fill((left, top), (side, side), EMPTY);
        };
        let x = left + side.saturating_sub(thumbnail.width()) / 2;
        let y = top + side.saturating_sub(thumbnail.height()) / 2;
        self.canvas.put((x as i32, y as i32), thumbnail);
    }

    /// Fills a rectangle.
    pub(crate) fn fill(
        &mut self,
        (left, top): (u32, u32),
        (width, height): (u32, u32),
        color: Color,
    ) {
        let rect = Rect::new(left as i32, top as i32, width as i32, height as i32);
        self.canvas.fill(rect, color);
    }

    /// Writes a line whose upper left corner is at `(left, top)`, without its middle where it is wider than `room`.
    pub(crate) fn write(
        &mut self,
        (left, top): (u32, u32),
        height: u32,
        color: Color,
        text: &str,
        room: u32,
    ) {
        let style = style(height);
        let text = elide::middle(&self.fonts, text, style, room as f32);
        let at = (left as f32, top as f32 + ASCENT * height as f32);
        let clip = self.canvas.bounds();
        (self.fonts).draw(&mut self.canvas, at, &text, style, color, clip);
    }

    /// Writes a line that ends at `right`.
    fn write_to(&mut self, (right, top): (u32, u32), height: u32, color: Color, text: &str) {
        let width = self.fonts.width(text, style(height)).ceil() as u32;
        self.write((right - width, top), height, color, text, width);
    }
}

fn style(line_height: u32) -> Style {
    Style {
        size: line_height as f32 / LINE_HEIGHT,
        weight: Weight::Regular,
    }
}

fn sheet(heading: &str, tiles: &[Tile], thumbnails: &[Option<RgbImage>]) -> Result<RgbImage> {
    let count = tiles.len().max(1) as u32;
    // a little wider than high
    let columns = ((f64::from(count) * 1.4).sqrt().ceil() as u32).clamp(1, MOST_COLUMNS.min(count));
    let rows = (tiles.len() as u32).div_ceil(columns);
    let captions = 2 * (SMALL + 2) + 4;
    let top = 2 * GAP + LARGE;
    let width = GAP + columns * (TILE + GAP);
    let height = top + rows * (TILE + captions + GAP);
    let mut sheet = Sheet::new(width, height)?;
    sheet.write((GAP, GAP), LARGE, BRIGHT, heading, width - 2 * GAP);
    for (index, (tile, thumbnail)) in (0u32..).zip(tiles.iter().zip(thumbnails)) {
        let left = GAP + index % columns * (TILE + GAP);
        let upper = top + index / columns * (TILE + captions + GAP);
        sheet.place(thumbnail.as_ref(), (left, upper), TILE);
        let line = upper + TILE + 4;
        let rank = (index + 1).to_string();
        sheet.write((left, line), SMALL, BRIGHT, &rank, TILE);
        let score = format!("{:.4}", tile.score);
        sheet.write_to((left + TILE, line), SMALL, BRIGHT, &score);
        let name = one_line(Path::new(tile.path.file_name().unwrap_or_default()));
        sheet.write((left, line + SMALL + 2), SMALL, DIM, &name, TILE);
    }
    Ok(sheet.into_picture())
}

/// A page that needs no other file: the thumbnails are in it. Each leads to its picture.
fn page(
    path: &Path,
    heading: &str,
    tiles: &[Tile],
    thumbnails: &[Option<RgbImage>],
) -> Result<String> {
    let title = escaped(heading);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>\n\
         body {{ background: #18181b; color: #f0f0f2; font: 15px system-ui, sans-serif; margin: 16px }}\n\
         h1 {{ font-size: 20px; font-weight: 500 }}\n\
         main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax({TILE}px, 1fr)); gap: 16px 12px }}\n\
         a {{ color: inherit; text-decoration: none }}\n\
         figure {{ margin: 0 }}\n\
         figure div {{ height: {TILE}px; display: flex; align-items: center; justify-content: center; background: #202024 }}\n\
         figcaption {{ display: flex; flex-wrap: wrap; justify-content: space-between; padding: 4px 0 }}\n\
         figcaption small {{ flex-basis: 100%; color: #a0a0a8; overflow-wrap: anywhere }}\n\
         </style>\n<h1>{title}</h1>\n<main>\n"
    );
    for (rank, (tile, thumbnail)) in (1..).zip(tiles.iter().zip(thumbnails)) {
        let picture = match thumbnail {
            None => String::new(),
            Some(thumbnail) => {
                let mut jpeg = vec![];
                JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(thumbnail)?;
                let data = BASE64_STANDARD.encode(jpeg);
                format!("<img alt=\"\" src=\"data:image/jpeg;base64,{data}\">")
            }
        };
        writeln!(
            page,
            "<figure><a href=\"{}\"><div>{picture}</div><figcaption><b>{rank}</b><span>{:.4}</span><small>{}</small></figcaption></a></figure>",
            link(path, &tile.path),
            tile.score,
            escaped(&one_line(&tile.path)),
        )?;
    }
    page.push_str("</main>\n</html>\n");
    Ok(page)
}

pub(crate) fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

/// Where a page in one file finds another: relative where both lie under the page's folder, so that they can be moved together.
fn link(page: &Path, to: &Path) -> String {
    let absolute = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = page.parent().filter(|parent| *parent != Path::new(""));
    let (folder, to) = (absolute(folder.unwrap_or(Path::new("."))), absolute(to));
    let inside = to.strip_prefix(&folder).map(|inside| ("", inside));
    let (start, path) = inside.unwrap_or(("file://", &to));
    format!("{start}{}", percent_encoded(path))
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    fn tiles(folder: &Path, count: usize) -> Vec<Tile> {
        (0..count)
            .map(|number| {
                let path = folder.join(format!("<{number}> & more.png"));
                let level = (255 * number / count.max(1)) as u8;
                RgbImage::from_pixel(30, 20, Rgb([level, 90, 200]))
                    .save(&path)
                    .expect("a picture");
                Tile {
                    path,
                    score: 1.0 / (number + 1) as f64,
                }
            })
            .collect()
    }

    #[test]
    fn a_sheet_shows_its_pictures_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let tiles = tiles(folder.path(), 3);
        let path = folder.path().join("sheet.png");
        write(&path, "a heading", &tiles).expect("a sheet");
        let sheet = picture::load_rgb(&path).expect("a picture");
        let middle = 2 * GAP + 20 + TILE / 2;
        for (place, level) in [(0, 0), (1, 85), (2, 170)] {
            let pixel = sheet.get_pixel(GAP + place * (TILE + GAP) + TILE / 2, middle);
            assert_eq!(pixel.0, [level, 90, 200]);
        }
    }

    #[test]
    fn a_picture_that_is_gone_is_an_empty_tile() {
        let folder = tempfile::tempdir().expect("a folder");
        let gone = Tile {
            path: folder.path().join("gone.png"),
            score: 0.5,
        };
        let path = folder.path().join("sheet.png");
        write(&path, "", &[gone]).expect("a sheet");
        let sheet = picture::load_rgb(&path).expect("a picture");
        let [red, green, blue] = sheet.get_pixel(GAP + 9, 2 * GAP + 20 + 9).0;
        assert_eq!(Color::rgb(red, green, blue), EMPTY);
    }

    #[test]
    fn a_page_holds_its_pictures_and_leads_to_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let tiles = tiles(folder.path(), 2);
        let path = folder.path().join("sheet.html");
        write(&path, "<b>", &tiles).expect("a page");
        let page = std::fs::read_to_string(&path).expect("a page");
        assert_eq!(page.matches("data:image/jpeg;base64,").count(), 2);
        assert!(page.contains("href=\"%3C0%3E%20%26%20more.png\""), "{page}");
        assert!(
            page.contains("<title>&lt;b&gt;</title>") && page.contains("&lt;1&gt; &amp; more.png")
        );
    }

    #[test]
    fn a_sheet_without_pictures_is_a_heading() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sheet.png");
        write(&path, "nothing", &[]).expect("a sheet");
        let sheet = picture::load_rgb(&path).expect("a picture");
        let ground = *sheet.get_pixel(0, 0);
        assert!(sheet.pixels().any(|pixel| *pixel != ground));
        assert!(sheet.height() < TILE);
    }
}
