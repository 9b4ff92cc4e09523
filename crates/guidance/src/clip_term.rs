//! The CLIP term: the distance of the picture's cutouts to the prompts, by one or several image towers.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use frozen::Layer;
use phantasia_core::{Fade, Prompt, StepContext};

use crate::clip_guide::{self, ClipGuide, EncodedPrompt};
use crate::context::TermContext;
use crate::distance::Distance;
use crate::micro_batch;
use crate::prompt_loss::{Target, prompt_loss};
use crate::select::Select;
use crate::term::{Term, TermOutput, add_to};

/// The CLIP term of an objective.
#[derive(Clone)]
pub struct ClipTerm {
    guides: Vec<ClipGuide>,
    distance: Distance,
    select: Select,
}

/// Sums of cosines to the prompts, by label, and the number of summands.
type Similarity = BTreeMap<String, (f64, f64)>;

/// The loss of one image tower.
struct TowerOutput {
    judges: bool,
    weight: f64,
    loss: f64,
    grad: Tensor,
    rms: f64,
}

impl ClipTerm {
    /// Loads the CLIPs of a recipe, at least one. There are no prompts yet.
    ///
    /// # Errors
    /// When a model cannot be loaded.
    pub fn new(
        configs: &[clip_guide::Config],
        distance: Distance,
        select: Select,
        context: &mut TermContext,
    ) -> Result<Self> {
        let guides = configs.iter().map(|config| ClipGuide::new(config, context));
        Ok(Self {
            guides: guides.collect::<Result<_>>()?,
            distance,
            select,
        })
    }

    /// Encodes prompts without using them yet: [`ClipTerm::set_prompts`] then cannot fail for them.
    ///
    /// # Errors
    /// When a prompt cannot be encoded.
    pub fn prepare(&mut self, prompts: &[Prompt], context: &mut TermContext) -> Result<()> {
        (self.guides.iter_mut()).try_for_each(|guide| guide.encode(prompts, context).map(drop))
    }

    /// Fades the present prompts out and these in.
    ///
    /// # Errors
    /// As [`ClipTerm::prepare`]; the prompts are as before.
    pub fn set_prompts(
        &mut self,
        prompts: &[Prompt],
        fade: Fade,
        context: &mut TermContext,
    ) -> Result<()> {
        self.prepare(prompts, context)?;
        for guide in &mut self.guides {
            let encoded = guide.encode(prompts, context)?;
            guide.replace_prompts(encoded, fade);
        }
        Ok(())
    }

    /// The loss of one tower of a guide, and its gradient. Adds cosines to `similarity`. `number` counts towers over all guides.
    fn tower_loss(
        &self,
        guide: &ClipGuide,
        index: usize,
        number: usize,
        image: &Tensor,
        at: StepContext,
        similarity: &mut Similarity,
    ) -> Result<(f64, Tensor)> {
        let tower = &guide.clip.towers()[index];
        let targets: Vec<Target> = (guide.prompts.iter())
            .map(|prompt| Target {
                vector: prompt.embedding.aims[index].vector.clone(),
                weight: prompt.schedule.at(at),
                stop: prompt.stop,
            })
            .collect();
        let cutouts = guide.sampler.draw(image, tower, number, at)?;
        let total = cutouts.len();
        let mut loss = 0.0;
        let memory = guide.sampler.memory;
        let grad = micro_batch::gradient(image, &cutouts, tower, memory, |embeddings, width| {
            let found = prompt_loss(embeddings, width, &targets, self.distance, self.select);
            loss += found.loss / total as f64;
            if tower.scores() {
                measure(
                    &guide.prompts,
                    index,
                    embeddings,
                    width,
                    &found.cosines,
                    similarity,
                );
            }
            let scale = 1.0 / total as f32;
            found.grads.iter().map(|grad| grad * scale).collect()
        })?;
        Ok((loss, grad))
    }
}

