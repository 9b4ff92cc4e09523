//! timm's vision transformers.

use candle_core::Tensor;
use frozen::{
    Activation, Chain, Conv2d, Conv2dOptions, Gate, Layer, Linear, Residual, Rope, SelfAttention,
};
use weights::checkpoint::{Branch, CheckpointError};

use super::models::Pool;
use super::models::vit::{Block, ClassToken, RopeTraits, Stem, VitTraits};
use super::{check_heads, count, folded, head};
use crate::config::TimmConfig;
use crate::map_head::map_head;
use crate::transformer::{FirstToken, layer_norm, linear, mlp};
use crate::trunk::{LayerKind, Trunk};
use crate::vision::{Tokens, transformer_floats};

/// The base of the frequencies of rotary positions.
const TEMPERATURE: f64 = 10_000.0;

/// Reads a tower: normalised pixels `[batch, 3, size, size]` to embeddings `[batch, projection]`, not yet of unit length.
pub fn read(
    weights: Branch<'_>,
    config: &TimmConfig,
    traits: &VitTraits,
    size: usize,
    projection: usize,
) -> Result<Trunk, CheckpointError> {
    let name = |part: &str| format!("visual.trunk.{part}");
    let norm = |part: &str, d| layer_norm(weights, &name(part), d, traits.eps);
    let [_, _, d] = weights.dims(&name("pos_embed"))?;
    for heads in [Some(traits.heads), traits.pool_heads]
        .into_iter()
        .flatten()
    {
        check_heads(weights, config, &name("pos_embed"), d, heads)?;
    }
    let (mut layers, patch) = stem(weights, traits.stem, d)?;
    let grid = size / patch;
    let tokens = tokens(weights, traits.class, grid, d)?;
    let count_of_tokens = tokens.count();
    layers.push(Box::new(tokens));
    if traits.pre_norm {
        layers.push(Box::new(norm("norm_pre", d)?));
    }
    let blocks = count(weights, |index| {
        name(&format!("blocks.{index}.norm1.weight"))
    });
    let up = match traits.block {
        Block::Eva02 => "blocks.0.mlp.fc1_x.weight",
        Block::Plain | Block::Eva { .. } => "blocks.0.mlp.fc1.weight",
    };
    let [hidden, _] = weights.dims(&name(up))?;
    let rope = match &traits.rope {
        None => None,
        Some(rope) => {
            let like = weights.get(&name("norm.weight"), &[d])?;
            let class = traits.class != ClassToken::None;
            Some(rotation(rope, grid, d / traits.heads, class, &like)?)
        }
    };
    let mut ends = vec![];
    let mut narrows = None;
    for index in 0..blocks {
        let block = BlockReader {
            weights,
            traits,
            at: name(&format!("blocks.{index}")),
            d,
            hidden,
            rope: rope.as_ref(),
        };
        layers.push(Box::new(block.attention()?));
        // of the last block's output only the class token is used
        if index + 1 == blocks && config.pool == Pool::Token {
            narrows = Some(layers.len());
            layers.push(Box::new(FirstToken));
        }
        layers.push(Box::new(block.mlp()?));
        ends.push(layers.len());
    }
    layers.push(Box::new(norm("norm", d)?));
    if let (Pool::Map, Some(heads)) = (config.pool, traits.pool_heads) {
        layers.extend(pool(weights, traits, heads, d)?);
    }
    layers.extend(head(weights, config, &name("head"), d, projection)?);
    // a gate, what it lets through, and their norm take the room of two hidden layers
    let wide = match traits.block {
        Block::Eva02 => 2 * hidden,
        Block::Plain | Block::Eva { .. } => hidden,
    };
    let floats = transformer_floats(size, count_of_tokens, d, wide, traits.heads, blocks);
    let trunk = Trunk::new(layers, LayerKind::Block, ends, floats);
    let trunk = match traits.class {
        ClassToken::None => trunk.without_class_token(),
        ClassToken::WithPosition | ClassToken::WithoutPosition => trunk,
    };
    Ok(match narrows {
        Some(index) => trunk.narrowing(index),
        None => trunk,
    })
}

