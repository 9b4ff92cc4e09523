//! Gradients through an image tower, a few cutouts at a time.

use std::ops::Range;

use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use clip::Tower;
use frozen::{Layer, add_to};

use crate::cutout_layer::Cutouts;

/// The gradient, in the shape of the image, of a loss of the embeddings of an image's cutouts.
///
/// As many cutouts are worked on at once as take about `memory` bytes. For each micro-batch `loss` is given its embeddings, one after the
/// other, their width, and which of the cutouts they are; it returns the gradient of the whole loss with respect to them. Gradients add up, so that the size of
/// micro-batches changes the result by rounding alone.
///
/// # Errors
/// When the tower fails.
pub(crate) fn gradient(
    image: &Tensor,
    cutouts: &Cutouts,
    tower: &Tower,
    memory: usize,
    mut loss: impl FnMut(&[f32], usize, Range<usize>) -> Vec<f32>,
) -> Result<Tensor> {
    let batch = (memory / tower.bytes_per_image().max(1)).clamp(1, cutouts.len());
    let mut sum = None;
    for start in (0..cutouts.len()).step_by(batch) {
        let range = start..(start + batch).min(cutouts.len());
        let (x, back_to_image) = cutouts.layer(range.clone(), image.device())?.vjp(image)?;
        let (embeddings, back_to_cutouts) =
            (tower.vjp(&x)).with_context(|| format!("the CLIP `{}` failed", tower.name()))?;
        let (_, width) = embeddings.dims2()?;
        let values = embeddings.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        let grads = loss(&values, width, range);
        let grads = Tensor::from_vec(grads, embeddings.shape(), image.device())?
            .to_dtype(embeddings.dtype())?;
        add_to(&mut sum, back_to_image(&back_to_cutouts(&grads)?)?)?;
    }
    sum.context("no cutouts were drawn")
}