/// Adds the cosines of embeddings to the prompts' plain embeddings for one tower.
fn measure(
    prompts: &[EncodedPrompt],
    tower: usize,
    embeddings: &[f32],
    width: usize,
    cosines: &[f64],
    similarity: &mut Similarity,
) {
    for (prompt, to_aim) in prompts.iter().zip(cosines) {
        // metrics leave out what an edit has replaced
        if prompt.schedule.leaves() {
            continue;
        }
        let plain = &prompt.embedding.plain[tower];
        let sum = if *plain == prompt.embedding.aims[tower].vector {
            *to_aim
        } else {
            let target = Target {
                vector: plain.clone(),
                weight: 0.0,
                stop: None,
            };
            prompt_loss(embeddings, width, &[target], Distance::Cosine, Select::All).cosines[0]
        };
        let entry = similarity.entry(prompt.label.clone()).or_default();
        entry.0 += sum;
        entry.1 += (embeddings.len() / width) as f64;
    }
}

impl Term for ClipTerm {
    fn name(&self) -> &str {
        "clip"
    }

    fn evaluate(&mut self, image: &Tensor, at: StepContext) -> Result<TermOutput> {
        let mut similarity = Similarity::new();
        let mut outputs: Vec<TowerOutput> = vec![];
        let mut parts = BTreeMap::new();
        let towers = self.guides.iter().map(|guide| guide.clip.towers().len());
        let is_alone = towers.sum::<usize>() == 1;
        for guide in &self.guides {
            for (index, tower) in guide.clip.towers().iter().enumerate() {
                let weight =
                    guide.weight.at(at.t()) * tower.share() * sure(&guide.prompts, index, at);
                let number = outputs.len();
                let (loss, grad) =
                    self.tower_loss(guide, index, number, image, at, &mut similarity)?;
                let rms = if is_alone {
                    1.0
                } else {
                    parts.insert(format!("clip/{}", tower.name()), weight * loss);
                    root_mean_square(&grad)?
                };
                outputs.push(TowerOutput {
                    judges: tower.scores(),
                    weight,
                    loss,
                    grad,
                    rms,
                });
            }
        }
        let similarity = similarity.into_iter();
        Ok(TermOutput {
            loss: outputs.iter().map(|tower| tower.weight * tower.loss).sum(),
            grad: balanced(outputs)?,
            similarity: similarity
                .map(|(label, (sum, count))| (label, sum / count))
                .collect(),
            parts,
        })
    }

    fn cutouts(&self, image: &Tensor, at: StepContext) -> Result<Option<Tensor>> {
        let Some(guide) = self.guides.first() else {
            return Ok(None);
        };
        let cutouts = guide.sampler.draw(image, &guide.clip.towers()[0], 0, at)?;
        let layer = cutouts.layer(0..cutouts.len(), image.device())?;
        Ok(Some(layer.eval(image)?))
    }
}

/// How much a tower knows of what the prompts ask for at the moment, 0..=1.
fn sure(prompts: &[EncodedPrompt], tower: usize, at: StepContext) -> f64 {
    let (mut sum, mut all) = (0.0, 0.0);
    for prompt in prompts {
        let weight = prompt.schedule.at(at).abs();
        sum += weight * prompt.embedding.aims[tower].sure;
        all += weight;
    }
    if all > 0.0 { sum / all } else { 1.0 }
}

/// The weighted sum of the towers' gradients, each first scaled to the mean size of those that judge: a tower whose gradient is large by nature
/// would otherwise paint alone. With one tower this is its gradient.
fn balanced(outputs: Vec<TowerOutput>) -> Result<Tensor> {
    let judges = outputs.iter().filter(|output| output.judges);
    let (sum, count) = judges.fold((0.0, 0), |(sum, count), output| {
        (sum + output.rms, count + 1)
    });
    let mean = sum / f64::from(count.max(1));
    let mut sum = None;
    for output in outputs {
        let scale = if output.rms > 0.0 {
            output.weight * mean / output.rms
        } else {
            output.weight
        };
        add_to(&mut sum, (output.grad * scale)?)?;
    }
    sum.context("the recipe names no CLIP")
}

fn root_mean_square(x: &Tensor) -> candle_core::Result<f64> {
    let mean = x.sqr()?.mean_all()?.to_dtype(DType::F64)?;
    Ok(mean.to_scalar::<f64>()?.sqrt())
}
