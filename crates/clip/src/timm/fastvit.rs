//! The FastViTs of MobileCLIP (Vasu et al. 2023, 2024), as timm names their tensors.
//!
//! They are trained with parallel branches and batch norms, which are folded when they are read: what is left are depthwise convolutions, linear
//! layers, squeeze-and-excitation, and attention in the last stages. Channels come last from the stem on.

use candle_core::{Result as CandleResult, Tensor};
use frozen::{
    Activation, Chain, ChannelsFirst, ChannelsLast, GlobalAvgPool, Layer, Linear, Pullback,
    Residual, SelfAttention, SqueezeExcite,
};
use weights::checkpoint::{Branch, CheckpointError};

use super::folded::{Folded, linear_of_norm};
use super::{count, head};
use crate::config::TimmConfig;
use crate::transformer::layer_norm;
use crate::trunk::{LayerKind, Trunk};

/// Channels of a head of the attention.
const HEAD: usize = 32;
/// Added to the variance in layer norms.
const EPS: f64 = 1e-5;

type Layers = Vec<Box<dyn Layer>>;

/// Reads a tower: normalised pixels `[batch, 3, size, size]` to embeddings `[batch, projection]`, not yet of unit length.
pub fn read(
    weights: Branch<'_>,
    config: &TimmConfig,
    size: usize,
    projection: usize,
) -> Result<Trunk, CheckpointError> {
    let name = |part: &str| format!("visual.trunk.{part}");
    let conv = |part: &str| name(&format!("{part}.conv.weight"));
    let [mut channels, ..]: [usize; 4] = weights.dims(&conv("stem.0.conv_kxk.0"))?;
    let mobile_one = |part: &str, shape| Folded::mobile_one(weights, &name(part), shape);
    let c = channels;
    let mut layers: Layers = vec![
        Box::new(mobile_one("stem.0", [c, 3, 3, 3])?.full(weights, 2)?),
        Box::new(ChannelsLast),
        Box::new(Activation::Gelu),
        Box::new(mobile_one("stem.1", [c, 1, 3, 3])?.depthwise(weights, 1, 2)?),
        Box::new(Activation::Gelu),
        Box::new(mobile_one("stem.2", [c, c, 1, 1])?.linear(weights)?),
        Box::new(Activation::Gelu),
    ];
    let mut side = size.div_ceil(2);
    let mut floats = 6 * size * size + 4 * side * side * c;
    side = side.div_ceil(2);
    floats += 4 * side * side * c;
    let mut ends = vec![];
    let stages = count(weights, |stage| {
        conv(&format!("stages.{stage}.blocks.0.mlp.conv"))
    });
    for stage in 0..stages {
        let at = name(&format!("stages.{stage}"));
        let down = format!("{at}.downsample.proj.0.large_conv.conv.weight");
        if weights.has(&down) {
            let [outputs, ..]: [usize; 4] = weights.dims(&down)?;
            layers.extend(downsample(weights, &at, channels, outputs)?);
            (channels, side) = (outputs, side.div_ceil(2));
            floats += 4 * side * side * channels;
        }
        let position = format!("{at}.pos_emb.pos_enc");
        if weights.has(&format!("{position}.weight")) {
            let [_, _, kernel, _] = weights.dims(&format!("{position}.weight"))?;
            let position = Folded::conv(weights, &position, [channels, 1, kernel, kernel])?;
            layers.push(Box::new(position.residual()?.depthwise(weights, 1, 1)?));
        }
        let blocks = count(weights, |block| {
            format!("{at}.blocks.{block}.mlp.conv.conv.weight")
        });
        let [hidden, ..]: [usize; 4] = weights.dims(&format!("{at}.blocks.0.mlp.fc1.weight"))?;
        for index in 0..blocks {
            let at = format!("{at}.blocks.{index}");
            let gamma = if weights.has(&format!("{at}.token_mixer.qkv.weight")) {
                layers.push(Box::new(attention(weights, &at, channels)?));
                floats += 6 * side * side * channels + channels.div_ceil(HEAD) * side.pow(4);
                "layer_scale_2.gamma"
            } else {
                layers.push(Box::new(mixer(weights, &at, channels)?));
                "layer_scale.gamma"
            };
            layers.push(Box::new(mlp(weights, &at, gamma, channels, hidden)?));
        }
        floats += blocks * side * side * (4 * channels + hidden) + 2 * side * side * hidden;
        // a numbered layer's value is an image with channels first; both are views of one memory
        layers.push(Box::new(ChannelsFirst));
        ends.push(layers.len());
        layers.push(Box::new(ChannelsLast));
    }
    let [features, _, kernel, _] = weights.dims(&conv("final_conv.conv_kxk.0"))?;
    let last = mobile_one("final_conv", [features, 1, kernel, kernel])?;
    layers.push(widen(weights, last, [channels, features], 1)?);
    layers.extend(excitation(weights, &name("final_conv.se"), features)?);
    layers.push(Box::new(Activation::Gelu));
    layers.push(Box::new(GlobalAvgPool));
    layers.extend(head(
        weights,
        config,
        &name("head.fc"),
        features,
        projection,
    )?);
    Ok(Trunk::new(layers, LayerKind::Stage, ends, floats))
}

