//! CLIP's vision transformer: patches to tokens, a stack of blocks, the class token projected to the joint space.

use candle_core::{Result as CandleResult, Tensor};
use frozen::{Conv2d, Conv2dOptions, Layer, Linear, Pullback};

use crate::coca;
use crate::config::{Layout, StackConfig, VisionPool, VitConfig};
use crate::map_head::map_head;
use crate::names::{self, Name, under};
use crate::transformer::{self, FirstToken, MeanOfPatches, block, layer_norm, linear, mlp};
use crate::trunk::{LayerKind, Trunk};
use weights::checkpoint::{Branch, CheckpointError};

/// Reads a vision transformer: normalised pixels `[batch, 3, size, size]` to embeddings `[batch, projection]`, not yet of unit length.
pub fn vision_transformer(
    weights: Branch<'_>,
    layout: Layout,
    size: usize,
    config: &VitConfig,
    projection: usize,
) -> Result<Trunk, CheckpointError> {
    let (patch, stack) = (config.patch, &config.stack);
    let d = stack.width;
    let grid = size / patch;
    let tower = names::VISION.of(layout);
    let name = |name: Name| under(tower, name.of(layout));
    let patches = weights.get(&name(names::PATCHES), &[d, 3, patch, patch])?;
    let bias = (config.patch_bias).then(|| weights.get(&name(names::PATCH_BIAS), &[d]));
    let count = grid * grid + usize::from(config.class_token);
    let positions = weights.get(&name(names::POSITIONS), &[count, d])?;
    let tokens = if config.class_token {
        Tokens::new(&weights.get(&name(names::CLASS), &[d])?, &positions)?
    } else {
        Tokens::without_class(&positions)?
    };
    let mut layers: Vec<Box<dyn Layer>> = vec![
        Box::new(Conv2d::new(
            patches,
            bias.transpose()?,
            Conv2dOptions {
                stride: patch,
                ..Conv2dOptions::default()
            },
        )?),
        Box::new(tokens),
    ];
    let norm = |part: Name| layer_norm(weights, &name(part), d, stack.eps);
    if config.pre_norm {
        layers.push(Box::new(norm(names::PRE_NORM)?));
    }
    let mut ends = vec![];
    let mut narrows = None;
    for index in 0..stack.layers {
        let [attention, mlp] = block(weights, layout, tower, index, stack, false)?;
        layers.push(Box::new(attention));
        // of the last block's output only the class token is used
        if index + 1 == stack.layers && config.pool == VisionPool::ClassToken {
            narrows = Some(layers.len());
            layers.push(Box::new(FirstToken));
        }
        layers.push(Box::new(mlp));
        ends.push(layers.len());
    }
    let mut last = d;
    if let VisionPool::Attention { heads } = config.pool {
        layers.extend(coca::image_pool(weights, d, projection, heads, stack.eps)?);
        last = projection;
    }
    let norm = layer_norm(weights, &name(names::POST_NORM), last, stack.eps)?;
    let norm: Box<dyn Layer> = Box::new(norm);
    layers.extend(match config.pool {
        VisionPool::Map | VisionPool::ClassToken | VisionPool::Attention { .. } => vec![norm],
        VisionPool::MeanOfNormalized => vec![norm, Box::new(MeanOfPatches)],
        VisionPool::NormalizedMean => vec![Box::new(MeanOfPatches), norm],
    });
    if config.pool == VisionPool::Map {
        layers.extend(siglip_head(weights, &under(tower, "head"), stack)?);
    } else {
        let name = names::VISION_PROJECTION.of(layout);
        layers.push(Box::new(transformer::projection(
            weights, layout, name, last, projection,
        )?));
    }
    let floats = transformer_floats(size, count, d, stack.hidden, stack.heads, stack.layers);
    let trunk = Trunk::new(layers, LayerKind::Block, ends, floats);
    let trunk = if config.class_token {
        trunk
    } else {
        trunk.without_class_token()
    };
    Ok(match narrows {
        Some(index) => trunk.narrowing(index),
        None => trunk,
    })
}

