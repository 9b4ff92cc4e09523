//! A U-Net's parts from a checkpoint.

use frozen::{Conv2dOptions, Pad};
use weights::checkpoint::Branch;

use super::config::{AttentionKind, BlockKind, UNetConfig};
use super::{Attention, Unit};
use crate::diffusion::blocks::{PixelAttention, Resize, Resnet, ResnetStyle};
use crate::diffusion::error::ModelError;
use crate::diffusion::transformer::{Transformer, TransformerStyle};
use crate::layers::{Loaded, NormStyle, conv, conv_with};

pub(super) struct Builder<'a> {
    pub weights: Branch<'a>,
    pub config: &'a UNetConfig,
    pub style: ResnetStyle,
}

impl Builder<'_> {
    fn resnet(&self, key: &str, channels: [usize; 2], resize: Option<Resize>) -> Loaded<Resnet> {
        Resnet::load(self.weights, key, channels, self.style, resize, 1.0)
    }

    fn pixels(&self, key: &str, channels: usize) -> Loaded<PixelAttention> {
        let head = self.config.head(channels);
        let norm = Some(self.style.norm);
        PixelAttention::load(self.weights, key, channels, head, norm, 1.0)
    }

    /// The transformer at a resolution, counted from fine to coarse.
    fn transformer(&self, key: &str, channels: usize, resolution: usize) -> Loaded<Transformer> {
        let config = self.config;
        let style = TransformerStyle {
            groups: config.norm_num_groups,
            heads: config.heads(resolution),
            context: config.context().unwrap_or(channels),
            layers: (config.transformer_layers_per_block)
                .get(resolution)
                .unwrap_or(1),
            linear: config.use_linear_projection,
        };
        Transformer::load(self.weights, key, channels, style)
    }

    /// The residual block of that number and what follows it; the resolution is counted from fine to coarse.
    fn block(
        &self,
        key: &str,
        layer: usize,
        channels: [usize; 2],
        kind: BlockKind,
        resolution: usize,
    ) -> Loaded<Unit> {
        let at = format!("{key}.attentions.{layer}");
        Ok(Unit::Block {
            resnet: self.resnet(&format!("{key}.resnets.{layer}"), channels, None)?,
            attention: match kind.attention {
                AttentionKind::None => None,
                AttentionKind::Pixels => Some(Attention::Pixels(self.pixels(&at, channels[1])?)),
                AttentionKind::Cross => {
                    let transformer = self.transformer(&at, channels[1], resolution)?;
                    Some(Attention::Cross(transformer))
                }
            },
        })
    }

    pub fn down(&self) -> Result<Vec<Unit>, ModelError> {
        let config = self.config;
        let mut units = vec![];
        let mut input = config.block_out_channels[0];
        let blocks = config
            .down_block_types
            .iter()
            .zip(&config.block_out_channels);
        for (i, (name, &width)) in blocks.enumerate() {
            let kind = config.kind(name, "Down")?;
            let key = format!("down_blocks.{i}");
            for layer in 0..config.layers_per_block {
                units.push(self.block(&key, layer, [input, width], kind, i)?);
                input = width;
            }
            if i + 1 == config.block_out_channels.len() {
                continue;
            }
            let key = format!("{key}.downsamplers.0");
            units.push(if kind.resnet {
                Unit::Resize(self.resnet(&key, [width, width], Some(Resize::Halve))?)
            } else {
                let options = Conv2dOptions {
                    stride: 2,
                    padding: config.downsample_padding,
                    groups: 1,
                };
                let key = format!("{key}.conv");
                let wrap = self.style.wrap;
                Unit::Down {
                    conv: conv_with(self.weights, &key, [width, width], 3, options)?.wrapping(wrap),
                    pad: (config.downsample_padding == 0).then(|| Pad::new([0, 1], [0, 1], wrap)),
                }
            });
        }
        Ok(units)
    }

    pub fn middle(&self, width: usize) -> Loaded<Vec<Unit>> {
        let config = self.config;
        let divisor = config.mid_block_scale_factor;
        let (weights, style) = (self.weights, self.style);
        let resnet = |i: usize| {
            let key = format!("mid_block.resnets.{i}");
            Resnet::load(weights, &key, [width, width], style, None, divisor)
        };
        let key = "mid_block.attentions.0";
        let attention = if config.conditional() {
            let last = config.block_out_channels.len() - 1;
            Some(Attention::Cross(self.transformer(key, width, last)?))
        } else if config.add_attention {
            let (head, eps) = (config.head(width), config.norm_eps);
            // with `scale_shift` there is no normalisation unless its groups are given
            let default = (!style.scale_shift).then_some(config.norm_num_groups);
            let groups = config.attn_norm_num_groups.or(default);
            let norm = groups.map(|groups| NormStyle { groups, eps });
            let attention = PixelAttention::load(weights, key, width, head, norm, divisor)?;
            Some(Attention::Pixels(attention))
        } else {
            None
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

    pub fn up(&self) -> Result<Vec<(Unit, bool)>, ModelError> {
        let config = self.config;
        let widths: Vec<usize> = config.block_out_channels.iter().rev().copied().collect();
        let mut units = vec![];
        let mut before = widths[0];
        for (i, (name, &width)) in config.up_block_types.iter().zip(&widths).enumerate() {
            let kind = config.kind(name, "Up")?;
            let key = format!("up_blocks.{i}");
            // the last residual block takes the skip connection from the input of this resolution
            let finer = widths[(i + 1).min(widths.len() - 1)];
            for layer in 0..=config.layers_per_block {
                let skip = if layer == config.layers_per_block {
                    finer
                } else {
                    width
                };
                let channels = [before + skip, width];
                let resolution = widths.len() - 1 - i;
                units.push((self.block(&key, layer, channels, kind, resolution)?, true));
                before = width;
            }
            if i + 1 == widths.len() {
                continue;
            }
            let key = format!("{key}.upsamplers.0");
            let unit = if kind.resnet {
                Unit::Resize(self.resnet(&key, [width, width], Some(Resize::Double))?)
            } else {
                let key = format!("{key}.conv");
                Unit::Up(conv(self.weights, &key, [width, width], 3)?.wrapping(self.style.wrap))
            };
            units.push((unit, false));
        }
        Ok(units)
    }
}
