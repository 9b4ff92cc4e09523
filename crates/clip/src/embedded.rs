//! The embedded CLIP: small, trained by this project, part of the program, so that it needs no network.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use weights::checkpoint::Checkpoint;
use weights::models::EmbeddedModel;

use crate::config::ClipConfig;
use crate::dtype::DTypePolicy;
use crate::error::ClipError;
use crate::model::Clip;
use crate::tokenizer::Tokenizer;
use crate::tower::Tower;

const NAME: &str = EmbeddedModel::Whole.name();

/// Why no nonlinearity can be chosen for the embedded CLIP.
pub const EMBEDDED_ACTIVATION: &str = "the embedded CLIP's nonlinearity is known; `activation` is for models whose files do not say theirs";

/// How much the residual network counts in guidance, relative to 1 for the transformer, chosen by looking at pictures: it adds colours and
/// composition, but ripples at full weight.
const RESNET_WEIGHT: f64 = 0.5;

/// Loads a vision transformer and a residual network, which share one text tower. `tools/embedded-clip` trains them. Both guide; the
/// transformer alone scores, because it is better at it: of 146 icons that neither was trained on it finds the right name among all for 58, both
/// together for 50. Of a part, only its image tower is kept.
pub fn load(
    part: EmbeddedModel,
    tokenizer: Arc<Tokenizer>,
    dtypes: DTypePolicy,
    device: &Device,
) -> Result<Clip, ClipError> {
    let first = config()?;
    let checkpoint = checkpoint()?;
    let mut clip = Clip::build(part.name(), &first, &checkpoint, tokenizer, dtypes, device)?;
    match part {
        EmbeddedModel::Transformer => {}
        EmbeddedModel::ResNet => clip.towers = vec![resnet(dtypes, device)?],
        EmbeddedModel::Whole => {
            let resnet = resnet(dtypes, device)?;
            clip.towers.push(resnet.with_weight(RESNET_WEIGHT));
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

/// The weights of the first tower, and of the text tower.
pub(crate) fn checkpoint() -> Result<Checkpoint, ClipError> {
    let bytes = include_bytes!("embedded/model.safetensors");
    Ok(Checkpoint::from_static(NAME, bytes)?)
}

/// The configuration of the first tower, and of the text tower.
pub(crate) fn config() -> Result<ClipConfig, ClipError> {
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
