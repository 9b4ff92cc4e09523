//! `phantasia sweep`

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Error, Result, bail};
use clap::Args;
use phantasia::clip::ClipActivation;
use phantasia::prompt_check::check_prompts;
use phantasia::recipe::RecipeError;
use phantasia::run::{run_name, video};
use phantasia::session::SessionOptions;
use phantasia::sweep::table::{Row, State};
use phantasia::sweep::{
    Basis, Collected, Costs, Event, Judge, Painter, Plan, PlannedRun, Report, Shard, ShardSource,
    Store, collect,
};
use serde_json::{Value, json};

use super::arguments::{DeviceChoice, SessionArgs, positive};
use super::console::{
    UsageError, counted, duration, eprint_diagnostics, eprint_line, print_json, print_line, warn,
    warn_all,
};
use super::interrupt::{INTERRUPTED, interrupt};
use super::judge::check_activation;
use super::models;
use super::progress::{Progress, eprint_above};

/// What `sweep --help` says after its arguments.
pub const AFTER_HELP: &str = "\
A sweep is a file such as

    recipe: base.yaml
    sweep:
      seed: 1..3                                   # both ends included
      prompts: [[a red apple], [a green tree]]     # each value replaces the path whole
      generator.lr: [0.05, 0.1]                    # crossed with the others

docs/sweep.md describes it. The folder holds runs/, results.csv, sheet.png and index.html. Several processes, on one machine or on many, paint one
sweep when each has the same file and folder and its own --shard; the last one to finish makes table, sheet and page. The shard is also read from
SLURM_ARRAY_TASK_ID and the variables beside it, and from JOB_COMPLETION_INDEX with PHANTASIA_SHARDS.

What is finished is not painted again, and what failed is tried again.

Exit code: 0 when all runs of the shard are finished, 1 when one failed or the sweep could not go on, 2 when the arguments, the sweep or a recipe are
wrong, 130 when it was interrupted.";

/// A sweep of fewer steps is painted without a trial, which would take a part of its time.
const WORTH_A_TRIAL: usize = 500;
/// The most failures and runs that are listed one by one.
const MOST_LISTED: usize = 20;

/// Arguments of `sweep`.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// The file of the sweep (.yaml)
    #[arg(value_name = "SWEEP")]
    file: PathBuf,
    /// The folder of the sweep, which all its processes share, or an object store's s3://BUCKET/PREFIX [default: outputs/NAME, after the file's
    /// name]
    #[arg(long, value_name = "DIR|URL")]
    out: Option<PathBuf>,
    /// Paint the Ith of N parts, counted from 1 [default: all, or what a scheduler's variables say]
    #[arg(long, value_name = "I/N", allow_hyphen_values = true)]
    shard: Option<Shard>,
    /// Paint nothing, and make table, sheet and page of what is there
    #[arg(long, conflicts_with_all = ["dry_run", "shard"])]
    collect: bool,
    /// Print the plan and what it would take, by a trial of three steps, and leave nothing
    #[arg(long)]
    dry_run: bool,
    /// A CLIP that judges the pictures: a known model, a folder, or a part of the embedded one. May be given several times
    #[arg(long, value_name = "MODEL")]
    judge: Vec<String>,
    /// Activation function of the CLIPs of --judge, quick_gelu or gelu, overriding their files
    #[arg(long, value_name = "NAME", requires = "judge")]
    activation: Option<ClipActivation>,
    /// Paint on several devices at once, such as cuda:0,cuda:1, instead of the one of --device
    #[arg(long, value_name = "DEVICE,...", value_delimiter = ',')]
    devices: Vec<DeviceChoice>,
    /// Paint this many runs at once on each device. One uses all cores already; several may be faster where pictures are small
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive, allow_negative_numbers = true)]
    jobs: usize,
    /// Leave the checkpoint, which is most of its bytes, out of each run that is painted; such a run cannot be resumed
    #[arg(long)]
    no_checkpoints: bool,
    /// How the sessions compute
    #[command(flatten)]
    session: SessionArgs,
    /// Print one JSON object about the sweep on standard output
    #[arg(long)]
    json: bool,
    /// Show no plan and no progress
    #[arg(long)]
    quiet: bool,
}

