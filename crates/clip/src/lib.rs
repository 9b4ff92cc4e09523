//! CLIP: how far an image is from words, and in which direction the image would have to change.
//!
//! A [`Clip`] has one text tower and one or more image towers that share its joint space. The towers are built on
//! [`frozen`], so that their gradient with respect to the image is exact and nothing is computed for their weights.

mod activation;
mod clean;
pub mod config;
mod derive;
mod embed;
mod embedded;
mod encoder;
pub mod files;
mod kind;
pub mod memory;
mod numbers;
mod precision;
pub mod preprocess;
mod resnet;
mod text;
mod token_rules;
mod tokenizer;
mod transformer;
mod vision;

use std::path::Path;

pub use activation::ClipActivation;
pub use numbers::Numbers;
pub use precision::{ClipChoice, EMBEDDED_ACTIVATION, Precision};

/// The name of the CLIP that is part of the program.
pub const EMBEDDED: &str = "embedded";

use candle_core::{DType, Device, Result as CandleResult, Tensor};
use frozen::{Chain, Layer, Pullback};
use thiserror::Error;

pub use encoder::{EncodedText, TextEncoder};
pub use tokenizer::{Tokenizer, Tokens, Unread};

use config::{ClipConfig, VisionKind};
use files::ClipFiles;
use memory::{Memory, MemoryConfig, Reading};
use numbers::Within;
use preprocess::{Filter, Fit, Middle, Preprocess};
use text::TextTower;
use weights::checkpoint::{Branch, Checkpoint, CheckpointError, Scope};

/// Why a CLIP could not be loaded or asked.
#[derive(Debug, Error)]
pub enum ClipError {
    /// The weights do not fit or cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The folder lacks a file.
    #[error("{folder} has no {missing}; a CLIP's folder holds {wanted}")]
    NoFile {
        /// The folder.
        folder: String,
        /// What was looked for.
        missing: &'static str,
        /// What belongs there.
        wanted: &'static str,
    },
    /// A file of the folder could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The configuration cannot be used.
    #[error("the configuration {path} {what}")]
    Config {
        /// The file.
        path: String,
        /// What is wrong, as the rest of a sentence.
        what: String,
    },
    /// The weights belong to an unsupported kind of model.
    #[error("{path} has the weights of {kind}; {}", kind::READ)]
    Kind {
        /// The file.
        path: String,
        /// The kind of model.
        kind: String,
    },
    /// The tokenizer cannot be used.
    #[error("the tokenizer of {model} failed: {what}")]
    Tokenizer {
        /// The model.
        model: String,
        /// What is wrong.
        what: String,
    },
    /// The model's vocabulary has no tokens for a text.
    #[error(
        "`{model}` can read nothing of \"{text}\": its vocabulary has no such characters; use other words or another CLIP"
    )]
    NothingRead {
        /// The model.
        model: String,
        /// The text.
        text: String,
    },
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// A text in the joint space.
#[derive(Clone, Debug)]
pub struct TextEmbedding {
    /// `[projection]`, of unit length.
    pub vector: Vec<f32>,
    /// The parts of the text that the model does not read as written.
    pub unread: Unread,
}

/// What of a picture a tower makes sense of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Squares of any size and place.
    Cutouts,
    /// The largest square in the middle, as it is.
    Middle,
    /// All of it, squeezed into a square.
    All,
}

/// What a tower is asked for: a place among its embeddings.
#[derive(Clone, Debug)]
pub struct Aim {
    /// As wide as the tower's embeddings, of unit length.
    pub vector: Vec<f32>,
    /// How much the tower knows of it, 0..=1: what it does not know, it leaves to others to paint.
    pub sure: f64,
}

impl Aim {
    /// A place of the joint space, which a tower of that space knows as well as any.
    fn joint(embedding: &[f32]) -> Self {
        Self {
            vector: embedding.to_vec(),
            sure: 1.0,
        }
    }
}

