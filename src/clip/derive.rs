//! The shape of a CLIP from its tensors alone, as OpenAI's loader finds it: OpenAI's files and many state dicts of OpenCLIP come without a
//! configuration.

use frozen::Activation;
use frozen::checkpoint::Checkpoint;

use super::config::{
    ClipConfig, ConfigError, Layout, MEAN, STD, StackConfig, TextConfig, VisionConfig, VisionKind,
};
use super::preprocess::{Filter, Fit};

/// The configuration that the tensors of an OpenCLIP checkpoint imply.
pub fn config(checkpoint: &Checkpoint) -> Result<ClipConfig, ConfigError> {
    let shape = |key: &str, rank: usize| {
        (checkpoint.shape(key))
            .filter(|shape| shape.len() == rank && !shape.contains(&0))
            .ok_or_else(|| {
                format!("is missing, and the weights have no `{key}` to tell their shape by: only OpenAI's and OpenCLIP's names can be read without one")
            })
    };
    // OpenAI's own files say so, and were trained with its approximation
    let activation = match checkpoint.shape("input_resolution") {
        Some(_) => Activation::QuickGelu,
        None => Activation::Gelu,
    };
    let blocks = |prefix: &str| {
        (0..1000)
            .take_while(|index| {
                let key = format!("{prefix}transformer.resblocks.{index}.attn.in_proj_weight");
                checkpoint.shape(&key).is_some()
            })
            .count()
    };
    let stack = |prefix: &str, width: usize, head: usize| {
        let hidden = shape(
            &format!("{prefix}transformer.resblocks.0.mlp.c_fc.weight"),
            2,
        )?[0];
        Ok::<_, ConfigError>(StackConfig {
            width,
            hidden,
            layers: blocks(prefix),
            heads: (width / head).max(1),
            activation,
            eps: 1e-5,
        })
    };
    let text = shape("text_projection", 2)?;
    let (width, projection) = (text[0], text[1]);
    let vision = if checkpoint.shape("visual.proj").is_some() {
        let conv = shape("visual.conv1.weight", 4)?;
        // OpenCLIP's largest towers have wider heads
        let head = match conv[0] {
            1280 => 80,
            1408 => 88,
            1664 => 104,
            _ => 64,
        };
        let grid = side(shape("visual.positional_embedding", 2)?[0])?;
        VisionConfig {
            image_size: grid.saturating_mul(conv[3]),
            kind: VisionKind::Transformer {
                patch: conv[3],
                stack: stack("visual.", conv[0], head)?,
            },
        }
    } else {
        let width = shape("visual.layer1.0.conv1.weight", 4)?[0];
        let grid = side(shape("visual.attnpool.positional_embedding", 2)?[0])?;
        let count = |stage: usize| {
            (0..1000)
                .take_while(|index| {
                    let key = format!("visual.layer{stage}.{index}.conv1.weight");
                    checkpoint.shape(&key).is_some()
                })
                .count()
        };
        VisionConfig {
            image_size: grid.saturating_mul(32),
            kind: VisionKind::ResNet {
                layers: [1, 2, 3, 4].map(count),
                width,
                heads: (width.saturating_mul(32) / 64).max(1),
            },
        }
    };
    ClipConfig {
        layout: Layout::OpenClip,
        projection,
        vision,
        text: TextConfig {
            vocabulary: shape("token_embedding.weight", 2)?[0],
            context: shape("positional_embedding", 2)?[0],
            stack: stack("", width, 64)?,
            end: None,
        },
        mean: MEAN,
        std: STD,
        filter: Filter::Bicubic,
        fit: Fit::Cover,
    }
    .checked()
}

/// The side of a square grid with one more token.
fn side(tokens: usize) -> Result<usize, ConfigError> {
    let side = tokens.saturating_sub(1).isqrt();
    match side * side + 1 == tokens {
        true => Ok(side),
        false => Err(format!(
            "is missing, and {tokens} positions are no square and one more"
        )),
    }
}