/// The layers from pixels to patches `[batch, d, grid, grid]`, and the side of a patch in pixels.
fn stem(
    weights: Branch<'_>,
    stem: Stem,
    d: usize,
) -> Result<(Vec<Box<dyn Layer>>, usize), CheckpointError> {
    let name = |part: &str| format!("visual.trunk.patch_embed.{part}");
    // a convolution as wide as its stride; the last has as many outputs as tokens have channels
    let kernel = |part: &str, inputs: usize, outputs: Option<usize>| {
        let [found, _, side, _] = weights.dims(&name(part))?;
        let outputs = outputs.unwrap_or(found);
        let weight = weights.get(&name(part), &[outputs, inputs, side, side])?;
        let options = Conv2dOptions {
            stride: side,
            ..Conv2dOptions::default()
        };
        Ok::<_, CheckpointError>((weight, outputs, options))
    };
    match stem {
        Stem::Patches { bias } => {
            let (weight, _, options) = kernel("proj.weight", 3, Some(d))?;
            let bias = bias.then(|| weights.get(&name("proj.bias"), &[d]));
            let conv = Conv2d::new(weight, bias.transpose()?, options)?;
            Ok((vec![Box::new(conv)], options.stride))
        }
        Stem::Convolutions => {
            let mut layers: Vec<Box<dyn Layer>> = vec![];
            let (mut channels, mut patch) = (3, 1);
            for index in 0..2 {
                let (weight, outputs, options) =
                    kernel(&format!("backbone.{index}.conv.weight"), channels, None)?;
                let norm = |part: &str| {
                    weights.get(&name(&format!("backbone.{index}.bn.{part}")), &[outputs])
                };
                layers.push(Box::new(Conv2d::folded(
                    weight,
                    None,
                    &norm("weight")?,
                    &norm("bias")?,
                    &norm("running_mean")?,
                    &norm("running_var")?,
                    folded::EPS,
                    options,
                )?));
                layers.push(Box::new(Activation::Gelu));
                channels = outputs;
                patch *= options.stride;
            }
            let (weight, _, options) = kernel("backbone.2.conv.weight", channels, Some(d))?;
            let bias = weights.get(&name("backbone.2.conv.bias"), &[d])?;
            layers.push(Box::new(Conv2d::new(weight, Some(bias), options)?));
            Ok((layers, patch * options.stride))
        }
    }
}

/// From patches to tokens with their learned positions.
fn tokens(
    weights: Branch<'_>,
    class: ClassToken,
    grid: usize,
    d: usize,
) -> Result<Tokens, CheckpointError> {
    let extra = usize::from(class == ClassToken::WithPosition);
    let positions = weights.get("visual.trunk.pos_embed", &[1, grid * grid + extra, d])?;
    let positions = positions.squeeze(0)?;
    if class == ClassToken::None {
        return Ok(Tokens::without_class(&positions)?);
    }
    let token = weights.get("visual.trunk.cls_token", &[1, 1, d])?;
    let token = token.flatten_all()?;
    Ok(match class {
        ClassToken::WithPosition => Tokens::new(&token, &positions)?,
        _ => Tokens::with_class(&token, &positions)?,
    })
}

/// Attention pooling, `[batch, tokens, d]` to `[batch, d]`.
fn pool(
    weights: Branch<'_>,
    traits: &VitTraits,
    heads: usize,
    d: usize,
) -> Result<Vec<Box<dyn Layer>>, CheckpointError> {
    let name = |part: &str| format!("visual.trunk.attn_pool.{part}");
    let latent = weights.get(&name("latent"), &[1, 1, d])?;
    let linear = |part: &str, outputs| linear(weights, &name(part), d, outputs, true);
    let [hidden, _] = weights.dims(&name("mlp.fc1.weight"))?;
    let kv = (
        weights.get(&name("kv.weight"), &[2 * d, d])?,
        weights.get(&name("kv.bias"), &[2 * d])?,
    );
    let mlp = mlp(
        weights,
        [&name("norm"), &name("mlp.fc1"), &name("mlp.fc2")],
        [d, hidden],
        traits.activation,
        traits.eps,
    )?;
    let query = linear("q", d)?.eval(&latent.squeeze(0)?)?.squeeze(0)?;
    Ok(map_head(
        &query,
        &kv.0,
        &kv.1,
        heads,
        linear("proj", d)?,
        mlp,
    )?)
}

/// Reads a block.
struct BlockReader<'a> {
    weights: Branch<'a>,
    traits: &'a VitTraits,
    /// What the names of its tensors begin with.
    at: String,
    d: usize,
    hidden: usize,
    rope: Option<&'a Rope>,
}

