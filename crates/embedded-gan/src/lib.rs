//! Phantasia's embedded GAN: weights, as data.
//!
//! A small FastGAN of places (64 x 64 pixels, 128 latents), so that `kind: gan` paints without a network. It is a crate of its own
//! because a packed crate has at most 10 MB. How it was trained, and on what: `tools/embedded-gan` and NOTICE in the repository.

/// `model.safetensors`, in half precision, under the names of the `huggan` organisation's FastGANs
pub const WEIGHTS: &[u8] = include_bytes!("model.safetensors");
