//! `phantasia rerank` and `phantasia score`

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use phantasia::rank::gallery::Skipped;
use phantasia::rank::query::{Queries, Query};
use phantasia::rank::score::{Combine, Rated, best_first, rate};
use phantasia::rank::sheet::{self, Tile};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::console::{note, say};
use super::judge;
use crate::cli::{CombineChoice, RerankArgs, ScoreArgs, ScoringArgs};

/// Pictures on a sheet, where `--top` does not say.
const SHEET_TOP: usize = 50;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    prompts: &'a [String],
    weights: &'a [f64],
    clips: &'a [String],
    combine: &'a str,
    results: Vec<Value>,
    skipped: &'a [Skipped],
}

/// Pictures of one content with their scores.
struct Judged<'a> {
    paths: Vec<&'a Path>,
    rated: Rated,
}

/// What was scored by what.
struct Scores<'a> {
    queries: Queries,
    judged: Vec<Judged<'a>>,
}

fn queries(args: &ScoringArgs) -> Vec<Query> {
    args.prompt
        .iter()
        .chain(&args.image_prompt)
        .cloned()
        .collect()
}

/// Orders pictures, best first.
pub fn run(args: &RerankArgs) -> Result<ExitCode> {
    let scoring = &args.scoring;
    let panel = judge::panel(&scoring.clip, &scoring.judge)?;
    let queries = Queries::encode(&panel, &queries(scoring))?;
    warn(&queries);
    let gallery = judge::look(&panel, &scoring.paths, scoring.judge.quiet)?;
    let groups = judge::together(&gallery.files);
    let pictures: Vec<&[Vec<f32>]> = (groups.iter())
        .map(|(digest, _)| gallery.vectors[digest].as_slice())
        .collect();
    let rated = rate(&pictures, &queries, combine(scoring))?;
    let order = best_first(rated.iter().map(|rated| rated.score));
    let judged = order.into_iter().map(|place| Judged {
        paths: groups[place].1.clone(),
        rated: rated[place].clone(),
    });
    let scores = Scores {
        judged: judged.take(args.top.unwrap_or(usize::MAX)).collect(),
        queries,
    };
    if let Some(path) = &args.sheet {
        contact_sheet(path, &scores, args.top.is_none())?;
    }
    print(&scores, scoring, &gallery.skipped, true)?;
    Ok(ExitCode::SUCCESS)
}

/// Scores pictures in the order in which they are given, each of them.
pub fn score(args: &ScoreArgs) -> Result<ExitCode> {
    let scoring = &args.scoring;
    let panel = judge::panel(&scoring.clip, &scoring.judge)?;
    let queries = Queries::encode(&panel, &queries(scoring))?;
    warn(&queries);
    let gallery = judge::look(&panel, &scoring.paths, scoring.judge.quiet)?;
    let pictures: Vec<&[Vec<f32>]> = (gallery.files.iter())
        .map(|(_, digest)| gallery.vectors[digest].as_slice())
        .collect();
    let rated = rate(&pictures, &queries, combine(scoring))?;
    let judged = (gallery.files.iter().zip(rated))
        .map(|((path, _), rated)| Judged {
            paths: vec![path],
            rated,
        })
        .collect();
    print(
        &Scores { queries, judged },
        scoring,
        &gallery.skipped,
        false,
    )?;
    Ok(ExitCode::SUCCESS)
}

fn combine(args: &ScoringArgs) -> Combine {
    match args.combine {
        CombineChoice::Score => Combine::Score,
        CombineChoice::Rank => Combine::Rank,
    }
}

fn warn(queries: &Queries) {
    for warning in &queries.warnings {
        note(format_args!("warning: {warning}"));
    }
}

fn print(scores: &Scores<'_>, args: &ScoringArgs, skipped: &[Skipped], ranks: bool) -> Result<()> {
    if !args.judge.json {
        return table(scores, ranks);
    }
    let several = args.clip.len() > 1;
    let results = (scores.judged.iter())
        .map(|Judged { paths, rated }| {
            let mut result = Map::new();
            let text = |path: &Path| Value::from(path.display().to_string());
            result.insert("path".to_owned(), text(paths[0]));
            result.insert("score".to_owned(), json!(rated.score));
            result.insert(
                "similarity".to_owned(),
                named(&scores.queries.labels, &rated.similarity),
            );
            if several {
                result.insert("clips".to_owned(), named(&args.clip, &rated.by_eye));
            }
            if paths.len() > 1 {
                let same = paths[1..].iter().map(|path| text(path)).collect();
                result.insert("duplicates".to_owned(), Value::Array(same));
            }
            Value::Object(result)
        })
        .collect();
    let report = Report {
        prompts: &scores.queries.labels,
        weights: &scores.queries.weights,
        clips: &args.clip,
        combine: match args.combine {
            CombineChoice::Score => "score",
            CombineChoice::Rank => "rank",
        },
        results,
        skipped,
    };
    Ok(say(serde_json::to_string(&report)?)?)
}

fn named(names: &[String], values: &[f64]) -> Value {
    let pairs = names.iter().zip(values);
    Value::Object(
        pairs
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect(),
    )
}

/// A line a picture: its rank, its score, its cosine to each prompt where there are several, and its path.
fn table(scores: &Scores<'_>, ranks: bool) -> Result<()> {
    let several = scores.queries.labels.len() > 1;
    let wide = scores.judged.len().to_string().len();
    if several {
        for (number, label) in scores.queries.labels.iter().enumerate() {
            let weight = scores.queries.weights[number];
            say(format_args!(
                "# {}: {} (weight {weight})",
                number + 1,
                label.escape_debug()
            ))?;
        }
    }
    for (number, Judged { paths, rated }) in scores.judged.iter().enumerate() {
        let mut line = match ranks {
            true => format!("{:wide$}  ", number + 1),
            false => String::new(),
        };
        line.push_str(&format!("{:7.4}  ", rated.score));
        if several {
            for similarity in &rated.similarity {
                line.push_str(&format!("{similarity:7.4}  "));
            }
        }
        line.push_str(&paths[0].display().to_string());
        if paths.len() > 1 {
            line.push_str(&format!("  (and {} of the same content)", paths.len() - 1));
        }
        say(line)?;
    }
    Ok(())
}

/// Writes the contact sheet: of all that is printed, or of the best where nobody said how many.
fn contact_sheet(path: &Path, scores: &Scores<'_>, cut: bool) -> Result<()> {
    let most = if cut { SHEET_TOP } else { usize::MAX };
    let shown: Vec<Tile> = (scores.judged.iter().take(most))
        .map(|judged| Tile {
            path: judged.paths[0].to_owned(),
            score: judged.rated.score,
        })
        .collect();
    if shown.len() < scores.judged.len() {
        note(format_args!(
            "the sheet shows the best {} of {}; --top says how many",
            shown.len(),
            scores.judged.len()
        ));
    }
    let queries = &scores.queries;
    let heading: Vec<String> = (queries.labels.iter().zip(&queries.weights))
        .map(|(label, weight)| match *weight == 1.0 {
            true => label.clone(),
            false => format!("{label} ({weight})"),
        })
        .collect();
    sheet::write(path, &heading.join("  ·  "), &shown)
}
