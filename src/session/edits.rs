//! Edits of a session, and the change to its next stage.

use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use generators::State;

use super::backend::SessionBackend;
use super::{Mask, Replaced, Segment, Session, Source};
use crate::recipe::{Edit, Restart};

impl Session {
    /// Changes the render from here on, and records the edit in the timeline. A stop at this step is removed, so that the render
    /// continues. Whether the values are valid is for [`Recipe::check_edit`](crate::recipe::Recipe::check_edit) to say.
    ///
    /// # Errors
    /// When a prompt cannot be encoded or the generator cannot begin again; in a session without a backend for every edit of more than
    /// the learning rate.
    pub fn edit(&mut self, edit: Edit) -> Result<()> {
        let back = self.opposite(&edit);
        self.apply(edit)?;
        self.undo.extend(back);
        Ok(())
    }

    /// Undoes the last edit that has not been undone yet. Returns the edit that did so; `None` if there was nothing to undo. Prompts fade
    /// over `fade` steps; `steps` also changes the number of steps of the current stage, unless a restart is undone.
    ///
    /// # Errors
    /// As [`Session::edit`].
    pub fn undo(&mut self, fade: usize, steps: Option<usize>) -> Result<Option<Edit>> {
        let Some(mut back) = self.undo.pop() else {
            return Ok(None);
        };
        back.fade = back.prompts.as_ref().map(|_| fade);
        if back.restart.is_none() {
            back.steps = steps;
        }
        self.apply(back)?;
        Ok(self.timeline.last().cloned())
    }

    /// Ends the render here. The stop becomes a part of the timeline, so that the recipe ends here as well.
    pub fn stop(&mut self) {
        if !self.is_stopped() {
            self.timeline.push(Edit {
                stop: true,
                ..Edit::at(self.step)
            });
        }
    }

    /// Applies the edits of the timeline whose step has come, up to a stop.
    ///
    /// # Errors
    /// When one of them cannot be applied.
    pub fn apply_due(&mut self) -> Result<()> {
        while !self.is_stopped() && (self.ahead.front()).is_some_and(|edit| edit.step <= self.step)
        {
            if let Some(edit) = self.ahead.pop_front() {
                let step = edit.step;
                self.edit(edit)
                    .with_context(|| format!("the timeline's edit at step {step} failed"))?;
            }
        }
        Ok(())
    }

    /// The edit that takes this one back, except its number of steps.
    fn opposite(&self, edit: &Edit) -> Option<Edit> {
        let mut back = Edit::at(self.step);
        back.prompts = (edit.prompts.as_ref()).map(|_| self.prompts().to_vec());
        if edit.terms.is_some() {
            back.terms =
                (self.objective_edits.iter().rev()).find_map(|(_, edit)| edit.terms.clone());
        }
        back.lr = edit.lr.map(|_| self.learning_rate_scale);
        if matches!(edit.restart, Some(Restart::Scratch | Restart::Image)) {
            back.restart = Some(Restart::Undo);
        }
        (!back.is_empty()).then_some(back)
    }

    /// Loads and encodes what an edit's prompts and terms need, without applying them.
    ///
    /// # Errors
    /// When [`Session::edit`] would refuse them.
    pub fn prepare(&mut self, edit: &Edit) -> Result<()> {
        if edit.changes_objective() {
            self.backend()?.prepare(edit)?;
        }
        Ok(())
    }

    fn apply(&mut self, mut edit: Edit) -> Result<()> {
        edit.step = self.step;
        let stop = std::mem::take(&mut edit.stop);
        if stop && edit.is_empty() {
            self.stop();
            return Ok(());
        }
        // first what can fail, so that an edit that is refused changes nothing
        self.prepare(&edit)?;
        if let Some(steps) = edit.steps {
            self.lengthen(steps)?;
        }
        if let Some(restart) = edit.restart {
            self.restart(restart, asks_for_change(&edit))?;
        }
        if let Some(backend) = &mut self.backend {
            backend.apply(&edit)?;
        }
        if let Some(factor) = edit.lr {
            self.learning_rate_scale = factor;
        }
        if self.is_stopped() {
            // the render continues with this edit
            self.timeline.pop();
        }
        self.update_objective(Source::Edit(self.timeline.len()), &edit)?;
        if edit.changes_objective() {
            self.generator.objective_changed();
        }
        self.timeline.push(edit);
        if stop {
            self.stop();
        }
        Ok(())
    }

    /// Rebuilds the objective after an edit that the backend has applied, and records where its prompts and terms came from.
    pub(super) fn update_objective(&mut self, source: Source, edit: &Edit) -> Result<()> {
        if !edit.changes_objective() {
            return Ok(());
        }
        let terms = self.backend()?.terms()?;
        self.objective.set_terms(terms);
        self.objective_edits.push((source, edit.clone()));
        Ok(())
    }

    /// Applies the prompts and terms of an edit, as of its step.
    pub(super) fn set_objective(&mut self, source: Source, edit: &Edit) -> Result<()> {
        self.backend()?.apply(edit)?;
        self.update_objective(source, edit)
    }

