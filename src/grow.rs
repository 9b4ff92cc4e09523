//! Growing patterns with a trained rule of a cellular automaton, at any size.

mod worker;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use generators::cellular::{self, Rule};
use image::RgbImage;

use crate::picture;
use crate::run::video::{DEFAULT_FRAMES, VideoWriter};
use crate::run::{RULE, artifact};

pub use worker::{Command, Frame, GrowWorker};

/// Reads a rule from its file, or from a run folder that has one.
///
/// # Errors
/// When it cannot be read, or holds no rule; the message says what is missing.
pub fn load(path: &Path, device: &Device) -> Result<Rule> {
    let mut file = path.to_owned();
    if path.is_dir() {
        file.push(RULE);
        if !file.exists() {
            bail!(
                "`{}` holds no {RULE}: only renders whose generator is `cellular` leave one",
                path.display()
            );
        }
    }
    let (tensors, settings) = artifact::read(&file)?;
    Rule::from_artifact(&tensors, &settings, device)
        .with_context(|| format!("cannot use the rule `{}`", file.display()))
}

/// A growing pattern.
#[derive(Debug)]
pub struct Growth {
    rule: Rule,
    /// `[1, channels, height, width]`
    state: Tensor,
    seed: u64,
    steps: usize,
}

impl Growth {
    /// A pattern of this size at its start, mid-grey. `seed` decides which cells change in which iteration.
    ///
    /// # Errors
    /// When there is not enough memory.
    pub fn new(rule: Rule, [width, height]: [usize; 2], seed: u64) -> Result<Self> {
        let state = rule.start(1, height, width)?;
        Ok(Self {
            rule,
            state,
            seed,
            steps: 0,
        })
    }

    /// Iterations done.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Makes this many iterations of the rule.
    ///
    /// # Errors
    /// When the device fails.
    pub fn grow(&mut self, iterations: usize) -> Result<()> {
        let end = self.steps + iterations;
        let key = cellular::key(&[self.seed]);
        self.state = self.rule.advance(&self.state, self.steps..end, key)?;
        self.steps = end;
        Ok(())
    }

    /// Grows to `steps` iterations or until `stop` is set, and films it in about [`DEFAULT_FRAMES`] frames. At the iteration `damage` it
    /// resets a disc in the middle. Returns the video's path.
    ///
    /// # Errors
    /// When the device fails, or the video cannot be written.
    pub fn film(
        &mut self,
        steps: usize,
        damage: Option<usize>,
        mut video: Option<VideoWriter>,
        stop: &AtomicBool,
    ) -> Result<Option<PathBuf>> {
        let every = steps.div_ceil(DEFAULT_FRAMES).max(1);
        loop {
            if let Some(video) = &mut video {
                video.push(&self.image()?)?;
            }
            if self.steps >= steps || stop.load(Ordering::Relaxed) {
                break;
            }
            let until = (self.steps / every + 1) * every;
            if let Some(step) = damage.filter(|step| (self.steps..until).contains(step)) {
                self.grow(step - self.steps)?;
                let (_, _, height, width) = self.state.dims4()?;
                let [width, height] = [width, height].map(|side| side as f64);
                self.damage(width / 2.0, height / 2.0, width.min(height) / 4.0)?;
            }
            self.grow(until.min(steps) - self.steps)?;
        }
        let last = self.image()?;
        Ok(video.map(|video| video.finish_with(&last)).transpose()?)
    }

    /// Resets a disc of cells to their start; `x` and `y` are its centre and `radius` its radius, in pixels.
    ///
    /// # Errors
    /// When the device fails.
    pub fn damage(&mut self, x: f64, y: f64, radius: f64) -> Result<()> {
        self.state = self.rule.damage(&self.state, x, y, radius)?;
        Ok(())
    }

    /// Begins again, and grows in the same way.
    ///
    /// # Errors
    /// When the device fails.
    pub fn restart(&mut self) -> Result<()> {
        self.state = self.state.zeros_like()?;
        self.steps = 0;
        Ok(())
    }

    /// The present pattern as a picture.
    ///
    /// # Errors
    /// When the device fails.
    pub fn image(&self) -> Result<RgbImage> {
        Ok(picture::from_tensor(&Rule::show(&self.state)?.0)?)
    }
}
