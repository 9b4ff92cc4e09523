//! Phantasia: CLIP-guided generative art.

pub use clip;
pub use guidance as objective;
pub use guidance::aesthetic_head as aesthetic;
pub use phantasia_core as prompt;
use phantasia_core::files;
pub use phantasia_core::{picture, random};
pub use weights::models;

pub mod draw;
pub mod flat;
pub mod grow;
pub mod judge;
pub mod live;
pub mod metadata;
pub mod names;
pub mod proofread;
pub mod recipe;
pub mod run;
pub mod session;
pub mod ui;
