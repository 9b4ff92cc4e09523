//! The CLIP term: the distance of the picture's views to the prompts, by one or several image towers.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Tensor};
use frozen::Layer;

use super::judge::{Target, judge};
use super::{Sight, Term, Verdict, Views};
use crate::config::{CutoutOptions, Distance, Select};
use clip::{Aim, Clip, Tower};
use phantasia_core::Schedule;
use phantasia_core::{PromptSchedule, StepContext};

/// One prompt, encoded for one critic.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// What metrics call the prompt.
    pub label: String,
    /// What is aimed at, one for each tower.
    pub aims: Vec<Aim>,
    /// What similarity is measured to by the towers that judge, of unit length; it differs from the aim where the embeddings are centred.
    pub plain: Vec<Vec<f32>>,
    /// The distance at which it is content.
    pub stop: Option<f64>,
    /// When and how much it counts.
    pub influence: PromptSchedule,
}

/// One CLIP with the prompts as it understands them.
pub struct Critic {
    /// The model.
    pub clip: Arc<Clip>,
    /// How much it counts beside the others.
    pub weight: Schedule,
    /// The views that it is shown.
    pub cutouts: CutoutOptions,
    /// The prompts.
    pub prompts: Vec<Encoded>,
}

/// How the term works.
#[derive(Clone, Debug)]
pub struct ClipTermOptions {
    /// How far an embedding is from a prompt's.
    pub distance: Distance,
    /// How several prompts count together.
    pub select: Select,
    /// Decides the views.
    pub seed: u64,
    /// About how many bytes the views that are worked on at once may take.
    pub memory: usize,
}

/// The CLIP term of an objective.
pub struct ClipTerm {
    critics: Vec<Critic>,
    options: ClipTermOptions,
}

/// What one tower says.
struct Opinion {
    judges: bool,
    weight: f64,
    loss: f64,
    grad: Tensor,
    rms: f64,
}

impl ClipTerm {
    /// A term of these critics, at least one.
    pub fn new(critics: Vec<Critic>, options: ClipTermOptions) -> Self {
        Self { critics, options }
    }

    /// The views of an image for one of the towers, which are numbered over all critics.
    fn draw(
        &self,
        image: &Tensor,
        cutouts: &CutoutOptions,
        tower: &Tower,
        number: usize,
        at: StepContext,
    ) -> Result<Views> {
        let (_, _, height, width) = image.dims4()?;
        let (size, seed) = ((width, height), self.options.seed);
        let sight = Sight::of(tower);
        Ok(Views::draw(cutouts, size, sight, seed, at, number))
    }

    /// The loss of one tower and its gradient, micro-batch by micro-batch. Adds cosines to `similarity`.
    fn evaluate(
        &self,
        critic: &Critic,
        index: usize,
        views: &Views,
        image: &Tensor,
        at: StepContext,
        similarity: &mut BTreeMap<String, (f64, f64)>,
    ) -> Result<(f64, Tensor)> {
        let tower = &critic.clip.towers()[index];
        let targets: Vec<Target> = (critic.prompts.iter())
            .map(|prompt| Target {
                vector: prompt.aims[index].vector.clone(),
                weight: prompt.influence.at(at),
                stop: prompt.stop,
            })
            .collect();
        let total = views.len();
        let batch = (self.options.memory / tower.bytes_per_image().max(1)).clamp(1, total);
        let mut loss = 0.0;
        let mut sum: Option<Tensor> = None;
        for start in (0..total).step_by(batch) {
            let range = start..(start + batch).min(total);
            let cut = views.layer(range, image.device())?;
            let (x, back_to_image) = cut.vjp(image)?;
            let (embeddings, back_to_views) = tower.vjp(&x)?;
            let (n, width) = embeddings.dims2()?;
            let values = embeddings
                .to_dtype(DType::F32)?
                .flatten_all()?
                .to_vec1::<f32>()?;
            let found = judge(
                &values,
                width,
                &targets,
                self.options.distance,
                self.options.select,
            );
            loss += found.loss / total as f64;
            if tower.judges() {
                self.measure(critic, index, &values, width, &found.cosines, similarity);
            }
            let scale = 1.0 / total as f32;
            let grads: Vec<f32> = found.grads.iter().map(|grad| grad * scale).collect();
            let grads = Tensor::from_vec(grads, (n, width), image.device())?
                .to_dtype(embeddings.dtype())?;
            let grad = back_to_image(&back_to_views(&grads)?)?;
            sum = Some(match sum {
                None => grad,
                Some(sum) => (sum + grad)?,
            });
        }
        let Some(grad) = sum else {
            bail!("no cutouts were drawn");
        };
        Ok((loss, grad))
    }

