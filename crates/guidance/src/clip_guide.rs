//! One CLIP of a recipe: an entry of `clip`, and the prompts as this CLIP encodes them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clip::{
    Clip, ClipActivation, ClipChoice, EMBEDDED, EMBEDDED_ACTIVATION, LongText, Precision,
    is_embedded,
};
use phantasia_core::check::{Checker, MODEL_FORMAT};
use phantasia_core::{
    Fade, Prompt, PromptSchedule, Schedule, StepContext, config, picture, unique_label,
};

use crate::context::TermContext;
use crate::cutouts::{self, CutoutSampler};
use crate::direction::Direction;
use crate::prompt_region::PromptRegion;

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
        #[schemars(extend("format" = MODEL_FORMAT, "x-kind" = "clip"))]
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
        /// What happens to prompts that are longer than its context, 77 tokens of most models: `truncate` cuts them, with a warning; `average` reads
        /// them in parts and takes the mean of the parts' embeddings, weighted by their numbers of tokens.
        #[serde(skip_serializing_if = "LongText::is_default")]
        pub long_text: LongText = LongText::default(),
        /// Overrides of the recipe's `cutouts` for this model.
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
    /// The prompt itself, which knows between which of its texts a step lies.
    prompt: Prompt,
    /// The embedding of its image, or those of its texts.
    embeddings: Vec<Arc<PromptEmbedding>>,
    /// The embedding of its `source`.
    source: Option<Arc<PromptEmbedding>>,
    /// The distance below which it has no gradient.
    pub stop: Option<f64>,
    /// When and how much it counts.
    pub schedule: PromptSchedule,
    /// The part of the picture that it is about; none is the whole.
    pub region: Option<PromptRegion>,
}

impl EncodedPrompt {
    /// The prompt, with when and how much it counts.
    pub fn scheduled(&self) -> (Prompt, PromptSchedule) {
        (self.prompt.clone(), self.schedule.clone())
    }

    /// Whether it asks for a change.
    pub fn is_directional(&self) -> bool {
        self.source.is_some()
    }

    /// The text that it asks for most at a step; none for an image.
    pub fn text_at(&self, at: StepContext) -> Option<String> {
        self.prompt.text_at(at).map(str::to_owned)
    }

    /// What it asks for at a step.
    pub fn embedding(&self, at: StepContext) -> Arc<PromptEmbedding> {
        let (index, share) = self.prompt.text_position(at);
        let embedding = &self.embeddings[index];
        match self.embeddings.get(index + 1) {
            Some(next) if share > 0.0 => Arc::new(PromptEmbedding::between(embedding, next, share)),
            _ => Arc::clone(embedding),
        }
    }

    /// The change of a tower's embeddings that it asks for with this weight, where it asks for `text`; none if it asks for no change.
    pub fn direction(
        &self,
        tower: usize,
        text: &PromptEmbedding,
        weight: f64,
    ) -> Option<Direction> {
        let source = self.source.as_ref()?;
        Some(Direction {
            // between two texts that differ from the source the interpolated one could still meet it: then nothing is asked for
            vector: Direction::between(&source.plain[tower], &text.plain[tower])?,
            weight,
            stop: self.stop,
        })
    }
}

/// A prompt in the joint space, for each tower.
#[derive(Debug)]
pub(crate) struct PromptEmbedding {
    /// What the picture is compared with, of unit length.
    pub targets: Vec<Vec<f32>>,
    /// What similarity is measured to by the towers that score, of unit length; it differs from the target where embeddings are centred.
    pub plain: Vec<Vec<f32>>,
}

impl PromptEmbedding {
    /// Interpolates between two: `a` at a share of 0, `b` at 1.
    fn between(a: &Self, b: &Self, share: f64) -> Self {
        let between = |a: &[Vec<f32>], b: &[Vec<f32>]| {
            let pairs = a.iter().zip(b);
            pairs.map(|(a, b)| clip::slerp(a, b, share)).collect()
        };
        Self {
            targets: between(&a.targets, &b.targets),
            plain: between(&a.plain, &b.plain),
        }
    }
}

