//! From a picture to the latents that show it.

use candle_core::{Result, Tensor, Var};
use frozen::{AvgPool2d, Layer, add_to};
use phantasia_core::Schedule;

use super::painting::constrained;
use super::{Latent, Network, Sampling};
use crate::starts::seed_of;
use crate::{BuildContext, ClampWithGrad, Optimizer, OptimizerConfig, OptimizerKind};

/// The learning rate at first; it falls to 0.
const RATE: f64 = 0.1;
/// The smallest side at which pictures are compared.
const COARSEST: usize = 4;

/// How latents are looked for: the nearest of several samples, and steps of Adam from there.
#[derive(Clone, Copy, Debug)]
pub struct Inversion {
    /// How many samples are drawn, at least one.
    pub starts: usize,
    /// Steps.
    pub steps: usize,
}

/// What an [`Inversion`] finds.
pub struct Inverted {
    /// The latents of the least error.
    pub latents: Vec<Latent>,
    /// The root mean square of their picture's differences from the target.
    pub error: f64,
    /// That of the nearest sample.
    pub first_error: f64,
}

impl Inversion {
    /// Looks for the latents of `target`, `[1, 3, height, width]` of the network's size in 0..=1. The same sampling finds the same ones.
    ///
    /// What is minimised is the mean square difference, summed over the picture at its own size and at a half of it and so on.
    ///
    /// # Errors
    /// When the network or the device refuses.
    pub fn run(
        &self,
        network: &dyn Network,
        target: &Tensor,
        sampling: &Sampling,
    ) -> Result<Inverted> {
        let mut nearest: Option<(Vec<Latent>, f64)> = None;
        for index in 0..self.starts.max(1) {
            let sampling = Sampling {
                seed: seed_of(sampling.seed, index),
                ..sampling.clone()
            };
            let latents = network.draw(&sampling)?;
            let values: Vec<Tensor> = latents.iter().map(|latent| latent.value.clone()).collect();
            let (loss, _) = compare(&network.eval(&values)?.clamp(0.0, 1.0)?, target)?;
            if nearest.as_ref().is_none_or(|(_, least)| loss < *least) {
                nearest = Some((latents, loss));
            }
        }
        let Some((mut latents, _)) = nearest else {
            candle_core::bail!("no sample was drawn");
        };
        let mut best: Vec<Tensor> = latents.iter().map(|latent| latent.value.clone()).collect();
        let first_error = error(network, &best, target)?;
        let mut least = f64::INFINITY;
        let parameters = best
            .iter()
            .map(Var::from_tensor)
            .collect::<Result<Vec<_>>>()?;
        let multiples = latents.iter().map(|latent| latent.learning_rate).collect();
        let context = BuildContext::new(network.size(), self.steps, 0, &sampling.device);
        let mut optimizer = Optimizer::new(
            OptimizerConfig::new(OptimizerKind::Adam),
            context.learning_rate(&Schedule::from(RATE)),
            parameters,
        )?
        .with_multiples(multiples)?;
        for step in 0..=self.steps {
            let values: Vec<Tensor> = (optimizer.parameters().iter())
                .map(|parameter| parameter.as_detached_tensor().copy())
                .collect::<Result<_>>()?;
            let (image, pullback) = network.vjp(&values)?;
            let (image, clamp) = ClampWithGrad.vjp(&image)?;
            let (loss, grad) = compare(&image, target)?;
            if loss < least {
                least = loss;
                best = values;
            }
            if step == self.steps {
                break;
            }
            let rate = RATE * (1.0 - step as f64 / self.steps as f64);
            optimizer.step_by(&pullback(&clamp(&grad)?)?, rate)?;
            constrained(network, &optimizer)?;
        }
        let error = error(network, &best, target)?;
        for (latent, value) in latents.iter_mut().zip(best) {
            latent.value = value;
        }
        Ok(Inverted {
            latents,
            error,
            first_error,
        })
    }
}

/// The loss of a picture, and its gradient.
fn compare(image: &Tensor, target: &Tensor) -> Result<(f64, Tensor)> {
    let difference = (image - target)?;
    let side = difference.dim(2)?.min(difference.dim(3)?);
    let (mut loss, mut grad) = (0.0, None);
    let mut factor = 1;
    while factor == 1 || side / factor >= COARSEST {
        let (means, pullback) = AvgPool2d::new(factor)?.vjp(&difference)?;
        loss += mean_square(&means)?;
        add_to(
            &mut grad,
            pullback(&(&means * (2.0 / means.elem_count() as f64))?)?,
        )?;
        factor *= 2;
    }
    match grad {
        Some(grad) => Ok((loss, grad)),
        None => candle_core::bail!("a picture without pixels"),
    }
}

fn mean_square(x: &Tensor) -> Result<f64> {
    Ok(f64::from(x.sqr()?.mean_all()?.to_scalar::<f32>()?))
}

fn error(network: &dyn Network, latents: &[Tensor], target: &Tensor) -> Result<f64> {
    let picture = network.eval(latents)?.clamp(0.0, 1.0)?;
    Ok(mean_square(&(picture - target)?)?.sqrt())
}
