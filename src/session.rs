//! A render session: a generator, the objective that judges its pictures, and the steps that bring them together.

mod backend;
mod edits;
mod guide;
mod models;
mod seams;
mod state;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use generators::{Artifact, Generator, Progress, State};
use serde::Serialize;

pub use crate::clip::Library;
pub use crate::recipe::Segment;
pub use backend::{SessionBackend, SessionOptions};
pub use state::{SavedSession, SavedState, Source};

use crate::objective::Objective;
use crate::recipe::{Edit, Prompt, Recipe, Terms};
use backend::RecipeBackend;
use phantasia_core::{PromptSchedule, StepContext};

/// The result of one step. As JSON it is a line of a run's metrics.
#[derive(Clone, Debug, Serialize)]
pub struct Tick {
    /// Steps done, this one among them.
    pub step: usize,
    /// The step at which the render ends, as far as is known: edits may change it.
    #[serde(skip)]
    pub steps: usize,
    /// The picture that was judged, as it was before the step: `[1, 3, height, width]` in 0..=1, without a graph.
    #[serde(skip)]
    pub image: Tensor,
    /// The loss of that picture.
    pub loss: f64,
    /// Each term's loss, by name.
    pub terms: BTreeMap<String, f64>,
    /// The mean cosine of the cutouts to each prompt, by its label.
    pub similarity: BTreeMap<String, f64>,
    /// How many cutouts image towers evaluated in it.
    #[serde(skip)]
    pub cutouts: usize,
    /// How long the step took.
    pub seconds: f64,
    /// Whether the render is complete.
    #[serde(skip)]
    pub finished: bool,
}

/// Where the picture may change, and what it is elsewhere.
struct Mask {
    /// `[1, 1, height, width]` in 0..=1
    paint: Tensor,
    /// `[1, 3, height, width]`: what shows where `paint` is 0.
    behind: Tensor,
    /// The same in its original size. Each stage resizes this one: what a small stage has resized would be blurred.
    source: Tensor,
}

impl Mask {
    fn apply(&self, image: &Tensor) -> candle_core::Result<Tensor> {
        let painted = image.broadcast_mul(&self.paint)?;
        painted + self.behind.broadcast_mul(&self.paint.affine(-1.0, 1.0)?)?
    }
}

/// What a restart replaced.
struct Replaced {
    segment: Segment,
    generator: State,
    /// The picture that the segment started from, if that is not the recipe's `init`.
    base: Option<Tensor>,
}

/// A render in progress.
pub struct Session {
    generator: Box<dyn Generator>,
    objective: Objective,
    backend: Option<Box<dyn SessionBackend>>,
    mask: Option<Mask>,
    segment: Segment,
    step: usize,
    /// Changes of prompts and terms so far, by stages and by edits.
    objective_edits: Vec<(Source, Edit)>,
    learning_rate_scale: f64,
    /// Edits of the recipe's timeline whose step has not come.
    ahead: VecDeque<Edit>,
    /// The applied edits.
    timeline: Vec<Edit>,
    /// The edits that take the last ones back, in the order of those.
    undo: Vec<Edit>,
    /// The picture that the present segment started from, if that is not the recipe's `init`.
    base: Option<Tensor>,
    before_restart: Option<Replaced>,
    /// The last picture with a finite gradient.
    last_finite: Option<Tensor>,
}

/// The objective of a recipe, to guide another generator than the recipe's: its CLIPs with the prompts and the terms that it begins with.
///
/// # Errors
/// When a model cannot be loaded, or a prompt cannot be encoded.
pub fn objective(recipe: &Recipe, device: &Device) -> Result<Objective> {
    let mut backend = RecipeBackend::new(recipe, device, &SessionOptions::default())?;
    let begin = backend.stage_edit(0);
    let init = backend.init()?;
    backend.set_base(init.as_ref());
    backend.apply(&begin)?;
    Ok(Objective::new(backend.terms()?))
}

impl Session {
    /// A session that is ready for its first tick.
    pub fn new(recipe: &Recipe, device: &Device) -> Result<Self> {
        Self::with_options(recipe, device, &SessionOptions::default())
    }

    /// A session with settings that are not the recipe's.
    pub fn with_options(
        recipe: &Recipe,
        device: &Device,
        options: &SessionOptions,
    ) -> Result<Self> {
        let backend = RecipeBackend::new(recipe, device, options)?;
        Self::from_backend(Box::new(backend), recipe.timeline.clone())
    }

    /// A session that continues from a saved state of the same recipe, as [`Session::load`] does. What only its start needs is left out.
    ///
    /// # Errors
    /// When a model cannot be loaded, or the state belongs to another recipe.
    pub fn resume(
        recipe: &Recipe,
        device: &Device,
        options: &SessionOptions,
        saved: SavedState,
    ) -> Result<Self> {
        let backend = RecipeBackend::new(recipe, device, options)?;
        let mut session = Self::begun(Box::new(backend), recipe.timeline.clone(), true)?;
        (session.load(saved)).context("the checkpoint does not fit the run's recipe")?;
        Ok(session)
    }

