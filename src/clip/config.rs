//! What a checkpoint's own configuration says of its shape.

use frozen::Activation;
use serde::Deserialize;

use super::preprocess::{Filter, Fit, Middle, Preprocess};

/// The mean of CLIP's training images by channel, which its input is normalised with.
pub const MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
/// Their standard deviation.
pub const STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

/// Under which names a checkpoint keeps its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// transformers' CLIPModel: `vision_model.encoder.layers.0.self_attn.q_proj.weight`
    HuggingFace,
    /// open_clip, and OpenAI's own: `visual.transformer.resblocks.0.attn.in_proj_weight`
    OpenClip,
}

/// The shape of a CLIP.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipConfig {
    /// The names of its tensors.
    pub layout: Layout,
    /// Width of the joint space.
    pub projection: usize,
    /// The image tower.
    pub vision: VisionConfig,
    /// The text tower.
    pub text: TextConfig,
    /// Mean of the input by channel.
    pub mean: [f64; 3],
    /// Standard deviation of the input by channel.
    pub std: [f64; 3],
    /// The filter that pictures are brought to the input's size with.
    pub filter: Filter,
    /// What is done to pictures that are not square.
    pub fit: Fit,
}

/// The shape of an image tower.
#[derive(Clone, Debug, PartialEq)]
pub struct VisionConfig {
    /// Side of the input in pixels.
    pub image_size: usize,
    /// What it is made of.
    pub kind: VisionKind,
}

/// What an image tower is made of.
#[derive(Clone, Debug, PartialEq)]
pub enum VisionKind {
    /// A vision transformer.
    Transformer {
        /// Side of a patch in pixels.
        patch: usize,
        /// The stack.
        stack: StackConfig,
    },
    /// CLIP's ModifiedResNet.
    ResNet {
        /// Blocks in each of the four stages.
        layers: [usize; 4],
        /// Channels after the stem.
        width: usize,
        /// Heads of the attention pooling.
        heads: usize,
    },
}

/// The shape of a text tower.
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    /// Number of tokens.
    pub vocabulary: usize,
    /// Longest text in tokens, begin and end among them.
    pub context: usize,
    /// The stack.
    pub stack: StackConfig,
    /// The token whose place holds the embedding; none means the highest number of the text, as in OpenAI's code.
    pub end: Option<u32>,
}

/// The shape of a transformer's stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StackConfig {
    /// Width of a token.
    pub width: usize,
    /// Width of the hidden layer between.
    pub hidden: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Heads of the attention.
    pub heads: usize,
    /// The nonlinearity.
    pub activation: Activation,
    /// Added to the variance in layer norms.
    pub eps: f64,
}

#[derive(Deserialize)]
struct HfConfig {
    #[serde(default)]
    model_type: Option<String>,
    #[serde(default)]
    projection_dim: Option<usize>,
    #[serde(default)]
    vision_config: HfVision,
    #[serde(default)]
    text_config: HfText,
}

// The defaults are those of transformers' CLIPVisionConfig and CLIPTextConfig: configurations leave out what equals them.
#[derive(Deserialize)]
#[serde(default)]
struct HfVision {
    image_size: usize,
    patch_size: usize,
    num_channels: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    hidden_act: String,
    layer_norm_eps: f64,
}

