//! The retrieval prior as a term: how far a picture is from the drawings that its prompts name.

use std::sync::Arc;

use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use frozen::{Layer, add_to};
use phantasia_core::random::{self, Purpose};
use phantasia_core::{Prompt, PromptSchedule, Schedule, Seamless, StepContext};

use super::bank::Bank;
use super::ground::near;
use super::layout::Layout;
use super::reading::Request;
use crate::coarse::{self, STRENGTH};
use crate::prompt_region::PromptRegion;
use crate::term::{Term, TermOutput};

/// How much more several drawings in one picture count than one alone: CLIP compares all that it sees with the whole prompt, and blends them.
const SEVERAL: f64 = 1.6;

/// Drawings that come and go together.
pub struct Scene {
    /// When and how much it counts.
    pub schedule: PromptSchedule,
    /// The prompt whose texts it goes through; of several prompts that count at the same time the first.
    pub prompt: Prompt,
    /// What each of the prompt's texts asks for. Of several prompts all that they ask for.
    pub requests: Vec<Request>,
    /// Where it is confined to.
    pub region: Option<PromptRegion>,
    /// Tells the random numbers of scenes apart.
    pub number: usize,
}

/// What a scene pulls a picture of one size to.
struct Target {
    /// `[1, 3, height, width]` in 0..=1.
    colors: Tensor,
    /// `[1, 1, height, width]` in 0..=1: where there are drawings of things.
    things: Tensor,
    /// How much each pixel counts as ground: 0 under a thing, 1 elsewhere, and up to 2 beside a thing where the prompt asks for no ground, so that
    /// outlines stay sharp. Same shape.
    ground: Tensor,
    /// Whether the prompt asks for the ground.
    is_ground_asked: bool,
    /// How much it counts relative to that of a single thing.
    emphasis: f64,
}

/// A target that counts at a step.
struct Present<'a> {
    target: &'a Target,
    /// How much its prompt does, 0..=1.
    opacity: f64,
    /// How much its things do.
    things: f64,
    /// How much its ground does.
    ground: f64,
}

/// The retrieval prior.
pub struct RetrievalTerm {
    pub bank: Arc<Bank>,
    pub scenes: Vec<Scene>,
    pub weight: Schedule,
    pub ground: Schedule,
    /// The shorter side at which pictures are compared, in pixels.
    pub resolution: usize,
    pub seed: u64,
    pub seamless: Seamless,
    /// The targets of each scene, for pictures of the last size.
    pub(super) targets: Targets,
}

/// Targets by scene and text, and the size that they are for.
#[derive(Default)]
pub(super) struct Targets {
    size: [usize; 2],
    /// None where a text names no drawing.
    by_scene: Vec<Vec<Option<Target>>>,
}

impl RetrievalTerm {
    /// Draws the targets for pictures of another size.
    fn prepare(&mut self, image: &Tensor) -> Result<()> {
        let (_, _, height, width) = image.dims4()?;
        let size = coarse::size([width, height], self.resolution);
        if self.targets.size == size && self.targets.by_scene.len() == self.scenes.len() {
            return Ok(());
        }
        let targets = self.scenes.iter().map(|scene| {
            let requests = scene.requests.iter().enumerate();
            requests
                .map(|(text, request)| {
                    let is_silent = request.is_empty();
                    let target = || self.target(scene, text, request, size, image);
                    (!is_silent).then(target).transpose()
                })
                .collect::<Result<Vec<_>>>()
        });
        let by_scene = targets.collect::<Result<_>>()?;
        self.targets = Targets { size, by_scene };
        Ok(())
    }

