//! The queue of `phantasia serve`: one render after the other, in a folder that keeps the queue over a restart.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use serde::{Deserialize, Serialize};

use super::access::{check_files, file_within};
use super::{Hub, Relay};
use crate::files::write_whole;
use crate::live::{Command, RenderOptions, RenderWorker};
use crate::protocol::{Job, JobState, Order};
use crate::recipe::{PartialRecipe, Prompt, Recipe};
use crate::run::{CHECKPOINT, FolderLock, Outcome, RECIPE, Resumption, Run, RunFolder, run_name};
use crate::session::{Session, SessionOptions};

/// The file in the folder of runs that keeps the queue.
const FILE: &str = ".queue.json";
/// At most this many renders wait.
const MOST_WAITING: usize = 200;
/// At most this many that are over are remembered.
const MOST_OVER: usize = 30;
/// How often a waiting queue checks whether it should stop.
const CHECK_EVERY: Duration = Duration::from_millis(100);
/// How long a finished render waits for readers to come back.
const PATIENCE: Duration = Duration::from_secs(5);

/// What renders are painted with.
pub struct Painter {
    /// The device.
    pub device: Device,
    /// Its name.
    pub device_name: String,
    /// Of every session.
    pub session: SessionOptions,
    /// Over how many steps changes of prompts fade, until a request says otherwise.
    pub fade: usize,
    /// How many steps an edit after the last step adds.
    pub extend: usize,
}

/// Renders that wait, the one that is painted, and some that are over.
pub struct Queue {
    dir: PathBuf,
    hub: Arc<Hub>,
    jobs: Mutex<Kept>,
    changed: Condvar,
    /// Another process may not run the same queue.
    _lock: FolderLock,
}

/// The queue's file.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Kept {
    next: u64,
    jobs: Vec<KeptJob>,
}

/// A job, and what it paints.
#[derive(Clone, Serialize, Deserialize)]
struct KeptJob {
    #[serde(flatten)]
    job: Job,
    /// The name of its run's folder, without the number.
    name: String,
    /// The complete recipe; none if an earlier run is resumed.
    recipe: Option<String>,
    /// The total number of steps of a run that is continued, if it is to have more.
    steps: Option<usize>,
    /// It is to end.
    #[serde(skip)]
    is_cancelled: bool,
}

