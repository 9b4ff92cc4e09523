//! Autoencoders as frozen networks: they encode pictures to latents and decode these.
//!
//! Four layouts of weights are read into one type: taming-transformers' VQGAN (Esser et al. 2021) and
//! diffusers' VQModel, both with a codebook; diffusers' AutoencoderKL, Stable Diffusion's; and the tiny autoencoders of TAESD's family
//! (TAESD, TAESDXL, TAESD3, TAEF1, TAEF2, TAESANA) in their own layout and in diffusers'.

mod codebook;
mod files;
mod layers;
mod names;
mod tiled;
mod tiny;
mod vqgan;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use frozen::{Chain, Layer, Pullback};
use phantasia_core::Seamless;
use thiserror::Error;
use weights::checkpoint::{Branch, Checkpoint, CheckpointError, Scope};
use weights::models::{EMBEDDED, file_in};

pub use codebook::Codebook;
pub use vqgan::VqganConfig;

use layers::Affine;
use names::Names;
use tiled::Tiled;

/// How the tensors of a checkpoint are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// taming-transformers' VQGAN, and latent-diffusion's.
    Taming,
    /// diffusers' VQModel and AutoencoderKL.
    Diffusers,
    /// TAESD's own: a decoder and an encoder whose layers are numbered, a file each.
    Taesd,
    /// diffusers' AutoencoderTiny.
    DiffusersTiny,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Taming => "the layout of taming-transformers",
            Self::Diffusers => "the layout of diffusers",
            Self::Taesd => "TAESD's layout",
            Self::DiffusersTiny => "the layout of diffusers' AutoencoderTiny",
        })
    }
}

/// Why an autoencoder could not be used.
#[derive(Debug, Error)]
pub enum AutoencoderError {
    /// A tensor is missing, or has another shape than the network expects.
    #[error("{source} (read as {layout})")]
    Weights {
        /// The layout that the names were taken for.
        layout: Layout,
        /// What is wrong.
        source: CheckpointError,
    },
    /// The file could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Nothing in the file is named as in a layout that is read.
    #[error(
        "{origin} is not an autoencoder in a supported layout (taming-transformers, diffusers' VQModel, AutoencoderKL and \
         AutoencoderTiny, TAESD): {found}"
    )]
    Unknown {
        /// The file.
        origin: String,
        /// What it holds instead, as a sentence.
        found: String,
    },
    /// The configuration beside the weights is not supported.
    #[error("{origin}: {what}")]
    Config {
        /// The configuration's file.
        origin: String,
        /// What is wrong with it.
        what: String,
    },
    /// The folder has several autoencoders of TAESD's family.
    #[error(
        "{folder} has several autoencoders: {found}; use the file of one of them instead of the folder"
    )]
    Several {
        /// The folder.
        folder: String,
        /// Their decoders, as a list.
        found: String,
    },
    /// An encoder without its decoder.
    #[error("{encoder} is an encoder, and its decoder {decoder} does not exist")]
    NoDecoder {
        /// The encoder's file.
        encoder: String,
        /// The expected name of its decoder.
        decoder: String,
    },
    /// The folder holds no weights.
    #[error("{folder} holds no weights: {wanted} was looked for")]
    Empty {
        /// The folder.
        folder: String,
        /// The names that are known.
        wanted: String,
    },
    /// candle could not make the network.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// A network that encodes pictures to latents and decodes these.
pub struct Autoencoder {
    encoder: Option<Chain>,
    decoder: Arc<Chain>,
    codebook: Option<Codebook>,
    /// Gives each code a score, where the encoder chooses among them by that (VQGANs trained with the Gumbel softmax).
    scores: Option<Box<dyn Layer>>,
    factor: usize,
    channels: usize,
    latent_scale: f64,
    /// Bytes that the decoder's pullback holds for each pixel of the picture, about.
    bytes_per_pixel: usize,
    /// Along y and x, whether convolutions wrap around.
    wrap: [bool; 2],
    warnings: Vec<String>,
}

impl Autoencoder {
    /// Reads the autoencoder that a file or a folder holds.
    ///
    /// # Errors
    /// Where there is none, it is of no known layout, or a tensor is missing or of another shape than expected.
    pub fn open(path: &Path, device: &Device) -> Result<Self, AutoencoderError> {
        Self::open_seamless(path, Seamless::No, device)
    }

    /// [`Autoencoder::open`], for pictures that repeat without a seam along these axes: its convolutions wrap around, so that latents that are
    /// rolled become the rolled picture.
    ///
    /// # Errors
    /// As [`Autoencoder::open`].
    pub fn open_seamless(
        path: &Path,
        seamless: Seamless,
        device: &Device,
    ) -> Result<Self, AutoencoderError> {
        let files::Weights {
            main: file,
            encoder,
        } = files::find(path)?;
        let mut checkpoint = Checkpoint::open(&file)?;
        let folder = file.parent().unwrap_or(Path::new("."));
        let config = match file_in(folder, ["config.json"]) {
            None => None,
            Some(path) => Some(read_config(&path)?),
        };
        let mut encoder = encoder.map(|path| Checkpoint::open(&path)).transpose()?;
        Self::read(
            &mut checkpoint,
            encoder.as_mut(),
            config.as_ref(),
            seamless.axes(),
            device,
        )
    }

