//! CLIP's text transformer. Texts are never optimised, so it has no backward pass.

use candle_core::{Device, Tensor};
use frozen::{Embedding, Layer, LayerNorm, Linear};

use super::config::{Layout, TextConfig};
use super::transformer::{Block, block, layer_norm, linear};
use frozen::checkpoint::{Branch, CheckpointError};

/// Tokens to an embedding in the joint space.
pub struct TextTower {
    tokens: Embedding,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    projection: Linear,
    end: Option<u32>,
    device: Device,
}

impl TextTower {
    /// Reads the text tower of a checkpoint.
    pub fn read(
        weights: Branch<'_>,
        layout: Layout,
        config: &TextConfig,
        projection: usize,
        device: &Device,
    ) -> Result<Self, CheckpointError> {
        let stack = &config.stack;
        let d = stack.width;
        let hugging_face = layout == Layout::HuggingFace;
        let name = |hf: &'static str, open: &'static str| if hugging_face { hf } else { open };
        // open_clip's text tower stands at the root of its names
        let at = |index| match layout {
            Layout::HuggingFace => block(weights, layout, "text_model", index, stack, true),
            Layout::OpenClip => block(weights, layout, "", index, stack, true),
        };
        Ok(Self {
            tokens: Embedding::new(weights.get(
                name(
                    "text_model.embeddings.token_embedding.weight",
                    "token_embedding.weight",
                ),
                &[config.vocabulary, d],
            )?)?,
            positions: weights.get(
                name(
                    "text_model.embeddings.position_embedding.weight",
                    "positional_embedding",
                ),
                &[config.context, d],
            )?,
            blocks: (0..stack.layers).map(at).collect::<Result<_, _>>()?,
            norm: layer_norm(
                weights,
                name("text_model.final_layer_norm", "ln_final"),
                d,
                stack.eps,
            )?,
            projection: match layout {
                Layout::HuggingFace => linear(weights, "text_projection", d, projection, false)?,
                Layout::OpenClip => Linear::new(
                    weights
                        .get("text_projection", &[d, projection])?
                        .t()?
                        .contiguous()?,
                    None,
                )?,
            },
            end: config.end,
            device: device.clone(),
        })
    }

    /// The embedding `[projection]` of one text, not yet of unit length. `ids` are its tokens, begin and end among them; padding
    /// may follow.
    pub fn embed(&self, ids: &[u32]) -> candle_core::Result<Tensor> {
        let last = self.place_of_end(ids);
        // attention is causal: nothing behind the end is seen from it
        let ids = Tensor::new(&ids[..=last], &self.device)?.unsqueeze(0)?;
        let positions = self.positions.narrow(0, 0, last + 1)?;
        let mut x = self.tokens.lookup(&ids)?.broadcast_add(&positions)?;
        for block in &self.blocks {
            x = block.eval(&x)?;
        }
        let x = self.norm.eval(&x.narrow(1, last, 1)?.squeeze(1)?)?;
        self.projection.eval(&x)?.squeeze(0)
    }

    /// The first end-of-text token, or, where none is named, the first of the highest number.
    fn place_of_end(&self, ids: &[u32]) -> usize {
        let end = self.end.or_else(|| ids.iter().copied().max());
        (ids.iter().position(|id| Some(*id) == end)).unwrap_or(ids.len().saturating_sub(1))
    }
}
