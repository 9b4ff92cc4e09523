//! The interface of terms.

use std::collections::BTreeMap;

use anyhow::Result;
use candle_core::Tensor;
use phantasia_core::StepContext;

/// The loss of an image by one term.
pub struct TermOutput {
    /// The loss, weighted.
    pub loss: f64,
    /// Its gradient, in the shape of the image.
    pub grad: Tensor,
    /// The mean cosine to each prompt, by its label; only of terms that know prompts.
    pub similarity: BTreeMap<String, f64>,
    /// Other metrics, by name: the losses of several parts, or a score.
    pub parts: BTreeMap<String, f64>,
    /// How many cutouts image towers evaluated: what it cost.
    pub cutouts: usize,
}

impl TermOutput {
    /// A loss and its gradient alone.
    pub fn new(loss: f64, grad: Tensor) -> Self {
        Self {
            loss,
            grad,
            similarity: BTreeMap::new(),
            parts: BTreeMap::new(),
            cutouts: 0,
        }
    }
}

/// A differentiable loss of images.
pub trait Term: Send {
    /// What metrics and errors call it.
    fn name(&self) -> &str;

    /// The loss and the gradient of an image `[1, 3, height, width]`, values in 0..=1, without a graph.
    fn evaluate(&mut self, image: &Tensor, at: StepContext) -> Result<TermOutput>;

    /// The loss alone.
    fn loss(&mut self, image: &Tensor, at: StepContext) -> Result<f64> {
        Ok(self.evaluate(image, at)?.loss)
    }

    /// The cutouts `[n, 3, side, side]` of an image that it evaluates at that step; none for a term that takes the image whole.
    fn cutouts(&self, _image: &Tensor, _at: StepContext) -> Result<Option<Tensor>> {
        Ok(None)
    }
}
