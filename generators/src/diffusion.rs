//! Guided diffusion: a sampler goes from noise to an image, and the gradient of a loss of the predicted image guides it.
//!
//! The parts share one interface, `denoised = model(x, sigma)` ([`Denoiser`]): networks of any prediction are adapted to it ([`DiscreteDenoiser`]),
//! samplers are written on it ([`Sampler`]), guidance changes its value ([`Guide`]), and none of them knows another.

mod blocks;
mod canvas;
mod config;
mod denoise;
mod embedded;
mod error;
mod guide;
mod load;
mod load_options;
mod noise_schedule;
mod pipeline;
mod sampler;
mod stable;
mod texts;
mod transformer;
mod unet;

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use frozen::Pullback;

pub use crate::random::noise;
pub(crate) use canvas::Canvas;
pub use canvas::Space;
pub use config::{Config, GuidanceMode};
pub use denoise::{ClassifierFreeGuidance, Denoiser, DiscreteDenoiser, Network, Prediction};
pub use error::ModelError;
pub use guide::Guide;
pub use load::{SchedulerConfig, is_conditional, load};
pub use load_options::LoadOptions;
pub use noise_schedule::{Betas, NoiseSchedule, Spacing};
pub use pipeline::Pipeline;
pub use sampler::{Sampler, SamplerStep};
pub use stable::StableDiffusion;
pub(crate) use texts::{TextGuidance, check_vae};
pub use unet::{ConditionedUNet, OneOrMany, Side, UNet, UNetAt, UNetConfig};

use crate::{BuildContext, Generator, LearningRate, Progress, State, check_gradient};

/// Why a diffusion model paints no symmetric pictures.
pub(crate) const ASYMMETRIC: &str = "a diffusion model paints each picture as a whole, and the mean of its mirrored and turned copies would show \
    them through each other: `symmetry` needs another kind, such as `pyramid`, `fft` or `vqgan`";

/// The prediction at the present noise level.
struct Rendered {
    denoised: Tensor,
    /// The picture that is rendered.
    image: Tensor,
    back: Option<Back>,
}

/// The pullbacks, kept where a gradient is expected.
struct Back {
    /// Through the network, where guidance goes through it.
    network: Option<Pullback>,
    /// From the picture to the sampler's space.
    decode: Pullback,
}

/// Guided diffusion as a [`Generator`]: it renders the clean image that is predicted at its noise level, and a step is one of the sampler's.
///
/// The predicted image may leave 0..=1 where the model does not clamp it, so that a term of the objective can penalise that.
pub struct Diffusion {
    config: Config,
    scale: LearningRate,
    seed: u64,
    canvas: Canvas,
    model: Arc<dyn Denoiser>,
    /// The noise levels, falling, with 0 at the end.
    sigmas: Vec<f64>,
    /// How many of them are left out at the noisy end.
    skip: usize,
    /// The index of the present level.
    position: usize,
    /// The noisy image, -1..=1 or latents of unit variance, plus noise: `[1, channels, height, width]` at the network's size.
    x: Tensor,
    /// The clean image of the step before.
    previous: Option<Tensor>,
    rendered: Option<Rendered>,
}

impl Diffusion {
    /// A sampler at its start: pure noise, or the image to start from with noise of the first level. `space` is where `model` makes its
    /// picture.
    ///
    /// # Errors
    /// Where sizes are 0, or there are no steps, or more of them than noise levels.
    pub fn new(
        config: &Config,
        model: Arc<dyn Denoiser>,
        space: Space,
        context: &mut BuildContext<'_>,
    ) -> Result<Self> {
        let inner = config.resolution.unwrap_or(context.size);
        let canvas = Canvas::new(&config.model, space, inner, model.multiple(), context)?;
        let init = context.init()?;
        let skip = config.skipped(context.steps, init.is_some());
        let spacing = config.spacing(model.levels().spacing());
        let sigmas =
            (model.levels()).sampling_schedule(spacing, context.steps.saturating_add(skip))?;
        let first = noise(context.seed, 0, &canvas.shape(), context.device)?;
        let sigma = sigmas[skip];
        let x = match init {
            // a clean image of unit variance is part of what is unknown
            None if skip == 0 => (first * (1.0 + sigma * sigma).sqrt())?,
            None => (first * sigma)?,
            Some(init) => (canvas.read(&init)? + (first * sigma)?)?,
        };
        Ok(Self {
            scale: context.learning_rate(&config.scale),
            config: config.clone(),
            seed: context.seed,
            canvas,
            model,
            sigmas,
            skip,
            position: skip,
            x,
            previous: None,
            rendered: None,
        })
    }

