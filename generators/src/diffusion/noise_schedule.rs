//! Noise levels: from the discrete times that a network was trained at to the standard deviation of the noise.
//!
//! Everything here is in the coordinates of Karras et al. 2022 (arXiv 2206.00364): a noisy image is `x = image + sigma * noise`.
//! Networks trained with the variance preserved see `x / sqrt(1 + sigma^2)`, and `sigma^2 = (1 - alpha_bar) / alpha_bar`.

use candle_core::{Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much noise each step of the training process added.
#[derive(Clone, Debug, PartialEq)]
pub enum Betas {
    /// From `start` to `end` in equal steps (Ho et al. 2020).
    Linear {
        /// The first beta.
        start: f64,
        /// The last beta.
        end: f64,
    },
    /// The squares of numbers in equal steps from the root of `start` to that of `end` (latent diffusion).
    ScaledLinear {
        /// The first beta.
        start: f64,
        /// The last beta.
        end: f64,
    },
    /// So that alpha_bar falls along a squared cosine, with betas of at most 0.999 (Nichol and Dhariwal 2021, equation 17).
    SquaredCosine,
    /// Along a sigmoid over -6..6, from `start` to `end` (GeoDiff).
    Sigmoid {
        /// The beta that the sigmoid rises from.
        start: f64,
        /// The beta that it rises to.
        end: f64,
    },
    /// These.
    List(Vec<f64>),
}

impl Betas {
    /// The betas of `count` times, each in 0..1.
    ///
    /// # Errors
    /// Where the count is below 2, a list has another length, or a beta is not in 0..1.
    pub fn resolve(&self, count: usize) -> Result<Vec<f64>> {
        if count < 2 {
            bail!("a diffusion process of {count} times: at least 2 are needed");
        }
        let line =
            |from: f64, to: f64| move |i: usize| from + (to - from) * i as f64 / (count - 1) as f64;
        let betas: Vec<f64> = match *self {
            Self::Linear { start, end } => (0..count).map(line(start, end)).collect(),
            Self::ScaledLinear { start, end } => (0..count)
                .map(line(start.sqrt(), end.sqrt()))
                .map(|root| root * root)
                .collect(),
            Self::SquaredCosine => {
                let alpha_bar = |t: f64| {
                    let angle = (t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2;
                    angle.cos().powi(2)
                };
                let at = |i: usize| i as f64 / count as f64;
                (0..count)
                    .map(|i| (1.0 - alpha_bar(at(i + 1)) / alpha_bar(at(i))).min(0.999))
                    .collect()
            }
            Self::Sigmoid { start, end } => (0..count)
                .map(line(-6.0, 6.0))
                .map(|x| start + (end - start) / (1.0 + (-x).exp()))
                .collect(),
            Self::List(ref betas) => betas.clone(),
        };
        if betas.len() != count {
            bail!("{} betas for {count} times", betas.len());
        }
        if let Some(beta) = betas.iter().find(|beta| !(0.0..1.0).contains(*beta)) {
            bail!("a beta of {beta}: betas are at least 0 and below 1");
        }
        Ok(betas)
    }
}

/// Which noise levels a sampler stops at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Spacing {
    /// Equal steps of the model's time, counted from the clean end.
    ///
    /// The noisiest times are left out: DDIM as published.
    Leading,
    /// Equal steps of the model's time, counted from the noisy end.
    ///
    /// Lin et al. 2023, arXiv 2305.08891.
    Trailing,
    /// Equal steps of the model's time from one end to the other.
    Linspace,
    /// Equal steps of the seventh root of the noise level.
    ///
    /// Karras et al. 2022, equation 5.
    Karras,
}

/// The noise levels that a network was trained at.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseSchedule {
    /// The sigma of each time, rising.
    sigmas: Vec<f64>,
    /// What [`Spacing::Leading`] adds to each time.
    offset: usize,
    /// The spacing that the model's makers use.
    spacing: Option<Spacing>,
}

