//! `phantasia search`

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::slice;
use std::sync::atomic::Ordering;

use anyhow::{Result, bail};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Error};
use phantasia::clip::EMBEDDED;
use phantasia::embed::{EmbeddingIndex, Hit, MANY};
use phantasia::judge::sheet::{self, Tile};
use phantasia::judge::{
    EncodedQueries, Ensemble, Index, PictureResult, Query, Update, no_pictures,
};
use phantasia::names::{insert_path, one_line};
use serde_json::{Value, json};

use super::arguments::{positive, sheet};
use super::console::{UsageError, counted, eprint_line, print_json, warn, warn_all};
use super::interrupt::{INTERRUPTED, interrupt};
use super::judge::{self, JudgeArgs};
use super::progress::Progress;
use super::table::{Side, Table};

/// Arguments of `search`.
#[derive(Debug, Args)]
#[group(id = "wanted", required = true, multiple = true, args = ["query", "image", "index"])]
pub struct SearchArgs {
    /// What the pictures should show
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    query: Option<String>,
    /// A picture that they should be like; with --query, both count
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// The CLIP that compares: embedded or a part of it, a known model or a folder; with --index, by default that of the embeddings [default: embedded]
    #[arg(long, value_name = "MODEL")]
    clip: Option<String>,
    /// Search a file that `embed` wrote, or all of a folder or a pattern, instead of pictures; then the argument is the text
    #[arg(long, value_name = "FILE.parquet|DIR")]
    index: Option<PathBuf>,
    /// Show only the best K pictures
    #[arg(long, value_name = "K", default_value_t = 20, allow_negative_numbers = true, value_parser = positive)]
    top: usize,
    /// Write a contact sheet of the results: .png or .html
    #[arg(long, value_name = "FILE.png|.html", value_parser = sheet)]
    sheet: Option<PathBuf>,
    /// What all judges have
    #[command(flatten)]
    judge: JudgeArgs,
    /// The folder, which is searched with all folders in it; with --index, what the pictures should show
    #[arg(value_name = "DIR|TEXT", required_unless_present = "index")]
    folder: Option<PathBuf>,
}

/// Says of `search DIR TEXT`, which clap refuses, how a text is given.
pub fn explain(error: &mut Error) {
    let is_text = matches!(
        error.get(ContextKind::InvalidArg),
        Some(ContextValue::String(argument)) if !argument.starts_with('-')
    );
    let is_search = std::env::args_os()
        .nth(1)
        .is_some_and(|name| name == "search");
    if error.kind() == ErrorKind::UnknownArgument && is_text && is_search {
        let tip = "a text is given with --query: search DIR --query TEXT";
        error.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(vec![tip.into()]),
        );
    }
}

/// Searches a folder, or files of embeddings.
pub fn run(args: &SearchArgs) -> Result<ExitCode> {
    if let Some(index) = &args.index {
        return run_index(args, index);
    }
    let Some(folder) = &args.folder else {
        bail!(UsageError("name the folder to search".to_owned()));
    };
    if !folder.is_dir() {
        let folder = folder.display();
        bail!(UsageError(format!("{folder} is not a folder")));
    }
    let stop = interrupt("picture")?;
    let clip = args.clip.as_deref().unwrap_or(EMBEDDED);
    let (ensemble, queries) = encode(args, args.query.as_deref(), clip)?;
    let mut index = Index::open(folder);
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
        bail!(no_pictures(slice::from_ref(folder), &update.skipped));
    }
    let mut hits = index.search(&ensemble, &queries, &update)?;
    hits.truncate(args.top);
    print(args, clip, &hits, &update)?;
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

/// Loads the CLIP and encodes what is looked for.
fn encode(args: &SearchArgs, text: Option<&str>, clip: &str) -> Result<(Ensemble, EncodedQueries)> {
    if text.is_some_and(|text| text.trim().is_empty()) {
        bail!(UsageError("--query: the text is empty".to_owned()));
    }
    let queries: Vec<Query> = (text.map(Query::text).into_iter())
        .chain(args.image.as_deref().map(Query::picture))
        .collect();
    let clips = [clip.to_owned()];
    let device = args.judge.prepare(&clips, &[])?;
    let ensemble = Ensemble::load(&clips, args.judge.activation, &device)?
        .with_long_text(|_| args.judge.long_text);
    warn_all(ensemble.warnings());
    let queries = EncodedQueries::new(&ensemble, &queries)?;
    warn_all(&queries.warnings);
    Ok((ensemble, queries))
}

