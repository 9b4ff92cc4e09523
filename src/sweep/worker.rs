//! The work of one process of a sweep: it paints the runs of its shard.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use candle_core::Device;

use super::plan::{Plan, PlannedRun};
use super::shard::Shard;
use super::store::{Finished, Partial, Store, is_gone};
use crate::clip::ClipActivation;
use crate::files::failed;
use crate::judge::comparison::panel::Panel;
use crate::recipe::Recipe;
use crate::run::{CHECKPOINT, PREVIOUS, Resumption, Run, disk_full};
use crate::session::{Session, SessionOptions};

/// How often a run is begun whose folder another process has removed.
const ATTEMPTS: usize = 3;

/// What happens while runs are painted.
#[derive(Debug)]
pub enum Event<'e> {
    /// A step is done: the run, and how many of its steps.
    Step(&'e PlannedRun, usize),
    /// A run is whole, painted by this process or found.
    Done(&'e PlannedRun),
    /// A run failed, and why.
    Failed(&'e PlannedRun, &'e str),
    /// What the user should know, once.
    Warning(String),
}

/// What a process did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The runs that it painted, by number.
    pub painted: Vec<usize>,
    /// How many of its shard's runs were whole before.
    pub found: usize,
    /// The runs that failed, each with the reason.
    pub failed: Vec<(usize, String)>,
    /// Whether it was stopped before its last run.
    pub is_interrupted: bool,
}

/// Paints the runs of a shard.
pub struct Painter<'p> {
    /// All runs.
    pub plan: &'p Plan,
    /// Where they go.
    pub store: &'p Store,
    /// Which of them.
    pub shard: Shard,
    /// Who judges their pictures.
    pub judge: Option<&'p Judge>,
    /// Whether whole runs keep their checkpoints, to be resumed.
    pub keeps_checkpoints: bool,
}

