//! The backend of a session: loads models, encodes prompts, reads pictures, builds generators.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use frozen::{Filter, Layer, Resample};
use generators::Generator;
use rand::RngCore;

use super::Segment;
use super::generator::{LearningRateScale, Order, generator};
use crate::aesthetic::Head;
use crate::clip::{Aim, Clip, ClipChoice};
use crate::load;
use crate::objective::{
    AestheticTerm, AestheticTermOptions, ClipTerm, ClipTermOptions, Critic, Encoded, Regular, Term,
};
use crate::picture;
use crate::prompt::{Fade, PromptSchedule, unique_label};
use crate::random::{self, Purpose};
use crate::recipe::{AestheticOptions, ClipOptions, Edit, Precision, Prompt, Recipe, TermOptions};

/// How much is taken off a text's embedding where a recipe does not say; the embedded model's texts have much in common.
const EMBEDDED_CENTER: f64 = 0.5;
/// What any prompt has in common with these is what prompts have in common.
const COMMON: [&str; 13] = [
    "a cat", "a dog", "a house", "a car", "a tree", "a face", "a person", "a flower", "a tool",
    "a sign", "a symbol", "a fish", "a bird",
];

/// Models that were loaded, to be shared by several sessions. Clones share what they hold.
#[derive(Clone, Default)]
pub struct Library(Arc<Mutex<Clips>>);

type Clips = HashMap<(String, ClipChoice), Arc<Clip>>;

impl Library {
    /// The model of that name, loaded if it was not yet.
    ///
    /// # Errors
    /// As [`load::load_as`].
    pub fn clip(&self, name: &str, choice: ClipChoice, device: &Device) -> Result<Arc<Clip>> {
        let mut loaded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), choice);
        if let Some(clip) = loaded.get(&key) {
            return Ok(Arc::clone(clip));
        }
        let clip = Arc::new(load::load_as(name, Path::new("."), choice, device)?);
        loaded.insert(key, Arc::clone(&clip));
        Ok(clip)
    }
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Library")
    }
}

/// What a session needs beside its recipe.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// About how many bytes the views that are worked on at once may take; it bounds memory and changes the picture only by rounding.
    pub memory: usize,
    /// Where its models come from.
    pub library: Library,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            library: Library::default(),
        }
    }
}

/// Makes the parts of a session when it begins, begins its next stage, or is edited.
pub trait SessionBackend: Send {
    /// How many stages the render has.
    fn stages(&self) -> usize;

    /// The steps of a stage.
    fn steps(&self, stage: usize) -> usize;

    /// The prompts and terms that a stage begins with, as an edit; its step does not count.
    fn stage_edit(&self, stage: usize) -> Edit;

    /// The generator of a segment at its start; `init` is an image `[1, 3, h, w]` in 0..=1 of any size to start from.
    fn generator(&mut self, segment: &Segment, init: Option<&Tensor>)
    -> Result<Box<dyn Generator>>;

    /// Loads and encodes what an edit's prompts and terms need, without applying them.
    ///
    /// # Errors
    /// When a prompt cannot be encoded, or a model that the terms name cannot be used.
    fn prepare(&mut self, edit: &Edit) -> Result<()>;

    /// Replaces prompts, terms and the learning rate's scale by those of the edit, where it has any. Prompts fade from the edit's step on.
    ///
    /// # Errors
    /// As [`SessionBackend::prepare`].
    fn apply(&mut self, edit: &Edit) -> Result<()>;

    /// The terms of the objective, with the prompts that were last applied.
    fn terms(&self) -> Vec<Box<dyn Term>>;

    /// Where the picture may change, if not everywhere: `[1, 1, h, w]` in 0..=1 of any size.
    fn mask(&self) -> Result<Option<Tensor>>;

    /// The picture that the first stage starts from, if there is one.
    fn init(&self) -> Result<Option<Tensor>>;

    /// Warnings added since the last call.
    fn warnings(&mut self) -> Vec<String>;
}

/// Makes the parts that a recipe describes.
pub(super) struct RecipeBackend {
    recipe: Recipe,
    device: Device,
    options: SessionOptions,
    learning_rate_scale: LearningRateScale,
    judges: Vec<Judge>,
    /// What was loaded for the terms.
    beauty: HashMap<Beauty, (Arc<Head>, Arc<Clip>)>,
    terms: TermOptions,
    warnings: Vec<String>,
}

