//! The queue of `phantasia serve`: on each device one render after the other, in a folder that keeps the queue over a restart.

mod order;
mod paint;

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::Hub;
use crate::files::write_whole;
use crate::live::Command;
use crate::protocol::{Job, JobState, Order};
use crate::run::{FolderLock, Outcome};
pub use paint::Painter;

/// The file in the folder of runs that keeps the queue.
const FILE: &str = ".queue.json";
/// At most this many renders wait.
const MOST_WAITING: usize = 200;
/// At most this many that are over are remembered.
const MOST_OVER: usize = 30;
/// How often a waiting queue checks whether it should stop.
const CHECK_EVERY: Duration = Duration::from_millis(100);

/// Renders that wait, those that are painted, and some that are over.
pub struct Queue {
    dir: PathBuf,
    /// One a device. A render that names no device goes to the first that is free.
    hubs: Vec<Arc<Hub>>,
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
    /// Opens the queue of a folder, which is created if it does not exist. Renders that were painted when the program ended are the first to
    /// go on.
    ///
    /// # Errors
    /// When the folder cannot be written to, another process has its queue, or the queue's file cannot be read.
    pub fn open(dir: &Path, hubs: Vec<Arc<Hub>>) -> Result<Arc<Self>> {
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
        for KeptJob { job, .. } in &mut kept.jobs {
            if job.state == JobState::Open {
                job.state = JobState::Done;
            }
            // a device that is not used this time
            let is_here = |device: &String| hubs.iter().any(|hub| hub.device() == device);
            if !job.state.is_over() {
                job.device = job.device.take().filter(is_here);
            }
        }
        Ok(Arc::new(Self {
            dir: dir.to_owned(),
            hubs,
            jobs: Mutex::new(kept),
            changed: Condvar::new(),
            _lock: lock,
        }))
    }

    /// What is in the queue: renders that are painted, those that wait, and some that are over.
    pub fn jobs(&self) -> Vec<Job> {
        let kept = self.lock();
        kept.jobs.iter().map(|kept| kept.job.clone()).collect()
    }

