//! A trained rule at work: growing from a seed at any size, damaged and healing.

mod garden;

use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use generators::cellular::{self, Rule};
use image::RgbImage;

use crate::picture;
use crate::run::{RULE, artifact};

pub use garden::{Care, Garden, Grown};

/// Reads a rule: its file, or the run folder that holds one.
///
/// # Errors
/// When it cannot be read, or holds no rule; the message says what is missing.
pub fn load(path: &Path, device: &Device) -> Result<Rule> {
    let file = match path.is_dir() {
        true => path.join(RULE),
        false => path.to_owned(),
    };
    if path.is_dir() && !file.exists() {
        bail!(
            "`{}` holds no {RULE}: only renders whose generator is `cellular` leave one",
            path.display()
        );
    }
    let (tensors, settings) = artifact::read(&file)?;
    Rule::from_artifact(&tensors, &settings, device)
        .with_context(|| format!("cannot use the rule `{}`", file.display()))
}

/// A pattern that grows.
#[derive(Debug)]
pub struct Growth {
    rule: Rule,
    /// `[1, channels, height, width]`
    state: Tensor,
    seed: u64,
    steps: usize,
}

impl Growth {
    /// A pattern of that size at its start, mid-grey. `seed` decides which cells change when.
    ///
    /// # Errors
    /// When there is no room for it.
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

    /// So many iterations of the rule.
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

    /// Sets a disc of cells back to where all grew from: `x` and `y` are its middle and `radius` its radius, in pixels.
    ///
    /// # Errors
    /// When the device fails.
    pub fn damage(&mut self, x: f64, y: f64, radius: f64) -> Result<()> {
        self.state = self.rule.damage(&self.state, x, y, radius)?;
        Ok(())
    }

    /// Begins anew, and grows as it did at first.
    ///
    /// # Errors
    /// When the device fails.
    pub fn restart(&mut self) -> Result<()> {
        self.state = self.state.zeros_like()?;
        self.steps = 0;
        Ok(())
    }

    /// The pattern as it is now: `[1, 3, height, width]` in 0..=1.
    ///
    /// # Errors
    /// When the device fails.
    pub fn tensor(&self) -> Result<Tensor> {
        Ok(Rule::show(&self.state)?.0)
    }

    /// The pattern as it is now, as a picture.
    ///
    /// # Errors
    /// When the device fails.
    pub fn image(&self) -> Result<RgbImage> {
        Ok(picture::from_tensor(&self.tensor()?)?)
    }
}
