//! A run: a session and the folder that it fills with its picture, recipe, metrics, frames, video and checkpoints.

pub mod artifact;
mod checkpoint;
pub(crate) mod config;
mod disk;
mod folder;
mod frames;
mod inputs;
mod lock;
mod metrics;
mod names;
mod resumption;
pub mod video;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};
use image::RgbImage;

use crate::recipe::{Edit, Recipe};
use crate::session::{Session, Tick};
use crate::{blank_picture, picture};
use frames::FrameSink;

pub use crate::files::OutputError;
pub use checkpoint::CheckpointError;
pub use disk::disk_full;
pub use folder::RunFolder;
pub(crate) use lock::Lock as FolderLock;
pub(crate) use names::file_name;
pub use names::{
    CHECKPOINT, FRAMES, IMAGE, METRICS, PREVIOUS, RECIPE, RULE, SNAPSHOTS, run_name, without_number,
};
pub use resumption::Resumption;

/// The picture is saved this often during a render, so that there is one however the program ends.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// The result of a render.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The picture's file.
    pub image: PathBuf,
    /// The video's file, if the recipe asks for one.
    pub video: Option<PathBuf>,
    /// The recipe's seed.
    pub seed: u64,
    /// Steps done, those before a resume among them.
    pub steps: usize,
    /// Steps of the whole render, without a stop in its timeline.
    pub planned: usize,
    /// How long the steps of this process took, saving included.
    pub seconds: f64,
    /// The loss at the last step.
    pub loss: f64,
    /// The mean cosine of the cutouts to each prompt at the last step, by the prompt's label.
    pub similarity: BTreeMap<String, f64>,
    /// Whether it was stopped before its last step.
    pub stopped: bool,
    /// Whether it was stopped by a signal such as Ctrl-C, and not by a command.
    pub interrupted: bool,
    /// The picture's contrast: the standard deviation of each channel about its own mean, 0 for one even colour.
    pub contrast: f64,
    /// A warning that the finished picture is nearly one even colour, with what to change.
    pub warning: Option<String>,
}

/// A session with the run folder that it fills: picture, metrics, frames, checkpoints, and the recipe with its timeline.
pub struct Run {
    session: Session,
    folder: RunFolder,
    /// The recipe as it was read; its timeline is the session's.
    recipe: Recipe,
    /// The recipe as it was written to the folder.
    written: Recipe,
    frames: FrameSink,
    start: Instant,
    saved: Option<Instant>,
    /// The step of the last checkpoint.
    checkpoint_step: Option<usize>,
    last: Option<Tick>,
}