    /// Begins the next stage, from the present picture.
    pub(super) fn next_stage(&mut self) -> Result<()> {
        let stage = self.segment.stage + 1;
        if (self.backend.as_ref()).is_none_or(|backend| stage >= backend.stages()) {
            bail!("the render is finished");
        }
        let image = self.image()?;
        let segment = Segment::new(stage, self.step, self.backend()?.steps(stage), true);
        let mut edit = self.backend()?.stage_edit(stage);
        edit.step = self.step;
        self.set_base(Some(image.clone()))?;
        // its prompts first: the generator may ask for losses
        (self.backend()?.apply(&edit))
            .and_then(|()| self.begin(segment, Some(&image)))
            .with_context(|| format!("stage {} could not begin", stage + 1))?;
        self.before_restart = None;
        self.undo.retain(|edit| edit.restart.is_none());
        self.update_objective(Source::Stage(stage), &edit)
    }

    /// Replaces the generator by a new one.
    fn begin(&mut self, segment: Segment, init: Option<&Tensor>) -> Result<()> {
        let generator = self.backend()?.generator(&segment, init, false)?;
        self.generator = generator;
        self.segment = segment;
        self.last_finite = None;
        self.fit_mask()
    }

    /// Records the picture that the present segment started from; none is the recipe's `init`.
    pub(super) fn set_base(&mut self, base: Option<Tensor>) -> Result<()> {
        let picture = match &base {
            Some(picture) => Some(picture.clone()),
            None => self.backend()?.init()?,
        };
        self.backend()?.set_base(picture.as_ref());
        self.base = base;
        Ok(())
    }

    /// Brings the mask to the size of the generator's picture.
    pub(super) fn fit_mask(&mut self) -> Result<()> {
        let Some(mask) = &self.mask else {
            return Ok(());
        };
        let (_, _, height, width) = self.generator.picture()?.dims4()?;
        let fits = |image: &Tensor| image.dims()[2..] == [height, width];
        if fits(&mask.paint) && fits(&mask.behind) {
            return Ok(());
        }
        let source = mask.source.clone();
        let backend = self.backend()?;
        let behind = backend.resize(&source, [width, height])?;
        // from the file again: a mask that was made smaller has lost its edges
        let paint = backend.mask()?;
        let paint = paint.map(|paint| backend.resize(&paint, [width, height]));
        self.mask = paint.transpose()?.map(|paint| Mask {
            paint,
            behind,
            source,
        });
        Ok(())
    }

    /// Begins again, or continues from before the last restart. `needs_base` is whether prompts that come with it ask for a change of the picture
    /// that the segment started from.
    fn restart(&mut self, restart: Restart, needs_base: bool) -> Result<()> {
        let before = Replaced {
            segment: self.segment.clone(),
            generator: self.generator.save()?,
            base: self.base.clone(),
        };
        let init = match restart {
            Restart::Scratch => None,
            Restart::Image => Some(self.image()?),
            Restart::Undo => {
                let Some(Replaced {
                    segment,
                    generator,
                    base,
                }) = self.before_restart.take()
                else {
                    bail!("there is no restart to take back");
                };
                self.restore(segment.resumed(self.step, self.segment.began), &generator)?;
                // where it started from none, prompts that ask for a change keep the picture that they had, those that fade out or are in a
                // checkpoint's history too
                let is_kept = needs_base
                    || (self.objective_edits.iter()).any(|(_, edit)| asks_for_change(edit));
                if base.is_some() || !is_kept || self.backend()?.init()?.is_some() {
                    self.set_base(base)?;
                }
                self.undo.retain(|edit| edit.restart.is_none());
                return Ok(());
            }
        };
        let Segment { stage, steps, .. } = self.segment;
        let segment = Segment::new(stage, self.step, steps, init.is_some());
        let base = self.base.clone();
        if init.is_some() {
            self.set_base(init.clone())?;
        }
        if let Err(error) = self.begin(segment, init.as_ref()) {
            self.set_base(base)?;
            return Err(error);
        }
        self.before_restart = Some(before);
        // an older one can no longer be taken back
        self.undo.retain(|edit| edit.restart.is_none());
        Ok(())
    }

    /// Gives the segment another number of steps; the generator stays as it is.
    fn lengthen(&mut self, steps: usize) -> Result<()> {
        if self.generator.has_fixed_steps() && steps != self.segment.steps {
            bail!(
                "a diffusion model's steps are its sampler's: they cannot become more or fewer once it has begun. Begin again from \
                 the picture (`restart: image`, R in the window), or render the recipe with other `steps`"
            );
        }
        let mut segment = self.segment.clone();
        segment.steps = steps;
        let state = self.generator.save()?;
        self.restore(segment, &state)
    }

    /// Replaces the generator by one that continues from a saved state.
    pub(super) fn restore(&mut self, segment: Segment, state: &State) -> Result<()> {
        // its state replaces the picture
        let init = (segment.from_image).then(|| self.image()).transpose()?;
        let mut generator = self.backend()?.generator(&segment, init.as_ref(), true)?;
        (generator.load(state)).context("the saved generator is not the recipe's")?;
        self.generator = generator;
        self.segment = segment;
        self.last_finite = None;
        Ok(())
    }

    pub(super) fn backend(&mut self) -> Result<&mut (dyn SessionBackend + 'static)> {
        (self.backend.as_deref_mut())
            .context("this session was made of parts: its prompts and terms cannot be changed")
    }
}

/// Whether a prompt of an edit asks for a change of the picture that the segment started from.
fn asks_for_change(edit: &Edit) -> bool {
    let mut prompts = edit.prompts.iter().flatten();
    prompts.any(|prompt| prompt.source.is_some())
}
