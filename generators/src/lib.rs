//! Generators: what turns the gradient of an image into the next image.
//!
//! A [`Generator`] knows nothing about the objective. It renders an image, is given the gradient of a loss with respect to that image,
//! and updates its parameters.
//!
//! Each kind of generator is a module with its `Config`, which holds all settings of the kind, their defaults and ranges, and builds the
//! generator ([`Build`]). A new kind is its file, and its `mod` and its line of the registry in `lib.rs`.
//!
//! ```
//! use candle_core::Device;
//! use phantasia_generators::{Build as _, BuildContext, GeneratorConfig};
//!
//! # fn main() -> anyhow::Result<()> {
//! let config: GeneratorConfig = serde_json::from_str(r#"{ "kind": "pixels", "lr": 0.05 }"#)?;
//! let mut context = BuildContext::new([64, 48], 100, 7, &Device::Cpu);
//! let mut generator = config.settings().build(&mut context)?;
//! // brighter
//! let image = generator.render()?;
//! let gradient = image.ones_like()?.neg()?;
//! generator.step(image, &gradient)?;
//! assert_eq!(generator.picture()?.dims(), [1, 3, 48, 64]);
//! # Ok(())
//! # }
//! ```

pub mod autoencoder;
pub mod blocks;
mod build;
pub mod cellular;
mod clamp;
pub mod diffusion;
pub mod fft;
pub mod gan;
mod guide;
pub mod latent;
mod layers;
pub mod noise;
mod optimizer;
pub mod pixels;
pub mod pyramid;
mod random;
mod registry;
mod starts;
mod state;
pub mod symmetry;
mod through;
pub mod vqgan;

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, bail};

pub use autoencoder::{Autoencoder, AutoencoderError};
pub use build::{Build, BuildContext, LearningRate, LearningRateScale, ModelSource};
pub use cellular::Cellular;
pub use clamp::ClampWithGrad;
pub use diffusion::Diffusion;
pub use fft::Fft;
pub use gan::Gan;
pub use guide::Guide;
pub use latent::Latent;
pub use noise::Noise;
pub use optimizer::{Optimizer, OptimizerConfig, OptimizerKind};
pub use pixels::Pixels;
pub use pyramid::Pyramid;
pub use registry::PRESETS;
pub use starts::Starts;
pub use state::State;

registry::registry! {
    /// Layers of several sizes, each enlarged to the picture's and summed.
    Pyramid(pyramid),
    /// A diffusion model, guided.
    Diffusion(diffusion),
    /// The noise that a one-step diffusion model turns into a picture.
    Noise(noise),
    /// The latents of a VQGAN, each replaced by the nearest code of its codebook.
    Vqgan(vqgan),
    /// The latents of an autoencoder as they are.
    Latent(latent),
    /// The latents of a GAN.
    Gan(gan),
    /// A neural cellular automaton.
    Cellular(cellular),
    /// Pixels, of any colour or of a palette's.
    Pixels(pixels),
    /// The picture's spectrum.
    Fft(fft),
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There are further steps.
    Running,
    /// The picture is complete; a further step changes nothing.
    Finished,
}

/// Refuses a gradient that is not the picture's.
pub(crate) fn check_gradient(grad: &Tensor, image: &Tensor) -> Result<()> {
    if grad.dims() != image.dims() {
        bail!(
            "the gradient has shape {:?}, and the picture {:?}",
            grad.dims(),
            image.dims()
        );
    }
    Ok(())
}

/// What a generator makes beside its picture, written to a file of its own.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The file's name without its extension.
    pub name: &'static str,
    /// Weights by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// Metadata of the weights.
    pub settings: BTreeMap<String, String>,
}

/// A parametrised image.
pub trait Generator: Send {
    /// The image as it is now: `[1, 3, height, width]`, values in 0..=1. It may carry candle's graph down to the parameters,
    /// and shares no memory with them: a later step does not change it.
    fn render(&mut self) -> Result<Tensor>;

    /// Called between a render and its step with the loss of the rendered image, for a generator that keeps the best one.
    fn observe_loss(&mut self, _loss: f64) -> Result<()> {
        Ok(())
    }

    /// Called when the objective has changed: losses from here on do not compare with earlier ones.
    fn objective_changed(&mut self) {}

    /// One update of the parameters. `image` is what the last [`Generator::render`] returned, with its graph, and
    /// `grad`, of the same shape, is the gradient of the loss with respect to it.
    fn step(&mut self, image: Tensor, grad: &Tensor) -> Result<Progress>;

    /// The image to show and to keep: `[1, 3, height, width]`, values in 0..=1. It is the rendered one, but for a generator that works on
    /// a different sample at every step, or keeps the best one. It does not change what the next render and step are.
    fn picture(&mut self) -> Result<Tensor> {
        self.render()
    }

    /// What is written beside the picture; nothing for most.
    fn artifact(&self) -> Result<Option<Artifact>> {
        Ok(None)
    }

    /// Whether the number of steps is fixed at construction, as with a sampler: its state cannot be continued with another number of steps.
    fn has_fixed_steps(&self) -> bool {
        false
    }

    /// All that is needed to go on from here: parameters, optimiser moments, the number of steps done.
    fn save(&self) -> Result<State>;

    /// Goes on from where `state` was saved. A state of another generator, or of other sizes, is an error, and leaves
    /// this one as it was.
    fn load(&mut self, state: &State) -> Result<()>;
}
