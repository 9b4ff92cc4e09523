//! What the processes of a sweep share, a folder or a prefix of an object store. Where runs, failures and scores lie is known here alone.
//!
//! | path | content |
//! | --- | --- |
//! | `plan.csv` | the runs, with their names and values |
//! | `runs/NAME/` | the run folders of whole runs, each with `result.json` |
//! | `runs/.NAME.*.partial/` | runs that are being painted, or that were stopped; in a temporary folder where there is an object store |
//! | `failed/NAME.txt` | why a run failed |
//! | `scores/NAME.json` | what judges say of a run's picture |
//!
//! Nothing here depends on clocks, or on which process is faster: a run is put in its place when it is whole, and stays as it is.

mod folder;
#[cfg(feature = "cloud")]
mod object;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use image::RgbImage;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::folder::Folder;
pub(super) use self::folder::size_of;
use super::csv;
use super::layout::{FAILED, PLAN, PLAN_COLUMNS, RESULT, RUNS, SCORES};
use super::plan::{Plan, PlannedRun, hash_of};
use crate::files::write_whole;
use crate::picture;
use crate::run::{CHECKPOINT, FolderLock, IMAGE, Outcome, RECIPE, RunFolder};

/// Where the files of a sweep lie. Their names start from there and are written with `/`.
trait Place: Debug + Send + Sync {
    /// What the user calls a file of it, or itself where the name is empty.
    fn location(&self, name: &str) -> String;
    /// Whether it is there.
    fn exists(&self) -> Result<bool>;
    /// Makes what is needed before anything is written.
    fn prepare(&self) -> Result<()>;
    /// Writes a file, which is whole or absent.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()>;
    /// Reads a file; none where it is absent.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>>;
    /// Reads files, several at once where that is faster.
    fn read_all(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>>;
    /// Removes a file.
    fn remove(&self, name: &str) -> Result<()>;
    /// The names of the files in a folder.
    fn files(&self, folder: &str) -> Result<Vec<String>>;
    /// The names of the runs that are in their place.
    fn placed(&self) -> Result<Vec<String>>;
    /// Whether a run that is in its place lacks something.
    fn is_damaged(&self, _run: &str) -> bool {
        false
    }
    /// Whether a run is whole.
    fn is_whole(&self, run: &str) -> Result<bool>;
    /// What whole runs say of themselves; nothing where a file is damaged.
    fn results(&self, runs: &[String]) -> Result<Vec<Option<Finished>>>;
    /// Makes a folder to paint a run in on that kind of device, which no other process uses.
    fn begin(&self, run: &str, device: &str) -> Result<RunFolder>;
    /// Takes over the folder of a run that was stopped; none where a process still has it, or may have it.
    fn take_over(&self, partial: &Partial) -> Option<RunFolder>;
    /// Puts a run in its place, with all that is in its folder. False where another process was first.
    fn put(&self, partial: &Path, run: &str) -> Result<bool>;
    /// The folders of runs that are not whole.
    fn partials(&self) -> Vec<Partial>;
    /// The bytes of a whole run.
    fn size(&self, run: &str) -> Result<u64>;
}

/// The folder of a run that is not whole.
#[derive(Clone, Debug)]
pub(super) struct Partial {
    /// The run's name.
    pub run: String,
    /// The kind of the device that it is painted on.
    pub device: String,
    pub path: PathBuf,
}

impl Partial {
    /// Whether there is something to continue from.
    fn has_checkpoint(&self) -> bool {
        self.path.join(CHECKPOINT).is_file() && self.path.join(RECIPE).is_file()
    }
}

/// What a whole run says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Its seed.
    pub seed: u64,
    /// Steps done.
    pub steps: usize,
    /// How many of them were done before it was stopped and continued.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub steps_before: usize,
    /// How long the others took, loading not included.
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

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Finished {
    /// Of a run that began, or was continued, after that many steps.
    pub(super) fn of(outcome: &Outcome, steps_before: usize) -> Self {
        Self {
            seed: outcome.seed,
            steps: outcome.steps,
            steps_before,
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

/// The results of a sweep: a folder, or a prefix of an object store.
#[derive(Debug)]
pub struct Store {
    place: Box<dyn Place>,
}

impl Store {
    /// Opens the results of a sweep, and makes their folder where there is none; writes the plan, so that a place that cannot be written to, read
    /// and listed is found before the work.
    ///
    /// # Errors
    /// When it cannot, or as [`Store::at`].
    pub fn open(root: &Path, plan: &Plan) -> Result<Self> {
        let store = Self::at(root)?;
        store.refuse_others(plan)?;
        store.place.prepare()?;
        let columns = plan.columns().iter().map(String::as_str);
        let mut text = csv::line(PLAN_COLUMNS.into_iter().chain(columns));
        for run in plan.runs() {
            let number = run.number.to_string();
            let values = run.values.iter().map(String::as_str);
            text += &csv::line([number.as_str(), &run.name].into_iter().chain(values));
        }
        store.write(PLAN, text.as_bytes())?;
        store.place.read(PLAN)?;
        store.place.files(FAILED)?;
        Ok(store)
    }

    /// Refuses a place with the plan of another sweep, whose table and sheets would be replaced. One that has grown has runs in common with what
    /// it was.
    fn refuse_others(&self, plan: &Plan) -> Result<()> {
        let Some(text) = self.place.read(PLAN)? else {
            return Ok(());
        };
        let known: HashSet<&str> = plan.runs().iter().map(|run| hash_of(&run.name)).collect();
        let rows = csv::read(&String::from_utf8_lossy(&text)).unwrap_or_default();
        let is_shared = rows
            .iter()
            .filter_map(|(_, row)| row.get(1))
            .any(|name| known.contains(hash_of(name)));
        if !is_shared {
            anyhow::bail!(
                "{} holds another sweep: its {PLAN} has no run of this one; choose another place with --out, or remove it",
                self.location("")
            );
        }
        Ok(())
    }

    /// The name of a run among these that is in its place and lacks its picture or `result.json`, if there is one. Such runs are painted again,
    /// and what is left of them is kept aside under a hidden name.
    ///
    /// # Errors
    /// When runs cannot be listed.
    pub fn damaged_among<'r>(
        &self,
        runs: impl Iterator<Item = &'r PlannedRun>,
    ) -> Result<Option<String>> {
        let mut names = self.placed_among(runs)?.into_iter();
        Ok(names.find(|name| self.place.is_damaged(name)))
    }

    /// The results of a sweep as they are, to be read: a folder, or the URL of an object store such as `s3://bucket/prefix`.
    ///
    /// # Errors
    /// When the program was built without object stores, or there are none of this URL.
    pub fn at(root: &Path) -> Result<Self> {
        let url = root.to_str().filter(|text| text.contains("://"));
        Ok(Self {
            place: match url {
                Some(url) => objects(url)?,
                None => Box::new(Folder::at(root.to_owned())),
            },
        })
    }

    /// Whether it is there.
    ///
    /// # Errors
    /// When it cannot be looked into.
    pub fn exists(&self) -> Result<bool> {
        self.place.exists()
    }

    /// Where one of its files is, or itself where the name is empty.
    pub fn location(&self, name: &str) -> String {
        self.place.location(name)
    }

    /// Writes a file of the sweep, which is whole or absent, and says where.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<String> {
        self.place.write(name, bytes)?;
        Ok(self.location(name))
    }

    /// The hashes of the recipes of the runs that are in their place, without a look into them: among many, that is what takes time.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn placed(&self) -> Result<HashSet<String>> {
        let names = self.place.placed()?;
        Ok(names.iter().map(|name| hash_of(name).to_owned()).collect())
    }

    /// The names of those among these runs that are in their place.
    fn placed_among<'r>(&self, runs: impl Iterator<Item = &'r PlannedRun>) -> Result<Vec<String>> {
        let wanted: HashSet<&str> = runs.map(PlannedRun::hash).collect();
        let mut names = self.place.placed()?;
        names.retain(|name| wanted.contains(hash_of(name)));
        Ok(names)
    }

