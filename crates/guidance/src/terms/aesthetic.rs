//! The aesthetic term: how beautiful a head finds what a CLIP sees in the picture.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use candle_core::Tensor;
use clip::{Clip, ClipActivation, ClipChoice, EMBEDDED_ACTIVATION, Precision, is_embedded};
use phantasia_core::check::{Checker, MODEL_FORMAT};
use phantasia_core::{Schedule, StepContext, config, schema};

use crate::aesthetic_head::{BEST, CLIP, HEAD, Head};
use crate::cutouts::{self, CutoutSampler};
use crate::micro_batch::{self, Pass};
use crate::{Term, TermConfig, TermContext, TermOutput};

/// Its cutouts are drawn as those of a tower of this number: no recipe has so many, so that the cutouts of the CLIPs are the same with and
/// without the term.
const TOWER: usize = 0x1000;

config! {
    /// A head that scores a CLIP's image embeddings, about 1 to 10. A number alone is its weight. The defaults are LAION's head, and OpenAI's
    /// ViT-L/14 that it was trained on.
    #[serde(remote = "Self")]
    #[schemars(rename = "Aesthetic", transform = schema::or_schedule)]
    pub struct Config {
        /// How much it counts. Its loss is 1 - score / 10.
        pub weight: Schedule = 1.0.into(),
        /// The head: a file, or a known model's name.
        #[schemars(extend("format" = MODEL_FORMAT, "x-kind" = "aesthetic"))]
        pub model: String = HEAD.to_owned(),
        /// The CLIP whose embeddings the head was trained on.
        #[schemars(extend("format" = MODEL_FORMAT, "x-kind" = "clip"))]
        pub clip: String = CLIP.to_owned(),
        /// The precision of the CLIP on a GPU, as in the entries of `clip`.
        #[serde(skip_serializing_if = "Precision::is_default")]
        pub precision: Precision = Precision::default(),
        /// The nonlinearity of the CLIP's transformers, likewise.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub activation: Option<ClipActivation> = None,
        /// Overrides of the recipe's `cutouts` for this term.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub cutouts: Option<cutouts::Changes> = None,
    }
}

phantasia_core::or_weight!(
    Config,
    "a weight, or a map with keys such as `weight` and `model`"
);

impl TermConfig for Config {
    fn build(&self, context: &mut TermContext) -> Result<Option<Box<dyn Term>>> {
        let head = context.model(&self.model, |_| Ok(Arc::new(Head::by_name(&self.model)?)))?;
        let choice = ClipChoice {
            precision: self.precision,
            activation: self.activation,
        };
        let clip = context.clip(&self.clip, choice)?;
        head.fits(clip.name(), clip.projection())?;
        if self.weight.constant() == Some(0.0) {
            return Ok(None);
        }
        let sampler = context.sampler(self.cutouts.as_ref());
        let weight = self.weight.clone();
        Ok(Some(Box::new(AestheticTerm::new(
            head, clip, weight, sampler,
        ))))
    }

    fn check(&self, cutouts: &cutouts::Config, checker: &mut Checker) {
        if self.activation.is_some() && is_embedded(&self.clip) {
            checker.invalid("activation", EMBEDDED_ACTIVATION);
        }
        cutouts.check_changes(self.cutouts.as_ref(), checker);
    }
}

/// A head on the embeddings of a CLIP. The loss is 1 - score / 10, the mean over the cutouts: 0 for a picture of the best score.
pub struct AestheticTerm {
    head: Arc<Head>,
    clip: Arc<Clip>,
    weight: Schedule,
    sampler: CutoutSampler,
}

impl AestheticTerm {
    /// A term of a head that [fits](Head::fits) the CLIP.
    pub fn new(head: Arc<Head>, clip: Arc<Clip>, weight: Schedule, sampler: CutoutSampler) -> Self {
        Self {
            head,
            clip,
            weight,
            sampler,
        }
    }

    fn pass(&self, image: &Tensor, at: StepContext, pass: Pass) -> Result<TermOutput> {
        let tower = self.clip.scoring_tower();
        let cutouts = self.sampler.draw(image, tower, TOWER, None, at)?;
        let weight = self.weight.at(at.t());
        let total = cutouts.len() as f64;
        let each = -weight / (BEST * total);
        let (mut score, mut weighted) = (0.0, 0.0);
        let memory = self.sampler.memory;
        let loss = |embeddings: &[f32], width: usize, range: Range<usize>| {
            let mut grads = Vec::with_capacity(embeddings.len());
            let weights = &cutouts.weights()[range];
            for (embedding, cutout) in embeddings.chunks_exact(width).zip(weights) {
                let (found, grad) = self.head.score_with_gradient(embedding);
                score += found / total;
                weighted += cutout * found / total;
                grads.extend(grad.into_iter().map(|grad| (each * cutout * grad) as f32));
            }
            grads
        };
        let grad = micro_batch::gradient(image, &cutouts, tower, memory, pass, loss)?;
        Ok(TermOutput {
            parts: BTreeMap::from([("aesthetic/score".to_owned(), score)]),
            cutouts: cutouts.len(),
            ..TermOutput::new(weight * (1.0 - weighted / BEST), grad)
        })
    }
}

impl Term for AestheticTerm {
    fn name(&self) -> &str {
        "aesthetic"
    }

    fn evaluate(&mut self, image: &Tensor, at: StepContext) -> Result<TermOutput> {
        self.pass(image, at, Pass::Backward)
    }

    fn loss(&mut self, image: &Tensor, at: StepContext) -> Result<f64> {
        Ok(self.pass(image, at, Pass::Forward)?.loss)
    }
}