    /// The VQGAN that is part of the program (8 x 8 pixels a latent, 1,024 codes), for pictures that repeat without a seam along these axes.
    /// `tools/embedded-vqgan` trains it.
    ///
    /// # Errors
    /// When candle cannot make the network.
    pub fn embedded(seamless: Seamless, device: &Device) -> Result<Self, AutoencoderError> {
        let mut checkpoint = Checkpoint::from_static(EMBEDDED, embedded_vqgan::WEIGHTS)?;
        let config = Config::parse(EMBEDDED, embedded_vqgan::CONFIG)?;
        let (config, axes) = (Some(&config), seamless.axes());
        Self::read(&mut checkpoint, None, config, axes, device)
    }

    fn read(
        checkpoint: &mut Checkpoint,
        mut encoder: Option<&mut Checkpoint>,
        config: Option<&Config>,
        wrap: [bool; 2],
        device: &Device,
    ) -> Result<Self, AutoencoderError> {
        let layout = guess(checkpoint)?;
        if let Some(encoder) = encoder.as_deref_mut() {
            encoder.locate(tiny::MARKS)?;
        }
        let encoder = encoder.as_deref();
        // a folder may hold weights of several layouts, and its configuration is that of diffusers' one
        let config = config.filter(|_| matches!(layout, Layout::Diffusers | Layout::DiffusersTiny));
        let checkpoint = &*checkpoint;
        let found = match layout {
            Layout::Taming | Layout::Diffusers => {
                let names = Names::new(layout);
                let weights = Branch::root(checkpoint, device);
                VqganConfig::find(checkpoint, &names, config)
                    .and_then(|sizes| Self::vqgan(weights, names, &sizes, wrap))
            }
            Layout::DiffusersTiny | Layout::Taesd => {
                tiny::read(layout, checkpoint, encoder, wrap, device)
            }
        };
        let finished = found.and_then(|mut autoencoder| {
            for checkpoint in std::iter::once(checkpoint).chain(encoder) {
                (autoencoder.warnings).extend(checkpoint.finish(Scope::All, &[])?);
            }
            Ok(autoencoder)
        });
        finished.map_err(|error| match error {
            AutoencoderError::Checkpoint(source) => AutoencoderError::Weights { layout, source },
            error => error,
        })
    }

    /// A VQGAN of these sizes with weights named as taming-transformers does: for checkpoints whose sizes are known, and for random
    /// weights.
    ///
    /// # Errors
    /// Where a tensor is missing or has another shape.
    pub fn taming(weights: Branch<'_>, config: &VqganConfig) -> Result<Self, AutoencoderError> {
        Self::vqgan(weights, Names::new(Layout::Taming), config, [false; 2])
    }

    fn vqgan(
        weights: Branch<'_>,
        names: Names,
        config: &VqganConfig,
        wrap: [bool; 2],
    ) -> Result<Self, AutoencoderError> {
        let codebook = match config.codes {
            0 => None,
            codes => {
                let key = names::codebook(|key| weights.has(key));
                Some(Codebook::new(weights.get(key, &[codes, config.code])?)?)
            }
        };
        Ok(Self {
            encoder: Some(vqgan::encoder(weights, &names, config, wrap)?),
            decoder: Arc::new(vqgan::decoder(weights, &names, config, wrap)?),
            scores: vqgan::gumbel(weights, config)?,
            codebook,
            factor: config.factor(),
            channels: config.code,
            latent_scale: config.latent_scale,
            bytes_per_pixel: config.bytes_per_pixel(),
            wrap,
            warnings: vec![],
        })
    }

    /// Sentences for the user about the files, such as unused tensors.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Pixels per latent along a side.
    pub fn factor(&self) -> usize {
        self.factor
    }

    /// Channels of the latents.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// What a diffusion model multiplies latents by beside what `encode` and `decode` do; 1 but for a VQGAN's, which these leave as codes are.
    pub fn latent_scale(&self) -> f64 {
        self.latent_scale
    }

    /// The vectors that latents are replaced by, for a VQGAN.
    pub fn codebook(&self) -> Option<&Codebook> {
        self.codebook.as_ref()
    }

    /// Whether pictures can be encoded: TAESD's encoder is a file that may be missing.
    pub fn encodes(&self) -> bool {
        self.encoder.is_some()
    }

    /// The size nearest to a size that whole latents make up, at least one.
    pub fn nearest_size(&self, [width, height]: [usize; 2]) -> [usize; 2] {
        let nearest = |side: usize| ((side + self.factor / 2) / self.factor).max(1) * self.factor;
        [nearest(width), nearest(height)]
    }

