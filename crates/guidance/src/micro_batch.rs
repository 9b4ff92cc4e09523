//! Gradients through an image tower, a few cutouts at a time.

use std::ops::Range;

use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use clip::Tower;
use frozen::{Layer, add_to};

use crate::cutout_layer::Cutouts;

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Embeddings alone; the gradient is 0.
    Forward,
    /// Embeddings, and the gradient of their loss.
    Backward,
}

/// The gradient, in the shape of the image, of a loss of the embeddings of an image's cutouts.
///
/// As many cutouts are worked on at once as take about `memory` bytes. For each micro-batch `loss` is given its embeddings, one after the
/// other, their width, and which of the cutouts they are; it returns the gradient of the whole loss with respect to them. Gradients add up, so that the size of
/// micro-batches changes the result by rounding alone. A forward pass alone gives `loss` the same, and returns 0.
///
/// # Errors
/// When the tower fails.
pub(crate) fn gradient(
    image: &Tensor,
    cutouts: &Cutouts,
    tower: &Tower,
    memory: usize,
    pass: Pass,
    mut loss: impl FnMut(&[f32], usize, Range<usize>) -> Vec<f32>,
) -> Result<Tensor> {
    let mut sum = None;
    for range in cutouts.batches(memory, tower) {
        let layer = cutouts.layer(range.clone(), image.device())?;
        if pass == Pass::Forward {
            let embeddings = tower
                .eval(&layer.eval(image)?)
                .with_context(|| failed(tower))?;
            let (values, width) = numbers(&embeddings)?;
            loss(&values, width, range);
            continue;
        }
        let (x, back_to_image) = layer.vjp(image)?;
        let (embeddings, back_to_cutouts) = tower.vjp(&x).with_context(|| failed(tower))?;
        let (values, width) = numbers(&embeddings)?;
        let grads = loss(&values, width, range);
        let grads = Tensor::from_vec(grads, embeddings.shape(), image.device())?
            .to_dtype(embeddings.dtype())?;
        add_to(&mut sum, back_to_image(&back_to_cutouts(&grads)?)?)?;
    }
    match pass {
        Pass::Forward => Ok(image.zeros_like()?),
        Pass::Backward => sum.context("no cutouts were drawn"),
    }
}

/// Embeddings one after the other, and their width.
fn numbers(embeddings: &Tensor) -> candle_core::Result<(Vec<f32>, usize)> {
    let (_, width) = embeddings.dims2()?;
    let values = embeddings.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    Ok((values, width))
}

/// Which CLIP failed.
pub(crate) fn failed(tower: &Tower) -> String {
    format!("the CLIP `{}` failed", tower.name())
}
