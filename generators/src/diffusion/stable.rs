//! Stable Diffusion (Rombach et al. 2022): a diffusion model in the latents of an autoencoder, conditioned on a text.

use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor};

use super::canvas::Space;
use super::denoise::{ClassifierFreeGuidance, Denoiser, DiscreteDenoiser, Network, Prediction};
use super::embedded;
use super::error::{Loaded, ModelError};
use super::load::{SchedulerConfig, network, scheduler};
use super::load_options::LoadOptions;
use super::noise_schedule::NoiseSchedule;
use super::unet::{ConditionedUNet, UNet};
use crate::Autoencoder;

/// Bytes that decoding with its gradient may take before it is done in tiles.
const DECODING: usize = 3 << 30;

/// Stable Diffusion without its text encoder: it takes encoded texts.
pub struct StableDiffusion {
    unet: Arc<UNet>,
    levels: NoiseSchedule,
    prediction: Prediction,
    clip: Option<f64>,
    autoencoder: Arc<Autoencoder>,
}

impl StableDiffusion {
    /// Loads a pipeline of diffusers from its folder (`unet/`, `scheduler/`, `vae/`). `autoencoder`, a file or a folder, takes the place of `vae/`: TAESD's, which is small.
    ///
    /// Latents have no range, so that predictions are not clamped unless [`LoadOptions::clip`] is set.
    ///
    /// # Errors
    /// Where a file is missing or broken, the model is of another kind, or the autoencoder has other latents.
    pub fn load(
        folder: &Path,
        autoencoder: Option<&Path>,
        options: LoadOptions,
        device: &Device,
    ) -> Loaded<Self> {
        let own = folder.join("vae");
        let autoencoder =
            Autoencoder::open_seamless(autoencoder.unwrap_or(&own), options.seamless, device)?;
        let unet = network(folder, options, device)?;
        Self::new(&scheduler(folder)?, unet, autoencoder, options)
    }

    /// The model that is part of the program.
    ///
    /// # Errors
    /// When candle cannot make the network.
    pub fn embedded(options: LoadOptions, device: &Device) -> Loaded<Self> {
        let autoencoder = Autoencoder::embedded(options.seamless, device)?;
        let unet = embedded::network(options, device)?;
        Self::new(&embedded::scheduler()?, unet, autoencoder, options)
    }

    fn new(
        scheduler: &SchedulerConfig,
        unet: UNet,
        autoencoder: Autoencoder,
        options: LoadOptions,
    ) -> Loaded<Self> {
        let (positive, found) = (unet.config().in_channels, autoencoder.channels());
        if positive != found {
            return Err(ModelError::Unsupported(format!(
                "{positive} channels, and the autoencoder's latents have {found}; a model that paints over parts of a picture, or one of depth, is not read, and \
                 the autoencoder has to be the model's"
            )));
        }
        Ok(Self {
            unet: Arc::new(unet),
            levels: scheduler.levels()?,
            prediction: scheduler.prediction()?,
            clip: (options.clip == Some(true)).then_some(scheduler.clip_sample_range),
            autoencoder: Arc::new(autoencoder),
        })
    }

    /// Sentences for the user about the files of the network and of the autoencoder.
    pub fn warnings(&self) -> impl Iterator<Item = &String> {
        (self.unet.warnings().iter()).chain(self.autoencoder.warnings())
    }

    /// The space of its latents.
    pub fn space(&self) -> Space {
        Space::Latents {
            autoencoder: Arc::clone(&self.autoencoder),
            memory: DECODING,
        }
    }

    /// The model conditioned on a text, `[1, tokens, channels]`.
    ///
    /// # Errors
    /// Where the text has another width than the network expects.
    pub fn conditioned(&self, text: Tensor) -> Result<DiscreteDenoiser> {
        Ok(DiscreteDenoiser {
            network: Arc::new(ConditionedUNet::new(Arc::clone(&self.unet), text)?),
            levels: self.levels.clone(),
            prediction: self.prediction,
            clip: self.clip,
        })
    }

    /// The model with classifier-free guidance from one text to another; with a scale of 1 it uses the positive one alone, and costs half.
    ///
    /// # Errors
    /// As [`StableDiffusion::conditioned`].
    pub fn guided(
        &self,
        positive: Tensor,
        negative: Tensor,
        scale: f64,
    ) -> Result<Arc<dyn Denoiser>> {
        let positive = Arc::new(self.conditioned(positive)?);
        if scale == 1.0 {
            return Ok(positive);
        }
        Ok(Arc::new(ClassifierFreeGuidance {
            positive,
            negative: Arc::new(self.conditioned(negative)?),
            scale,
        }))
    }
}
