//! timm's ConvNeXt (Liu et al. 2022): four stages of depthwise convolutions, each with an MLP for every pixel.
//!
//! Channels come last from the stem on: the MLPs are linear layers, and the norms are layer norms.

use frozen::{
    Activation, Chain, ChannelsFirst, ChannelsLast, Conv2d, Conv2dOptions, GlobalAvgPool, Layer,
    Linear, Residual, SpaceToDepth,
};
use weights::checkpoint::{Branch, CheckpointError};

use super::folded::Folded;
use super::models::convnext::ConvNextTraits;
use super::{count, head};
use crate::config::TimmConfig;
use crate::transformer::{layer_norm, linear, scaled_linear};
use crate::trunk::{LayerKind, Trunk};

/// Pixels a side of the squares that a downsampling takes together.
const DOWN: usize = 2;

/// Reads a tower: normalised pixels `[batch, 3, size, size]` to embeddings `[batch, projection]`, not yet of unit length.
pub fn read(
    weights: Branch<'_>,
    config: &TimmConfig,
    traits: &ConvNextTraits,
    size: usize,
    projection: usize,
) -> Result<Trunk, CheckpointError> {
    let name = |part: &str| format!("visual.trunk.{part}");
    let norm = |part: &str, channels| layer_norm(weights, &name(part), channels, traits.eps);
    let [mut channels, _, patch, _] = weights.dims(&name("stem.0.weight"))?;
    let stem = weights.get(&name("stem.0.weight"), &[channels, 3, patch, patch])?;
    let bias = weights.get(&name("stem.0.bias"), &[channels])?;
    let options = Conv2dOptions {
        stride: patch,
        ..Conv2dOptions::default()
    };
    let mut layers: Vec<Box<dyn Layer>> = vec![
        Box::new(Conv2d::new(stem, Some(bias), options)?),
        Box::new(ChannelsLast),
        Box::new(norm("stem.1", channels)?),
    ];
    let mut side = size / patch;
    let mut floats = 6 * size * size;
    let mut ends = vec![];
    let stages = count(weights, |stage| {
        name(&format!("stages.{stage}.blocks.0.conv_dw.weight"))
    });
    for stage in 0..stages {
        let at = format!("stages.{stage}");
        if stage > 0 {
            let down = name(&format!("{at}.downsample.1"));
            let [outputs, ..]: [usize; 4] = weights.dims(&format!("{down}.weight"))?;
            layers.push(Box::new(norm(&format!("{at}.downsample.0"), channels)?));
            layers.push(Box::new(SpaceToDepth::new(DOWN)?));
            layers.push(Box::new(squares(weights, &down, channels, outputs)?));
            floats += 3 * side * side * channels;
            (channels, side) = (outputs, side / DOWN);
        }
        let blocks = count(weights, |block| {
            name(&format!("{at}.blocks.{block}.conv_dw.weight"))
        });
        let [hidden, ..]: [usize; 2] =
            weights.dims(&name(&format!("{at}.blocks.0.mlp.fc1.weight")))?;
        for index in 0..blocks {
            let at = name(&format!("{at}.blocks.{index}"));
            layers.push(Box::new(block(weights, traits, &at, channels, hidden)?));
        }
        floats += blocks * side * side * (4 * channels + hidden) + 2 * side * side * hidden;
        // a numbered layer's value is an image with channels first; both are views of one memory
        layers.push(Box::new(ChannelsFirst));
        ends.push(layers.len());
        layers.push(Box::new(ChannelsLast));
    }
    super::check_side(size, side)?;
    layers.push(Box::new(GlobalAvgPool));
    layers.push(Box::new(norm("head.norm", channels)?));
    layers.extend(head(
        weights,
        config,
        &name("head.fc"),
        channels,
        projection,
    )?);
    Ok(Trunk::new(layers, LayerKind::Stage, ends, floats))
}

/// A block, `[batch, height, width, channels]` in and out.
fn block(
    weights: Branch<'_>,
    traits: &ConvNextTraits,
    at: &str,
    channels: usize,
    hidden: usize,
) -> Result<Residual<Chain>, CheckpointError> {
    let name = |part: &str| format!("{at}.{part}");
    let [_, _, kernel, _] = weights.dims(&name("conv_dw.weight"))?;
    let depthwise = Folded::conv(weights, &name("conv_dw"), [channels, 1, kernel, kernel])?;
    Ok(Residual(Chain::new(vec![
        Box::new(depthwise.depthwise(weights, 1, 1)?),
        Box::new(layer_norm(weights, &name("norm"), channels, traits.eps)?),
        Box::new(linear(weights, &name("mlp.fc1"), channels, hidden, true)?),
        Box::new(Activation::Gelu),
        Box::new(scaled_linear(
            weights,
            &name("mlp.fc2"),
            hidden,
            channels,
            Some(&name("gamma")),
        )?),
    ])))
}

/// The convolution of that name, whose stride is its size, as a linear layer of the squares of [`SpaceToDepth`].
fn squares(
    weights: Branch<'_>,
    name: &str,
    inputs: usize,
    outputs: usize,
) -> Result<Linear, CheckpointError> {
    let weight = weights.get(&format!("{name}.weight"), &[outputs, inputs, DOWN, DOWN])?;
    let weight = weight.permute((0, 2, 3, 1))?.contiguous()?;
    let bias = weights.get(&format!("{name}.bias"), &[outputs])?;
    Ok(Linear::new(weight.flatten_from(1)?, Some(bias))?)
}
