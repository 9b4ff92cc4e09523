//! Painting in the latents of an autoencoder: what is optimised is what its decoder makes a picture of.
//!
//! With a codebook this is VQGAN-CLIP (Crowson et al. 2022): each latent is replaced by the nearest code, and the gradient passes as
//! if it was not; after each step latents are clamped to the codes' range. Without one, latents are optimised as they are.

use std::sync::Arc;

use candle_core::{Result, Tensor, Var, bail};
use frozen::{Layer, Pullback, resize_to_fill};
use phantasia_core::check::Checker;
use phantasia_core::{Schedule, Seamless};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::autoencoder::Codebook;
use crate::build::check_learning_rate;
use crate::random::normals;
use crate::starts::Starts;
use crate::{
    Autoencoder, Build, BuildContext, ClampWithGrad, Generator, Optimizer, OptimizerConfig,
    OptimizerKind, Progress, State,
};

phantasia_core::config! {
    /// The latents of an autoencoder.
    #[schemars(rename = "LatentConfig")]
    pub struct Config {
        /// `embedded`, a folder, a file, or the name of a known model.
        #[schemars(extend("format" = "model", "x-kind" = "latent"))]
        pub model: String = "madebyollin/taesd".into(),
        /// Standard deviation of the noise that the latents start with where there is no image to start from; 1 is about what pictures
        /// have.
        #[schemars(range(min = 0, max = 1e6))]
        pub noise: f64 = 1.0,
        /// The learning rate.
        #[schemars(range(min = 0))]
        pub lr: Schedule = 0.05.into(),
        /// Decay of the latents towards 0, times the learning rate (AdamW's).
        #[schemars(range(min = 0, max = 1e6))]
        pub weight_decay: f64 = 0.0,
        /// Decode in tiles of so many pixels a side, which bounds memory; null does where the whole picture would take several
        /// gigabytes.
        #[schemars(range(min = 1, max = 16384))]
        pub tile: Option<usize> = None,
        #[expect(missing_docs, reason = "the type's docs say it")]
        pub starts: Starts = Starts::default(),
    }
}

impl Build for Config {
    fn build(&self, context: &mut BuildContext<'_>) -> anyhow::Result<Box<dyn Generator>> {
        let autoencoder = context.autoencoder(&self.model)?;
        let start = match context.init {
            None => Start::Noise,
            Some(_) => Start::Init,
        };
        let from_picture = start == Start::Init;
        let latent = self.starts.best(from_picture, context, |context| {
            Ok(Latent::new(
                self,
                Arc::clone(&autoencoder),
                start,
                false,
                context,
            )?)
        })?;
        Ok(Box::new(latent))
    }

    fn check(&self, checker: &mut Checker) {
        check_learning_rate(checker, "lr", &self.lr);
        let how = "give `noise` a value above 0";
        self.starts.check(self.noise > 0.0, how, checker);
    }

    fn allows_zero_steps(&self) -> bool {
        true
    }

    fn check_seamless(&self, _: Seamless, _: &mut Checker) {}

    fn paints_any_size(&self) -> bool {
        false
    }

    fn template(&self) -> Option<&'static str> {
        Some(include_str!("../recipes/latent.yaml"))
    }
}

/// What latents are at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "LatentStart")]
pub enum Start {
    /// A code drawn for each place.
    Codes,
    /// Noise with the mean and deviation of the codes.
    Noise,
    /// What the encoder makes of the image to start from.
    Init,
}

/// Bytes that decoding a picture may take before it is done in tiles.
const DECODING: usize = 3 << 30;

/// A picture as the latents of an autoencoder.
pub struct Latent {
    autoencoder: Arc<Autoencoder>,
    quantise: bool,
    /// The tiles of decoding, in latents a side.
    tile: Option<usize>,
    optimizer: Optimizer,
    pullback: Option<Pullback>,
}

