//! A sweep as pictures: contact sheets with the axes as rows and columns, and a page.
//!
//! The values of the last axis stand side by side, those of the axis before it one below the other, and those of the others make a block each. Runs
//! that fill no grid, such as samples, stand in the order of their numbers, each with its values.

mod page;

use anyhow::Result;
use image::RgbImage;
use rayon::prelude::*;

use super::plan::Plan;
use super::store::Store;
use super::table::{self, PARQUET, Row, State, TABLE};
use super::worker::Judge;
use crate::judge::sheet::{BAD, BRIGHT, DIM, FAINT, MOST_TILES, Sheet, thumbnail};
use crate::metadata;

/// The file of the page in a sweep's folder.
pub const PAGE: &str = "index.html";
/// The first sheet.
const SHEET: &str = "sheet.png";
const GAP: u32 = 10;
/// Between two blocks.
const GUTTER: u32 = 36;
const LARGE: u32 = 20;
const SMALL: u32 = 15;
/// The sides of tiles, and about how wide a sheet is.
const TILES: std::ops::RangeInclusive<u32> = 64..=176;
const WIDTH: u32 = 1800;
/// From this side on there is room below a tile for the name of a number.
const NAMED: u32 = 160;
/// The most sheets: the page shows all runs.
const MOST_SHEETS: usize = 25;
/// More columns than this are no grid.
const MOST_COLUMNS: usize = 32;
/// How many pictures stand side by side where there is no grid.
const FLOW: usize = 8;

/// Where the files are that tell what became of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    /// The table.
    pub table: String,
    /// The contact sheets, at least one.
    pub sheets: Vec<String>,
    /// The page.
    pub page: String,
}

/// Makes table, sheets and page of what is in a sweep's folder. Where everything is whole, what killed processes left is removed. The same
/// results make the same files, so that several processes may do this at once.
///
/// # Errors
/// When the results cannot be read or written, or a judge fails.
pub fn collect(
    plan: &Plan,
    store: &Store,
    title: &str,
    judge: Option<&Judge>,
) -> Result<(Vec<Row>, Collected)> {
    if let Some(judge) = judge {
        let whole = store.whole_among(plan.runs().iter())?;
        for run in plan.runs() {
            if let Some(name) = whole.get(run.hash()) {
                judge.score(store, run, name)?;
            }
        }
    }
    let rows = table::rows(plan, store)?;
    let text = table::text(plan, &rows);
    let table = store.write(TABLE, text.as_bytes())?;
    store.write(PARQUET, &table::parquet(&text)?)?;
    let layout = Layout::of(plan);
    let mut sheets = vec![];
    let pages = layout.pages();
    let shown: usize = (pages.iter().take(MOST_SHEETS).flatten())
        .flat_map(|(_, lines)| lines.iter().map(|line| line.runs.len()))
        .sum();
    let heading = if shown < rows.len() {
        format!("{title} (the first {shown} of {} runs)", rows.len())
    } else {
        title.to_owned()
    };
    for (number, blocks) in (1..).zip(pages.iter().take(MOST_SHEETS)) {
        let sheet = layout.draw(store, &heading, &rows, blocks)?;
        let name = if number == 1 {
            SHEET.to_owned()
        } else {
            format!("sheet-{number}.png")
        };
        let mut bytes = vec![];
        metadata::write(&mut bytes, &sheet, &[])?;
        sheets.push(store.write(&name, &bytes)?);
    }
    let page = store.write(PAGE, layout.page(plan, title, &rows)?.as_bytes())?;
    if rows.iter().all(|row| row.state == State::Whole) {
        store.clean_all();
    }
    Ok((
        rows,
        Collected {
            table,
            sheets,
            page,
        },
    ))
}

/// How the pictures are arranged.
struct Layout {
    /// The values of the axis that runs across; none where there is no grid.
    header: Vec<String>,
    /// What runs across and down.
    legend: String,
    columns: usize,
    blocks: Vec<Block>,
}

/// Lines that have the values of all other axes in common.
struct Block {
    /// These values; empty where there are no other axes.
    title: String,
    lines: Vec<Line>,
}

/// Pictures side by side.
struct Line {
    /// The value of the axis that runs down, if there is one.
    label: String,
    /// The indices of the runs.
    runs: Vec<usize>,
}

