//! The CLIP term: the distance of the picture's cutouts to the prompts, by one or several image towers.

use std::collections::BTreeMap;
use std::iter;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Tensor};
use clip::{EMBEDDED, Tower};
use frozen::{Layer, add_to};
use phantasia_core::{EmbeddedPrompt, Fade, Prompt, StepContext};

use crate::clip_guide::{self, ClipGuide, EncodedPrompt, PromptEmbedding};
use crate::context::{Guides, TermContext};
use crate::cutout_layer::Cutouts;
use crate::direction::{BasePicture, Direction, NO_BASE, direction_loss};
use crate::distance::Distance;
use crate::micro_batch::{self, Pass};
use crate::prompt_loss::{Target, prompt_loss, sum_of_cosines};
use crate::prompt_region::PromptRegion;
use crate::region_mask::RegionMask;
use crate::select::Select;
use crate::term::{Term, TermOutput};

/// The CLIP term of an objective.
#[derive(Clone)]
pub struct ClipTerm {
    guides: Vec<ClipGuide>,
    distance: Distance,
    select: Select,
    /// The groups of the last step, kept so that their masks are not computed again.
    groups: Vec<Group>,
    base: BasePicture,
}

/// The prompts that are about the same part of the picture: they are compared with cutouts of their own, and their gradient is confined to it.
#[derive(Clone)]
struct Group {
    /// `None` for the whole picture.
    region: Option<PromptRegion>,
    mask: Option<Arc<RegionMask>>,
}

/// A step of the render.
struct Step<'a> {
    image: &'a Tensor,
    at: StepContext,
    pass: Pass,
}

/// The prompts of a group as one CLIP encodes them, with what they are at a step.
struct GroupPrompts<'a> {
    guide: &'a ClipGuide,
    prompts: Vec<StepPrompt<'a>>,
}

/// A prompt at a step.
struct StepPrompt<'a> {
    prompt: &'a EncodedPrompt,
    /// What it asks for.
    embedding: Arc<PromptEmbedding>,
    weight: f64,
}

impl<'a> GroupPrompts<'a> {
    fn new(guide: &'a ClipGuide, group: &Group, at: StepContext) -> Self {
        let own = (guide.prompts.iter()).filter(|prompt| prompt.region == group.region);
        let prompts = own.map(|prompt| StepPrompt {
            prompt,
            embedding: prompt.embedding(at),
            weight: prompt.schedule.at(at),
        });
        Self {
            guide,
            prompts: prompts.collect(),
        }
    }
}

/// Sums of cosines to the prompts, by label, and the number of summands.
type Similarity = BTreeMap<String, (f64, usize)>;