impl Latent {
    /// Latents at their start. With `quantise`, each one is replaced by the nearest code.
    ///
    /// Adds a warning where the picture's size is rounded to whole latents, and where memory asks for tiles.
    ///
    /// # Errors
    /// Where a codebook, an encoder or an init image is needed that is not there.
    pub fn new(
        config: &Config,
        autoencoder: Arc<Autoencoder>,
        start: Start,
        quantise: bool,
        context: &mut BuildContext<'_>,
    ) -> Result<Self> {
        if quantise && autoencoder.codebook().is_none() {
            bail!("this autoencoder has no codebook, so that its latents cannot be quantised");
        }
        let size = autoencoder.nearest_size(context.size);
        let factor = autoencoder.factor();
        let why = format!("`{}` paints in squares of {factor} pixels", config.model);
        context.warn_of_size(size, &why);
        let tile = match config.tile {
            // in latents, and enough of them to overlap
            Some(pixels) => Some(pixels.div_ceil(factor).max(2)),
            None => autoencoder.tile(size, DECODING).inspect(|tile| {
                context.warnings.push(format!(
                    "the picture is decoded in tiles of {} pixels, since the whole would take too much memory",
                    tile * factor
                ));
            }),
        };
        let codebook = autoencoder.codebook().filter(|_| quantise);
        let latents = match start {
            Start::Init => from_image(&autoencoder, codebook, size, context)?,
            Start::Codes => random_codes(codebook, size.map(|side| side / factor), context)?,
            Start::Noise => {
                let [width, height] = size.map(|side| side / factor);
                let shape = (1, autoencoder.channels(), height, width);
                let count = autoencoder.channels() * height * width;
                let mut rng = ChaCha8Rng::seed_from_u64(context.seed);
                let noise = normals(&mut rng, count, config.noise);
                let noise = Tensor::from_vec(noise, shape, context.device)?;
                match codebook {
                    Some(codebook) => codebook.clamp(&codebook.colour(&noise)?)?,
                    None => noise,
                }
            }
        };
        let optimizer = OptimizerConfig {
            weight_decay: config.weight_decay,
            ..OptimizerConfig::new(OptimizerKind::Adam)
        };
        let lr = context.learning_rate(&config.lr);
        Ok(Self {
            optimizer: Optimizer::new(optimizer, lr, vec![Var::from_tensor(&latents)?])?,
            autoencoder,
            quantise,
            tile,
            pullback: None,
        })
    }

    /// The latents, `[1, channels, height / factor, width / factor]`, not quantised.
    pub fn latents(&self) -> &Var {
        &self.optimizer.parameters()[0]
    }

    /// The codebook where latents are quantised.
    fn codebook(&self) -> Option<&Codebook> {
        self.autoencoder.codebook().filter(|_| self.quantise)
    }
}

/// What the encoder makes of the image to start from.
fn from_image(
    autoencoder: &Autoencoder,
    codebook: Option<&Codebook>,
    size: [usize; 2],
    context: &BuildContext<'_>,
) -> Result<Tensor> {
    let Some(init) = context.init()? else {
        bail!("there is no init image to start from");
    };
    let latents = autoencoder.encode(&resize_to_fill(&init, size)?)?;
    match codebook {
        Some(codebook) => codebook.quantise(&latents),
        None => Ok(latents),
    }
}

/// A code drawn for each place.
fn random_codes(
    codebook: Option<&Codebook>,
    [width, height]: [usize; 2],
    context: &BuildContext<'_>,
) -> Result<Tensor> {
    let Some(codebook) = codebook else {
        bail!("there is no codebook to draw codes from");
    };
    let mut rng = ChaCha8Rng::seed_from_u64(context.seed);
    let numbers = (0..height * width).map(|_| rng.random_range(0..codebook.count() as u32));
    let numbers = Tensor::from_iter(numbers, context.device)?;
    codebook.lookup(&numbers, (1, height, width))
}

impl Generator for Latent {
    fn render(&mut self) -> Result<Tensor> {
        let z = self.latents().as_detached_tensor();
        let z = match self.codebook() {
            // straight through: the gradient of the code is that of the latent
            Some(codebook) => codebook.quantise(&z)?,
            None => z,
        };
        let (image, decode) = self.autoencoder.decode_vjp(&z, self.tile)?;
        let (image, clamp) = ClampWithGrad.vjp(&image)?;
        self.pullback = Some(Box::new(move |grad| decode(&clamp(grad)?)));
        Ok(image)
    }

    fn step(&mut self, _: Tensor, grad: &Tensor) -> Result<Progress> {
        if self.optimizer.progress() == Progress::Finished {
            return Ok(Progress::Finished);
        }
        let Some(pullback) = self.pullback.take() else {
            bail!("a step needs a render before it");
        };
        let grad = pullback(&grad.detach())?;
        drop(pullback);
        let progress = self.optimizer.step(&[grad])?;
        if let Some(codebook) = self.codebook() {
            let z = self.latents();
            z.set(&codebook.clamp(&z.as_detached_tensor())?)?;
        }
        Ok(progress)
    }

    fn save(&self) -> Result<State> {
        self.optimizer.save()
    }

    fn load(&mut self, state: &State) -> Result<()> {
        self.optimizer.load(state)
    }
}