/// One CLIP: a text tower, and the image towers that share its joint space.
pub struct Clip {
    name: String,
    text: TextTower,
    tokenizer: Tokenizer,
    towers: Vec<Tower>,
    projection: usize,
    logit_scale: f32,
    logit_bias: Option<f32>,
    warnings: Vec<String>,
}

/// One image tower.
pub struct Tower {
    name: String,
    share: f64,
    judges: bool,
    shown: Shown,
    reading: Option<Reading>,
    preprocess: Preprocess,
    image_bytes: usize,
    net: Chain,
}

impl Clip {
    /// The CLIP that is part of the program.
    pub fn embedded(device: &Device) -> Result<Self, ClipError> {
        Self::embedded_in(Numbers::F32, device)
    }

    /// The same, in other numbers than f32.
    pub fn embedded_in(numbers: Numbers, device: &Device) -> Result<Self, ClipError> {
        embedded::load(numbers, device)
    }

    /// The CLIP in a folder, in the Hugging Face layout (`config.json`, `model.safetensors`, `tokenizer.json`) or the OpenCLIP layout
    /// (`open_clip_config.json`, `open_clip_model.safetensors`, `tokenizer.json`). `name` is what messages call it.
    ///
    /// # Errors
    /// As [`Clip::from_files`], and where files are missing.
    pub fn from_folder(name: &str, folder: &Path, device: &Device) -> Result<Self, ClipError> {
        Self::from_files(name, &ClipFiles::in_folder(folder)?, device)
    }

    /// The CLIP of these files. `name` is what messages call it.
    ///
    /// # Errors
    /// Where a file cannot be read or does not fit the others.
    pub fn from_files(name: &str, files: &ClipFiles, device: &Device) -> Result<Self, ClipError> {
        Self::from_files_in(name, files, Numbers::F32, device)
    }

    /// The same, in other numbers than f32. Weights of any precision are read; what goes into the towers and comes out of them is f32 in any case.
    ///
    /// # Errors
    /// As [`Clip::from_files`].
    pub fn from_files_in(
        name: &str,
        files: &ClipFiles,
        numbers: Numbers,
        device: &Device,
    ) -> Result<Self, ClipError> {
        // before the tokenizer: another kind of model is reported as such, whether it has one or not
        let (checkpoint, config) = files.open()?;
        let tokenizer = Tokenizer::of_clip(name, files, &config)?;
        let mut clip = Self::build(name, &config, &checkpoint, tokenizer, numbers, device)?;
        clip.warnings.extend(files.assumption(&checkpoint));
        clip.warnings.extend(checkpoint.finish(Scope::Parts, &[])?);
        Ok(clip)
    }

