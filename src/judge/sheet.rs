//! Contact sheets: pictures in rows, with their ranks, scores and names, as a PNG or as a page of HTML.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use rayon::prelude::*;

use crate::files::write_whole;
use crate::metadata;
use crate::names::{one_line, percent_encoded};
use crate::picture;
use crate::text::Font;

/// Side of a tile's picture in pixels.
const TILE: u32 = 208;
const GAP: u32 = 12;
const GROUND: [u8; 3] = [24, 24, 27];
const EMPTY: [u8; 3] = [45, 45, 50];
const BRIGHT: [u8; 3] = [240, 240, 242];
const DIM: [u8; 3] = [160, 160, 168];
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
        .map(|tile| thumbnail(&picture::load_rgb(&tile.path).ok()?, TILE))
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

/// The picture made to fit into a square, its sides in proportion. `None` where it is empty.
pub(in crate::judge) fn thumbnail(picture: &RgbImage, side: u32) -> Option<RgbImage> {
    let (width, height) = picture.dimensions();
    let longer = u64::from(width.max(height));
    let scaled = |length: u32| {
        (u64::from(length) * u64::from(side))
            .checked_div(longer)
            .map(|s| s.max(1) as u32)
    };
    let (w, h) = (scaled(width)?, scaled(height)?);
    let source = ImageRef::new(width, height, picture.as_raw(), PixelType::U8x3).ok()?;
    let mut small = Image::new(w, h, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    Resizer::new().resize(&source, &mut small, &options).ok()?;
    RgbImage::from_raw(w, h, small.into_vec())
}

/// Puts a picture into the middle of a square whose upper left corner is at `(left, top)`.
pub(in crate::judge) fn place(
    sheet: &mut RgbImage,
    thumbnail: Option<&RgbImage>,
    (left, top): (u32, u32),
    side: u32,
) {
    let Some(thumbnail) = thumbnail else {
        fill(sheet, (left, top), (side, side), EMPTY);
        return;
    };
    let (width, height) = thumbnail.dimensions();
    let x = left + side.saturating_sub(width) / 2;
    let y = top + side.saturating_sub(height) / 2;
    image::imageops::replace(sheet, thumbnail, x.into(), y.into());
}

/// A rectangle of one colour.
pub(in crate::judge) fn fill(
    sheet: &mut RgbImage,
    (left, top): (u32, u32),
    (width, height): (u32, u32),
    color: [u8; 3],
) {
    for y in top..(top + height).min(sheet.height()) {
        for x in left..(left + width).min(sheet.width()) {
            sheet.put_pixel(x, y, Rgb(color));
        }
    }
}

fn sheet(heading: &str, tiles: &[Tile], thumbnails: &[Option<RgbImage>]) -> Result<RgbImage> {
    let (large, small) = (Font::new(20.0)?, Font::new(15.0)?);
    let count = tiles.len().max(1) as u32;
    // a little wider than high
    let columns = ((f64::from(count) * 1.4).sqrt().ceil() as u32).clamp(1, MOST_COLUMNS.min(count));
    let rows = count.div_ceil(columns);
    let captions = 2 * (small.height() + 2) + 4;
    let top = 2 * GAP + large.height();
    let width = GAP + columns * (TILE + GAP);
    let height = top + rows * (TILE + captions + GAP);
    let mut sheet = RgbImage::from_pixel(width, height, Rgb(GROUND));
    let fitted = large.fit(heading, (width - 2 * GAP) as f32);
    large.draw(&mut sheet, (GAP as i32, GAP as i32), BRIGHT, &fitted);
    for (place_of, (tile, thumbnail)) in (0u32..).zip(tiles.iter().zip(thumbnails)) {
        let left = GAP + place_of % columns * (TILE + GAP);
        let upper = top + place_of / columns * (TILE + captions + GAP);
        place(&mut sheet, thumbnail.as_ref(), (left, upper), TILE);
        let rank = (place_of + 1).to_string();
        let score = format!("{:.4}", tile.score);
        let line = (upper + TILE + 4) as i32;
        small.draw(&mut sheet, (left as i32, line), BRIGHT, &rank);
        let at = left as f32 + TILE as f32 - small.width(&score);
        small.draw(&mut sheet, (at as i32, line), BRIGHT, &score);
        let name = one_line(Path::new(tile.path.file_name().unwrap_or_default()));
        let name = small.fit(&name, TILE as f32);
        let line = line + small.height() as i32 + 2;
        small.draw(&mut sheet, (left as i32, line), DIM, &name);
    }
    Ok(sheet)
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
                format!(
                    "<img alt=\"\" src=\"data:image/jpeg;base64,{}\">",
                    BASE64_STANDARD.encode(jpeg)
                )
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

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            _ => safe.push(c),
        }
    }
    safe
}

/// Where a page in one file finds another: relative where both lie under the page's folder, so that they can be moved together.
fn link(page: &Path, to: &Path) -> String {
    let absolute = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = match page.parent() {
        Some(parent) if parent != Path::new("") => absolute(parent),
        _ => absolute(Path::new(".")),
    };
    let to = absolute(to);
    let (start, path) = match to.strip_prefix(&folder) {
        Ok(inside) => ("", inside),
        Err(_) => ("file://", to.as_path()),
    };
    format!("{start}{}", percent_encoded(path))
}

#[cfg(test)]
mod tests {
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
        assert_eq!(sheet.get_pixel(GAP + 9, 2 * GAP + 20 + 9).0, EMPTY);
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
        write(&folder.path().join("sheet.png"), "nothing", &[]).expect("a sheet");
    }
}