/// The loss of one image tower.
struct TowerOutput<'a> {
    name: &'a str,
    weight: f64,
    loss: f64,
    grad: Tensor,
    rms: f64,
    /// The number of cutouts.
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
            groups: vec![],
            base: context.base.clone(),
        })
    }

    /// Encodes prompts without using them yet: [`ClipTerm::set_prompts`] then cannot fail for them.
    ///
    /// # Errors
    /// When a prompt cannot be encoded, or asks for a change and there is no picture to be changed.
    pub fn prepare(&mut self, prompts: &[Prompt], context: &mut TermContext) -> Result<()> {
        let directional = prompts.iter().find(|prompt| prompt.source.is_some());
        if let Some(prompt) = directional.filter(|_| self.base.is_none()) {
            bail!("`{}`: {NO_BASE}", prompt.label());
        }
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

    /// The prompts and the kind of CLIPs, for terms that follow them too.
    pub fn guides(&self) -> Guides {
        let prompts = self.guides.first().map_or(&[][..], |guide| &guide.prompts);
        Guides {
            prompts: prompts.iter().map(EncodedPrompt::scheduled).collect(),
            is_embedded: (self.guides.iter()).any(|guide| guide.clip.name() == EMBEDDED),
        }
    }

    /// The prompts that do not fade out, as the first CLIP embeds them; none without a CLIP.
    pub fn prompts(&self, at: StepContext) -> Option<Vec<EmbeddedPrompt>> {
        let prompts = self.guides.first()?.prompts.iter();
        let present = prompts.filter(|prompt| !prompt.schedule.is_fading_out());
        let embedded = present.map(|prompt| EmbeddedPrompt {
            text: prompt.text_at(at),
            weight: prompt.schedule.at(at),
            vector: prompt.embedding(at).plain[0].clone(),
        });
        Some(embedded.collect())
    }

    /// The groups with a prompt that counts at a step, those without a region first. If none counts, the first prompt's group stands alone, so
    /// that there are metrics. Masks of the step before are used again.
    fn groups(&self, image: &Tensor, at: StepContext) -> Result<Vec<Group>> {
        let prompts = || self.guides.iter().take(1).flat_map(|guide| &guide.prompts);
        let mut regions: Vec<Option<PromptRegion>> = vec![];
        for prompt in prompts().filter(|prompt| prompt.schedule.at(at) != 0.0) {
            if !regions.contains(&prompt.region) {
                regions.push(prompt.region.clone());
            }
        }
        if regions.is_empty() {
            regions.push(prompts().next().and_then(|prompt| prompt.region.clone()));
        }
        regions.sort_by_key(Option::is_some);
        let (_, _, height, width) = image.dims4()?;
        let size = [width, height];
        let groups = regions.into_iter().map(|region| {
            let is_known = |group: &&Group| {
                group.region == region
                    && (group.mask.as_ref()).is_none_or(|mask| mask.size() == size)
            };
            if let Some(known) = self.groups.iter().find(is_known) {
                return Ok(known.clone());
            }
            let mask = (region.as_ref())
                .map(|region| region.mask(size, image.device()).map(Arc::new))
                .transpose()?;
            Ok(Group { region, mask })
        });
        groups.collect()
    }

    /// The output of every tower of every guide. Adds cosines to `similarity`.
    fn evaluate_group(
        &self,
        group: &Group,
        step: &Step<'_>,
        similarity: &mut Similarity,
    ) -> Result<Vec<TowerOutput<'_>>> {
        let mut outputs = vec![];
        let mut number = 0;
        for guide in &self.guides {
            let own = GroupPrompts::new(guide, group, step.at);
            for index in 0..guide.clip.towers().len() {
                outputs.push(self.evaluate_tower(&own, index, number, group, step, similarity)?);
                number += 1;
            }
        }
        Ok(outputs)
    }

    /// The embeddings of the same cutouts of the picture that the segment started from, one after the other.
    fn base_embeddings(
        &self,
        image: &Tensor,
        cutouts: &Cutouts,
        tower: &Tower,
        memory: usize,
    ) -> Result<Vec<f32>> {
        let base = self.base.fit(image)?.context(NO_BASE)?;
        let mut embeddings = vec![];
        for range in cutouts.batches(memory, tower) {
            let x = cutouts.layer(range, image.device())?.eval(&base)?;
            let own = tower.eval(&x).with_context(|| micro_batch::failed(tower))?;
            embeddings.extend(own.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(embeddings)
    }

    /// The output of one tower of a guide. Adds cosines to `similarity`. `number` counts towers over all guides.
    fn evaluate_tower<'a>(
        &self,
        own: &GroupPrompts<'a>,
        index: usize,
        number: usize,
        group: &Group,
        step: &Step<'_>,
        similarity: &mut Similarity,
    ) -> Result<TowerOutput<'a>> {
        let GroupPrompts { guide, prompts } = own;
        let Step { image, at, pass } = *step;
        let tower = &guide.clip.towers()[index];
        let targets: Vec<Target> = (prompts.iter())
            .filter(|asked| !asked.prompt.is_directional())
            .map(|asked| Target {
                vector: asked.embedding.targets[index].clone(),
                weight: asked.weight,
                stop: asked.prompt.stop,
            })
            .collect();
        let directions: Vec<Direction> = (prompts.iter())
            .filter(|asked| asked.weight != 0.0)
            .filter_map(|asked| (asked.prompt).direction(index, &asked.embedding, asked.weight))
            .collect();
        let cutouts = (guide.sampler).draw(image, tower, number, group.mask.as_deref(), at)?;
        let total = cutouts.len();
        let mut loss = 0.0;
        let memory = guide.sampler.memory;
        let bases = if directions.is_empty() {
            vec![]
        } else {
            self.base_embeddings(image, &cutouts, tower, memory)?
        };
        let compare = |embeddings: &[f32], width: usize, range: Range<usize>| {
            // a cutout counts as much for every prompt of the group
            let of_cutouts = &cutouts.weights()[range.clone()];
            let weights: Vec<f64> = (of_cutouts.iter())
                .flat_map(|weight| iter::repeat_n(*weight, targets.len()))
                .collect();
            let (distance, select) = (self.distance, self.select);
            let mut found = prompt_loss(embeddings, width, &targets, &weights, distance, select);
            if !directions.is_empty() {
                let bases = &bases[range.start * width..range.end * width];
                let grads = &mut found.grads;
                found.loss += direction_loss(
                    embeddings,
                    bases,
                    width,
                    &directions,
                    of_cutouts,
                    distance,
                    grads,
                );
            }
            loss += found.loss / total as f64;
            for StepPrompt {
                prompt, embedding, ..
            } in prompts
            {
                // metrics are of the scoring tower, and leave out what an edit has replaced
                if index != 0 || prompt.schedule.is_fading_out() {
                    continue;
                }
                let plain = &embedding.plain[index];
                let (sum, count) = similarity.entry(prompt.label.clone()).or_default();
                *sum += sum_of_cosines(embeddings, width, plain);
                *count += embeddings.len() / width;
            }
            let scale = 1.0 / total as f32;
            found.grads.iter().map(|grad| grad * scale).collect()
        };
        let grad = micro_batch::gradient(image, &cutouts, tower, memory, pass, compare)?;
        Ok(TowerOutput {
            name: tower.name(),
            weight: guide.weight.at(at.t()) * tower.weight(),
            loss,
            rms: root_mean_square(&grad)?,
            grad,
            cutouts: if bases.is_empty() { total } else { 2 * total },
        })
    }
}