impl NoiseSchedule {
    /// The levels that these betas lead to. `offset` is added to the times of [`Spacing::Leading`] (diffusers' `steps_offset`).
    ///
    /// # Errors
    /// Where a beta is not in 0..1, or the first is 0.
    pub fn new(betas: &Betas, count: usize, offset: usize) -> Result<Self> {
        let mut alpha_bar = 1.0;
        let sigmas: Vec<f64> = (betas.resolve(count)?.into_iter())
            .map(|beta| {
                alpha_bar *= 1.0 - beta;
                ((1.0 - alpha_bar) / alpha_bar).sqrt()
            })
            .collect();
        if sigmas[0] <= 0.0 || sigmas.iter().any(|sigma| !sigma.is_finite()) {
            bail!(
                "betas that lead to noise levels from {} to {}",
                sigmas[0],
                sigmas[count - 1]
            );
        }
        Ok(Self {
            sigmas,
            offset,
            spacing: None,
        })
    }

    /// The same with the spacing that the model's makers use.
    #[must_use]
    pub fn spaced(self, spacing: Option<Spacing>) -> Self {
        Self { spacing, ..self }
    }

    /// The spacing that the model's makers use, if they specify one.
    pub fn spacing(&self) -> Option<Spacing> {
        self.spacing
    }

    /// How many times there are.
    pub fn count(&self) -> usize {
        self.sigmas.len()
    }

    /// The largest noise level.
    pub fn largest(&self) -> f64 {
        self.sigmas[self.count() - 1]
    }

    /// The noise level at a time in 0..=count - 1; between two times its logarithm is interpolated.
    pub fn sigma(&self, time: f64) -> f64 {
        let time = time.clamp(0.0, (self.count() - 1) as f64);
        let below = time.floor() as usize;
        let share = time - below as f64;
        if share == 0.0 {
            return self.sigmas[below];
        }
        let (low, high) = (self.sigmas[below].ln(), self.sigmas[below + 1].ln());
        (low + share * (high - low)).exp()
    }

    /// The time of a noise level; levels outside of those trained at have the first or the last time.
    pub fn time(&self, sigma: f64) -> f64 {
        let above = self.sigmas.partition_point(|&known| known < sigma);
        match above {
            0 => 0.0,
            _ if above == self.count() => (self.count() - 1) as f64,
            // exact where the level is one of those trained at
            _ if self.sigmas[above] == sigma => above as f64,
            _ => {
                let (low, high) = (self.sigmas[above - 1].ln(), self.sigmas[above].ln());
                (above - 1) as f64 + (sigma.ln() - low) / (high - low)
            }
        }
    }

    /// The noise levels of a render of that many steps: falling, `steps + 1` of them, the last one 0.
    ///
    /// # Errors
    /// Where there are no steps, or more of them than times.
    pub fn sampling_schedule(&self, spacing: Spacing, steps: usize) -> Result<Vec<f64>> {
        let count = self.count();
        if steps == 0 || steps > count {
            bail!(
                "a sampler of {steps} steps: this model has {count} noise levels, and takes from 1 to {count} steps"
            );
        }
        let last = (count - 1) as f64;
        let share = |i: usize| i as f64 / (steps - 1).max(1) as f64;
        let mut sigmas: Vec<f64> = match spacing {
            Spacing::Leading => (0..steps)
                .rev()
                .map(|i| (i * (count / steps) + self.offset) as f64)
                .map(|time| self.sigma(time))
                .collect(),
            Spacing::Trailing => (0..steps)
                .map(|i| (count as f64 * (1.0 - i as f64 / steps as f64)).round() - 1.0)
                .map(|time| self.sigma(time))
                .collect(),
            Spacing::Linspace => (0..steps)
                .map(|i| self.sigma(last * (1.0 - share(i))))
                .collect(),
            Spacing::Karras => {
                const RHO: f64 = 7.0;
                let (high, low) = (
                    self.largest().powf(1.0 / RHO),
                    self.sigmas[0].powf(1.0 / RHO),
                );
                (0..steps)
                    .map(|i| (high + share(i) * (low - high)).powf(RHO))
                    .collect()
            }
        };
        sigmas.push(0.0);
        Ok(sigmas)
    }
}
