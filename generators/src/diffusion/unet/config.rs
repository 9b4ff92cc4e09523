//! The configuration of a U-Net.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::diffusion::error::{Loaded, ModelError};

/// The `config.json` of a `UNet2DModel`, or by [`UNetConfig::parse`] of a `UNet2DConditionModel`; missing keys have diffusers' defaults.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default)]
pub struct UNetConfig {
    /// What diffusers calls the network.
    #[serde(rename = "_class_name")]
    pub class: String,
    /// The side that it was trained at.
    pub sample_size: Option<Side>,
    /// Channels of the noisy image.
    pub in_channels: usize,
    /// Channels of the prediction; those beyond `in_channels` (a learnt variance) are left out.
    pub out_channels: usize,
    /// Whether the input is moved from 0..=1 to -1..=1 first.
    pub center_input_sample: bool,
    /// `positional` is read.
    pub time_embedding_type: String,
    /// Size of the time's embedding; four times the first block's channels where it is not given.
    pub time_embedding_dim: Option<usize>,
    /// Shifts the frequencies of the time's embedding.
    pub freq_shift: f64,
    /// Whether the cosines of the time's embedding come first.
    pub flip_sin_to_cos: bool,
    /// From fine to coarse.
    pub down_block_types: Vec<String>,
    /// `UNetMidBlock2D`, `UNetMidBlock2DCrossAttn`, or null for none.
    pub mid_block_type: Option<String>,
    /// From coarse to fine.
    pub up_block_types: Vec<String>,
    /// From fine to coarse.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks at each resolution on the way down; one more on the way up.
    pub layers_per_block: usize,
    /// What the sums of the middle block are divided by.
    pub mid_block_scale_factor: f64,
    /// 1 pads all around, 0 below and on the right alone.
    pub downsample_padding: usize,
    /// `conv` or `resnet`.
    pub downsample_type: Option<String>,
    /// `conv` or `resnet`.
    pub upsample_type: Option<String>,
    /// `silu` is read, also under the name `swish`.
    pub act_fn: String,
    /// In a `UNet2DModel` the channels of an attention head; null has one head of all channels. In a `UNet2DConditionModel`, by an old mistake of
    /// names that diffusers keeps, the number of heads, for all blocks or for each from fine to coarse.
    pub attention_head_dim: Option<OneOrMany>,
    /// The number of heads, where a `UNet2DConditionModel` has the correct key.
    pub num_attention_heads: Option<OneOrMany>,
    /// Channels of the text for cross-attention.
    pub cross_attention_dim: Option<OneOrMany>,
    /// Whether the transformers' projections are linear layers, not convolutions of one pixel.
    pub use_linear_projection: bool,
    /// Blocks of each transformer, for all or for each resolution from fine to coarse.
    pub transformer_layers_per_block: OneOrMany,
    /// Groups of the normalisations.
    pub norm_num_groups: usize,
    /// Groups of the normalisation before the middle block's attention.
    pub attn_norm_num_groups: Option<usize>,
    /// Keeps the normalisations from dividing by 0.
    pub norm_eps: f64,
    /// `default` or `scale_shift`.
    pub resnet_time_scale_shift: String,
    /// Whether the middle block has attention.
    pub add_attention: bool,
    /// All other keys. Those that would change the network are refused.
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
}

/// A number for all blocks, or one for each.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum OneOrMany {
    /// For all.
    One(usize),
    /// For each.
    Many(Vec<usize>),
}

impl OneOrMany {
    /// The number of that block; none where the list is too short.
    pub fn get(&self, block: usize) -> Option<usize> {
        match self {
            Self::One(number) => Some(*number),
            Self::Many(numbers) => numbers.get(block).copied(),
        }
    }
}

/// A side, or height and width.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Side {
    /// Of a square.
    One(usize),
    /// Height and width.
    Two([usize; 2]),
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

impl Default for UNetConfig {
    fn default() -> Self {
        let (down, up) = ("AttnDownBlock2D", "AttnUpBlock2D");
        Self {
            class: UNCONDITIONAL.to_owned(),
            sample_size: None,
            in_channels: 3,
            out_channels: 3,
            center_input_sample: false,
            time_embedding_type: "positional".to_owned(),
            time_embedding_dim: None,
            freq_shift: 0.0,
            flip_sin_to_cos: true,
            down_block_types: words(["DownBlock2D", down, down, down]),
            mid_block_type: Some("UNetMidBlock2D".to_owned()),
            up_block_types: words([up, up, up, "UpBlock2D"]),
            block_out_channels: vec![224, 448, 672, 896],
            layers_per_block: 2,
            mid_block_scale_factor: 1.0,
            downsample_padding: 1,
            downsample_type: Some("conv".to_owned()),
            upsample_type: Some("conv".to_owned()),
            act_fn: "silu".to_owned(),
            attention_head_dim: Some(OneOrMany::One(8)),
            num_attention_heads: None,
            cross_attention_dim: None,
            use_linear_projection: false,
            transformer_layers_per_block: OneOrMany::One(1),
            norm_num_groups: 32,
            attn_norm_num_groups: None,
            norm_eps: 1e-5,
            resnet_time_scale_shift: "default".to_owned(),
            add_attention: true,
            rest: BTreeMap::new(),
        }
    }
}

