//! `config.json` of transformers' CLIPModel, CLIPTextModel and SiglipModel.

use frozen::Activation;
use serde_json::json;

use super::section::{Section, square};
use super::{
    ClipConfig, ConfigError, Layout, StackConfig, TextCleaning, TextConfig, TextKind, TextPool,
    TextProjection, TokenRules, VisionConfig, VisionKind, VisionPool, VitConfig,
};
use crate::preprocess::ResizeMode;
use crate::unsupported;

/// The supported values of `hidden_act`.
const ACTIVATIONS: [(&str, Activation); 7] = [
    ("quick_gelu", Activation::QuickGelu),
    ("gelu", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("relu", Activation::Relu),
];

/// `eos_token_id` in configurations from before 2023, which was never the id of the token that ends texts.
const LEGACY_END: u32 = 2;

/// The vocabulary of SigLIP 2.
const SIGLIP_2: usize = 256_000;

impl ClipConfig {
    /// From `config.json` of a Hugging Face CLIPModel or SiglipModel, with CLIP's usual preprocessing; see [`ClipConfig::with_preprocessor`].
    ///
    /// # Errors
    /// If it describes another kind of model, or a key has an unsupported value. Keys that transformers' CLIP ignores are ignored here too.
    pub fn hugging_face(config: &str) -> Result<Self, ConfigError> {
        let mut file = Section::root(config)?;
        let kind = file.take::<String>("model_type")?;
        if let Some(what) = unsupported::hugging_face(kind.as_deref(), file.entries()) {
            return Err(format!("describes {what}; {}", unsupported::SUPPORTED));
        }
        not_quantized(&mut file)?;
        if kind.as_deref() == Some("siglip") {
            return siglip(&mut file);
        }
        let mut text = text_tower(tower(&mut file, "text_config")?)?;
        // MetaCLIP 2 has no files from before 2023, and its texts do end with token 2
        if kind.as_deref() != Some("metaclip_2") && text.pool == TextPool::Token(LEGACY_END) {
            text.pool = TextPool::Highest;
        }
        let vision = vision_tower(tower(&mut file, "vision_config")?)?;
        let projection = file.take_or("projection_dim", 512)?;
        Self::new(Layout::HuggingFace, projection, vision, text).checked()
    }
}

impl TextConfig {
    /// From `config.json` of a Hugging Face CLIPTextModel, or of a CLIPModel.
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
                    "describes a `{other}`; the only supported text encoder is CLIP's (`clip_text_model`)"
                ));
            }
        };
        let config = text_tower(text)?;
        let stack = &config.stack;
        if config.context < 2 || stack.heads == 0 || stack.width % stack.heads != 0 {
            return Err(format!(
                "has an unusable text tower: {} tokens, and {} heads for a width of {}",
                config.context, stack.heads, stack.width
            ));
        }
        Ok(config)
    }
}

fn not_quantized(file: &mut Section) -> Result<(), ConfigError> {
    if file.has("quantization_config") {
        return Err("has `quantization_config`: quantised weights are not supported".to_owned());
    }
    Ok(())
}

/// The section of a tower. As in transformers, its older form (`text_config_dict`) replaces it as a whole: keys that the older form leaves out
/// have their defaults.
fn tower(file: &mut Section, key: &str) -> Result<Section, ConfigError> {
    let section = file.section(key)?;
    let older = file.section(&format!("{key}_dict"))?;
    older.or(section).map_or_else(|| Section::root("{}"), Ok)
}

