//! Guided diffusion: a sampler walks from noise to an image, and a gradient of the image that is to come bends its way.
//!
//! The parts speak one language, `denoised = model(x, sigma)` ([`Denoise`]): networks of any prediction become it ([`Discrete`]),
//! samplers are written on it ([`Sampler`]), guidance changes its value ([`Guide`]), and none of them knows another.

mod blocks;
mod canvas;
mod denoise;
mod guide;
mod levels;
mod load;
mod noise;
mod sampler;
mod stable;
mod transformer;
mod unet;

use std::sync::Arc;

use candle_core::{Device, Result, Tensor, bail};
use frozen::Pullback;

pub(crate) use canvas::Canvas;
pub use canvas::Space;
pub use denoise::{ClassifierFree, Denoise, Discrete, Network, Prediction};
pub use guide::Guide;
pub use levels::{Betas, Levels, Spacing};
pub use load::{LoadOptions, ModelError, SchedulerConfig, is_conditional, load};
pub use noise::noise;
pub use sampler::{Move, Sampler};
pub use stable::StableDiffusion;
pub use unet::{Conditioned, OneOrMany, Side, UNet, UNetAt, UNetConfig};

use crate::{Generator, LearningRate, Progress, State, check_gradient};

/// What the gradient of the clean image says of the noisy one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuidanceMode {
    /// The gradient stays around the network: the clean image is taken to follow the noisy one by the factor `1 / (1 + sigma^2)`, as it does for
    /// data of unit variance (Song et al. 2023, pseudoinverse guidance). Costs no backward pass.
    Around,
    /// The gradient goes back through the network.
    Through,
}

/// All that decides how a [`Diffusion`] paints.
#[derive(Clone, Debug)]
pub struct DiffusionConfig {
    /// Width of the picture in pixels.
    pub width: usize,
    /// Height of the picture in pixels.
    pub height: usize,
    /// Width and height that the network works at, resized to the picture's; `None` is the picture's. Sides that the network cannot
    /// work at are rounded up.
    pub inner: Option<[usize; 2]>,
    /// Where the walk takes place.
    pub space: Space,
    /// The rule of a step.
    pub sampler: Sampler,
    /// Which noise levels are stopped at.
    pub spacing: Spacing,
    /// How many noise levels there are.
    pub steps: usize,
    /// How many of them are left out at the noisy end, below `steps`.
    pub skip: usize,
    /// What a gradient of the clean image says of the noisy one.
    pub mode: GuidanceMode,
    /// The factor of the gradient, over the share of the walk that is done.
    pub scale: LearningRate,
    /// The largest root mean square of the scaled gradient; see [`Guide::clamp`].
    pub clamp: Option<f64>,
    /// Show, and guide by, a mixture of the clean and the noisy image that goes from the one to the other as the noise goes: `clean * f + noisy * (1 - f)`, where
    /// `f = sigma / sqrt(1 + sigma^2)` (Crowson).
    pub blend: bool,
    /// Decides all noise.
    pub seed: u64,
}

/// What the network sees at the level where the walk stands.
struct Sight {
    denoised: Tensor,
    /// The picture shown.
    image: Tensor,
    back: Option<Back>,
}

/// The ways back, kept where a gradient is to come.
struct Back {
    /// Through the network, where guidance goes through it.
    network: Option<Pullback>,
    /// From the picture to what is shown in the walk's space.
    shown: Pullback,
}

/// Guided diffusion as a [`Generator`]: it renders the clean image that is predicted at its noise level, and a step is one of the sampler's.
///
/// The predicted image may leave 0..=1 where the model does not hold it there, so that a critic can judge that.
pub struct Diffusion {
    config: DiffusionConfig,
    canvas: Canvas,
    model: Arc<dyn Denoise>,
    /// `steps + 1` levels, falling to 0.
    sigmas: Vec<f64>,
    /// The level at which the walk stands.
    position: usize,
    /// The noisy image, -1..=1 or latents of unit variance, plus noise: `[1, channels, height, width]` at the network's size.
    x: Tensor,
    /// The clean image of the step before.
    previous: Option<Tensor>,
    sight: Option<Sight>,
}

impl Diffusion {
    /// A walk at its start: pure noise, or `init`, an image `[1, 3, height, width]` in 0..=1, with noise of the first level.
    ///
    /// # Errors
    /// Where sizes are 0, there are more steps than noise levels, or nothing is left of them after `skip`.
    pub fn new(
        config: DiffusionConfig,
        model: Arc<dyn Denoise>,
        init: Option<&Tensor>,
        device: &Device,
    ) -> Result<Self> {
        let size = [config.width, config.height];
        let canvas = Canvas::new(config.space.clone(), size, config.inner, model.multiple())?;
        if config.skip >= config.steps {
            bail!(
                "{} of {} steps are skipped, so that none is left",
                config.skip,
                config.steps
            );
        }
        let sigmas = model.levels().walk(config.spacing, config.steps)?;
        let first = noise(config.seed, 0, &canvas.shape(), device)?;
        let sigma = sigmas[config.skip];
        let x = match init {
            // a clean image of unit variance is part of what is unknown
            None if config.skip == 0 => (first * (1.0 + sigma * sigma).sqrt())?,
            None => (first * sigma)?,
            Some(init) => (canvas.read(init)? + (first * sigma)?)?,
        };
        Ok(Self {
            position: config.skip,
            config,
            canvas,
            model,
            sigmas,
            x,
            previous: None,
            sight: None,
        })
    }