/// The class of unconditional networks.
pub(in crate::diffusion) const UNCONDITIONAL: &str = "UNet2DModel";
/// The class of networks that are conditioned on a text.
pub(in crate::diffusion) const CONDITIONAL: &str = "UNet2DConditionModel";

/// The attention of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AttentionKind {
    None,
    /// Self-attention over pixels.
    Pixels,
    /// Self-attention, then cross-attention to the text.
    Cross,
}

/// The properties that follow from a block's name.
#[derive(Clone, Copy)]
pub(super) struct BlockKind {
    pub attention: AttentionKind,
    /// Whether its change of resolution is a residual block.
    pub resnet: bool,
}

impl UNetConfig {
    /// From the text of a `config.json`.
    ///
    /// # Errors
    /// Where it is not the JSON that is expected.
    pub fn parse(text: &str) -> serde_json::Result<Self> {
        let mut json: serde_json::Map<String, Value> = serde_json::from_str(text)?;
        if json.get("_class_name").and_then(|name| name.as_str()) == Some(CONDITIONAL) {
            let (down, up) = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D");
            // where diffusers' defaults of the one class are not those of the other
            let defaults = json!({
                "in_channels": 4,
                "out_channels": 4,
                "block_out_channels": [320, 640, 1280, 1280],
                "down_block_types": [down, down, down, "DownBlock2D"],
                "up_block_types": ["UpBlock2D", up, up, up],
                "mid_block_type": "UNetMidBlock2DCrossAttn",
                "cross_attention_dim": 1280,
            });
            for (key, value) in defaults.as_object().into_iter().flatten() {
                json.entry(key.as_str()).or_insert_with(|| value.clone());
            }
        }
        serde_json::from_value(json.into())
    }

    /// Whether the network is conditioned on a text.
    pub fn conditional(&self) -> bool {
        self.class == CONDITIONAL
    }

    /// Heads of the transformers at a resolution, from fine to coarse.
    pub(super) fn heads(&self, block: usize) -> usize {
        (self.num_attention_heads.as_ref())
            .or(self.attention_head_dim.as_ref())
            .and_then(|heads| heads.get(block))
            .unwrap_or(1)
    }

    /// Channels of a head of the attention over pixels, in a block of that many.
    pub(super) fn head(&self, channels: usize) -> usize {
        match &self.attention_head_dim {
            Some(OneOrMany::One(head)) => *head,
            _ => channels,
        }
    }

    /// Channels of the text.
    pub fn context(&self) -> Option<usize> {
        match &self.cross_attention_dim {
            Some(OneOrMany::One(channels)) => Some(*channels),
            _ => None,
        }
    }

    /// The configuration of the models google/ddpm-*-256: 114 million weights.
    pub fn ddpm_256() -> Self {
        let (down, up) = ("DownBlock2D", "UpBlock2D");
        Self {
            sample_size: Some(Side::One(256)),
            freq_shift: 1.0,
            flip_sin_to_cos: false,
            down_block_types: words([down, down, down, down, "AttnDownBlock2D", down]),
            up_block_types: words([up, "AttnUpBlock2D", up, up, up, up]),
            block_out_channels: vec![128, 128, 256, 256, 512, 512],
            downsample_padding: 0,
            attention_head_dim: None,
            norm_eps: 1e-6,
            ..Self::default()
        }
    }

    /// Whether a key that is not read has another value than the default.
    fn differs(&self, key: &str, default: &Value) -> bool {
        (self.rest.get(key)).is_some_and(|value| {
            // 1 is 1.0
            let same =
                value == default || (value.is_number() && value.as_f64() == default.as_f64());
            !value.is_null() && !same
        })
    }