/// Paints a sweep.
pub fn run(args: &SweepArgs) -> Result<ExitCode> {
    check_activation(args.activation, &args.judge)?;
    let (shard, source) = shard(args)?;
    let out = folder(args);
    // a store that this program cannot use is refused first
    let store = Store::at(&out)
        .map_err(|error| UsageError(format!("--out {}: {error:#}", out.display())))?;
    let plan = Plan::load(&args.file).map_err(refused)?;
    warn_all(plan.warnings());
    if !args.quiet {
        tell_plan(&plan);
    }
    if let Some(source) = source.filter(|_| !args.quiet) {
        let scheduler = match source {
            ShardSource::Slurm => "the Slurm array",
            ShardSource::Kubernetes => "the Kubernetes job",
        };
        eprint_line(format_args!(
            "shard {shard}, of the variables of {scheduler}"
        ));
    }
    if args.dry_run {
        return dry_run(args, &plan, &store);
    }
    let title = title(&args.file);
    if args.collect {
        if !store.exists()? {
            bail!(
                "there is no sweep in `{}`: paint the sweep first, or say by --out where it is",
                out.display()
            );
        }
        let store = open(&out, &plan)?;
        let (device, _) = args.session.models.device.open()?;
        let judge = judge(args, &plan, &device)?;
        let (rows, collected) = collect(&plan, &store, &title, judge.as_ref())?;
        tell_rows(args, &rows);
        let files = Some(&collected);
        return finish(
            args,
            &plan,
            (&store, shard),
            (&rows, files),
            &Report::default(),
            0.0,
        );
    }
    check(args, &plan, shard)?;
    let store = open(&out, &plan)?;
    paint(args, &plan, &store, shard, &title)
}

/// Opens the results, and warns about damaged runs.
fn open(out: &Path, plan: &Plan) -> Result<Store> {
    let store = Store::open(out, plan)?;
    if let Some(first) = store.damaged()?.first() {
        warn(format_args!(
            "runs without their picture or `result.json` count as not painted, such as {}",
            store.location(&format!("runs/{first}"))
        ));
    }
    Ok(store)
}

/// The shard of the flag, or of a scheduler's variables.
fn shard(args: &SweepArgs) -> Result<(Shard, Option<ShardSource>)> {
    if let Some(shard) = args.shard {
        return Ok((shard, None));
    }
    if args.collect || args.dry_run {
        return Ok((Shard::ALL, None));
    }
    let found = Shard::of_environment(|name| std::env::var(name).ok()).map_err(UsageError)?;
    Ok(found.map_or((Shard::ALL, None), |(shard, source)| (shard, Some(source))))
}

/// The sweep's folder, or its URL.
fn folder(args: &SweepArgs) -> PathBuf {
    let named = || Path::new("outputs").join(run_name(&args.file));
    args.out.clone().unwrap_or_else(named)
}

fn title(file: &Path) -> String {
    run_name(file)
}

/// What is wrong with a file is bad usage. The run that it is about is said first.
fn refused(error: Error) -> Error {
    if let Some(recipe) = error.downcast_ref::<RecipeError>() {
        if error.chain().len() == 1 {
            return error;
        }
        eprint_diagnostics(recipe);
        return UsageError(error.to_string()).into();
    }
    UsageError(format!("{error:#}")).into()
}

/// Checks, before any work, that all models are there and read the texts.
fn check(args: &SweepArgs, plan: &Plan, shard: Shard) -> Result<()> {
    let own = || plan.runs().iter().filter(move |run| shard.has(run.number));
    let names: BTreeSet<&String> = own()
        .flat_map(|run| &run.models)
        .chain(&args.judge)
        .collect();
    models::ensure(
        names.into_iter().cloned(),
        args.session.models.yes,
        args.quiet,
    )?;
    let kinds: Vec<_> = own().filter_map(|run| run.video).collect();
    for (index, kind) in kinds.iter().enumerate() {
        if !kinds[..index].contains(kind) {
            video::available(*kind)?;
        }
    }
    let library = args.session.options().library;
    let (mut known, mut warned) = (HashSet::new(), HashSet::new());
    for run in own() {
        if known.insert((&run.text, &run.models)) {
            let (partial, recipe) = plan.recipe(run)?;
            for warning in partial.warnings_about(&recipe) {
                if warned.insert(warning.clone()) {
                    warn(warning);
                }
            }
            // only for its errors: the sessions give the same warnings
            check_prompts(&partial, &recipe, &library)?;
        }
    }
    Ok(())
}

fn judge(args: &SweepArgs, plan: &Plan, device: &candle_core::Device) -> Result<Option<Judge>> {
    if args.judge.is_empty() {
        return Ok(None);
    }
    models::ensure(
        args.judge.iter().cloned(),
        args.session.models.yes,
        args.quiet,
    )?;
    let guides: BTreeSet<&String> = plan.runs().iter().flat_map(|run| &run.models).collect();
    for judge in args.judge.iter().filter(|judge| guides.contains(judge)) {
        warn(format_args!(
            "the judge {judge} is also the guide of runs: it judges its own work"
        ));
    }
    let judge = Judge::load(&args.judge, args.activation, plan, device)?;
    warn_all(judge.warnings());
    Ok(Some(judge))
}

