//! The CLIP that is part of the program: small, made by this project, there without a network.

use candle_core::Device;

use super::config::ClipConfig;
use super::tokenizer::Tokenizer;
use super::{Clip, ClipError, Numbers, Tower};
use frozen::checkpoint::Checkpoint;

const NAME: &str = "embedded";

/// Loads it: a vision transformer and a residual network that share one text tower. How they were made: `tools/embedded-clip`.
pub fn load(numbers: Numbers, device: &Device) -> Result<Clip, ClipError> {
    let refused = |path: &str| {
        let path = path.to_owned();
        |what| ClipError::Config { path, what }
    };
    let first = ClipConfig::hugging_face(
        include_str!("embedded/config.json"),
        Some(include_str!("embedded/preprocessor_config.json")),
    )
    .map_err(refused(NAME))?;
    let checkpoint = Checkpoint::from_static(NAME, include_bytes!("embedded/model.safetensors"))?;
    let tokenizer = include_bytes!("embedded/tokenizer.json");
    let tokenizer = Tokenizer::from_json(tokenizer, first.text.context).map_err(|what| {
        ClipError::Tokenizer {
            model: NAME.to_owned(),
            what,
        }
    })?;
    let mut clip = Clip::build(NAME, &first, &checkpoint, tokenizer, numbers, device)?;
    const SECOND: &str = "embedded/resnet";
    let second = ClipConfig::open_clip(embedded_resnet::CONFIG).map_err(refused(SECOND))?;
    let checkpoint = Checkpoint::from_static(SECOND, embedded_resnet::WEIGHTS)?;
    clip.towers
        .push(Tower::build(SECOND, &second, &checkpoint, numbers, device)?);
    Ok(clip)
}
