//! The activations of a CLIP's layers for cutouts of a picture.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use clip::{Clip, LayerKind, Tap, Tower};
use frozen::{Layer, add_to};
use phantasia_core::StepContext;

use crate::cutout_layer::Cutouts;
use crate::cutouts::CutoutSampler;
use crate::micro_batch::failed;

/// How many cutouts of an image its moments are taken of.
const VIEWS: usize = 32;
/// Is added to a tower's number for cutouts of the image, so that they differ from those of the picture.
const IMAGE: usize = 0x800;

/// What is added to a variance of activations, as a share of their mean square: an even image has no variance.
pub(crate) const EVEN: f64 = 1e-3;
/// Keeps what may be 0 apart from it.
pub(crate) const SMALLEST: f64 = 1e-9;

/// Layers of a CLIP's image towers.
pub(crate) struct Features {
    clip: Arc<Clip>,
    /// The towers that have layers, by index, each with those that are read.
    towers: Vec<(usize, Vec<Tap>)>,
}

impl Features {
    /// Selects layers of every tower that has any. Without `layers`, `default` chooses them.
    ///
    /// # Errors
    /// When a tower has no layer of a number.
    pub fn new(
        clip: Arc<Clip>,
        layers: Option<&[i64]>,
        default: fn(LayerKind, usize) -> Vec<usize>,
    ) -> Result<Self> {
        let mut towers = vec![];
        for (index, tower) in clip.towers().iter().enumerate() {
            let (count, kind) = tower.layers();
            let layers = match layers {
                None => default(kind, count),
                Some(layers) => (layers.iter())
                    .map(|layer| numbered(*layer, tower, kind, count))
                    .collect::<Result<_>>()?,
            };
            if !layers.is_empty() {
                towers.push((index, layers.into_iter().map(Tap::Layer).collect()));
            }
        }
        if towers.is_empty() {
            bail!("the CLIP `{}` has no layers to read", clip.name());
        }
        Ok(Self { clip, towers })
    }

    /// How many towers are read.
    pub fn len(&self) -> usize {
        self.towers.len()
    }

    /// How many layers are read of all towers.
    pub fn layers(&self) -> usize {
        self.towers.iter().map(|(_, taps)| taps.len()).sum()
    }

    /// A tower that is read, by its place among them.
    fn tower(&self, number: usize) -> (&Tower, &[Tap]) {
        let (index, taps) = &self.towers[number];
        (&self.clip.towers()[*index], taps)
    }

    /// Draws the cutouts that a tower is shown. Towers of all terms have different numbers, of which the first of this one is `first`.
    pub fn draw(
        &self,
        number: usize,
        image: &Tensor,
        sampler: &CutoutSampler,
        first: usize,
        at: StepContext,
    ) -> Result<Cutouts> {
        sampler.draw(image, self.tower(number).0, first + number, None, at)
    }

    /// The moments of the activations of an image, over many cutouts of it, by tower and layer. They depend neither on the step nor on the size
    /// of micro-batches, apart from rounding.
    ///
    /// # Errors
    /// When the tower fails.
    pub fn moments(
        &self,
        image: &Tensor,
        sampler: &CutoutSampler,
        first: usize,
    ) -> Result<Vec<Vec<Moments>>> {
        let mut sampler = sampler.clone();
        sampler.config.count = Some((VIEWS as f64).into());
        let mut moments = vec![];
        for number in 0..self.len() {
            let (tower, taps) = self.tower(number);
            let start = StepContext::new(0, 1);
            let cutouts = self.draw(number, image, &sampler, first + IMAGE, start)?;
            let mut layers = vec![Moments::default(); taps.len()];
            for range in cutouts.batches(sampler.memory, tower) {
                let x = cutouts.layer(range, image.device())?.eval(image)?;
                for (moments, values) in layers.iter_mut().zip(self.activations(number, &x)?) {
                    moments.add(&values)?;
                }
            }
            moments.push(layers);
        }
        Ok(moments)
    }

    /// What the layers of a tower make of views `[n, 3, side, side]`.
    pub fn activations(&self, number: usize, x: &Tensor) -> Result<Vec<Tensor>> {
        let (tower, taps) = self.tower(number);
        let (values, _) = (tower.vjp_taps(x, taps)).with_context(|| failed(tower))?;
        Ok(values
            .iter()
            .map(|value| at_positions(value, tower))
            .collect::<candle_core::Result<_>>()?)
    }

