//! `config.json` of transformers' CLIPModel and CLIPTextModel.

use frozen::Activation;
use serde_json::json;

use super::super::kind;
use super::section::{Section, square};
use super::{
    ClipConfig, ConfigError, Layout, MEAN, STD, StackConfig, TextConfig, TextPool, TextProjection,
    TokenRules, VisionConfig, VisionKind, VisionPool, VitConfig,
};
use crate::clip::preprocess::{Filter, Fit};

/// The kinds of models that can be read, by their `model_type`.
pub(in crate::clip) const MODEL_TYPES: [&str; 2] = ["clip", "metaclip_2"];

/// What configurations from before 2023 say that the end of a text is; it was never the token's number.
const LEGACY_END: u32 = 2;

impl ClipConfig {
    /// From `config.json` of a Hugging Face CLIPModel; pictures are shown as CLIP's are, see [`ClipConfig::with_preprocessor`].
    ///
    /// # Errors
    /// Where it is of another kind of model, or a key has a value that is not built. Keys that transformers' CLIP does not read change
    /// nothing here either.
    pub fn hugging_face(config: &str) -> Result<Self, ConfigError> {
        let mut file = Section::root(config)?;
        let kind = file.take::<String>("model_type")?;
        if let Some(what) = kind::hugging_face(kind.as_deref(), config) {
            return Err(format!("is of {what}; {}", kind::READ));
        }
        not_quantized(&mut file)?;
        let text = tower(&mut file, "text_config")?;
        let mut text = text_tower(text)?;
        // MetaCLIP 2 has no files from before 2023, and its end is 2 indeed
        if kind.as_deref() != Some("metaclip_2") && text.pool == TextPool::Token(LEGACY_END) {
            text.pool = TextPool::Highest;
        }
        let vision = tower(&mut file, "vision_config")?;
        let vision = vision_tower(vision)?;
        Self {
            layout: Layout::HuggingFace,
            projection: file.take_or("projection_dim", 512)?,
            resized: vision.image_size,
            vision,
            text,
            mean: MEAN,
            std: STD,
            filter: Filter::Bicubic,
            fit: Fit::Cover,
            fill: [0; 3],
        }
        .checked()
    }
}

impl TextConfig {
    /// From `config.json` of a Hugging Face CLIPTextModel, a text tower alone, or that of a whole CLIPModel.
    ///
    /// # Errors
    /// As [`ClipConfig::hugging_face`].
    pub fn hugging_face(config: &str) -> Result<Self, ConfigError> {
        let mut file = Section::root(config)?;
        not_quantized(&mut file)?;
        let text = match file.take::<String>("model_type")?.as_deref() {
            None | Some("clip_text_model") => file,
            Some("clip") => tower(&mut file, "text_config")?,
            Some(other) => {
                return Err(format!(
                    "is of a `{other}`; of text encoders, CLIP's (`clip_text_model`) is read"
                ));
            }
        };
        let config = text_tower(text)?;
        let stack = &config.stack;
        if config.context < 2 || stack.heads == 0 || stack.width % stack.heads != 0 {
            return Err(format!(
                "has {} tokens, and {} heads for a width of {}",
                config.context, stack.heads, stack.width
            ));
        }
        Ok(config)
    }
}

fn not_quantized(file: &mut Section) -> Result<(), ConfigError> {
    if file.has("quantization_config") {
        return Err(
            "has `quantization_config`: its weights are quantised, and cannot be read".to_owned(),
        );
    }
    Ok(())
}

/// The section of a tower. Where its older form is there too, `text_config_dict`, that counts alone, with the defaults for what it
/// leaves out, as in transformers.
fn tower(file: &mut Section, key: &str) -> Result<Section, ConfigError> {
    let section = file.section(key)?;
    let older = file.section(&format!("{key}_dict"))?;
    match older.or(section) {
        Some(section) => Ok(section),
        None => Section::root("{}"),
    }
}

// The defaults are those of transformers' CLIPTextConfig and CLIPVisionConfig: configurations leave out what equals them.

fn text_tower(mut section: Section) -> Result<TextConfig, ConfigError> {
    // diffusers' pipelines pass the mask of the padding on where it is set
    section.only("use_attention_mask", json!(false))?;
    Ok(TextConfig {
        vocabulary: section.take_or("vocab_size", 49408)?,
        context: section.take_or("max_position_embeddings", 77)?,
        stack: stack(&mut section, [512, 2048, 8])?,
        causal: true,
        pool: TextPool::Token(section.take_or("eos_token_id", 49407)?),
        projection: TextProjection::Matrix,
        tokens: TokenRules::default(),
    })
}

fn vision_tower(mut section: Section) -> Result<VisionConfig, ConfigError> {
    let channels: usize = section.take_or("num_channels", 3)?;
    if channels != 3 {
        return Err(format!("wants {channels} channels, not 3"));
    }
    Ok(VisionConfig {
        image_size: square(&mut section, "image_size", 224)?,
        kind: VisionKind::Transformer(VitConfig {
            patch: square(&mut section, "patch_size", 32)?,
            stack: stack(&mut section, [768, 3072, 12])?,
            pre_norm: true,
            pool: VisionPool::ClassToken,
        }),
    })
}

/// `defaults`: the width, that of the hidden layer, and the heads.
fn stack(section: &mut Section, defaults: [usize; 3]) -> Result<StackConfig, ConfigError> {
    let [width, hidden, heads] = defaults;
    let name = section.name("hidden_act");
    let act = section.take_or("hidden_act", "quick_gelu".to_owned())?;
    Ok(StackConfig {
        width: section.take_or("hidden_size", width)?,
        hidden: section.take_or("intermediate_size", hidden)?,
        layers: section.take_or("num_hidden_layers", 12)?,
        heads: section.take_or("num_attention_heads", heads)?,
        activation: activation(&act).ok_or_else(|| {
            format!(
                "has {name} = `{act}`; quick_gelu, gelu, gelu_pytorch_tanh, silu and relu are known"
            )
        })?,
        eps: section.take_or("layer_norm_eps", 1e-5)?,
        layer_scale: false,
    })
}

fn activation(name: &str) -> Option<Activation> {
    Some(match name {
        "quick_gelu" => Activation::QuickGelu,
        "gelu" => Activation::Gelu,
        "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
        "silu" | "swish" => Activation::Silu,
        "relu" => Activation::Relu,
        _ => return None,
    })
}
