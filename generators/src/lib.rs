//! Generators: what turns the gradient of an image into the next image.
//!
//! A [`Generator`] knows nothing of what judges its images. It renders one, is told in which direction that image
//! should change, and changes its own parameters accordingly.

pub mod autoencoder;
pub mod cellular;
mod clamp;
pub mod diffusion;
pub mod fft;
mod latent;
mod learning_rate;
mod noise;
mod optimizer;
mod pad;
pub mod pixels;
pub mod pyramid;
mod state;

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, bail};

pub use autoencoder::{Autoencoder, AutoencoderError};
pub use cellular::{Cellular, CellularConfig};
pub use clamp::ClampWithGrad;
pub use diffusion::{Diffusion, DiffusionConfig};
pub use fft::{Fft, FftConfig};
pub use latent::{Latent, LatentConfig, LatentStart};
pub use learning_rate::LearningRate;
pub use noise::{Noise, NoiseConfig};
pub use optimizer::{Optimizer, OptimizerKind};
pub use pixels::{Pixels, PixelsConfig};
pub use pyramid::{Pyramid, PyramidConfig};
pub use state::State;

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Further steps are wanted.
    Running,
    /// The picture is complete; a further step changes nothing.
    Finished,
}

impl Progress {
    /// After `done` of `steps`.
    pub(crate) fn after(done: usize, steps: usize) -> Self {
        match done >= steps {
            true => Self::Finished,
            false => Self::Running,
        }
    }
}

/// Where `done` steps are between the first, 0, and the last of `steps`, 1: the `t` of schedules.
pub(crate) fn share_done(done: usize, steps: usize) -> f64 {
    let last = steps.saturating_sub(1).max(1);
    (done as f64 / last as f64).min(1.0)
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

/// What a generator leaves beside its picture, to be kept in a file of its own.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The file's name without its extension.
    pub name: &'static str,
    /// Weights by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// What is to be known of the weights, as texts.
    pub settings: BTreeMap<String, String>,
}

/// A parametrised image.
pub trait Generator: Send {
    /// The image as it is now: `[1, 3, height, width]`, values in 0..=1. It may carry candle's graph down to the parameters,
    /// and shares no memory with them: a later step does not change it.
    fn render(&mut self) -> Result<Tensor>;

    /// Told between a render and its step: the loss of the rendered image, for a generator that keeps the best one.
    fn judged(&mut self, _loss: f64) -> Result<()> {
        Ok(())
    }

    /// Called when the objective has changed: losses from here on do not compare with earlier ones.
    fn aims_changed(&mut self) {}

    /// One update of the parameters. `image` is what the last [`Generator::render`] returned, with its graph, and
    /// `grad`, of the same shape, is the gradient of the loss with respect to it.
    fn step(&mut self, image: Tensor, grad: &Tensor) -> Result<Progress>;

    /// The image to show and to keep: `[1, 3, height, width]`, values in 0..=1. It is the rendered one, but for a generator that works on
    /// a different sample at every step, or keeps the best one. It does not change what the next render and step are.
    fn picture(&mut self) -> Result<Tensor> {
        self.render()
    }

    /// What there is to keep beside the picture; nothing for most.
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