    /// The names of those among these runs that are whole, by the hash of their recipe: a sweep that has grown has other numbers, and what was
    /// painted before counts.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn whole_among<'r>(
        &self,
        runs: impl Iterator<Item = &'r PlannedRun>,
    ) -> Result<HashMap<String, String>> {
        let mut whole: HashMap<String, String> = HashMap::new();
        let mut names = self.placed_among(runs)?;
        names.retain(|name| !self.place.is_damaged(name));
        for name in names {
            // of two of the same recipe always the same
            let known = whole
                .entry(hash_of(&name).to_owned())
                .or_insert_with(|| name.clone());
            if name < *known {
                *known = name;
            }
        }
        Ok(whole)
    }

    /// The picture of a whole run, from the sweep's folder.
    pub fn picture(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("{RUNS}/{name}/{IMAGE}"))
    }

    /// Reads a picture of [`Store::picture`].
    pub(super) fn load_picture(&self, picture: &Path) -> Result<RgbImage> {
        let name = picture.to_string_lossy();
        let about = || format!("cannot read {}", self.location(&name));
        let bytes = self.place.read(&name)?;
        let bytes = bytes.context("it is gone").with_context(about)?;
        picture::decode_rgb(&bytes).with_context(about)
    }

    pub(super) fn is_whole(&self, name: &str) -> Result<bool> {
        self.place.is_whole(name)
    }

    /// What whole runs say of themselves; nothing where a file is damaged.
    pub(super) fn finished(&self, names: &[String]) -> Result<Vec<Option<Finished>>> {
        self.place.results(names)
    }

    /// A folder to paint a run in on that kind of device, which no other process uses.
    pub(super) fn begin(&self, name: &str, device: &str) -> Result<RunFolder> {
        self.place.begin(name, device)
    }

    /// The folders of runs that were stopped, or are still being painted, with checkpoints to continue from.
    pub(super) fn begun(&self) -> Vec<Partial> {
        let mut begun = self.place.partials();
        begun.retain(Partial::has_checkpoint);
        begun
    }

    /// Takes over one of [`Store::begun`]; none where a process still has it, or may have it.
    pub(super) fn take_over(&self, partial: &Partial) -> Option<RunFolder> {
        self.place.take_over(partial)
    }

    /// Puts a run in its place, and says whether it was the first: another process may have painted the same one.
    pub(super) fn put(&self, partial: &Path, name: &str, finished: &Finished) -> Result<bool> {
        let text = serde_json::to_vec_pretty(finished)?;
        write_whole(&partial.join(RESULT), true, |file| file.write_all(&text))?;
        let is_first = self.place.put(partial, name)?;
        if is_first {
            self.forget_failure(name);
        }
        Ok(is_first)
    }

    /// Notes why a run failed, to be read by the process that makes the table.
    pub(super) fn note_failure(&self, name: &str, why: &str) -> Result<()> {
        self.place
            .write(&format!("{FAILED}/{name}.txt"), why.as_bytes())
    }

    /// Removes what is noted about a run that is painted again.
    pub(super) fn forget_failure(&self, name: &str) {
        // one that stays is not read where the run is whole
        let _ = self.place.remove(&format!("{FAILED}/{name}.txt"));
    }

    /// The names of the runs that failed.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn failures(&self) -> Result<BTreeSet<String>> {
        let files = self.place.files(FAILED)?;
        let names = files.iter().filter_map(|name| name.strip_suffix(".txt"));
        let names = names.filter(|name| !name.starts_with('.'));
        Ok(names.map(str::to_owned).collect())
    }

    /// Why a run failed, where it did.
    pub(super) fn failure(&self, name: &str) -> Result<Option<String>> {
        let text = self.place.read(&format!("{FAILED}/{name}.txt"))?;
        Ok(text.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }

    /// What judges say of the pictures of whole runs, by their names.
    pub(super) fn scores(&self, names: &[String]) -> Result<Vec<BTreeMap<String, f64>>> {
        let files: Vec<String> = (names.iter())
            .map(|name| format!("{SCORES}/{name}.json"))
            .collect();
        let scores = parsed(self.place.read_all(&files)?);
        Ok(scores.into_iter().map(Option::unwrap_or_default).collect())
    }

    pub(super) fn write_scores(&self, name: &str, scores: &BTreeMap<String, f64>) -> Result<()> {
        let text = serde_json::to_vec_pretty(scores)?;
        self.place.write(&format!("{SCORES}/{name}.json"), &text)
    }

    /// Removes the folders that stopped processes left of these runs, and only what no process holds any more; with `keep_begun` not those that
    /// can be continued.
    pub(super) fn clean<'n>(&self, names: impl Iterator<Item = &'n str>, keep_begun: bool) {
        let names: HashSet<&str> = names.collect();
        for partial in self.place.partials() {
            let path = &partial.path;
            // one without a recipe may not be locked yet
            let is_left = names.contains(partial.run.as_str()) && path.join(RECIPE).is_file();
            if is_left
                && !(keep_begun && partial.has_checkpoint())
                && let Ok(lock) = FolderLock::take(path)
                && lock.is_exclusive()
            {
                // whatever stays does no harm
                let _ = fs::remove_dir_all(path);
            }
        }
    }

    /// Removes the folders of all runs that are not whole: for when there is nothing left to paint.
    pub(super) fn clean_all(&self) {
        for partial in self.place.partials() {
            let _ = fs::remove_dir_all(partial.path);
        }
    }

    /// What the whole ones among these runs cost, from some of them; none where there is none.
    pub(super) fn estimate<'r>(
        &self,
        of: impl Iterator<Item = &'r PlannedRun>,
    ) -> Result<Option<Estimate>> {
        const MOST: usize = 16;
        let (mut runs, mut steps, mut seconds, mut bytes) = (0, 0, 0.0, 0);
        let mut names = self.placed_among(of)?;
        names.sort();
        names.truncate(MOST);
        for (name, finished) in names.iter().zip(self.finished(&names)?) {
            if let Some(finished) = finished {
                runs += 1;
                steps += finished.steps.saturating_sub(finished.steps_before);
                seconds += finished.seconds;
                bytes += self.place.size(name)?;
            }
        }
        let step = if steps > 0 {
            seconds / steps as f64
        } else {
            0.0
        };
        Ok((runs > 0).then(|| Estimate {
            runs,
            step,
            bytes: bytes as f64 / runs as f64,
        }))
    }
}

/// The contents of files; nothing where one is absent or damaged.
fn parsed<T: DeserializeOwned>(files: Vec<Option<Vec<u8>>>) -> Vec<Option<T>> {
    let files = files.into_iter();
    files
        .map(|bytes| serde_json::from_slice(&bytes?).ok())
        .collect()
}

#[cfg(feature = "cloud")]
fn objects(url: &str) -> Result<Box<dyn Place>> {
    Ok(Box::new(object::Objects::connect(url)?))
}

#[cfg(not(feature = "cloud"))]
fn objects(_: &str) -> Result<Box<dyn Place>> {
    anyhow::bail!(
        "this program was built without object stores: build it with `--features cloud`, or mount the store as a folder and give its path"
    )
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
