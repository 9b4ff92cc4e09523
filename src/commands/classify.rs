//! `phantasia classify`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use phantasia::clip::EMBEDDED;
use phantasia::judge::labels::{labels_named, read_labels, templates};
use phantasia::judge::{
    Accuracy, Classification, Classifier, ClipAccuracy, Ensemble, Evaluation, Label, PictureResult,
};
use phantasia::names::{one_line, percent_encoded};
use serde_json::{Value, json};

use super::arguments::positive;
use super::console::{UsageError, eprint_line, print_json, print_line, warn_all};
use super::judge::{self, JudgeArgs};
use super::progress::Progress;
use super::table::{Side, Table, csv_line};

/// Labels in a line of the table without `--top`.
const TABLE_TOP: usize = 3;

/// Arguments of `classify`.
#[derive(Debug, Args)]
pub struct ClassifyArgs {
    /// The labels; or `imagenette` or `imagewoof`, the labels of these data sets
    #[arg(
        long,
        value_name = "A,B,C",
        value_delimiter = ',',
        required_unless_present = "labels_file"
    )]
    labels: Vec<String>,
    /// A file with one label per line; `folder = label` if --truth should know the label's folder by another name
    #[arg(long, value_name = "FILE", conflicts_with = "labels")]
    labels_file: Option<PathBuf>,
    /// A sentence for the labels, with {} for the label; or `simple` or `imagenet` (80 sentences). Several are averaged
    #[arg(long, value_name = "TEXT", default_value = "simple")]
    template: Vec<String>,
    /// The CLIP: embedded or a part of it, a known model or a folder. Of several, each one's accuracy is printed, and their probabilities are averaged
    #[arg(long, value_name = "MODEL", default_value = EMBEDDED)]
    clip: Vec<String>,
    /// Show only the K most probable labels
    #[arg(long, value_name = "K", allow_negative_numbers = true, value_parser = positive)]
    top: Option<usize>,
    /// Take the folder that a picture lies in as its true label: print the accuracy and the confusion matrix
    #[arg(long)]
    truth: bool,
    /// Print comma-separated values: path, label, probability, and a column for each label
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// What all judges have
    #[command(flatten)]
    judge: JudgeArgs,
    /// Pictures, and folders that are searched for pictures
    #[arg(required = true, value_name = "IMAGE|DIR")]
    paths: Vec<PathBuf>,
}

/// Classifies pictures.
pub fn run(args: &ClassifyArgs) -> Result<ExitCode> {
    let usage = |error: anyhow::Error| UsageError(format!("{error:#}"));
    let labels = match &args.labels_file {
        Some(path) => read_labels(path),
        None => labels_named(&args.labels),
    }
    .map_err(usage)?;
    let templates = templates(&args.template).map_err(usage)?;
    let device = args.judge.prepare(&args.clip, &[])?;
    let ensemble = Ensemble::load(&args.clip, args.judge.activation, &device)?
        .with_long_text(|_| args.judge.long_text);
    warn_all(ensemble.warnings());
    let progress = |unit| Progress::callback(unit, args.judge.quiet);
    let classifier = Classifier::new(ensemble, labels, &templates, progress("label"))?;
    warn_all(classifier.warnings());
    let files = classifier.classify_files(&args.paths, progress("picture"))?;
    judge::report_skipped(&args.paths, &files)?;
    let labels = classifier.labels();
    let evaluation = (args.truth)
        .then(|| {
            classifier.evaluate(&files.pictures).with_context(|| {
                let first = labels[0].folder.as_ref().unwrap_or(&labels[0].name);
                format!("--truth: no picture lies in a folder that is named like a label, such as `{first}`")
            })
        })
        .transpose()?;
    if args.judge.json {
        let names: Vec<&String> = labels.iter().map(|label| &label.name).collect();
        let results = (files.pictures.iter()).map(|picture| result(picture, labels, args));
        let mut report = json!({
            "labels": names,
            "templates": templates,
            "clips": args.clip,
            "results": results.collect::<Vec<_>>(),
            "skipped": files.skipped,
        });
        if let Some(evaluation) = &evaluation {
            report["truth"] = json!(evaluation);
        }
        print_json(&report)?;
    } else if args.csv {
        print_line(csv(&files.pictures, labels, args.truth).trim_end())?;
        // a table for programs has nothing after it
        if let Some(evaluation) = &evaluation {
            eprint_line(summary(evaluation, labels).trim_end());
        }
    } else {
        table(&files.pictures, labels, args.top.unwrap_or(TABLE_TOP))?;
        if let Some(evaluation) = &evaluation {
            print_line(format_args!("\n{}", summary(evaluation, labels).trim_end()))?;
        }
    }
    Ok(judge::exit_code(&args.paths, &files))
}

