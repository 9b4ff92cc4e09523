//! The memory of Phantasia's embedded CLIP: weights, as data.
//!
//! What a thousand things and some thirty kinds of place look like, and the names of them in the joint space of the first image
//! tower: an associative memory whose gradient is a whole shape, where that of the other towers is colour, surface and edge. It
//! paints and does not judge. It is a crate of its own because a packed crate has at most 10 MB. How it was made, and of what:
//! `tools/embedded-clip` and NOTICE in the repository.

/// `config.json`
pub const CONFIG: &str = include_str!("config.json");

/// `model.safetensors`, in half precision
pub const WEIGHTS: &[u8] = include_bytes!("model.safetensors");
