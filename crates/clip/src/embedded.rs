//! The embedded CLIP: small, trained by this project, part of the program, so that it needs no network.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use weights::checkpoint::Checkpoint;
use weights::models::EmbeddedModel;

use crate::config::ClipConfig;
use crate::dtype::DTypePolicy;
use crate::error::ClipError;
use crate::memory::{self, MemoryConfig};
use crate::model::Clip;
use crate::tokenizer::Tokenizer;
use crate::tower::Tower;

const NAME: &str = EmbeddedModel::Whole.name();

/// Why no nonlinearity can be chosen for the embedded CLIP.
pub const EMBEDDED_ACTIVATION: &str = "the embedded CLIP's nonlinearity is known; `activation` is for models whose files do not say theirs";

/// How much each tower counts in guidance, relative to 1 for the first, chosen by looking at pictures: the residual network adds colours and
/// composition, but ripples at full weight; the memory alone is coarse.
const RESNET_SHARE: f64 = 0.5;
/// Things, then places.
const MEMORY_SHARES: [(&str, f64); 2] = [("embedded/things", 1.2), ("embedded/places", 0.6)];

/// Loads a vision transformer and a residual network, which share one text tower, and a memory of things and of places, which
/// looks up the texts' embeddings among its names. The memory knows too little to score by. `tools/embedded-clip` trains them.
/// Of a part, only its image tower is kept.
pub fn load(
    part: EmbeddedModel,
    tokenizer: Arc<Tokenizer>,
    dtypes: DTypePolicy,
    device: &Device,
) -> Result<Clip, ClipError> {
    let first = config()?;
    let checkpoint = Checkpoint::from_static(NAME, include_bytes!("embedded/model.safetensors"))?;
    let mut clip = Clip::build(part.name(), &first, &checkpoint, tokenizer, dtypes, device)?;
    match part {
        EmbeddedModel::Transformer => {}
        EmbeddedModel::ResNet => clip.towers = vec![resnet(dtypes, device)?],
        EmbeddedModel::Whole => {
            let resnet = resnet(dtypes, device)?;
            clip.towers.push(resnet.with_share(RESNET_SHARE));
            clip.towers.extend(memory(device)?);
        }
    }
    Ok(clip)
}

fn resnet(dtypes: DTypePolicy, device: &Device) -> Result<Tower, ClipError> {
    let name = EmbeddedModel::ResNet.name();
    let config = ClipConfig::open_clip(embedded_resnet::CONFIG).map_err(refused(name))?;
    let checkpoint = Checkpoint::from_static(name, embedded_resnet::WEIGHTS)?;
    Tower::build(name, &config, &checkpoint, dtypes, device)
}

fn memory(device: &Device) -> Result<Vec<Tower>, ClipError> {
    let name = "embedded/memory";
    let config: MemoryConfig = serde_json::from_str(embedded_prototypes::CONFIG)
        .map_err(|error| refused(name)(error.to_string()))?;
    let checkpoint = Checkpoint::from_static(name, embedded_prototypes::WEIGHTS)?;
    let towers = memory::load(&config, &checkpoint, device)?.into_iter();
    let towers = (towers.zip(MEMORY_SHARES)).map(|((memory, reading), (name, share))| {
        Tower::remembering(name, memory, reading, &config).with_share(share)
    });
    Ok(towers.collect())
}

impl Clip {
    /// The CLIP that is part of the program.
    ///
    /// # Errors
    /// Only if the program is damaged or the device fails.
    pub fn embedded(device: &Device) -> Result<Self, ClipError> {
        let tokenizer = Arc::new(Tokenizer::embedded()?);
        load(EmbeddedModel::Whole, tokenizer, DTypePolicy::F32, device)
    }
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
    move |what| ClipError::config(Path::new(path), what)
}

impl Tokenizer {
    /// The tokenizer of the embedded CLIP.
    ///
    /// # Errors
    /// Only if the program is damaged.
    pub fn embedded() -> Result<Self, ClipError> {
        let json = include_bytes!("embedded/tokenizer.json");
        Self::from_json(json, config()?.text.context)
            .map_err(|what| ClipError::tokenizer(NAME, what))
    }
}