    fn build(
        name: &str,
        config: &ClipConfig,
        checkpoint: &Checkpoint,
        tokenizer: Tokenizer,
        numbers: Numbers,
        device: &Device,
    ) -> Result<Self, ClipError> {
        let weights = Branch::root(checkpoint, device).of_types(numbers.rounded, numbers.computed);
        let text = TextTower::read(
            weights,
            config.layout,
            &config.text,
            config.projection,
            device,
        )?;
        Ok(Self {
            name: name.to_owned(),
            text,
            tokenizer,
            towers: vec![Tower::build(name, config, checkpoint, numbers, device)?],
            projection: config.projection,
            logit_scale: logit_scale(checkpoint)?,
            logit_bias: first_number(checkpoint, LOGIT_BIAS)?,
            warnings: vec![],
        })
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The image towers, at least one. All of them paint.
    pub fn towers(&self) -> &[Tower] {
        &self.towers
    }

    /// Those of them that pictures are measured by, at least one.
    pub fn judges(&self) -> impl Iterator<Item = &Tower> {
        self.towers.iter().filter(|tower| tower.judges)
    }

    /// Width of the joint space.
    pub fn projection(&self) -> usize {
        self.projection
    }

    /// What cosines were multiplied by in training before the softmax over texts, `exp(logit_scale)`: the inverse of a
    /// temperature. 100 where the checkpoint does not say, CLIP's own limit.
    pub fn logit_scale(&self) -> f32 {
        self.logit_scale
    }

    /// The bias that was added to the scaled cosines in training, for models that were trained with SigLIP's sigmoid loss: the probability of a
    /// text is the sigmoid of scaled cosine and bias, independent of other texts, instead of a softmax over texts.
    pub fn logit_bias(&self) -> Option<f32> {
        self.logit_bias
    }

    /// Sentences for the user: properties that were assumed because the files do not state them, and unused tensors.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The embedding of a text, any text.
    ///
    /// # Errors
    /// [`ClipError::NothingRead`] if the text is not empty and the vocabulary has no tokens for it; if the model fails.
    pub fn embed_text(&self, text: &str) -> Result<TextEmbedding, ClipError> {
        let tokens = self.tokenizer.read_text(&self.name, text)?;
        let vector = self.text.embed(&tokens.ids)?.to_dtype(DType::F32)?;
        let vector = vector.to_vec1::<f32>()?;
        Ok(TextEmbedding {
            vector: unit(vector),
            unread: tokens.unread,
        })
    }
}

impl Tower {
    /// Reads the image tower of a checkpoint.
    pub fn build(
        name: &str,
        config: &ClipConfig,
        checkpoint: &Checkpoint,
        numbers: Numbers,
        device: &Device,
    ) -> Result<Self, ClipError> {
        let Numbers { rounded, computed } = numbers;
        // computed in f16, the gradient of a ResNet comes out as no number; they are small, and f32 costs little
        let computed = match config.vision.kind {
            VisionKind::ResNet { .. } => DType::F32,
            VisionKind::Transformer(_) => computed,
        };
        let weights = Branch::root(checkpoint, device).of_types(rounded, computed);
        let size = config.vision.image_size;
        let net = match &config.vision.kind {
            VisionKind::Transformer(vit) => {
                vision::vision_transformer(weights, config.layout, size, vit, config.projection)?
            }
            VisionKind::ResNet {
                layers,
                width,
                heads,
            } => resnet::modified_resnet(weights, size, layers, *width, *heads, config.projection)?,
        };
        let net: Box<dyn Layer> = match computed {
            DType::F32 => Box::new(net),
            _ => Box::new(Within::new(net, computed)),
        };
        let normalize = Normalize::new(&config.mean, &config.std, device)?;
        Ok(Self {
            name: name.to_owned(),
            share: 1.0,
            judges: true,
            shown: Shown::Cutouts,
            reading: None,
            preprocess: config.preprocess(),
            // it is counted in f32
            image_bytes: config.activation_bytes() * computed.size_in_bytes() / 4,
            net: Chain::new(vec![Box::new(normalize), net]),
        })
    }

    /// A memory as a tower that paints and does not judge: what it answers is not of the joint space.
    fn remembering(name: &str, memory: Memory, reading: Reading, config: &MemoryConfig) -> Self {
        let size = config.image_size;
        Self {
            name: name.to_owned(),
            share: 1.0,
            judges: false,
            shown: reading.shown(),
            reading: Some(reading),
            preprocess: Preprocess {
                size,
                resized: size,
                filter: Filter::Bicubic,
                fit: Fit::Cover,
                fill: [0; 3],
                middle: Middle::Even,
            },
            // the picture and its gradient
            image_bytes: 2 * 4 * 3 * size * size,
            net: Chain::new(vec![Box::new(memory)]),
        }
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it looks for a text, given the text's embedding, of unit length.
    pub fn text(&self, embedding: &[f32]) -> Aim {
        match &self.reading {
            Some(reading) => reading.text(embedding),
            None => Aim::joint(embedding),
        }
    }

    /// Where it looks for pictures like one, given its own embedding of that one, of unit length.
    pub fn picture(&self, embedding: &[f32]) -> Aim {
        match &self.reading {
            Some(reading) => reading.picture(embedding),
            None => Aim::joint(embedding),
        }
    }

    /// How much it counts in painting beside the CLIP's other towers.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// Whether pictures are measured by it: in metrics, when candidates are ranked, in classification and search.
    pub fn judges(&self) -> bool {
        self.judges
    }

    /// What it is shown of a picture that is being painted.
    pub fn shown(&self) -> Shown {
        self.shown
    }

    /// Side of its input in pixels.
    pub fn size(&self) -> usize {
        self.preprocess.size
    }

    /// What a picture goes through before the tower sees it.
    pub fn preprocess(&self) -> Preprocess {
        self.preprocess
    }

    /// About how many bytes one image takes while its gradient is computed.
    pub fn bytes_per_image(&self) -> usize {
        self.image_bytes
    }
}

/// `[batch, 3, size, size]` in 0..=1 to `[batch, projection]`, not yet of unit length.
impl Layer for Tower {
    fn eval(&self, x: &Tensor) -> CandleResult<Tensor> {
        self.net.eval(x)
    }

