//! What the commands that judge pictures have in common.

use std::collections::{HashMap, HashSet};
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use phantasia::rank::Panel;
use phantasia::rank::gallery::{self, Digest, Gallery, Skipped};
use phantasia::weights::{self, ClipChoice, EMBEDDED, EMBEDDED_ACTIVATION};

use super::console::{Misuse, note};
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
    if args.activation.is_some() && clips.iter().all(|name| name == EMBEDDED) {
        bail!(Misuse(format!("--activation: {EMBEDDED_ACTIVATION}")));
    }
    models::need(clips.iter().cloned(), args.yes, args.quiet)?;
    let (device, _) = device::open(args.device)?;
    let load = |name: &String| {
        let choice = ClipChoice {
            activation: args.activation.filter(|_| name != EMBEDDED),
            ..ClipChoice::default()
        };
        let clip = weights::load_as(name, Path::new("."), choice, &device)?;
        Ok(Arc::new(clip))
    };
    let clips = clips.iter().map(load).collect::<Result<_>>()?;
    let panel = Panel::new(clips, &device)?;
    for warning in panel.warnings() {
        note(format_args!("warning: {warning}"));
    }
    Ok(panel)
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
    Ok(gallery)
}

/// Why there is no picture.
pub fn nothing(paths: &[PathBuf], skipped: &[Skipped]) -> String {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    match skipped.len() {
        0 => format!("there are no pictures in {}", names.join(", ")),
        _ => "none of the pictures could be read".to_owned(),
    }
}

/// Names the files that could not be read.
pub fn tell(skipped: &[Skipped]) {
    for Skipped { path, error } in skipped.iter().take(MOST_NAMED) {
        note(format_args!("skipped {}: {error}", path.display()));
    }
    if skipped.len() > MOST_NAMED {
        note(format_args!("skipped {} more", skipped.len() - MOST_NAMED));
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