    /// The first unsupported setting, as part of a sentence.
    pub(super) fn unsupported(&self) -> Option<String> {
        let kinds = self.down_block_types.len();
        let channels = &self.block_out_channels;
        let known = |value: &Option<String>| matches!(value.as_deref(), Some("conv" | "resnet"));
        if kinds == 0 || kinds != self.up_block_types.len() || kinds != channels.len() || kinds > 12
        {
            return Some(format!(
                "{kinds} `down_block_types`, {} `up_block_types` and {} `block_out_channels`; of each there must be the same number",
                self.up_block_types.len(),
                channels.len()
            ));
        }
        if self.time_embedding_type != "positional" {
            return Some(format!(
                "the `time_embedding_type` `{}`; `positional` is read",
                self.time_embedding_type
            ));
        }
        if !matches!(self.act_fn.as_str(), "silu" | "swish") {
            return Some(format!("the `act_fn` `{}`; `silu` is read", self.act_fn));
        }
        if !matches!(
            self.resnet_time_scale_shift.as_str(),
            "default" | "scale_shift"
        ) {
            return Some(format!(
                "the `resnet_time_scale_shift` `{}`; `default` and `scale_shift` are read",
                self.resnet_time_scale_shift
            ));
        }
        if self.differs("class_embed_type", &Value::Null)
            || self.differs("num_class_embeds", &Value::Null)
        {
            return Some("class embeddings; models without classes are read".to_owned());
        }
        let middle = if self.conditional() {
            "UNetMidBlock2DCrossAttn"
        } else {
            "UNetMidBlock2D"
        };
        if (self.mid_block_type.as_deref()).is_some_and(|kind| kind != middle) {
            return Some(format!("another `mid_block_type` than `{middle}`"));
        }
        if !known(&self.downsample_type) || !known(&self.upsample_type) {
            return Some(
                "a `downsample_type` or `upsample_type` other than `conv` and `resnet`".to_owned(),
            );
        }
        if self.downsample_padding > 1 {
            return Some(format!(
                "a `downsample_padding` of {}; 0 and 1 are read",
                self.downsample_padding
            ));
        }
        let sizes = [
            self.in_channels,
            self.layers_per_block,
            self.norm_num_groups,
        ];
        let even = channels[0].is_multiple_of(2);
        if sizes.contains(&0)
            || channels.contains(&0)
            || !even
            || self.attention_head_dim == Some(OneOrMany::One(0))
        {
            return Some("a size of 0, or an odd number of channels in the first block".to_owned());
        }
        if !self.freq_shift.is_finite() || self.freq_shift >= (channels[0] / 2) as f64 {
            return Some(format!("a `freq_shift` of {}", self.freq_shift));
        }
        if self.out_channels < self.in_channels {
            return Some("fewer `out_channels` than `in_channels`".to_owned());
        }
        (self.conditional())
            .then(|| self.unsupported_text())
            .flatten()
    }

    /// The first unsupported setting of a conditional network, as part of a sentence.
    fn unsupported_text(&self) -> Option<String> {
        if self.context().is_none_or(|channels| channels == 0) {
            return Some(
                "a `cross_attention_dim` that is not one number; networks that look at one text are read"
                    .to_owned(),
            );
        }
        let sdxl = "addition_embed_type";
        if self.differs(sdxl, &Value::Null) {
            return Some(format!(
                "the `{sdxl}` {}, as SDXL does; Stable Diffusion 1 and 2 and their relatives are read",
                self.rest[sdxl]
            ));
        }
        // settings that change the network, most of them neither the names nor the shapes of its weights
        let defaults = [
            ("encoder_hid_dim", Value::Null),
            ("time_cond_proj_dim", Value::Null),
            ("dual_cross_attention", json!(false)),
            ("resnet_out_scale_factor", json!(1.0)),
            ("resnet_skip_time_act", json!(false)),
            ("time_embedding_act_fn", Value::Null),
            ("timestep_post_act", Value::Null),
            ("cross_attention_norm", Value::Null),
            ("attention_type", json!("default")),
        ];
        if let Some((key, _)) = (defaults.into_iter()).find(|(key, usual)| self.differs(key, usual))
        {
            return Some(format!("another `{key}` than Stable Diffusion's"));
        }
        for (block, &channels) in self.block_out_channels.iter().enumerate() {
            let heads = self.heads(block);
            if heads == 0 || channels % heads != 0 {
                return Some(format!(
                    "{heads} attention heads for {channels} channels, which they do not divide"
                ));
            }
            if (self.transformer_layers_per_block.get(block)).is_none_or(|layers| layers == 0) {
                return Some(
                    "`transformer_layers_per_block` without a number for each block".to_owned(),
                );
            }
        }
        None
    }

    pub(super) fn kind(&self, block: &str, way: &str) -> Loaded<BlockKind> {
        let resnet = match way {
            "Down" => &self.downsample_type,
            _ => &self.upsample_type,
        };
        let resnet = resnet.as_deref() == Some("resnet");
        let stem = format!("{way}Block2D");
        let kind = |attention, resnet| Ok(BlockKind { attention, resnet });
        match (block, self.conditional()) {
            _ if block == stem => kind(AttentionKind::None, false),
            (_, true) if block == format!("CrossAttn{stem}") => kind(AttentionKind::Cross, false),
            (_, false) if block == format!("Attn{stem}") => kind(AttentionKind::Pixels, resnet),
            _ if block == format!("Resnet{way}sampleBlock2D") => kind(AttentionKind::None, true),
            (_, conditional) => Err(ModelError::Unsupported(format!(
                "a block `{block}`; `{stem}`, `{}Attn{stem}` and `Resnet{way}sampleBlock2D` are read",
                if conditional { "Cross" } else { "" }
            ))),
        }
    }

    /// What both sides of an image must be a multiple of.
    pub fn multiple(&self) -> usize {
        1 << (self.block_out_channels.len().max(1) - 1)
    }
}
