//! `phantasia search`

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::slice;
use std::sync::atomic::Ordering;

use anyhow::{Result, bail};
use clap::Args;
use phantasia::clip::EMBEDDED;
use phantasia::judge::sheet::{self, Tile};
use phantasia::judge::{
    EncodedQueries, Ensemble, Index, PictureResult, Query, Update, no_pictures,
};
use phantasia::names::insert_path;
use serde_json::json;

use super::arguments::{positive, sheet};
use super::console::{UsageError, eprint_line, print_json, warn, warn_all};
use super::interrupt::{INTERRUPTED, interrupt};
use super::judge::{self, JudgeArgs};
use super::progress::Progress;
use super::table::{Side, Table};

/// Arguments of `search`.
#[derive(Debug, Args)]
#[group(id = "wanted", required = true, multiple = true, args = ["query", "image"])]
pub struct SearchArgs {
    /// What the pictures should show
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    query: Option<String>,
    /// A picture that they should be like; with --query, both count
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// The CLIP that compares: embedded or a part of it, a known model or a folder
    #[arg(long, value_name = "MODEL", default_value = EMBEDDED)]
    clip: String,
    /// Show only the best K pictures
    #[arg(long, value_name = "K", default_value_t = 20, allow_negative_numbers = true, value_parser = positive)]
    top: usize,
    /// Write a contact sheet of the results: .png or .html
    #[arg(long, value_name = "FILE.png|.html", value_parser = sheet)]
    sheet: Option<PathBuf>,
    /// What all judges have
    #[command(flatten)]
    judge: JudgeArgs,
    /// The folder, which is searched with all folders in it
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Searches a folder.
pub fn run(args: &SearchArgs) -> Result<ExitCode> {
    if !args.folder.is_dir() {
        let folder = args.folder.display();
        bail!(UsageError(format!("{folder} is not a folder")));
    }
    if (args.query.as_ref()).is_some_and(|text| text.trim().is_empty()) {
        bail!(UsageError("--query: the text is empty".to_owned()));
    }
    let queries: Vec<Query> = (args.query.as_deref().map(Query::text).into_iter())
        .chain(args.image.as_deref().map(Query::picture))
        .collect();
    let stop = interrupt("picture")?;
    let clips = slice::from_ref(&args.clip);
    let device = args.judge.prepare(clips, &[])?;
    let ensemble = Ensemble::load(clips, args.judge.activation, &device)?
        .with_long_text(|_| args.judge.long_text);
    warn_all(ensemble.warnings());
    let queries = EncodedQueries::new(&ensemble, &queries)?;
    warn_all(&queries.warnings);
    let mut index = Index::open(&args.folder);
    warn_all(&index.warning);
    let mut progress = Progress::callback("picture", args.judge.quiet);
    let update = index.update(&ensemble, |done, total| {
        progress(done, total);
        if stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    drop(progress);
    judge::eprint_skipped(&update.skipped);
    if let Some(why) = &update.unsaved {
        warn(format_args!(
            "the index could not be written, so that the next search will embed these pictures again: {why}"
        ));
    }
    if update.interrupted {
        eprint_line("interrupted; the next search will not embed the pictures so far again");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if update.files.is_empty() {
        bail!(no_pictures(slice::from_ref(&args.folder), &update.skipped));
    }
    let mut hits = index.search(&ensemble, &queries, &update)?;
    hits.truncate(args.top);
    print(args, &hits, &update)?;
    if let Some(path) = &args.sheet {
        let tiles: Vec<Tile> = (hits.into_iter())
            .map(|mut hit| Tile {
                path: hit.paths.swap_remove(0),
                score: hit.result,
            })
            .collect();
        sheet::write(path, &queries.labels.join("  +  "), &tiles)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(args: &SearchArgs, hits: &[PictureResult<f64>], update: &Update) -> Result<()> {
    if !args.judge.json {
        let mut table = Table::new([("score", Side::Right), ("picture", Side::Left)]);
        for hit in hits {
            table.row([format!("{:.4}", hit.result), judge::path_cell(&hit.paths)]);
        }
        return table.print();
    }
    let mut report = json!({ "query": args.query });
    if let Some(path) = &args.image {
        insert_path(&mut report, "image", path);
        if args.query.is_none() {
            report["query"] = report["image"].clone();
        }
    }
    let result = |hit: &PictureResult<f64>| {
        let mut result = judge::path_object(&hit.paths);
        result["score"] = json!(hit.result);
        judge::insert_duplicates(&mut result, &hit.paths);
        result
    };
    report["clip"] = json!(args.clip);
    report["pictures"] = json!(update.files.len());
    report["embedded"] = json!(update.embedded);
    report["results"] = hits.iter().map(result).collect();
    report["skipped"] = json!(update.skipped);
    print_json(&report)
}