impl Painter<'_> {
    /// Paints every run of the shard that is not whole, or until `stop` is set: the runs that are painted then keep their checkpoints aside. A run
    /// that was stopped on a device of the same kind is continued. Each worker, a device and the models on it, paints one run at a time.
    ///
    /// # Errors
    /// When the folder cannot be written to. A single run that fails is noted, and the others are painted.
    pub fn paint(
        &self,
        workers: &[(Device, SessionOptions)],
        stop: &AtomicBool,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<Report> {
        let (first, others) = workers
            .split_first()
            .context("there is no device to paint on")?;
        let own = || {
            self.plan
                .runs()
                .iter()
                .filter(|run| self.shard.has(run.number))
        };
        let whole = self.store.whole_among(own())?;
        let (found, left): (Vec<_>, Vec<_>) = own().partition(|run| whole.contains_key(run.hash()));
        self.store
            .clean(left.iter().map(|run| run.name.as_str()), true);
        self.store
            .clean(found.iter().map(|run| run.name.as_str()), false);
        let failures = self.store.failures()?;
        for run in left.iter().filter(|run| failures.contains(&run.name)) {
            self.store.forget_failure(&run.name);
        }
        for run in &found {
            tell(Event::Done(run));
            self.judge(run, &whole[run.hash()])?;
        }
        let report = Mutex::new(Report {
            found: found.len(),
            ..Report::default()
        });
        let (next, warned) = (AtomicUsize::new(0), Mutex::new(vec![]));
        let warn = |warning: String| {
            let mut warned = warned.lock().unwrap_or_else(PoisonError::into_inner);
            if !warned.contains(&warning) {
                warned.push(warning.clone());
                tell(Event::Warning(warning));
            }
        };
        let begun = self.store.begun();
        let fatal = Mutex::new(None);
        let work = |(device, options): &(Device, SessionOptions)| {
            while let Some(run) = left.get(next.fetch_add(1, Ordering::Relaxed)) {
                let done = self.paint_run(run, (device, options), &begun, stop, &warn, tell);
                let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                match done {
                    Ok(Some(true)) => report.painted.push(run.number),
                    Ok(Some(false)) => report.found += 1,
                    Ok(None) => {
                        report.is_interrupted = true;
                        return;
                    }
                    Err(error) if disk_full(&error).is_some() => {
                        // the next one would fail as well
                        stop.store(true, Ordering::Relaxed);
                        *fatal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                        return;
                    }
                    Err(error) => {
                        let why = format!("{error:#}");
                        tell(Event::Failed(run, &why));
                        if let Err(error) = self.store.note_failure(&run.name, &why) {
                            stop.store(true, Ordering::Relaxed);
                            *fatal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                            return;
                        }
                        report.failed.push((run.number, why));
                        continue;
                    }
                }
                drop(report);
                tell(Event::Done(run));
            }
        };
        std::thread::scope(|scope| {
            for worker in others {
                scope.spawn(|| work(worker));
            }
            work(first);
        });
        if let Some(error) = fatal.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.painted.sort_unstable();
        report.failed.sort_unstable();
        Ok(report)
    }

    /// Paints one run and judges it: true where this process did, false where it was whole already, none where it was stopped.
    fn paint_run(
        &self,
        run: &PlannedRun,
        worker: (&Device, &SessionOptions),
        begun: &[Partial],
        stop: &AtomicBool,
        warn: &dyn Fn(String),
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<Option<bool>> {
        let mut attempt = 1;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if self.store.is_whole(&run.name)? {
                return Ok(Some(false));
            }
            // what another process has taken over is not taken back
            let begun = if attempt == 1 { begun } else { &[] };
            match self.try_run(run, worker, begun, stop, warn, tell) {
                Ok(done) => {
                    if done.is_some() {
                        self.judge(run, &run.name)?;
                    }
                    return Ok(done);
                }
                // another process of the same shard has it
                Err(_) if matches!(self.store.is_whole(&run.name), Ok(true)) => {
                    return Ok(Some(false));
                }
                Err(error) if is_gone(&error) && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn try_run(
        &self,
        planned: &PlannedRun,
        worker: (&Device, &SessionOptions),
        begun: &[Partial],
        stop: &AtomicBool,
        warn: &dyn Fn(String),
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<Option<bool>> {
        let (_, recipe) = self.plan.recipe(planned)?;
        let own = begun.iter().filter(|partial| partial.run == planned.name);
        let mut continued = own.filter_map(|partial| self.continued(partial, &recipe, worker));
        let (mut run, mut aside) = match continued.next() {
            Some(run) => run,
            None => self.begin(planned, &recipe, worker)?,
        };
        (run.session_mut().take_warnings().into_iter()).for_each(warn);
        let steps_before = run.session().step();
        let outcome = run.complete(stop, |tick| tell(Event::Step(planned, tick.step)))?;
        if outcome.stopped {
            aside.is_kept = can_be_continued(&recipe);
            return Ok(None);
        }
        if let Some(warning) = &outcome.warning {
            warn(format!("run {}: {warning}", planned.number));
        }
        if !self.keeps_checkpoints {
            for name in [CHECKPOINT, PREVIOUS] {
                let path = aside.path.join(name);
                if path.is_file() {
                    fs::remove_file(&path).map_err(failed("remove", &path))?;
                }
            }
        }
        let finished = Finished::of(&outcome, steps_before);
        Ok(Some(self.store.put(
            &aside.path,
            &planned.name,
            &finished,
        )?))
    }

    /// Begins a run in a folder of its own.
    fn begin(
        &self,
        planned: &PlannedRun,
        recipe: &Recipe,
        (device, options): (&Device, &SessionOptions),
    ) -> Result<(Run, Aside)> {
        let session = Session::with_options(recipe, device, options)?;
        let folder = self.store.begin(&planned.name, kind(device))?;
        let aside = Aside::at(folder.path());
        Ok((Run::new(session, folder, recipe)?, aside))
    }

    /// Continues a run from its checkpoint, where that paints the same picture: on the same kind of device, with the recipe unchanged. What turns
    /// out to be of no use is removed.
    fn continued(
        &self,
        partial: &Partial,
        recipe: &Recipe,
        (device, options): (&Device, &SessionOptions),
    ) -> Option<(Run, Aside)> {
        if partial.device != kind(device) || !can_be_continued(recipe) {
            return None;
        }
        let folder = self.store.take_over(partial)?;
        let aside = Aside::at(folder.path());
        let resumption = Resumption::read(folder, false, device).ok()?;
        let (run, changes) = resumption.into_run(options).ok()?;
        changes.is_empty().then_some((run, aside))
    }

    /// Scores the picture of a finished run with the judge. A score that is already stored is kept.
    fn judge(&self, run: &PlannedRun, name: &str) -> Result<()> {
        self.judge
            .map_or(Ok(()), |judge| judge.score(self.store, run, name))
    }
}

/// Whether a run of a recipe is continued where it was stopped. A stop in the recipe's own timeline could not be told from that of the process.
fn can_be_continued(recipe: &Recipe) -> bool {
    recipe.stops_at().is_none()
}

/// The kind of a device: pictures are the same on devices of one kind.
fn kind(device: &Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Metal(_) => "metal",
    }
}

/// The folder of a run that is being painted, removed if it is neither put in place nor kept.
struct Aside {
    path: PathBuf,
    /// Whether it stays, to be continued.
    is_kept: bool,
}

impl Aside {
    fn at(path: &Path) -> Self {
        let path = path.to_owned();
        let is_kept = false;
        Self { path, is_kept }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// CLIPs that judge the pictures of a sweep, as those of a comparison do: by six views of each, and the run's first prompt of positive weight.
pub struct Judge {
    names: Vec<String>,
    panel: Panel,
    texts: HashMap<String, usize>,
}

impl Judge {
    /// Loads the CLIPs of these names, and encodes the texts of the plan's runs.
    ///
    /// # Errors
    /// When a model cannot be loaded, or can read nothing of a text.
    pub fn load(
        names: &[String],
        activation: Option<ClipActivation>,
        plan: &Plan,
        device: &Device,
    ) -> Result<Self> {
        let mut texts: Vec<String> = vec![];
        let mut by_text = HashMap::new();
        for text in plan.runs().iter().filter_map(|run| run.text.as_ref()) {
            by_text.entry(text.clone()).or_insert_with(|| {
                texts.push(text.clone());
                texts.len() - 1
            });
        }
        let panel = Panel::load(names, activation, &texts, device)?;
        Ok(Self {
            names: names.to_vec(),
            panel,
            texts: by_text,
        })
    }

    /// Warnings about the CLIPs and the texts.
    pub fn warnings(&self) -> impl Iterator<Item = &String> {
        self.panel.warnings()
    }

    /// Scores a whole run's picture, unless these judges have; a run without a text has no score.
    pub(super) fn score(&self, store: &Store, run: &PlannedRun, name: &str) -> Result<()> {
        let mut scores = store.scores(&[name.to_owned()])?.remove(0);
        let is_scored = self.names.iter().all(|judge| scores.contains_key(judge));
        let Some(text) = run
            .text
            .as_ref()
            .and_then(|text| self.texts.get(text))
            .filter(|_| !is_scored)
        else {
            return Ok(());
        };
        let picture = store.load_picture(&store.picture(name))?;
        let own: BTreeMap<_, _> = self
            .names
            .iter()
            .cloned()
            .zip(self.panel.score(&picture, *text)?)
            .collect();
        scores.extend(own);
        store.write_scores(name, &scores)
    }
}
