//! `phantasia sweep`

mod forecast;
mod progress;
mod report;

use std::collections::{BTreeSet, HashSet};
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
use phantasia::sweep::{
    Costs, Event, Judge, Painter, Plan, PlannedRun, Report, Shard, ShardSource, Store, collect,
};

use self::forecast::{dry_run, sentence, tell_plan};
use self::progress::SweepProgress;
use self::report::{finish, tell_rows};
use super::arguments::{DeviceChoice, SessionArgs, positive};
use super::console::{UsageError, counted, eprint_diagnostics, eprint_line, warn, warn_all};
use super::interrupt::interrupt;
use super::judge::check_activation;
use super::models;
use super::progress::eprint_above;

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

impl SweepArgs {
    /// How many devices paint at once. Runs on the same one share it, so that more of them need not be faster.
    fn at_once(&self) -> usize {
        self.devices.len().max(1)
    }
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
        let store = open(&out, &plan, shard)?;
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
    let store = open(&out, &plan, shard)?;
    paint(args, &plan, &store, shard, &title)
}

/// Opens the results, and warns about damaged runs of the shard.
fn open(out: &Path, plan: &Plan, shard: Shard) -> Result<Store> {
    let store = Store::open(out, plan)?;
    if let Some(first) = store.damaged_among(own(plan, shard))? {
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

/// The runs of a shard.
fn own(plan: &Plan, shard: Shard) -> impl Iterator<Item = &PlannedRun> + Clone {
    plan.runs().iter().filter(move |run| shard.has(run.number))
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
    models::check_clips(&args.judge)?;
    let own = || own(plan, shard);
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
    let own = || own(plan, shard);
    let judge = judge(args, plan, &workers[0].0)?;
    if !args.quiet {
        let whole = store.whole_among(own())?;
        let left: Vec<&PlannedRun> = own()
            .filter(|run| !whole.contains_key(run.hash()))
            .collect();
        let is_long = left.iter().map(|run| run.steps).sum::<usize>() >= WORTH_A_TRIAL;
        // an error of the trial is the first run's, which is told when that is painted
        let trial_on = is_long.then_some(&workers[0]);
        if let Ok(Some(costs)) = Costs::of(plan, store, &left, trial_on, !args.no_checkpoints)
            && !left.is_empty()
        {
            eprint_line(sentence(&costs, left.len(), args.at_once()));
        }
    }
    let progress = Mutex::new(SweepProgress::new(own(), args.quiet));
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
    let (placed, failures) = (store.placed()?, store.failures()?);
    let is_over = |run: &PlannedRun| placed.contains(run.hash()) || failures.contains(&run.name);
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