/// The number of runs, and the axes.
fn tell_plan(plan: &Plan) {
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
fn sentence(costs: &Costs, runs: usize, at_once: usize) -> String {
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
fn dry_run(args: &SweepArgs, plan: &Plan, store: &Store) -> Result<ExitCode> {
    let whole = store.whole()?;
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
        print_line(sentence(&costs, left.len(), 1))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn is_or_are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

fn size(bytes: f64) -> String {
    match bytes {
        ..1e6 => format!("{:.0} kB", bytes / 1e3),
        1e6..1e9 => format!("{:.1} MB", bytes / 1e6),
        _ => format!("{:.1} GB", bytes / 1e9),
    }
}

/// Where the work of this process stands. What was finished before does not count, or the time that is left would be wrong.
struct SweepProgress {
    bar: Progress,
    /// The steps of runs that are done, of those that were begun.
    done: usize,
    /// How many runs that is.
    ended: usize,
    /// The steps of runs that are being painted, by their numbers.
    current: HashMap<usize, usize>,
    /// The steps to do.
    total: usize,
    /// The runs to paint.
    runs: usize,
}

impl SweepProgress {
    fn step(&mut self, run: &PlannedRun, step: usize) {
        self.current.insert(run.number, step);
        self.update();
    }

    fn done(&mut self, run: &PlannedRun) {
        if self.current.remove(&run.number).is_some() {
            self.done += run.steps;
            self.ended += 1;
        } else {
            // another process painted it
            self.total -= run.steps;
            self.runs -= 1;
        }
    }

    fn failed(&mut self, run: &PlannedRun) {
        let steps = self.current.remove(&run.number).unwrap_or(0);
        self.done += steps;
        self.ended += 1;
        self.total -= run.steps.saturating_sub(steps);
    }

    fn update(&mut self) {
        let done = self.done + self.current.values().sum::<usize>();
        let run = self.ended + self.current.len();
        let state = format!("run {run} of {}", self.runs);
        self.bar.update(done, self.total, &state);
    }
}

fn paint(
    args: &SweepArgs,
    plan: &Plan,
    store: &Store,
    shard: Shard,
    title: &str,
) -> Result<ExitCode> {
    let stop = interrupt("step")?;
    let start = Instant::now();
    let workers = workers(args)?;
    let own = || plan.runs().iter().filter(|run| shard.has(run.number));
    let judge = judge(args, plan, &workers[0].0)?;
    if !args.quiet {
        let whole = store.whole()?;
        let left: Vec<&PlannedRun> = own()
            .filter(|run| !whole.contains_key(run.hash()))
            .collect();
        let is_long = left.iter().map(|run| run.steps).sum::<usize>() >= WORTH_A_TRIAL;
        // an error of the trial is the first run's, which is told when that is painted
        let trial_on = is_long.then_some(&workers[0]);
        if let Ok(Some(costs)) = Costs::of(plan, store, &left, trial_on, !args.no_checkpoints)
            && !left.is_empty()
        {
            eprint_line(sentence(&costs, left.len(), workers.len()));
        }
    }
    let progress = Mutex::new(SweepProgress {
        bar: Progress::new("step", 0, args.quiet),
        done: 0,
        ended: 0,
        current: HashMap::new(),
        total: own().map(|run| run.steps).sum(),
        runs: own().count(),
    });
    let tell = |event: Event| {
        let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Step(run, step) => progress.step(run, step),
            Event::Done(run) => progress.done(run),
            Event::Failed(run, why) => {
                progress.failed(run);
                eprint_above(format_args!("run {} failed: {why}", run.number));
            }
            Event::Warning(warning) => eprint_above(format_args!("warning: {warning}")),
        }
    };
    let painter = Painter {
        plan,
        store,
        shard,
        judge: judge.as_ref(),
        keeps_checkpoints: !args.no_checkpoints,
    };
    let report = painter.paint(&workers, &stop, &tell)?;
    drop(progress);
    let seconds = start.elapsed().as_secs_f64();
    let (whole, failures) = (store.whole()?, store.failures()?);
    let is_over = |run: &PlannedRun| whole.contains_key(run.hash()) || failures.contains(&run.name);
    if report.is_interrupted || !plan.runs().iter().all(is_over) {
        if !args.quiet && !report.is_interrupted {
            let missing = plan.runs().iter().filter(|run| !is_over(run)).count();
            eprint_line(format_args!(
                "shard {shard} is done; {} of other shards are left, the last of which makes table and sheet",
                counted(missing, "run")
            ));
        }
        return finish(args, plan, (store, shard), (&[], None), &report, seconds);
    }
    let (rows, collected) = collect(plan, store, title, judge.as_ref())?;
    tell_rows(args, &rows);
    finish(
        args,
        plan,
        (store, shard),
        (&rows, Some(&collected)),
        &report,
        seconds,
    )
}

/// A device and its models for each run that is painted at once. Those on one device share the models.
fn workers(args: &SweepArgs) -> Result<Vec<(candle_core::Device, SessionOptions)>> {
    let devices = if args.devices.is_empty() {
        vec![args.session.models.device.open()?]
    } else {
        args.devices
            .iter()
            .map(|device| device.open())
            .collect::<Result<_>>()?
    };
    let workers = devices.into_iter().flat_map(|(device, _)| {
        let options = args.session.options();
        std::iter::repeat_n((device, options), args.jobs)
    });
    Ok(workers.collect())
}

/// Says what is missing and what failed.
fn tell_rows(args: &SweepArgs, rows: &[Row]) {
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
fn finish(
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
            "interrupted; {finished} of {}{of_shard} {} finished in {folder}; the same command paints the rest, the run that was begun from its start",
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
