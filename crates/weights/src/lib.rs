//! Weights: checkpoints read tensor by tensor ([`checkpoint`]), models by name ([`models`]), and the safetensors format ([`safetensors`]).

pub mod checkpoint;
pub mod models;
pub mod safetensors;
