//! Phantasia: CLIP-guided generative art.

pub mod aesthetic;
pub mod artifact;
pub mod clip;
mod files;
pub mod flat;
pub mod frames;
pub mod grow;
pub mod live;
pub mod metadata;
pub mod models;
pub mod names;
pub mod objective;
pub mod output;
pub mod paint;
pub mod picture;
pub mod preview;
pub mod prompt;
pub mod proofread;
pub mod random;
pub mod rank;
pub mod recipe;
pub mod session;
pub mod text;
pub mod video;
pub mod weights;
