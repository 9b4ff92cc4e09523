//! The contrast of the picture.

use anyhow::Result;
use phantasia_core::Schedule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::image_term::TARGET_WEIGHT;
use crate::{ImageTerm, Term, TermConfig, TermContext};

/// The standard deviation that each channel of the picture should have over all pixels, about its own mean; an even colour has 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Config(#[schemars(range(min = 0, max = 1))] pub Schedule);

impl TermConfig for Config {
    fn build(&self, _: &mut TermContext) -> Result<Option<Box<dyn Term>>> {
        let target = self.0.clone();
        Ok(ImageTerm::new(
            "contrast",
            &TARGET_WEIGHT.into(),
            move |x, t| {
                // each channel about its own mean: an even colour has no contrast, however far its channels lie apart
                let differences = x.broadcast_sub(&x.mean_keepdim((2, 3))?)?;
                // the root has no gradient at 0
                let deviation = (differences.sqr()?.mean_all()? + 1e-8)?.sqrt()?;
                (deviation - target.at(t))?.sqr()
            },
        ))
    }
}
