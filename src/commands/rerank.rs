//! `phantasia rerank` and `phantasia score`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use phantasia::aesthetic;
use phantasia::clip::EMBEDDED;
use phantasia::judge::sheet::{self, Tile};
use phantasia::judge::{
    AestheticOptions, Combine, EncodedQueries, PictureResult, Query, Results, Score, Scorer,
    ScorerOptions,
};
use serde_json::{Value, json};

use super::arguments::{one_of, positive, sheet};
use super::console::{eprint_line, print_json, print_line, warn_all};
use super::judge::{self, JudgeArgs};
use super::progress::Progress;
use super::table::{Side, Table};

/// Pictures on a sheet without `--top`.
const SHEET_TOP: usize = 50;
const COMBINE: [(&str, &str, Combine); 2] = [
    ("score", "The mean of their scores", Combine::Score),
    ("rank", "The mean of their rankings", Combine::Rank),
];

/// Which pictures are scored, and by what.
#[derive(Debug, Args)]
#[group(id = "prompts", required = true, multiple = true, args = ["prompt", "image_prompt", "aesthetic"])]
pub struct ScoringArgs {
    /// What the pictures should show; `TEXT::WEIGHT` gives it a weight, below 0 to be far from it. May be given several times
    #[arg(long, value_name = "TEXT[::WEIGHT]", value_parser = Query::parse_text, allow_hyphen_values = true)]
    prompt: Vec<Query>,
    /// A picture that they should be like, with a weight as above; may be given several times
    #[arg(long, value_name = "FILE[::WEIGHT]", value_parser = Query::parse_picture)]
    image_prompt: Vec<Query>,
    /// The CLIP that judges: embedded or a part of it, a known model or a folder. May be given several times
    #[arg(long, value_name = "MODEL", default_value = EMBEDDED)]
    clip: Vec<String>,
    /// Also score aesthetic quality, about 1 to 10; without prompts, this is the score. Another head than LAION's follows an equals sign
    #[arg(long, value_name = "HEAD", num_args = 0..=1, require_equals = true, default_missing_value = aesthetic::HEAD)]
    aesthetic: Option<String>,
    /// The CLIP whose embeddings the head takes
    #[arg(long, value_name = "MODEL", default_value = aesthetic::CLIP, requires = "aesthetic")]
    aesthetic_clip: String,
    /// How the scores of several CLIPs are combined
    #[arg(long, value_name = "HOW", default_value = "score", value_parser = one_of(COMBINE))]
    combine: Combine,
    /// What all judges have
    #[command(flatten)]
    judge: JudgeArgs,
    /// Pictures, and folders that are searched for pictures
    #[arg(required = true, value_name = "IMAGE|DIR")]
    paths: Vec<PathBuf>,
}

/// Arguments of `rerank`.
#[derive(Debug, Args)]
pub struct RerankArgs {
    /// What is scored, by what
    #[command(flatten)]
    scoring: ScoringArgs,
    /// Show only the best K pictures
    #[arg(long, value_name = "K", allow_negative_numbers = true, value_parser = positive)]
    top: Option<usize>,
    /// Write a contact sheet of the results: .png or .html
    #[arg(long, value_name = "FILE.png", value_parser = sheet)]
    sheet: Option<PathBuf>,
}

/// Ranks pictures, best first.
pub fn run(args: &RerankArgs) -> Result<ExitCode> {
    let scoring = &args.scoring;
    let scorer = scorer(scoring)?;
    let progress = Progress::callback("picture", scoring.judge.quiet);
    let mut ranked = scorer.rank_files(&scoring.paths, progress)?;
    judge::report_skipped(&scoring.paths, &ranked)?;
    ranked.pictures.truncate(args.top.unwrap_or(usize::MAX));
    print(&ranked, scorer.queries(), scoring, true)?;
    if let Some(path) = &args.sheet {
        contact_sheet(path, &ranked.pictures, scorer.queries(), args.top.is_none())?;
    }
    Ok(judge::exit_code(&scoring.paths, &ranked))
}

/// Scores pictures in the order in which they are given.
pub fn run_score(args: &ScoringArgs) -> Result<ExitCode> {
    let scorer = scorer(args)?;
    let progress = Progress::callback("picture", args.judge.quiet);
    let scored = scorer.score_files(&args.paths, progress)?;
    judge::report_skipped(&args.paths, &scored)?;
    print(&scored, scorer.queries(), args, false)?;
    Ok(judge::exit_code(&args.paths, &scored))
}

