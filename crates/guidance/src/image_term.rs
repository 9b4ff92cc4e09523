//! Terms whose loss is computed by candle's own operations.

use anyhow::{Context, Result};
use candle_core::{DType, Tensor, Var};
use phantasia_core::{Schedule, StepContext};

use crate::term::{Term, TermOutput};

type Loss = dyn Fn(&Tensor, f64) -> candle_core::Result<Tensor> + Send;

/// The weight of a term whose setting is a target value instead of a weight: large, so that the picture stays close to the target.
pub(crate) const TARGET_WEIGHT: f64 = 100.0;

/// A loss of the image itself, whose gradient candle computes.
pub struct ImageTerm {
    name: &'static str,
    weight: Schedule,
    loss: Box<Loss>,
}

impl ImageTerm {
    /// A term with an unweighted loss: a scalar, computed from an image `[1, 3, height, width]` and `t`, the share of the render that is
    /// done. None where the weight is always 0.
    ///
    /// Some of candle's operations, such as `clamp`, have no gradient and stop it without an error: check a new loss against finite
    /// differences.
    #[expect(clippy::new_ret_no_self)]
    pub fn new(
        name: &'static str,
        weight: &Schedule,
        loss: impl Fn(&Tensor, f64) -> candle_core::Result<Tensor> + Send + 'static,
    ) -> Option<Box<dyn Term>> {
        (weight.constant() != Some(0.0)).then(|| {
            Box::new(Self {
                name,
                weight: weight.clone(),
                loss: Box::new(loss),
            }) as _
        })
    }
}

impl Term for ImageTerm {
    fn name(&self) -> &str {
        self.name
    }

    fn evaluate(&mut self, image: &Tensor, at: StepContext) -> Result<TermOutput> {
        let weight = self.weight.at(at.t());
        if weight == 0.0 {
            // candle's backward pass leaves out what is multiplied by 0
            return Ok(TermOutput::new(0.0, image.zeros_like()?));
        }
        let x = Var::from_tensor(image)?;
        let loss = ((self.loss)(&x, at.t())? * weight)?;
        let grads = loss.backward()?;
        let grad = (grads.get(&x))
            .with_context(|| format!("the term `{}` gave no gradient", self.name))?
            .clone();
        Ok(TermOutput::new(
            loss.to_dtype(DType::F64)?.to_scalar::<f64>()?,
            grad,
        ))
    }
}
