//! timm's ViTamin (Chen et al. 2024): two stages of inverted bottlenecks in front of a transformer whose MLPs are gated.

use candle_core::Tensor;
use frozen::{
    Activation, Chain, ChannelsFirst, ChannelsLast, Conv2d, Gate, GlobalAvgPool, Layer, LayerNorm,
    Linear, NeighborhoodMean, Parallel, Residual, SelfAttention,
};
use weights::checkpoint::{Branch, CheckpointError};

use super::folded::Folded;
use super::models::vitamin::VitaminTraits;
use super::{check_heads, check_side, count, head};
use crate::config::TimmConfig;
use crate::transformer::{layer_norm, linear};
use crate::trunk::{LayerKind, Trunk};
use crate::vision::{Tokens, transformer_floats};

/// Added to the variance in layer norms.
const EPS: f64 = 1e-6;
/// Side of the convolutions' kernels.
const KERNEL: usize = 3;

type Layers = Vec<Box<dyn Layer>>;

/// Reads a tower: normalised pixels `[batch, 3, size, size]` to embeddings `[batch, projection]`, not yet of unit length.
pub fn read(
    weights: Branch<'_>,
    config: &TimmConfig,
    traits: &VitaminTraits,
    size: usize,
    projection: usize,
) -> Result<Trunk, CheckpointError> {
    let reader = Reader { weights };
    let (mut layers, grid, d, convolutions) = reader.stem(size)?;
    check_side(size, grid)?;
    let last = "visual.trunk.patch_embed.backbone.pool.proj.weight";
    check_heads(weights, config, last, d, traits.heads)?;
    layers.push(Box::new(reader.tokens(traits, grid, d)?));
    let name = |part: &str| format!("visual.trunk.{part}");
    let blocks = count(weights, |index| {
        name(&format!("blocks.{index}.norm1.weight"))
    });
    let [hidden, _] = weights.dims(&name("blocks.0.mlp.w0.weight"))?;
    let mut ends = vec![];
    for index in 0..blocks {
        let at = format!("blocks.{index}");
        layers.push(Box::new(reader.attention(&at, d, traits.heads)?));
        layers.push(Box::new(reader.mlp(&at, d, hidden)?));
        ends.push(layers.len());
    }
    layers.push(Box::new(GlobalAvgPool));
    layers.push(Box::new(reader.norm("fc_norm", d)?));
    layers.extend(head(weights, config, &name("head"), d, projection)?);
    let transformer = transformer_floats(size, grid * grid, d, hidden, traits.heads, blocks);
    let trunk = Trunk::new(layers, LayerKind::Block, ends, transformer + convolutions);
    Ok(trunk.without_class_token())
}

/// Reads parts of a tower.
struct Reader<'a> {
    weights: Branch<'a>,
}

