//! One CLIP of a recipe: an entry of `clip`, and the prompts as this CLIP encodes them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clip::{
    Aim, Clip, ClipActivation, ClipChoice, EMBEDDED, EMBEDDED_ACTIVATION, Precision, is_embedded,
};
use phantasia_core::check::{Checker, MODEL_FORMAT};
use phantasia_core::{Fade, Prompt, PromptSchedule, Schedule, config, picture, unique_label};

use crate::context::TermContext;
use crate::cutouts::{self, CutoutSampler};
use crate::region_mask::PromptRegion;

/// How much of the mean embedding of common texts is taken off where a recipe does not say: the embedded models' texts have much in common.
const EMBEDDED_CENTER: f64 = 0.5;
/// Texts whose mean embedding stands for what all prompts have in common.
const COMMON: [&str; 13] = [
    "a cat", "a dog", "a house", "a car", "a tree", "a face", "a person", "a flower", "a tool",
    "a sign", "a symbol", "a fish", "a bird",
];

config! {
    /// One entry of `clip`.
    #[schemars(rename = "Clip")]
    pub struct Config {
        /// `embedded`, one of its image towers alone (`embedded/transformer`, `embedded/resnet`), a folder, or a known model's name.
        #[schemars(extend("format" = MODEL_FORMAT))]
        pub model: String = EMBEDDED.to_owned(),
        /// How much it counts beside the others.
        #[schemars(range(min = 0))]
        pub weight: Schedule = 1.0.into(),
        /// How much of what all prompts have in common is taken off a text's embedding; null takes 0.5 for the embedded models, and 0 for others.
        #[schemars(range(min = 0, max = 1))]
        pub center: Option<f64> = None,
        /// The precision of its weights and of its computation on a GPU. The CPU rounds the weights to it, but stores and computes them in f32, and
        /// so does a GPU with a ResNet's image tower.
        #[serde(skip_serializing_if = "Precision::is_default")]
        pub precision: Precision = Precision::default(),
        /// The nonlinearity of its transformers, overriding its files. Weights without a configuration often do not say which it is: GELU is then
        /// assumed, with a warning.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub activation: Option<ClipActivation> = None,
        /// What of the recipe's `cutouts` is different for this model.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub cutouts: Option<cutouts::Changes> = None,
    }
}

/// [`Config::new`].
impl From<&str> for Config {
    fn from(model: &str) -> Self {
        Self::new(model)
    }
}

impl Config {
    /// A model of weight 1.
    pub fn new(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            ..Self::default()
        }
    }

    /// How the model is loaded.
    pub fn choice(&self) -> ClipChoice {
        ClipChoice {
            precision: self.precision,
            activation: self.activation,
        }
    }

    /// Checks what ranges cannot say. `cutouts` are the recipe's.
    pub fn check(&self, cutouts: &cutouts::Config, checker: &mut Checker) {
        if self.activation.is_some() && is_embedded(&self.model) {
            checker.invalid("activation", EMBEDDED_ACTIVATION);
        }
        cutouts.check_changes(self.cutouts.as_ref(), checker);
    }
}

/// A prompt as one CLIP encodes it.
#[derive(Clone, Debug)]
pub(crate) struct EncodedPrompt {
    /// What metrics call the prompt.
    pub label: String,
    /// Its text; none for an image.
    pub text: Option<String>,
    pub embedding: Arc<PromptEmbedding>,
    /// The distance below which it has no gradient.
    pub stop: Option<f64>,
    /// When and how much it counts.
    pub schedule: PromptSchedule,
    /// The part of the picture that it is about; none is the whole.
    pub region: Option<PromptRegion>,
}

/// A prompt in the joint space, for each tower.
#[derive(Debug)]
pub(crate) struct PromptEmbedding {
    /// What the picture is compared with.
    pub aims: Vec<Aim>,
    /// What similarity is measured to by the towers that score, of unit length; it differs from the aim where embeddings are centred.
    pub plain: Vec<Vec<f32>>,
}

/// One CLIP with the prompts that it guides to.
#[derive(Clone)]
pub(crate) struct ClipGuide {
    pub clip: Arc<Clip>,
    /// How much it counts beside the others.
    pub weight: Schedule,
    pub sampler: CutoutSampler,
    pub prompts: Vec<EncodedPrompt>,
    /// The mean embedding of common texts, and how much of it is taken off a text's embedding.
    common: Option<(Vec<f32>, f64)>,
    /// Embeddings of all prompts so far, by text and image.
    embeddings: HashMap<(Option<String>, Option<PathBuf>), Arc<PromptEmbedding>>,
}

