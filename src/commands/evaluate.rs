//! `phantasia evaluate`

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::slice;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};
use clap::Args;
use phantasia::judge::evaluate::{
    ClipEvaluation, Evaluator, Outcome, count, labels_of_folders, write_chart,
};
use phantasia::judge::labels::{labels_of, templates};
use phantasia::judge::{Skipped, find_pictures, no_pictures};
use phantasia::models::{ModelKind, ResolveError, resolve};
use phantasia::names::one_line;
use phantasia_core::files::write_whole;
use serde_json::{Value, json};

use super::console::{UsageError, eprint_error, eprint_line, print_json, warn_all};
use super::interrupt::{INTERRUPTED, interrupt};
use super::judge::{self, JudgeArgs};
use super::progress::Progress;
use super::table::{Side, Table, csv_line};

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// A CLIP to evaluate: embedded or a part of it, a known model (`phantasia models list`) or a folder. May be given several times
    #[arg(long, value_name = "MODEL", required = true)]
    clip: Vec<String>,
    /// The labels: `imagenette` or `imagewoof`, a file with one label per line (`folder = label` where the folder has another name), or A,B,C [default: the names of the folders in DIR]
    #[arg(long, value_name = "NAME|FILE|A,B,C")]
    labels: Option<String>,
    /// The folder with the pictures: the folder that a picture lies in is its true label
    #[arg(long, value_name = "DIR")]
    truth: PathBuf,
    /// A sentence for the labels, with {} for the label; or `simple` or `imagenet` (80 sentences). Several are averaged
    #[arg(
        long,
        visible_alias = "templates",
        value_name = "TEXT",
        default_value = "simple"
    )]
    template: Vec<String>,
    /// Write a chart of accuracy against speed
    #[arg(long, value_name = "FILE.png", value_parser = plot)]
    plot: Option<PathBuf>,
    /// Write the table as Markdown or as comma-separated values
    #[arg(long, value_name = "FILE.md|.csv", value_parser = table_file)]
    table: Option<PathBuf>,
    /// Keep the embeddings in this folder [default: in DIR, or in the user's cache where DIR cannot be written to]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// What all judges have
    #[command(flatten)]
    judge: JudgeArgs,
}