/// The head of transformers' SigLIP, whose names begin with `at`: `[batch, tokens, width]` to `[batch, width]`.
fn siglip_head(
    weights: Branch<'_>,
    at: &str,
    stack: &StackConfig,
) -> Result<Vec<Box<dyn Layer>>, CheckpointError> {
    let d = stack.width;
    let name = |part: &str| under(at, part);
    let probe = weights.get(&name("probe"), &[1, 1, d])?.squeeze(0)?;
    let weight = weights.get(&name("attention.in_proj_weight"), &[3 * d, d])?;
    let bias = weights.get(&name("attention.in_proj_bias"), &[3 * d])?;
    let query = Linear::new(weight.narrow(0, 0, d)?, Some(bias.narrow(0, 0, d)?))?;
    let query = query.eval(&probe)?.squeeze(0)?;
    let (kv, kv_bias) = (weight.narrow(0, d, 2 * d)?, bias.narrow(0, d, 2 * d)?);
    let out = linear(weights, &name("attention.out_proj"), d, d, true)?;
    let names = [&name("layernorm"), &name("mlp.fc1"), &name("mlp.fc2")];
    let mlp = mlp(
        weights,
        names.map(String::as_str),
        [d, stack.hidden],
        stack.activation,
        stack.eps,
    )?;
    Ok(map_head(&query, &kv, &kv_bias, stack.heads, out, mlp)?)
}

/// About how many numbers one image of `size` pixels takes in a vision transformer while its gradient is computed.
pub fn transformer_floats(
    size: usize,
    tokens: usize,
    width: usize,
    hidden: usize,
    heads: usize,
    layers: usize,
) -> usize {
    let block = tokens * (8 * width + 3 * hidden) + heads * tokens * tokens;
    layers * block + 6 * size * size
}

/// Flattens patches `[batch, width, rows, columns]`, adds their positions and prepends the class token, if there is one:
/// `[batch, tokens, width]`.
pub struct Tokens {
    /// The class token with its position, `[1, 1, width]`.
    class: Option<Tensor>,
    /// The positions of the patches, `[1, rows * columns, width]`.
    positions: Tensor,
}

impl Tokens {
    /// The class token `[width]`, and the positions `[1 + rows * columns, width]` of all tokens.
    pub fn new(class: &Tensor, positions: &Tensor) -> CandleResult<Self> {
        let count = positions.dim(0)?;
        let first = positions.narrow(0, 0, 1)?.squeeze(0)?;
        Self::with_class(&class.add(&first)?, &positions.narrow(0, 1, count - 1)?)
    }

    /// A class token `[width]` without a position, and the positions `[rows * columns, width]` of the patches.
    pub fn with_class(class: &Tensor, positions: &Tensor) -> CandleResult<Self> {
        Ok(Self {
            class: Some(class.reshape((1, 1, ()))?),
            ..Self::without_class(positions)?
        })
    }

    /// No class token, and the positions `[rows * columns, width]` of the patches.
    pub fn without_class(positions: &Tensor) -> CandleResult<Self> {
        Ok(Self {
            class: None,
            positions: positions.unsqueeze(0)?,
        })
    }

    /// How many tokens there are.
    pub fn count(&self) -> usize {
        self.positions.dims()[1] + usize::from(self.class.is_some())
    }
}

impl Layer for Tokens {
    fn eval(&self, x: &Tensor) -> CandleResult<Tensor> {
        let batch = x.dim(0)?;
        let patches = (x.flatten_from(2)?.transpose(1, 2)?).broadcast_add(&self.positions)?;
        let Some(class) = &self.class else {
            return Ok(patches);
        };
        let (_, one, width) = class.dims3()?;
        let class = class.broadcast_as((batch, one, width))?;
        Tensor::cat(&[&class.contiguous()?, &patches], 1)
    }

    fn vjp(&self, x: &Tensor) -> CandleResult<(Tensor, Pullback)> {
        let shape = x.shape().clone();
        let first = usize::from(self.class.is_some());
        let pullback = move |grad: &Tensor| {
            let count = grad.dim(1)? - first;
            grad.narrow(1, first, count)?
                .transpose(1, 2)?
                .contiguous()?
                .reshape(&shape)
        };
        Ok((self.eval(x)?, Box::new(pullback)))
    }
}