impl ClipGuide {
    /// Loads the model; it has no prompts yet.
    pub fn new(config: &Config, context: &mut TermContext) -> Result<Self> {
        if config.precision != Precision::F32 && context.device.is_cpu() {
            context.warnings.push(format!(
                "`{}`: on the processor `precision: {}` rounds the weights, and takes as much memory and time as f32",
                config.model, config.precision
            ));
        }
        let clip = context.clip(&config.model, config.choice())?;
        let center = (config.center).unwrap_or(if is_embedded(&config.model) {
            EMBEDDED_CENTER
        } else {
            0.0
        });
        let common = if center == 0.0 {
            None
        } else {
            Some((mean_embedding(&clip, &COMMON)?, center))
        };
        Ok(Self {
            clip,
            weight: config.weight.clone(),
            sampler: context.sampler(config.cutouts.as_ref()),
            prompts: vec![],
            common,
            embeddings: HashMap::new(),
        })
    }

    /// Encodes prompts, and adds warnings about words that the model does not read. Embeddings are kept.
    ///
    /// # Errors
    /// When nothing of a text can be read, an image cannot be read, a region is black, or the model fails.
    pub fn encode(
        &mut self,
        prompts: &[Prompt],
        context: &mut TermContext,
    ) -> Result<Vec<EncodedPrompt>> {
        let mut encoded: Vec<EncodedPrompt> = vec![];
        for prompt in prompts {
            let key = (prompt.text.clone(), prompt.image.clone());
            let embedding = match self.embeddings.get(&key) {
                Some(embedding) => Arc::clone(embedding),
                None => Arc::new(self.embed(prompt, context)?),
            };
            self.embeddings.insert(key, Arc::clone(&embedding));
            let label = unique_label(prompt.label(), |label| {
                encoded.iter().any(|other| other.label == label)
            });
            let region = prompt.region.as_ref();
            encoded.push(EncodedPrompt {
                label,
                text: prompt.text.clone(),
                embedding,
                stop: prompt.stop,
                schedule: PromptSchedule::of(prompt),
                region: (region.map(|region| PromptRegion::new(region, context))).transpose()?,
            });
        }
        Ok(encoded)
    }

    fn embed(&self, prompt: &Prompt, context: &mut TermContext) -> Result<PromptEmbedding> {
        let (clip, towers) = (&self.clip, self.clip.towers());
        if let Some(text) = &prompt.text {
            let embedding = clip.embed_text(text)?;
            (context.warnings).extend(embedding.unread.of_model(clip.name(), "a prompt"));
            let plain = embedding.vector;
            let centred = match &self.common {
                None => plain.clone(),
                Some((common, share)) => take_off(&plain, common, *share),
            };
            return Ok(PromptEmbedding {
                aims: towers.iter().map(|tower| tower.text(&centred)).collect(),
                plain: vec![plain; towers.len()],
            });
        }
        let path = (prompt.image.as_deref()).context("a prompt has neither a text nor an image")?;
        let image = picture::load_rgb(path)?;
        let plain = (towers.iter())
            .map(|tower| tower.embed_picture(&image, &context.device))
            .collect::<candle_core::Result<Vec<_>>>()
            .with_context(|| format!("cannot encode {}", path.display()))?;
        let towers = towers.iter().zip(&plain);
        Ok(PromptEmbedding {
            aims: towers
                .map(|(tower, vector)| tower.picture(vector))
                .collect(),
            plain,
        })
    }

    /// Fades the present prompts out and these in.
    pub fn replace_prompts(&mut self, prompts: Vec<EncodedPrompt>, fade: Fade) {
        // without prompts before there is nothing to fade from
        let is_first = self.prompts.is_empty();
        for prompt in &mut self.prompts {
            prompt.schedule.fade_out(fade);
        }
        (self.prompts).retain(|prompt| !prompt.schedule.is_gone(fade.start));
        for mut prompt in prompts {
            if !is_first {
                prompt.schedule.fade_in(fade);
            }
            self.prompts.push(prompt);
        }
    }
}

fn mean_embedding(clip: &Clip, texts: &[&str]) -> Result<Vec<f32>> {
    let mut mean = vec![0.0; clip.projection()];
    for text in texts {
        for (mean, value) in mean.iter_mut().zip(clip.embed_text(text)?.vector) {
            *mean += value / texts.len() as f32;
        }
    }
    Ok(mean)
}

/// The vector without a share of what is common, at unit length.
fn take_off(vector: &[f32], common: &[f32], share: f64) -> Vec<f32> {
    let rest = (vector.iter().zip(common))
        .map(|(value, common)| value - share as f32 * common)
        .collect();
    clip::unit(rest)
}