/// Evaluates CLIPs.
pub fn run(args: &EvaluateArgs) -> Result<ExitCode> {
    let usage = |error: anyhow::Error| UsageError(format!("{error:#}"));
    if !args.truth.is_dir() {
        let folder = one_line(&args.truth);
        bail!(UsageError(format!("--truth: {folder} is not a folder")));
    }
    let labels = match &args.labels {
        Some(text) => labels_of(text).context("--labels"),
        None => labels_of_folders(&args.truth).context("--truth"),
    };
    let evaluator = Evaluator {
        labels: labels.map_err(usage)?,
        templates: templates(&args.template).map_err(usage)?,
        folder: args.truth.clone(),
        cache: args.cache.clone(),
        activation: args.judge.activation,
        long_text: args.judge.long_text,
    };
    check(args, &evaluator)?;
    let stop = interrupt("picture")?;
    let device = args.judge.prepare(&args.clip, &[])?;
    let mut done: Vec<ClipEvaluation> = vec![];
    let mut failed: Vec<(&String, String)> = vec![];
    let mut skipped: Vec<Skipped> = vec![];
    for (number, clip) in (1..).zip(&args.clip) {
        let mut progress = Progress::new("picture", 0, args.judge.quiet);
        let state = format!("{number} of {}: {clip}", args.clip.len());
        let update = |done, total| {
            progress.update(done, total, &state);
            if stop.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let outcome = evaluator.evaluate(clip, &device, update);
        drop(progress);
        match outcome {
            Ok(Outcome::Done(found, broken)) => {
                warn_all(&found.warnings);
                skipped = broken;
                done.push(*found);
            }
            Ok(Outcome::Interrupted) => {
                eprint_line(
                    "interrupted; the next time, the pictures so far are not embedded again",
                );
                return Ok(ExitCode::from(INTERRUPTED));
            }
            // one that fails does not keep the others from being evaluated
            Err(error) => {
                let error = error.context(format!("`{clip}` is not evaluated"));
                eprint_error(&error);
                failed.push((clip, format!("{error:#}")));
            }
        }
    }
    judge::eprint_skipped(&skipped);
    report(args, &evaluator, &done, &failed, &skipped)?;
    Ok(ExitCode::from(u8::from(!failed.is_empty())))
}

/// Refuses what can be known to fail before a model is downloaded or loaded.
fn check(args: &EvaluateArgs, evaluator: &Evaluator) -> Result<()> {
    for clip in &args.clip {
        match resolve(clip, ModelKind::Clip) {
            // what is missing may be downloaded
            Ok(_) | Err(ResolveError::Missing { .. }) => {}
            Err(error) => bail!(error),
        }
    }
    let truth = slice::from_ref(&args.truth);
    let (pictures, skipped) = find_pictures(truth);
    for (flag, path) in [("--plot", &args.plot), ("--table", &args.table)] {
        if let Some(path) = path {
            check_output(path, &args.truth, &pictures)
                .map_err(|why| UsageError(format!("{flag}: {why}")))?;
        }
    }
    if pictures.is_empty() {
        bail!(no_pictures(truth, &skipped));
    }
    let flag = args.labels.as_ref().map_or("--truth", |_| "--labels");
    (evaluator.check_truth(&pictures))
        .map_err(|error| UsageError(format!("{flag}: {error:#}")).into())
}

/// Refuses a file of the output that cannot be written, or that would take the place of a picture or become one.
fn check_output(path: &Path, truth: &Path, pictures: &[PathBuf]) -> Result<(), String> {
    let file = one_line(path);
    if path.is_dir() {
        return Err(format!("{file} is a folder"));
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        let folder = one_line(folder);
        return Err(format!(
            "{file} cannot be written: there is no folder {folder}"
        ));
    }
    let is_below = |truth: PathBuf| {
        let folder = folder.canonicalize();
        folder.is_ok_and(|folder| folder.starts_with(truth))
    };
    if truth.canonicalize().is_ok_and(is_below) {
        return Err(format!(
            "{file} lies in the folder of the pictures, {}: write it elsewhere",
            one_line(truth)
        ));
    }
    // pictures may be links, or lie in a folder that is one
    let is_picture = |file: PathBuf| {
        let mut real = pictures.iter().map(|picture| picture.canonicalize());
        real.any(|picture| picture.is_ok_and(|picture| picture == file))
    };
    if path.canonicalize().is_ok_and(is_picture) {
        return Err(format!(
            "{file} is one of the pictures that are evaluated: choose another name"
        ));
    }
    Ok(())
}

/// Prints what was found, and writes the files that were asked for.
fn report(
    args: &EvaluateArgs,
    evaluator: &Evaluator,
    done: &[ClipEvaluation],
    failed: &[(&String, String)],
    skipped: &[Skipped],
) -> Result<()> {
    if args.judge.json {
        let failures = failed
            .iter()
            .map(|(clip, error)| json!({ "clip": clip, "error": error }));
        let labels: Vec<&String> = evaluator.labels.iter().map(|label| &label.name).collect();
        print_json(&json!({
            "labels": labels,
            "templates": evaluator.templates,
            "clips": done,
            "failed": failures.collect::<Vec<Value>>(),
            "skipped": skipped,
        }))?;
    } else if !done.is_empty() {
        table(done).print()?;
        if let Some(unknown) = done
            .iter()
            .map(|clip| clip.unknown)
            .find(|unknown| *unknown > 0)
        {
            eprint_line(format_args!("pictures in no folder of a label: {unknown}"));
        }
    }
    if done.is_empty() {
        return Ok(());
    }
    if let Some(path) = &args.table {
        let text = if path.extension().is_some_and(|ending| ending == "csv") {
            csv(done)
        } else {
            table(done).markdown()
        };
        write_whole(path, true, |file| file.write_all(text.as_bytes()))
            .with_context(|| format!("the table {} is not written", path.display()))?;
    }
    if let Some(path) = &args.plot {
        let pictures = done
            .iter()
            .map(|clip| clip.accuracy.pictures)
            .max()
            .unwrap_or(0);
        let name = args
            .truth
            .canonicalize()
            .unwrap_or_else(|_| args.truth.clone());
        let name = one_line(Path::new(name.file_name().unwrap_or(name.as_os_str())));
        let heading = format!(
            "{name}: {pictures} pictures, {} labels",
            evaluator.labels.len()
        );
        write_chart(path, &heading, done)?;
    }
    Ok(())
}

fn table(clips: &[ClipEvaluation]) -> Table {
    let mut table = Table::new([
        ("CLIP", Side::Left),
        ("top-1 %", Side::Right),
        ("top-5 %", Side::Right),
        ("images/s", Side::Right),
        ("parameters", Side::Right),
        ("weights", Side::Right),
        ("load s", Side::Right),
        ("memory", Side::Right),
    ]);
    for clip in clips {
        table.row([
            clip.clip.clone(),
            format!("{:.2}", 100.0 * clip.accuracy.top1),
            format!("{:.2}", 100.0 * clip.accuracy.top5),
            significant(clip.images_per_second),
            count(clip.parameters),
            bytes(clip.bytes),
            significant(clip.load_seconds),
            clip.peak_memory.map_or_else(|| "?".to_owned(), bytes),
        ]);
    }
    table
}

/// A number with three significant digits.
fn significant(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn bytes(count: u64) -> String {
    match count {
        0..10_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{:.0} MB", count as f64 / 1e6),
        _ => format!("{:.1} GB", count as f64 / 1e9),
    }
}

fn csv(clips: &[ClipEvaluation]) -> String {
    let header = [
        "clip",
        "top1",
        "top5",
        "mean_per_class",
        "pictures",
        "images_per_second",
        "parameters",
        "bytes",
        "load_seconds",
        "peak_memory",
    ];
    let mut text = csv_line(header);
    for clip in clips {
        let fields = [
            clip.clip.clone(),
            clip.accuracy.top1.to_string(),
            clip.accuracy.top5.to_string(),
            clip.accuracy.mean_per_class.to_string(),
            clip.accuracy.pictures.to_string(),
            clip.images_per_second.to_string(),
            clip.parameters.to_string(),
            clip.bytes.to_string(),
            clip.load_seconds.to_string(),
            (clip.peak_memory.as_ref()).map_or_else(String::new, u64::to_string),
        ];
        text.push_str(&csv_line(fields.iter().map(String::as_str)));
    }
    text
}

/// The file name of a chart.
fn plot(text: &str) -> Result<PathBuf, String> {
    ends_in(text, &["png"])
}

/// The file name of a table.
fn table_file(text: &str) -> Result<PathBuf, String> {
    ends_in(text, &["md", "csv"])
}

fn ends_in(text: &str, endings: &[&str]) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let ending = path.extension().and_then(|ending| ending.to_str());
    if ending.is_some_and(|ending| endings.contains(&ending)) {
        return Ok(path);
    }
    Err(format!(
        "expected a file that ends in .{}",
        endings.join(" or .")
    ))
}
