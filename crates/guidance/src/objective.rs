//! The objective: the sum of a render's terms.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use frozen::add_to;
use phantasia_core::StepContext;

use crate::term::Term;

/// The loss of an image by all terms together.
pub struct Guidance {
    /// The sum of the terms' losses.
    pub loss: f64,
    /// Each term's loss, and its other metrics, by name.
    pub terms: BTreeMap<String, f64>,
    /// The mean cosine to each prompt, by its label.
    pub similarity: BTreeMap<String, f64>,
    /// How many cutouts image towers evaluated.
    pub cutouts: usize,
    /// The gradient of the loss, in the shape of the image.
    pub grad: Tensor,
}

/// All terms of a render.
pub struct Objective {
    terms: Vec<Box<dyn Term>>,
}

impl Objective {
    /// The sum of these terms, at least one.
    pub fn new(terms: Vec<Box<dyn Term>>) -> Self {
        Self { terms }
    }

    /// Adds a term.
    pub fn push(&mut self, term: Box<dyn Term>) {
        self.terms.push(term);
    }

    /// Replaces the terms.
    pub fn set_terms(&mut self, terms: Vec<Box<dyn Term>>) {
        self.terms = terms;
    }

    /// The cutouts `[n, 3, side, side]` of an image that the first term with cutouts evaluates.
    pub fn cutouts(&self, image: &Tensor, at: StepContext) -> Result<Option<Tensor>> {
        for term in &self.terms {
            if let Some(cutouts) = term.cutouts(image, at)? {
                return Ok(Some(cutouts));
            }
        }
        Ok(None)
    }

    /// The loss of an image `[1, 3, height, width]` alone; it may not be finite.
    ///
    /// # Errors
    /// When a term fails.
    pub fn loss(&mut self, image: &Tensor, at: StepContext) -> Result<f64> {
        let image = image.detach();
        (self.terms.iter_mut()).try_fold(0.0, |sum, term| Ok(sum + term.loss(&image, at)?))
    }

    /// The loss of an image `[1, 3, height, width]`, and its gradient with respect to the image. The gradient carries no graph.
    ///
    /// # Errors
    /// When a term fails, its loss is not finite, or there is no term.
    pub fn guide(&mut self, image: &Tensor, at: StepContext) -> Result<Guidance> {
        let image = image.detach();
        let mut grad = None;
        let (mut loss, mut cutouts) = (0.0, 0);
        let (mut terms, mut similarity) = (BTreeMap::new(), BTreeMap::new());
        for term in &mut self.terms {
            let output = term.evaluate(&image, at)?;
            if !output.loss.is_finite() {
                bail!(
                    "the loss of `{}` became {} at step {}: lower the learning rate or the term's weight",
                    term.name(),
                    output.loss,
                    at.clock + 1
                );
            }
            loss += output.loss;
            cutouts += output.cutouts;
            terms.insert(term.name().to_owned(), output.loss);
            terms.extend(output.parts);
            similarity.extend(output.similarity);
            add_to(&mut grad, output.grad)?;
        }
        Ok(Guidance {
            loss,
            terms,
            similarity,
            cutouts,
            grad: grad.context("nothing judges the picture: it has neither prompts nor terms")?,
        })
    }
}
