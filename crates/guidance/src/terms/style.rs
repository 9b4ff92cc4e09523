//! The style term: the look of an image without its composition, as the layers of a CLIP see it.

use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use clip::LayerKind;
use frozen::add_to;
use phantasia_core::check::Checker;
use phantasia_core::{Schedule, StepContext, schema};

use crate::cutouts::{self, CutoutSampler};
use crate::features::{Features, Moments, Reference, compared_with_image, diagonal};
use crate::{Term, TermConfig, TermContext, TermOutput};

/// Its cutouts are drawn as those of towers from this number on: no recipe has so many, so that the cutouts of others are the same with and
/// without the term.
const TOWER: usize = 0x3000;
/// The smallest and the largest side of its cutouts, as shares of the picture's shorter one: smaller than those that a CLIP recognises things
/// in, because strokes and textures are.
const SIDES: (f64, f64) = (0.25, 1.0);

/// What is added to the variance of each channel, as a share of the mean variance.
const FLOOR: f64 = 0.1;
/// What is added to it besides, as a share of the mean square of the activations: an even image has no variance.
const EVEN: f64 = 1e-3;
/// Keeps what may be 0 apart from it.
const SMALLEST: f64 = 1e-9;

compared_with_image! {
    /// Takes the look of an image without its composition: the correlations between what the layers of a CLIP find anywhere in the picture should
    /// be those of the image (Gram matrices, as in Gatys et al. 2016). The path of the image alone is all of it.
    #[schemars(rename = "Style", transform = schema::or_image)]
    pub struct Config {
        /// How much it counts. The loss is how far the correlations are from the image's, as a share of their size. Above 1 the style begins to
        /// cover what the prompts ask for, and images of few, strong motifs, such as stripes, do so from 0.5 on.
        weight = 0.5,
        /// The layers, by number from 0, or backwards from -1: blocks of a transformer, or the four stages of a ResNet. The early ones see colours
        /// and strokes, the late ones motifs. By default the first half of the blocks, or the stages 0 to 2.
        layers,
        /// What of the recipe's `cutouts` is different for it. Where neither `min` nor `max` is given, the sides are 0.25 to 1.
        cutouts,
    }
}

fn default_layers(kind: LayerKind, count: usize) -> Vec<usize> {
    match kind {
        LayerKind::Block => (0..count / 2).collect(),
        LayerKind::Stage => vec![0, 1, 2],
    }
}

impl TermConfig for Config {
    fn build(&self, context: &mut TermContext) -> Result<Option<Box<dyn Term>>> {
        let (features, reference) = self
            .load(default_layers, context)
            .context("`terms.style` cannot be used")?;
        if self.weight.constant() == Some(0.0) {
            return Ok(None);
        }
        let mut changes = self.cutouts.clone().unwrap_or_default();
        if changes.min.is_none() && changes.max.is_none() {
            changes.min = Some(Some(SIDES.0.into()));
            changes.max = Some(Some(SIDES.1.into()));
        }
        Ok(Some(Box::new(StyleTerm {
            features,
            reference,
            targets: vec![],
            weight: self.weight.clone(),
            sampler: context.sampler(Some(&changes)),
        })))
    }

    fn check(&self, cutouts: &cutouts::Config, checker: &mut Checker) {
        self.check_settings(cutouts, checker);
    }
}

struct StyleTerm {
    features: Features,
    reference: Reference,
    /// What the activations of the image are like, by tower and layer.
    targets: Vec<Vec<Target>>,
    weight: Schedule,
    sampler: CutoutSampler,
}

/// The look of an image to one layer: Gram matrices of its activations after each channel was brought to mean 0 and variance 1. Else a few channels
/// that are large in every picture would be most of the matrix, as they are in a transformer.
struct Target {
    /// `[channels]`: the mean of each channel in the image.
    mean: Tensor,
    /// `[channels]`: the inverse of its standard deviation.
    scale: Tensor,
    /// `[channels, channels]`: the mean of the products of two channels, over all positions.
    gram: Tensor,
    /// The root of the sum of its squares.
    size: f64,
}