impl Reader<'_> {
    fn get(&self, part: &str, shape: &[usize]) -> Result<Tensor, CheckpointError> {
        self.weights.get(&format!("visual.trunk.{part}"), shape)
    }

    fn has(&self, part: &str) -> bool {
        self.weights.has(&format!("visual.trunk.{part}"))
    }

    /// The output channels of the convolution of that name.
    fn outputs(&self, part: &str) -> Result<usize, CheckpointError> {
        let name = format!("visual.trunk.{part}.weight");
        let [outputs, ..]: [usize; 4] = self.weights.dims(&name)?;
        Ok(outputs)
    }

    fn norm(&self, part: &str, width: usize) -> Result<LayerNorm, CheckpointError> {
        layer_norm(self.weights, &format!("visual.trunk.{part}"), width, EPS)
    }

    fn linear(&self, part: &str, inputs: usize, outputs: usize) -> Result<Linear, CheckpointError> {
        let name = format!("visual.trunk.{part}");
        linear(self.weights, &name, inputs, outputs, true)
    }

    /// The convolution of that name.
    fn conv(&self, part: &str, shape: [usize; 4]) -> Result<Folded, CheckpointError> {
        Folded::conv(self.weights, &format!("visual.trunk.{part}"), shape)
    }

    /// A convolution of a single pixel.
    fn pointwise(
        &self,
        part: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Linear, CheckpointError> {
        Ok(self
            .conv(part, [outputs, inputs, 1, 1])?
            .linear(self.weights)?)
    }

    /// A convolution of all channels, `[batch, channels, height, width]` in and out.
    fn full(
        &self,
        part: &str,
        inputs: usize,
        outputs: usize,
        stride: usize,
    ) -> Result<Conv2d, CheckpointError> {
        let conv = self.conv(part, [outputs, inputs, KERNEL, KERNEL])?;
        Ok(conv.full(self.weights, stride)?)
    }

    /// The layers from pixels to `[batch, d, grid, grid]`, the grid, d, and about how many numbers they keep.
    fn stem(&self, size: usize) -> Result<(Layers, usize, usize, usize), CheckpointError> {
        let part = |part: &str| format!("patch_embed.backbone.{part}");
        let mut channels = self.outputs(&part("stem.conv1"))?;
        let mut layers: Layers = vec![
            Box::new(self.full(&part("stem.conv1"), 3, channels, 2)?),
            Box::new(ChannelsLast),
            Box::new(self.norm(&part("stem.norm1"), channels)?),
            Box::new(Activation::Gelu),
            Box::new(ChannelsFirst),
            Box::new(self.full(&part("stem.conv2"), channels, channels, 1)?),
            Box::new(ChannelsLast),
        ];
        let mut side = size.div_ceil(2);
        let mut floats = 5 * side * side * channels;
        let stages = count(self.weights, |stage| {
            format!(
                "visual.trunk.{}.weight",
                part(&format!("stages.{stage}.0.conv1_1x1"))
            )
        });
        for stage in 0..stages {
            let at = part(&format!("stages.{stage}"));
            let blocks = count(self.weights, |block| {
                format!("visual.trunk.{at}.{block}.conv1_1x1.weight")
            });
            for block in 0..blocks {
                let at = format!("{at}.{block}");
                let middle = self.outputs(&format!("{at}.conv1_1x1"))?;
                let outputs = self.outputs(&format!("{at}.conv3_1x1"))?;
                // the first block halves the image
                let stride = if block == 0 { 2 } else { 1 };
                floats += side * side * (2 * channels + middle);
                side = side.div_ceil(stride);
                floats += side * side * (2 * outputs + middle);
                layers.push(self.bottleneck(&at, [channels, middle, outputs], stride)?);
                channels = outputs;
            }
        }
        let d = self.outputs(&part("pool.proj"))?;
        layers.push(Box::new(self.norm(&part("pool.norm"), channels)?));
        layers.push(Box::new(ChannelsFirst));
        layers.push(Box::new(self.full(&part("pool.proj"), channels, d, 2)?));
        Ok((layers, side.div_ceil(2), d, floats))
    }

    /// An inverted bottleneck, `[batch, height, width, channels]` in and out.
    fn bottleneck(
        &self,
        at: &str,
        [inputs, middle, outputs]: [usize; 3],
        stride: usize,
    ) -> Result<Box<dyn Layer>, CheckpointError> {
        let name = |part: &str| format!("{at}.{part}");
        let depthwise = self.conv(&name("conv2_kxk"), [middle, 1, KERNEL, KERNEL])?;
        let norm = self.norm(&name("pre_norm"), inputs)?;
        let mut shortcut: Layers = vec![];
        if stride > 1 {
            let like = self.get(&name("pre_norm.weight"), &[inputs])?;
            let mean = NeighborhoodMean::new(inputs, KERNEL, stride, &like)?;
            shortcut.push(Box::new(mean));
        }
        if inputs != outputs || self.has(&name("shortcut.expand.weight")) {
            let expand = self.pointwise(&name("shortcut.expand"), inputs, outputs)?;
            shortcut.push(Box::new(expand));
        }
        let branch = Chain::new(vec![
            Box::new(norm),
            Box::new(self.pointwise(&name("conv1_1x1"), inputs, middle)?),
            Box::new(Activation::Gelu),
            Box::new(depthwise.depthwise(self.weights, 1, stride)?),
            Box::new(Activation::Gelu),
            Box::new(self.pointwise(&name("conv3_1x1"), middle, outputs)?),
        ]);
        Ok(if shortcut.is_empty() {
            Box::new(Residual(branch))
        } else {
            Box::new(Parallel(branch, Chain::new(shortcut)))
        })
    }

    /// From patches to tokens.
    fn tokens(
        &self,
        traits: &VitaminTraits,
        grid: usize,
        d: usize,
    ) -> Result<Tokens, CheckpointError> {
        let positions = if traits.positions {
            self.get("pos_embed", &[1, grid * grid, d])?.squeeze(0)?
        } else {
            let like = self.get("fc_norm.weight", &[d])?;
            like.zeros_like()?.expand((grid * grid, d))?.contiguous()?
        };
        Ok(Tokens::without_class(&positions)?)
    }

    /// The residual attention, `[batch, tokens, d]` in and out.
    fn attention(
        &self,
        at: &str,
        d: usize,
        heads: usize,
    ) -> Result<Residual<Chain>, CheckpointError> {
        let name = |part: &str| format!("{at}.{part}");
        let attention = SelfAttention::fused(
            self.get(&name("attn.qkv.weight"), &[3 * d, d])?,
            Some(self.get(&name("attn.qkv.bias"), &[3 * d])?),
            self.linear(&name("attn.proj"), d, d)?,
            heads,
            false,
        )?;
        Ok(Residual(Chain::new(vec![
            Box::new(self.norm(&name("norm1"), d)?),
            Box::new(attention),
        ])))
    }

    /// The residual MLP, which is normalised twice.
    fn mlp(&self, at: &str, d: usize, hidden: usize) -> Result<Residual<Chain>, CheckpointError> {
        let name = |part: &str| format!("{at}.{part}");
        let gate = self.linear(&name("mlp.w0"), d, hidden)?;
        let value = self.linear(&name("mlp.w1"), d, hidden)?;
        Ok(Residual(Chain::new(vec![
            Box::new(self.norm(&name("norm2"), d)?),
            Box::new(self.norm(&name("mlp.norm"), d)?),
            Box::new(gate.beside(&value)?),
            Box::new(Gate(Activation::Gelu)),
            Box::new(self.linear(&name("mlp.w2"), hidden, d)?),
        ])))
    }
}
