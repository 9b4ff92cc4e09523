//! Tables on standard output: a line of headers, and aligned columns below. Scripts should use `--json` or `--csv`; for those that parse
//! a table, the line of headers begins with `#`, like other comment lines.

use anyhow::Result;
pub use phantasia::sweep::csv_line;
use unicode_segmentation::UnicodeSegmentation;

use super::console::print_line;

/// Between two columns.
const GAP: &str = "  ";

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

    /// Appends a row, one text per column. Control characters, which a terminal might interpret, become spaces.
    pub fn row(&mut self, texts: impl IntoIterator<Item = String>) {
        let printable = |text: String| text.replace(char::is_control, " ");
        self.rows.push(texts.into_iter().map(printable).collect());
    }

    /// Prints it to standard output.
    pub fn print(&self) -> Result<()> {
        for line in self.lines() {
            print_line(line)?;
        }
        Ok(())
    }

    /// As a table of Markdown.
    pub fn markdown(&self) -> String {
        let cell = |text: &str| text.replace('\\', "\\\\").replace('|', "\\|");
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let headers = self
            .columns
            .iter()
            .map(|(header, _)| header.trim_start_matches("# "));
        let rules = self.columns.iter().map(|(_, side)| match side {
            Side::Left => "---".to_owned(),
            Side::Right => "---:".to_owned(),
        });
        let rows = self
            .rows
            .iter()
            .map(|row| line(row.iter().map(|text| cell(text)).collect()));
        line(headers.map(cell).collect()) + &line(rules.collect()) + &rows.collect::<String>()
    }

    fn lines(&self) -> Vec<String> {
        let headers = Vec::from_iter(self.columns.iter().map(|(header, _)| header.clone()));
        let rows = || std::iter::once(&headers).chain(&self.rows);
        let widths: Vec<usize> = (0..headers.len())
            .map(|column| rows().map(|row| width(&row[column])).max().unwrap_or(0))
            .collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&self.columns).zip(&widths);
            let cells = cells.map(|((text, (_, side)), wide)| {
                let pad = " ".repeat(wide - width(text));
                match side {
                    Side::Left => format!("{text}{pad}"),
                    Side::Right => format!("{pad}{text}"),
                }
            });
            let line = cells.collect::<Vec<_>>().join(GAP);
            line.trim_end_matches(' ').to_owned()
        };
        rows().map(line).collect()
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
    fn a_table_of_markdown_escapes_what_separates_cells() {
        let mut table = Table::new([("name", Side::Left), ("size", Side::Right)]);
        table.row(["a|b", "7"].map(str::to_owned));
        assert_eq!(
            table.markdown(),
            "| name | size |\n| --- | ---: |\n| a\\|b | 7 |\n"
        );
    }

    #[test]
    fn a_list_without_rows_is_its_headers() {
        assert_eq!(Table::new([("score", Side::Right)]).lines(), ["# score"]);
    }
}
