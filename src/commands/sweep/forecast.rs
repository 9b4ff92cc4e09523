//! What a sweep will paint, and what that takes.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Result;
use phantasia::sweep::{Basis, Costs, Plan, PlannedRun, Store};
use serde_json::json;

use super::SweepArgs;
use super::report::is_or_are;
use crate::commands::console::{counted, duration, eprint_line, print_json, print_line, warn};
use crate::commands::models;

/// The number of runs, and the axes.
pub fn tell_plan(plan: &Plan) {
    let count = counted(plan.runs().len(), "run");
    let how = if plan.is_sampled() {
        ", samples of"
    } else {
        ":"
    };
    eprint_line(format_args!("{count}{how}"));
    for (index, (columns, length)) in plan.axes().enumerate() {
        let length = length.map_or_else(
            || "numbers between two".to_owned(),
            |length| counted(length as usize, "value"),
        );
        let values = shown_values(plan, index);
        eprint_line(format_args!(
            "  {}: {length} ({values})",
            columns.join(", ")
        ));
    }
}

/// The first and the last few values of an axis.
fn shown_values(plan: &Plan, axis: usize) -> String {
    const MOST: usize = 6;
    let mut values: Vec<String> = vec![];
    for value in plan.values_of(axis) {
        if !values.contains(&value) {
            if values.len() == MOST {
                values.push("...".to_owned());
                break;
            }
            values.push(value);
        }
    }
    values.join("; ")
}

/// What runs would take, as a sentence.
pub fn sentence(costs: &Costs, runs: usize, at_once: usize) -> String {
    let basis = match costs.basis {
        Basis::Whole(runs) => format!("from {}", counted(runs, "finished run")),
        Basis::Trial { steps, run } => {
            format!("from a trial of {} of run {run}", counted(steps, "step"))
        }
    };
    format!(
        "{} to paint: about {} on this machine, {:.2} s a step, and {}, {basis}",
        counted(runs, "run"),
        duration(costs.seconds / at_once as f64),
        costs.step,
        size(costs.bytes),
    )
}

/// Prints what the runs that are left would take.
pub fn dry_run(args: &SweepArgs, plan: &Plan, store: &Store) -> Result<ExitCode> {
    let whole = store.whole_among(plan.runs().iter())?;
    let left: Vec<&PlannedRun> = plan
        .runs()
        .iter()
        .filter(|run| !whole.contains_key(run.hash()))
        .collect();
    let of_runs = left.iter().flat_map(|run| &run.models);
    let needed: BTreeSet<&String> = of_runs.chain(&args.judge).collect();
    let ready = models::ensure(needed.into_iter().cloned(), false, true);
    if let Err(error) = &ready {
        warn(format_args!("the sweep cannot begin yet: {error:#}"));
    }
    let mut worker = None;
    if whole.is_empty()
        && let Some(first) = left.first()
    {
        // the first run may do without those that are missing
        if ready.is_ok() || models::ensure(first.models.iter().cloned(), false, true).is_ok() {
            worker = Some((args.session.models.device.open()?.0, args.session.options()));
        } else {
            eprint_line("there is no estimate without the models of the first run");
        }
    }
    let costs = Costs::of(plan, store, &left, worker.as_ref(), !args.no_checkpoints)?;
    let found = plan.runs().len() - left.len();
    if args.json {
        let axes = plan
            .axes()
            .map(|(columns, length)| json!({ "paths": columns, "values": length }));
        print_json(&json!({
            "sweep": store.location(""),
            "runs": plan.runs().len(),
            "whole": found,
            "axes": axes.collect::<Vec<_>>(),
            "steps": left.iter().map(|run| run.steps).sum::<usize>(),
            "seconds": costs.as_ref().map(|costs| costs.seconds),
            "bytes": costs.as_ref().map(|costs| costs.bytes),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if found > 0 {
        print_line(format_args!(
            "{found} of {} {} finished in {}",
            counted(plan.runs().len(), "run"),
            is_or_are(found),
            store.location("")
        ))?;
    }
    if let Some(costs) = costs.filter(|_| !left.is_empty()) {
        print_line(sentence(&costs, left.len(), args.at_once()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn size(bytes: f64) -> String {
    match bytes {
        ..1e6 => format!("{:.0} kB", bytes / 1e3),
        1e6..1e9 => format!("{:.1} MB", bytes / 1e6),
        _ => format!("{:.1} GB", bytes / 1e9),
    }
}
