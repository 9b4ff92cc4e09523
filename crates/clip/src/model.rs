//! A CLIP: a text tower, and the image towers that share its joint space.

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device};
use weights::checkpoint::{Branch, Checkpoint, Scope, WeightsSize};

use crate::coca;
use crate::config::ClipConfig;
use crate::dtype::DTypePolicy;
use crate::error::ClipError;
use crate::files::ClipFiles;
use crate::memory;
use crate::options::LongText;
use crate::text::TextTower;
use crate::text_hf;
use crate::tokenizer::{TextPart, Tokenizer, Unread};
use crate::tower::Tower;
use crate::vector::unit;

/// CLIP's own limit of the factor that the logit scale stands for.
const MAX_LOGIT_SCALE: f32 = 100.0;

/// Beginnings of the names of tensors that are left out on purpose: CoCa's decoder, and a table that is computed.
pub(crate) const LEFT: &[&str] = &[coca::DECODER, text_hf::SINUSOIDS];

/// A text in the joint space.
#[derive(Clone, Debug)]
pub struct TextEmbedding {
    /// `[projection]`, of unit length.
    pub vector: Vec<f32>,
    /// The parts of the text that the tokenizer changes, drops or cuts off.
    pub unread: Unread,
}

/// One CLIP.
pub struct Clip {
    name: String,
    text: TextTower,
    tokenizer: Arc<Tokenizer>,
    pub(crate) towers: Vec<Tower>,
    projection: usize,
    text_size: WeightsSize,
    logit_scale: f32,
    logit_bias: Option<f32>,
    warnings: Vec<String>,
}

impl Clip {
    /// The CLIP in a folder, in the Hugging Face layout (`config.json`, `model.safetensors`, `tokenizer.json`) or the OpenCLIP layout
    /// (`open_clip_config.json`, `open_clip_model.safetensors`, `tokenizer.json`). Messages call it `name`.
    ///
    /// # Errors
    /// As [`Clip::from_files`], and if files are missing.
    pub fn from_folder(name: &str, folder: &Path, device: &Device) -> Result<Self, ClipError> {
        let files = ClipFiles::in_folder(folder)?;
        Self::from_files(name, &files, DTypePolicy::F32, device)
    }

    /// The CLIP of these files. Messages call it `name`. Weights of any precision are read; the inputs and outputs of the towers are f32 whatever
    /// `dtypes` are.
    ///
    /// # Errors
    /// If a file cannot be read or does not fit the others, or the weights do not fit into the processor's memory.
    pub fn from_files(
        name: &str,
        files: &ClipFiles,
        dtypes: DTypePolicy,
        device: &Device,
    ) -> Result<Self, ClipError> {
        Self::read(name, files, None, dtypes, device)
    }

    /// [`Clip::from_files`] with a tokenizer that may have been read before.
    pub(crate) fn read(
        name: &str,
        files: &ClipFiles,
        tokenizer: Option<Arc<Tokenizer>>,
        dtypes: DTypePolicy,
        device: &Device,
    ) -> Result<Self, ClipError> {
        // before the tokenizer: another kind of model is reported as such, whether it has one or not
        let (checkpoint, config) = files.open()?;
        if device.is_cpu() {
            memory::check(name, &checkpoint, dtypes)?;
        }
        let tokenizer = match tokenizer {
            Some(tokenizer) => tokenizer,
            None => Arc::new(Tokenizer::of_clip(name, files, &config)?),
        };
        let mut clip = Self::build(name, &config, &checkpoint, tokenizer, dtypes, device)?;
        clip.warnings.extend(files.assumption(&checkpoint));
        clip.warnings.extend(checkpoint.finish(Scope::Parts, LEFT)?);
        Ok(clip)
    }

    pub(crate) fn build(
        name: &str,
        config: &ClipConfig,
        checkpoint: &Checkpoint,
        tokenizer: Arc<Tokenizer>,
        dtypes: DTypePolicy,
        device: &Device,
    ) -> Result<Self, ClipError> {
        let weights = Branch::root(checkpoint, device).of_types(dtypes.weights, dtypes.compute);
        let projection = config.projection;
        let text = TextTower::read(weights, config.layout, &config.text, projection, device)?;
        tokenizer.check_fits(name, text.vocabulary())?;
        // a broken scale would make all labels equal, or not numbers
        let logit_scale = (first_number(checkpoint, "logit_scale")?.map(f32::exp))
            .filter(|scale| scale.is_finite() && *scale > 0.0);
        Ok(Self {
            name: name.to_owned(),
            text,
            text_size: checkpoint.used_size(),
            tokenizer,
            towers: vec![Tower::build(name, config, checkpoint, dtypes, device)?],
            projection,
            logit_scale: logit_scale.unwrap_or(MAX_LOGIT_SCALE),
            logit_bias: first_number(checkpoint, "logit_bias")?,
            warnings: vec![],
        })
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The image towers, at least one. All of them guide.
    pub fn towers(&self) -> &[Tower] {
        &self.towers
    }

    /// The tower that pictures are scored by, in metrics, when candidates are ranked, in classification and search: the first.
    pub fn scoring_tower(&self) -> &Tower {
        &self.towers[0]
    }

    /// How large the weights of the text tower and of the [scoring tower](Self::scoring_tower) are.
    pub fn scoring_size(&self) -> WeightsSize {
        self.text_size + self.scoring_tower().weights_size()
    }

    /// Width of the joint space.
    pub fn projection(&self) -> usize {
        self.projection
    }

    /// What cosines were multiplied by in training before the softmax over texts, `exp(logit_scale)`: the inverse of a
    /// temperature. 100 if the checkpoint does not say, CLIP's own limit.
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

    /// The embedding of any text; one that is longer than the context is cut.
    ///
    /// # Errors
    /// [`ClipError::Unreadable`] if the text is not empty and the vocabulary has no tokens for it; if one of its tokens is none of the text tower's;
    /// if the model fails.
    pub fn embed_text(&self, text: &str) -> Result<TextEmbedding, ClipError> {
        self.embed_long_text(text, LongText::Truncate)
    }

    /// The embedding of any text; `long_text` says what happens to one that is longer than the context.
    ///
    /// # Errors
    /// As [`Clip::embed_text`].
    pub fn embed_long_text(
        &self,
        text: &str,
        long_text: LongText,
    ) -> Result<TextEmbedding, ClipError> {
        let read = self.tokenizer.read_parts(&self.name, text, long_text)?;
        let embed = |part: &TextPart| {
            (self.tokenizer).check_ids(&self.name, text, &part.ids, self.text.vocabulary())?;
            let vector = self.text.embed(&part.ids)?.to_dtype(DType::F32)?;
            Ok::<_, ClipError>(unit(vector.to_vec1()?))
        };
        let vector = if let [whole] = read.parts.as_slice() {
            embed(whole)?
        } else {
            let mut sum = vec![0.0; self.projection];
            for part in &read.parts {
                for (sum, value) in sum.iter_mut().zip(embed(part)?) {
                    *sum += part.count as f32 * value;
                }
            }
            unit(sum)
        };
        Ok(TextEmbedding {
            vector,
            unread: read.unread,
        })
    }
}

/// The number that a tensor of one element holds, of shape `[]` or `[1]`.
fn first_number(checkpoint: &Checkpoint, key: &str) -> Result<Option<f32>, ClipError> {
    let Some(shape) = checkpoint.shape(key).filter(|shape| shape.len() <= 1) else {
        return Ok(None);
    };
    let values = checkpoint.tensor(key, shape)?.flatten_all()?;
    Ok(values.to_vec1::<f32>()?.first().copied())
}
