//! `phantasia classify`

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use phantasia::names::{one_line, percent_encoded};
use phantasia::rank::classify::{
    Accuracy, Classifier, Label, Verdict, checked, label_text, parse_labels,
};
use phantasia::rank::gallery::Skipped;
use phantasia::rank::templates;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::console::{Misuse, note, say, warn};
use super::judge::{self, Progress};
use super::table::{Side, Table};
use crate::cli::ClassifyArgs;

/// Labels in a line of the table, where `--top` does not say.
const TABLE_TOP: usize = 3;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    labels: Vec<&'a str>,
    templates: &'a [String],
    clips: &'a [String],
    results: Vec<Value>,
    skipped: &'a [Skipped],
    #[serde(skip_serializing_if = "Option::is_none")]
    truth: Option<&'a Truth>,
}

/// How often the labels are right.
#[derive(Serialize)]
struct Truth {
    #[serde(flatten)]
    together: Accuracy,
    /// Each CLIP's, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    clips: Vec<OfClip>,
    /// Pictures that lie in no folder of a label.
    unknown: usize,
}

#[derive(Serialize)]
struct OfClip {
    clip: String,
    #[serde(flatten)]
    accuracy: Accuracy,
}

/// One picture and what it is.
struct Judged<'a> {
    path: &'a Path,
    verdict: Verdict,
    truth: Option<usize>,
}

/// Labels pictures.
pub fn run(args: &ClassifyArgs) -> Result<ExitCode> {
    let labels = labels(args).map_err(|error| Misuse(format!("{error:#}")))?;
    let templates = sentences(&args.template)?;
    let panel = judge::panel(&args.clip, &args.judge)?;
    let mut progress = Progress::new("labels", args.judge.quiet);
    let count = labels.len();
    let classifier = Classifier::new(&panel, labels, &templates, |done| progress.at(done, count))?;
    progress.clear();
    for warning in &classifier.warnings {
        warn(warning);
    }
    let gallery = judge::look(&panel, &args.paths, args.judge.quiet)?;
    let judged: Vec<Judged<'_>> = (gallery.files.iter())
        .map(|(path, digest)| Judged {
            path,
            verdict: classifier.judge(&gallery.vectors[digest]),
            truth: args.truth.then(|| classifier.truth(path)).flatten(),
        })
        .collect();
    let truth = match args.truth {
        false => None,
        true => Some(truth(&judged, &classifier, &args.clip)?),
    };
    if args.csv {
        say(csv(&judged, &classifier, args.truth).trim_end())?;
    } else if args.judge.json {
        let report = Report {
            labels: names(&classifier),
            templates: &templates,
            clips: &args.clip,
            results: (judged.iter())
                .map(|judged| result(judged, &classifier, args))
                .collect(),
            skipped: &gallery.skipped,
            truth: truth.as_ref(),
        };
        say(serde_json::to_string(&report)?)?;
        return Ok(judge::exit_code(&args.paths, &gallery.skipped));
    } else {
        table(&judged, &classifier, args.top.unwrap_or(TABLE_TOP))?;
    }
    if let Some(truth) = &truth {
        // a table for programs has no words behind it
        let lines = words(truth, &classifier);
        match args.csv {
            true => note(lines.trim_end()),
            false => say(format_args!("\n{}", lines.trim_end()))?,
        }
    }
    Ok(judge::exit_code(&args.paths, &gallery.skipped))
}

fn labels(args: &ClassifyArgs) -> Result<Vec<Label>> {
    if let Some(path) = &args.labels_file {
        let bytes =
            fs::read(path).with_context(|| format!("cannot read the labels {}", path.display()))?;
        return (label_text(&bytes).and_then(|text| parse_labels(&text)))
            .with_context(|| format!("in {}", path.display()));
    }
    if let [name] = args.labels.as_slice()
        && let Some(text) = templates::labels(name)
    {
        return parse_labels(text);
    }
    checked(
        args.labels
            .iter()
            .map(|label| Label::new(label.trim()))
            .collect(),
    )
}

fn sentences(templates: &[String]) -> Result<Vec<String>> {
    let mut sentences = vec![];
    for template in templates {
        match templates::named(template) {
            Some(named) => sentences.extend(named),
            None if template.contains("{}") => sentences.push(template.clone()),
            None => bail!(Misuse(format!(
                "--template \"{template}\" has no {{}} for the label, and is neither `simple` nor `imagenet`"
            ))),
        }
    }
    Ok(sentences)
}

fn names(classifier: &Classifier) -> Vec<&str> {
    (classifier.labels().iter())
        .map(|label| label.name.as_str())
        .collect()
}