    /// Pictures `[batch, 3, height, width]` in 0..=1 to latents `[batch, channels, height / factor, width / factor]`, not
    /// yet quantised unless the encoder chooses codes itself.
    ///
    /// # Errors
    /// Where there is no encoder, or the sides are no multiples of the factor.
    pub fn encode(&self, image: &Tensor) -> candle_core::Result<Tensor> {
        let Some(encoder) = &self.encoder else {
            candle_core::bail!(
                "this autoencoder has no encoder, so that no picture can be encoded: put the file of the encoder \
                 beside that of the decoder"
            );
        };
        let (_, _, h, w) = image.dims4()?;
        if h % self.factor != 0 || w % self.factor != 0 {
            candle_core::bail!(
                "a picture of {w} x {h} does not divide into latents of {} pixels a side",
                self.factor
            );
        }
        let latents = encoder.eval(image)?;
        let (Some(scores), Some(codebook)) = (&self.scores, &self.codebook) else {
            return Ok(latents);
        };
        let (b, _, h, w) = latents.dims4()?;
        let numbers = scores.eval(&latents)?.argmax(1)?.flatten_all()?;
        codebook.lookup(&numbers, (b, h, w))
    }

    /// Latents `[batch, channels, h, w]` to pictures `[batch, 3, factor h, factor w]`, about 0..=1 and not clamped.
    ///
    /// # Errors
    /// Where the latents have another shape.
    pub fn decode(&self, latents: &Tensor) -> candle_core::Result<Tensor> {
        self.decoder.eval(latents)
    }

    /// [`Autoencoder::decode`] with its pullback; with `tile`, in tiles of that many latents a side, of which nothing is kept.
    ///
    /// # Errors
    /// Where the latents have another shape, or a tile has less than two latents a side.
    pub fn decode_vjp(
        &self,
        latents: &Tensor,
        tile: Option<usize>,
    ) -> candle_core::Result<(Tensor, Pullback)> {
        match tile {
            None => self.decoder.vjp(latents),
            Some(tile) => Tiled::new(Arc::clone(&self.decoder), tile, self.factor)?
                .wrapping(self.wrap)
                .vjp(latents),
        }
    }

    /// The largest tile, in latents a side, whose decoding with a pullback takes about that many bytes; none where the whole picture
    /// does not take more.
    pub fn tile(&self, [width, height]: [usize; 2], bytes: usize) -> Option<usize> {
        let pixels = bytes / self.bytes_per_pixel.max(1);
        if width.saturating_mul(height) <= pixels {
            return None;
        }
        let side = (pixels as f64).sqrt() as usize / self.factor;
        Some(side.max(tiled::LEAST))
    }
}

/// A `config.json`.
struct Config {
    origin: String,
    json: serde_json::Value,
}

impl Config {
    fn parse(origin: &str, text: &str) -> Result<Self, AutoencoderError> {
        let json = serde_json::from_str(text).map_err(|error| AutoencoderError::Config {
            origin: origin.to_owned(),
            what: format!("it is not JSON ({error})"),
        })?;
        Ok(Self {
            origin: origin.to_owned(),
            json,
        })
    }

    fn fault(&self, what: String) -> AutoencoderError {
        AutoencoderError::Config {
            origin: self.origin.clone(),
            what,
        }
    }
}

fn read_config(path: &Path) -> Result<Config, AutoencoderError> {
    let origin = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|source| CheckpointError::Read(origin.clone(), source))?;
    Config::parse(&origin, &text)
}

/// The layout of a checkpoint, by its tensors' names. A common prefix of the names is removed.
fn guess(checkpoint: &mut Checkpoint) -> Result<Layout, AutoencoderError> {
    // names that only this layout has; the discriminator and the perceptual network under `loss.*` have none of them
    let marks = [
        (Layout::Taming, "decoder.up.0.block.0.conv1.weight"),
        (Layout::Taming, "decoder.mid.block_1.conv1.weight"),
        (
            Layout::Diffusers,
            "decoder.up_blocks.0.resnets.0.conv1.weight",
        ),
        (
            Layout::Diffusers,
            "decoder.mid_block.resnets.0.conv1.weight",
        ),
        (Layout::DiffusersTiny, "decoder.layers.0.weight"),
    ];
    for (layout, mark) in marks {
        if checkpoint.locate(&[mark])? {
            return Ok(layout);
        }
    }
    if checkpoint.locate(tiny::MARKS)? && checkpoint.has("1.weight") {
        return Ok(Layout::Taesd);
    }
    let some: Vec<_> = checkpoint
        .keys()
        .take(3)
        .map(|key| format!("`{key}`"))
        .collect();
    let found = if some.is_empty() {
        "it has no tensors".to_owned()
    } else {
        format!(
            "there is no `decoder.up.0.block.0.conv1.weight` and nothing like it; its tensors begin with {}",
            some.join(", ")
        )
    };
    Err(AutoencoderError::Unknown {
        origin: checkpoint.origin().to_owned(),
        found,
    })
}
