//! The CLIP that is part of the program: small, made by this project, there without a network.

use candle_core::Device;

use super::config::ClipConfig;
use super::memory::{self, MemoryConfig};
use super::tokenizer::Tokenizer;
use super::{Clip, ClipError, Numbers, Tower};
use weights::checkpoint::Checkpoint;

const NAME: &str = "embedded";

/// What each tower is worth in painting, beside 1 for the first, found by eye: the residual network adds colours and places, and
/// at full weight ripples; the memory alone is coarse.
const RESNET_SHARE: f64 = 0.5;
/// Things, then places.
const MEMORY_SHARES: [(&str, f64); 2] = [("embedded/things", 1.2), ("embedded/places", 0.6)];

/// Loads it: a vision transformer and a residual network, which share one text tower, and a memory of things and of places, which
/// looks up the texts' embeddings among its names. The memory knows too little to judge by. How they were made: `tools/embedded-clip`.
pub fn load(numbers: Numbers, device: &Device) -> Result<Clip, ClipError> {
    let first = config()?;
    let checkpoint = Checkpoint::from_static(NAME, include_bytes!("embedded/model.safetensors"))?;
    let tokenizer = Tokenizer::embedded()?;
    let mut clip = Clip::build(NAME, &first, &checkpoint, tokenizer, numbers, device)?;
    let name = "embedded/resnet";
    let config = ClipConfig::open_clip(embedded_resnet::CONFIG).map_err(refused(name))?;
    let checkpoint = Checkpoint::from_static(name, embedded_resnet::WEIGHTS)?;
    clip.towers.push(Tower {
        share: RESNET_SHARE,
        ..Tower::build(name, &config, &checkpoint, numbers, device)?
    });
    let name = "embedded/memory";
    let config: MemoryConfig = serde_json::from_str(embedded_prototypes::CONFIG)
        .map_err(|error| refused(name)(error.to_string()))?;
    let checkpoint = Checkpoint::from_static(name, embedded_prototypes::WEIGHTS)?;
    let towers = memory::load(&config, &checkpoint, device)?.into_iter();
    for ((memory, reading), (name, share)) in towers.zip(MEMORY_SHARES) {
        clip.towers.push(Tower {
            share,
            ..Tower::remembering(name, memory, reading, &config)
        });
    }
    Ok(clip)
}

/// The configuration of the first tower, and of the text tower.
fn config() -> Result<ClipConfig, ClipError> {
    ClipConfig::hugging_face(include_str!("embedded/config.json"))
        .and_then(|config| {
            config.with_preprocessor(include_str!("embedded/preprocessor_config.json"))
        })
        .map_err(refused(NAME))
}

fn refused(path: &str) -> impl FnOnce(String) -> ClipError {
    let path = path.to_owned();
    |what| ClipError::Config { path, what }
}

impl Tokenizer {
    /// That of the CLIP that is part of the program.
    ///
    /// # Errors
    /// None but for a damaged program.
    pub fn embedded() -> Result<Self, ClipError> {
        let json = include_bytes!("embedded/tokenizer.json");
        Self::from_json(json, config()?.text.context).map_err(|what| ClipError::Tokenizer {
            model: NAME.to_owned(),
            what,
        })
    }
}