    /// Width and height that the network works at.
    pub fn inner_size(&self) -> [usize; 2] {
        self.canvas.inner()
    }

    /// How many steps the walk has in all, without those that are skipped.
    pub fn steps(&self) -> usize {
        self.config.steps - self.config.skip
    }

    /// The noisy image in the coordinates of [`Denoise`], `[1, channels, height, width]`.
    pub fn noisy(&self) -> &Tensor {
        &self.x
    }

    fn sigma(&self) -> f64 {
        self.sigmas[self.position]
    }

    fn finished(&self) -> bool {
        self.position >= self.config.steps
    }

    /// 0 at the first step, 1 at the last.
    fn share_done(&self) -> f64 {
        let last = (self.steps() - 1).max(1);
        (self.position - self.config.skip) as f64 / last as f64
    }

    /// The share of clean image in what is shown.
    fn share(&self) -> f64 {
        let sigma = self.sigma();
        match self.config.blend {
            true => sigma / (1.0 + sigma * sigma).sqrt(),
            false => 1.0,
        }
    }

    /// The factor from the noisy image in the coordinates here to the one that a network of preserved variance sees.
    fn preserved(&self) -> f64 {
        1.0 / (1.0 + self.sigma().powi(2)).sqrt()
    }

    /// The factor of the gradient at this step.
    fn scale(&self) -> f64 {
        self.config.scale.at(self.share_done())
    }

    /// `guided` keeps the ways back.
    fn look(&self, guided: bool) -> Result<Sight> {
        let (denoised, network) = match self.config.mode {
            _ if self.finished() => (self.x.clone(), None),
            GuidanceMode::Through if guided => {
                let (denoised, pullback) = self.model.vjp(&self.x, self.sigma())?;
                (denoised, Some(pullback))
            }
            _ => (self.model.eval(&self.x, self.sigma())?, None),
        };
        let share = self.share();
        let shown = match share == 1.0 || self.finished() {
            true => denoised.clone(),
            false => ((&denoised * share)? + (&self.x * (self.preserved() * (1.0 - share)))?)?,
        };
        let (image, shown) = self.canvas.show(&shown, guided)?;
        Ok(Sight {
            denoised,
            image,
            back: shown.map(|shown| Back { network, shown }),
        })
    }

    /// From the gradient of the picture to that of the noisy image.
    fn gradient(&self, back: &Back, grad: &Tensor) -> Result<Tensor> {
        let grad = (back.shown)(&grad.detach().to_dtype(self.x.dtype())?)?;
        let share = self.share();
        let through = match &back.network {
            Some(pullback) => pullback(&(&grad * share)?)?,
            None => (&grad * (share * self.preserved().powi(2)))?,
        };
        match share == 1.0 {
            true => Ok(through),
            false => through + (grad * ((1.0 - share) * self.preserved()))?,
        }
    }
}

impl Generator for Diffusion {
    fn render(&mut self) -> Result<Tensor> {
        let sight = match self.sight.take() {
            Some(sight) => sight,
            None => self.look(!self.finished() && self.scale() != 0.0)?,
        };
        let image = sight.image.clone();
        self.sight = Some(sight);
        Ok(image)
    }

    fn step(&mut self, _: Tensor, grad: &Tensor) -> Result<Progress> {
        if self.finished() {
            return Ok(Progress::Finished);
        }
        let Some(sight) = self.sight.take() else {
            bail!("a step needs a render before it");
        };
        check_gradient(grad, &sight.image)?;
        let sigma = self.sigma();
        let guide = Guide {
            scale: self.scale(),
            clamp: self.config.clamp,
        };
        // the scale may have been changed since the picture was rendered
        let sight = match sight.back {
            None if guide.scale != 0.0 => self.look(true)?,
            _ => sight,
        };
        let denoised = match &sight.back {
            Some(back) if guide.scale != 0.0 => {
                guide.apply(&sight.denoised, &self.gradient(back, grad)?, sigma)?
            }
            _ => sight.denoised.clone(),
        };
        let at = Move {
            previous: (self.position > self.config.skip).then(|| self.sigmas[self.position - 1]),
            from: sigma,
            to: self.sigmas[self.position + 1],
        };
        let place = self.position as u64 + 1;
        let (seed, x) = (self.config.seed, &self.x);
        let next = self
            .config
            .sampler
            .step(x, &denoised, self.previous.as_ref(), at, || {
                noise(seed, place, x.dims(), x.device())
            })?;
        self.x = next;
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
            .insert("levels".to_owned(), self.config.steps as f64);
        Ok(state)
    }

    fn load(&mut self, state: &State) -> Result<()> {
        let (position, levels) = (state.scalar("position")?, state.scalar("levels")?);
        if levels != self.config.steps as f64 {
            bail!(
                "the saved state is of {levels} sampler steps, and this render has {}: a walk over noise levels cannot be continued in \
                 steps of another length",
                self.config.steps
            );
        }
        let first = self.config.skip as f64;
        if !(position >= first && position <= levels && position.fract() == 0.0) {
            bail!("the saved state stands at step {position} of {levels}");
        }
        let like = |tensor: &Tensor| tensor.to_dtype(self.x.dtype())?.to_device(self.x.device());
        let x = like(state.tensor("noisy", self.x.dims())?)?;
        let previous = match state.tensors.contains_key("denoised") {
            true => Some(like(state.tensor("denoised", self.x.dims())?)?),
            false => None,
        };
        self.x = x;
        self.previous = previous;
        self.position = position as usize;
        self.sight = None;
        Ok(())
    }
}
