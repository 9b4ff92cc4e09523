//! What the commands that judge pictures have in common.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use phantasia::clip::{ClipActivation, ClipChoice};
use phantasia::load::{self, EMBEDDED, EMBEDDED_ACTIVATION};
use phantasia::names::{encoded_if_needed, one_line, percent_encoded};
use phantasia::rank::Panel;
use phantasia::rank::gallery::{self, Digest, Gallery, Skipped};
use serde_json::{Map, Value, json};

use super::console::{Misuse, note, warn};
use super::{device, models};
use crate::cli::JudgeArgs;

/// Without a terminal, a line of progress every so often.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// More files that could not be read are not named one by one.
const MOST_NAMED: usize = 20;

/// Loads the CLIPs.
pub fn panel(clips: &[String], args: &JudgeArgs) -> Result<Panel> {
    let mut known = HashSet::new();
    if let Some(twice) = clips.iter().find(|name| !known.insert(name.as_str())) {
        bail!(Misuse(format!("--clip {twice} is given twice")));
    }
    check_activation(args.activation, clips)?;
    models::need(clips.iter().cloned(), args.yes, args.quiet)?;
    let (device, _) = device::open(args.device)?;
    let load = |name: &String| {
        let choice = ClipChoice {
            activation: args.activation.filter(|_| name != EMBEDDED),
            ..ClipChoice::default()
        };
        let clip = load::load_as(name, Path::new("."), choice, &device)?;
        Ok(Arc::new(clip))
    };
    let clips = clips.iter().map(load).collect::<Result<_>>()?;
    let panel = Panel::new(clips, &device)?;
    for warning in panel.warnings() {
        warn(warning);
    }
    Ok(panel)
}

/// Refuses `--activation` where the embedded CLIP, whose nonlinearity is fixed, is the only judge.
pub fn check_activation(activation: Option<ClipActivation>, clips: &[String]) -> Result<()> {
    if activation.is_some() && clips.iter().all(|name| name == EMBEDDED) {
        bail!(Misuse(format!("--activation: {EMBEDDED_ACTIVATION}")));
    }
    Ok(())
}

/// Looks at all pictures; an error where none can be read.
pub fn look(panel: &Panel, paths: &[PathBuf], quiet: bool) -> Result<Gallery> {
    let (files, skipped) = gallery::walk(paths);
    let mut progress = Progress::new("pictures", quiet);
    let mut gallery = gallery::look(panel, &files, &HashSet::new(), |done| {
        progress.at(done, files.len());
        ControlFlow::Continue(())
    })?;
    progress.clear();
    gallery.skipped.splice(0..0, skipped);
    tell(&gallery.skipped);
    if gallery.files.is_empty() {
        bail!(nothing(paths, &gallery.skipped));
    }
    for folder in paths.iter().filter(|path| path.is_dir()) {
        let read = gallery.files.iter().map(|(path, _)| path);
        let mut all = read.chain(gallery.skipped.iter().map(|skipped| &skipped.path));
        if !all.any(|path| path.starts_with(folder)) {
            note(format_args!(
                "there are no pictures in {}",
                one_line(folder)
            ));
        }
    }
    Ok(gallery)
}

/// Why there is no picture.
pub fn nothing(paths: &[PathBuf], skipped: &[Skipped]) -> String {
    let names: Vec<String> = paths.iter().map(|path| one_line(path)).collect();
    let names = names.join(", ");
    if skipped.is_empty() {
        format!("there are no pictures in {names}")
    } else if skipped.iter().all(|skipped| skipped.format.is_some()) {
        let counts: Vec<String> = (by_format(skipped).iter())
            .map(|(format, files)| format!("{} {format}", files.len()))
            .collect();
        format!(
            "there are no pictures in {names} of a format that is read, only {}: convert to JPEG or PNG",
            counts.join(", ")
        )
    } else {
        "none of the pictures could be read".to_owned()
    }
}

