//! Phantasia's embedded VQGAN: weights, as data.
//!
//! A small one (8 x 8 pixels a latent, 1,024 codes of 8 numbers, no attention) in the layout of diffusers' VQModel, so that
//! `kind: vqgan` paints without a network. It is a crate of its own because a packed crate has at most 10 MB. How it was
//! trained, and on what: `tools/embedded-vqgan` and NOTICE in the repository.

/// `config.json`
pub const CONFIG: &str = include_str!("config.json");

/// `diffusion_pytorch_model.safetensors`, in half precision
pub const WEIGHTS: &[u8] = include_bytes!("diffusion_pytorch_model.safetensors");