    /// The gradient, in the shape of the image, of a loss of what the layers of a tower make of an image's cutouts. For each micro-batch `loss`
    /// is given the map from an image to its cutouts, how much each of these counts, `[cutouts, 1, 1]`, and their activations; it returns the
    /// gradient of the whole loss with respect to these.
    ///
    /// # Errors
    /// When the tower fails.
    pub fn gradient(
        &self,
        number: usize,
        image: &Tensor,
        cutouts: &Cutouts,
        memory: usize,
        mut loss: impl FnMut(&dyn Layer, &Tensor, &[Tensor]) -> Result<Vec<Tensor>>,
    ) -> Result<Tensor> {
        let (tower, taps) = self.tower(number);
        let mut sum = None;
        for range in cutouts.batches(memory, tower) {
            let weights = cutouts.weights()[range.clone()].iter();
            let weights: Vec<f32> = weights.map(|weight| *weight as f32).collect();
            let weights = Tensor::from_vec(weights, (range.len(), 1, 1), image.device())?;
            let layer = cutouts.layer(range, image.device())?;
            let (x, back_to_image) = layer.vjp(image)?;
            let (values, back_to_cutouts) =
                (tower.vjp_taps(&x, taps)).with_context(|| failed(tower))?;
            let positions = values.iter().map(|value| at_positions(value, tower));
            let grads = loss(
                &layer,
                &weights,
                &positions.collect::<candle_core::Result<Vec<_>>>()?,
            )?;
            let grads = (values.iter().zip(&grads))
                .map(|(value, grad)| from_positions(grad, value, tower))
                .collect::<candle_core::Result<Vec<_>>>()?;
            add_to(&mut sum, back_to_image(&back_to_cutouts(&grads)?)?)?;
        }
        sum.context("no cutouts were drawn")
    }
}

/// The index of a layer given by its number; negative numbers count from the end.
fn numbered(layer: i64, tower: &Tower, kind: LayerKind, count: usize) -> Result<usize> {
    let index = if layer < 0 {
        layer + count as i64
    } else {
        layer
    };
    if (0..count as i64).contains(&index) {
        return Ok(index as usize);
    }
    let what = match kind {
        LayerKind::Block => "the blocks of its transformer",
        LayerKind::Stage => "the stages of its convolutional network",
    };
    bail!(
        "the CLIP `{}` has no layer {layer}: its layers are 0 to {last}, {what}, or -{count} to -1 counted from the end",
        tower.name(),
        last = count - 1,
    )
}

/// Activations of a layer as `[batch, positions, channels]`. A transformer's class token is left out: it has no position.
fn at_positions(value: &Tensor, tower: &Tower) -> candle_core::Result<Tensor> {
    match value.rank() {
        4 => value.flatten_from(2)?.transpose(1, 2)?.contiguous(),
        _ if !tower.has_class_token() => Ok(value.clone()),
        _ => value.narrow(1, 1, value.dim(1)? - 1)?.contiguous(),
    }
}

/// The gradient of activations, given that of their positions.
fn from_positions(grad: &Tensor, value: &Tensor, tower: &Tower) -> candle_core::Result<Tensor> {
    match value.rank() {
        4 => grad.transpose(1, 2)?.contiguous()?.reshape(value.shape()),
        _ if !tower.has_class_token() => Ok(grad.clone()),
        _ => grad.pad_with_zeros(1, 1, 0),
    }
}

/// The moments of activations.
#[derive(Clone, Default)]
pub(crate) struct Moments {
    /// `[channels]` and `[channels, channels]`: the sums of the activations and of their products.
    sums: Option<(Tensor, Tensor)>,
    count: usize,
}

impl Moments {
    /// Adds activations `[batch, positions, channels]`.
    fn add(&mut self, x: &Tensor) -> candle_core::Result<()> {
        let x = x.flatten_to(1)?;
        let (mut first, mut second) = (x.sum(0)?, x.t()?.matmul(&x)?);
        if let Some((sum, products)) = &self.sums {
            (first, second) = ((first + sum)?, (second + products)?);
        }
        self.sums = Some((first, second));
        self.count += x.dim(0)?;
        Ok(())
    }

    /// The mean `[channels]`, and the covariance `[channels, channels]`.
    ///
    /// # Errors
    /// When there are no activations.
    pub fn mean_and_covariance(&self) -> candle_core::Result<(Tensor, Tensor)> {
        let Some((first, second)) = &self.sums else {
            candle_core::bail!("no cutouts were drawn");
        };
        let mean = (first / self.count as f64)?;
        let outer = mean.unsqueeze(1)?.matmul(&mean.unsqueeze(0)?)?;
        Ok((mean, ((second / self.count as f64)? - outer)?))
    }
}

/// The diagonal `[n]` of a matrix `[n, n]`.
pub(crate) fn diagonal(matrix: &Tensor) -> candle_core::Result<Tensor> {
    let eye = Tensor::eye(matrix.dim(0)?, matrix.dtype(), matrix.device())?;
    (matrix * eye)?.sum(1)
}