/// Searches files of embeddings.
fn run_index(args: &SearchArgs, path: &Path) -> Result<ExitCode> {
    let argument = args.folder.as_ref().map(|text| text.to_string_lossy());
    let text = match (&args.query, &argument) {
        (Some(_), Some(argument)) => bail!(UsageError(format!(
            "with --index, `{argument}` is a text to look for, as --query is: give one of them"
        ))),
        (Some(text), None) => Some(text.as_str()),
        (None, argument) => argument.as_deref(),
    };
    if text.is_none() && args.image.is_none() {
        bail!(UsageError(
            "say what the pictures should show: search --index FILE \"a red apple\"".to_owned()
        ));
    }
    let index = EmbeddingIndex::open(path)?;
    warn_all(&index.warnings);
    let clip = args.clip.as_deref().or(index.clip()).unwrap_or(EMBEDDED);
    if args.clip.is_none() && index.clip().is_none() {
        warn(format_args!(
            "{} does not say which CLIP its embeddings are of; {EMBEDDED} is assumed (change it with --clip)",
            path.display()
        ));
    }
    index.check_name(clip)?;
    let (ensemble, queries) = encode(args, text, clip)?;
    index.check(&ensemble, clip)?;
    let hits = index.search(&queries, args.top)?;
    print_index(args, text, clip, &index, &hits)?;
    if index.rows() > MANY {
        eprint_line(format_args!(
            "{} rows were compared one by one; an approximate index answers sooner, such as that of LanceDB, in Python:",
            index.rows()
        ));
        LANCEDB.iter().for_each(eprint_line);
    }
    if let Some(path) = &args.sheet {
        let files: Vec<&Hit> = hits.iter().filter(|hit| hit.key.is_none()).collect();
        if files.len() < hits.len() {
            warn("pictures in archives are not on the sheet");
        }
        let found: Vec<Option<PathBuf>> = files.iter().map(|hit| hit.find()).collect();
        if let Some(first) = found.iter().position(Option::is_none) {
            warn(format_args!(
                "{} of {} on the sheet {} not found, such as {}: search in the folder in which `embed` was run, or embed the pictures by their \
                 absolute paths",
                found.iter().filter(|path| path.is_none()).count(),
                counted(files.len(), "picture"),
                if files.len() == 1 { "is" } else { "are" },
                one_line(&files[first].path()),
            ));
        }
        let tiles: Vec<Tile> = (files.iter().zip(found))
            .map(|(hit, path)| Tile {
                path: path.unwrap_or_else(|| hit.path()),
                score: hit.score,
            })
            .collect();
        sheet::write(path, &queries.labels.join("  +  "), &tiles)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How LanceDB makes an index of a file of embeddings, and searches it.
const LANCEDB: [&str; 3] = [
    r#"  table = lancedb.connect("lance").create_table("pictures", pyarrow.parquet.read_table("embeddings.parquet"))"#,
    r#"  table.create_index("image_embedding", config=lancedb.index.IvfPq(distance_type="cosine"))"#,
    r#"  table.search(json.loads(subprocess.check_output(["phantasia", "embed", "--text", "a red apple"]))["vector"]).distance_type("cosine").refine_factor(10).to_pandas()"#,
];

fn print_index(
    args: &SearchArgs,
    text: Option<&str>,
    clip: &str,
    index: &EmbeddingIndex,
    hits: &[Hit],
) -> Result<()> {
    if !args.judge.json {
        let mut table = Table::new([("score", Side::Right), ("picture", Side::Left)]);
        for hit in hits {
            let path = one_line(&hit.path());
            let picture = match &hit.key {
                Some(key) => format!("{path}: {key}"),
                None => path,
            };
            table.row([format!("{:.4}", hit.score), picture]);
        }
        return table.print();
    }
    let mut report = report(args, text);
    let result = |hit: &Hit| {
        let mut result = json!({ "path": hit.image_path });
        for (name, value) in [
            ("path_encoded", &hit.image_path_encoded),
            ("key", &hit.key),
            ("caption", &hit.caption),
        ] {
            if let Some(value) = value {
                result[name] = json!(value);
            }
        }
        result["score"] = json!(hit.score);
        result
    };
    report["clip"] = json!(clip);
    report["pictures"] = json!(index.rows());
    report["results"] = hits.iter().map(result).collect();
    print_json(&report)
}

/// A report that says what was looked for.
fn report(args: &SearchArgs, text: Option<&str>) -> Value {
    let mut report = json!({ "query": text });
    if let Some(path) = &args.image {
        insert_path(&mut report, "image", path);
        if text.is_none() {
            report["query"] = report["image"].clone();
        }
    }
    report
}

fn print(
    args: &SearchArgs,
    clip: &str,
    hits: &[PictureResult<f64>],
    update: &Update,
) -> Result<()> {
    if !args.judge.json {
        let mut table = Table::new([("score", Side::Right), ("picture", Side::Left)]);
        for hit in hits {
            table.row([format!("{:.4}", hit.result), judge::path_cell(&hit.paths)]);
        }
        return table.print();
    }
    let mut report = report(args, args.query.as_deref());
    let result = |hit: &PictureResult<f64>| {
        let mut result = judge::path_object(&hit.paths);
        result["score"] = json!(hit.result);
        judge::insert_duplicates(&mut result, &hit.paths);
        result
    };
    report["clip"] = json!(clip);
    report["pictures"] = json!(update.files.len());
    report["embedded"] = json!(update.embedded);
    report["results"] = hits.iter().map(result).collect();
    report["skipped"] = json!(update.skipped);
    print_json(&report)
}
