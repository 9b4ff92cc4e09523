//! `phantasia embed`

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::slice;
use std::sync::atomic::Ordering;

use anyhow::{Result, bail};
use clap::Args;
use phantasia::clip::EMBEDDED;
use phantasia::embed::{Dtype, Embedded, Embedder};
use phantasia::judge::Ensemble;
use phantasia::names::{insert_path, one_line};
use phantasia::sweep::Shard;
use serde_json::json;

use super::arguments::one_of;
use super::console::{UsageError, counted, eprint_line, print_json, print_line, warn, warn_all};
use super::interrupt::{INTERRUPTED, interrupt};
use super::judge::{self, JudgeArgs};
use super::progress::Progress;

/// Arguments of `embed`.
#[derive(Debug, Args)]
pub struct EmbedArgs {
    /// Pictures, webdatasets (.tar), and folders of both, which are searched with all folders in them
    #[arg(value_name = "DIR|FILE", required_unless_present = "text")]
    inputs: Vec<PathBuf>,
    /// The Parquet file to write; with --shard, I and N are added to its name
    #[arg(long, value_name = "FILE.parquet", default_value = "embeddings.parquet", value_parser = parquet)]
    out: PathBuf,
    /// The CLIP that embeds: embedded or a part of it, a known model or a folder
    #[arg(long, value_name = "MODEL", default_value = EMBEDDED)]
    clip: String,
    /// How the values are stored
    #[arg(long, value_name = "TYPE", default_value = "f16", value_parser = one_of([
        ("f16", "half precision: half the space, and cosines within 0.001", Dtype::F16),
        ("f32", "single precision, as they are computed", Dtype::F32),
    ]))]
    dtype: Dtype,
    /// Embed only the I-th of N equal parts of the pictures, such as 1/4, into a file of its own; by default that of the variables of a Slurm array or an Indexed Job of Kubernetes
    #[arg(long, value_name = "I/N", allow_hyphen_values = true)]
    shard: Option<Shard>,
    /// Embed a text instead, and print its vector as JSON
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with_all = ["inputs", "shard"])]
    text: Option<String>,
    /// What all judges have
    #[command(flatten)]
    judge: JudgeArgs,
}

/// The name of a Parquet file.
fn parquet(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let is_parquet = path
        .extension()
        .is_some_and(|extension| extension == "parquet");
    (is_parquet.then_some(path))
        .ok_or_else(|| "expected the name of a file that ends in .parquet".to_owned())
}

/// Embeds pictures, or a text.
pub fn run(args: &EmbedArgs) -> Result<ExitCode> {
    if args
        .text
        .as_ref()
        .is_some_and(|text| text.trim().is_empty())
    {
        bail!(UsageError("--text: the text is empty".to_owned()));
    }
    // what cannot be looked at is skipped later, with the reason
    let is_missing = |path: &&PathBuf| matches!(path.try_exists(), Ok(false));
    if let Some(missing) = args.inputs.iter().find(is_missing) {
        bail!(UsageError(format!(
            "`{}` does not exist: name pictures, archives or folders that do",
            one_line(missing)
        )));
    }
    // of the flag, or of a scheduler's variables
    let shard = match args.shard {
        Some(shard) => shard,
        None => (Shard::of_environment(|name| std::env::var(name).ok()).map_err(UsageError)?)
            .map_or(Shard::ALL, |(shard, _)| shard),
    };
    let stop = interrupt("picture")?;
    let clips = slice::from_ref(&args.clip);
    let device = args.judge.prepare(clips, &[])?;
    let ensemble = Ensemble::load(clips, args.judge.activation, &device)?
        .with_long_text(|_| args.judge.long_text);
    warn_all(ensemble.warnings());
    if let Some(text) = &args.text {
        return print_text(args, &ensemble, text);
    }
    let embedder = Embedder {
        inputs: args.inputs.clone(),
        out: args.out.clone(),
        clip: args.clip.clone(),
        dtype: args.dtype,
        shard,
    };
    let mut progress = Progress::new("file", 0, args.judge.quiet);
    let embedded = embedder.run(&ensemble, |now| {
        progress.update(now.files, now.of, &counted(now.pictures, "picture"));
        if stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    drop(progress);
    judge::eprint_skipped(&embedded.skipped);
    if embedded.interrupted {
        eprint_line(
            "interrupted; the same command goes on, and does not embed the pictures so far again",
        );
        return Ok(ExitCode::from(INTERRUPTED));
    }
    if embedded.removed > 0 {
        warn(format_args!(
            "{} of pictures that are gone or changed: removed from {}",
            counted(embedded.removed, "row"),
            one_line(&embedded.out)
        ));
    }
    print(args, shard, &embedded)?;
    Ok(ExitCode::from(u8::from(!embedded.skipped.is_empty())))
}

fn print_text(args: &EmbedArgs, ensemble: &Ensemble, text: &str) -> Result<ExitCode> {
    let encoder = &ensemble.encoders()[0];
    let (vector, unread) = encoder.embed_text(text)?;
    warn_all(unread.of_model(encoder.name(), "the text"));
    print_json(
        &json!({ "text": text, "clip": args.clip, "dimension": vector.len(), "vector": vector }),
    )?;
    Ok(ExitCode::SUCCESS)
}

fn print(args: &EmbedArgs, shard: Shard, embedded: &Embedded) -> Result<()> {
    let Embedded {
        out,
        rows,
        dimension,
        ..
    } = embedded;
    if !args.judge.json {
        return Ok(print_line(format_args!(
            "{}  {} of {dimension} values ({}), {} embedded now",
            one_line(out),
            counted(*rows, "row"),
            args.dtype.name(),
            embedded.embedded
        ))?);
    }
    let mut report = json!({});
    insert_path(&mut report, "out", out);
    report["clip"] = json!(args.clip);
    report["dimension"] = json!(dimension);
    report["dtype"] = json!(args.dtype.name());
    report["rows"] = json!(rows);
    report["embedded"] = json!(embedded.embedded);
    report["removed"] = json!(embedded.removed);
    if shard != Shard::ALL {
        report["shard"] = json!(shard.to_string());
    }
    report["skipped"] = json!(embedded.skipped);
    print_json(&report)
}