    fn vjp(&self, x: &Tensor) -> CandleResult<(Tensor, Pullback)> {
        self.net.vjp(x)
    }
}

/// `(x - mean) / std` by channel.
struct Normalize {
    scale: Tensor,
    shift: Tensor,
}

impl Normalize {
    fn new(mean: &[f64; 3], std: &[f64; 3], device: &Device) -> CandleResult<Self> {
        let channel = |values: [f64; 3]| {
            let values = values.map(|value| value as f32);
            Tensor::from_slice(&values, (1, 3, 1, 1), device)
        };
        Ok(Self {
            scale: channel(std.map(|std| 1.0 / std))?,
            shift: channel([0, 1, 2].map(|c| -mean[c] / std[c]))?,
        })
    }
}

impl Layer for Normalize {
    fn eval(&self, x: &Tensor) -> CandleResult<Tensor> {
        x.broadcast_mul(&self.scale)?.broadcast_add(&self.shift)
    }

    fn vjp(&self, x: &Tensor) -> CandleResult<(Tensor, Pullback)> {
        let scale = self.scale.clone();
        Ok((
            self.eval(x)?,
            Box::new(move |grad| grad.broadcast_mul(&scale)),
        ))
    }
}

/// CLIP's own limit of the factor that the logit scale stands for.
const MOST_LOGIT_SCALE: f32 = 100.0;

const LOGIT_BIAS: &str = "logit_bias";

/// The number that a tensor of one element holds, of shape `[]` or `[1]`.
fn first_number(checkpoint: &Checkpoint, key: &str) -> Result<Option<f32>, ClipError> {
    let Some(shape) = checkpoint.shape(key).filter(|shape| shape.len() <= 1) else {
        return Ok(None);
    };
    let values = checkpoint.tensor(key, shape)?.flatten_all()?;
    Ok(values.to_vec1::<f32>()?.first().copied())
}

fn logit_scale(checkpoint: &Checkpoint) -> Result<f32, ClipError> {
    let scale = first_number(checkpoint, "logit_scale")?.map(f32::exp);
    // a broken one would make all labels equal, or not numbers
    Ok(scale
        .filter(|scale| scale.is_finite() && *scale > 0.0)
        .unwrap_or(MOST_LOGIT_SCALE))
}

/// The inner product of two vectors, summed in f64.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    (a.iter().zip(b))
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

/// The inner product of two vectors, to about 1e-7, for comparing many of them: sixteen sums in f32, which do not wait for each other. Of
/// vectors of unit length it is their cosine.
pub fn fast_dot(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 16;
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0f32; LANES];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().map(|sum| f64::from(*sum)).sum::<f64>() + f64::from(rest)
}

/// The vector at unit length; a vector of zeros stays as it is.
pub fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = vector
        .iter()
        .map(|v| f64::from(*v).powi(2))
        .sum::<f64>()
        .sqrt();
    if norm > 0.0 {
        for value in &mut vector {
            *value = (f64::from(*value) / norm) as f32;
        }
    }
    vector
}

fn read_text(path: &Path) -> Result<String, ClipError> {
    std::fs::read_to_string(path).map_err(|source| ClipError::Read {
        path: path.display().to_string(),
        source,
    })
}