impl Layout {
    fn of(plan: &Plan) -> Self {
        let runs = plan.runs();
        // axes of one choice say nothing
        let axes: Vec<(usize, u64)> = (plan.axes().enumerate())
            .filter_map(|(index, (_, length))| {
                Some((index, length?)).filter(|(_, length)| *length > 1)
            })
            .collect();
        let across = axes
            .last()
            .filter(|(_, length)| *length <= MOST_COLUMNS as u64 && !plan.is_sampled());
        let Some(&(across, columns)) = across else {
            let all: Vec<usize> = (0..runs.len()).collect();
            let line = |runs: &[usize]| Line {
                label: String::new(),
                runs: runs.to_vec(),
            };
            let lines = all.chunks(FLOW).map(line).collect();
            return Self {
                header: vec![],
                legend: plan.columns().join(", "),
                columns: FLOW.min(runs.len()),
                blocks: vec![Block {
                    title: String::new(),
                    lines,
                }],
            };
        };
        let down = axes.iter().rev().nth(1).map(|(index, _)| *index);
        let columns = columns as usize;
        let shown = |run: usize, axis: usize| plan.shown(&runs[run], axis);
        let name = |axis: usize| {
            plan.axes()
                .nth(axis)
                .map(|(paths, _)| paths.join(", "))
                .unwrap_or_default()
        };
        let mut blocks: Vec<Block> = vec![];
        for first in (0..runs.len()).step_by(columns) {
            let above = axes
                .iter()
                .filter(|(index, _)| *index != across && Some(*index) != down);
            let title =
                above.map(|(index, _)| format!("{} {}", name(*index), shown(first, *index)));
            let title = title.collect::<Vec<_>>().join(", ");
            let line = Line {
                label: down.map(|down| shown(first, down)).unwrap_or_default(),
                runs: (first..first + columns).collect(),
            };
            match blocks.last_mut() {
                Some(block) if block.title == title => block.lines.push(line),
                _ => blocks.push(Block {
                    title,
                    lines: vec![line],
                }),
            }
        }
        let down = down.map_or_else(String::new, |down| format!("; down: {}", name(down)));
        Self {
            header: (0..columns).map(|run| shown(run, across)).collect(),
            legend: format!("across: {}{down}", name(across)),
            columns,
            blocks,
        }
    }

    /// The blocks of each sheet, each with the lines that are on it. A block with more pictures than a sheet shows is divided.
    fn pages(&self) -> Vec<Vec<(&str, &[Line])>> {
        let most = (MOST_TILES / self.columns.max(1)).max(1);
        let mut pages: Vec<Vec<(&str, &[Line])>> = vec![];
        let mut room = 0;
        for block in &self.blocks {
            for lines in block.lines.chunks(most) {
                if lines.len() > room {
                    pages.push(vec![]);
                    room = most;
                }
                room -= lines.len();
                if let Some(page) = pages.last_mut() {
                    page.push((&block.title, lines));
                }
            }
        }
        pages
    }