/// One CLIP with the prompts that it guides to.
#[derive(Clone)]
pub(crate) struct ClipGuide {
    pub clip: Arc<Clip>,
    /// How much it counts beside the others.
    pub weight: Schedule,
    pub sampler: CutoutSampler,
    pub prompts: Vec<EncodedPrompt>,
    long_text: LongText,
    /// The mean embedding of common texts, and how much of it is taken off a text's embedding.
    common: Option<(Vec<f32>, f64)>,
    /// Embeddings of all texts and images so far.
    embeddings: HashMap<Content, Arc<PromptEmbedding>>,
}

/// What can be embedded.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Content {
    Text(String),
    /// The path of an image.
    Image(PathBuf),
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
            long_text: config.long_text,
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
            let texts = prompt.texts().map(|text| Content::Text(text.to_owned()));
            let contents = texts.chain(prompt.image.clone().map(Content::Image));
            let embeddings = contents
                .map(|content| self.embedding(content, context))
                .collect::<Result<Vec<_>>>()?;
            if embeddings.is_empty() {
                bail!("a prompt has neither a text nor an image");
            }
            let source = (prompt.source.as_deref())
                .map(|source| self.source(source, prompt, &embeddings, context))
                .transpose()?;
            let label = unique_label(prompt.label(), |label| {
                encoded.iter().any(|other| other.label == label)
            });
            encoded.push(EncodedPrompt {
                label,
                prompt: prompt.clone(),
                embeddings,
                source,
                stop: prompt.stop,
                schedule: PromptSchedule::of(prompt),
                region: PromptRegion::of(prompt, context)?,
            });
        }
        Ok(encoded)
    }

    /// The embedding of the text that a prompt asks for a change from.
    fn source(
        &mut self,
        source: &str,
        prompt: &Prompt,
        embeddings: &[Arc<PromptEmbedding>],
        context: &mut TermContext,
    ) -> Result<Arc<PromptEmbedding>> {
        let embedding = self.embedding(Content::Text(source.to_owned()), context)?;
        let same = (prompt.texts().zip(embeddings))
            .find(|(_, own)| Direction::between(&embedding.plain[0], &own.plain[0]).is_none());
        if let Some((text, _)) = same {
            bail!(
                "`{source}` and `{text}` are the same to the CLIP `{}`, so that there is no change from one to the other: use other words",
                self.clip.name()
            );
        }
        Ok(embedding)
    }

    /// The embedding of a text or an image, which is computed once.
    fn embedding(
        &mut self,
        content: Content,
        context: &mut TermContext,
    ) -> Result<Arc<PromptEmbedding>> {
        if let Some(embedding) = self.embeddings.get(&content) {
            return Ok(Arc::clone(embedding));
        }
        let embedding = Arc::new(match &content {
            Content::Text(text) => self.embed_text(text, context)?,
            Content::Image(path) => self.embed_image(path, context)?,
        });
        self.embeddings.insert(content, Arc::clone(&embedding));
        Ok(embedding)
    }

    fn embed_text(&self, text: &str, context: &mut TermContext) -> Result<PromptEmbedding> {
        let (clip, towers) = (&self.clip, self.clip.towers());
        let embedding = clip.embed_long_text(text, self.long_text)?;
        (context.warnings).extend(embedding.unread.of_model(clip.name(), "a prompt"));
        let plain = embedding.vector;
        let centred = match &self.common {
            None => plain.clone(),
            Some((common, share)) => take_off(&plain, common, *share),
        };
        Ok(PromptEmbedding {
            targets: vec![centred; towers.len()],
            plain: vec![plain; towers.len()],
        })
    }

    fn embed_image(&self, path: &Path, context: &TermContext) -> Result<PromptEmbedding> {
        let towers = self.clip.towers();
        let image = picture::load_rgb(path)?;
        let plain = (towers.iter())
            .map(|tower| tower.embed_picture(&image, &context.device))
            .collect::<candle_core::Result<Vec<_>>>()
            .with_context(|| format!("cannot encode {}", path.display()))?;
        Ok(PromptEmbedding {
            targets: plain.clone(),
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
