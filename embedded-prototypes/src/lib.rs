//! The third image tower of Phantasia's embedded CLIP: weights, as data.
//!
//! A transformer of one layer that sees a picture of 32 pixels as a single patch, in the joint space of the first tower and in
//! Hugging Face's layout, without a text tower: the first one's serves all. Its hidden units are prototypes, what things and
//! scenes look like on average, and their gradient is a whole shape where that of the other towers is detail. It paints and does
//! not judge. It is a crate of its own because a packed crate has at most 10 MB. How it was made, and of what:
//! `tools/embedded-clip` and NOTICE in the repository.

/// `config.json`
pub const CONFIG: &str = include_str!("config.json");

/// `preprocessor_config.json`
pub const PREPROCESSOR: &str = include_str!("preprocessor_config.json");

/// `model.safetensors`, in half precision: the image tower and its projection
pub const WEIGHTS: &[u8] = include_bytes!("model.safetensors");
