//! Tables on standard output: a line of headers, and aligned columns below. Scripts should use `--json` or `--csv`; for those that parse
//! a table, the line of headers begins with `#`, like other comment lines.

use anyhow::Result;
use unicode_segmentation::UnicodeSegmentation;

use super::console::say;

/// Spaces between two columns.
const GAP: usize = 2;

/// How the texts of a column are aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// To the left, for words.
    Left,
    /// To the right, for numbers.
    Right,
}

/// A table whose rows are being collected.
pub struct Table {
    columns: Vec<(String, Side)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows. The first header is prefixed with `#`.
    pub fn new<S: Into<String>>(columns: impl IntoIterator<Item = (S, Side)>) -> Self {
        let mut columns: Vec<(String, Side)> = (columns.into_iter())
            .map(|(header, side)| (header.into(), side))
            .collect();
        if let Some((header, _)) = columns.first_mut() {
            *header = format!("# {header}");
        }
        Self {
            columns,
            rows: vec![],
        }
    }

    /// Appends a row, one text per column. Control characters, which would break the line or be obeyed by a terminal, become spaces.
    pub fn row(&mut self, texts: impl IntoIterator<Item = String>) {
        let texts = texts.into_iter();
        (self.rows).push(
            texts
                .map(|text| text.replace(char::is_control, " "))
                .collect(),
        );
    }

    /// Prints it to standard output.
    pub fn print(&self) -> Result<()> {
        for line in self.lines() {
            say(line)?;
        }
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        let headers: Vec<String> = (self.columns.iter())
            .map(|(header, _)| header.clone())
            .collect();
        let rows = || std::iter::once(&headers).chain(&self.rows);
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                let widths = rows().map(|row| row.get(column).map_or(0, |text| width(text)));
                widths.max().unwrap_or(0)
            })
            .collect();
        rows()
            .map(|row| {
                let mut line = String::new();
                for ((text, (_, side)), wide) in row.iter().zip(&self.columns).zip(&widths) {
                    let pad = " ".repeat(wide.saturating_sub(width(text)));
                    let (before, after) = match side {
                        Side::Left => ("", pad.as_str()),
                        Side::Right => (pad.as_str(), ""),
                    };
                    line.extend([before, text, after, &" ".repeat(GAP)]);
                }
                line.truncate(line.trim_end_matches(' ').len());
                line
            })
            .collect()
    }
}

/// The number of visible characters.
fn width(text: &str) -> usize {
    text.graphemes(true).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_their_headers() {
        let mut table = Table::new([
            ("name", Side::Left),
            ("size", Side::Right),
            ("about", Side::Left),
        ]);
        table.row(["cafe\u{301}", "7 MB", "small"].map(str::to_owned));
        table.row(["a longer\nname", "1200 MB", ""].map(str::to_owned));
        assert_eq!(
            table.lines(),
            [
                "# name            size  about",
                "cafe\u{301}              7 MB  small",
                "a longer name  1200 MB"
            ]
        );
    }

    #[test]
    fn a_list_without_rows_is_its_headers() {
        assert_eq!(Table::new([("score", Side::Right)]).lines(), ["# score"]);
    }
}
