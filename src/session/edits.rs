//! How a session goes on to its next stage, and how edits change it.

use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use generators::State;

use super::studio::{Studio, cover};
use super::{Course, Fade, Mask, Session, Source};
use crate::recipe::{Edit, Restart};

impl Session {
    /// Changes the render from here on, and records the edit in the timeline. A stop at this step is removed, so that the render continues.
    ///
    /// # Errors
    /// When a prompt cannot be encoded or the generator cannot begin again; for a session without a studio always, but for the
    /// learning rate.
    pub fn edit(&mut self, edit: Edit) -> Result<()> {
        let back = self.opposite(&edit);
        self.apply(edit)?;
        self.undo.extend(back);
        Ok(())
    }

    /// Undoes the last edit that has not been undone yet. Returns the change; `None` if there is no such edit. Prompts fade over `fade`
    /// steps; `steps` also changes the number of steps of the current stage, unless a restart is undone.
    ///
    /// # Errors
    /// As [`Session::edit`].
    pub fn undo(&mut self, fade: usize, steps: Option<usize>) -> Result<Option<Edit>> {
        let Some(mut back) = self.undo.pop() else {
            return Ok(None);
        };
        if back.prompts.is_some() {
            back.fade = Some(fade);
        }
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

    /// The edit that takes this one back. The steps of a render are not taken back.
    fn opposite(&self, edit: &Edit) -> Option<Edit> {
        let mut back = Edit::at(self.step);
        let terms = || (self.asked.iter().rev()).find_map(|(_, edit)| edit.terms.clone());
        if edit.prompts.is_some() {
            back.prompts = Some(self.prompts.clone());
        }
        if edit.terms.is_some() {
            back.terms = terms();
        }
        if edit.lr.is_some() {
            back.lr = Some(self.rate);
        }
        if matches!(edit.restart, Some(Restart::Scratch | Restart::Image)) {
            back.restart = Some(Restart::Undo);
        }
        (back != Edit::at(self.step)).then_some(back)
    }

    fn apply(&mut self, mut edit: Edit) -> Result<()> {
        edit.step = self.step;
        let stop = std::mem::take(&mut edit.stop);
        if stop && edit.is_empty() {
            self.stop();
            return Ok(());
        }
        if let Some(lr) = edit.lr
            && !(lr.is_finite() && lr > 0.0)
        {
            bail!("a learning rate is multiplied by a number above 0, not by {lr}");
        }
        if edit.prompts.as_ref().is_some_and(Vec::is_empty) {
            bail!("there is no prompt: say what the picture should show");
        }
        // first what can fail, so that an edit that is refused changes nothing
        if edit.prompts.is_some() || edit.terms.is_some() {
            self.studio()?.prepare(&edit)?;
        }
        if let Some(steps) = edit.steps {
            self.lengthen(steps)?;
        }
        if let Some(restart) = edit.restart {
            self.restart(restart)?;
        }
        self.request(&edit)?;
        if let Some(factor) = edit.lr {
            self.rate = factor;
            if let Some(studio) = &mut self.studio {
                studio.set_rate(factor);
            }
        }
        if self.is_stopped() {
            // the render continues with this edit
            self.timeline.pop();
        }
        self.note_wishes(Source::Edit(self.timeline.len()), &edit)?;
        if edit.prompts.is_some() || edit.terms.is_some() {
            self.generator.aims_changed();
        }
        self.timeline.push(edit);
        if stop {
            self.stop();
        }
        Ok(())
    }

    /// Asks the studio for an edit's prompts and terms, as of its step.
    fn request(&mut self, edit: &Edit) -> Result<()> {
        if let Some(prompts) = &edit.prompts {
            let fade = Fade {
                start: edit.step,
                steps: edit.fade.unwrap_or(0),
            };
            self.studio()?.set_prompts(prompts, fade)?;
        }
        if let Some(terms) = &edit.terms {
            self.studio()?.set_terms(terms)?;
        }
        Ok(())
    }

    /// Writes down what the studio was asked for, and lets the objective heed it.
    fn note_wishes(&mut self, source: Source, edit: &Edit) -> Result<()> {
        if edit.prompts.is_none() && edit.terms.is_none() {
            return Ok(());
        }
        let terms = self.studio()?.terms();
        self.objective.set_terms(terms);
        if let Some(prompts) = &edit.prompts {
            self.prompts.clone_from(prompts);
        }
        self.asked.push((source, edit.clone()));
        Ok(())
    }

    /// Asks for what the present stage brings with it.
    pub(super) fn bring_wishes(&mut self) -> Result<()> {
        let stage = self.course.stage;
        let edit = self.wishes(stage)?;
        self.ask(Source::Stage(stage), &edit)
    }

    /// What a stage brings with it, as an edit of the present step.
    pub(super) fn wishes(&mut self, stage: usize) -> Result<Edit> {
        let (prompts, terms) = self.studio()?.wishes(stage);
        Ok(Edit {
            prompts,
            terms,
            ..Edit::at(self.step)
        })
    }

    /// Asks for an edit's prompts and terms, as of its step, and heeds them.
    pub(super) fn ask(&mut self, source: Source, edit: &Edit) -> Result<()> {
        self.request(edit)?;
        self.note_wishes(source, edit)
    }

    /// Goes on to the next stage, from the picture as it is.
    pub(super) fn next_stage(&mut self) -> Result<()> {
        let stage = self.course.stage + 1;
        if (self.studio.as_ref()).is_none_or(|studio| stage >= studio.stages()) {
            bail!("the render is finished");
        }
        let image = self.image()?;
        let step = self.step;
        let studio = self.studio()?;
        let course = Course {
            stage,
            began: step,
            origin: step,
            steps: studio.steps(stage),
            from_image: true,
        };
        self.begin(course, Some(&image))
            .with_context(|| format!("stage {} could not begin", stage + 1))?;
        self.before_restart = None;
        self.undo.retain(|edit| edit.restart.is_none());
        self.bring_wishes()
    }

    /// Lets a new generator paint.
    fn begin(&mut self, course: Course, init: Option<&Tensor>) -> Result<()> {
        let generator = self.studio()?.generator(&course, init)?;
        self.generator = generator;
        self.course = course;
        self.good = None;
        self.fit_mask()
    }

    /// Brings the mask to the size of the present generator's picture.
    pub(super) fn fit_mask(&mut self) -> Result<()> {
        let Some(mask) = &self.mask else {
            return Ok(());
        };
        let (_, _, height, width) = self.generator.render()?.dims4()?;
        if mask.paint.dims()[2..] == [height, width] {
            return Ok(());
        }
        // from the file again: a mask that was made smaller has lost its edges
        let paint = match self.studio()?.mask()? {
            Some(paint) => cover(&paint, [width, height])?,
            None => return Ok(()),
        };
        if let Some(mask) = &mut self.mask {
            *mask = Mask {
                paint,
                behind: cover(&mask.behind, [width, height])?,
            };
        }
        Ok(())
    }

    fn restart(&mut self, restart: Restart) -> Result<()> {
        let began = Course {
            began: self.step,
            origin: self.step,
            ..self.course.clone()
        };
        let before = (self.course.clone(), self.generator.save()?);
        match restart {
            Restart::Undo => {
                let Some((mut course, state)) = self.before_restart.take() else {
                    bail!("there is no restart to take back");
                };
                // the schedule goes on from where it was
                course.origin += self.step.saturating_sub(self.course.began);
                return self.revive(course, &state);
            }
            Restart::Image => {
                let image = self.image()?;
                self.begin(
                    Course {
                        from_image: true,
                        ..began
                    },
                    Some(&image),
                )?;
            }
            Restart::Scratch => self.begin(
                Course {
                    from_image: false,
                    ..began
                },
                None,
            )?,
        }
        self.before_restart = Some(before);
        // one that is older can no longer be taken back
        self.undo.retain(|edit| edit.restart.is_none());
        Ok(())
    }

    /// Gives the course other steps; the generator stays as it is.
    fn lengthen(&mut self, steps: usize) -> Result<()> {
        if self.generator.has_fixed_steps() && steps != self.course.steps {
            bail!(
                "a diffusion model's steps are its sampler's: they cannot become more or fewer once it has begun. Begin again from \
                 the picture (`restart: image`, R in the window), or render the recipe with other `steps`"
            );
        }
        let course = Course {
            steps,
            ..self.course.clone()
        };
        let state = self.generator.save()?;
        self.revive(course, &state)
    }

    /// Lets a generator paint that goes on from where its state was saved.
    pub(super) fn revive(&mut self, course: Course, state: &State) -> Result<()> {
        // one that starts from a picture is given one, which its state replaces
        let init = match course.from_image {
            true => Some(self.image()?),
            false => None,
        };
        let mut generator = self.studio()?.generator(&course, init.as_ref())?;
        generator
            .load(state)
            .context("the saved generator is not the recipe's")?;
        self.generator = generator;
        self.course = course;
        self.good = None;
        Ok(())
    }

    pub(super) fn studio(&mut self) -> Result<&mut (dyn Studio + 'static)> {
        match &mut self.studio {
            Some(studio) => Ok(studio.as_mut()),
            None => bail!("this session was made of parts: what it asks for cannot be changed"),
        }
    }
}
