//! The page of a sweep: its pictures as on the sheets, and the table.

use std::fmt::Write as _;

use anyhow::Result;

use super::{Layout, caption};
use crate::judge::sheet::escaped;
use crate::names::percent_encoded;
use crate::sweep::plan::Plan;
use crate::sweep::table::{Row, State, TABLE};

const STYLE: &str = "<style>\n\
body { background: #18181b; color: #f0f0f2; font: 15px system-ui, sans-serif; margin: 16px }\n\
h1 { font-size: 20px; font-weight: 500 }\n\
a { color: inherit }\n\
table { border-collapse: collapse; margin: 16px 0 }\n\
th { font-weight: 500; text-align: left; vertical-align: top; max-width: 220px; overflow-wrap: anywhere; padding: 4px 8px }\n\
th.block { font-size: 18px; max-width: none; padding-top: 16px }\n\
td { padding: 4px 8px; color: #a0a0a8 }\n\
.sheet td { vertical-align: top; font-size: 13px }\n\
.sheet img, .sheet div { display: block; width: 176px; min-height: 64px; object-fit: contain; background: #202024 }\n\
.rows tr:nth-child(even) { background: #202024 }\n\
</style>\n";

impl Layout {
    /// A page that asks for nothing but the pictures of its own folder.
    pub(super) fn page(&self, plan: &Plan, title: &str, rows: &[Row]) -> Result<String> {
        let count = |state: State| rows.iter().filter(|row| row.state == state).count();
        let title = escaped(title);
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n{STYLE}<h1>{title}</h1>\n"
        );
        write!(
            page,
            "<p>{} runs: {} {}",
            rows.len(),
            count(State::Whole),
            State::Whole.shown()
        )?;
        for state in [State::Failed, State::Missing] {
            if count(state) > 0 {
                write!(page, ", {} {}", count(state), state.shown())?;
            }
        }
        writeln!(
            page,
            ". <a href=\"{TABLE}\">{TABLE}</a>; {}</p>",
            escaped(&self.legend)
        )?;
        page.push_str("<table class=\"sheet\">\n");
        if !self.header.is_empty() {
            let cells: String = self
                .header
                .iter()
                .map(|value| format!("<th>{}</th>", escaped(value)))
                .collect();
            writeln!(page, "<thead><tr><th></th>{cells}</tr></thead>")?;
        }
        page.push_str("<tbody>\n");
        for (block, line) in
            (self.blocks.iter()).flat_map(|block| block.lines.iter().map(move |line| (block, line)))
        {
            if !block.title.is_empty() && std::ptr::eq(line, &block.lines[0]) {
                writeln!(
                    page,
                    "<tr><th class=\"block\" colspan=\"{}\">{}</th></tr>",
                    self.columns + 1,
                    escaped(&block.title)
                )?;
            }
            write!(page, "<tr><th>{}</th>", escaped(&line.label))?;
            for run in &line.runs {
                let row = &rows[*run];
                let (_, caption) = caption(row, true);
                let about = plan
                    .columns()
                    .iter()
                    .zip(&row.values)
                    .map(|(path, value)| format!("{path}: {value}"));
                let about = escaped(&about.collect::<Vec<_>>().join("\n"));
                match &row.picture {
                    Some(picture) => {
                        let link = percent_encoded(picture);
                        write!(
                            page,
                            "<td title=\"{about}\"><a href=\"{link}\"><img loading=\"lazy\" alt=\"run {}\" src=\"{link}\"></a><br>{}</td>",
                            row.run,
                            escaped(&caption)
                        )?;
                    }
                    None => write!(
                        page,
                        "<td title=\"{about}\"><div>{}</div>{}</td>",
                        row.state.shown(),
                        escaped(&caption)
                    )?,
                }
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</tbody></table>\n<table class=\"rows\">\n<thead><tr>");
        let heads = (["run", "state"].into_iter()).chain(plan.columns().iter().map(String::as_str));
        for head in heads.chain(["loss", "similarity", "score", "seconds"]) {
            write!(page, "<th>{}</th>", escaped(head))?;
        }
        page.push_str("</tr></thead>\n<tbody>\n");
        for row in rows {
            let number =
                |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.4}"));
            let run = match &row.picture {
                Some(picture) => {
                    format!("<a href=\"{}\">{}</a>", percent_encoded(picture), row.run)
                }
                None => row.run.to_string(),
            };
            let state = match &row.error {
                Some(error) => format!("failed: {}", escaped(error)),
                None => row.state.shown().to_owned(),
            };
            write!(page, "<tr><td>{run}</td><td>{state}</td>")?;
            for value in &row.values {
                write!(page, "<td>{}</td>", escaped(value))?;
            }
            let finished = row.finished.as_ref();
            let loss = number(finished.map(|run| run.loss));
            let seconds = finished.map_or_else(String::new, |run| format!("{:.1}", run.seconds));
            let (similarity, score) = (number(row.similarity), number(row.score()));
            writeln!(
                page,
                "<td>{loss}</td><td>{similarity}</td><td>{score}</td><td>{seconds}</td></tr>"
            )?;
        }
        page.push_str("</tbody></table>\n</html>\n");
        Ok(page)
    }
}
