//! diffusers' `UNet2DModel`: the U-Net of unconditional diffusion models.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};
use frozen::checkpoint::{Branch, Checkpoint};
use frozen::{Activation, Chain, Conv2d, Conv2dOptions, Layer, Linear, Pullback, UpsampleNearest};
use serde::Deserialize;

use super::blocks::{
    Norm, NormStyle, PixelAttention, Resize, Resnet, ResnetStyle, check_image, conv, conv3, joined,
    linear, side_by_side,
};
use super::denoise::Network;
use super::load::{Loaded, ModelError};
use crate::pad::PadEnd;

/// A `UNet2DModel`'s `config.json`; what a file leaves out is as in diffusers.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default)]
pub struct UNetConfig {
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
    /// `UNetMidBlock2D`, or null for none.
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
    /// Channels of an attention head; null has one head of all channels.
    pub attention_head_dim: Option<usize>,
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
    /// Models of classes are not read.
    pub class_embed_type: Option<String>,
    /// Models of classes are not read.
    pub num_class_embeds: Option<usize>,
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

impl Default for UNetConfig {
    fn default() -> Self {
        let words = |words: [&str; 4]| words.map(str::to_owned).to_vec();
        Self {
            sample_size: None,
            in_channels: 3,
            out_channels: 3,
            center_input_sample: false,
            time_embedding_type: "positional".to_owned(),
            time_embedding_dim: None,
            freq_shift: 0.0,
            flip_sin_to_cos: true,
            down_block_types: words([
                "DownBlock2D",
                "AttnDownBlock2D",
                "AttnDownBlock2D",
                "AttnDownBlock2D",
            ]),
            mid_block_type: Some("UNetMidBlock2D".to_owned()),
            up_block_types: words([
                "AttnUpBlock2D",
                "AttnUpBlock2D",
                "AttnUpBlock2D",
                "UpBlock2D",
            ]),
            block_out_channels: vec![224, 448, 672, 896],
            layers_per_block: 2,
            mid_block_scale_factor: 1.0,
            downsample_padding: 1,
            downsample_type: Some("conv".to_owned()),
            upsample_type: Some("conv".to_owned()),
            act_fn: "silu".to_owned(),
            attention_head_dim: Some(8),
            norm_num_groups: 32,
            attn_norm_num_groups: None,
            norm_eps: 1e-5,
            resnet_time_scale_shift: "default".to_owned(),
            add_attention: true,
            class_embed_type: None,
            num_class_embeds: None,
        }
    }
}

/// What a block's name says of it.
#[derive(Clone, Copy)]
struct BlockKind {
    attention: bool,
    /// Whether its change of resolution is a residual block.
    resnet: bool,
}

impl UNetConfig {
    /// The configuration of the models google/ddpm-*-256: 114 million weights.
    pub fn ddpm_256() -> Self {
        let words = |words: [&str; 6]| words.map(str::to_owned).to_vec();
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

    /// What it asks for that is not built here, as part of a sentence.
    fn unsupported(&self) -> Option<String> {
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
        if self.class_embed_type.is_some() || self.num_class_embeds.is_some() {
            return Some("class embeddings; models without classes are read".to_owned());
        }
        if !matches!(
            self.mid_block_type.as_deref(),
            None | Some("UNetMidBlock2D")
        ) {
            return Some("another `mid_block_type` than `UNetMidBlock2D`".to_owned());
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
            || self.attention_head_dim == Some(0)
        {
            return Some("a size of 0, or an odd number of channels in the first block".to_owned());
        }
        if !self.freq_shift.is_finite() || self.freq_shift >= (channels[0] / 2) as f64 {
            return Some(format!("a `freq_shift` of {}", self.freq_shift));
        }
        if self.out_channels < self.in_channels {
            return Some("fewer `out_channels` than `in_channels`".to_owned());
        }
        None
    }

    fn kind(&self, block: &str, way: &str) -> Loaded<BlockKind> {
        let resnet = match way {
            "Down" => &self.downsample_type,
            _ => &self.upsample_type,
        };
        let resnet = resnet.as_deref() == Some("resnet");
        let stem = format!("{way}Block2D");
        match block {
            _ if block == stem => Ok(BlockKind {
                attention: false,
                resnet: false,
            }),
            _ if block == format!("Attn{stem}") => Ok(BlockKind {
                attention: true,
                resnet,
            }),
            _ if block == format!("Resnet{way}sampleBlock2D") => Ok(BlockKind {
                attention: false,
                resnet: true,
            }),
            _ => Err(ModelError::Unsupported(format!(
                "a block `{block}`; `{stem}`, `Attn{stem}` and `Resnet{way}sampleBlock2D` are read"
            ))),
        }
    }

    /// What both sides of an image must be a multiple of.
    pub fn multiple(&self) -> usize {
        1 << (self.block_out_channels.len().max(1) - 1)
    }
}

/// A part of the network between two skips.
enum Unit {
    Block {
        resnet: Resnet,
        attention: Option<PixelAttention>,
    },
    Resize(Resnet),
    Down {
        conv: Conv2d,
        /// Whether zeros are added below and on the right first.
        pad: bool,
    },
    Up(Conv2d),
}

impl Unit {
    fn at(&self, time: &Tensor) -> Result<Box<dyn Layer>> {
        Ok(match self {
            Self::Block {
                resnet,
                attention: None,
            } => resnet.at(time)?,
            Self::Block {
                resnet,
                attention: Some(attention),
            } => Box::new(Chain::new(vec![resnet.at(time)?, attention.layer()?])),
            Self::Resize(resnet) => resnet.at(time)?,
            Self::Down { conv, pad } => {
                let conv = Box::new(conv.clone());
                match pad {
                    true => Box::new(Chain::new(vec![Box::new(PadEnd), conv])),
                    false => conv,
                }
            }
            Self::Up(conv) => Box::new(Chain::new(vec![
                Box::new(UpsampleNearest::new(2)?),
                Box::new(conv.clone()),
            ])),
        })
    }
}

/// The network, at no particular time.
pub struct UNet {
    config: UNetConfig,
    time1: Linear,
    time2: Linear,
    conv_in: Conv2d,
    down: Vec<Unit>,
    middle: Vec<Unit>,
    /// With whether each takes what the way down left at its place.
    up: Vec<(Unit, bool)>,
    norm_out: Norm,
    conv_out: Conv2d,
    recompute: bool,
}

impl UNet {
    /// The network of that configuration, with the weights of a checkpoint under diffusers' names.
    ///
    /// With `recompute` a gradient keeps the inputs of the blocks alone and computes what is in them again: less memory, and about
    /// a third more time.
    ///
    /// # Errors
    /// Where the configuration asks for what is not built here, or the weights do not fit it.
    pub fn new(
        config: UNetConfig,
        checkpoint: &Checkpoint,
        device: &Device,
        recompute: bool,
    ) -> Loaded<Self> {
        if let Some(what) = config.unsupported() {
            return Err(ModelError::Unsupported(what));
        }
        let weights = Branch::root(checkpoint, device);
        let channels = &config.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let time = config.time_embedding_dim.unwrap_or(4 * first);
        let norm = NormStyle {
            groups: config.norm_num_groups,
            eps: config.norm_eps,
        };
        let style = ResnetStyle {
            norm,
            time,
            scale_shift: config.resnet_time_scale_shift == "scale_shift",
        };
        let builder = Builder {
            weights,
            config: &config,
            style,
        };
        // read first, so that weights of another kind of model are found out at once
        let time1 = linear(weights, "time_embedding.linear_1", [first, time])?;
        Ok(Self {
            time1,
            time2: linear(weights, "time_embedding.linear_2", [time, time])?,
            conv_in: conv3(weights, "conv_in", [config.in_channels, first])?,
            down: builder.down()?,
            middle: match config.mid_block_type {
                Some(_) => builder.middle(last)?,
                None => vec![],
            },
            up: builder.up()?,
            norm_out: Norm::load(weights, "conv_norm_out", first, norm)?,
            conv_out: conv3(weights, "conv_out", [first, config.out_channels])?,
            config,
            recompute,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// The activated embedding of a time, [1, time].
    fn embedding(&self, time: f64) -> Result<Tensor> {
        let width = self.config.block_out_channels[0];
        let waves = waves(
            time,
            width,
            self.config.freq_shift,
            self.config.flip_sin_to_cos,
        );
        let waves: Vec<f32> = waves.into_iter().map(|wave| wave as f32).collect();
        let x = Tensor::from_vec(waves, (1, width), self.norm_out.weight.device())?;
        let x = Activation::Silu.eval(&self.time1.eval(&x)?)?;
        // each block would activate it again
        Activation::Silu.eval(&self.time2.eval(&x)?)
    }

    /// The network at a time of 0 to the number of times that it was trained at, fractions allowed:
    /// `[batch, in_channels, height, width]` to the same shape, sides that are multiples of [`UNetConfig::multiple`].
    pub fn at(&self, time: f64) -> Result<UNetAt> {
        let time = self.embedding(time)?;
        let layer = |unit: &Unit| -> Result<Arc<dyn Layer>> { Ok(Arc::from(unit.at(&time)?)) };
        let down = self.down.iter().map(layer).collect::<Result<_>>()?;
        let middle = self.middle.iter().map(layer).collect::<Result<_>>()?;
        let up = (self.up.iter())
            .map(|(unit, skip)| Ok((layer(unit)?, *skip)))
            .collect::<Result<_>>()?;
        let out: Vec<Box<dyn Layer>> = vec![
            Box::new(self.norm_out.layer()?),
            Box::new(Activation::Silu),
            Box::new(self.conv_out.clone()),
        ];
        Ok(UNetAt {
            channels: self.config.in_channels,
            multiple: self.config.multiple(),
            center: self.config.center_input_sample,
            conv_in: self.conv_in.clone(),
            down,
            middle,
            up,
            out: Arc::new(Chain::new(out)),
            recompute: self.recompute,
        })
    }
}

impl Network for UNet {
    fn at(&self, time: f64) -> Result<Box<dyn Layer>> {
        Ok(Box::new(Self::at(self, time)?))
    }

    fn multiple(&self) -> usize {
        self.config.multiple()
    }
}

/// The sines and cosines of a time (Vaswani et al. 2017; diffusers' `get_timestep_embedding`).
fn waves(time: f64, width: usize, shift: f64, cosines_first: bool) -> Vec<f64> {
    const LONGEST: f64 = 10_000.0;
    let half = width / 2;
    let angles = (0..half)
        .map(|i| (-LONGEST.ln() * i as f64 / (half as f64 - shift)).exp() * time)
        .collect::<Vec<_>>();
    let sines = angles.iter().map(|angle| angle.sin());
    let cosines = angles.iter().map(|angle| angle.cos());
    match cosines_first {
        true => cosines.chain(sines).collect(),
        false => sines.chain(cosines).collect(),
    }
}

struct Builder<'a> {
    weights: Branch<'a>,
    config: &'a UNetConfig,
    style: ResnetStyle,
}

impl Builder<'_> {
    fn resnet(&self, key: &str, channels: [usize; 2], resize: Option<Resize>) -> Loaded<Resnet> {
        Resnet::load(self.weights, key, channels, self.style, resize, 1.0)
    }

    fn attention(&self, key: &str, channels: usize) -> Loaded<PixelAttention> {
        let head = self.config.attention_head_dim.unwrap_or(channels);
        let norm = Some(self.style.norm);
        PixelAttention::load(self.weights, key, channels, head, norm, 1.0)
    }

    fn block(
        &self,
        key: &str,
        layer: usize,
        channels: [usize; 2],
        attention: bool,
    ) -> Loaded<Unit> {
        Ok(Unit::Block {
            resnet: self.resnet(&format!("{key}.resnets.{layer}"), channels, None)?,
            attention: match attention {
                false => None,
                true => Some(self.attention(&format!("{key}.attentions.{layer}"), channels[1])?),
            },
        })
    }

    fn down(&self) -> Loaded<Vec<Unit>> {
        let config = self.config;
        let mut units = vec![];
        let mut input = config.block_out_channels[0];
        for (i, (name, &width)) in (config
            .down_block_types
            .iter()
            .zip(&config.block_out_channels))
        .enumerate()
        {
            let kind = config.kind(name, "Down")?;
            let key = format!("down_blocks.{i}");
            for layer in 0..config.layers_per_block {
                units.push(self.block(&key, layer, [input, width], kind.attention)?);
                input = width;
            }
            if i + 1 == config.block_out_channels.len() {
                continue;
            }
            units.push(match kind.resnet {
                true => Unit::Resize(self.resnet(
                    &format!("{key}.downsamplers.0"),
                    [width, width],
                    Some(Resize::Halve),
                )?),
                false => {
                    let options = Conv2dOptions {
                        stride: 2,
                        padding: config.downsample_padding,
                        groups: 1,
                    };
                    let key = format!("{key}.downsamplers.0.conv");
                    Unit::Down {
                        conv: conv(self.weights, &key, [width, width], 3, options)?,
                        pad: config.downsample_padding == 0,
                    }
                }
            });
        }
        Ok(units)
    }

    fn middle(&self, width: usize) -> Loaded<Vec<Unit>> {
        let config = self.config;
        let divisor = config.mid_block_scale_factor;
        let resnet = |i: usize| {
            let key = format!("mid_block.resnets.{i}");
            Resnet::load(
                self.weights,
                &key,
                [width, width],
                self.style,
                None,
                divisor,
            )
        };
        let attention = match config.add_attention {
            false => None,
            true => {
                let head = config.attention_head_dim.unwrap_or(width);
                let eps = config.norm_eps;
                // with `scale_shift` there is no normalisation unless its groups are given
                let groups = match self.style.scale_shift {
                    true => config.attn_norm_num_groups,
                    false => config.attn_norm_num_groups.or(Some(config.norm_num_groups)),
                };
                let norm = groups.map(|groups| NormStyle { groups, eps });
                let key = "mid_block.attentions.0";
                Some(PixelAttention::load(
                    self.weights,
                    key,
                    width,
                    head,
                    norm,
                    divisor,
                )?)
            }
        };
        Ok(vec![
            Unit::Block {
                resnet: resnet(0)?,
                attention,
            },
            Unit::Block {
                resnet: resnet(1)?,
                attention: None,
            },
        ])
    }

    fn up(&self) -> Loaded<Vec<(Unit, bool)>> {
        let config = self.config;
        let widths: Vec<usize> = config.block_out_channels.iter().rev().copied().collect();
        let mut units = vec![];
        let mut before = widths[0];
        for (i, (name, &width)) in config.up_block_types.iter().zip(&widths).enumerate() {
            let kind = config.kind(name, "Up")?;
            let key = format!("up_blocks.{i}");
            // the last residual block meets what came in at this resolution on the way down
            let finer = widths[(i + 1).min(widths.len() - 1)];
            for layer in 0..=config.layers_per_block {
                let skip = match layer == config.layers_per_block {
                    true => finer,
                    false => width,
                };
                let channels = [before + skip, width];
                units.push((self.block(&key, layer, channels, kind.attention)?, true));
                before = width;
            }
            if i + 1 == widths.len() {
                continue;
            }
            let unit = match kind.resnet {
                true => Unit::Resize(self.resnet(
                    &format!("{key}.upsamplers.0"),
                    [width, width],
                    Some(Resize::Double),
                )?),
                false => {
                    let key = format!("{key}.upsamplers.0.conv");
                    Unit::Up(conv3(self.weights, &key, [width, width])?)
                }
            };
            units.push((unit, false));
        }
        Ok(units)
    }
}

/// A [`UNet`] at one time.
pub struct UNetAt {
    channels: usize,
    multiple: usize,
    center: bool,
    conv_in: Conv2d,
    down: Vec<Arc<dyn Layer>>,
    middle: Vec<Arc<dyn Layer>>,
    /// With whether each takes what the way down left at its place.
    up: Vec<(Arc<dyn Layer>, bool)>,
    out: Arc<dyn Layer>,
    recompute: bool,
}

impl UNetAt {
    fn centered(&self, x: &Tensor) -> Result<Tensor> {
        check_image(x, self.channels, self.multiple)?;
        match self.center {
            true => x.affine(2.0, -1.0),
            false => Ok(x.clone()),
        }
    }

    /// The channels that are of the image, of a prediction that may have a variance beside it.
    fn image_channels(&self, y: Tensor) -> Result<Tensor> {
        match y.dims()[1] == self.channels {
            true => Ok(y),
            false => y.narrow(1, 0, self.channels)?.contiguous(),
        }
    }
}

fn popped(skips: &mut Vec<Tensor>) -> Result<Tensor> {
    match skips.pop() {
        Some(skip) => Ok(skip),
        None => candle_core::bail!("UNet: the way up asks for more than the way down left"),
    }
}

impl Layer for UNetAt {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let mut h = self.conv_in.eval(&self.centered(x)?)?;
        let mut skips = vec![h.clone()];
        for layer in &self.down {
            h = layer.eval(&h)?;
            skips.push(h.clone());
        }
        for layer in &self.middle {
            h = layer.eval(&h)?;
        }
        for (layer, joins) in &self.up {
            if *joins {
                h = side_by_side(&[h, popped(&mut skips)?])?;
            }
            h = layer.eval(&h)?;
        }
        self.image_channels(self.out.eval(&h)?)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let unit = |layer: &Arc<dyn Layer>, parts| joined(layer, parts, self.recompute);
        let (mut h, pull_in) = self.conv_in.vjp(&self.centered(x)?)?;
        let mut skips = vec![h.clone()];
        let mut down = Vec::with_capacity(self.down.len());
        for layer in &self.down {
            let (y, pullback) = unit(layer, vec![h])?;
            down.push(pullback);
            skips.push(y.clone());
            h = y;
        }
        let mut middle = Vec::with_capacity(self.middle.len());
        for layer in &self.middle {
            let (y, pullback) = unit(layer, vec![h])?;
            middle.push(pullback);
            h = y;
        }
        let mut up = Vec::with_capacity(self.up.len());
        for (layer, joins) in &self.up {
            // how many channels came up, where others joined them
            let mut split = None;
            let mut parts = vec![h];
            if *joins {
                split = Some(parts[0].dims()[1]);
                parts.push(popped(&mut skips)?);
            }
            let (y, pullback) = unit(layer, parts)?;
            up.push((pullback, split));
            h = y;
        }
        let (y, pull_out) = unit(&self.out, vec![h])?;
        let (all, channels, center) = (y.dims()[1], self.channels, self.center);
        let y = self.image_channels(y)?;

        let back = move |grad: &Tensor| {
            let grad = match all == channels {
                true => grad.clone(),
                false => grad.pad_with_zeros(1, 0, all - channels)?,
            };
            let mut grad = pull_out(&grad)?;
            // the last to join was the first to be left
            let mut left = Vec::with_capacity(down.len() + 1);
            for (pullback, split) in up.iter().rev() {
                grad = pullback(&grad)?;
                if let Some(came) = *split {
                    let joined = grad.dims()[1] - came;
                    left.push(grad.narrow(1, came, joined)?.contiguous()?);
                    grad = grad.narrow(1, 0, came)?.contiguous()?;
                }
            }
            for pullback in middle.iter().rev() {
                grad = pullback(&grad)?;
            }
            for pullback in down.iter().rev() {
                grad = pullback(&(grad + popped(&mut left)?)?)?;
            }
            grad = pull_in(&(grad + popped(&mut left)?)?)?;
            if center { grad * 2.0 } else { Ok(grad) }
        };
        Ok((y, Box::new(back)))
    }
}
