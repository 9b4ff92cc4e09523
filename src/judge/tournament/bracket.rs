//! A tournament as a picture: a row for each candidate, best first, a column for each round.

use anyhow::Result;
use image::{Rgb, RgbImage};

use super::super::sheet::{fill, place, thumbnail};
use super::standings::Standings;
use crate::text::Font;

const TILE: u32 = 128;
const GAP: u32 = 14;
const LABEL: u32 = 96;
const GROUND: [u8; 3] = [24, 24, 27];
const BRIGHT: [u8; 3] = [240, 240, 242];
const DIM: [u8; 3] = [150, 150, 158];
const GOES_ON: [u8; 3] = [92, 200, 140];
const ENDS: [u8; 3] = [215, 96, 96];
/// No bracket has more rows.
const MOST_ROWS: usize = 64;

/// Draws it. `picture` gives what a seed had painted at the end of a round.
pub(super) fn draw(
    standings: &Standings,
    prompts: &[String],
    picture: impl Fn(u64, usize) -> Option<RgbImage>,
) -> Result<RgbImage> {
    let (large, small) = (Font::new(18.0)?, Font::new(14.0)?);
    let order = standings.order();
    let rows = &order[..order.len().min(MOST_ROWS)];
    let columns = standings.rounds.len() as u32;
    let caption = small.height() + 6;
    let top = GAP + 3 * (large.height() + 4);
    let width = (GAP + LABEL + columns * (TILE + GAP)).max(420);
    let height = top + rows.len() as u32 * (TILE + caption + GAP);
    let mut sheet = RgbImage::from_pixel(width, height, Rgb(GROUND));
    let wide = (width - 2 * GAP) as f32;
    let write = |sheet: &mut RgbImage, font: &Font, at: (u32, u32), color, text: &str, wide| {
        font.draw(
            sheet,
            (at.0 as i32, at.1 as i32),
            color,
            &font.fit(text, wide),
        );
    };
    write(
        &mut sheet,
        &large,
        (GAP, GAP),
        BRIGHT,
        &prompts.join("  ·  "),
        wide,
    );
    let judge = format!(
        "judge: {}{}",
        standings.judge.join(", "),
        if standings.judge_is_guide {
            " (it is the guide too)"
        } else {
            ""
        }
    );
    write(
        &mut sheet,
        &small,
        (GAP, GAP + large.height() + 4),
        DIM,
        &judge,
        wide,
    );
    for (column, round) in (0u32..).zip(&standings.rounds) {
        let x = GAP + LABEL + column * (TILE + GAP);
        let text = format!("step {}", round.until);
        write(
            &mut sheet,
            &small,
            (x, top - small.height() - 6),
            DIM,
            &text,
            TILE as f32,
        );
    }
    for (row, candidate) in (0u32..).zip(rows) {
        let y = top + row * (TILE + caption + GAP);
        let label = LABEL as f32 - 8.0;
        write(
            &mut sheet,
            &large,
            (GAP, y + 4),
            BRIGHT,
            &format!("{}", row + 1),
            label,
        );
        let seed = format!("seed {}", candidate.seed);
        write(
            &mut sheet,
            &small,
            (GAP, y + 10 + large.height()),
            DIM,
            &seed,
            label,
        );
        if candidate.failed.is_some() {
            let at = (GAP, y + 14 + large.height() + small.height());
            write(&mut sheet, &small, at, ENDS, "failed", label);
        }
        for (column, score) in (0u32..).zip(&candidate.scores) {
            let x = GAP + LABEL + column * (TILE + GAP);
            let shown = picture(candidate.seed, column as usize);
            let shown = shown.and_then(|picture| thumbnail(&picture, TILE));
            place(&mut sheet, shown.as_ref(), (x, y), TILE);
            let dropped = candidate.dropped == Some(column as usize);
            let line = if dropped { ENDS } else { GOES_ON };
            fill(&mut sheet, (x, y + TILE), (TILE, 3), line);
            if column > 0 {
                // from the round before to this one
                fill(&mut sheet, (x - GAP, y + TILE / 2 - 1), (GAP, 3), GOES_ON);
            }
            let text = format!("{score:.4}");
            let color = if dropped { DIM } else { BRIGHT };
            write(
                &mut sheet,
                &small,
                (x, y + TILE + 5),
                color,
                &text,
                TILE as f32,
            );
        }
    }
    Ok(sheet)
}
