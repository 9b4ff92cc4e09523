//! `phantasia rerank` and `phantasia score`

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use phantasia::aesthetic::Head;
use phantasia::load;
use phantasia::rank::Panel;
use phantasia::rank::gallery::Skipped;
use phantasia::rank::query::{Queries, Query};
use phantasia::rank::score::{Combine, Rated, best_first, rate};
use phantasia::rank::sheet::{self, Tile};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::console::{note, say, warn};
use super::table::{Side, Table};
use super::{judge, models};
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
    beauty: Option<f64>,
}

/// What was scored by what.
struct Scores<'a> {
    queries: Queries,
    judged: Vec<Judged<'a>>,
}

/// What judges: the CLIPs of the prompts, and the head of the aesthetic score with the place of its CLIP among them.
struct Jury {
    panel: Panel,
    queries: Queries,
    head: Option<(Head, usize)>,
    combine: Combine,
}

impl Jury {
    fn new(args: &ScoringArgs) -> Result<Self> {
        let prompts: Vec<Query> = (args.prompt.iter())
            .chain(&args.image_prompt)
            .cloned()
            .collect();
        // beauty alone needs no other CLIP
        let mut clips = match prompts.is_empty() {
            true => vec![],
            false => args.clip.clone(),
        };
        let asked = clips.len();
        let head = match &args.aesthetic {
            None => None,
            Some(name) => {
                let known = clips.iter().position(|clip| *clip == args.aesthetic_clip);
                let place = known.unwrap_or_else(|| {
                    clips.push(args.aesthetic_clip.clone());
                    clips.len() - 1
                });
                models::need([name.clone()], args.judge.yes, args.judge.quiet)?;
                Some((load::aesthetic(name)?, place))
            }
        };
        let panel = judge::panel(&clips, &args.judge)?;
        if let Some((head, place)) = &head {
            let eye = &panel.eyes()[*place];
            head.fits(eye.name(), eye.towers(), eye.width() / eye.towers())?;
        }
        let mut queries = match prompts.is_empty() {
            true => Queries::default(),
            false => Queries::encode(&panel, &prompts)?,
        };
        // a CLIP that is there for beauty alone has no say in the prompts
        queries.vectors.truncate(asked);
        for warning in &queries.warnings {
            warn(warning);
        }
        Ok(Self {
            panel,
            queries,
            head,
            combine: combine(args),
        })
    }

    /// The scores of pictures, each seen by all CLIPs, and how beautiful they are.
    fn rate(&self, pictures: &[&[Vec<f32>]]) -> Result<Vec<(Rated, Option<f64>)>> {
        let beauty = |vectors: &[Vec<f32>]| {
            let (head, place) = self.head.as_ref()?;
            Some(head.score(&vectors[*place]))
        };
        let seen: Vec<&[Vec<f32>]> = (pictures.iter())
            .map(|vectors| &vectors[..self.queries.vectors.len()])
            .collect();
        let mut rated = rate(&seen, &self.queries, self.combine)?;
        let beauty: Vec<Option<f64>> = pictures.iter().map(|vectors| beauty(vectors)).collect();
        if self.queries.labels.is_empty() {
            for (rated, beauty) in rated.iter_mut().zip(&beauty) {
                rated.score = beauty.unwrap_or_default();
            }
        }
        Ok(rated.into_iter().zip(beauty).collect())
    }
}

/// Orders pictures, best first.
pub fn run(args: &RerankArgs) -> Result<ExitCode> {
    let scoring = &args.scoring;
    let jury = Jury::new(scoring)?;
    let gallery = judge::look(&jury.panel, &scoring.paths, scoring.judge.quiet)?;
    let groups = judge::together(&gallery.files);
    let pictures: Vec<&[Vec<f32>]> = (groups.iter())
        .map(|(digest, _)| gallery.vectors[digest].as_slice())
        .collect();
    let rated = jury.rate(&pictures)?;
    let order = best_first(rated.iter().map(|(rated, _)| rated.score));
    let judged = order.into_iter().map(|place| Judged {
        paths: groups[place].1.clone(),
        rated: rated[place].0.clone(),
        beauty: rated[place].1,
    });
    let scores = Scores {
        judged: judged.take(args.top.unwrap_or(usize::MAX)).collect(),
        queries: jury.queries,
    };
    print(&scores, scoring, &gallery.skipped, true)?;
    if let Some(path) = &args.sheet {
        contact_sheet(path, &scores, args.top.is_none())?;
    }
    Ok(judge::exit_code(&scoring.paths, &gallery.skipped))
}

