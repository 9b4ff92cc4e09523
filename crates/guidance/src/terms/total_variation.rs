//! Total variation, which smooths the picture.

use anyhow::Result;
use candle_core::Tensor;
use phantasia_core::Schedule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ImageTerm, Term, TermConfig, TermContext};

/// Weight of the mean absolute difference of neighbouring pixels. Along the axes of a `seamless` picture, the first and the last are
/// neighbours.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Config(pub Schedule);

impl TermConfig for Config {
    fn build(&self, context: &mut TermContext) -> Result<Option<Box<dyn Term>>> {
        let wrap = context.seamless.axes();
        Ok(ImageTerm::new("total_variation", &self.0, move |x, _| {
            // a single pixel has no neighbours: its loss is 0, and so is its gradient
            let mut sum = (x * x.zeros_like()?)?.sum_all()?;
            for (axis, wraps) in [(2, wrap[0]), (3, wrap[1])] {
                let pairs = x.dim(axis)? - 1;
                if pairs > 0 {
                    let next = x.narrow(axis, 1, pairs)?;
                    let difference = if wraps {
                        Tensor::cat(&[next, x.narrow(axis, 0, 1)?], axis)? - x
                    } else {
                        next - x.narrow(axis, 0, pairs)?
                    };
                    sum = (sum + difference?.abs()?.mean_all()?)?;
                }
            }
            Ok(sum)
        }))
    }
}