/// The names of a head and a CLIP, and how the CLIP is loaded.
type Beauty = (String, String, ClipChoice);

fn key(aesthetic: &AestheticOptions) -> Beauty {
    let AestheticOptions { model, clip, .. } = aesthetic;
    (model.clone(), clip.clone(), aesthetic.choice())
}

/// A model with what it makes of the prompts.
struct Judge {
    clip: Arc<Clip>,
    options: ClipOptions,
    /// What is taken off a text's embedding: the mean of common texts, and how much of it.
    common: Option<(Vec<f32>, f64)>,
    /// Embeddings of prompts that were asked for, by the text or the image's path.
    known: HashMap<String, Embedded>,
    prompts: Vec<Encoded>,
}

/// A prompt in the joint space, for each tower.
#[derive(Clone)]
struct Embedded {
    aims: Vec<Aim>,
    plain: Vec<Vec<f32>>,
}

impl RecipeBackend {
    /// Loads a recipe's models.
    pub fn new(recipe: &Recipe, device: &Device, options: &SessionOptions) -> Result<Self> {
        let mut judges = vec![];
        let mut warnings = vec![];
        for entry in &recipe.clip {
            if entry.precision != Precision::F32 && device.is_cpu() {
                warnings.push(format!(
                    "`{}`: on the processor `precision: {}` rounds the weights, and takes as much memory and time as f32",
                    entry.model, entry.precision
                ));
            }
            let clip = (options.library).clip(&entry.model, entry.choice(), device)?;
            warnings.extend(clip.warnings().iter().cloned());
            judges.push(Judge::new(clip, entry)?);
        }
        let mut backend = Self {
            recipe: recipe.clone(),
            device: device.clone(),
            options: options.clone(),
            learning_rate_scale: LearningRateScale::default(),
            judges,
            beauty: HashMap::new(),
            terms: recipe.terms.clone(),
            warnings,
        };
        // what later stages and edits ask for should not be missing after an hour
        let stages = recipe.generator.0.iter().map(|stage| &stage.terms);
        let edits = recipe.timeline.iter().map(|edit| &edit.terms);
        let all = (stages.chain(edits).flatten()).chain([&recipe.terms]);
        for aesthetic in all.filter_map(|terms| terms.aesthetic.as_deref()) {
            backend.beauty(aesthetic)?;
        }
        Ok(backend)
    }

    /// The head and the CLIP of an aesthetic term, loaded if they were not yet.
    fn beauty(&mut self, aesthetic: &AestheticOptions) -> Result<()> {
        let key = key(aesthetic);
        if self.beauty.contains_key(&key) {
            return Ok(());
        }
        let head = load::aesthetic(&aesthetic.model)?;
        let library = &self.options.library;
        let clip = library.clip(&aesthetic.clip, aesthetic.choice(), &self.device)?;
        self.warnings.extend(clip.warnings().iter().cloned());
        head.fits(clip.name(), clip.judges().count(), clip.projection())?;
        self.beauty.insert(key, (Arc::new(head), clip));
        Ok(())
    }

    /// The aesthetic term, if one is asked for and counts.
    fn aesthetic(&self) -> Option<AestheticTerm> {
        let aesthetic = self.terms.aesthetic.as_ref()?;
        if aesthetic.weight.constant() == Some(0.0) {
            return None;
        }
        let (head, clip) = self.beauty.get(&key(aesthetic))?;
        let options = AestheticTermOptions {
            weight: aesthetic.weight.clone(),
            cutouts: self.recipe.cutouts.with(aesthetic.cutouts.as_ref()),
            seed: self.recipe.seed,
            memory: self.options.memory,
        };
        Some(AestheticTerm::new(
            Arc::clone(head),
            Arc::clone(clip),
            options,
        ))
    }
}

impl SessionBackend for RecipeBackend {
    fn stages(&self) -> usize {
        self.recipe.generator.0.len()
    }

    fn steps(&self, stage: usize) -> usize {
        self.recipe.stage_steps(stage)
    }