    /// The picture that its noise becomes in a few steps without guidance, which is enough to choose among starts. Only at its start.
    pub(crate) fn foreseen(&mut self) -> Result<Tensor> {
        const STEPS: usize = 6;
        let levels = &self.sigmas[self.position..];
        let last = levels.len() - 1;
        let steps = STEPS.min(last);
        let sigmas: Vec<f64> = (0..=steps)
            .map(|step| levels[step * last / steps.max(1)])
            .collect();
        let (mut x, mut before, mut previous) = (self.x.clone(), None, None);
        for pair in sigmas.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let denoised = self.model.eval(&x, from)?;
            let at = SamplerStep { previous, from, to };
            let no_noise = || bail!("the sampler adds no noise");
            x = Sampler::DpmPlusPlus2M.step(None, &x, &denoised, before.as_ref(), at, no_noise)?;
            (before, previous) = (Some(denoised), Some(from));
        }
        Ok(self.canvas.show(&x, false)?.0)
    }

    /// Width and height that the network works at.
    pub fn inner_size(&self) -> [usize; 2] {
        self.canvas.inner()
    }

    /// The noisy image in the coordinates of [`Denoiser`], `[1, channels, height, width]`.
    pub fn noisy(&self) -> &Tensor {
        &self.x
    }

    /// How many levels there are before 0.
    fn levels(&self) -> usize {
        self.sigmas.len() - 1
    }

    fn sigma(&self) -> f64 {
        self.sigmas[self.position]
    }

    fn finished(&self) -> bool {
        self.position >= self.levels()
    }

    /// The share of the clean image in what is rendered: with `blend`, `sigma / sqrt(1 + sigma^2)` (Crowson).
    fn share(&self) -> f64 {
        if self.config.blend {
            let sigma = self.sigma();
            sigma / (1.0 + sigma * sigma).sqrt()
        } else {
            1.0
        }
    }

    /// The factor from the noisy image in the coordinates here to the one that a network of preserved variance sees.
    fn preserved(&self) -> f64 {
        1.0 / (1.0 + self.sigma().powi(2)).sqrt()
    }

    /// The factor of the gradient at this step.
    fn scale(&self) -> f64 {
        self.scale.at(self.position - self.skip)
    }

    /// Predicts the clean image; `guided` keeps the pullbacks.
    fn predict(&self, guided: bool) -> Result<Rendered> {
        let (denoised, network) = match self.config.guidance {
            _ if self.finished() => (self.x.clone(), None),
            GuidanceMode::Through if guided => {
                let (denoised, pullback) = self.model.vjp(&self.x, self.sigma())?;
                (denoised, Some(pullback))
            }
            _ => (self.model.eval(&self.x, self.sigma())?, None),
        };
        let share = self.share();
        let blended = if share == 1.0 || self.finished() {
            denoised.clone()
        } else {
            ((&denoised * share)? + (&self.x * (self.preserved() * (1.0 - share)))?)?
        };
        let (image, decode) = self.canvas.show(&blended, guided)?;
        Ok(Rendered {
            denoised,
            image,
            back: decode.map(|decode| Back { network, decode }),
        })
    }

    /// From the gradient of the picture to that of the noisy image.
    fn gradient(&self, back: &Back, grad: &Tensor) -> Result<Tensor> {
        let grad = (back.decode)(&grad.detach().to_dtype(self.x.dtype())?)?;
        let share = self.share();
        let through = match &back.network {
            Some(pullback) => pullback(&(&grad * share)?)?,
            None => (&grad * (share * self.preserved().powi(2)))?,
        };
        if share == 1.0 {
            Ok(through)
        } else {
            through + (grad * ((1.0 - share) * self.preserved()))?
        }
    }
}