/// Scores pictures in the order in which they are given, each of them.
pub fn score(args: &ScoreArgs) -> Result<ExitCode> {
    let scoring = &args.scoring;
    let jury = Jury::new(scoring)?;
    let gallery = judge::look(&jury.panel, &scoring.paths, scoring.judge.quiet)?;
    let pictures: Vec<&[Vec<f32>]> = (gallery.files.iter())
        .map(|(_, digest)| gallery.vectors[digest].as_slice())
        .collect();
    let judged = (gallery.files.iter().zip(jury.rate(&pictures)?))
        .map(|((path, _), (rated, beauty))| Judged {
            paths: vec![path],
            rated,
            beauty,
        })
        .collect();
    let queries = jury.queries;
    print(
        &Scores { queries, judged },
        scoring,
        &gallery.skipped,
        false,
    )?;
    Ok(judge::exit_code(&scoring.paths, &gallery.skipped))
}

fn combine(args: &ScoringArgs) -> Combine {
    match args.combine {
        CombineChoice::Score => Combine::Score,
        CombineChoice::Rank => Combine::Rank,
    }
}

fn print(scores: &Scores<'_>, args: &ScoringArgs, skipped: &[Skipped], ranks: bool) -> Result<()> {
    if !args.judge.json {
        return table(scores, ranks);
    }
    let several = args.clip.len() > 1 && !scores.queries.labels.is_empty();
    let results = (scores.judged.iter())
        .map(|judged| {
            let Judged {
                paths,
                rated,
                beauty,
            } = judged;
            let mut result = Map::new();
            judge::insert_path(&mut result, "path", paths[0]);
            result.insert("score".to_owned(), json!(rated.score));
            result.insert(
                "similarity".to_owned(),
                named(&scores.queries.labels, &rated.similarity),
            );
            if let Some(beauty) = beauty {
                result.insert("aesthetic".to_owned(), json!(beauty));
            }
            if several {
                result.insert("clips".to_owned(), named(&args.clip, &rated.by_eye));
            }
            if paths.len() > 1 {
                judge::insert_paths(&mut result, "duplicates", &paths[1..]);
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

/// A line a picture: its rank, its score, how beautiful it is where that is asked beside prompts, its cosine to each prompt where there are several, and its path.
fn table(scores: &Scores<'_>, ranks: bool) -> Result<()> {
    let labels = &scores.queries.labels;
    let several = labels.len() > 1;
    // alone, it is the score
    let beauty = !labels.is_empty() && scores.judged.iter().any(|judged| judged.beauty.is_some());
    if several {
        for (number, label) in labels.iter().enumerate() {
            let weight = scores.queries.weights[number];
            say(format_args!(
                "# {}: {} (weight {weight})",
                number + 1,
                label.escape_debug()
            ))?;
        }
    }
    let mut columns = vec![];
    if ranks {
        columns.push(("rank".to_owned(), Side::Right));
    }
    columns.push(("score".to_owned(), Side::Right));
    if beauty {
        columns.push(("aesthetic".to_owned(), Side::Right));
    }
    if several {
        columns.extend((1..=labels.len()).map(|number| (number.to_string(), Side::Right)));
    }
    columns.push(("picture".to_owned(), Side::Left));
    let mut table = Table::new(columns);
    for (rank, judged) in (1..).zip(&scores.judged) {
        let rank: Option<usize> = ranks.then_some(rank);
        let numbers = std::iter::once(judged.rated.score)
            .chain(judged.beauty.filter(|_| beauty))
            .chain((judged.rated.similarity.iter().copied()).filter(|_| several));
        let row = (rank.map(|rank| rank.to_string()).into_iter())
            .chain(numbers.map(|number| format!("{number:.4}")))
            .chain([judge::path_cell(&judged.paths)]);
        table.row(row);
    }
    table.print()
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
    let heading = match heading.is_empty() {
        true => "aesthetic".to_owned(),
        false => heading.join("  ·  "),
    };
    sheet::write(path, &heading, &shown)
}