/// The depthwise convolution of a number of channels to a multiple of it.
fn widen(
    weights: Branch<'_>,
    conv: Folded,
    [inputs, outputs]: [usize; 2],
    stride: usize,
) -> Result<Box<dyn Layer>, CheckpointError> {
    divides("depthwise convolution", inputs, outputs)?;
    Ok(Box::new(conv.depthwise(
        weights,
        outputs / inputs,
        stride,
    )?))
}

/// Refuses channels that are no multiple of others.
fn divides(what: &str, part: usize, channels: usize) -> Result<(), CheckpointError> {
    if channels.is_multiple_of(part) {
        return Ok(());
    }
    let what = format!("{channels} channels of a FastViT's {what} are no multiple of {part}");
    Err(candle_core::Error::Msg(what).into())
}

/// The layers that halve an image between two stages.
fn downsample(
    weights: Branch<'_>,
    stage: &str,
    inputs: usize,
    outputs: usize,
) -> Result<Layers, CheckpointError> {
    let at = format!("{stage}.downsample.proj.0");
    let part = |part: &str| {
        let at = format!("{at}.{part}");
        let [_, _, kernel, _] = weights.dims(&format!("{at}.conv.weight"))?;
        Folded::conv_norm(weights, &at, [outputs, 1, kernel, kernel])
    };
    let large = part("large_conv")?.plus(&part("small_conv")?)?;
    let mut layers: Layers = vec![widen(weights, large, [inputs, outputs], 2)?];
    layers.extend(excitation(weights, &format!("{at}.se"), outputs)?);
    layers.push(Box::new(Activation::Gelu));
    let shape = [outputs, outputs, 1, 1];
    let mix = Folded::mobile_one(weights, &format!("{stage}.downsample.proj.1"), shape)?;
    layers.push(Box::new(mix.linear(weights)?));
    layers.push(Box::new(Activation::Gelu));
    Ok(layers)
}

/// Squeeze-and-excitation, where there is one.
fn excitation(
    weights: Branch<'_>,
    at: &str,
    channels: usize,
) -> Result<Option<Box<dyn Layer>>, CheckpointError> {
    let name = |part: &str| format!("{at}.{part}");
    if !weights.has(&name("fc1.weight")) {
        return Ok(None);
    }
    let [reduced, ..]: [usize; 4] = weights.dims(&name("fc1.weight"))?;
    let reduce = pointwise(weights, &name("fc1"), channels, reduced)?;
    let expand = pointwise(weights, &name("fc2"), reduced, channels)?;
    Ok(Some(Box::new(SqueezeExcite::new(reduce, expand)?)))
}

/// The convolution of a single pixel of that name.
fn pointwise(
    weights: Branch<'_>,
    name: &str,
    inputs: usize,
    outputs: usize,
) -> Result<Linear, CheckpointError> {
    Ok(Folded::conv(weights, name, [outputs, inputs, 1, 1])?.linear(weights)?)
}