impl Default for HfVision {
    fn default() -> Self {
        Self {
            image_size: 224,
            patch_size: 32,
            num_channels: 3,
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            hidden_act: "quick_gelu".to_owned(),
            layer_norm_eps: 1e-5,
        }
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct HfText {
    vocab_size: usize,
    max_position_embeddings: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    hidden_act: String,
    layer_norm_eps: f64,
    eos_token_id: Option<u32>,
}

impl Default for HfText {
    fn default() -> Self {
        Self {
            vocab_size: 49408,
            max_position_embeddings: 77,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            hidden_act: "quick_gelu".to_owned(),
            layer_norm_eps: 1e-5,
            eos_token_id: Some(49407),
        }
    }
}

#[derive(Deserialize)]
struct OpenConfig {
    model_cfg: OpenModel,
    #[serde(default)]
    preprocess_cfg: OpenPreprocess,
}

#[derive(Deserialize)]
struct OpenModel {
    embed_dim: usize,
    #[serde(default)]
    quick_gelu: bool,
    vision_cfg: OpenVision,
    text_cfg: OpenText,
}

#[derive(Deserialize)]
struct OpenVision {
    image_size: usize,
    layers: OpenLayers,
    #[serde(default = "open_vision_width")]
    width: usize,
    #[serde(default)]
    head_width: Option<usize>,
    #[serde(default)]
    patch_size: Option<usize>,
    #[serde(default)]
    mlp_ratio: Option<f64>,
}

fn open_vision_width() -> usize {
    768
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OpenLayers {
    Blocks(usize),
    Stages([usize; 4]),
}

#[derive(Deserialize)]
#[serde(default)]
struct OpenText {
    context_length: usize,
    vocab_size: usize,
    width: usize,
    heads: usize,
    layers: usize,
    mlp_ratio: f64,
    hf_model_name: Option<String>,
}

impl Default for OpenText {
    fn default() -> Self {
        Self {
            context_length: 77,
            vocab_size: 49408,
            width: 512,
            heads: 8,
            layers: 12,
            mlp_ratio: 4.0,
            hf_model_name: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct OpenPreprocess {
    mean: [f64; 3],
    std: [f64; 3],
    interpolation: String,
    resize_mode: String,
}

impl Default for OpenPreprocess {
    fn default() -> Self {
        Self {
            mean: MEAN,
            std: STD,
            interpolation: "bicubic".to_owned(),
            resize_mode: "shortest".to_owned(),
        }
    }
}

#[derive(Default, Deserialize)]
struct Preprocessor {
    #[serde(default)]
    image_mean: Option<[f64; 3]>,
    #[serde(default)]
    image_std: Option<[f64; 3]>,
    /// Pillow's number of a filter.
    #[serde(default)]
    resample: Option<u32>,
    #[serde(default)]
    size: Option<serde_json::Value>,
}

/// A configuration that cannot be used, in words that follow the file's name.
pub type ConfigError = String;

fn activation(name: &str) -> Result<Activation, ConfigError> {
    Ok(match name {
        "quick_gelu" => Activation::QuickGelu,
        "gelu" => Activation::Gelu,
        "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
        "silu" | "swish" => Activation::Silu,
        "relu" => Activation::Relu,
        other => {
            return Err(format!(
                "has activation `{other}`; quick_gelu, gelu, gelu_pytorch_tanh, silu and relu are known"
            ));
        }
    })
}

impl HfText {
    fn config(self) -> Result<TextConfig, ConfigError> {
        Ok(TextConfig {
            vocabulary: self.vocab_size,
            context: self.max_position_embeddings,
            stack: StackConfig {
                width: self.hidden_size,
                hidden: self.intermediate_size,
                layers: self.num_hidden_layers,
                heads: self.num_attention_heads,
                activation: activation(&self.hidden_act)?,
                eps: self.layer_norm_eps,
            },
            // configurations from before 2023 say 2, which was never the token's number
            end: self.eos_token_id.filter(|id| *id != 2),
        })
    }
}

impl TextConfig {
    /// From `config.json` of a Hugging Face CLIPTextModel, a text tower alone.
    pub fn hugging_face(config: &str) -> Result<Self, ConfigError> {
        let text: HfText =
            serde_json::from_str(config).map_err(|error| format!("cannot be read: {error}"))?;
        let config = text.config()?;
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

impl ClipConfig {
    /// From `config.json` of a Hugging Face CLIPModel, and `preprocessor_config.json` where there is one.
    pub fn hugging_face(config: &str, preprocessor: Option<&str>) -> Result<Self, ConfigError> {
        let hf: HfConfig =
            serde_json::from_str(config).map_err(|error| format!("cannot be read: {error}"))?;
        if let Some(kind) = hf.model_type.as_deref().filter(|kind| *kind != "clip") {
            return Err(format!("is of a `{kind}`, not of a `clip`"));
        }
        let (v, t) = (hf.vision_config, hf.text_config);
        if v.num_channels != 3 {
            return Err(format!("wants {} channels, not 3", v.num_channels));
        }
        let preprocessor = match preprocessor {
            None => Preprocessor::default(),
            Some(text) => serde_json::from_str(text)
                .map_err(|error| format!("has a broken preprocessor_config.json: {error}"))?,
        };
        Self {
            layout: Layout::HuggingFace,
            projection: hf.projection_dim.unwrap_or(512),
            vision: VisionConfig {
                image_size: v.image_size,
                kind: VisionKind::Transformer {
                    patch: v.patch_size,
                    stack: StackConfig {
                        width: v.hidden_size,
                        hidden: v.intermediate_size,
                        layers: v.num_hidden_layers,
                        heads: v.num_attention_heads,
                        activation: activation(&v.hidden_act)?,
                        eps: v.layer_norm_eps,
                    },
                },
            },
            text: t.config()?,
            mean: preprocessor.image_mean.unwrap_or(MEAN),
            std: preprocessor.image_std.unwrap_or(STD),
            filter: match preprocessor.resample {
                None | Some(3) => Filter::Bicubic,
                Some(2) => Filter::Bilinear,
                Some(1) => Filter::Lanczos,
                Some(other) => {
                    return Err(format!(
                        "has the resampling {other} in preprocessor_config.json; 1 (Lanczos), 2 (bilinear) and 3 (bicubic) are known"
                    ));
                }
            },
            // both sides given: the picture is squeezed
            fit: match preprocessor.size.as_ref() {
                Some(size) if size.get("height").is_some() && size.get("width").is_some() => {
                    Fit::Squash
                }
                _ => Fit::Cover,
            },
        }
        .checked()
    }

    /// From `open_clip_config.json`.
    pub fn open_clip(config: &str) -> Result<Self, ConfigError> {
        let open: OpenConfig =
            serde_json::from_str(config).map_err(|error| format!("cannot be read: {error}"))?;
        let (v, t) = (open.model_cfg.vision_cfg, open.model_cfg.text_cfg);
        let preprocess = open.preprocess_cfg;
        let filter = match preprocess.interpolation.as_str() {
            "bicubic" => Filter::Bicubic,
            "bilinear" => Filter::Bilinear,
            other => {
                return Err(format!(
                    "has the interpolation `{other}`; bicubic and bilinear are known"
                ));
            }
        };
        let fit = match preprocess.resize_mode.as_str() {
            "shortest" => Fit::Cover,
            "squash" => Fit::Squash,
            "longest" => Fit::Pad,
            other => {
                return Err(format!(
                    "has the resize mode `{other}`; shortest, longest and squash are known"
                ));
            }
        };
        if let Some(name) = t.hf_model_name {
            return Err(format!(
                "has the text tower `{name}`; only CLIP's own text transformer is known"
            ));
        }
        let activation = match open.model_cfg.quick_gelu {
            true => Activation::QuickGelu,
            false => Activation::Gelu,
        };
        let head_width = v.head_width.unwrap_or(64);
        let hidden = |width: usize, ratio: f64| (width as f64 * ratio) as usize;
        let kind = match v.layers {
            OpenLayers::Stages(layers) => VisionKind::ResNet {
                layers,
                width: v.width,
                heads: v.width * 32 / head_width,
            },
            OpenLayers::Blocks(layers) => VisionKind::Transformer {
                patch: v.patch_size.unwrap_or(16),
                stack: StackConfig {
                    width: v.width,
                    hidden: hidden(v.width, v.mlp_ratio.unwrap_or(4.0)),
                    layers,
                    heads: v.width / head_width.max(1),
                    activation,
                    eps: 1e-5,
                },
            },
        };
        Self {
            layout: Layout::OpenClip,
            projection: open.model_cfg.embed_dim,
            vision: VisionConfig {
                image_size: v.image_size,
                kind,
            },
            text: TextConfig {
                vocabulary: t.vocab_size,
                context: t.context_length,
                stack: StackConfig {
                    width: t.width,
                    hidden: hidden(t.width, t.mlp_ratio),
                    layers: t.layers,
                    heads: t.heads,
                    activation,
                    eps: 1e-5,
                },
                end: None,
            },
            mean: preprocess.mean,
            std: preprocess.std,
            filter,
            fit,
        }
        .checked()
    }

    /// Sizes that no network could have are refused here, before they are divided by or allocated.
    pub(super) fn checked(self) -> Result<Self, ConfigError> {
        let stack = |name: &str, s: &StackConfig| {
            let sizes = [s.width, s.hidden, s.layers, s.heads];
            if sizes.iter().any(|size| !(1..=1 << 16).contains(size)) {
                return Err(format!("has impossible sizes in its {name}: {s:?}"));
            }
            if !s.width.is_multiple_of(s.heads) {
                return Err(format!(
                    "has {} heads for a width of {} in its {name}, which they do not divide",
                    s.heads, s.width
                ));
            }
            Ok(())
        };
        stack("text tower", &self.text.stack)?;
        let size = self.vision.image_size;
        match &self.vision.kind {
            VisionKind::Transformer { patch, stack: s } => {
                stack("image tower", s)?;
                if *patch == 0 || size == 0 || !size.is_multiple_of(*patch) {
                    return Err(format!(
                        "has patches of {patch} pixels in an image of {size}, which they do not divide"
                    ));
                }
            }
            VisionKind::ResNet { width, heads, .. } => {
                if size == 0 || !size.is_multiple_of(32) {
                    return Err(format!(
                        "has an image size of {size}, which 32 does not divide"
                    ));
                }
                if *width == 0
                    || !width.is_multiple_of(2)
                    || *heads == 0
                    || !(width * 32).is_multiple_of(*heads)
                {
                    return Err(format!(
                        "has an impossible width of {width} with {heads} heads"
                    ));
                }
            }
        }
        if size > 4096 || self.projection == 0 || self.projection > 1 << 16 {
            return Err("has impossible sizes".to_owned());
        }
        if self.text.context < 3 || self.text.vocabulary == 0 {
            return Err("has a text tower without room for a word".to_owned());
        }
        if self.std.iter().any(|s| !s.is_finite() || *s <= 0.0) {
            return Err("has a standard deviation that is not positive".to_owned());
        }
        Ok(self)
    }
}

impl ClipConfig {
    /// What a picture goes through before the image tower sees it.
    pub fn preprocess(&self) -> Preprocess {
        Preprocess {
            size: self.vision.image_size,
            filter: self.filter,
            fit: self.fit,
            middle: match self.layout {
                Layout::HuggingFace => Middle::Down,
                Layout::OpenClip => Middle::Even,
            },
        }
    }

    /// Changes the nonlinearity of both towers to OpenAI's approximation of GELU.
    pub(super) fn use_quick_gelu(&mut self) {
        self.text.stack.activation = Activation::QuickGelu;
        if let VisionKind::Transformer { stack, .. } = &mut self.vision.kind {
            stack.activation = Activation::QuickGelu;
        }
    }

    /// About how many bytes one image takes in the image tower while its gradient is computed: an upper estimate, to size
    /// micro-batches with.
    pub fn activation_bytes(&self) -> usize {
        let size = self.vision.image_size;
        let floats = match &self.vision.kind {
            VisionKind::Transformer { patch, stack } => {
                let tokens = (size / patch).pow(2) + 1;
                let scores = stack.heads * tokens * tokens;
                let block = tokens * (8 * stack.width + 3 * stack.hidden) + scores;
                stack.layers * block + 6 * size * size
            }
            VisionKind::ResNet { layers, width, .. } => {
                let pixels = (size / 4).pow(2);
                let blocks = layers.iter().sum::<usize>();
                8 * width * pixels * 4 + 14 * width * pixels * blocks
            }
        };
        4 * floats
    }
}
