//! CLIP's vision transformer: patches to tokens, a stack of blocks, the class token projected to the joint space.

use candle_core::{Result as CandleResult, Tensor};
use frozen::{Chain, Conv2d, Conv2dOptions, Layer, Linear, Pullback};

use crate::config::{Layout, VisionPool, VitConfig};
use crate::transformer::{MeanOfPatches, block, layer_norm, linear};
use weights::checkpoint::{Branch, CheckpointError};

/// Reads a vision transformer: normalised pixels `[batch, 3, size, size]` to embeddings `[batch, projection]`, not yet of unit length.
pub fn vision_transformer(
    weights: Branch<'_>,
    layout: Layout,
    size: usize,
    config: &VitConfig,
    projection: usize,
) -> Result<Chain, CheckpointError> {
    let (patch, stack) = (config.patch, &config.stack);
    let d = stack.width;
    let grid = size / patch;
    let hugging_face = layout == Layout::HuggingFace;
    let name = |hf: &'static str, open: &'static str| if hugging_face { hf } else { open };
    let patches = weights.get(
        name(
            "vision_model.embeddings.patch_embedding.weight",
            "visual.conv1.weight",
        ),
        &[d, 3, patch, patch],
    )?;
    let class = weights.get(
        name(
            "vision_model.embeddings.class_embedding",
            "visual.class_embedding",
        ),
        &[d],
    )?;
    let positions = weights.get(
        name(
            "vision_model.embeddings.position_embedding.weight",
            "visual.positional_embedding",
        ),
        &[grid * grid + 1, d],
    )?;
    // the first of these is misspelt in transformers, and so in every checkpoint
    let before = name("vision_model.pre_layrnorm", "visual.ln_pre");
    let after = name("vision_model.post_layernorm", "visual.ln_post");
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
    if config.pre_norm {
        layers.push(Box::new(layer_norm(weights, before, d, stack.eps)?));
    }
    let prefix = name("vision_model", "visual");
    for index in 0..stack.layers {
        let block = block(weights, layout, prefix, index, stack, false)?;
        let last = index + 1 == stack.layers;
        layers.push(match last && config.pool == VisionPool::ClassToken {
            true => Box::new(block.first_token_only()),
            false => Box::new(block),
        });
    }
    let norm = Box::new(layer_norm(weights, after, d, stack.eps)?);
    match config.pool {
        VisionPool::ClassToken => layers.push(norm),
        VisionPool::MeanOfNormalized => {
            layers.push(norm);
            layers.push(Box::new(MeanOfPatches));
        }
        VisionPool::NormalizedMean => {
            layers.push(Box::new(MeanOfPatches));
            layers.push(norm);
        }
    }
    layers.push(Box::new(match layout {
        Layout::HuggingFace => linear(weights, "visual_projection", d, projection, false)?,
        Layout::OpenClip => Linear::new(
            weights
                .get("visual.proj", &[d, projection])?
                .t()?
                .contiguous()?,
            None,
        )?,
    }));
    Ok(Chain::new(layers))
}

/// Puts patches `[batch, width, rows, columns]` in a row behind the class token and adds their positions: `[batch, 1 + rows * columns, width]`.
struct Tokens {
    /// The class token with its position, `[1, 1, width]`.
    class: Tensor,
    /// The positions of the patches, `[1, rows * columns, width]`.
    positions: Tensor,
}

impl Tokens {
    fn new(class: &Tensor, positions: &Tensor) -> CandleResult<Self> {
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