/// RepMixer, `x + gamma (mixer(x) - norm(x))`: a depthwise convolution.
fn mixer(
    weights: Branch<'_>,
    block: &str,
    channels: usize,
) -> Result<impl Layer + use<>, CheckpointError> {
    let name = |part: &str| format!("{block}.token_mixer.{part}");
    let [_, _, kernel, _] = weights.dims(&name("mixer.conv_kxk.0.conv.weight"))?;
    let shape = [channels, 1, kernel, kernel];
    let mixer = Folded::mobile_one(weights, &name("mixer"), shape)?;
    let norm = Folded::norm(weights, &name("norm.identity"), shape)?;
    let mixed = mixer
        .minus(&norm)?
        .scaled(weights, &name("layer_scale.gamma"))?;
    Ok(mixed.residual()?.depthwise(weights, 1, 1)?)
}

/// The MLP of every pixel, which sees its neighbourhood.
fn mlp(
    weights: Branch<'_>,
    block: &str,
    gamma: &str,
    channels: usize,
    hidden: usize,
) -> Result<Residual<Chain>, CheckpointError> {
    let name = |part: &str| format!("{block}.{part}");
    let [_, _, kernel, _] = weights.dims(&name("mlp.conv.conv.weight"))?;
    let conv = Folded::conv_norm(weights, &name("mlp.conv"), [channels, 1, kernel, kernel])?;
    let down = Folded::conv(weights, &name("mlp.fc2"), [channels, hidden, 1, 1])?;
    Ok(Residual(Chain::new(vec![
        Box::new(conv.depthwise(weights, 1, 1)?),
        Box::new(pointwise(weights, &name("mlp.fc1"), channels, hidden)?),
        Box::new(Activation::Gelu),
        Box::new(down.scaled(weights, &name(gamma))?.linear(weights)?),
    ])))
}

/// Attention of all pixels, behind a norm: a batch norm, which is folded, or a layer norm.
fn attention(
    weights: Branch<'_>,
    block: &str,
    channels: usize,
) -> Result<Residual<OfPixels>, CheckpointError> {
    let name = |part: &str| format!("{block}.{part}");
    let (qkv, norm) = (name("token_mixer.qkv"), name("norm"));
    let shape = [3 * channels, channels];
    let out = linear_scaled(weights, &name("token_mixer.proj"), channels, block)?;
    let mut layers: Layers = vec![];
    let (weight, bias) = if weights.has(&format!("{norm}.running_mean")) {
        let (weight, bias) = linear_of_norm(weights, &qkv, &norm, shape)?;
        (weight, Some(bias))
    } else {
        layers.push(Box::new(layer_norm(weights, &norm, channels, EPS)?));
        (weights.get(&format!("{qkv}.weight"), &shape)?, None)
    };
    divides("attention", HEAD, channels)?;
    let heads = channels / HEAD;
    layers.push(Box::new(SelfAttention::fused(
        weight, bias, out, heads, false,
    )?));
    Ok(Residual(OfPixels(Chain::new(layers))))
}

/// The last layer of an attention, scaled by channel.
fn linear_scaled(
    weights: Branch<'_>,
    name: &str,
    channels: usize,
    block: &str,
) -> Result<Linear, CheckpointError> {
    let weight = weights.get(&format!("{name}.weight"), &[channels, channels])?;
    let bias = weights.get(&format!("{name}.bias"), &[channels])?;
    let gamma = weights.get(&format!("{block}.layer_scale_1.gamma"), &[channels, 1, 1])?;
    let weight = weight.broadcast_mul(&gamma.flatten_from(1)?)?;
    Ok(Linear::new(weight, Some((bias * gamma.flatten_all()?)?))?)
}

/// Layers of tokens, `[batch, tokens, channels]`, applied to the pixels of `[batch, height, width, channels]`.
struct OfPixels(Chain);

impl Layer for OfPixels {
    fn eval(&self, x: &Tensor) -> CandleResult<Tensor> {
        self.0.eval(&x.flatten(1, 2)?)?.reshape(x.shape())
    }

    fn vjp(&self, x: &Tensor) -> CandleResult<(Tensor, Pullback)> {
        let shape = x.shape().clone();
        let (y, pullback) = self.0.vjp(&x.flatten(1, 2)?)?;
        let pixels = y.reshape(&shape)?;
        let back = move |grad: &Tensor| pullback(&grad.flatten(1, 2)?)?.reshape(&shape);
        Ok((pixels, Box::new(back)))
    }
}
