//! Saturation, which makes colours greyer.

use anyhow::Result;
use phantasia_core::Schedule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ImageTerm, Term, TermConfig, TermContext};

/// Weight of the mean distance of a pixel's channels from their mean.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Config(pub Schedule);

impl TermConfig for Config {
    fn build(&self, _: &mut TermContext) -> Result<Option<Box<dyn Term>>> {
        Ok(ImageTerm::new("saturation", &self.0, |x, _| {
            x.broadcast_sub(&x.mean_keepdim(1)?)?.abs()?.mean_all()
        }))
    }
}
