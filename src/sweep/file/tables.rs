//! Values that a sweep takes from other files: a line each, or the fields of a table.

use std::path::Path;

use phantasia_core::Location;

use super::super::axis::{Axis, Choice, Choices, Setting, alternatives, scalar};
use super::super::csv;
use super::super::plan::MOST_RUNS;
use super::{Reader, Result};
use crate::judge::text_file;
use crate::recipe::node::{Content, Node};

impl Reader<'_> {
    /// `{ file: prompts.txt }` or `{ file: table.csv, column: text }`
    pub(super) fn file_values(&self, path: &str, node: &Node) -> Result<Choices> {
        let (mut file, mut column) = (None, None);
        for (key, value) in self.entries(node, path)? {
            match (key.as_str(), &value.content) {
                ("file", Content::Scalar { text, .. }) => file = Some(self.folder.join(&**text)),
                ("column", Content::Scalar { text, .. }) => column = Some(text.to_string()),
                _ => {
                    return Err(self.at(
                        &value.location,
                        path,
                        "expected `file`, and for a .csv file `column`",
                    ));
                }
            }
        }
        let file = file.unwrap_or_default();
        let fail = |why: &str| self.at(&node.location, path, why);
        let is_csv = is_csv(&file);
        let mut values = vec![];
        if is_csv {
            let (header, rows) = self.rows(&file).map_err(|why| fail(&why))?;
            let named = column.as_deref();
            let index = match named {
                Some(named) => header.iter().position(|known| known == named),
                None if header.len() == 1 => Some(0),
                None => None,
            };
            let index = index.ok_or_else(|| {
                let columns = header.join("`, `");
                fail(&format!(
                    "{} has the columns `{columns}`: name one of them as `column`",
                    file.display()
                ))
            })?;
            for (line, mut row) in rows {
                values.push((line, row.swap_remove(index)));
            }
        } else if column.is_some() {
            return Err(fail("only a .csv file has columns"));
        } else {
            let text = text_file::read(&file, "the values")
                .map_err(|error| fail(&format!("{error:#}")))?;
            values.extend(text_file::lines(&text).map(|(line, text)| (line, text.to_owned())));
        }
        if values.is_empty() {
            return Err(fail(&format!(
                "{} has no value: write one on each line",
                file.display()
            )));
        }
        let nodes = values.into_iter().map(|(line, text)| {
            let mut node = scalar(&text);
            node.location = Location::Text { line, column: 1 };
            node
        });
        let nodes: Vec<Node> = nodes.collect();
        self.reader_of(&file).listed(path, &nodes)
    }

    /// An axis whose columns are those of a file, each named by a path.
    pub(super) fn table(&self, node: &Node) -> Result<Axis> {
        let Content::Scalar { text, .. } = &node.content else {
            return Err(self.at(
                &node.location,
                "zip.file",
                "expected the path of a .csv file",
            ));
        };
        let file = self.folder.join(&**text);
        let fail = |why: &str| self.at(&node.location, "zip.file", why);
        if !is_csv(&file) {
            return Err(fail(
                "expected a .csv file, whose first line names the paths",
            ));
        }
        let (columns, rows) = self.rows(&file).map_err(|why| fail(&why))?;
        let reader = self.reader_of(&file);
        let mut choices = vec![];
        for (line, row) in rows {
            let location = Location::Text { line, column: 1 };
            let origin = reader.place(&location);
            let mut of_row: Vec<Vec<Setting>> = vec![vec![]];
            for (path, text) in columns.iter().zip(row) {
                let mut node = scalar(&text);
                node.location = location.clone();
                let spread =
                    alternatives(path, &node).map_err(|why| reader.at(&location, path, &why))?;
                of_row = (of_row.iter())
                    .flat_map(|before| {
                        spread.iter().map(|node| {
                            let (path, origin) = (path.clone(), origin.clone());
                            let setting = Setting {
                                path,
                                node: node.clone(),
                                origin,
                            };
                            [before.as_slice(), &[setting]].concat()
                        })
                    })
                    .collect();
                if of_row.len() > MOST_RUNS {
                    return Err(reader.at(
                        &location,
                        path,
                        &format!("its wildcards stand for more than {MOST_RUNS} rows"),
                    ));
                }
            }
            choices.extend(of_row.into_iter().map(Choice::Set));
        }
        if choices.is_empty() {
            return Err(fail(&format!(
                "{} has no row below its first line, which names the paths",
                file.display()
            )));
        }
        let choices = Choices::Listed(choices);
        Ok(Axis {
            columns,
            choices,
            text: None,
        })
    }

    /// The first line of a .csv file, and the others, each with its number.
    fn rows(&self, file: &Path) -> std::result::Result<(Vec<String>, Vec<csv::Record>), String> {
        let text = text_file::read(file, "the values").map_err(|error| format!("{error:#}"))?;
        let named = |why: String| format!("{}: {why}", file.display());
        let mut rows = csv::read(&text).map_err(named)?.into_iter();
        let (_, header) = rows
            .next()
            .ok_or_else(|| named("it is empty: its first line names the columns".to_owned()))?;
        let rows: Vec<_> = rows.collect();
        for (line, row) in &rows {
            if row.len() != header.len() {
                return Err(named(format!(
                    "line {line} has {} fields, and the first line {}",
                    row.len(),
                    header.len()
                )));
            }
        }
        Ok((header, rows))
    }

    /// For messages about another file.
    fn reader_of(&self, file: &Path) -> Reader<'_> {
        Reader {
            origin: file.display().to_string(),
            folder: self.folder,
            axes: vec![],
        }
    }
}

fn is_csv(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("csv"))
}
