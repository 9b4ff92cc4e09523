//! The generator: latents that a gradient changes, and their average.

use std::sync::Arc;

use candle_core::{Result, Tensor, Var, bail};
use frozen::Layer;

use super::{Config, Latent, LatentPullback, Network};
use crate::random::noise;
use crate::{
    BuildContext, ClampWithGrad, Generator, LearningRate, Optimizer, OptimizerConfig,
    OptimizerKind, Progress, State, check_gradient,
};

/// Noise on latents has random numbers of its own among those of a seed.
const ON_LATENTS: u64 = 1 << 41;
/// Most latents of a network.
const MOST_LATENTS: u64 = 1 << 10;

/// A picture as the latents of a GAN.
///
/// What is rendered is the picture of the latents as they are, with noise if there is any; what is shown is that of their average over the steps,
/// bias-corrected, which follows more calmly.
pub struct Gan {
    network: Arc<dyn Network>,
    optimizer: Optimizer,
    latent_noise: LearningRate,
    seed: u64,
    regularize: f64,
    /// Each latent's multiple of the learning rate.
    rates: Vec<f64>,
    /// The names of the latents in a saved state.
    names: Vec<&'static str>,
    /// How much of the average is kept; 0 keeps none.
    decay: f64,
    /// The sums that the averages are made of, a latent each.
    sums: Vec<Tensor>,
    rendered: Option<Rendered>,
}

/// The picture of the present latents, with its pullback to them.
struct Rendered {
    image: Tensor,
    latents: Vec<Tensor>,
    pullback: LatentPullback,
}

impl Gan {
    /// At these latents.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn new(
        config: &Config,
        network: Arc<dyn Network>,
        latents: Vec<Latent>,
        context: &BuildContext<'_>,
    ) -> Result<Self> {
        let parameters = (latents.iter().map(|latent| Var::from_tensor(&latent.value)))
            .collect::<Result<Vec<_>>>()?;
        let sums =
            (parameters.iter().map(|latent| latent.zeros_like())).collect::<Result<Vec<_>>>()?;
        let rates: Vec<f64> = latents.iter().map(|latent| latent.learning_rate).collect();
        let rule = OptimizerConfig::new(OptimizerKind::Adam);
        let optimizer = Optimizer::new(rule, context.learning_rate(&config.lr), parameters)?
            .with_multiples(rates.clone())?;
        Ok(Self {
            network,
            optimizer,
            latent_noise: context.unscaled(&config.latent_noise),
            seed: context.seed,
            regularize: config.regularize,
            names: latents.iter().map(|latent| latent.name).collect(),
            rates,
            decay: config.ema,
            sums,
            rendered: None,
        })
    }

    /// The same, with the noise of another seed.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The latents as they are.
    pub fn latents(&self) -> Vec<Tensor> {
        (self.optimizer.parameters().iter())
            .map(Var::as_detached_tensor)
            .collect()
    }

    /// Their average, which the picture shows.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn averages(&self) -> Result<Vec<Tensor>> {
        let steps = self.optimizer.steps();
        if self.decay == 0.0 || steps == 0 {
            return Ok(self.latents());
        }
        // a power beyond i32 is 0 anyway
        let share = 1.0 - self.decay.powi(i32::try_from(steps).unwrap_or(i32::MAX));
        self.sums.iter().map(|sum| sum / share).collect()
    }

    /// The latents with the noise of this step.
    fn judged(&self) -> Result<Vec<Tensor>> {
        let (latents, step) = (self.latents(), self.optimizer.steps());
        let deviation = self.latent_noise.at(step);
        if deviation == 0.0 {
            return Ok(latents);
        }
        let with_noise = |(index, latent): (usize, &Tensor)| {
            let deviation = deviation * self.rates[index];
            let number = ON_LATENTS | (step as u64 * MOST_LATENTS + index as u64);
            let noise = noise(self.seed, number, latent.dims(), latent.device())?;
            latent + (noise * deviation)?
        };
        latents.iter().enumerate().map(with_noise).collect()
    }

    /// The picture of these latents, with a gradient where it leaves 0..=1.
    fn show(&self, latents: Vec<Tensor>) -> Result<Rendered> {
        let (image, network): (Tensor, LatentPullback) = self.network.vjp(&latents)?;
        let (image, clamp) = ClampWithGrad.vjp(&image)?;
        Ok(Rendered {
            image,
            latents,
            pullback: Box::new(move |grad| network(&clamp(grad)?)),
        })
    }

    /// The names of averages and latents in a saved state.
    fn average_name(&self, index: usize) -> String {
        format!("average.{index}.{}", self.names[index])
    }
}

/// The latents after a step, as the network constrains them.
pub(super) fn constrained(network: &dyn Network, optimizer: &Optimizer) -> Result<Vec<Tensor>> {
    let parameters = optimizer.parameters();
    let before: Vec<Tensor> = parameters.iter().map(Var::as_detached_tensor).collect();
    let after = network.constrain(before.clone())?;
    for ((parameter, before), after) in parameters.iter().zip(&before).zip(&after) {
        if before.id() != after.id() {
            parameter.set(after)?;
        }
    }
    Ok(after)
}

impl Generator for Gan {
    fn render(&mut self) -> Result<Tensor> {
        let rendered = match self.rendered.take() {
            Some(rendered) => rendered,
            None => self.show(self.judged()?)?,
        };
        let image = rendered.image.clone();
        self.rendered = Some(rendered);
        Ok(image)
    }

    fn step(&mut self, _: Tensor, grad: &Tensor) -> Result<Progress> {
        if self.optimizer.progress() == Progress::Finished {
            return Ok(Progress::Finished);
        }
        let Some(rendered) = self.rendered.take() else {
            bail!("a step needs a render before it");
        };
        check_gradient(grad, &rendered.image)?;
        let mut grads = (rendered.pullback)(&grad.detach())?;
        if self.regularize > 0.0
            && let Some(kept) = self.network.regularizer_gradient(&rendered.latents)?
        {
            for (grad, kept) in grads.iter_mut().zip(kept) {
                *grad = (&*grad + (kept * self.regularize)?)?;
            }
        }
        let progress = self.optimizer.step(&grads)?;
        let latents = constrained(self.network.as_ref(), &self.optimizer)?;
        if self.decay > 0.0 {
            for (sum, latent) in self.sums.iter_mut().zip(&latents) {
                *sum = ((&*sum * self.decay)? + (latent * (1.0 - self.decay))?)?;
            }
        }
        Ok(progress)
    }

    fn picture(&mut self) -> Result<Tensor> {
        self.network.eval(&self.averages()?)?.clamp(0.0, 1.0)
    }

    fn save(&self) -> Result<State> {
        let mut state = self.optimizer.save()?;
        if self.decay > 0.0 {
            for (index, sum) in self.sums.iter().enumerate() {
                (state.tensors).insert(self.average_name(index), sum.clone());
            }
        }
        Ok(state)
    }

    fn load(&mut self, state: &State) -> Result<()> {
        let mut sums = Vec::with_capacity(self.sums.len());
        for (index, sum) in self.sums.iter().enumerate() {
            let saved = state.optional(&self.average_name(index), sum.dims())?;
            if saved.is_none() && self.decay > 0.0 {
                bail!(
                    "the saved state has no average of the latent `{}`: it is of another generator, or of one without `ema`",
                    self.names[index]
                );
            }
            sums.push(match saved {
                Some(saved) => saved.to_dtype(sum.dtype())?.to_device(sum.device())?,
                None => sum.clone(),
            });
        }
        self.optimizer.load(state)?;
        self.sums = sums;
        self.rendered = None;
        Ok(())
    }
}
