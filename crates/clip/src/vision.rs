//! CLIP's vision transformer: patches to tokens, a stack of blocks, the class token projected to the joint space.

use candle_core::{Result as CandleResult, Tensor};
use frozen::{Conv2d, Conv2dOptions, Layer, Pullback};

use crate::config::{Layout, VisionPool, VitConfig};
use crate::names::{self, Name, under};
use crate::transformer::{self, FirstToken, MeanOfPatches, block, layer_norm};
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
    let class = weights.get(&name(names::CLASS), &[d])?;
    let positions = weights.get(&name(names::POSITIONS), &[grid * grid + 1, d])?;
    let mut layers: Vec<Box<dyn Layer>> = vec![
        Box::new(Conv2d::new(
            patches,
            None,
            Conv2dOptions {
                stride: patch,
                ..Conv2dOptions::default()
            },
        )?),
        Box::new(Tokens::new(&class, &positions)?),
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
    let norm: Box<dyn Layer> = Box::new(norm(names::POST_NORM)?);
    layers.extend(match config.pool {
        VisionPool::ClassToken => vec![norm],
        VisionPool::MeanOfNormalized => vec![norm, Box::new(MeanOfPatches)],
        VisionPool::NormalizedMean => vec![Box::new(MeanOfPatches), norm],
    });
    let name = names::VISION_PROJECTION.of(layout);
    layers.push(Box::new(transformer::projection(
        weights, layout, name, d, projection,
    )?));
    let floats = transformer_floats(
        size,
        grid * grid + 1,
        d,
        stack.hidden,
        stack.heads,
        stack.layers,
    );
    let trunk = Trunk::new(layers, LayerKind::Block, ends, floats);
    Ok(match narrows {
        Some(index) => trunk.narrowing(index),
        None => trunk,
    })
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

/// Flattens patches `[batch, width, rows, columns]`, prepends the class token and adds the position embeddings: `[batch, 1 + rows * columns, width]`.
pub struct Tokens {
    /// The class token with its position, `[1, 1, width]`.
    class: Tensor,
    /// The positions of the patches, `[1, rows * columns, width]`.
    positions: Tensor,
}

impl Tokens {
    /// The class token `[width]`, and the positions `[1 + rows * columns, width]` of all tokens.
    pub fn new(class: &Tensor, positions: &Tensor) -> CandleResult<Self> {
        let count = positions.dim(0)?;
        let first = positions.narrow(0, 0, 1)?;
        Ok(Self {
            class: class.unsqueeze(0)?.add(&first)?.unsqueeze(0)?,
            positions: positions.narrow(0, 1, count - 1)?.unsqueeze(0)?,
        })
    }
}

impl Layer for Tokens {
    fn eval(&self, x: &Tensor) -> CandleResult<Tensor> {
        let batch = x.dim(0)?;
        let patches = (x.flatten_from(2)?.transpose(1, 2)?).broadcast_add(&self.positions)?;
        let (_, one, width) = self.class.dims3()?;
        let class = self.class.broadcast_as((batch, one, width))?;
        Tensor::cat(&[&class.contiguous()?, &patches], 1)
    }

    fn vjp(&self, x: &Tensor) -> CandleResult<(Tensor, Pullback)> {
        let shape = x.shape().clone();
        let pullback = move |grad: &Tensor| {
            let count = grad.dim(1)?;
            grad.narrow(1, 1, count - 1)?
                .transpose(1, 2)?
                .contiguous()?
                .reshape(&shape)
        };
        Ok((self.eval(x)?, Box::new(pullback)))
    }
}
