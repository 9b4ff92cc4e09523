//! The CLIP term: the distance of the picture's cutouts to the prompts, by one or several image towers.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use frozen::{Layer, add_to};
use phantasia_core::{Fade, Prompt, StepContext};

use crate::clip_guide::{self, ClipGuide, EncodedPrompt};
use crate::context::TermContext;
use crate::distance::Distance;
use crate::micro_batch;
use crate::prompt_loss::{Target, prompt_loss, sum_of_cosines};
use crate::select::Select;
use crate::term::{Term, TermOutput};

/// The CLIP term of an objective.
#[derive(Clone)]
pub struct ClipTerm {
    guides: Vec<ClipGuide>,
    distance: Distance,
    select: Select,
}

/// Sums of cosines to the prompts, by label, and the number of summands.
type Similarity = BTreeMap<String, (f64, usize)>;

/// The loss of one image tower.
struct TowerOutput {
    /// Whether pictures are measured by it.
    scores: bool,
    weight: f64,
    loss: f64,
    grad: Tensor,
    rms: f64,
    /// How many there were.
    cutouts: usize,
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

    /// The output of one tower of a guide. Adds cosines to `similarity`. `number` counts towers over all guides.
    fn evaluate_tower(
        &self,
        guide: &ClipGuide,
        index: usize,
        number: usize,
        image: &Tensor,
        at: StepContext,
        similarity: &mut Similarity,
    ) -> Result<TowerOutput> {
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
            for prompt in &guide.prompts {
                // metrics leave out what an edit has replaced
                if !tower.scores() || prompt.schedule.is_fading_out() {
                    continue;
                }
                let plain = &prompt.embedding.plain[index];
                let (sum, count) = similarity.entry(prompt.label.clone()).or_default();
                *sum += sum_of_cosines(embeddings, width, plain);
                *count += embeddings.len() / width;
            }
            let scale = 1.0 / total as f32;
            found.grads.iter().map(|grad| grad * scale).collect()
        })?;
        Ok(TowerOutput {
            scores: tower.scores(),
            weight: guide.weight.at(at.t()) * tower.share() * sure(&guide.prompts, index, at),
            loss,
            rms: root_mean_square(&grad)?,
            grad,
            cutouts: total,
        })
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
        for guide in &self.guides {
            for (index, tower) in guide.clip.towers().iter().enumerate() {
                let number = outputs.len();
                let output =
                    self.evaluate_tower(guide, index, number, image, at, &mut similarity)?;
                parts.insert(
                    format!("clip/{}", tower.name()),
                    output.weight * output.loss,
                );
                outputs.push(output);
            }
        }
        if outputs.len() == 1 {
            // its loss is the term's
            parts.clear();
        }
        let similarity = similarity.into_iter();
        Ok(TermOutput {
            loss: outputs.iter().map(|tower| tower.weight * tower.loss).sum(),
            cutouts: outputs.iter().map(|tower| tower.cutouts).sum(),
            grad: balanced(outputs)?,
            similarity: similarity
                .map(|(label, (sum, count))| (label, sum / count as f64))
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

/// The weighted sum of the towers' gradients, each first scaled to the mean size of those that score: a tower whose gradient is large by nature
/// would otherwise paint alone. With one tower this is its gradient.
fn balanced(outputs: Vec<TowerOutput>) -> Result<Tensor> {
    let scoring = outputs.iter().filter(|output| output.scores);
    let (sum, count) = scoring.fold((0.0, 0), |(sum, count), output| {
        (sum + output.rms, count + 1)
    });
    let mean = sum / f64::from(count.max(1));
    let is_alone = outputs.len() == 1;
    let mut sum = None;
    for output in outputs {
        let scale = if is_alone || output.rms == 0.0 {
            output.weight
        } else {
            output.weight * mean / output.rms
        };
        add_to(&mut sum, (output.grad * scale)?)?;
    }
    sum.context("the recipe names no CLIP")
}

fn root_mean_square(x: &Tensor) -> candle_core::Result<f64> {
    let mean = x.sqr()?.mean_all()?.to_dtype(DType::F64)?;
    Ok(mean.to_scalar::<f64>()?.sqrt())
}
