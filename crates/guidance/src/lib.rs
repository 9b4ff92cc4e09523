//! What a picture is judged by: terms, each a loss and its gradient with respect to the image.
//!
//! An [`Objective`] adds up [`Term`]s. The CLIP term ([`ClipTerm`]) compares [`cutouts`] of the picture with the prompts; the other terms of a
//! recipe, each in a file of its own with its `Config`, are registered in [`terms`].
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use phantasia_guidance::{Objective, TermContext, Terms, terms::saturation};
//! use phantasia_core::StepContext;
//!
//! # fn main() -> anyhow::Result<()> {
//! let terms = Terms {
//!     saturation: saturation::Config(0.5.into()),
//!     ..Terms::default()
//! };
//! let mut objective = Objective::new(terms.build(&mut TermContext::default())?);
//! let red = Tensor::new(&[1f32, 0.0, 0.0], &Device::Cpu)?.reshape((1, 3, 1, 1))?;
//! let guidance = objective.guide(&red, StepContext::new(0, 100))?;
//! assert!((guidance.loss - 0.5 * 4.0 / 9.0).abs() < 1e-6);
//! assert_eq!(guidance.grad.dims(), red.dims());
//! # Ok(())
//! # }
//! ```

pub mod aesthetic_head;
pub mod augment;
pub mod clip_guide;
mod clip_term;
mod coarse;
mod context;
mod cutout_layer;
pub mod cutouts;
pub mod direction;
mod distance;
mod features;
mod frame;
mod image_comparison;
mod image_term;
mod micro_batch;
mod objective;
mod prompt_loss;
mod prompt_region;
mod region_mask;
mod select;
mod term;
pub mod terms;

pub use augment::Augment;
pub use clip_term::ClipTerm;
pub use context::{Guides, TermConfig, TermContext};
pub use cutouts::Border;
pub use direction::{BasePicture, NO_BASE};
pub use distance::Distance;
pub use image_term::ImageTerm;
pub use objective::{Guidance, Objective};
pub use prompt_loss::{PromptLoss, Target, prompt_loss};
pub use select::Select;
pub use term::{Term, TermOutput};
pub use terms::Terms;
