//! What became of a sweep, for people and as JSON.

use std::process::ExitCode;

use anyhow::Result;
use phantasia::sweep::table::{Row, State};
use phantasia::sweep::{Collected, Plan, Report, Shard, Store};
use serde_json::{Value, json};

use super::SweepArgs;
use crate::commands::console::{counted, duration, eprint_line, print_json, print_line};
use crate::commands::interrupt::INTERRUPTED;

/// The most failures that are listed one by one.
const MOST_LISTED: usize = 20;

/// Says what is missing and what failed.
pub fn tell_rows(args: &SweepArgs, rows: &[Row]) {
    let failed: Vec<&Row> = rows
        .iter()
        .filter(|row| row.state == State::Failed)
        .collect();
    for row in failed.iter().take(MOST_LISTED) {
        let why = row.error.as_deref().unwrap_or_default();
        eprint_line(format_args!(
            "failed: run {} ({}): {why}",
            row.run,
            row.values.join(", ")
        ));
    }
    if failed.len() > MOST_LISTED {
        eprint_line(format_args!(
            "and {} more, see the table",
            failed.len() - MOST_LISTED
        ));
    }
    let missing = rows
        .iter()
        .filter(|row| row.state == State::Missing)
        .count();
    if missing > 0 && !args.quiet {
        eprint_line(format_args!(
            "{} missing: `phantasia sweep {}` paints what is left",
            counted(missing, "run"),
            args.file.display()
        ));
    }
}

/// Prints the result.
pub fn finish(
    args: &SweepArgs,
    plan: &Plan,
    (store, shard): (&Store, Shard),
    (rows, files): (&[Row], Option<&Collected>),
    report: &Report,
    seconds: f64,
) -> Result<ExitCode> {
    let folder = store.location("");
    let of_shard = match shard {
        Shard::ALL => String::new(),
        shard => format!(" of shard {shard}"),
    };
    if report.is_interrupted {
        let own = plan
            .runs()
            .iter()
            .filter(|run| shard.has(run.number))
            .count();
        let finished = report.painted.len() + report.found;
        eprint_line(format_args!(
            "interrupted; {finished} of {}{of_shard} {} finished in {folder}; the same command goes on",
            counted(own, "run"),
            is_or_are(finished)
        ));
    } else if !args.quiet && !args.collect {
        eprint_line(painted(report, &of_shard, seconds));
    }
    if args.json {
        let of_state = |state: State| rows.iter().filter(|row| row.state == state).count();
        let failed = report
            .failed
            .iter()
            .map(|(run, why)| json!({ "run": run, "error": why }));
        let runs =
            |rows: &[Row]| -> Value { rows.iter().map(|row| run_json(plan, store, row)).collect() };
        print_json(&json!({
            "sweep": folder,
            "runs": plan.runs().len(),
            "shard": shard.to_string(),
            "painted": report.painted,
            "found": report.found,
            "failed": failed.collect::<Vec<_>>(),
            "finished": files.is_some() && of_state(State::Whole) == plan.runs().len(),
            "missing": files.map(|_| of_state(State::Missing)),
            "table": files.map(|files| &files.table),
            "sheets": files.map(|files| &files.sheets),
            "page": files.map(|files| &files.page),
            "results": files.map(|_| runs(rows)),
            "seconds": seconds,
        }))?;
    } else if let Some(files) = files {
        print_line(&files.table)?;
        for sheet in &files.sheets {
            print_line(sheet)?;
        }
        print_line(&files.page)?;
    }
    if report.is_interrupted {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let has_failed = !report.failed.is_empty() || rows.iter().any(|row| row.state == State::Failed);
    Ok(ExitCode::from(u8::from(has_failed)))
}

/// What a process did, as a sentence.
fn painted(report: &Report, of_shard: &str, seconds: f64) -> String {
    let Report {
        painted,
        found,
        failed,
        ..
    } = report;
    let (painted, found, failed) = (painted.len(), *found, failed.len());
    if painted + failed == 0 {
        return match found {
            1 => format!("the only run{of_shard} was painted before: nothing is left to paint"),
            _ => {
                format!("all {found} runs{of_shard} were painted before: nothing is left to paint")
            }
        };
    }
    let mut told = format!(
        "{}{of_shard} painted in {}",
        counted(painted, "run"),
        duration(seconds)
    );
    if found > 0 {
        let were = if found == 1 { "was" } else { "were" };
        told += &format!("; {found} {were} painted before");
    }
    if failed > 0 {
        told += &format!("; {failed} failed");
    }
    told
}

fn run_json(plan: &Plan, store: &Store, row: &Row) -> Value {
    let values = plan
        .columns()
        .iter()
        .cloned()
        .zip(row.values.iter().map(|value| json!(value)));
    let finished = row.finished.as_ref();
    let mut run = json!({
        "run": row.run,
        "state": row.state,
        "values": values.collect::<serde_json::Map<_, _>>(),
        "image": row.picture.as_ref().map(|picture| store.location(&picture.to_string_lossy())),
        "loss": finished.map(|run| run.loss),
        "similarity": row.similarity,
        "score": row.score(),
        "scores": row.scores,
        "seconds": finished.map(|run| run.seconds),
    });
    if let Some(why) = &row.error {
        run["error"] = json!(why);
    }
    run
}

/// The verb for so many.
pub fn is_or_are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}
