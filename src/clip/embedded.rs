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
    let mut add = |name: &str, config, weights, share, judges| {
        let config: ClipConfig = Result::map_err(config, refused(name))?;
        let checkpoint = Checkpoint::from_static(name, weights)?;
        let tower = Tower::build(name, &config, &checkpoint, numbers, device)?;
        clip.towers.push(Tower {
            share,
            judges,
            ..tower
        });
        Ok::<_, ClipError>(())
    };
    let config = ClipConfig::open_clip(embedded_resnet::CONFIG);
    let weights = embedded_resnet::WEIGHTS;
    add("embedded/resnet", config, weights, RESNET_SHARE, true)?;
    let preprocessor = Some(embedded_prototypes::PREPROCESSOR);
    let config = ClipConfig::hugging_face(embedded_prototypes::CONFIG, preprocessor);
    let weights = embedded_prototypes::WEIGHTS;
    let share = PROTOTYPES_SHARE;
    add("embedded/prototypes", config, weights, share, false)?;
    Ok(clip)
}