impl Target {
    fn new(moments: &Moments) -> candle_core::Result<Self> {
        let (mean, covariance) = moments.mean_and_covariance()?;
        let variance = diagonal(&covariance)?;
        let square = (mean.sqr()?.mean_all()? * EVEN)?;
        let floor = (((variance.mean_all()? * FLOOR)? + square)? + SMALLEST)?;
        let scale = variance.broadcast_add(&floor)?.sqrt()?.recip()?;
        let gram = covariance
            .broadcast_mul(&scale.unsqueeze(1)?)?
            .broadcast_mul(&scale.unsqueeze(0)?)?;
        let size = gram.sqr()?.sum_all()?.to_dtype(DType::F64)?;
        Ok(Self {
            mean,
            scale,
            gram,
            // that of a single channel of variance 1; an even image has less
            size: size.to_scalar::<f64>()?.sqrt().max(1.0),
        })
    }

    /// The loss of activations `[batch, positions, channels]`, summed over the batch with these weights `[batch, 1, 1]`, and its gradient: how far
    /// the Gram matrix of each view is from that of the image (Frobenius norm) as a share of the image's own size. The distance, not its square:
    /// the square of a view that is far away would silence all others, and the prompts.
    fn loss(&self, found: &Tensor, weights: &Tensor) -> candle_core::Result<(f64, Tensor)> {
        let (_, positions, _) = found.dims3()?;
        let x = (found.broadcast_sub(&self.mean)?).broadcast_mul(&self.scale)?;
        let gram = (x.transpose(1, 2)?.contiguous()?.matmul(&x)? / positions as f64)?;
        let difference = gram.broadcast_sub(&self.gram)?;
        let square = difference.sqr()?.sum_keepdim(2)?.sum_keepdim(1)?;
        // at 0 the gradient is 0 as well
        let distance = (square + SMALLEST)?.sqrt()?;
        let loss = (&distance * weights)?.sum_all()?.to_dtype(DType::F64)?;
        let loss = loss.to_scalar::<f64>()?;
        let each = (weights / distance)?;
        let grad = (x.matmul(&difference)?.broadcast_mul(&self.scale)?).broadcast_mul(&each)?;
        let grad = (grad * (2.0 / (positions as f64 * self.size)))?;
        Ok((loss / self.size, grad))
    }
}

impl Term for StyleTerm {
    fn name(&self) -> &str {
        "style"
    }

    fn evaluate(&mut self, image: &Tensor, at: StepContext) -> Result<TermOutput> {
        let weight = self.weight.at(at.t());
        if weight == 0.0 {
            return Ok(TermOutput::new(0.0, image.zeros_like()?));
        }
        let (reference, is_new) = self.reference.fit(image)?;
        let features = &self.features;
        if is_new || self.targets.is_empty() {
            self.targets = (features.moments(&reference, &self.sampler, TOWER)?.iter())
                .map(|layers| layers.iter().map(Target::new).collect())
                .collect::<candle_core::Result<_>>()?;
        }
        let memory = self.sampler.memory;
        let (mut loss, mut grad, mut count) = (0.0, None, 0);
        for tower in 0..features.len() {
            let cutouts = features.draw(tower, image, &self.sampler, TOWER, at)?;
            count += cutouts.len();
            let share = weight / (features.layers() * cutouts.len()) as f64;
            let own = features.gradient(tower, image, &cutouts, memory, |_, weights, found| {
                let mut grads = vec![];
                for (found, target) in found.iter().zip(&self.targets[tower]) {
                    let (own, grad) = target.loss(found, weights)?;
                    loss += share * own;
                    grads.push((grad * share)?);
                }
                Ok(grads)
            })?;
            add_to(&mut grad, own)?;
        }
        Ok(TermOutput {
            cutouts: count,
            ..TermOutput::new(loss, grad.context("no tower was read")?)
        })
    }
}