impl Queue {
    /// Opens the queue of a folder, which is created if it does not exist. A render that was painted when the program ended is the first to
    /// go on.
    ///
    /// # Errors
    /// When the folder cannot be written to, another process has its queue, or the queue's file cannot be read.
    pub fn open(dir: &Path, hub: Arc<Hub>) -> Result<Arc<Self>> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let lock = FolderLock::take(dir).context("its queue is in use")?;
        let path = dir.join(FILE);
        let mut kept = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| {
                let path = path.display();
                format!("cannot read the queue in {path}: mend the file, or move it away to begin an empty queue")
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => Kept::default(),
            Err(error) => bail!("cannot read {}: {error}", path.display()),
        };
        let (mut first, rest): (Vec<_>, Vec<_>) =
            (kept.jobs.into_iter()).partition(|kept: &KeptJob| kept.job.state == JobState::Running);
        for kept in &mut first {
            kept.job.state = JobState::Waiting;
        }
        first.extend(rest);
        kept.jobs = first;
        Ok(Arc::new(Self {
            dir: dir.to_owned(),
            hub,
            jobs: Mutex::new(kept),
            changed: Condvar::new(),
            _lock: lock,
        }))
    }

    /// What is in the queue: the render that is painted, those that wait, and some that are over.
    pub fn jobs(&self) -> Vec<Job> {
        let kept = self.lock();
        kept.jobs.iter().map(|kept| kept.job.clone()).collect()
    }

    /// Adds a render at the end.
    ///
    /// # Errors
    /// When the order is not clear, its recipe is refused or names files outside of the folder, the queue is full, or it cannot be kept.
    pub fn add(&self, order: Order) -> Result<Job> {
        let (name, title, recipe) = self.read(&order)?;
        let mut kept = self.lock();
        let waiting = kept
            .jobs
            .iter()
            .filter(|kept| kept.job.state == JobState::Waiting);
        if waiting.count() >= MOST_WAITING {
            bail!("{MOST_WAITING} renders wait already: cancel one first");
        }
        let mut changed = kept.clone();
        changed.next += 1;
        // a new run's steps are in its recipe
        let steps = order.steps.filter(|_| recipe.is_none());
        let job = Job {
            id: changed.next,
            title,
            state: JobState::Waiting,
            run: order.resume,
            error: None,
        };
        changed.jobs.push(KeptJob {
            job: job.clone(),
            name,
            recipe,
            steps,
            is_cancelled: false,
        });
        self.keep(&mut kept, changed)?;
        Ok(job)
    }

    /// Cancels a render that waits, or stops the one that is painted. Returns whether there was one with this number.
    ///
    /// # Errors
    /// When the queue cannot be kept.
    pub fn cancel(&self, id: u64) -> Result<bool> {
        let mut kept = self.lock();
        let mut changed = kept.clone();
        let Some(found) = changed.jobs.iter_mut().find(|kept| kept.job.id == id) else {
            return Ok(false);
        };
        match found.job.state {
            JobState::Waiting => found.job.state = JobState::Cancelled,
            JobState::Running => {
                found.is_cancelled = true;
                // while its models are loaded, there is no render yet
                let _ = self.hub.send(vec![Command::Stop]);
            }
            _ => return Ok(false),
        }
        self.keep(&mut kept, changed)?;
        Ok(true)
    }

    /// Paints what is in the queue, and waits for more, until `stop` is set. A render that is painted then goes on when the queue is
    /// opened again. `tell` is given the picture of each render that is done, or the error of one that failed.
    ///
    /// # Errors
    /// When the queue cannot be kept.
    pub fn run(
        &self,
        painter: &Painter,
        stop: &Arc<AtomicBool>,
        mut tell: impl FnMut(Result<&Path, &anyhow::Error>),
    ) -> Result<()> {
        while let Some(job) = self.next(stop)? {
            let id = job.job.id;
            let painted = catch_unwind(AssertUnwindSafe(|| self.paint(job, painter, stop)))
                .unwrap_or_else(|_| bail!("the program failed; its standard error has more"));
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let (state, error) = match painted {
                Ok(outcome) if outcome.stopped => (JobState::Stopped, None),
                Ok(outcome) => {
                    tell(Ok(&outcome.image));
                    (JobState::Done, None)
                }
                Err(error) => {
                    tell(Err(&error));
                    (JobState::Failed, Some(format!("{error:#}")))
                }
            };
            self.change(id, |job| (job.state, job.error) = (state, error))?;
        }
        Ok(())
    }

    /// Waits for the next render; `None` once `stop` is set.
    fn next(&self, stop: &AtomicBool) -> Result<Option<KeptJob>> {
        let mut kept = self.lock();
        loop {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let mut changed = kept.clone();
            let next = changed
                .jobs
                .iter_mut()
                .find(|kept| kept.job.state == JobState::Waiting);
            if let Some(next) = next {
                next.job.state = JobState::Running;
                let next = next.clone();
                self.keep(&mut kept, changed)?;
                return Ok(Some(next));
            }
            let waited = self.changed.wait_timeout(kept, CHECK_EVERY);
            kept = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn paint(&self, job: KeptJob, painter: &Painter, stop: &Arc<AtomicBool>) -> Result<Outcome> {
        let id = job.job.id;
        let run = match &job.job.run {
            Some(name) if file_within(&self.dir, name, CHECKPOINT).is_some() => {
                self.resume(name, job.steps, painter)?
            }
            _ => self.begin(&job, painter)?,
        };
        let path = run.folder().path().to_owned();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let options = RenderOptions {
            device: painter.device_name.clone(),
            fade: painter.fade,
            extend: painter.extend,
            hold: true,
            frames: true,
        };
        let relay = Relay::new(&self.hub);
        let worker = RenderWorker::spawn(run, options, Arc::clone(stop), relay.listener())?;
        if self.is_cancelled(id) {
            let _ = worker.commands().try_send(Command::Stop);
        }
        // a finished render can still be edited while a page shows it and no other job waits
        relay.run(&worker, &name, || {
            if self.is_anything_waiting() {
                Some(Duration::ZERO)
            } else {
                (self.hub.readers() == 0).then_some(PATIENCE)
            }
        });
        worker.join()
    }

    /// Begins a new run, or one of which nothing was saved anew in its folder.
    fn begin(&self, job: &KeptJob, painter: &Painter) -> Result<Run> {
        let text = job
            .recipe
            .as_deref()
            .context("the run has no checkpoint to continue from")?;
        let recipe = Recipe::parse(text, "the recipe", &self.dir)?;
        let session = Session::with_options(&recipe, &painter.device, &painter.session)?;
        let folder = match &job.job.run {
            Some(name) if file_within(&self.dir, name, RECIPE).is_some() => {
                let mut folder = RunFolder::open(&self.dir.join(name))?;
                folder.cut_metrics(0)?;
                folder
            }
            _ => RunFolder::create(&self.dir, &job.name)?,
        };
        let name = folder
            .path()
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        self.change(job.job.id, |job| job.run = name)?;
        Run::new(session, folder, &recipe)
    }

    fn resume(&self, name: &str, steps: Option<usize>, painter: &Painter) -> Result<Run> {
        let folder = RunFolder::open(&self.dir.join(name))?;
        let resumption = Resumption::read(folder, false, &painter.device)?;
        let (mut run, mut edit) = resumption.into_run(&painter.session)?;
        let is_complete = run.session().is_exhausted();
        if let Some(steps) = steps {
            let more = steps.saturating_sub(run.session().step());
            if more == 0 {
                bail!("the run has {} steps already", run.session().step());
            }
            edit.steps = Some(run.session().extended_by(more)?);
        }
        if is_complete && !edit.is_empty() {
            run.keep_image()?;
        }
        if !edit.is_empty() {
            run.edit(edit)?;
        }
        Ok(run)
    }

    /// What an order paints: the name of its run's folder, a title, and the complete recipe; none if a run is resumed.
    fn read(&self, order: &Order) -> Result<(String, String, Option<String>)> {
        let partial = |text: &str| PartialRecipe::parse(text, "recipe", &self.dir);
        let (name, mut partial) = match (&order.prompt, &order.recipe, &order.again, &order.resume)
        {
            (Some(text), None, None, None) => {
                let recipe = Recipe::new(vec![Prompt::new(text)]);
                (text.clone(), partial(&recipe.to_yaml()?)?)
            }
            (None, Some(text), None, None) => {
                let name = order.name.clone().unwrap_or_else(|| "render".to_owned());
                (name, partial(text)?)
            }
            (None, None, Some(run), None) => {
                let path = self.recipe_of(run)?;
                (run_name(&path), PartialRecipe::load(&path)?)
            }
            (None, None, None, Some(run)) => {
                self.recipe_of(run)?;
                if file_within(&self.dir, run, CHECKPOINT).is_none() {
                    bail!("{run} has no checkpoint to continue from");
                }
                let title = format!("{run}, continued");
                return Ok((run.clone(), title, None));
            }
            _ => bail!("give one of `prompt`, `recipe`, `again` and `resume`"),
        };
        for assignment in &order.set {
            partial.set(assignment)?;
        }
        if let Some(seed) = order.seed {
            partial.set(&format!("seed={seed}"))?;
        }
        if let Some(steps) = order.steps {
            partial.set(&format!("steps={steps}"))?;
        }
        let mut recipe = partial.finish()?;
        if order.steps.is_some() {
            recipe = recipe.without_stops(usize::MAX);
        }
        check_files(&recipe, &self.dir)?;
        let texts = recipe.prompts.iter().flat_map(Prompt::texts);
        let title = Vec::from_iter(texts).join(", ");
        Ok((name, title, Some(recipe.to_yaml()?)))
    }

    fn recipe_of(&self, run: &str) -> Result<PathBuf> {
        (file_within(&self.dir, run, RECIPE)).with_context(|| format!("there is no run `{run}`"))
    }

    fn is_cancelled(&self, id: u64) -> bool {
        let kept = self.lock();
        kept.jobs
            .iter()
            .any(|kept| kept.job.id == id && kept.is_cancelled)
    }

    fn is_anything_waiting(&self) -> bool {
        let kept = self.lock();
        kept.jobs
            .iter()
            .any(|kept| kept.job.state == JobState::Waiting)
    }

    fn change(&self, id: u64, how: impl FnOnce(&mut Job)) -> Result<()> {
        let mut kept = self.lock();
        let mut changed = kept.clone();
        if let Some(found) = changed.jobs.iter_mut().find(|kept| kept.job.id == id) {
            how(&mut found.job);
        }
        self.keep(&mut kept, changed)
    }

    /// Writes the queue's file, then takes the change over: what a reader has been told is on the disk.
    fn keep(&self, kept: &mut Kept, mut changed: Kept) -> Result<()> {
        let mut over = changed
            .jobs
            .iter()
            .filter(|kept| kept.job.state.is_over())
            .count();
        changed.jobs.retain(|kept| {
            let is_forgotten = kept.job.state.is_over() && over > MOST_OVER;
            over -= usize::from(is_forgotten);
            !is_forgotten
        });
        for kept in changed
            .jobs
            .iter_mut()
            .filter(|kept| kept.job.state.is_over())
        {
            kept.recipe = None;
        }
        write_whole(&self.dir.join(FILE), true, |file| {
            let text = serde_json::to_vec_pretty(&changed).map_err(io::Error::other)?;
            file.write_all(&text)
        })?;
        *kept = changed;
        self.changed.notify_all();
        self.hub.runs_changed();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