/// Reports the files that could not be read, with a count for each format that is not supported.
pub fn tell(skipped: &[Skipped]) {
    let broken: Vec<&Skipped> = (skipped.iter())
        .filter(|skipped| skipped.format.is_none())
        .collect();
    for Skipped { path, error, .. } in broken.iter().take(MOST_NAMED) {
        note(format_args!("skipped {}: {error}", one_line(path)));
    }
    if broken.len() > MOST_NAMED {
        note(format_args!("skipped {} more", broken.len() - MOST_NAMED));
    }
    for (format, files) in by_format(skipped) {
        let first = one_line(&files[0].path);
        match files.len() {
            1 => note(format_args!("skipped {first}: {}", files[0].error)),
            count => note(format_args!(
                "skipped {count} files of the format {format}, which is not read, such as {first}: convert to JPEG or PNG"
            )),
        }
    }
}

/// The files of unsupported formats, by the format's name.
fn by_format(skipped: &[Skipped]) -> BTreeMap<&'static str, Vec<&Skipped>> {
    let mut formats: BTreeMap<_, Vec<&Skipped>> = BTreeMap::new();
    for skipped in skipped {
        if let Some(format) = skipped.format {
            formats.entry(format).or_default().push(skipped);
        }
    }
    formats
}

/// The exit code of a command that was given `paths`: a failure if one of these files could not be read. Unreadable files inside a folder
/// are not a failure.
pub fn exit_code(paths: &[PathBuf], skipped: &[Skipped]) -> ExitCode {
    if (skipped.iter()).any(|skipped| paths.contains(&skipped.path)) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Inserts a path into a JSON object: as text under `name`, and if it is not UTF-8, also its percent-encoded bytes under `name_encoded`.
pub fn insert_path(object: &mut Map<String, Value>, name: &str, path: &Path) {
    object.insert(name.to_owned(), json!(path.to_string_lossy()));
    if let Some(encoded) = encoded_if_needed(path) {
        object.insert(format!("{name}_encoded"), json!(encoded));
    }
}

/// Inserts paths likewise, as arrays; if one of them is not UTF-8, `name_encoded` holds all of them.
pub fn insert_paths(object: &mut Map<String, Value>, name: &str, paths: &[&Path]) {
    let texts: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
    object.insert(name.to_owned(), json!(texts));
    if paths.iter().any(|path| path.to_str().is_none()) {
        let encoded: Vec<String> = paths.iter().map(|path| percent_encoded(path)).collect();
        object.insert(format!("{name}_encoded"), json!(encoded));
    }
}

/// The cell of a table for files of the same content: the first path, and how many others there are.
pub fn path_cell(paths: &[&Path]) -> String {
    let first = one_line(paths[0]);
    match paths.len() {
        1 => first,
        more => format!("{first}  (and {} of the same content)", more - 1),
    }
}

/// Files that were read, those of the same content together, in the order of the first of each.
pub fn together(files: &[(PathBuf, Digest)]) -> Vec<(Digest, Vec<&Path>)> {
    let mut places = HashMap::new();
    let mut groups: Vec<(Digest, Vec<&Path>)> = vec![];
    for (path, digest) in files {
        let place = *places.entry(*digest).or_insert_with(|| {
            groups.push((*digest, vec![]));
            groups.len() - 1
        });
        groups[place].1.push(path);
    }
    groups
}

/// Progress on standard error: a bar on a terminal, else a line now and then.
pub enum Progress {
    /// None.
    Hidden,
    /// A bar.
    Bar(ProgressBar),
    /// Lines.
    Lines {
        /// What is counted.
        what: &'static str,
        /// When the work began.
        start: Instant,
        /// When the last line was printed.
        last: Instant,
    },
}

impl Progress {
    /// `what` is counted.
    pub fn new(what: &'static str, quiet: bool) -> Self {
        if quiet {
            return Self::Hidden;
        }
        if !std::io::stderr().is_terminal() {
            let now = Instant::now();
            return Self::Lines {
                what,
                start: now,
                last: now,
            };
        }
        let bar = ProgressBar::no_length();
        let template = "{bar:30} {pos}/{len} {msg}  {per_sec}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self::Bar(bar)
    }

    /// So many are done.
    pub fn at(&mut self, done: usize, total: usize) {
        match self {
            Self::Hidden => {}
            Self::Bar(bar) => {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            }
            Self::Lines { what, start, last } => {
                if last.elapsed() >= LINE_EVERY && done > 0 {
                    *last = Instant::now();
                    let each = start.elapsed().as_secs_f64() / done as f64;
                    let left = each * total.saturating_sub(done) as f64;
                    note(format_args!("{done} of {total} {what}, {left:.0} s left"));
                }
            }
        }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
