//! The mean of the picture: how light it is.

use anyhow::Result;
use phantasia_core::Schedule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::image_term::TARGET_WEIGHT;
use crate::{ImageTerm, Term, TermConfig, TermContext};

/// The mean that the picture should have, 0..=1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Config(#[schemars(range(min = 0, max = 1))] pub Schedule);

impl TermConfig for Config {
    fn build(&self, _: &mut TermContext) -> Result<Option<Box<dyn Term>>> {
        let target = self.0.clone();
        Ok(ImageTerm::new(
            "mean",
            &TARGET_WEIGHT.into(),
            move |x, t| (x.mean_all()? - target.at(t))?.sqr(),
        ))
    }
}
