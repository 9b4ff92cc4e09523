//! CLIP-guided generative art: a text says what a picture should show, CLIP measures how far it is from that, and the gradient of that distance
//! with respect to the pixels paints.
//!
//! Render a recipe:
//!
//! ```
//! use candle_core::Device;
//! use phantasia::{Prompt, Recipe, Session, picture};
//!
//! # fn main() -> anyhow::Result<()> {
//! let mut recipe = Recipe::new(vec![Prompt::new("a red apple")]);
//! (recipe.size, recipe.steps) = ([48, 48], 2);
//! let mut session = Session::new(&recipe, &Device::Cpu)?;
//! while !session.tick()?.finished {}
//! let apple = picture::from_tensor(&session.image()?)?;
//! assert_eq!(apple.dimensions(), (48, 48));
//! # Ok(())
//! # }
//! ```
//!
//! | to | use |
//! | --- | --- |
//! | read and check a recipe | [`Recipe::load`], [`Recipe::parse`] |
//! | paint | [`Session`], or [`run::Run`] with a run folder, or [`live::RenderWorker`] on a thread of its own |
//! | paint a recipe with many values, in one process or many | [`sweep`] |
//! | change a render while it runs | [`Edit`] |
//! | score, rank, classify, search pictures; play a tournament; compare recipes | [`judge`] |
//! | embed pictures for other programs, and search such files | [`embed`] |
//! | write a generator | [`generators`] |
//! | write a term | [`Term`], [`objective`] |
//! | use a CLIP, or load one by name | [`clip`] |
//! | find and download models | [`models`] |

pub use clip;
pub use generators;
pub use guidance as objective;
pub use guidance::aesthetic_head as aesthetic;
pub use guidance::{Objective, Term, TermOutput};
pub use phantasia_core::{
    EmbeddedPrompt, Keyframe, NamedRegion, Prompt, Region, Schedule, StepContext, picture,
};
pub use recipe::{Edit, Recipe, RecipeError};
pub use session::{Session, SessionOptions, Tick};
pub use weights::models;

use phantasia_core::{files, random};

mod blank_picture;
pub mod draw;
pub mod embed;
pub mod grow;
pub mod judge;
pub mod live;
pub mod metadata;
pub mod names;
pub mod prompt_check;
pub mod protocol;
pub mod recipe;
pub mod run;
pub mod serve;
pub mod session;
pub mod sweep;
pub mod table;
pub mod ui;
