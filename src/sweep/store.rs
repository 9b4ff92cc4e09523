//! The folder that the processes of a sweep share. Where runs, failures and scores lie is known here alone.
//!
//! | path | content |
//! | --- | --- |
//! | `plan.csv` | the runs, with their names and values |
//! | `runs/NAME/` | the run folders of whole runs, each with `result.json` |
//! | `runs/.NAME.*.partial/` | runs that are being painted, or that a killed process left |
//! | `failed/NAME.txt` | why a run failed |
//! | `scores/NAME.json` | what judges say of a run's picture |
//!
//! Nothing here depends on clocks, or on which process is faster: a folder is renamed to its place when it is whole, and stays as it is.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::csv;
use super::plan::{Plan, hash_of};
use crate::files::{CREATE_FOLDER, failed, write_whole};
use crate::run::{FolderLock, IMAGE, Outcome, RECIPE, RunFolder};

const RUNS: &str = "runs";
const FAILED: &str = "failed";
const SCORES: &str = "scores";
const PLAN: &str = "plan.csv";
const RESULT: &str = "result.json";

/// What a whole run says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Its seed.
    pub seed: u64,
    /// Steps done.
    pub steps: usize,
    /// How long they took, loading not included.
    pub seconds: f64,
    /// The loss at the last step.
    pub loss: f64,
    /// The mean cosine of the cutouts to each prompt at the last step, by the prompt's label.
    pub similarity: BTreeMap<String, f64>,
    /// The picture's contrast, see [`Outcome::contrast`].
    pub contrast: f64,
    /// A warning that the picture is nearly one even colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

impl Finished {
    pub(super) fn of(outcome: &Outcome) -> Self {
        Self {
            seed: outcome.seed,
            steps: outcome.steps,
            seconds: outcome.seconds,
            loss: outcome.loss,
            similarity: outcome.similarity.clone(),
            contrast: outcome.contrast,
            warning: outcome.warning.clone(),
        }
    }
}

/// What runs cost, from those that are whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// How many were measured.
    pub runs: usize,
    /// Seconds a step, their mean.
    pub step: f64,
    /// Bytes a run, their mean.
    pub bytes: f64,
}

