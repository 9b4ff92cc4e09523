//! A tournament as a picture: a row for each candidate, best first, a column for each round.

use anyhow::Result;
use image::RgbImage;

use super::super::sheet::{BAD, BRIGHT, FAINT, GOOD, Sheet, thumbnail};
use super::standings::Standings;

const TILE: u32 = 128;
const GAP: u32 = 14;
const LABEL: u32 = 96;
/// The heights of lines of text.
const LARGE: u32 = 18;
const SMALL: u32 = 14;
/// No bracket has more rows.
const MOST_ROWS: usize = 64;

/// Draws it. `picture` gives what a seed had painted at the end of a round.
pub(super) fn draw(
    standings: &Standings,
    prompts: &[String],
    picture: impl Fn(u64, usize) -> Option<RgbImage>,
) -> Result<RgbImage> {
    let order = standings.order();
    let rows = &order[..order.len().min(MOST_ROWS)];
    let columns = standings.rounds.len() as u32;
    let caption = SMALL + 6;
    let top = GAP + 3 * (LARGE + 4);
    let width = (GAP + LABEL + columns * (TILE + GAP)).max(420);
    let height = top + rows.len() as u32 * (TILE + caption + GAP);
    let mut sheet = Sheet::new(width, height)?;
    let wide = width - 2 * GAP;
    sheet.write((GAP, GAP), LARGE, BRIGHT, &prompts.join("  ·  "), wide);
    let mut judge = format!("judge: {}", standings.judge.join(", "));
    if standings.judge_is_guide {
        judge.push_str(" (it is the guide too)");
    }
    sheet.write((GAP, GAP + LARGE + 4), SMALL, FAINT, &judge, wide);
    for (column, round) in (0u32..).zip(&standings.rounds) {
        let at = (GAP + LABEL + column * (TILE + GAP), top - SMALL - 6);
        sheet.write(at, SMALL, FAINT, &format!("step {}", round.until), TILE);
    }
    for (row, candidate) in (0u32..).zip(rows) {
        let y = top + row * (TILE + caption + GAP);
        let label = LABEL - 8;
        let place = (row + 1).to_string();
        sheet.write((GAP, y + 4), LARGE, BRIGHT, &place, label);
        let seed = format!("seed {}", candidate.seed);
        sheet.write((GAP, y + 10 + LARGE), SMALL, FAINT, &seed, label);
        if candidate.failed.is_some() {
            let at = (GAP, y + 14 + LARGE + SMALL);
            sheet.write(at, SMALL, BAD, "failed", label);
        }
        for (column, score) in (0u32..).zip(&candidate.scores) {
            let x = GAP + LABEL + column * (TILE + GAP);
            let shown = picture(candidate.seed, column as usize);
            let shown = shown.map(|picture| thumbnail(&picture, TILE));
            sheet.place(shown.as_ref(), (x, y), TILE);
            let dropped = candidate.dropped == Some(column as usize);
            let line = if dropped { BAD } else { GOOD };
            sheet.fill((x, y + TILE), (TILE, 3), line);
            if column > 0 {
                // from the round before to this one
                sheet.fill((x - GAP, y + TILE / 2 - 1), (GAP, 3), GOOD);
            }
            let color = if dropped { FAINT } else { BRIGHT };
            let text = format!("{score:.4}");
            sheet.write((x, y + TILE + 5), SMALL, color, &text, TILE);
        }
    }
    Ok(sheet.into_picture())
}
