//! `phantasia search`

use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::{Result, bail};
use phantasia::rank::gallery::Skipped;
use phantasia::rank::index::{Index, Update};
use phantasia::rank::query::{Queries, Query};
use phantasia::rank::score::{best_first, by_one};
use phantasia::rank::sheet::{self, Tile};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::company::{INTERRUPTED, interrupt};
use super::console::{Misuse, note, say, warn};
use super::judge::{self, Progress};
use super::table::{Side, Table};
use crate::cli::SearchArgs;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    query: &'a str,
    #[serde(flatten)]
    image: Map<String, Value>,
    clip: &'a str,
    pictures: usize,
    embedded: usize,
    results: Vec<Map<String, Value>>,
    skipped: &'a [Skipped],
}

/// Searches a folder.
pub fn run(args: &SearchArgs) -> Result<ExitCode> {
    if !args.folder.is_dir() {
        bail!(Misuse(format!("{} is not a folder", args.folder.display())));
    }
    let wanted = wanted(args)?;
    let stop = interrupt()?;
    let panel = judge::panel(std::slice::from_ref(&args.clip), &args.judge)?;
    let queries = Queries::encode(&panel, &wanted)?;
    for warning in &queries.warnings {
        warn(warning);
    }
    let mut index = Index::open(&args.folder);
    if let Some(notice) = &index.notice {
        warn(notice);
    }
    let mut progress = Progress::new("pictures", args.judge.quiet);
    let update = index.update(&panel, |done, total| {
        progress.at(done, total);
        match stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })?;
    progress.clear();
    tell(&update);
    if update.interrupted {
        note("interrupted; the pictures that were seen need not be seen again");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if update.files.is_empty() {
        bail!(judge::nothing(
            std::slice::from_ref(&args.folder),
            &update.skipped
        ));
    }
    let groups = judge::together(&update.files);
    let vectors = index.vectors(&panel)?;
    let rows: Vec<&[f32]> = (groups.iter())
        .map(|(digest, _)| vectors[digest].as_slice())
        .collect();
    let scores = by_one(&rows, &queries);
    let order = best_first(scores.iter().copied());
    let hits: Vec<(f64, &[&Path])> = (order.into_iter().take(args.top))
        .map(|place| (scores[place], groups[place].1.as_slice()))
        .collect();
    print(args, &hits, &update)?;
    if let Some(path) = &args.sheet {
        let heading: Vec<&str> = queries.labels.iter().map(String::as_str).collect();
        let tiles: Vec<Tile> = (hits.iter())
            .map(|(score, paths)| Tile {
                path: paths[0].to_owned(),
                score: *score,
            })
            .collect();
        sheet::write(path, &heading.join("  +  "), &tiles)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn wanted(args: &SearchArgs) -> Result<Vec<Query>> {
    let mut wanted = vec![];
    if let Some(text) = &args.query {
        if text.trim().is_empty() {
            bail!(Misuse("--query: the text is empty".to_owned()));
        }
        wanted.push(Query::text(text));
    }
    wanted.extend(args.image.as_deref().map(Query::picture));
    Ok(wanted)
}

fn tell(update: &Update) {
    judge::tell(&update.skipped);
    if let Some(why) = &update.unsaved {
        warn(format_args!(
            "what was seen could not be kept, and the next search will look again: {why}"
        ));
    }
}

fn print(args: &SearchArgs, hits: &[(f64, &[&Path])], update: &Update) -> Result<()> {
    if !args.judge.json {
        let mut table = Table::new([("score", Side::Right), ("picture", Side::Left)]);
        for (score, paths) in hits {
            table.row([format!("{score:.4}"), judge::path_cell(paths)]);
        }
        return table.print();
    }
    let mut image = Map::new();
    if let Some(path) = &args.image {
        judge::insert_path(&mut image, "image", path);
    }
    let query = (args.query.as_deref()).or_else(|| image.get("image")?.as_str());
    let report = Report {
        query: query.unwrap_or_default(),
        clip: &args.clip,
        pictures: update.files.len(),
        embedded: update.looked_at,
        results: hits
            .iter()
            .map(|(score, paths)| hit(*score, paths))
            .collect(),
        skipped: &update.skipped,
        image: image.clone(),
    };
    Ok(say(serde_json::to_string(&report)?)?)
}

fn hit(score: f64, paths: &[&Path]) -> Map<String, Value> {
    let mut hit = Map::new();
    judge::insert_path(&mut hit, "path", paths[0]);
    hit.insert("score".to_owned(), json!(score));
    if paths.len() > 1 {
        judge::insert_paths(&mut hit, "duplicates", &paths[1..]);
    }
    hit
}
