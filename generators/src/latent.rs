//! Painting in the latents of an autoencoder: what is optimised is what its decoder makes a picture of.
//!
//! With a codebook this is VQGAN-CLIP (Crowson et al. 2022): each latent is replaced by the nearest code, and the gradient passes as
//! if it was not; after each step latents are brought back into the codes' range. Without one, latents are painted as they are.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, Var, bail};
use frozen::{Layer, Pullback};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::pyramid::normals;
use crate::{
    Autoencoder, ClampWithGrad, Generator, LearningRate, Optimizer, OptimizerKind, Progress, State,
    share_done,
};

/// What the latents are before the first step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatentStart {
    /// A code drawn for each place; needs a codebook.
    Codes,
    /// Noise with the mean and deviation of the codes; without a codebook, normal noise.
    Noise,
    /// What the encoder makes of the init image.
    Init,
}

/// All that decides how a [`Latent`] paints.
#[derive(Clone, Debug)]
pub struct LatentConfig {
    /// Width of the picture in pixels, a multiple of the autoencoder's factor.
    pub width: usize,
    /// Height of the picture in pixels, a multiple of the autoencoder's factor.
    pub height: usize,
    /// Replace each latent by the nearest code.
    pub quantise: bool,
    /// What the latents are before the first step.
    pub start: LatentStart,
    /// Standard deviation of the noise of [`LatentStart::Noise`], relative to the codes' where there is a codebook.
    pub noise: f64,
    /// How a gradient becomes a step.
    pub optimizer: OptimizerKind,
    /// The learning rate over the render.
    pub lr: LearningRate,
    /// Decode in tiles of so many latents a side.
    pub tile: Option<usize>,
    /// Steps in all.
    pub steps: usize,
    /// Decides the codes or the noise of the start.
    pub seed: u64,
}

/// A picture as the latents of an autoencoder.
pub struct Latent {
    config: LatentConfig,
    autoencoder: Arc<Autoencoder>,
    optimizer: Optimizer,
    pullback: Option<Pullback>,
}

impl Latent {
    /// A painting at its start; `init` is `[1, 3, height, width]` in 0..=1.
    ///
    /// # Errors
    /// Where the size is no multiple of the factor, or the start needs a codebook, an encoder or an init image that is not there.
    pub fn new(
        config: LatentConfig,
        autoencoder: Arc<Autoencoder>,
        init: Option<&Tensor>,
        device: &Device,
    ) -> Result<Self> {
        let factor = autoencoder.factor();
        let (width, height) = (config.width, config.height);
        if width == 0 || height == 0 || width % factor != 0 || height % factor != 0 {
            bail!("{width} x {height} does not divide into latents of {factor} pixels a side");
        }
        if config.quantise && autoencoder.codebook().is_none() {
            bail!("this autoencoder has no codebook, so that its latents cannot be quantised");
        }
        let z = start(&config, &autoencoder, init, device)?;
        let optimizer = Optimizer::new(config.optimizer, vec![Var::from_tensor(&z)?])?;
        Ok(Self {
            config,
            autoencoder,
            optimizer,
            pullback: None,
        })
    }

    /// The latents, `[1, channels, height / factor, width / factor]`, not quantised.
    pub fn latents(&self) -> &Var {
        &self.optimizer.parameters()[0]
    }

    fn share_done(&self) -> f64 {
        share_done(self.optimizer.steps(), self.config.steps)
    }

    fn progress(&self) -> Progress {
        Progress::after(self.optimizer.steps(), self.config.steps)
    }
}

/// The latents before the first step.
fn start(
    config: &LatentConfig,
    autoencoder: &Autoencoder,
    init: Option<&Tensor>,
    device: &Device,
) -> Result<Tensor> {
    let factor = autoencoder.factor();
    let (h, w) = (config.height / factor, config.width / factor);
    let shape = (1, autoencoder.channels(), h, w);
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    let codebook = autoencoder.codebook().filter(|_| config.quantise);
    match config.start {
        LatentStart::Init => {
            let Some(init) = init else {
                bail!("there is no init image to start from");
            };
            let expected = [1, 3, config.height, config.width];
            if init.dims() != expected {
                bail!(
                    "the init image has shape {:?}, and {expected:?} is expected",
                    init.dims()
                );
            }
            let z = autoencoder.encode(&init.to_dtype(DType::F32)?)?;
            match codebook {
                Some(codebook) => codebook.quantise(&z),
                None => Ok(z),
            }
        }
        LatentStart::Codes => {
            let Some(codebook) = codebook else {
                bail!("there is no codebook to draw codes from");
            };
            let numbers = (0..h * w).map(|_| rng.random_range(0..codebook.count() as u32));
            codebook.lookup(&Tensor::from_iter(numbers, device)?, (1, h, w))
        }
        LatentStart::Noise => {
            let count = autoencoder.channels() * h * w;
            let noise = Tensor::from_vec(normals(&mut rng, count, config.noise), shape, device)?;
            match codebook {
                Some(codebook) => codebook.clamp(&codebook.colour(&noise)?),
                None => Ok(noise),
            }
        }
    }
}

impl Generator for Latent {
    fn render(&mut self) -> Result<Tensor> {
        let z = self.latents().as_detached_tensor();
        let z = match self.autoencoder.codebook().filter(|_| self.config.quantise) {
            // straight through: the gradient of the code is that of the latent
            Some(codebook) => codebook.quantise(&z)?,
            None => z,
        };
        let (image, decode) = self.autoencoder.decode_vjp(&z, self.config.tile)?;
        let (image, clamp) = ClampWithGrad.vjp(&image)?;
        self.pullback = Some(Box::new(move |grad| decode(&clamp(grad)?)));
        Ok(image)
    }

    fn step(&mut self, _: Tensor, grad: &Tensor) -> Result<Progress> {
        if self.progress() == Progress::Finished {
            return Ok(Progress::Finished);
        }
        let Some(pullback) = self.pullback.take() else {
            bail!("a step needs a render before it");
        };
        let grad = pullback(&grad.detach())?;
        drop(pullback);
        let lr = self.config.lr.at(self.share_done());
        self.optimizer.step(&[grad], lr)?;
        if let Some(codebook) = self.autoencoder.codebook().filter(|_| self.config.quantise) {
            let z = self.latents();
            z.set(&codebook.clamp(&z.as_detached_tensor())?)?;
        }
        Ok(self.progress())
    }

    fn save(&self) -> Result<State> {
        let mut state = State::default();
        self.optimizer.save(&mut state)?;
        Ok(state)
    }

    fn load(&mut self, state: &State) -> Result<()> {
        self.optimizer.load(state)
    }
}