    /// Adds a render at the end.
    ///
    /// # Errors
    /// When the order is not clear, its recipe is refused or names files outside of the folder, there is no such device, the queue is full, or
    /// it cannot be kept.
    pub fn add(&self, order: Order) -> Result<Job> {
        if let Some(device) = &order.device {
            let names = Vec::from_iter(self.hubs.iter().map(|hub| hub.device()));
            if !names.contains(&device.as_str()) {
                bail!("there is no device `{device}` here: {}", names.join(", "));
            }
        }
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
            device: order.device,
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

    /// Cancels a render that waits, or stops one that is painted. Returns whether there was one with this number.
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
            JobState::Running | JobState::Open => {
                found.is_cancelled = true;
                let device = found.job.device.as_deref().unwrap_or_default();
                for hub in self.hubs.iter().filter(|hub| hub.device() == device) {
                    // while its models are loaded, there is no render yet
                    let _ = hub.send(vec![Command::Stop]);
                }
            }
            _ => return Ok(false),
        }
        self.keep(&mut kept, changed)?;
        Ok(true)
    }

    /// Paints what is in the queue on every device at once, and waits for more, until `stop` is set. A render that is painted then goes on
    /// when the queue is opened again. `tell` is given the picture of each render that is done, or the error of one that failed.
    ///
    /// # Errors
    /// When the queue cannot be kept.
    pub fn run(
        &self,
        painters: &[Painter],
        stop: &Arc<AtomicBool>,
        tell: impl Fn(Result<&Path, &anyhow::Error>) + Sync,
    ) -> Result<()> {
        let run = |painter: &Painter| {
            let ended = self.run_on(
                painter.hub.device(),
                stop,
                |job| self.paint(job, painter, stop),
                &tell,
            );
            // a queue that cannot be kept ends on every device
            stop.fetch_or(ended.is_err(), Ordering::Relaxed);
            ended
        };
        std::thread::scope(|scope| {
            let threads =
                Vec::from_iter(painters.iter().map(|painter| scope.spawn(|| run(painter))));
            let ended = threads.into_iter().map(|thread| match thread.join() {
                Ok(ended) => ended,
                Err(panic) => resume_unwind(panic),
            });
            // all of them, before an error is looked at
            Vec::from_iter(ended).into_iter().collect()
        })
    }

    /// Paints what is in the queue for one device.
    fn run_on(
        &self,
        device: &str,
        stop: &AtomicBool,
        paint: impl Fn(KeptJob) -> Result<Outcome>,
        tell: &(impl Fn(Result<&Path, &anyhow::Error>) + Sync),
    ) -> Result<()> {
        while let Some(job) = self.next(device, stop)? {
            let id = job.job.id;
            let painted = catch_unwind(AssertUnwindSafe(|| paint(job)))
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

    /// Waits for the next render of a device; `None` once `stop` is set.
    fn next(&self, device: &str, stop: &AtomicBool) -> Result<Option<KeptJob>> {
        let mut kept = self.lock();
        loop {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let mut changed = kept.clone();
            if let Some(index) = self.next_of(&changed, device) {
                let next = &mut changed.jobs[index];
                next.job.state = JobState::Running;
                next.job.device = Some(device.to_owned());
                let next = next.clone();
                self.keep(&mut kept, changed)?;
                return Ok(Some(next));
            }
            let waited = self.changed.wait_timeout(kept, CHECK_EVERY);
            kept = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The index of the render that a device is to paint next, if there is one and it is free: the renders that wait go, in their order, to
    /// their device, or to the first one that is free.
    fn next_of(&self, kept: &Kept, device: &str) -> Option<usize> {
        let is_painting = |hub: &&Arc<Hub>| {
            let mut jobs = kept.jobs.iter().map(|kept| &kept.job);
            jobs.any(|job| {
                matches!(job.state, JobState::Running | JobState::Open)
                    && job.device.as_deref() == Some(hub.device())
            })
        };
        let mut free: Vec<&str> = (self.hubs.iter().filter(|hub| !is_painting(hub)))
            .map(|hub| hub.device())
            .collect();
        for (index, KeptJob { job, .. }) in kept.jobs.iter().enumerate() {
            if job.state != JobState::Waiting {
                continue;
            }
            let is_for = |name: &&str| job.device.as_deref().is_none_or(|device| device == *name);
            if let Some(place) = free.iter().position(is_for)
                && free.remove(place) == device
            {
                return Some(index);
            }
        }
        None
    }

    fn is_cancelled(&self, id: u64) -> bool {
        let kept = self.lock();
        kept.jobs
            .iter()
            .any(|kept| kept.job.id == id && kept.is_cancelled)
    }

    /// Whether a render waits that a busy device is to paint: it is the device's own, or no other is free.
    fn is_wanted(&self, device: &str) -> bool {
        let kept = self.lock();
        let mut waiting = (kept.jobs.iter()).filter(|kept| kept.job.state == JobState::Waiting);
        let is_others = |name: &str| name != device && self.next_of(&kept, name).is_some();
        waiting.any(|kept| match &kept.job.device {
            Some(name) => name == device,
            None => !self.hubs.iter().any(|hub| is_others(hub.device())),
        })
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
        for hub in &self.hubs {
            hub.runs_changed();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    fn queue(dir: &Path, devices: &[&str]) -> Arc<Queue> {
        let names = Vec::from_iter(devices.iter().map(ToString::to_string));
        let hubs = names.iter().map(|name| Hub::new(name, &names, true));
        Queue::open(dir, hubs.collect()).expect("a queue")
    }

    fn order(queue: &Queue, device: Option<&str>) -> u64 {
        let order = Order {
            prompt: Some("a cat".to_owned()),
            device: device.map(ToOwned::to_owned),
            ..Order::default()
        };
        queue.add(order).expect("a job").id
    }

    #[test]
    fn two_devices_paint_at_once_and_each_one_render() {
        let dir = tempfile::tempdir().expect("a folder");
        let queue = queue(dir.path(), &["fake:0", "fake:1"]);
        let wanted = [None, None, Some("fake:1"), Some("fake:0")];
        let ids = wanted.map(|device| order(&queue, device));
        let unknown = Order {
            prompt: Some("a cat".to_owned()),
            device: Some("fake:2".to_owned()),
            ..Order::default()
        };
        let refused = queue.add(unknown).expect_err("no such device");
        assert!(format!("{refused}").contains("fake:0, fake:1"), "{refused}");
        let stop = AtomicBool::new(false);
        // the first two wait for each other: one after the other, they would never end
        let (both, done) = (Barrier::new(2), AtomicUsize::new(0));
        let painting = Mutex::new(vec![]);
        let painted = Mutex::new(vec![]);
        let paint = |job: KeptJob| -> Result<Outcome> {
            let device = job.job.device.clone().expect("a device");
            let mut now = painting.lock().expect("a list");
            assert!(!now.contains(&device), "two renders on {device}");
            now.push(device.clone());
            drop(now);
            if job.job.id <= 2 {
                both.wait();
            }
            painting
                .lock()
                .expect("a list")
                .retain(|other| *other != device);
            painted.lock().expect("a list").push((job.job.id, device));
            stop.store(done.fetch_add(1, Ordering::Relaxed) == 3, Ordering::Relaxed);
            bail!("a fake paints nothing")
        };
        std::thread::scope(|scope| {
            for device in ["fake:0", "fake:1"] {
                let (queue, stop, paint) = (&queue, &stop, &paint);
                scope.spawn(move || queue.run_on(device, stop, paint, &|_| {}).expect("a queue"));
            }
        });
        let mut painted = painted.into_inner().expect("a list");
        painted.sort();
        let devices = ["fake:0", "fake:1", "fake:1", "fake:0"].map(ToOwned::to_owned);
        assert_eq!(painted, Vec::from_iter(ids.into_iter().zip(devices)));
    }

    #[test]
    fn a_render_goes_on_where_it_was_painted() {
        let dir = tempfile::tempdir().expect("a folder");
        let states = |queue: &Queue| Vec::from_iter(queue.jobs().iter().map(|job| job.state));
        let devices =
            |queue: &Queue| Vec::from_iter(queue.jobs().into_iter().map(|job| job.device));
        let first = queue(dir.path(), &["fake:0", "fake:1"]);
        order(&first, Some("fake:1"));
        order(&first, Some("fake:0"));
        let stop = AtomicBool::new(false);
        let open = first
            .next("fake:0", &stop)
            .expect("a queue")
            .expect("a job");
        first
            .change(open.job.id, |job| job.state = JobState::Open)
            .expect("a change");
        first
            .next("fake:1", &stop)
            .expect("a queue")
            .expect("a job");
        assert_eq!(states(&first), [JobState::Running, JobState::Open]);
        // another render for a device makes a finished one end; one that any device may paint does where none is free
        assert!(!first.is_wanted("fake:0"));
        order(&first, None);
        assert!(first.is_wanted("fake:0"));
        drop(first);
        // a finished render is done; that of a device that is not there any more is painted by another
        let second = queue(dir.path(), &["fake:1", "fake:2"]);
        let after = [JobState::Waiting, JobState::Done, JobState::Waiting];
        assert_eq!(states(&second), after);
        assert_eq!(devices(&second)[0].as_deref(), Some("fake:1"));
        drop(second);
        let third = queue(dir.path(), &["fake:2"]);
        assert_eq!(devices(&third)[0], None);
    }
}