/// A sweep's folder.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens a sweep's folder, and makes it where there is none; writes its plan, so that a folder that cannot be written to is found before the
    /// work.
    ///
    /// # Errors
    /// When it cannot be written to.
    pub fn open(root: &Path, plan: &Plan) -> Result<Self> {
        let store = Self::at(root);
        for folder in [RUNS, FAILED, SCORES] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(failed(CREATE_FOLDER, &path))?;
        }
        let columns = plan.columns().iter().map(String::as_str);
        let mut text = csv::line(["run", "name"].into_iter().chain(columns));
        for run in plan.runs() {
            let number = run.number.to_string();
            let values = run.values.iter().map(String::as_str);
            text += &csv::line([number.as_str(), &run.name].into_iter().chain(values));
        }
        store.write(PLAN, text.as_bytes())?;
        Ok(store)
    }

    /// A sweep's folder as it is, to be read.
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a file of the sweep, which is whole or absent.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.root.join(name);
        write_whole(&path, true, |file| file.write_all(bytes))?;
        Ok(path)
    }

    /// The names of the whole runs, by the hash of their recipe: a sweep that has grown has other numbers, and what was painted before counts.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn whole(&self) -> Result<HashMap<String, String>> {
        let path = self.root.join(RUNS);
        let mut whole: HashMap<String, String> = HashMap::new();
        for entry in fs::read_dir(&path).map_err(failed("look into", &path))? {
            let name = entry.map_err(failed("look into", &path))?.file_name();
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else {
                continue;
            };
            // of two of the same recipe always the same
            let known = whole
                .entry(hash_of(name).to_owned())
                .or_insert_with(|| name.to_owned());
            if *name < **known {
                *known = name.to_owned();
            }
        }
        whole.remove("");
        Ok(whole)
    }

    /// The folder of a whole run.
    pub fn run(&self, name: &str) -> PathBuf {
        self.root.join(RUNS).join(name)
    }

    /// The picture of a whole run, from the sweep's folder.
    pub fn picture(&self, name: &str) -> PathBuf {
        Path::new(RUNS).join(name).join(IMAGE)
    }

    pub(super) fn is_whole(&self, name: &str) -> bool {
        self.run(name).is_dir()
    }

    /// What a whole run says of itself.
    pub fn finished(&self, name: &str) -> Option<Finished> {
        read_json(&self.run(name).join(RESULT)).ok()
    }

    /// A folder beside a run's place, which no other process uses.
    pub(super) fn begin(&self, name: &str) -> Result<RunFolder> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let process = std::process::id();
        let mut attempts = 1000;
        loop {
            // processes of other machines may have the same number
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = self.run(&format!(".{name}.{process}-{count}.partial"));
            match RunFolder::create_at(&path) {
                Err(error) if path.is_dir() && attempts > 0 => {
                    drop(error);
                    attempts -= 1;
                }
                made => return Ok(made?),
            }
        }
    }

    /// Puts a run in its place, and says whether it was the first: another process may have painted the same one.
    pub(super) fn put(&self, partial: &Path, name: &str, finished: &Finished) -> Result<bool> {
        let text = serde_json::to_vec_pretty(finished)?;
        write_whole(&partial.join(RESULT), true, |file| file.write_all(&text))?;
        let place = self.run(name);
        match fs::rename(partial, &place) {
            Ok(()) => {
                self.forget_failure(name);
                Ok(true)
            }
            // a folder replaces only an empty one
            Err(_) if place.is_dir() => {
                let _ = fs::remove_dir_all(partial);
                Ok(false)
            }
            Err(error) => Err(failed("put in place", &place)(error).into()),
        }
    }

    /// Notes why a run failed, to be read by the process that makes the table.
    pub(super) fn note_failure(&self, name: &str, why: &str) -> Result<()> {
        self.write(&format!("{FAILED}/{name}.txt"), why.as_bytes())
            .map(drop)
    }

    /// Removes what is noted about a run that is painted again.
    pub(super) fn forget_failure(&self, name: &str) {
        // one that stays is not read where the run is whole
        let _ = fs::remove_file(self.root.join(FAILED).join(format!("{name}.txt")));
    }

    /// Why a run failed, where it did.
    pub fn failure(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.root.join(FAILED).join(format!("{name}.txt"))).ok()
    }

    /// What judges say of a whole run's picture, by their names.
    pub fn scores(&self, name: &str) -> BTreeMap<String, f64> {
        read_json(&self.root.join(SCORES).join(format!("{name}.json"))).unwrap_or_default()
    }

    pub(super) fn write_scores(&self, name: &str, scores: &BTreeMap<String, f64>) -> Result<()> {
        let text = serde_json::to_vec_pretty(scores)?;
        self.write(&format!("{SCORES}/{name}.json"), &text)
            .map(drop)
    }

    /// Removes the folders of runs that killed processes left: of these runs, and only what no process holds any more.
    pub(super) fn clean<'n>(&self, names: impl Iterator<Item = &'n str>) {
        let names: std::collections::HashSet<&str> = names.collect();
        for (name, path) in self.partials() {
            // one without a recipe may not be locked yet
            let is_begun = names.contains(name.as_str()) && path.join(RECIPE).is_file();
            if is_begun && let Ok(lock) = FolderLock::take(&path) {
                // whatever stays does no harm
                let _ = fs::remove_dir_all(&path);
                drop(lock);
            }
        }
    }

    /// Removes the folders of all runs that are not whole: for when there is nothing left to paint.
    pub(super) fn clean_all(&self) {
        for (_, path) in self.partials() {
            let _ = fs::remove_dir_all(path);
        }
    }

    /// The folders of runs that are not whole, each with its run's name.
    fn partials(&self) -> Vec<(String, PathBuf)> {
        let entries = fs::read_dir(self.root.join(RUNS))
            .into_iter()
            .flatten()
            .flatten();
        let partials = entries.filter_map(|entry| {
            let name = entry.file_name();
            let name = name.to_str()?.strip_prefix('.')?.strip_suffix(".partial")?;
            let (name, _) = name.rsplit_once('.')?;
            Some((name.to_owned(), entry.path()))
        });
        partials.collect()
    }

    /// What the whole runs cost, from some of them; none where there is none.
    pub fn estimate<'n>(&self, whole: impl Iterator<Item = &'n str>) -> Option<Estimate> {
        const MOST: usize = 16;
        let (mut runs, mut steps, mut seconds, mut bytes) = (0, 0, 0.0, 0);
        for name in whole.take(MOST) {
            if let Some(finished) = self.finished(name) {
                runs += 1;
                steps += finished.steps;
                seconds += finished.seconds;
                bytes += size_of(&self.run(name));
            }
        }
        let step = if steps > 0 {
            seconds / steps as f64
        } else {
            0.0
        };
        (runs > 0).then(|| Estimate {
            runs,
            step,
            bytes: bytes as f64 / runs as f64,
        })
    }
}

/// The bytes of a folder's files.
pub(super) fn size_of(folder: &Path) -> u64 {
    let files = WalkDir::new(folder).into_iter().flatten();
    files
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|about| about.len())
        .sum()
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path)?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))
}

/// Whether an error is that a file or folder has gone.
pub(super) fn is_gone(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().map(io::Error::kind)
    };
    error
        .chain()
        .any(|cause| kind(cause) == Some(ErrorKind::NotFound))
}
