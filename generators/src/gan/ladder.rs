//! A network that enlarges step by step, some steps of which are scaled by what earlier ones saw: FastGAN's and lightweight-gan's shape.

use candle_core::{Result, Tensor};
use frozen::{Layer, Pullback, add_to, channel_products, scale_channels};

use super::layers::length_gradient;
use super::{Latent, LatentPullback, Network, Sampling};
use crate::random::noise;

/// A step of a [`Ladder`].
pub(super) struct Step {
    /// From the step before.
    pub layer: Box<dyn Layer>,
    /// The number of an earlier step, and from what that one's layer returns to a number for each channel of this one, `[1, c, 1, 1]`
    /// (skip-layer excitation).
    pub excitation: Option<(usize, Box<dyn Layer>)>,
}

/// The steps, and what comes after the last.
pub(super) struct Ladder {
    pub steps: Vec<Step>,
    pub last: Box<dyn Layer>,
}

/// A network whose one latent is normal noise, and whose picture is what a [`Ladder`] makes of it.
pub(super) struct LadderNetwork {
    pub architecture: &'static str,
    pub ladder: Ladder,
    /// How many numbers the latent has.
    pub latents: usize,
    /// Width and height of the picture.
    pub side: usize,
}

impl Network for LadderNetwork {
    fn architecture(&self) -> &'static str {
        self.architecture
    }

    fn size(&self) -> [usize; 2] {
        [self.side; 2]
    }

    fn draw(&self, sampling: &Sampling) -> Result<Vec<Latent>> {
        let z = noise(sampling.seed, 0, &[1, self.latents], &sampling.device)?;
        Ok(vec![Latent {
            name: "z",
            value: (z * sampling.truncation)?,
            learning_rate: 1.0,
        }])
    }

    fn eval(&self, latents: &[Tensor]) -> Result<Tensor> {
        self.ladder.eval(only(latents)?)
    }

    fn vjp(&self, latents: &[Tensor]) -> Result<(Tensor, LatentPullback)> {
        let (picture, pullback) = self.ladder.vjp(only(latents)?)?;
        Ok((picture, Box::new(move |grad| Ok(vec![pullback(grad)?]))))
    }

    fn regularizer_gradient(&self, latents: &[Tensor]) -> Result<Option<Vec<Tensor>>> {
        Ok(Some(vec![length_gradient(only(latents)?)?]))
    }
}

fn only(latents: &[Tensor]) -> Result<&Tensor> {
    match latents {
        [latent] => Ok(latent),
        _ => candle_core::bail!("{} latents instead of one", latents.len()),
    }
}

/// How a step goes back.
struct Back {
    layer: Pullback,
    excitation: Option<Excited>,
}

struct Excited {
    source: usize,
    gates: Tensor,
    /// What the gates scaled.
    value: Tensor,
    pullback: Pullback,
}

impl Layer for Ladder {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let mut values: Vec<Option<Tensor>> = vec![None; self.steps.len()];
        let mut x = x.clone();
        for (index, step) in self.steps.iter().enumerate() {
            x = step.layer.eval(&x)?;
            if self.is_source(index) {
                values[index] = Some(x.clone());
            }
            if let Some((source, layer)) = &step.excitation {
                x = scale_channels(&x, &layer.eval(seen(&values, *source)?)?)?;
            }
        }
        self.last.eval(&x)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let mut values: Vec<Option<Tensor>> = vec![None; self.steps.len()];
        let mut backs = Vec::with_capacity(self.steps.len());
        let mut x = x.clone();
        for (index, step) in self.steps.iter().enumerate() {
            let (value, layer) = step.layer.vjp(&x)?;
            if self.is_source(index) {
                values[index] = Some(value.clone());
            }
            let mut excitation = None;
            x = value;
            if let Some((source, layer)) = &step.excitation {
                let (gates, pullback) = layer.vjp(seen(&values, *source)?)?;
                let excited = scale_channels(&x, &gates)?;
                excitation = Some(Excited {
                    source: *source,
                    gates,
                    value: std::mem::replace(&mut x, excited),
                    pullback,
                });
            }
            backs.push(Back { layer, excitation });
        }
        let (y, last) = self.last.vjp(&x)?;
        let pullback = move |grad: &Tensor| {
            let mut grad = last(grad)?;
            let mut extra: Vec<Option<Tensor>> = vec![None; backs.len()];
            for (index, back) in backs.iter().enumerate().rev() {
                if let Some(excited) = &back.excitation {
                    let to_gates = channel_products(&grad, &excited.value)?;
                    add_to(&mut extra[excited.source], (excited.pullback)(&to_gates)?)?;
                    grad = scale_channels(&grad, &excited.gates)?;
                }
                if let Some(extra) = &extra[index] {
                    grad = (grad + extra)?;
                }
                grad = (back.layer)(&grad)?;
            }
            Ok(grad)
        };
        Ok((y, Box::new(pullback)))
    }
}

impl Ladder {
    /// Whether a later step is scaled by this one.
    fn is_source(&self, index: usize) -> bool {
        let sources = self
            .steps
            .iter()
            .filter_map(|step| step.excitation.as_ref());
        sources
            .map(|(source, _)| *source)
            .any(|source| source == index)
    }
}

fn seen(values: &[Option<Tensor>], source: usize) -> Result<&Tensor> {
    match values.get(source) {
        Some(Some(value)) => Ok(value),
        _ => candle_core::bail!(
            "a step of a network is scaled by step {source}, which comes after it"
        ),
    }
}
