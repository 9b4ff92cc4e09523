//! timm's vision transformers.

use frozen::{Chain, Conv2d, Conv2dOptions, Layer, Residual, SelfAttention};
use weights::checkpoint::{Branch, CheckpointError};

use super::models::Pool;
use super::models::vit::VitTraits;
use super::{count, head};
use crate::config::TimmConfig;
use crate::transformer::{FirstToken, layer_norm, linear};
use crate::trunk::{LayerKind, Trunk};
use crate::vision::{Tokens, transformer_floats};

/// Reads a tower: normalised pixels `[batch, 3, size, size]` to embeddings `[batch, projection]`, not yet of unit length.
pub fn read(
    weights: Branch<'_>,
    config: &TimmConfig,
    traits: &VitTraits,
    size: usize,
    projection: usize,
) -> Result<Trunk, CheckpointError> {
    let name = |part: &str| format!("visual.trunk.{part}");
    let [d, _, patch, _] = weights.dims(&name("patch_embed.proj.weight"))?;
    let grid = size / patch;
    let patches = weights.get(&name("patch_embed.proj.weight"), &[d, 3, patch, patch])?;
    let bias = (!traits.pre_norm).then(|| weights.get(&name("patch_embed.proj.bias"), &[d]));
    let options = Conv2dOptions {
        stride: patch,
        ..Conv2dOptions::default()
    };
    let class = weights.get(&name("cls_token"), &[1, 1, d])?;
    let positions = weights.get(&name("pos_embed"), &[1, grid * grid + 1, d])?;
    let mut layers: Vec<Box<dyn Layer>> = vec![
        Box::new(Conv2d::new(patches, bias.transpose()?, options)?),
        Box::new(Tokens::new(&class.flatten_all()?, &positions.squeeze(0)?)?),
    ];
    let norm = |part: &str| layer_norm(weights, &name(part), d, traits.eps);
    if traits.pre_norm {
        layers.push(Box::new(norm("norm_pre")?));
    }
    let blocks = count(weights, |index| {
        name(&format!("blocks.{index}.norm1.weight"))
    });
    let [hidden, _] = weights.dims(&name("blocks.0.mlp.fc1.weight"))?;
    let mut ends = vec![];
    let mut narrows = None;
    for index in 0..blocks {
        let [attention, mlp] = block(
            weights,
            traits,
            &name(&format!("blocks.{index}")),
            d,
            hidden,
        )?;
        layers.push(Box::new(attention));
        // of the last block's output only the class token is used
        if index + 1 == blocks && config.pool == Pool::Token {
            narrows = Some(layers.len());
            layers.push(Box::new(FirstToken));
        }
        layers.push(Box::new(mlp));
        ends.push(layers.len());
    }
    layers.push(Box::new(norm("norm")?));
    layers.extend(head(weights, config, &name("head"), d, projection)?);
    let floats = transformer_floats(size, grid * grid + 1, d, hidden, traits.heads, blocks);
    let trunk = Trunk::new(layers, LayerKind::Block, ends, floats);
    Ok(match narrows {
        Some(index) => trunk.narrowing(index),
        None => trunk,
    })
}

/// The attention and the MLP of a block, both residual, `[batch, tokens, d]` in and out.
fn block(
    weights: Branch<'_>,
    traits: &VitTraits,
    at: &str,
    d: usize,
    hidden: usize,
) -> Result<[Residual<Chain>; 2], CheckpointError> {
    let name = |part: &str| format!("{at}.{part}");
    let norm = |part: &str| layer_norm(weights, &name(part), d, traits.eps);
    let attention = SelfAttention::fused(
        weights.get(&name("attn.qkv.weight"), &[3 * d, d])?,
        Some(weights.get(&name("attn.qkv.bias"), &[3 * d])?),
        linear(weights, &name("attn.proj"), d, d, true)?,
        traits.heads,
        false,
    )?;
    Ok([
        Residual(Chain::new(vec![
            Box::new(norm("norm1")?),
            Box::new(attention),
        ])),
        Residual(Chain::new(vec![
            Box::new(norm("norm2")?),
            Box::new(linear(weights, &name("mlp.fc1"), d, hidden, true)?),
            Box::new(traits.activation),
            Box::new(linear(weights, &name("mlp.fc2"), hidden, d, true)?),
        ])),
    ])
}