impl Run {
    /// Writes the recipe to the folder and prepares for the first step, or for the next one of a resumed session.
    ///
    /// # Errors
    /// When the folder cannot be written to, or a video cannot be begun.
    pub fn new(mut session: Session, mut folder: RunFolder, recipe: &Recipe) -> Result<Self> {
        session.apply_due()?;
        let mut recipe = recipe.clone();
        recipe.timeline = session.timeline();
        let written = folder.write_recipe(&recipe)?;
        let (steps, done) = (session.planned_steps(), session.step());
        let size = recipe.largest_size();
        let frames = FrameSink::open(&folder, &recipe.output, size, steps, done)?;
        Ok(Self {
            session,
            folder,
            recipe,
            written,
            frames,
            start: Instant::now(),
            saved: None,
            checkpoint_step: None,
            last: None,
        })
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The session, for its picture, cutouts and warnings.
    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The folder.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Whether all steps are made.
    pub fn is_finished(&self) -> bool {
        self.session.is_finished()
    }

    fn picture(&mut self) -> Result<RgbImage> {
        Ok(picture::from_tensor(&self.session.image()?)?)
    }

    /// The result of the last step, if there was one.
    pub fn last(&self) -> Option<&Tick> {
        self.last.as_ref()
    }

    /// Makes one step and writes its files. Edits of the timeline whose step has come are part of it.
    ///
    /// # Errors
    /// When the step fails or a file cannot be written; the last good picture is saved and the video completed before, as far as possible.
    pub fn step(&mut self) -> Result<&Tick> {
        match self.try_step() {
            Ok(tick) => Ok(self.last.insert(tick)),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Saves the picture and completes the video after a failed step; the error says what became of them. The checkpoint stays that of the
    /// last good step.
    fn failed(&mut self, error: Error) -> Error {
        // a full disk is reported once
        let is_full = disk_full(&error).is_some();
        let kept = match self.save_image() {
            Ok((path, _)) => format!("the picture so far is {}", path.display()),
            Err(again) if is_full && disk_full(&again).is_some() => self.saved_before(),
            Err(error) => format!("the picture so far could not be saved ({error:#})"),
        };
        let error = error.context(format!("the render stopped; {kept}"));
        let Ok(Err(video)) = self.picture().map(|image| self.frames.finish(&image)) else {
            return error;
        };
        let video = Error::from(video);
        match disk_full(&video) {
            Some(_) if is_full => error.context("there is no video"),
            Some(full) => error.context(format!("there is no video ({full})")),
            None => error.context(format!("there is no video ({video})")),
        }
    }

    /// Which picture exists if the current one cannot be saved.
    fn saved_before(&self) -> String {
        let path = self.folder.path().join(IMAGE);
        if path.is_file() {
            format!("the picture that was saved last is {}", path.display())
        } else {
            "no picture is saved".to_owned()
        }
    }

    fn try_step(&mut self) -> Result<Tick> {
        let tick = self.session.tick()?;
        self.folder.append_metrics(&tick)?;
        if self.frames.wants(tick.step) {
            let image = self.picture()?;
            self.frames.take(&self.folder, tick.step, &image)?;
        }
        if !tick.finished {
            if (self.saved).is_none_or(|saved| saved.elapsed() >= SAVE_EVERY) {
                (self.folder)
                    .write_image(&picture::from_tensor(&tick.image)?, Some(&self.written))?;
                self.saved = Some(Instant::now());
            }
            let every = self.recipe.output.checkpoint;
            if every > 0 && tick.step.is_multiple_of(every) {
                self.checkpoint()?;
            }
        }
        Ok(tick)
    }

    /// Changes the render from here on, and the recipe in the folder.
    ///
    /// # Errors
    /// When a recipe with this edit would be refused; as [`Session::edit`]; or when the folder cannot be written to.
    pub fn edit(&mut self, edit: Edit) -> Result<()> {
        self.session.edit(self.recipe.check_edit(edit)?)?;
        self.update_recipe()
    }

    /// Checks an edit as [`Run::edit`] does, without applying it.
    ///
    /// # Errors
    /// When [`Run::edit`] would refuse it for its prompts, terms or values.
    pub fn check_edit(&mut self, edit: Edit) -> Result<()> {
        let edit = self.recipe.check_edit(edit)?;
        self.session.prepare(&edit)
    }

    /// Takes the last edit back; returns the edit that did so, if there was one to take back. `fade` and `steps` as in [`Session::undo`].
    ///
    /// # Errors
    /// As [`Session::edit`], or when the folder cannot be written to.
    pub fn undo(&mut self, fade: usize, steps: Option<usize>) -> Result<Option<Edit>> {
        let edit = self.session.undo(fade, steps)?;
        if edit.is_some() {
            self.update_recipe()?;
        }
        Ok(edit)
    }

    fn update_recipe(&mut self) -> Result<()> {
        self.checkpoint_step = None;
        self.recipe.timeline = self.session.timeline();
        self.written = self.folder.write_recipe(&self.recipe)?;
        Ok(())
    }

    /// Writes the present picture to the run's snapshots.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn snapshot(&mut self) -> Result<PathBuf> {
        let (image, step) = (self.picture()?, self.session.step());
        Ok((self.folder).write_snapshot(step, &image, Some(&self.written))?)
    }

    /// Writes a checkpoint, unless there is one of this step.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn checkpoint(&mut self) -> Result<()> {
        let step = self.session.step();
        if self.checkpoint_step != Some(step) {
            let mut saved = self.session.save()?;
            saved.recipe = Some(self.written.to_yaml()?);
            self.folder.write_checkpoint(&saved)?;
            self.checkpoint_step = Some(step);
        }
        Ok(())
    }

    /// Saves everything. If the render is not at its end, the stop is recorded in the recipe's timeline, so that the recipe paints the
    /// picture that is saved.
    ///
    /// # Errors
    /// When there is no picture, or one of the files cannot be written.
    pub fn stop(&mut self) -> Result<(PathBuf, RgbImage)> {
        if self.session.is_finished() {
            return self.save();
        }
        // The checkpoint is written before the stop, so that even if the program is killed in between, a stop in the recipe is never ahead of
        // the checkpoint: by that `resume` knows which stops to remove. The picture is saved even if the disk has no room for the others.
        let kept = self.checkpoint();
        self.session.stop();
        let recorded = self.update_recipe();
        let saved = self.save_image()?;
        kept.and(recorded)?;
        Ok(saved)
    }

    /// Writes the picture and a checkpoint.
    ///
    /// # Errors
    /// When there is no picture, or one of the files cannot be written.
    pub fn save(&mut self) -> Result<(PathBuf, RgbImage)> {
        let saved = self.save_image()?;
        let path = saved.0.display();
        (self.checkpoint())
            .with_context(|| format!("there is no checkpoint; the picture is {path}"))?;
        Ok(saved)
    }

    fn save_image(&mut self) -> Result<(PathBuf, RgbImage)> {
        let image = self.picture().context("there is no picture to save")?;
        let path = self.folder.write_image(&image, Some(&self.written))?;
        if let Some(artifact) = self.session.artifact()? {
            artifact::write(self.folder.path(), &artifact)?;
        }
        Ok((path, image))
    }

    /// Copies the picture in the folder under a name with its number of steps, such as `image-0200.png`, before another one replaces it.
    /// Returns the copy's path; `None` if there is no picture.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn keep_image(&self) -> Result<Option<PathBuf>> {
        Ok(self.folder.keep_image(self.session.step())?)
    }

