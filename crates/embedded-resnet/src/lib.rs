//! The second image tower of Phantasia's embedded CLIP: weights, as data.
//!
//! A small ModifiedResNet (64 pixels, width 24, 2-2-2-1 blocks) in the joint space of the first tower, in the OpenCLIP
//! layout, without its text tower: the first one's serves both. Two towers of different kind paint plainly better than
//! either alone. It is a crate of its own because a packed crate has at most 10 MB. How it was trained, and on what:
//! `tools/embedded-clip` and NOTICE in the repository.

/// `open_clip_config.json`
pub const CONFIG: &str = include_str!("open_clip_config.json");

/// `open_clip_model.safetensors`, in half precision: the tensors below `visual.`
pub const WEIGHTS: &[u8] = include_bytes!("open_clip_model.safetensors");
