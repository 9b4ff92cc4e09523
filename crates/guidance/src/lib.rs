//! What a picture is judged by: terms, each a loss and its gradient with respect to the image.

mod aesthetic;
pub mod aesthetic_head;
mod augment;
mod clip_term;
mod config;
mod judge;
mod regular;
mod views;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use candle_core::Tensor;

pub use aesthetic::{AestheticTerm, AestheticTermOptions};
pub use clip_term::{ClipTerm, ClipTermOptions, Critic, Encoded};
pub use config::{
    AestheticOptions, Augment, Border, ClipOptions, CutoutChanges, CutoutOptions, Distance, Select,
    TermOptions,
};
pub use judge::{Target, judge};
pub use regular::Regular;
pub use views::{Sight, View, Views};

use phantasia_core::StepContext;

/// What one term says of an image.
pub struct Verdict {
    /// The loss, weighted.
    pub loss: f64,
    /// Its gradient, in the shape of the image.
    pub grad: Tensor,
    /// The mean cosine to each prompt, by its label; only of terms that know prompts.
    pub similarity: BTreeMap<String, f64>,
    /// What else it found, by name: the losses of its parts, where it has several, or a score.
    pub parts: BTreeMap<String, f64>,
}

/// A critic of images.
pub trait Term: Send {
    /// What metrics and errors call it.
    fn name(&self) -> &str;

    /// Judges an image `[1, 3, height, width]`, values in 0..=1, without a graph.
    fn judge(&mut self, image: &Tensor, at: StepContext) -> Result<Verdict>;

    /// The views `[n, 3, side, side]` of an image that it would judge at that place; none for a term that looks at the image as
    /// it is.
    fn views(&self, _image: &Tensor, _at: StepContext) -> Result<Option<Tensor>> {
        Ok(None)
    }
}

/// What all terms together say of an image.
pub struct Guidance {
    /// The sum of the terms' losses.
    pub loss: f64,
    /// Each term's loss, by name.
    pub terms: BTreeMap<String, f64>,
    /// The mean cosine to each prompt, by its label.
    pub similarity: BTreeMap<String, f64>,
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

    /// Other terms from here on.
    pub fn set_terms(&mut self, terms: Vec<Box<dyn Term>>) {
        self.terms = terms;
    }

    /// The views `[n, 3, side, side]` of an image that the first term with views would judge.
    pub fn views(&self, image: &Tensor, at: StepContext) -> Result<Option<Tensor>> {
        for term in &self.terms {
            if let Some(views) = term.views(image, at)? {
                return Ok(Some(views));
            }
        }
        Ok(None)
    }

    /// Judges an image `[1, 3, height, width]`. The gradient is with respect to the image; no graph is left behind.
    ///
    /// A loss that is not a number is an error that names the term.
    pub fn guide(&mut self, image: &Tensor, at: StepContext) -> Result<Guidance> {
        let image = image.detach();
        let mut grad: Option<Tensor> = None;
        let (mut loss, mut terms, mut similarity) = (0.0, BTreeMap::new(), BTreeMap::new());
        for term in &mut self.terms {
            let verdict = term.judge(&image, at)?;
            if !verdict.loss.is_finite() {
                bail!(
                    "the loss of `{}` became {} at step {}: lower the learning rate or the term's weight",
                    term.name(),
                    verdict.loss,
                    at.clock + 1
                );
            }
            loss += verdict.loss;
            terms.insert(term.name().to_owned(), verdict.loss);
            terms.extend(verdict.parts);
            similarity.extend(verdict.similarity);
            grad = Some(match grad {
                None => verdict.grad,
                Some(grad) => (grad + verdict.grad)?,
            });
        }
        let Some(grad) = grad else {
            bail!("nothing judges the picture: it has neither prompts nor terms");
        };
        Ok(Guidance {
            loss,
            terms,
            similarity,
            grad,
        })
    }
}