    fn target(
        &self,
        scene: &Scene,
        text: usize,
        request: &Request,
        [width, height]: [usize; 2],
        image: &Tensor,
    ) -> Result<Target> {
        let device = image.device();
        let key = scene.number * 0x1_0000 + text;
        let rng = &mut random::rng(self.seed, Purpose::Drawings, 0, key);
        let mask = (scene.region.as_ref())
            .map(|region| region.mask([width, height], device))
            .transpose()?;
        let frame = mask.as_ref().map(|mask| mask.frame());
        let [left, top, wide, high] = frame.map_or([0, 0, width, height], |frame| {
            [frame.left, frame.top, frame.width, frame.height].map(|value| value as usize)
        });
        let layout = Layout::draw(request, &self.bank, [wide, high], self.seamless, rng)?;
        let count = width * height;
        let (mut colors, mut things, mut ground) =
            (vec![0.0; 3 * count], vec![0.0; count], vec![0.0; count]);
        let near = if layout.has_ground {
            vec![0.0; wide * high]
        } else {
            near(&layout.drawn, [wide, high])
        };
        for (index, (color, share)) in layout.colors.iter().zip(&layout.drawn).enumerate() {
            let pixel = (top + index / wide) * width + left + index % wide;
            for (channel, value) in color.iter().enumerate() {
                colors[channel * count + pixel] = *value;
            }
            things[pixel] = *share;
            ground[pixel] = (1.0 - share) * (1.0 + near[index]);
        }
        let map = |values: Vec<f32>| {
            let map = Tensor::from_vec(values, (1, 1, height, width), device)?;
            match &mask {
                None => Ok::<_, anyhow::Error>(map),
                Some(mask) => Ok(mask.apply(&map)?),
            }
        };
        Ok(Target {
            colors: Tensor::from_vec(colors, (1, 3, height, width), device)?,
            things: map(things)?,
            ground: map(ground)?,
            is_ground_asked: layout.has_ground,
            emphasis: if request.things.len() > 1 {
                SEVERAL
            } else {
                1.0
            },
        })
    }

    /// The targets that count at a step.
    fn present(&self, at: StepContext) -> Vec<Present<'_>> {
        let mut present = vec![];
        for (scene, targets) in self.scenes.iter().zip(&self.targets.by_scene) {
            let weight = scene.schedule.at(at).max(0.0);
            let (index, share) = scene.prompt.text_position(at);
            for (text, share) in [(index, 1.0 - share), (index + 1, share)] {
                let target = targets.get(text).and_then(Option::as_ref);
                let Some(target) = target.filter(|_| share * weight > 0.0) else {
                    continue;
                };
                // an edit or a keyframe has a beginning of its own
                let start = (scene.schedule.start(at)).max(scene.prompt.text_start(text, at));
                let last = at.steps.saturating_sub(1) as f64;
                let t = ((at.step as f64 - start) / (last - start).max(1.0)).clamp(0.0, 1.0);
                let opacity = weight * share;
                let things = opacity * target.emphasis * self.weight.at(t);
                let ground = if target.is_ground_asked {
                    things
                } else {
                    things * self.ground.at(t)
                };
                present.push(Present {
                    target,
                    opacity: opacity.min(1.0),
                    things,
                    ground,
                });
            }
        }
        present
    }

    /// How much each pixel of a target counts, `[1, 1, height, width]`. The ground of one lies behind the things of all others.
    fn weights(present: &[Present<'_>], index: usize) -> candle_core::Result<Tensor> {
        let own = &present[index];
        let mut ground = (&own.target.ground * own.ground)?;
        for (
            other,
            Present {
                target, opacity, ..
            },
        ) in present.iter().enumerate()
        {
            if other != index {
                ground = (&ground * target.things.affine(-opacity, 1.0)?)?;
            }
        }
        (&own.target.things * own.things)? + ground
    }
}

impl Term for RetrievalTerm {
    fn name(&self) -> &str {
        "retrieval"
    }

    fn evaluate(&mut self, image: &Tensor, at: StepContext) -> Result<TermOutput> {
        self.prepare(image)?;
        let present = self.present(at);
        if present.iter().all(|own| own.things == 0.0) {
            // nothing counts at this step
            return Ok(TermOutput::new(0.0, image.zeros_like()?));
        }
        let [width, height] = self.targets.size;
        let (small, back) = coarse::resample(image, self.resolution, self.seamless)?.vjp(image)?;
        let scale = STRENGTH / (3 * width * height) as f64;
        let (mut loss, mut grad) = (0.0, None);
        for (index, Present { target, things, .. }) in present.iter().enumerate() {
            if *things == 0.0 {
                continue;
            }
            let weights = Self::weights(&present, index)?.to_dtype(small.dtype())?;
            let apart = (&small - target.colors.to_dtype(small.dtype())?)?;
            let pull = apart.broadcast_mul(&weights)?;
            let sum = (&apart * &pull)?.sum_all()?.to_dtype(DType::F64)?;
            loss += scale * sum.to_scalar::<f64>()?;
            add_to(&mut grad, (pull * (2.0 * scale))?)?;
        }
        let grad = grad.context("no drawing counts")?;
        Ok(TermOutput::new(loss, back(&grad)?))
    }
}