fn truth(judged: &[Judged<'_>], classifier: &Classifier, clips: &[String]) -> Result<Truth> {
    let known = || (judged.iter()).filter_map(|judged| Some((judged.truth?, &judged.verdict)));
    let count = classifier.labels().len();
    if known().next().is_none() {
        bail!(
            "--truth: no picture lies in a folder that is named like a label, such as `{}`",
            classifier.labels()[0]
                .folder
                .as_ref()
                .unwrap_or(&classifier.labels()[0].name)
        );
    }
    let of_clip = |eye: usize| {
        Accuracy::of(
            count,
            known().map(|(truth, verdict)| (truth, verdict.by_eye[eye].as_slice())),
        )
    };
    Ok(Truth {
        together: Accuracy::of(
            count,
            known().map(|(truth, verdict)| (truth, verdict.probabilities.as_slice())),
        ),
        clips: match clips.len() {
            1 => vec![],
            _ => (clips.iter().enumerate())
                .map(|(eye, clip)| OfClip {
                    clip: clip.clone(),
                    accuracy: of_clip(eye),
                })
                .collect(),
        },
        unknown: judged
            .iter()
            .filter(|judged| judged.truth.is_none())
            .count(),
    })
}

fn result(judged: &Judged<'_>, classifier: &Classifier, args: &ClassifyArgs) -> Value {
    let labels = classifier.labels();
    let order = judged.verdict.order();
    let mut result = Map::new();
    judge::insert_path(&mut result, "path", judged.path);
    result.insert("label".to_owned(), json!(labels[order[0]].name));
    if args.truth {
        let truth = judged.truth.map(|truth| labels[truth].name.as_str());
        result.insert("truth".to_owned(), json!(truth));
    }
    let probabilities: Map<String, Value> = (order.iter())
        .take(args.top.unwrap_or(usize::MAX))
        .map(|label| {
            (
                labels[*label].name.clone(),
                json!(judged.verdict.probabilities[*label]),
            )
        })
        .collect();
    result.insert("probabilities".to_owned(), Value::Object(probabilities));
    Value::Object(result)
}

fn csv(judged: &[Judged<'_>], classifier: &Classifier, truth: bool) -> String {
    let labels = names(classifier);
    let mut text = String::from("path,");
    if truth {
        text.push_str("truth,");
    }
    text.push_str("label,probability");
    for label in &labels {
        text.push(',');
        text.push_str(&field(label));
    }
    // only where it is needed, and last, so that the other columns keep their places
    let encoded = judged.iter().any(|judged| judged.path.to_str().is_none());
    if encoded {
        text.push_str(",path_encoded");
    }
    text.push('\n');
    for judged in judged {
        let best = judged.verdict.order()[0];
        let mut fields = vec![field(&judged.path.to_string_lossy())];
        if truth {
            fields.push(
                judged
                    .truth
                    .map_or_else(String::new, |truth| field(labels[truth])),
            );
        }
        fields.push(field(labels[best]));
        fields.push(judged.verdict.probabilities[best].to_string());
        fields.extend(judged.verdict.probabilities.iter().map(f64::to_string));
        fields.extend(encoded.then(|| percent_encoded(judged.path)));
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

/// A field of a table with commas (RFC 4180).
fn field(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// A line a picture: its path, and the most probable labels.
fn table(judged: &[Judged<'_>], classifier: &Classifier, top: usize) -> Result<()> {
    let labels = classifier.labels();
    let picture = ("picture".to_owned(), Side::Left);
    let places = (1..=top.min(labels.len())).flat_map(|place| {
        let header = match place {
            1 => "label".to_owned(),
            place => format!("label {place}"),
        };
        [("%".to_owned(), Side::Right), (header, Side::Left)]
    });
    let mut table = Table::new(std::iter::once(picture).chain(places));
    for judged in judged {
        let order = judged.verdict.order();
        let best = order.into_iter().take(top).flat_map(|label| {
            let share = 100.0 * judged.verdict.probabilities[label];
            [format!("{share:.1}"), labels[label].name.clone()]
        });
        table.row(std::iter::once(one_line(judged.path)).chain(best));
    }
    table.print()
}

/// Accuracies and the confusion matrix.
fn words(truth: &Truth, classifier: &Classifier) -> String {
    let mut text = String::new();
    let mut line = |name: &str, accuracy: &Accuracy| {
        text.push_str(&format!(
            "{name}: top-1 {:.2} %, top-5 {:.2} %, mean per class {:.2} %, of {} pictures\n",
            100.0 * accuracy.top1,
            100.0 * accuracy.top5,
            100.0 * accuracy.mean_per_class,
            accuracy.pictures
        ));
    };
    for of_clip in &truth.clips {
        line(&of_clip.clip, &of_clip.accuracy);
    }
    line(
        if truth.clips.is_empty() {
            "accuracy"
        } else {
            "together"
        },
        &truth.together,
    );
    if truth.unknown > 0 {
        text.push_str(&format!(
            "{} pictures lie in no folder of a label\n",
            truth.unknown
        ));
    }
    let labels = names(classifier);
    let confusion = &truth.together.confusion;
    let most = confusion.iter().flatten().max().copied().unwrap_or(0);
    let wide = most.max(labels.len()).to_string().len() + 1;
    text.push_str("true label in rows, found label in columns:\n");
    text.push_str(&format!("{:>4}", ""));
    for number in 1..=labels.len() {
        text.push_str(&format!("{number:>wide$}"));
    }
    text.push('\n');
    for (number, (label, row)) in labels.iter().zip(confusion).enumerate() {
        text.push_str(&format!("{:>4}", number + 1));
        for count in row {
            text.push_str(&format!("{count:>wide$}"));
        }
        text.push_str(&format!("  {label}\n"));
    }
    text
}