    fn stage_edit(&self, stage: usize) -> Edit {
        let own = &self.recipe.generator.0[stage];
        let mut edit = Edit {
            prompts: own.prompts.clone(),
            terms: own.terms.clone(),
            ..Edit::default()
        };
        if stage == 0 {
            // the recipe's own are the first stage's
            (edit.prompts).get_or_insert_with(|| self.recipe.prompts.clone());
            (edit.terms).get_or_insert_with(|| self.recipe.terms.clone());
        }
        edit
    }

    fn generator(
        &mut self,
        segment: &Segment,
        init: Option<&Tensor>,
    ) -> Result<Box<dyn Generator>> {
        let size = self.recipe.stage_size(segment.stage);
        let init = init.map(|image| resize_to_fill(image, size)).transpose()?;
        let order = Order {
            options: &self.recipe.generator.0[segment.stage].options,
            size,
            steps: segment.steps,
            seed: random::rng(self.recipe.seed, Purpose::Start, segment.began, 0).next_u64(),
            prompts: self.recipe.stage_prompts(segment.stage),
            init: init.as_ref(),
            device: &self.device,
            learning_rate_scale: &self.learning_rate_scale,
        };
        generator(&order, &mut self.warnings)
    }

    fn prepare(&mut self, edit: &Edit) -> Result<()> {
        if let Some(prompts) = &edit.prompts {
            for judge in &mut self.judges {
                // the judge keeps the embeddings
                judge.encode(prompts, &self.device, &mut self.warnings)?;
            }
        }
        if let Some(aesthetic) = edit
            .terms
            .as_ref()
            .and_then(|terms| terms.aesthetic.as_ref())
        {
            self.beauty(aesthetic)?;
        }
        Ok(())
    }

    fn apply(&mut self, edit: &Edit) -> Result<()> {
        // all that can fail comes before any change
        self.prepare(edit)?;
        if let Some(prompts) = &edit.prompts {
            let fade = Fade {
                start: edit.step,
                steps: edit.fade.unwrap_or(0),
            };
            for judge in &mut self.judges {
                let encoded = judge.encode(prompts, &self.device, &mut self.warnings)?;
                judge.replace_prompts(encoded, fade);
            }
        }
        if let Some(terms) = &edit.terms {
            self.terms = terms.clone();
        }
        if let Some(factor) = edit.lr {
            self.learning_rate_scale.set(factor);
        }
        Ok(())
    }

    fn terms(&self) -> Vec<Box<dyn Term>> {
        let critics = (self.judges.iter())
            .map(|judge| Critic {
                clip: Arc::clone(&judge.clip),
                weight: judge.options.weight.clone(),
                cutouts: (self.recipe.cutouts).with(judge.options.cutouts.as_ref()),
                prompts: judge.prompts.clone(),
            })
            .collect();
        let clip_term = ClipTerm::new(
            critics,
            ClipTermOptions {
                distance: self.recipe.distance,
                select: self.recipe.select,
                seed: self.recipe.seed,
                memory: self.options.memory,
            },
        );
        let mut terms: Vec<Box<dyn Term>> = vec![Box::new(clip_term)];
        for term in Regular::of(&self.terms) {
            terms.push(Box::new(term));
        }
        if let Some(term) = self.aesthetic() {
            terms.push(Box::new(term));
        }
        terms
    }

    fn mask(&self) -> Result<Option<Tensor>> {
        let mask = self.recipe.mask.as_deref();
        mask.map(|path| Ok(picture::load_tensor(path, &self.device)?.mean_keepdim(1)?))
            .transpose()
    }

    fn init(&self) -> Result<Option<Tensor>> {
        let init = self.recipe.init.as_deref();
        init.map(|path| picture::load_tensor(path, &self.device))
            .transpose()
    }

    fn warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
}

impl Judge {
    fn new(clip: Arc<Clip>, options: &ClipOptions) -> Result<Self> {
        let automatic = match options.model == load::EMBEDDED {
            true => EMBEDDED_CENTER,
            false => 0.0,
        };
        let center = options.center.unwrap_or(automatic);
        let common = match center == 0.0 {
            true => None,
            false => Some((mean_text(&clip, &COMMON)?, center)),
        };
        Ok(Self {
            clip,
            options: options.clone(),
            common,
            known: HashMap::new(),
            prompts: vec![],
        })
    }

