//! The aesthetic term: how beautiful a head finds what a CLIP sees in the picture.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use frozen::Layer;

use super::{Sight, Term, Verdict, Views};
use crate::aesthetic_head::{BEST, Head};
use crate::config::CutoutOptions;
use clip::Clip;
use phantasia_core::Schedule;
use phantasia_core::StepContext;

/// Its cutouts are drawn as those of a tower of this number: no recipe has so many, so that asking for beauty leaves the cutouts of the
/// CLIPs as they are.
const TOWER: usize = 0x1000;

/// What the term works with.
#[derive(Clone, Debug)]
pub struct AestheticTermOptions {
    /// How much it counts.
    pub weight: Schedule,
    /// The views.
    pub cutouts: CutoutOptions,
    /// Decides the views.
    pub seed: u64,
    /// About how many bytes the views that are worked on at once may take.
    pub memory: usize,
}

/// A head on the embeddings of a CLIP. The loss is 1 - score / 10, the mean over the views: 0 for a picture of the best score.
pub struct AestheticTerm {
    head: Arc<Head>,
    clip: Arc<Clip>,
    options: AestheticTermOptions,
}

impl AestheticTerm {
    /// A term of a head that [fits](Head::fits) the CLIP.
    pub fn new(head: Arc<Head>, clip: Arc<Clip>, options: AestheticTermOptions) -> Self {
        Self {
            head,
            clip,
            options,
        }
    }

    fn draw(&self, image: &Tensor, at: StepContext) -> Result<Views> {
        let (_, _, height, width) = image.dims4()?;
        let AestheticTermOptions { cutouts, seed, .. } = &self.options;
        let sight = Sight::of(&self.clip.towers()[0]);
        Ok(Views::draw(
            cutouts,
            (width, height),
            sight,
            *seed,
            at,
            TOWER,
        ))
    }
}

impl Term for AestheticTerm {
    fn name(&self) -> &str {
        "aesthetic"
    }

    fn judge(&mut self, image: &Tensor, at: StepContext) -> Result<Verdict> {
        let tower = &self.clip.towers()[0];
        let views = self.draw(image, at)?;
        let weight = self.options.weight.at(at.t());
        let total = views.len();
        let each = -weight / (BEST * total as f64);
        let batch = (self.options.memory / tower.bytes_per_image().max(1)).clamp(1, total);
        let mut score = 0.0;
        let mut sum: Option<Tensor> = None;
        for start in (0..total).step_by(batch) {
            let cut = views.layer(start..(start + batch).min(total), image.device())?;
            let (x, back_to_image) = cut.vjp(image)?;
            let (embeddings, back_to_views) = tower
                .vjp(&x)
                .with_context(|| format!("while asking the CLIP `{}`", tower.name()))?;
            let mut grads = vec![];
            for row in embeddings.to_dtype(DType::F32)?.to_vec2::<f32>()? {
                let (found, grad) = self.head.judge(&row);
                score += found / total as f64;
                grads.extend(grad.into_iter().map(|grad| (each * grad) as f32));
            }
            let grads = Tensor::from_vec(grads, embeddings.shape(), image.device())?
                .to_dtype(embeddings.dtype())?;
            let grad = back_to_image(&back_to_views(&grads)?)?;
            sum = Some(match sum {
                None => grad,
                Some(sum) => (sum + grad)?,
            });
        }
        Ok(Verdict {
            loss: weight * (1.0 - score / BEST),
            grad: sum.context("no cutouts were drawn")?,
            similarity: BTreeMap::new(),
            parts: BTreeMap::from([("aesthetic/score".to_owned(), score)]),
        })
    }
}
