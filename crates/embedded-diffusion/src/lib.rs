//! Phantasia's embedded diffusion model: weights, as data.
//!
//! A small text-conditional one in the layout of diffusers, so that `kind: diffusion` paints without a network. It works in the latents
//! of the embedded VQGAN (12 x 12 of them, 96 x 96 pixels), and is conditioned on the states of the embedded CLIP's text tower. It is a
//! crate of its own because a packed crate has at most 10 MB. How it was trained, and on what: `tools/embedded-diffusion` and NOTICE in
//! the repository.

/// `config.json` of the network, a `UNet2DConditionModel`
pub const CONFIG: &str = include_str!("config.json");

/// `scheduler_config.json`: the noise levels, and what the network predicts
pub const SCHEDULER: &str = include_str!("scheduler_config.json");

/// `diffusion_pytorch_model.safetensors`, the weights: matrices and convolutions as 8-bit floats (E4M3), everything else in half precision
pub const WEIGHTS: &[u8] = include_bytes!("diffusion_pytorch_model.safetensors");
