//! Total variation, which smooths the picture.

use anyhow::Result;
use phantasia_core::Schedule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ImageTerm, Term, TermConfig, TermContext};

/// Weight of the mean absolute difference of neighbouring pixels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Config(pub Schedule);

impl TermConfig for Config {
    fn build(&self, _: &mut TermContext) -> Result<Option<Box<dyn Term>>> {
        Ok(ImageTerm::new("total_variation", &self.0, |x, _| {
            // a single pixel has no neighbours: its loss is 0, and so is its gradient
            let mut sum = (x * x.zeros_like()?)?.sum_all()?;
            for axis in [2, 3] {
                let pairs = x.dim(axis)? - 1;
                if pairs > 0 {
                    let difference = (x.narrow(axis, 1, pairs)? - x.narrow(axis, 0, pairs)?)?;
                    sum = (sum + difference.abs()?.mean_all()?)?;
                }
            }
            Ok(sum)
        }))
    }
}
