//! A comparison as a picture: a row for each prompt and seed, a column for each recipe. Many rows are put beside each other.

use std::path::Path;

use anyhow::Result;
use image::RgbImage;
use rayon::prelude::*;

use super::super::sheet::{BAD, BRIGHT, FAINT, GOOD, MOST_TILES, Sheet, thumbnail};
use super::record::{Picture, Record};
use super::standing::NOISE_FLOOR;
use crate::picture;

const TILE: u32 = 176;
const GAP: u32 = 10;
/// Between two columns of rows.
const GUTTER: u32 = 36;
/// The heights of lines of text.
const LARGE: u32 = 20;
const SMALL: u32 = 15;
/// A row's heading, pictures and captions, and the space below it.
const ROW: u32 = SMALL + 6 + TILE + 4 + SMALL + 2 * GAP;

/// Draws it, with the pictures in the comparison's folder.
pub(super) fn draw(record: &Record, folder: &Path) -> Result<RgbImage> {
    let columns = record.recipes.len();
    let most = (MOST_TILES / columns).max(1);
    let rows: Vec<&[Picture]> = record.pictures.chunks(columns).take(most).collect();
    let thumbnails: Vec<Option<RgbImage>> = (rows.par_iter())
        .flat_map(|row| row.par_iter())
        .map(|own| {
            Some(thumbnail(
                &picture::load_rgb(&folder.join(&own.file)).ok()?,
                TILE,
            ))
        })
        .collect();

    let wide = columns as u32 * (TILE + GAP) - GAP;
    let (beside, high) = arrangement(rows.len() as u32, wide);
    let top = GAP + LARGE + 6 + SMALL + 2 * GAP;
    let names = SMALL + GAP;
    let width = (2 * GAP + beside * (wide + GUTTER) - GUTTER).max(480);
    let mut sheet = Sheet::new(width, top + names + high * ROW)?;

    let room = width - 2 * GAP;
    let vs: Vec<&str> = record.recipes.iter().map(|own| own.name.as_str()).collect();
    let mut heading = vs.join(" · ");
    if rows.len() < record.rows() {
        heading.push_str(&format!(
            " (the first {} of {} rows)",
            rows.len(),
            record.rows()
        ));
    }
    sheet.write((GAP, GAP), LARGE, BRIGHT, &heading, room);
    let judges = record.judges.join(", ");
    let legend =
        format!("judge: {judges}; green: better than the others by more than {NOISE_FLOOR}");
    sheet.write((GAP, GAP + LARGE + 6), SMALL, FAINT, &legend, room);

    for (number, row) in (0u32..).zip(&rows) {
        let left = GAP + number / high * (wide + GUTTER);
        let y = top + names + number % high * ROW;
        if number % high == 0 {
            for (x, own) in (left..).step_by((TILE + GAP) as usize).zip(&record.recipes) {
                sheet.write((x, top), SMALL, FAINT, &own.name, TILE);
            }
        }
        let mut title = row[0].prompt.clone();
        if record.seeds.is_some() {
            title.push_str(&format!(" · seed {}", row[0].seed));
        }
        sheet.write((left, y), SMALL, BRIGHT, &title, wide);
        let best = best(row);
        for (column, own) in row.iter().enumerate() {
            let at = (left + column as u32 * (TILE + GAP), y + SMALL + 6);
            let shown = thumbnails[number as usize * columns + column].as_ref();
            draw_picture(&mut sheet, at, own, shown, best == Some(column));
        }
    }
    Ok(sheet.into_picture())
}

fn draw_picture(
    sheet: &mut Sheet,
    (x, y): (u32, u32),
    own: &Picture,
    shown: Option<&RgbImage>,
    is_best: bool,
) {
    sheet.place(shown, (x, y), TILE);
    if is_best {
        sheet.fill((x, y + TILE), (TILE, 3), GOOD);
    }
    let line = (x, y + TILE + 5);
    match (own.score(), &own.failed) {
        (Some(score), _) => {
            let color = if is_best { GOOD } else { BRIGHT };
            sheet.write(line, SMALL, color, &format!("{score:.4}"), TILE);
        }
        (None, Some(_)) => sheet.write(line, SMALL, BAD, "failed", TILE),
        (None, None) => {}
    }
}

/// The index of the picture in a row whose score exceeds all others by more than the noise, if there is one.
fn best(row: &[Picture]) -> Option<usize> {
    let is_best = |index: &usize| {
        let beats = |score: f64, other: &Picture| {
            (other.score()).is_some_and(|other| score > other + NOISE_FLOOR)
        };
        row[*index].score().is_some_and(|score| {
            let mut others = row.iter().enumerate().filter(|(other, _)| other != index);
            others.all(|(_, other)| beats(score, other))
        })
    };
    (0..row.len()).find(is_best)
}

/// How many columns of rows `wide` pixels wide there are, and how many rows each has, so that the sheet is about as wide as high.
fn arrangement(rows: u32, wide: u32) -> (u32, u32) {
    let square = f64::from(rows * ROW) / f64::from(wide + GUTTER);
    let beside = (square.sqrt().round() as u32).clamp(1, rows.max(1));
    let high = rows.div_ceil(beside).max(1);
    (rows.div_ceil(high).max(1), high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(scores: &[Option<f64>]) -> Vec<Picture> {
        let picture = |score: &Option<f64>| Picture {
            scores: score.iter().copied().collect(),
            ..Picture::default()
        };
        scores.iter().map(picture).collect()
    }

    #[test]
    fn a_picture_is_the_best_by_more_than_the_noise() {
        assert_eq!(best(&row(&[Some(0.3), Some(0.31)])), Some(1));
        assert_eq!(best(&row(&[Some(0.3), Some(0.303)])), None);
        assert_eq!(best(&row(&[Some(0.3), None])), None);
        assert_eq!(best(&row(&[None, None])), None);
        assert_eq!(best(&row(&[Some(0.5), Some(0.3), Some(0.498)])), None);
    }

    #[test]
    fn every_row_has_a_place() {
        for (rows, wide) in [
            (1, 362),
            (2, 362),
            (6, 362),
            (30, 362),
            (30, 2000),
            (400, 176),
        ] {
            let (beside, high) = arrangement(rows, wide);
            assert!(
                beside * high >= rows && (beside - 1) * high < rows,
                "{rows}"
            );
        }
        assert_eq!(arrangement(1, 362), (1, 1));
    }
}