    /// The prompts as this model understands them.
    fn encode(
        &mut self,
        prompts: &[Prompt],
        device: &Device,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Encoded>> {
        let mut encoded: Vec<Encoded> = vec![];
        for prompt in prompts {
            let label = prompt.label();
            // a text may read like a path
            let key = format!("{}{label}", if prompt.text.is_some() { "" } else { "\0" });
            let embedded = match self.known.get(&key) {
                Some(embedded) => embedded.clone(),
                None => {
                    let embedded = self.embed(prompt, device, warnings)?;
                    self.known.insert(key, embedded.clone());
                    embedded
                }
            };
            encoded.push(Encoded {
                label: unique_label(label, |label| {
                    encoded.iter().any(|other| other.label == label)
                }),
                aims: embedded.aims,
                plain: embedded.plain,
                stop: prompt.stop,
                influence: PromptSchedule::of(prompt),
            });
        }
        Ok(encoded)
    }

    fn embed(
        &self,
        prompt: &Prompt,
        device: &Device,
        warnings: &mut Vec<String>,
    ) -> Result<Embedded> {
        let clip = &self.clip;
        if let Some(text) = &prompt.text {
            let embedding = clip.embed_text(text)?;
            warnings.extend(embedding.unread.of_model(clip.name(), "a prompt"));
            let plain = embedding.vector;
            let aim = match &self.common {
                None => plain.clone(),
                Some((common, share)) => off(&plain, common, *share),
            };
            let towers = clip.towers();
            return Ok(Embedded {
                aims: towers.iter().map(|tower| tower.text(&aim)).collect(),
                plain: vec![plain; towers.len()],
            });
        }
        let path = (prompt.image.as_deref()).context("a prompt has neither a text nor an image")?;
        let picture = picture::load_rgb(path)?;
        let vectors = (clip.towers().iter())
            .map(|tower| tower.embed_picture(&picture, device))
            .collect::<candle_core::Result<Vec<_>>>()
            .with_context(|| format!("cannot encode {}", path.display()))?;
        let towers = clip.towers().iter().zip(&vectors);
        Ok(Embedded {
            aims: towers
                .map(|(tower, vector)| tower.picture(vector))
                .collect(),
            plain: vectors,
        })
    }

    /// The prompts so far go out, these come in.
    fn replace_prompts(&mut self, encoded: Vec<Encoded>, fade: Fade) {
        let before = std::mem::take(&mut self.prompts);
        let first = before.is_empty();
        self.prompts = (before.into_iter())
            .map(|prompt| Encoded {
                influence: prompt.influence.going(fade),
                ..prompt
            })
            .filter(|prompt| !prompt.influence.is_gone(fade.start))
            .collect();
        self.prompts
            .extend(encoded.into_iter().map(|prompt| match first {
                // there is nothing that they replace
                true => prompt,
                false => Encoded {
                    influence: prompt.influence.coming(fade),
                    ..prompt
                },
            }));
    }
}

fn mean_text(clip: &Clip, texts: &[&str]) -> Result<Vec<f32>> {
    let mut mean = vec![0.0; clip.projection()];
    for text in texts {
        for (mean, value) in mean.iter_mut().zip(clip.embed_text(text)?.vector) {
            *mean += value / texts.len() as f32;
        }
    }
    Ok(mean)
}

fn off(vector: &[f32], common: &[f32], share: f64) -> Vec<f32> {
    let rest = vector
        .iter()
        .zip(common)
        .map(|(value, common)| value - share as f32 * common)
        .collect();
    crate::clip::unit(rest)
}

/// A picture `[1, 3, h, w]` brought to exactly that size: enlarged or reduced to cover it, the middle kept.
pub(super) fn resize_to_fill(
    picture: &Tensor,
    [width, height]: [usize; 2],
) -> candle_core::Result<Tensor> {
    let (_, _, h, w) = picture.dims4()?;
    if (h, w) == (height, width) {
        return Ok(picture.clone());
    }
    let scale = (width as f64 / w as f64).max(height as f64 / h as f64);
    let scaled = |side: usize, least: usize| ((side as f64 * scale).round() as usize).max(least);
    let (h, w) = (scaled(h, height), scaled(w, width));
    let resized = Resample::new(h, w, Filter::Bicubic, true)?.eval(picture)?;
    resized
        .narrow(2, (h - height) / 2, height)?
        .narrow(3, (w - width) / 2, width)?
        .contiguous()?
        .clamp(0.0, 1.0)
}
