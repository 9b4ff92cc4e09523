//! The range of pixels, which keeps values from being clipped.

use anyhow::Result;
use phantasia_core::Schedule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ImageTerm, Term, TermConfig, TermContext};

/// Weight of the mean squared distance by which values leave 0..=1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Config(pub Schedule);

impl TermConfig for Config {
    fn build(&self, _: &mut TermContext) -> Result<Option<Box<dyn Term>>> {
        // relu(x - 1) and relu(-x) rather than x - clamp(x): candle's clamp has no gradient at either bound
        Ok(ImageTerm::new("range", &self.0, |x, _| {
            (x - 1.0)?.relu()?.sqr()?.mean_all()? + x.neg()?.relu()?.sqr()?.mean_all()?
        }))
    }
}
