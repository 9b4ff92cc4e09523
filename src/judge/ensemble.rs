//! CLIPs that embed texts and pictures for judging.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use image::RgbImage;
use weights::checkpoint::WeightsSize;

use crate::clip::preprocess::{Preprocess, ResizeMode};
use crate::clip::{Clip, ClipActivation, ClipChoice, Library, LongText, Unread, is_embedded};

/// One CLIP, by its scoring tower.
#[derive(Clone)]
pub struct Encoder {
    clip: Arc<Clip>,
    /// Which of the ensemble's preprocessings it needs.
    preprocessing: usize,
    long_text: LongText,
}

impl Encoder {
    /// What messages call it.
    pub fn name(&self) -> &str {
        self.clip.name()
    }

    /// Length of its vectors.
    pub fn width(&self) -> usize {
        self.clip.projection()
    }

    /// How large the weights are that texts and pictures are embedded with.
    pub fn size(&self) -> WeightsSize {
        self.clip.scoring_size()
    }

    /// What its cosines are multiplied by before a softmax.
    pub fn logit_scale(&self) -> f32 {
        self.clip.logit_scale()
    }

    /// The bias added to its scaled cosines, if it was trained with a sigmoid loss; see [`Clip::logit_bias`].
    pub fn logit_bias(&self) -> Option<f32> {
        self.clip.logit_bias()
    }

    /// A text as a vector of unit length, `[width]`, and the parts of the text that the model does not read.
    ///
    /// # Errors
    /// When nothing of the text can be read, or the model fails.
    pub fn embed_text(&self, text: &str) -> Result<(Vec<f32>, Unread)> {
        let embedding = self.clip.embed_long_text(text, self.long_text)?;
        self.check(&embedding.vector, &format!("\"{text}\""))?;
        Ok((embedding.vector, embedding.unread))
    }

    /// Pictures as vectors of unit length, `[picture][width]`.
    fn embed(&self, pictures: &[Preprocessed], device: &Device) -> Result<Vec<Vec<f32>>> {
        let pictures: Vec<&RgbImage> = (pictures.iter())
            .map(|shown| &shown.0[self.preprocessing])
            .collect();
        let tower = self.clip.scoring_tower();
        let vectors = (tower.embed_preprocessed(&pictures, device))
            .with_context(|| format!("the CLIP `{}` failed", tower.name()))?;
        (vectors.iter()).try_for_each(|vector| self.check(vector, "a picture"))?;
        Ok(vectors)
    }

    fn check(&self, vector: &[f32], input: &str) -> Result<()> {
        if vector.iter().any(|value| !value.is_finite()) {
            bail!(
                "the CLIP `{}` gives values that are not finite for {input}: its weights are damaged, or of another model",
                self.name(),
            );
        }
        Ok(())
    }
}

/// A picture as each of an ensemble's preprocessings leaves it. It is small, whatever the picture's size.
#[derive(Clone, Debug)]
pub struct Preprocessed(Vec<RgbImage>);

/// Several CLIPs that embed the same pictures, each decoded once.
#[derive(Clone)]
pub struct Ensemble {
    encoders: Vec<Encoder>,
    preprocessings: Vec<Preprocess>,
    device: Device,
}

impl Ensemble {
    /// Loads CLIPs by name: `embedded` or a part of it, a folder or file, a known model or a repository that the Hugging Face cache holds. `activation` overrides
    /// the nonlinearity that the files of each of them state, except the embedded ones.
    ///
    /// # Errors
    /// When there is no name, or one of the models cannot be loaded.
    pub fn load(
        names: &[String],
        activation: Option<ClipActivation>,
        device: &Device,
    ) -> Result<Self> {
        let library = Library::default();
        let load = |name: &String| {
            let choice = ClipChoice {
                activation: activation.filter(|_| !is_embedded(name)),
                ..ClipChoice::default()
            };
            library.clip(name, choice, device)
        };
        Self::new(names.iter().map(load).collect::<Result<_>>()?, device)
    }

    /// An ensemble of loaded CLIPs, whose weights are on `device`.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(clips: Vec<Arc<Clip>>, device: &Device) -> Result<Self> {
        if clips.is_empty() {
            bail!("a judge needs at least one CLIP");
        }
        let mut preprocessings: Vec<Preprocess> = vec![];
        let mut index_of = |wanted: Preprocess| {
            let known = preprocessings.iter().position(|known| *known == wanted);
            known.unwrap_or_else(|| {
                preprocessings.push(wanted);
                preprocessings.len() - 1
            })
        };
        let encoders = (clips.into_iter())
            .map(|clip| Encoder {
                preprocessing: index_of(clip.scoring_tower().preprocess()),
                clip,
                long_text: LongText::default(),
            })
            .collect();
        Ok(Self {
            encoders,
            preprocessings,
            device: device.clone(),
        })
    }

    /// The same ensemble, in which the CLIP of a name reads texts that are longer than its context so.
    pub fn with_long_text(mut self, long_text: impl Fn(&str) -> LongText) -> Self {
        for encoder in &mut self.encoders {
            encoder.long_text = long_text(encoder.name());
        }
        self
    }

    /// The CLIPs, at least one.
    pub fn encoders(&self) -> &[Encoder] {
        &self.encoders
    }

    /// Warnings about what was assumed of the CLIPs because their files do not say it.
    pub fn warnings(&self) -> impl Iterator<Item = &String> {
        (self.encoders.iter()).flat_map(|encoder| encoder.clip.warnings())
    }

    /// Brings a picture to the input sizes of the CLIPs.
    ///
    /// # Errors
    /// When the picture is empty.
    pub fn preprocess(&self, picture: &RgbImage) -> Result<Preprocessed> {
        self.preprocess_by(picture, |preprocess| preprocess)
    }

    /// Brings a picture to the input sizes of the CLIPs by resizing both sides, whatever its shape: nothing is cut off.
    ///
    /// # Errors
    /// When the picture is empty.
    pub fn squash(&self, picture: &RgbImage) -> Result<Preprocessed> {
        self.preprocess_by(picture, |preprocess| Preprocess {
            resize: preprocess.size,
            resize_mode: ResizeMode::Squash,
            ..preprocess
        })
    }

    fn preprocess_by(
        &self,
        picture: &RgbImage,
        change: impl Fn(Preprocess) -> Preprocess,
    ) -> Result<Preprocessed> {
        let changed = self.preprocessings.iter().map(|own| change(*own));
        let pictures = changed.map(|preprocess| preprocess.apply(picture));
        Ok(Preprocessed(pictures.collect::<candle_core::Result<_>>()?))
    }

    /// For each picture a vector of unit length from each CLIP: `[picture][encoder][width]`.
    ///
    /// # Errors
    /// When a model fails, or gives values that are not finite.
    pub fn embed(&self, pictures: &[Preprocessed]) -> Result<Vec<Vec<Vec<f32>>>> {
        let mut embeddings = vec![Vec::with_capacity(self.encoders.len()); pictures.len()];
        for encoder in &self.encoders {
            let vectors = encoder.embed(pictures, &self.device)?;
            for (embedding, vector) in embeddings.iter_mut().zip(vectors) {
                embedding.push(vector);
            }
        }
        Ok(embeddings)
    }

    /// The vectors of one picture, `[encoder][width]`.
    ///
    /// # Errors
    /// As [`Ensemble::preprocess`] and [`Ensemble::embed`].
    pub fn embed_picture(&self, picture: &RgbImage) -> Result<Vec<Vec<f32>>> {
        let embeddings = self.embed(&[self.preprocess(picture)?])?;
        Ok(embeddings.into_iter().flatten().collect())
    }
}
