//! The results of a sweep as rows: every swept value, and what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use super::csv;
use super::plan::Plan;
use super::store::{Finished, Store};
use crate::names::one_line;
use crate::table::{parquet_bytes, parse_cells};

/// The file of the table in a sweep's folder.
pub const TABLE: &str = "results.csv";
/// The same table as Parquet.
pub(super) const PARQUET: &str = "results.parquet";

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is painted.
    Whole,
    /// It failed; the next call tries again.
    Failed,
    /// No process has painted it yet.
    Missing,
}

impl State {
    /// In words, for people.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::Whole => "finished",
            other => other.name(),
        }
    }

    /// As in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Failed => "failed",
            Self::Missing => "missing",
        }
    }
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its number in the plan.
    pub run: usize,
    /// What became of it.
    pub state: State,
    /// Its values, one for each of the plan's columns.
    pub values: Vec<String>,
    /// What it says of itself, if it is whole.
    pub finished: Option<Finished>,
    /// The similarity to the text that judges compare it with.
    pub similarity: Option<f64>,
    /// The judges' scores, by their names.
    pub scores: BTreeMap<String, f64>,
    /// Its picture, from the sweep's folder.
    pub picture: Option<PathBuf>,
    /// Why it failed.
    pub error: Option<String>,
}

impl Row {
    /// The mean of the judges' scores; none where none judged.
    pub fn score(&self) -> Option<f64> {
        let count = self.scores.len();
        (count > 0).then(|| self.scores.values().sum::<f64>() / count as f64)
    }
}

/// The rows of all runs, by number.
///
/// # Errors
/// When the sweep's results cannot be read.
pub fn rows(plan: &Plan, store: &Store) -> Result<Vec<Row>> {
    let whole = store.whole_among(plan.runs().iter())?;
    let failures = store.failures()?;
    let names = plan.runs().iter().filter_map(|run| whole.get(run.hash()));
    let names: Vec<String> = names.cloned().collect();
    let mut results = (store.finished(&names)?.into_iter()).zip(store.scores(&names)?);
    let row = |run: &super::PlannedRun| {
        let name = whole.get(run.hash());
        let error = if name.is_none() && failures.contains(&run.name) {
            store.failure(&run.name)?
        } else {
            None
        };
        let result = name.and_then(|_| results.next());
        let (finished, scores) = result.unwrap_or_default();
        let similarity = finished.as_ref().and_then(|finished| {
            let of_text = run
                .text
                .as_ref()
                .and_then(|text| finished.similarity.get(text));
            of_text
                .or_else(|| finished.similarity.values().next())
                .copied()
        });
        Ok(Row {
            run: run.number,
            state: match (name, &error) {
                (Some(_), _) => State::Whole,
                (None, Some(_)) => State::Failed,
                (None, None) => State::Missing,
            },
            values: run.values.clone(),
            finished,
            similarity,
            scores,
            picture: name.map(|name| store.picture(name)),
            error,
        })
    };
    plan.runs().iter().map(row).collect()
}

/// The names of the judges of all rows.
pub(super) fn judges(rows: &[Row]) -> Vec<&str> {
    let judges: BTreeSet<&str> = rows
        .iter()
        .flat_map(|row| row.scores.keys().map(String::as_str))
        .collect();
    judges.into_iter().collect()
}

/// The rows as comma-separated values, with a line of headers.
pub(super) fn text(plan: &Plan, rows: &[Row]) -> String {
    let judges = judges(rows);
    let columns = plan.columns().iter().map(String::as_str);
    let header = (["run", "state"].into_iter()).chain(columns);
    let header = header
        .chain(["loss", "similarity", "score"])
        .chain(judges.iter().copied());
    let mut text = csv::line(header.chain(["contrast", "seconds", "picture", "error"]));
    for row in rows {
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let of = |get: fn(&Finished) -> f64| number(row.finished.as_ref().map(get));
        let mut fields = vec![row.run.to_string(), row.state.name().to_owned()];
        fields.extend(row.values.iter().cloned());
        fields.extend([
            of(|run| run.loss),
            number(row.similarity),
            number(row.score()),
        ]);
        fields.extend(
            judges
                .iter()
                .map(|judge| number(row.scores.get(*judge).copied())),
        );
        fields.extend([of(|run| run.contrast), of(|run| run.seconds)]);
        fields.push(row.picture.as_deref().map(one_line).unwrap_or_default());
        fields.push(row.error.clone().unwrap_or_default());
        text += &csv::line(fields.iter().map(String::as_str));
    }
    text
}

/// The table of [`text`] as Parquet: columns of numbers are numbers.
///
/// # Errors
/// When the writer fails.
pub(super) fn parquet(text: &str) -> Result<Vec<u8>> {
    let records = csv::read(text).map_err(anyhow::Error::msg)?;
    let mut records = records.into_iter().map(|(_, fields)| fields);
    let header = records.next().unwrap_or_default();
    let cells = parse_cells(&records.collect::<Vec<_>>());
    Ok(parquet_bytes(&header, &cells)?)
}
