//! Weights: checkpoints read tensor by tensor ([`checkpoint`]), models by name ([`models`]), and the safetensors format ([`safetensors`]).
//!
//! ```
//! use phantasia_weights::models::{ModelKind, resolve};
//!
//! // a model that is on this machine is resolved to its files; a wrong name is answered with the nearest known one
//! let error = resolve("ViT-B-32/laion2b_s34b_b79", ModelKind::Clip).unwrap_err();
//! assert!(error.to_string().contains("did you mean `ViT-B-32/laion2b_s34b_b79k`"));
//! ```

pub mod checkpoint;
pub mod models;
pub mod safetensors;