fn scorer(args: &ScoringArgs) -> Result<Scorer> {
    let options = ScorerOptions {
        queries: [args.prompt.as_slice(), &args.image_prompt].concat(),
        clips: args.clip.clone(),
        activation: args.judge.activation,
        long_text: args.judge.long_text,
        combine: args.combine,
        aesthetic: (args.aesthetic.clone()).map(|head| AestheticOptions {
            head,
            clip: args.aesthetic_clip.clone(),
        }),
    };
    let device = (args.judge).prepare(&options.all_clips(), args.aesthetic.as_slice())?;
    let scorer = Scorer::load(&options, &device)?;
    warn_all(scorer.warnings());
    Ok(scorer)
}

fn print(
    files: &Results<Score>,
    queries: &EncodedQueries,
    args: &ScoringArgs,
    ranks: bool,
) -> Result<()> {
    if !args.judge.json {
        return table(&files.pictures, queries, ranks);
    }
    let several = args.clip.len() > 1 && !queries.labels.is_empty();
    let result = |picture: &PictureResult<Score>| {
        let (paths, score) = (&picture.paths, &picture.result);
        let mut result = judge::path_object(paths);
        result["score"] = json!(score.score);
        result["similarity"] = by_name(&queries.labels, &score.similarity);
        if let Some(aesthetic) = score.aesthetic {
            result["aesthetic"] = json!(aesthetic);
        }
        if several {
            result["clips"] = by_name(&args.clip, &score.by_encoder);
        }
        judge::insert_duplicates(&mut result, paths);
        result
    };
    print_json(&json!({
        "prompts": queries.labels,
        "weights": queries.weights,
        "clips": args.clip,
        "combine": args.combine,
        "results": files.pictures.iter().map(result).collect::<Vec<_>>(),
        "skipped": files.skipped,
    }))
}

fn by_name(names: &[String], values: &[f64]) -> Value {
    names.iter().cloned().zip(values.iter().copied()).collect()
}

/// A line for each picture: its rank, its score, the aesthetic score if there is one beside prompts, its cosine to each prompt if there are
/// several, and its path.
fn table(pictures: &[PictureResult<Score>], queries: &EncodedQueries, ranks: bool) -> Result<()> {
    let labels = &queries.labels;
    let several = labels.len() > 1;
    // without prompts, the aesthetic score is the score
    let has_aesthetic = |picture: &PictureResult<Score>| picture.result.aesthetic.is_some();
    let aesthetic = !labels.is_empty() && pictures.iter().any(has_aesthetic);
    if several {
        for (number, (label, weight)) in (1..).zip(labels.iter().zip(&queries.weights)) {
            let label = label.escape_debug();
            print_line(format_args!("# {number}: {label} (weight {weight})"))?;
        }
    }
    let prompts = (1..=labels.len()).filter(|_| several);
    let numbers = (ranks.then(|| "rank".to_owned()).into_iter())
        .chain(["score".to_owned()])
        .chain(aesthetic.then(|| "aesthetic".to_owned()))
        .chain(prompts.map(|number| number.to_string()));
    let columns = numbers.map(|header| (header, Side::Right));
    let mut table = Table::new(columns.chain([("picture".to_owned(), Side::Left)]));
    for (rank, picture) in (1..).zip(pictures) {
        let score = &picture.result;
        let rank: Option<usize> = ranks.then_some(rank);
        let numbers = std::iter::once(score.score)
            .chain(score.aesthetic.filter(|_| aesthetic))
            .chain((score.similarity.iter().copied()).filter(|_| several));
        let row = (rank.map(|rank| rank.to_string()).into_iter())
            .chain(numbers.map(|number| format!("{number:.4}")))
            .chain([judge::path_cell(&picture.paths)]);
        table.row(row);
    }
    table.print()
}

/// Writes the contact sheet of the pictures; with `cut`, of the first of them.
fn contact_sheet(
    path: &Path,
    pictures: &[PictureResult<Score>],
    queries: &EncodedQueries,
    cut: bool,
) -> Result<()> {
    let most = if cut { SHEET_TOP } else { usize::MAX };
    let tiles: Vec<Tile> = (pictures.iter().take(most))
        .map(|picture| Tile {
            path: picture.paths[0].clone(),
            score: picture.result.score,
        })
        .collect();
    if tiles.len() < pictures.len() {
        eprint_line(format_args!(
            "the sheet shows the best {} of {}; --top changes this number",
            tiles.len(),
            pictures.len()
        ));
    }
    let prompts: Vec<String> = (queries.labels.iter().zip(&queries.weights))
        .map(|(label, weight)| {
            if *weight == 1.0 {
                label.clone()
            } else {
                format!("{label} ({weight})")
            }
        })
        .collect();
    let heading = match prompts.as_slice() {
        [] => "aesthetic".to_owned(),
        prompts => prompts.join("  ·  "),
    };
    sheet::write(path, &heading, &tiles)
}
