//! What the commands that judge pictures have in common.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use candle_core::Device;
use clap::Args;
use phantasia::clip::{ClipActivation, EMBEDDED_ACTIVATION, LongText, is_embedded};
use phantasia::judge::{Results, Skipped, no_pictures, unsupported};
use phantasia::names::{insert_path, one_line, percent_encoded};
use serde_json::{Value, json};

use super::arguments::ModelArgs;
use super::console::{UsageError, eprint_line};
use super::models;

/// More files that could not be read are not named one by one.
const MOST_NAMED: usize = 20;

/// Arguments of every command that judges pictures.
#[derive(Debug, Args)]
pub struct JudgeArgs {
    /// Models
    #[command(flatten)]
    pub models: ModelArgs,
    /// Activation function of every CLIP except the embedded ones, quick_gelu or gelu, overriding its files
    #[arg(long, value_name = "NAME")]
    pub activation: Option<ClipActivation>,
    /// How texts that are longer than a CLIP's context are read: truncate, or average, the mean of the embeddings of their parts
    #[arg(long, value_name = "HOW", default_value = "truncate")]
    pub long_text: LongText,
    /// Print one JSON object on standard output
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(long)]
    pub quiet: bool,
}

impl JudgeArgs {
    /// Opens the device, after checking that these CLIPs can be loaded, and `others`, models of other kinds.
    pub fn prepare(&self, clips: &[String], others: &[String]) -> Result<Device> {
        let mut known = HashSet::new();
        if let Some(twice) = clips.iter().find(|name| !known.insert(name.as_str())) {
            bail!(UsageError(format!("--clip {twice} is given twice")));
        }
        check_activation(self.activation, clips)?;
        models::check_clips(clips)?;
        let names = others.iter().chain(clips).cloned();
        models::ensure(names, self.models.yes, self.quiet)?;
        Ok(self.models.device.open()?.0)
    }
}

/// Refuses `--activation` where the embedded CLIP, whose nonlinearity is fixed, is the only one.
pub fn check_activation(activation: Option<ClipActivation>, clips: &[String]) -> Result<()> {
    if activation.is_some() && clips.iter().all(|name| is_embedded(name)) {
        bail!(UsageError(format!("--activation: {EMBEDDED_ACTIVATION}")));
    }
    Ok(())
}

/// Reports the files that could not be read, and folders without pictures.
///
/// # Errors
/// Where no picture could be read.
pub fn report_skipped<T>(paths: &[PathBuf], results: &Results<T>) -> Result<()> {
    let Results { pictures, skipped } = results;
    eprint_skipped(skipped);
    if pictures.is_empty() {
        bail!(no_pictures(paths, skipped));
    }
    for folder in paths.iter().filter(|path| path.is_dir()) {
        let mut all = (pictures.iter().flat_map(|picture| &picture.paths))
            .chain(skipped.iter().map(|skipped| &skipped.path));
        if !all.any(|path| path.starts_with(folder)) {
            let folder = one_line(folder);
            eprint_line(format_args!("there are no pictures in {folder}"));
        }
    }
    Ok(())
}

/// Reports the files that could not be read, those of unsupported formats by their number.
pub fn eprint_skipped(skipped: &[Skipped]) {
    let broken: Vec<&Skipped> = (skipped.iter())
        .filter(|skipped| skipped.format.is_none())
        .collect();
    for Skipped { path, error, .. } in broken.iter().take(MOST_NAMED) {
        eprint_line(format_args!("skipped {}: {error}", one_line(path)));
    }
    if broken.len() > MOST_NAMED {
        eprint_line(format_args!("skipped {} more", broken.len() - MOST_NAMED));
    }
    for (format, files) in unsupported(skipped) {
        let first = one_line(&files[0].path);
        match files.len() {
            1 => eprint_line(format_args!("skipped {first}: {}", files[0].error)),
            count => eprint_line(format_args!(
                "skipped {count} files of the format {format}, which is not read, such as {first}: convert to JPEG or PNG"
            )),
        }
    }
}

/// The exit code of a command that was given `paths`: a failure if one of these files could not be read. Unreadable files inside a folder
/// are not a failure.
pub fn exit_code<T>(paths: &[PathBuf], results: &Results<T>) -> ExitCode {
    let failed = (results.skipped.iter()).any(|skipped| paths.contains(&skipped.path));
    ExitCode::from(u8::from(failed))
}

/// The path of a picture as a JSON object, see [`insert_path`].
pub fn path_object(paths: &[PathBuf]) -> Value {
    let mut object = json!({});
    insert_path(&mut object, "path", &paths[0]);
    object
}

/// Inserts the paths after the first, which are its duplicates, if there are any; if one of them is not UTF-8,
/// `duplicates_encoded` holds all of them.
pub fn insert_duplicates(object: &mut Value, paths: &[PathBuf]) {
    let paths = &paths[1..];
    if paths.is_empty() {
        return;
    }
    object["duplicates"] = paths.iter().map(|path| path.to_string_lossy()).collect();
    if paths.iter().any(|path| path.to_str().is_none()) {
        object["duplicates_encoded"] = paths.iter().map(|path| percent_encoded(path)).collect();
    }
}

/// The cell of a table for files of the same content: the first path, and how many others there are.
pub fn path_cell(paths: &[PathBuf]) -> String {
    let first = one_line(&paths[0]);
    match paths.len() {
        1 => first,
        count => format!("{first}  (and {} of the same content)", count - 1),
    }
}