    /// Makes all steps, until `stop` is set, and completes the run as [`Run::finish`] does. `watch` is called after every step.
    ///
    /// # Errors
    /// As [`Run::step`] and [`Run::finish`].
    pub fn complete(mut self, stop: &AtomicBool, mut watch: impl FnMut(&Tick)) -> Result<Outcome> {
        while !stop.load(Ordering::Relaxed) && !self.is_finished() {
            watch(self.step()?);
        }
        self.finish()
    }

    /// Saves everything, as [`Run::stop`] does, and completes the video.
    ///
    /// # Errors
    /// When something cannot be written.
    pub fn finish(mut self) -> Result<Outcome> {
        let stopped = !self.session.is_finished();
        let (image, shown) = self.stop()?;
        let video = (self.frames.finish(&shown))
            .with_context(|| format!("there is no video; the picture is {}", image.display()))?;
        let warning = || blank_picture::warning(&shown, &self.recipe, self.session.step());
        let warning = (!stopped).then(warning).flatten();
        let last = self.last.map(|tick| (tick.loss, tick.similarity));
        let (loss, similarity) = last.unwrap_or_default();
        Ok(Outcome {
            image,
            video,
            seed: self.recipe.seed,
            steps: self.session.step(),
            planned: self.session.planned_steps(),
            seconds: self.start.elapsed().as_secs_f64(),
            loss,
            similarity,
            stopped,
            interrupted: stopped,
            contrast: blank_picture::contrast(&shown),
            warning,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::{Objective, Term, TermOutput};
    use crate::recipe::Prompt;
    use crate::run::METRICS;
    use candle_core::{Device, Tensor};
    use generators::{Generator, Progress, State};
    use phantasia_core::StepContext;
    use std::fs;

    /// A grey picture that stays as it is.
    struct Grey;

    impl Generator for Grey {
        fn render(&mut self) -> candle_core::Result<Tensor> {
            Tensor::full(0.5f32, (1, 3, 2, 2), &Device::Cpu)
        }

        fn step(&mut self, _: Tensor, _: &Tensor) -> candle_core::Result<Progress> {
            Ok(Progress::Running)
        }

        fn save(&self) -> candle_core::Result<State> {
            Ok(State::default())
        }

        fn load(&mut self, _: &State) -> candle_core::Result<()> {
            Ok(())
        }
    }

    /// Content, until a step at which its loss is not a number.
    struct Content {
        until: usize,
    }

    impl Term for Content {
        fn name(&self) -> &str {
            "content"
        }

        fn evaluate(&mut self, image: &Tensor, at: StepContext) -> Result<TermOutput> {
            Ok(TermOutput::new(
                if at.step < self.until { 0.25 } else { f64::NAN },
                image.zeros_like()?,
            ))
        }
    }

    fn painted(
        until: usize,
        stop_after: usize,
        every: usize,
    ) -> (tempfile::TempDir, Result<Outcome>) {
        let out = tempfile::tempdir().expect("a folder");
        let folder = RunFolder::create(out.path(), "grey").expect("a run");
        let mut recipe = Recipe::new(vec![Prompt::new("grey")]);
        recipe.output.every = every;
        let objective = Objective::new(vec![Box::new(Content { until })]);
        let session = Session::from_parts(Box::new(Grey), objective, 5);
        let stop = AtomicBool::new(stop_after == 0);
        let run = Run::new(session, folder, &recipe).expect("a run");
        let outcome = run.complete(&stop, |tick| {
            stop.store(tick.step >= stop_after, Ordering::Relaxed);
        });
        (out, outcome)
    }

    fn grey_picture(out: &tempfile::TempDir) -> bool {
        let image = picture::load_rgb(&out.path().join("grey-001/image.png")).expect("a picture");
        image.pixels().all(|pixel| pixel.0 == [128; 3])
    }

    #[test]
    fn a_whole_render_leaves_all_its_files() {
        let (out, outcome) = painted(usize::MAX, usize::MAX, 2);
        let outcome = outcome.expect("a picture");
        assert_eq!(
            (outcome.steps, outcome.interrupted, outcome.loss),
            (5, false, 0.25)
        );
        assert!(grey_picture(&out));
        let run = out.path().join("grey-001");
        let metrics = fs::read_to_string(run.join(METRICS)).expect("metrics");
        assert_eq!(metrics.lines().count(), 5);
        assert_eq!(fs::read_dir(run.join("frames")).expect("frames").count(), 2);
    }

    #[test]
    fn a_stop_saves_the_picture() {
        for after in [0, 2] {
            let (out, outcome) = painted(usize::MAX, after, 0);
            let outcome = outcome.expect("a picture");
            assert_eq!((outcome.steps, outcome.interrupted), (after, true));
            assert!(grey_picture(&out));
        }
    }

    #[test]
    fn a_loss_that_is_not_a_number_saves_the_picture_and_names_the_term() {
        let (out, outcome) = painted(2, usize::MAX, 0);
        let error = format!("{:#}", outcome.expect_err("a broken loss"));
        assert!(
            error.starts_with("the render stopped; the picture so far is "),
            "{error}"
        );
        assert!(error.contains("content"), "{error}");
        assert!(grey_picture(&out));
    }
}