    /// A session with a backend of its own. The edits of the timeline, in the order of their steps, take effect when their step comes.
    pub fn from_backend(backend: Box<dyn SessionBackend>, timeline: Vec<Edit>) -> Result<Self> {
        Self::begun(backend, timeline, false)
    }

    /// A session at its start, into which a saved state is loaded next if it `is_restored`.
    fn begun(
        mut backend: Box<dyn SessionBackend>,
        timeline: Vec<Edit>,
        is_restored: bool,
    ) -> Result<Self> {
        let init = backend.init()?;
        let segment = Segment::new(0, 0, backend.steps(0), init.is_some());
        // the generator may ask for losses
        let edit = backend.stage_edit(0);
        backend.set_base(init.as_ref());
        backend.apply(&edit)?;
        let mask = backend.mask()?;
        // the start shows behind a mask to the end
        let is_start_seen = mask.is_some() && init.is_none();
        let generator =
            backend.generator(&segment, init.as_ref(), is_restored && !is_start_seen)?;
        let mut session = Self::from_parts(generator, Objective::new(vec![]), segment.steps);
        session.backend = Some(backend);
        session.segment = segment;
        session.ahead = timeline.into();
        session.update_objective(Source::Stage(0), &edit)?;
        if let Some(paint) = mask {
            let behind = init.map_or_else(|| session.image(), Ok)?;
            session.mask = Some(Mask {
                paint,
                source: behind.clone(),
                behind,
            });
            session.fit_mask()?;
        }
        Ok(session)
    }

    /// A session of parts, to try generators and objectives with. It has no backend, and so its prompts and terms cannot be edited.
    pub fn from_parts(generator: Box<dyn Generator>, objective: Objective, steps: usize) -> Self {
        Self {
            generator,
            objective,
            backend: None,
            mask: None,
            segment: Segment::new(0, 0, steps, false),
            step: 0,
            objective_edits: vec![],
            learning_rate_scale: 1.0,
            ahead: VecDeque::new(),
            timeline: vec![],
            undo: vec![],
            base: None,
            before_restart: None,
            last_finite: None,
        }
    }

    /// Warnings added since the last call: words of a prompt that a model does not read, sizes that were changed.
    pub fn take_warnings(&mut self) -> Vec<String> {
        (self.backend.as_mut()).map_or_else(Vec::new, |backend| backend.warnings())
    }

    /// Information for the user since the last call, such as which of several starts was chosen.
    pub fn take_notes(&mut self) -> Vec<String> {
        (self.backend.as_mut()).map_or_else(Vec::new, |backend| backend.notes())
    }

    /// Steps done.
    pub fn step(&self) -> usize {
        self.step
    }

    /// The step at which the render ends, as far as is known.
    pub fn steps(&self) -> usize {
        let stop = (self.timeline.last().into_iter().chain(&self.ahead))
            .find_map(|edit| edit.stop.then_some(edit.step));
        let planned = self.planned_steps();
        stop.map_or(planned, |stop| planned.min(stop))
    }

    /// The step at which the render ends without a stop in its timeline.
    pub fn planned_steps(&self) -> usize {
        let later = (self.backend.as_ref()).map_or(0, |backend| {
            (self.segment.stage + 1..backend.stages())
                .map(|stage| backend.steps(stage))
                .sum()
        });
        self.segment.end() + later
    }

    /// The segment that is being painted.
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// The present prompts, without those that fade out.
    pub fn prompts(&self) -> &[Prompt] {
        let mut edits = self.objective_edits.iter().rev();
        (edits.find_map(|(_, edit)| edit.prompts.as_deref())).unwrap_or_default()
    }

    /// The present terms.
    pub fn terms(&self) -> Terms {
        let mut edits = self.objective_edits.iter().rev();
        (edits.find_map(|(_, edit)| edit.terms.clone())).unwrap_or_default()
    }

    /// Numbers that change when prompts, terms or the timeline do: of changes of the objective, and of edits that were made.
    pub(crate) fn revision(&self) -> (usize, usize) {
        (self.objective_edits.len(), self.timeline.len())
    }

    /// The weight of each of [`Session::prompts`] at this step, apart from fades of edits.
    pub fn weights(&self) -> Vec<f64> {
        let at = self.at();
        let weight = |prompt| PromptSchedule::of(prompt).at(at);
        self.prompts().iter().map(weight).collect()
    }

    /// What the recipe's learning rate is multiplied by.
    pub fn learning_rate_scale(&self) -> f64 {
        self.learning_rate_scale
    }