    /// Adds the cosines to the prompts' plain embeddings.
    fn measure(
        &self,
        critic: &Critic,
        index: usize,
        values: &[f32],
        width: usize,
        cosines: &[f64],
        similarity: &mut BTreeMap<String, (f64, f64)>,
    ) {
        let count = (values.len() / width) as f64;
        for (prompt, to_aim) in critic.prompts.iter().zip(cosines) {
            // nobody asks any more for what is fading out
            if prompt.influence.leaves() {
                continue;
            }
            let sum = if prompt.plain[index] == prompt.aims[index].vector {
                *to_aim
            } else {
                let target = Target {
                    vector: prompt.plain[index].clone(),
                    weight: 0.0,
                    stop: None,
                };
                judge(values, width, &[target], Distance::Cosine, Select::All).cosines[0]
            };
            let entry = similarity.entry(prompt.label.clone()).or_default();
            entry.0 += sum;
            entry.1 += count;
        }
    }
}

impl Term for ClipTerm {
    fn name(&self) -> &str {
        "clip"
    }

    fn judge(&mut self, image: &Tensor, at: StepContext) -> Result<Verdict> {
        let mut similarity = BTreeMap::new();
        let mut opinions = vec![];
        let mut parts = BTreeMap::new();
        let towers: usize = (self.critics.iter())
            .map(|critic| critic.clip.towers().len())
            .sum();
        for critic in &self.critics {
            let weight = critic.weight.at(at.t());
            for (index, tower) in critic.clip.towers().iter().enumerate() {
                let weight = weight * tower.share() * sure(&critic.prompts, index, at);
                let views = self.draw(image, &critic.cutouts, tower, opinions.len(), at)?;
                let (loss, grad) = self
                    .evaluate(critic, index, &views, image, at, &mut similarity)
                    .with_context(|| format!("while asking the CLIP `{}`", tower.name()))?;
                let rms = match towers {
                    1 => 1.0,
                    _ => root_mean_square(&grad)?,
                };
                if towers > 1 {
                    parts.insert(format!("clip/{}", tower.name()), weight * loss);
                }
                opinions.push(Opinion {
                    judges: tower.judges(),
                    weight,
                    loss,
                    grad,
                    rms,
                });
            }
        }
        let loss = opinions.iter().map(|o| o.weight * o.loss).sum();
        Ok(Verdict {
            loss,
            grad: balanced(opinions)?,
            similarity: similarity
                .into_iter()
                .map(|(label, (sum, count))| (label, sum / count))
                .collect(),
            parts,
        })
    }

    fn views(&self, image: &Tensor, at: StepContext) -> Result<Option<Tensor>> {
        let first = (self.critics.iter())
            .find_map(|critic| Some((&critic.cutouts, critic.clip.towers().first()?)));
        let Some((cutouts, tower)) = first else {
            return Ok(None);
        };
        let views = self.draw(image, cutouts, tower, 0, at)?;
        let cut = views.layer(0..views.len(), image.device())?;
        Ok(Some(cut.eval(image)?))
    }
}

/// How much a tower knows of what the prompts ask for at the moment, 0..=1.
fn sure(prompts: &[Encoded], tower: usize, at: StepContext) -> f64 {
    let (mut sum, mut all) = (0.0, 0.0);
    for prompt in prompts {
        let weight = prompt.influence.at(at).abs();
        sum += weight * prompt.aims[tower].sure;
        all += weight;
    }
    if all > 0.0 { sum / all } else { 1.0 }
}

/// The weighted sum of the towers' gradients, each first brought to the mean size of those that judge: a tower whose gradient is large by nature
/// would otherwise paint alone. With one tower this is its gradient.
fn balanced(opinions: Vec<Opinion>) -> Result<Tensor> {
    let judges = opinions.iter().filter(|o| o.judges);
    let (sum, count) = judges.fold((0.0, 0), |(sum, count), o| (sum + o.rms, count + 1));
    let mean = sum / f64::from(count.max(1));
    let mut sum: Option<Tensor> = None;
    for opinion in opinions {
        let scale = match opinion.rms > 0.0 {
            true => opinion.weight * mean / opinion.rms,
            false => opinion.weight,
        };
        let grad = (opinion.grad * scale)?;
        sum = Some(match sum {
            None => grad,
            Some(sum) => (sum + grad)?,
        });
    }
    sum.context("the recipe names no CLIP")
}

fn root_mean_square(x: &Tensor) -> candle_core::Result<f64> {
    let mean = x.sqr()?.mean_all()?.to_dtype(DType::F64)?;
    Ok(mean.to_scalar::<f64>()?.sqrt())
}