    /// A sheet of these blocks, which stand beside one another so that it is about as wide as high.
    fn draw(
        &self,
        store: &Store,
        title: &str,
        rows: &[Row],
        blocks: &[(&str, &[Line])],
    ) -> Result<RgbImage> {
        let columns = self.columns.max(1) as u32;
        let side = (WIDTH / columns).clamp(*TILES.start(), *TILES.end());
        let is_grid = !self.header.is_empty();
        let line_height = SMALL + 4;
        // of a picture's own caption
        let captions = if is_grid {
            line_height
        } else {
            2 * line_height
        };
        let has = |text: &str, height: u32| if text.is_empty() { 0 } else { height };
        let lines = || blocks.iter().flat_map(|(_, lines)| lines.iter());
        let label = has(
            lines()
                .map(|line| line.label.as_str())
                .find(|label| !label.is_empty())
                .unwrap_or_default(),
            line_height,
        );
        let name = has(
            blocks
                .iter()
                .map(|(title, _)| *title)
                .find(|title| !title.is_empty())
                .unwrap_or_default(),
            LARGE + GAP,
        );
        let values = if is_grid { line_height } else { 0 };
        let row = label + side + captions + GAP;
        let longest = blocks
            .iter()
            .map(|(_, lines)| lines.len())
            .max()
            .unwrap_or(0) as u32;
        let (wide, high) = (
            columns * (side + GAP) - GAP,
            name + values + longest * row + GAP,
        );
        let count = blocks.len().max(1) as u32;
        let square = (f64::from(count * high) / f64::from(wide + GUTTER))
            .sqrt()
            .round() as u32;
        let fitting = (WIDTH / (wide + GUTTER)).max(1);
        let beside = square.clamp(1, count).min(fitting);
        let width = (2 * GAP + beside * (wide + GUTTER) - GUTTER).max(420);
        let top = GAP + LARGE + 6 + SMALL + 2 * GAP;
        let mut sheet = Sheet::new(width, top + count.div_ceil(beside) * high)?;
        let room = width - 2 * GAP;
        sheet.write((GAP, GAP), LARGE, BRIGHT, title, room);
        let has_room = side >= NAMED;
        let mut legend = self.legend.clone();
        if !has_room && let Some((name, _)) = rows.iter().find_map(measure) {
            legend += &format!("; below each picture: run and {name}");
        }
        sheet.write((GAP, GAP + LARGE + 6), SMALL, FAINT, &legend, room);
        let runs: Vec<usize> = lines().flat_map(|line| line.runs.iter().copied()).collect();
        let thumbnails: Vec<Option<RgbImage>> = (runs.par_iter())
            .map(|run| {
                let picture = rows[*run].picture.as_ref()?;
                Some(thumbnail(&store.load_picture(picture).ok()?, side))
            })
            .collect();
        let mut thumbnails = thumbnails.iter();
        for (index, (title, lines)) in (0u32..).zip(blocks) {
            let left = GAP + index % beside * (wide + GUTTER);
            let mut y = top + index / beside * high;
            let left_of = |column: usize| left + column as u32 * (side + GAP);
            let room = if beside == 1 { width - 2 * GAP } else { wide };
            sheet.write((left, y), LARGE, BRIGHT, title, room);
            y += name;
            for (column, value) in self.header.iter().enumerate() {
                sheet.write((left_of(column), y), SMALL, FAINT, value, side);
            }
            y += values;
            for line in *lines {
                sheet.write((left, y), SMALL, BRIGHT, &line.label, room);
                y += label;
                for (column, run) in line.runs.iter().enumerate() {
                    let (row, at) = (&rows[*run], (left_of(column), y));
                    sheet.place(thumbnails.next().and_then(Option::as_ref), at, side);
                    let (color, caption) = caption(row, has_room);
                    sheet.write((at.0, y + side + 3), SMALL, color, &caption, side);
                    if !is_grid {
                        let values = row.values.join(", ");
                        sheet.write(
                            (at.0, y + side + 3 + line_height),
                            SMALL,
                            DIM,
                            &values,
                            side,
                        );
                    }
                }
                y += side + captions + GAP;
            }
        }
        Ok(sheet.into_picture())
    }
}

/// A number about a picture, and what it is: the judges' score, or else the similarity.
fn measure(row: &Row) -> Option<(&'static str, f64)> {
    let score = row.score().map(|score| ("score", score));
    score.or_else(|| row.similarity.map(|value| ("similarity", value)))
}

/// What stands below a picture: the number of its run and its [`measure`], whose name is left out where there is no room.
fn caption(row: &Row, has_room: bool) -> (crate::draw::Color, String) {
    let number = row.run;
    match (row.state, measure(row)) {
        (State::Whole, Some((name, value))) if has_room => {
            (BRIGHT, format!("{number}: {name} {value:.3}"))
        }
        (State::Whole, Some((_, value))) => (BRIGHT, format!("{number}: {value:.3}")),
        (State::Whole, None) => (BRIGHT, number.to_string()),
        (state, _) => (BAD, format!("{number}: {}", state.shown())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sheet_shows_more_pictures_than_can_be_seen() {
        let line = |first: usize| Line {
            label: first.to_string(),
            runs: (first..first + 10).collect(),
        };
        let block = |title: &str, lines: usize| Block {
            title: title.to_owned(),
            lines: (0..lines).map(|number| line(10 * number)).collect(),
        };
        let layout = Layout {
            header: vec![String::new(); 10],
            legend: String::new(),
            columns: 10,
            blocks: vec![
                block("a", 15),
                block("b", 15),
                block("c", 15),
                block("d", 95),
            ],
        };
        let pages: Vec<Vec<(&str, usize)>> = (layout.pages().into_iter())
            .map(|page| {
                page.into_iter()
                    .map(|(title, lines)| (title, lines.len()))
                    .collect()
            })
            .collect();
        let expected = [
            vec![("a", 15), ("b", 15)],
            vec![("c", 15)],
            vec![("d", 40)],
            vec![("d", 40)],
            vec![("d", 15)],
        ];
        assert_eq!(pages, expected);
    }
}
