//! Weights: reading checkpoints tensor by tensor, and models by name: the table of known ones, the Hugging Face cache, downloads.

pub mod checkpoint;
pub mod models;
