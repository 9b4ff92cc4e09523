//! From a recipe to a session: models are loaded, prompts encoded, pictures read.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use frozen::{Filter, Layer, Resample};

use super::generator::generator;
use super::{Mask, Session};
use crate::clip::{Clip, Tower};
use crate::objective::{
    ClipTerm, ClipTermOptions, Critic, Encoded, Objective, Regular, Term, embed_images,
};
use crate::picture;
use crate::prompt::Influence;
use crate::recipe::{ClipOptions, Prompt, Recipe};
use crate::weights;

/// How much is taken off a text's embedding where a recipe does not say; the embedded model's texts have much in common.
const EMBEDDED_CENTER: f64 = 0.5;
/// What any prompt has in common with these is what prompts have in common.
const COMMON: [&str; 13] = [
    "a cat", "a dog", "a house", "a car", "a tree", "a face", "a person", "a flower", "a tool",
    "a sign", "a symbol", "a fish", "a bird",
];

/// What a session needs beside its recipe.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// About how many bytes the views that are worked on at once may take; it bounds memory and changes the picture only by rounding.
    pub memory: usize,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { memory: 256 << 20 }
    }
}

impl Session {
    /// A session that is ready for its first tick.
    pub fn new(recipe: &Recipe, device: &Device) -> Result<Self> {
        Self::with_options(recipe, device, &SessionOptions::default())
    }

    /// A session with settings that are not the recipe's.
    pub fn with_options(
        recipe: &Recipe,
        device: &Device,
        options: &SessionOptions,
    ) -> Result<Self> {
        let mut warnings = vec![];
        let mut critics = vec![];
        for entry in &recipe.clip {
            let clip = Arc::new(weights::load(&entry.model, Path::new("."), device)?);
            critics.push(critic(clip, entry, &recipe.prompts, device, &mut warnings)?);
        }
        let clip_term = ClipTerm::new(
            critics,
            ClipTermOptions {
                cutouts: recipe.cutouts.clone(),
                distance: recipe.distance,
                select: recipe.select,
                seed: recipe.seed,
                memory: options.memory,
            },
        );
        let mut terms: Vec<Box<dyn Term>> = vec![Box::new(clip_term)];
        for term in Regular::of(&recipe.terms) {
            terms.push(Box::new(term));
        }
        let [width, height] = recipe.size;
        let init = match &recipe.init {
            None => None,
            Some(path) => Some(picture_of_size(path, (width, height), device)?),
        };
        let generator = generator(recipe, init.as_ref(), device)?;
        let mut session = Session::from_parts(generator, Objective::new(terms), recipe.steps);
        if let Some(path) = &recipe.mask {
            let paint = picture_of_size(path, (width, height), device)?.mean_keepdim(1)?;
            let behind = match init {
                Some(init) => init,
                None => session.image()?,
            };
            session.mask = Some(Mask { paint, behind });
        }
        session.warnings = warnings;
        Ok(session)
    }
}

/// A model with the recipe's prompts as it understands them.
fn critic(
    clip: Arc<Clip>,
    options: &ClipOptions,
    prompts: &[Prompt],
    device: &Device,
    warnings: &mut Vec<String>,
) -> Result<Critic> {
    let automatic = match options.model == weights::EMBEDDED {
        true => EMBEDDED_CENTER,
        false => 0.0,
    };
    let center = options.center.unwrap_or(automatic);
    let common = match center == 0.0 {
        true => None,
        false => Some(mean_text(&clip, &COMMON)?),
    };
    let mut encoded: Vec<Encoded> = vec![];
    for prompt in prompts {
        let (label, aims, plain) = match (&prompt.text, &prompt.image) {
            (Some(text), _) => {
                let embedding = clip.embed_text(text)?;
                if let Some(lost) = embedding.lost {
                    warnings.push(format!(
                        "`{}` does not read all of a prompt: it stops before \"{lost}\"",
                        clip.name()
                    ));
                }
                let plain = embedding.vector;
                let aim = match &common {
                    None => plain.clone(),
                    Some(common) => off(&plain, common, center),
                };
                let towers = clip.towers().len();
                (text.clone(), vec![aim; towers], vec![plain; towers])
            }
            (None, Some(path)) => {
                let picture = picture::load_tensor(path, device)?;
                let vectors = (clip.towers().iter())
                    .map(|tower| embed_picture(tower, &picture))
                    .collect::<Result<Vec<_>>>()
                    .with_context(|| format!("cannot encode {}", path.display()))?;
                (path.display().to_string(), vectors.clone(), vectors)
            }
            (None, None) => bail!("a prompt has neither a text nor an image"),
        };
        encoded.push(Encoded {
            label: unused(label, &encoded),
            aims,
            plain,
            stop: prompt.stop,
            influence: Influence::of(prompt),
        });
    }
    Ok(Critic {
        clip,
        weight: options.weight.clone(),
        prompts: encoded,
    })
}

/// The label, with a number where another prompt has it already.
fn unused(label: String, encoded: &[Encoded]) -> String {
    let taken = |label: &str| encoded.iter().any(|other| other.label == label);
    if !taken(&label) {
        return label;
    }
    (2..)
        .map(|n| format!("{label} ({n})"))
        .find(|label| !taken(label))
        .unwrap_or(label)
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

/// A picture as a tower's preprocessing shows it: its shorter side brought to the input's size, its middle cut out.
fn embed_picture(tower: &Tower, picture: &Tensor) -> Result<Vec<f32>> {
    let size = tower.size();
    let shown = shortest_edge(picture, size)?;
    let mut vectors = embed_images(tower, &shown)?;
    vectors.pop().context("the model gave no embedding")
}

/// `[1, 3, height, width]` to `[1, 3, size, size]`: bicubic with antialiasing, then the middle (CLIP's own preprocessing).
pub(crate) fn shortest_edge(picture: &Tensor, size: usize) -> candle_core::Result<Tensor> {
    let (_, _, height, width) = picture.dims4()?;
    let short = height.min(width);
    // the longer side is rounded down, as torchvision and transformers do
    let scaled = |side: usize| (side * size / short).max(size);
    let (h, w) = (scaled(height), scaled(width));
    let resized = Resample::new(h, w, Filter::Bicubic, true)?.eval(picture)?;
    resized
        .narrow(2, (h - size) / 2, size)?
        .narrow(3, (w - size) / 2, size)?
        .contiguous()?
        .clamp(0.0, 1.0)
}

/// A picture from a file at exactly that size: enlarged or reduced to cover it, the middle kept.
fn picture_of_size(
    path: &Path,
    (width, height): (usize, usize),
    device: &Device,
) -> Result<Tensor> {
    let picture = picture::load_tensor(path, device)?;
    let (_, _, h, w) = picture.dims4()?;
    let scale = (width as f64 / w as f64).max(height as f64 / h as f64);
    let scaled = |side: usize, least: usize| ((side as f64 * scale).round() as usize).max(least);
    let (h, w) = (scaled(h, height), scaled(w, width));
    let resized = Resample::new(h, w, Filter::Bicubic, true)?.eval(&picture)?;
    Ok(resized
        .narrow(2, (h - height) / 2, height)?
        .narrow(3, (w - width) / 2, width)?
        .contiguous()?
        .clamp(0.0, 1.0)?)
}