/// SigLIP's model: class-less tokens with attention pooling, and texts without a causal mask whose last token counts, padding or not.
fn siglip(file: &mut Section) -> Result<ClipConfig, ConfigError> {
    let mut text = tower(file, "text_config")?;
    let mut vision = tower(file, "vision_config")?;
    vision.only("vision_use_head", json!(true))?;
    let vision = VisionConfig {
        image_size: image_size(&mut vision)?,
        kind: VisionKind::Transformer(VitConfig {
            patch: square(&mut vision, "patch_size", 16)?,
            stack: stack(&mut vision, &SIGLIP)?,
            class_token: false,
            patch_bias: true,
            pre_norm: false,
            pool: VisionPool::Map,
        }),
    };
    let vocabulary = text.take_or("vocab_size", 32000)?;
    let stack = stack(&mut text, &SIGLIP)?;
    // the two generations differ in their tokenizers alone, which have classes of their own
    let cleaning = match vocabulary {
        SIGLIP_2 => TextCleaning::Siglip2,
        _ => TextCleaning::Siglip,
    };
    let projection = text.take_or("projection_size", stack.width)?;
    let text = TextConfig {
        kind: TextKind::Clip,
        vocabulary,
        context: text.take_or("max_position_embeddings", 64)?,
        stack,
        causal: false,
        pool: TextPool::Last,
        projection: TextProjection::Linear,
        tokens: TokenRules::siglip(cleaning),
    };
    let mut config = ClipConfig::new(Layout::HuggingFace, projection, vision, text);
    (config.mean, config.std) = ([0.5; 3], [0.5; 3]);
    config.preprocess.resize_mode = ResizeMode::Squash;
    config.checked()
}

// The defaults are those of transformers' CLIPTextConfig and CLIPVisionConfig: configurations leave out what equals them.

fn text_tower(mut section: Section) -> Result<TextConfig, ConfigError> {
    // with this key diffusers' pipelines mask the padding
    section.only("use_attention_mask", json!(false))?;
    Ok(TextConfig {
        kind: TextKind::Clip,
        vocabulary: section.take_or("vocab_size", 49408)?,
        context: section.take_or("max_position_embeddings", 77)?,
        stack: stack(&mut section, &CLIP_TEXT)?,
        causal: true,
        pool: TextPool::Token(section.take_or("eos_token_id", 49407)?),
        projection: TextProjection::Matrix,
        tokens: TokenRules::default(),
    })
}

fn vision_tower(mut section: Section) -> Result<VisionConfig, ConfigError> {
    Ok(VisionConfig {
        image_size: image_size(&mut section)?,
        kind: VisionKind::Transformer(VitConfig {
            patch: square(&mut section, "patch_size", 32)?,
            stack: stack(&mut section, &CLIP_VISION)?,
            class_token: true,
            patch_bias: false,
            pre_norm: true,
            pool: VisionPool::ClassToken,
        }),
    })
}

/// The side of the input, which has three channels.
fn image_size(section: &mut Section) -> Result<usize, ConfigError> {
    let channels: usize = section.take_or("num_channels", 3)?;
    if channels != 3 {
        return Err(format!("has {channels} channels; only 3 are supported"));
    }
    square(section, "image_size", 224)
}

/// The stacks of transformers' configurations, for keys that are left out.
const CLIP_TEXT: StackConfig = StackConfig {
    width: 512,
    hidden: 2048,
    layers: 12,
    heads: 8,
    activation: Activation::QuickGelu,
    eps: 1e-5,
    layer_scale: false,
};
const CLIP_VISION: StackConfig = StackConfig {
    width: 768,
    hidden: 3072,
    heads: 12,
    ..CLIP_TEXT
};
/// Of both towers.
const SIGLIP: StackConfig = StackConfig {
    activation: Activation::GeluTanh,
    eps: 1e-6,
    ..CLIP_VISION
};

fn stack(section: &mut Section, defaults: &StackConfig) -> Result<StackConfig, ConfigError> {
    Ok(StackConfig {
        width: section.take_or("hidden_size", defaults.width)?,
        hidden: section.take_or("intermediate_size", defaults.hidden)?,
        layers: section.take_or("num_hidden_layers", defaults.layers)?,
        heads: section.take_or("num_attention_heads", defaults.heads)?,
        activation: section.choice("hidden_act", defaults.activation, &ACTIVATIONS)?,
        eps: section.take_or("layer_norm_eps", defaults.eps)?,
        layer_scale: false,
    })
}