impl ClipTerm {
    fn pass(&mut self, image: &Tensor, at: StepContext, pass: Pass) -> Result<TermOutput> {
        self.groups = self.groups(image, at)?;
        let step = Step { image, at, pass };
        let mut similarity = Similarity::new();
        let (mut loss, mut cutouts, mut grad) = (0.0, 0, None);
        let mut parts = BTreeMap::<String, f64>::new();
        for group in &self.groups {
            let outputs = self.evaluate_group(group, &step, &mut similarity)?;
            // a small region is seen by cutouts that are small in the picture: their gradient is spread over fewer pixels, and larger in each
            let share = group.mask.as_ref().map_or(1.0, |mask| mask.share());
            let is_alone = outputs.len() == 1;
            for output in &outputs {
                loss += share * output.weight * output.loss;
                cutouts += output.cutouts;
                if !is_alone {
                    // with a single tower its loss is the term's
                    let part = parts.entry(format!("clip/{}", output.name)).or_default();
                    *part += share * output.weight * output.loss;
                }
            }
            let own = balanced(outputs)?;
            let own = match &group.mask {
                None => own,
                Some(mask) => mask.apply(&(own * share)?)?,
            };
            add_to(&mut grad, own)?;
        }
        let similarity = similarity.into_iter();
        Ok(TermOutput {
            loss,
            cutouts,
            grad: grad.context("the recipe names no CLIP")?,
            similarity: similarity
                .map(|(label, (sum, count))| (label, sum / count as f64))
                .collect(),
            parts,
        })
    }
}

impl Term for ClipTerm {
    fn name(&self) -> &str {
        "clip"
    }

    fn evaluate(&mut self, image: &Tensor, at: StepContext) -> Result<TermOutput> {
        self.pass(image, at, Pass::Backward)
    }

    fn loss(&mut self, image: &Tensor, at: StepContext) -> Result<f64> {
        Ok(self.pass(image, at, Pass::Forward)?.loss)
    }

    fn cutouts(&self, image: &Tensor, at: StepContext) -> Result<Option<Tensor>> {
        let Some(guide) = self.guides.first() else {
            return Ok(None);
        };
        let tower = &guide.clip.towers()[0];
        let groups = self.groups(image, at)?.into_iter();
        let views = groups.map(|group| {
            let cutouts = (guide.sampler).draw(image, tower, 0, group.mask.as_deref(), at)?;
            let layer = cutouts.layer(0..cutouts.len(), image.device())?;
            Ok(layer.eval(image)?)
        });
        let views = views.collect::<Result<Vec<_>>>()?;
        Ok(Some(Tensor::cat(&views, 0)?))
    }
}

/// The weighted sum of the towers' gradients, each first scaled to their mean size: a tower whose gradient is large by nature would otherwise
/// paint alone. With one tower this is its gradient.
fn balanced(outputs: Vec<TowerOutput<'_>>) -> Result<Tensor> {
    let sum: f64 = outputs.iter().map(|output| output.rms).sum();
    let mean = sum / outputs.len().max(1) as f64;
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