    /// All edits: those applied, then those whose step has not come.
    pub fn timeline(&self) -> Vec<Edit> {
        self.timeline.iter().chain(&self.ahead).cloned().collect()
    }

    /// Whether the render is at its end: all steps are done, or the timeline stops it here.
    pub fn is_finished(&self) -> bool {
        self.is_stopped() || self.is_exhausted()
    }

    /// Whether the timeline stops the render here.
    fn is_stopped(&self) -> bool {
        self.timeline.last().is_some_and(|edit| edit.stop)
    }

    /// Whether all steps are done. Only an edit that gives the stage more steps or restarts it continues the render.
    pub fn is_exhausted(&self) -> bool {
        let last_stage = (self.backend.as_ref())
            .is_none_or(|backend| self.segment.stage + 1 >= backend.stages());
        self.step >= self.segment.end() && last_stage
    }

    /// The total number of steps of the current stage if it makes `more` from here.
    ///
    /// # Errors
    /// When the generator's number of steps is fixed, as a sampler's is.
    pub fn extended_by(&self, more: usize) -> Result<usize> {
        if self.generator.has_fixed_steps() {
            bail!(
                "the last step is done, and a diffusion model cannot make more: begin again from the picture first (R in the window, \
                 {{\"restart\":\"image\"}}), or render the recipe with other `steps`"
            );
        }
        Ok(self.step.saturating_sub(self.segment.origin) + more)
    }

    fn at(&self) -> StepContext {
        StepContext {
            step: self.step.saturating_sub(self.segment.origin),
            steps: self.segment.steps,
            clock: self.step,
        }
    }

    /// One step: renders, judges, and updates the generator. A change of stage comes before it; edits of the timeline take effect
    /// before and after it. Once the render is finished, a tick is an error.
    pub fn tick(&mut self) -> Result<Tick> {
        let start = Instant::now();
        self.apply_due()?;
        if self.is_stopped() {
            bail!("the render is stopped");
        }
        while self.step >= self.segment.end() {
            self.next_stage()?;
        }
        let at = self.at();
        let rendered = self.generator.render().context("the generator failed")?;
        let image = self.shown(&rendered)?;
        let mut guidance = self.objective.guide(&image, at)?;
        if !is_finite(&guidance.grad)? {
            bail!(
                "the gradient is no longer finite at step {}: lower the learning rate",
                self.step + 1
            );
        }
        self.last_finite = Some(image.clone());
        if let Some(mask) = &self.mask {
            guidance.grad = guidance.grad.broadcast_mul(&mask.paint)?;
        }
        (self.generator.observe_loss(guidance.loss))
            .context("the generator could not take its loss")?;
        let progress = (self.generator.step(rendered, &guidance.grad))
            .context("the generator could not take its step")?;
        self.step += 1;
        if progress == Progress::Finished {
            self.segment.steps = self.segment.steps.min(self.step - self.segment.origin);
        }
        // also here, because after the last step there is no next one
        self.apply_due()?;
        Ok(Tick {
            step: self.step,
            steps: self.steps(),
            image,
            loss: guidance.loss,
            terms: guidance.terms,
            similarity: guidance.similarity,
            cutouts: guidance.cutouts,
            seconds: start.elapsed().as_secs_f64(),
            finished: self.is_finished(),
        })
    }

    /// The present picture: `[1, 3, height, width]` in 0..=1; if its values are not finite, the last one whose values were.
    pub fn image(&mut self) -> Result<Tensor> {
        let rendered = self.generator.picture().context("the generator failed")?;
        let image = self.shown(&rendered)?;
        match (&self.last_finite, is_finite(&image)?) {
            (Some(good), false) => Ok(good.clone()),
            (None, false) => bail!("there is no picture: its values are not finite"),
            (_, true) => Ok(image),
        }
    }

    /// What the generator leaves in the run folder in addition to its picture.
    pub fn artifact(&self) -> Result<Option<Artifact>> {
        self.generator.artifact().context("the generator failed")
    }

    /// The cutouts `[n, 3, side, side]` of the present picture that the next step would judge; `None` without a term that uses cutouts.
    pub fn cutouts(&mut self) -> Result<Option<Tensor>> {
        let image = self.image()?;
        self.objective.cutouts(&image, self.at())
    }

    fn shown(&self, rendered: &Tensor) -> Result<Tensor> {
        let image = rendered.detach();
        Ok(match &self.mask {
            None => image,
            Some(mask) => mask.apply(&image)?,
        })
    }
}

/// Whether all values are numbers.
fn is_finite(x: &Tensor) -> candle_core::Result<bool> {
    // a sum of squares is finite if and only if all its parts are, up to values whose square is not
    let sum = x.sqr()?.sum_all()?.to_dtype(DType::F64)?;
    Ok(sum.to_scalar::<f64>()?.is_finite())
}

#[cfg(test)]
mod tests;
