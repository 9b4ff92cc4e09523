//! The CLIP that is part of the program: small, made by this project, there without a network.

use candle_core::Device;

use super::config::ClipConfig;
use super::tokenizer::Tokenizer;
use super::{Clip, ClipError, Numbers, Tower};
use frozen::checkpoint::Checkpoint;

const NAME: &str = "embedded";

/// What each tower is worth in painting, beside 1 for the first, found by eye: the residual network adds colours and places, and
/// at full weight ripples; the prototypes alone are coarse.
const RESNET_SHARE: f64 = 0.7;
const PROTOTYPES_SHARE: f64 = 0.6;

/// Loads it: a vision transformer, a residual network and a layer of prototypes, which share one text tower. The prototypes know
/// too little to judge by. How they were made: `tools/embedded-clip`.
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
    let tower = |name: &str, config: Result<ClipConfig, String>, weights| {
        let config = config.map_err(refused(name))?;
        let checkpoint = Checkpoint::from_static(name, weights)?;
        Tower::build(name, &config, &checkpoint, numbers, device)
    };
    let config = ClipConfig::open_clip(embedded_resnet::CONFIG);
    clip.towers.push(Tower {
        share: RESNET_SHARE,
        ..tower("embedded/resnet", config, embedded_resnet::WEIGHTS)?
    });
    let preprocessor = Some(embedded_prototypes::PREPROCESSOR);
    let config = ClipConfig::hugging_face(embedded_prototypes::CONFIG, preprocessor);
    clip.towers.push(Tower {
        share: PROTOTYPES_SHARE,
        judges: false,
        ..tower("embedded/prototypes", config, embedded_prototypes::WEIGHTS)?
    });
    Ok(clip)
}
