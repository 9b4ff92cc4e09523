//! What the runs of a sweep take: by those that are whole, or by a trial of one.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use candle_core::Device;

use super::plan::{Plan, PlannedRun};
use super::store::{Estimate, Store, size_of};
use crate::recipe::Recipe;
use crate::run::{CHECKPOINT, IMAGE, Run, RunFolder};
use crate::session::{Session, SessionOptions};

/// Steps of a trial, and for how long it goes on.
const TRIAL: (usize, Duration) = (3, Duration::from_secs(20));

/// What runs would take, one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// Seconds.
    pub seconds: f64,
    /// Seconds a step.
    pub step: f64,
    /// Bytes on the disk, without videos where there was a trial.
    pub bytes: f64,
    /// What was measured.
    pub basis: Basis,
}

/// What [`Costs`] are measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// So many whole runs.
    Whole(usize),
    /// The first steps of a run.
    Trial {
        /// How many.
        steps: usize,
        /// The run's number.
        run: usize,
    },
}

impl Costs {
    /// What these runs would take, if they are like those that are whole in the store, or like the first one, of which a few steps are painted
    /// with that device and these models, and whose checkpoint counts if runs keep theirs. None where there is nothing to measure.
    ///
    /// # Errors
    /// When the results cannot be read, or the first run cannot be painted.
    pub fn of(
        plan: &Plan,
        store: &Store,
        runs: &[&PlannedRun],
        trial_on: Option<&(Device, SessionOptions)>,
        keeps_checkpoints: bool,
    ) -> Result<Option<Self>> {
        let steps = runs.iter().map(|run| run.steps).sum::<usize>() as f64;
        let count = runs.len() as f64;
        if let Some(Estimate { runs, step, bytes }) = store.estimate(plan.runs().iter())? {
            let (seconds, bytes, basis) = (step * steps, bytes * count, Basis::Whole(runs));
            return Ok(Some(Self {
                seconds,
                step,
                bytes,
                basis,
            }));
        }
        let (Some(first), Some((device, options))) = (runs.first(), trial_on) else {
            return Ok(None);
        };
        let (_, recipe) = plan.recipe(first)?;
        let Trial {
            steps: tried,
            load,
            step,
            bytes,
            checkpoint,
        } = trial(&recipe, (device, options))?;
        let bytes = if keeps_checkpoints {
            bytes
        } else {
            bytes - checkpoint
        };
        Ok(Some(Self {
            seconds: load + step * steps,
            step,
            bytes: bytes * count,
            basis: Basis::Trial {
                steps: tried,
                run: first.number,
            },
        }))
    }
}

/// What the first steps of a run cost.
struct Trial {
    /// How many steps were painted.
    steps: usize,
    /// Seconds to load the models and begin.
    load: f64,
    /// Seconds a step; the first one counts only where there is no other.
    step: f64,
    /// Bytes of a run's folder, frames included, video not.
    bytes: f64,
    /// Those of its checkpoint.
    checkpoint: f64,
}

/// Paints a few steps of a recipe in a folder of its own, which is removed.
fn trial(recipe: &Recipe, worker: (&Device, &SessionOptions)) -> Result<Trial> {
    let out = std::env::temp_dir().join(format!("phantasia-trial-{}", std::process::id()));
    let result = try_trial(recipe, worker, &out);
    let _ = fs::remove_dir_all(&out);
    result
}

fn try_trial(
    recipe: &Recipe,
    (device, options): (&Device, &SessionOptions),
    out: &Path,
) -> Result<Trial> {
    let (most, time) = TRIAL;
    let mut small = recipe.clone();
    let every = std::mem::take(&mut small.output.every);
    small.output.video = None;
    let start = Instant::now();
    let session = Session::with_options(&small, device, options)?;
    let mut run = Run::new(session, RunFolder::create(out, "trial")?, &small)?;
    let load = start.elapsed().as_secs_f64();
    let mut steps = vec![];
    while !run.is_finished() && steps.len() < most && (steps.is_empty() || start.elapsed() < time) {
        let step = Instant::now();
        run.step()?;
        steps.push(step.elapsed().as_secs_f64());
    }
    run.stop()?;
    let folder = run.folder().path().to_owned();
    let frames = recipe.total_steps().checked_div(every).unwrap_or(0);
    let size = |name: &str| fs::metadata(folder.join(name)).map_or(0, |about| about.len());
    let measured = if steps.len() > 1 {
        &steps[1..]
    } else {
        &steps[..]
    };
    Ok(Trial {
        steps: steps.len(),
        load,
        step: measured.iter().sum::<f64>() / measured.len().max(1) as f64,
        bytes: (size_of(&folder) + frames as u64 * size(IMAGE)) as f64,
        checkpoint: size(CHECKPOINT) as f64,
    })
}