impl Generator for Diffusion {
    fn render(&mut self) -> Result<Tensor> {
        let rendered = match self.rendered.take() {
            Some(rendered) => rendered,
            None => self.predict(!self.finished() && self.scale() != 0.0)?,
        };
        let image = rendered.image.clone();
        self.rendered = Some(rendered);
        Ok(image)
    }

    fn step(&mut self, _: Tensor, grad: &Tensor) -> Result<Progress> {
        if self.finished() {
            return Ok(Progress::Finished);
        }
        let Some(rendered) = self.rendered.take() else {
            bail!("a step needs a render before it");
        };
        check_gradient(grad, &rendered.image)?;
        let sigma = self.sigma();
        let guide = Guide {
            scale: self.scale(),
            clamp: self.config.clamp,
        };
        // the scale may have been changed since the picture was rendered
        let rendered = match rendered.back {
            None if guide.scale != 0.0 => self.predict(true)?,
            _ => rendered,
        };
        let denoised = match &rendered.back {
            Some(back) if guide.scale != 0.0 => {
                guide.apply(&rendered.denoised, &self.gradient(back, grad)?, sigma)?
            }
            _ => rendered.denoised.clone(),
        };
        let at = SamplerStep {
            previous: (self.position > self.skip).then(|| self.sigmas[self.position - 1]),
            from: sigma,
            to: self.sigmas[self.position + 1],
        };
        let (eta, previous) = (self.config.eta, self.previous.as_ref());
        let new_noise = || {
            let step = self.position as u64 + 1;
            noise(self.seed, step, self.x.dims(), self.x.device())
        };
        self.x = (self.config.sampler).step(eta, &self.x, &denoised, previous, at, new_noise)?;
        self.previous = Some(denoised);
        self.position += 1;
        Ok(if self.finished() {
            Progress::Finished
        } else {
            Progress::Running
        })
    }

    fn has_fixed_steps(&self) -> bool {
        true
    }

    fn save(&self) -> Result<State> {
        let mut state = State::default();
        state.tensors.insert("noisy".to_owned(), self.x.clone());
        if let Some(previous) = &self.previous {
            state
                .tensors
                .insert("denoised".to_owned(), previous.clone());
        }
        state
            .scalars
            .insert("position".to_owned(), self.position as f64);
        state
            .scalars
            .insert("levels".to_owned(), self.levels() as f64);
        Ok(state)
    }

    fn load(&mut self, state: &State) -> Result<()> {
        let (position, levels) = (state.scalar("position")?, state.scalar("levels")?);
        if levels != self.levels() as f64 {
            bail!(
                "the saved state is of {levels} sampler steps, and this render has {}: a sampler cannot continue in steps of another \
                 length",
                self.levels()
            );
        }
        let first = self.skip as f64;
        if !(position >= first && position <= levels && position.fract() == 0.0) {
            bail!("the saved state stands at step {position} of {levels}");
        }
        let like = |tensor: &Tensor| tensor.to_dtype(self.x.dtype())?.to_device(self.x.device());
        let x = like(state.tensor("noisy", self.x.dims())?)?;
        let previous = state.optional("denoised", self.x.dims())?;
        let previous = previous.map(like).transpose()?;
        self.x = x;
        self.previous = previous;
        self.position = position as usize;
        self.rendered = None;
        Ok(())
    }
}