impl BlockReader<'_> {
    fn name(&self, part: &str) -> String {
        format!("{}.{part}", self.at)
    }

    fn linear(&self, part: &str, inputs: usize, outputs: usize) -> Result<Linear, CheckpointError> {
        linear(self.weights, &self.name(part), inputs, outputs, true)
    }

    fn norm(&self, part: &str, width: usize) -> Result<frozen::LayerNorm, CheckpointError> {
        layer_norm(self.weights, &self.name(part), width, self.traits.eps)
    }

    /// The residual attention, `[batch, tokens, d]` in and out.
    fn attention(&self) -> Result<Residual<Chain>, CheckpointError> {
        let (d, heads) = (self.d, self.traits.heads);
        let get = |part: &str, shape: &[usize]| self.weights.get(&self.name(part), shape);
        let out = self.linear("attn.proj", d, d)?;
        let mut attention = match self.traits.block {
            Block::Plain => SelfAttention::fused(
                get("attn.qkv.weight", &[3 * d, d])?,
                Some(get("attn.qkv.bias", &[3 * d])?),
                out,
                heads,
                false,
            )?,
            Block::Eva { .. } => {
                let (q, v) = (get("attn.q_bias", &[d])?, get("attn.v_bias", &[d])?);
                let bias = Tensor::cat(&[&q, &q.zeros_like()?, &v], 0)?;
                let weight = get("attn.qkv.weight", &[3 * d, d])?;
                SelfAttention::fused(weight, Some(bias), out, heads, false)?
            }
            Block::Eva02 => {
                let part = |part: &str, bias| linear(self.weights, &self.name(part), d, d, bias);
                SelfAttention::new(
                    part("attn.q_proj", true)?,
                    part("attn.k_proj", false)?,
                    part("attn.v_proj", true)?,
                    out,
                    heads,
                    false,
                )?
                .normalizing(self.norm("attn.norm", d)?)
            }
        };
        if let Some(rope) = self.rope {
            attention = attention.rotating(rope.clone());
        }
        let norm = Box::new(self.norm("norm1", d)?);
        Ok(self.residual(norm, vec![Box::new(attention)]))
    }

    /// The residual MLP.
    fn mlp(&self) -> Result<Residual<Chain>, CheckpointError> {
        let (d, hidden) = (self.d, self.hidden);
        let norm = Box::new(self.norm("norm2", d)?);
        let layers: Vec<Box<dyn Layer>> = match self.traits.block {
            Block::Plain | Block::Eva { .. } => vec![
                Box::new(self.linear("mlp.fc1", d, hidden)?),
                Box::new(self.traits.activation),
                Box::new(self.linear("mlp.fc2", hidden, d)?),
            ],
            Block::Eva02 => vec![
                Box::new(self.linear("mlp.fc1_g", d, hidden)?.beside(&self.linear(
                    "mlp.fc1_x",
                    d,
                    hidden,
                )?)?),
                Box::new(Gate(Activation::Silu)),
                Box::new(self.norm("mlp.norm", hidden)?),
                Box::new(self.linear("mlp.fc2", hidden, d)?),
            ],
        };
        Ok(self.residual(norm, layers))
    }

    /// A residual branch with its norm before or after the other layers.
    fn residual(&self, norm: Box<dyn Layer>, mut layers: Vec<Box<dyn Layer>>) -> Residual<Chain> {
        match self.traits.block {
            Block::Eva { post_norm: true } => layers.push(norm),
            _ => layers.insert(0, norm),
        }
        Residual(Chain::new(layers))
    }
}

/// Rotary positions for heads of so many channels, in the type and on the device of `like`.
fn rotation(
    rope: &RopeTraits,
    grid: usize,
    channels: usize,
    class: bool,
    like: &Tensor,
) -> candle_core::Result<Rope> {
    if channels == 0 || !channels.is_multiple_of(4) {
        candle_core::bail!(
            "heads of {channels} channels have no rotary positions: 4 does not divide them"
        );
    }
    let pairs = channels / 2;
    Rope::new(&angles(rope, grid, pairs, class), pairs, like)
}

/// The angles of rotary positions, token by token, the class token's first, which is not turned.
///
/// The first half of a head's `pairs` turns with one coordinate, the second half with the other, the k-th of n by the position times `10000^(-k/n)`.
fn angles(rope: &RopeTraits, grid: usize, pairs: usize, class: bool) -> Vec<f64> {
    let bands = pairs / 2;
    let position =
        |index: usize| (index as f64 + rope.offset) / grid as f64 * rope.reference as f64;
    let band = |k: usize| TEMPERATURE.powf(-((k % bands) as f64) / bands as f64);
    let mut angles = vec![0.0; if class { pairs } else { 0 }];
    for row in 0..grid {
        for column in 0..grid {
            let [first, second] = if rope.column_first {
                [column, row]
            } else {
                [row, column]
            };
            angles.extend((0..pairs).map(|k| {
                let index = if k < bands { first } else { second };
                position(index) * band(k)
            }));
        }
    }
    angles
}
