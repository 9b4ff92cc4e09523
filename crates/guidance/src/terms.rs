//! The terms that a recipe may have besides its prompts, one file each.
//!
//! A new term is a file with a `Config` that implements [`TermConfig`], its `mod` and its line of the registry below. Schema, checks, recipe keys
//! and edits follow from these. A whole such file:
//!
//! ```
//! use anyhow::Result;
//! use phantasia_guidance::{ImageTerm, Term, TermConfig, TermContext};
//! use phantasia_core::Schedule;
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! /// Weight of the mean squared difference between the picture and its mirror image.
//! #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
//! #[schemars(inline)]
//! pub struct Config(pub Schedule);
//!
//! impl TermConfig for Config {
//!     fn build(&self, _: &mut TermContext) -> Result<Option<Box<dyn Term>>> {
//!         Ok(ImageTerm::new("symmetry", &self.0, |x, _| {
//!             (x - x.flip(&[3])?)?.sqr()?.mean_all()
//!         }))
//!     }
//! }
//! # use candle_core::{Device, Tensor};
//! # let image = Tensor::new(&[0f32, 1.0, 0.0, 1.0, 0.0, 1.0], &Device::Cpu)?.reshape((1, 3, 1, 2))?;
//! # let term = Config(0.5.into()).build(&mut TermContext::default())?;
//! # let output = term.unwrap().evaluate(&image, phantasia_core::StepContext::new(0, 1))?;
//! # assert_eq!(output.loss, 0.5);
//! # let grad = output.grad.flatten_all()?.to_vec1::<f32>()?;
//! # for pair in grad.chunks(2) {
//! #     // d/dx of 0.5 (x - y)^2, a third of it for each channel
//! #     assert!((pair[0] + 1.0 / 3.0).abs() < 1e-6 && (pair[1] - 1.0 / 3.0).abs() < 1e-6);
//! # }
//! # Ok::<(), anyhow::Error>(())
//! ```

pub mod aesthetic;
pub mod content;
pub mod contrast;
pub mod init;
pub mod mean;
pub mod range;
pub mod retrieval;
pub mod saturation;
pub mod style;
pub mod total_variation;

use anyhow::Result;
use phantasia_core::check::Checker;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::context::{TermConfig, TermContext};
use crate::cutouts;
use crate::term::Term;

/// Declares what stands under the key `terms`, and what is done with all of it.
macro_rules! registry {
    ($($key:ident: $config:ty,)*) => {
        /// Terms besides the prompts, each with its own key.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        #[expect(missing_docs, reason = "the docs of the configurations say it")]
        pub struct Terms {
            $(pub $key: $config,)*
        }

        impl Terms {
            /// Builds the terms that count. Loads the models that any of them name.
            ///
            /// # Errors
            /// When a model cannot be used.
            pub fn build(&self, context: &mut TermContext) -> Result<Vec<Box<dyn Term>>> {
                let mut terms = vec![];
                $(terms.extend(self.$key.build(context)?);)*
                Ok(terms)
            }

            /// Checks what ranges cannot say. `cutouts` are the recipe's.
            pub fn check(&self, cutouts: &cutouts::Config, checker: &mut Checker) {
                $(checker.section(stringify!($key), |checker| self.$key.check(cutouts, checker));)*
            }
        }
    };
}

registry! {
    retrieval: Option<Box<retrieval::Config>>,
    init: Option<init::Config>,
    total_variation: total_variation::Config,
    range: range::Config,
    saturation: saturation::Config,
    mean: Option<mean::Config>,
    contrast: Option<contrast::Config>,
    aesthetic: Option<Box<aesthetic::Config>>,
    content: Option<Box<content::Config>>,
    style: Option<Box<style::Config>>,
}

#[cfg(test)]
mod tests;
