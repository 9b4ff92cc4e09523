//! Painting a job of the queue: its run is begun or resumed, and its readers are served.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use candle_core::Device;

use super::{KeptJob, Queue};
use crate::live::{Command, RenderOptions, RenderWorker};
use crate::protocol::JobState;
use crate::recipe::Recipe;
use crate::run::{CHECKPOINT, Outcome, RECIPE, Resumption, Run, RunFolder};
use crate::serve::access::file_within;
use crate::serve::{Hub, Relay};
use crate::session::{Session, SessionOptions};

/// How long a finished render waits for readers to come back.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the renders of a device are painted with.
pub struct Painter {
    /// The device.
    pub device: Device,
    /// Shows the device's present render, and has its name.
    pub hub: Arc<Hub>,
    /// Of every session.
    pub session: SessionOptions,
    /// Over how many steps changes of prompts fade, until a request says otherwise.
    pub fade: usize,
    /// How many steps an edit after the last step adds.
    pub extend: usize,
}

impl Queue {
    /// Paints a job until it is over, or another one wants the device.
    pub(super) fn paint(
        &self,
        job: KeptJob,
        painter: &Painter,
        stop: &Arc<AtomicBool>,
    ) -> Result<Outcome> {
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
            device: painter.hub.device().to_owned(),
            fade: painter.fade,
            extend: painter.extend,
            hold: true,
            frames: true,
        };
        let relay = Relay::new(&painter.hub);
        let worker = RenderWorker::spawn(run, options, Arc::clone(stop), relay.listener())?;
        if self.is_cancelled(id) {
            let _ = worker.commands().try_send(Command::Stop);
        }
        // a finished render can still be edited while a page shows it and no other job waits
        let hub = &painter.hub;
        let was_finished = Cell::new(false);
        relay.run(&worker, &name, || {
            let is_finished = hub.snapshot().state.finished;
            if was_finished.replace(is_finished) != is_finished {
                let state = if is_finished {
                    JobState::Open
                } else {
                    JobState::Running
                };
                // the state when it is over is kept in any case
                let _ = self.change(id, |job| job.state = state);
            }
            if self.is_wanted(hub.device()) {
                Some(Duration::ZERO)
            } else {
                (hub.readers() == 0).then_some(PATIENCE)
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
}
