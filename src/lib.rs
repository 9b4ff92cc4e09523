//! Phantasia: CLIP-guided generative art.

pub mod recipe;
