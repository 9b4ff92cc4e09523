//! The CLIP that is part of the program: small, made by this project, there without a network.

use candle_core::Device;

use super::checkpoint::Checkpoint;
use super::config::ClipConfig;
use super::{Clip, ClipError};

const NAME: &str = "embedded";

/// Loads it. How it was made: `tools/embedded-clip`.
pub fn load(device: &Device) -> Result<Clip, ClipError> {
    let config = ClipConfig::hugging_face(
        include_str!("embedded/config.json"),
        Some(include_str!("embedded/preprocessor_config.json")),
    )
    .map_err(|what| ClipError::Config {
        path: NAME.to_owned(),
        what,
    })?;
    let checkpoint = Checkpoint::from_static(NAME, include_bytes!("embedded/model.safetensors"))?;
    let tokenizer = include_bytes!("embedded/tokenizer.json");
    Clip::build(NAME, &config, &checkpoint, tokenizer, device)
}