fn result(picture: &PictureResult<Classification>, labels: &[Label], args: &ClassifyArgs) -> Value {
    let classification = &picture.result;
    let (order, probabilities) = (classification.order(), &classification.probabilities);
    let mut result = judge::path_object(&picture.paths);
    result["label"] = json!(labels[order[0]].name);
    if args.truth {
        result["truth"] = json!(classification.truth.map(|truth| &labels[truth].name));
    }
    let named = |label: usize| (labels[label].name.clone(), probabilities[label]);
    let top = args.top.unwrap_or(usize::MAX);
    result["probabilities"] = order.into_iter().take(top).map(named).collect();
    result
}

fn csv(pictures: &[PictureResult<Classification>], labels: &[Label], truth: bool) -> String {
    // only where it is needed, and last, so that the other columns keep their places
    let is_odd = |picture: &PictureResult<_>| picture.paths[0].to_str().is_none();
    let encoded = pictures.iter().any(is_odd);
    let names = labels.iter().map(|label| label.name.as_str());
    let header = (["path"].into_iter())
        .chain(truth.then_some("truth"))
        .chain(["label", "probability"])
        .chain(names)
        .chain(encoded.then_some("path_encoded"));
    let mut text = csv_line(header);
    for PictureResult { paths, result } in pictures {
        let (probabilities, best) = (&result.probabilities, result.order()[0]);
        let mut fields = vec![paths[0].to_string_lossy().into_owned()];
        if truth {
            let label = result.truth.map(|label| labels[label].name.clone());
            fields.push(label.unwrap_or_default());
        }
        fields.push(labels[best].name.clone());
        fields.push(probabilities[best].to_string());
        fields.extend(probabilities.iter().map(f64::to_string));
        fields.extend(encoded.then(|| percent_encoded(&paths[0])));
        text.push_str(&csv_line(fields.iter().map(String::as_str)));
    }
    text
}

/// A line for each picture: its path, and the most probable labels.
fn table(pictures: &[PictureResult<Classification>], labels: &[Label], top: usize) -> Result<()> {
    let columns = (1..=top.min(labels.len())).flat_map(|place| {
        let header = match place {
            1 => "label".to_owned(),
            place => format!("label {place}"),
        };
        [("%".to_owned(), Side::Right), (header, Side::Left)]
    });
    let picture = ("picture".to_owned(), Side::Left);
    let mut table = Table::new(std::iter::once(picture).chain(columns));
    for picture in pictures {
        let classification = &picture.result;
        let cells = |label: usize| {
            let percent = 100.0 * classification.probabilities[label];
            [format!("{percent:.1}"), labels[label].name.clone()]
        };
        let best = classification.order().into_iter().take(top).flat_map(cells);
        table.row(std::iter::once(one_line(&picture.paths[0])).chain(best));
    }
    table.print()
}

/// Accuracies and the confusion matrix.
fn summary(evaluation: &Evaluation, labels: &[Label]) -> String {
    let accuracy = |name: &str, accuracy: &Accuracy| {
        format!(
            "{name}: top-1 {:.2} %, top-5 {:.2} %, mean per class {:.2} %, of {} pictures\n",
            100.0 * accuracy.top1,
            100.0 * accuracy.top5,
            100.0 * accuracy.mean_per_class,
            accuracy.pictures
        )
    };
    let of_clip = |each: &ClipAccuracy| accuracy(&each.clip, &each.accuracy);
    let mut text: String = evaluation.clips.iter().map(of_clip).collect();
    let name = match evaluation.clips.as_slice() {
        [] => "accuracy",
        _ => "together",
    };
    text.push_str(&accuracy(name, &evaluation.together));
    let unknown = evaluation.unknown;
    if unknown > 0 {
        text.push_str(&format!("pictures in no folder of a label: {unknown}\n"));
    }
    let confusion = &evaluation.together.confusion;
    let most = confusion.iter().flatten().max().copied().unwrap_or(0);
    let wide = most.max(labels.len()).to_string().len() + 1;
    let cells = |counts: &mut dyn Iterator<Item = usize>| -> String {
        counts.map(|count| format!("{count:>wide$}")).collect()
    };
    text.push_str("true label in rows, found label in columns:\n");
    text.push_str(&format!("    {}\n", cells(&mut (1..=labels.len()))));
    for (number, (label, row)) in (1..).zip(labels.iter().zip(confusion)) {
        let row = cells(&mut row.iter().copied());
        text.push_str(&format!("{number:>4}{row}  {}\n", label.name));
    }
    text
}
