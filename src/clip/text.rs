//! CLIP's text transformer. Texts are never optimised, so it has no backward pass.

use candle_core::{Device, Tensor};
use frozen::{Embedding, Layer, LayerNorm, Linear};

use super::config::{Layout, TextConfig};
use super::transformer::{Block, block, layer_norm, linear};
use frozen::checkpoint::{Branch, CheckpointError};

/// Tokens to what the transformer makes of each of them.
pub struct TextStack {
    tokens: Embedding,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    device: Device,
}

impl TextStack {
    /// Reads the transformer of a checkpoint; in the Hugging Face layout its names begin with `prefix`, and in OpenCLIP's they stand at the root.
    pub fn read(
        weights: Branch<'_>,
        layout: Layout,
        prefix: &str,
        config: &TextConfig,
        device: &Device,
    ) -> Result<Self, CheckpointError> {
        let stack = &config.stack;
        let d = stack.width;
        let prefix = match layout {
            Layout::HuggingFace => prefix,
            Layout::OpenClip => "",
        };
        let name = |hugging_face: &str, open: &str| match (layout, prefix) {
            (Layout::OpenClip, _) => open.to_owned(),
            (_, "") => hugging_face.to_owned(),
            _ => format!("{prefix}.{hugging_face}"),
        };
        let tokens = name(
            "embeddings.token_embedding.weight",
            "token_embedding.weight",
        );
        let positions = name(
            "embeddings.position_embedding.weight",
            "positional_embedding",
        );
        let norm = name("final_layer_norm", "ln_final");
        Ok(Self {
            tokens: Embedding::new(weights.get(&tokens, &[config.vocabulary, d])?)?,
            positions: weights.get(&positions, &[config.context, d])?,
            blocks: (0..stack.layers)
                .map(|index| block(weights, layout, prefix, index, stack, true))
                .collect::<Result<_, _>>()?,
            norm: layer_norm(weights, &norm, d, stack.eps)?,
            device: device.clone(),
        })
    }

    /// `[1, tokens, width]`, before the last normalisation. Attention is causal: what follows a token does not change what is made of it.
    fn blocks(&self, ids: &[u32]) -> candle_core::Result<Tensor> {
        let positions = self.positions.narrow(0, 0, ids.len())?;
        let ids = Tensor::new(ids, &self.device)?.unsqueeze(0)?;
        let mut x = self.tokens.lookup(&ids)?.broadcast_add(&positions)?;
        for block in &self.blocks {
            x = block.eval(&x)?;
        }
        Ok(x)
    }

    /// What is made of each token: `[1, tokens, width]`.
    ///
    /// # Errors
    /// Where there are more tokens than the transformer reads, or one that it does not know.
    pub fn hidden(&self, ids: &[u32]) -> candle_core::Result<Tensor> {
        self.norm.eval(&self.blocks(ids)?)
    }
}

/// Tokens to an embedding in the joint space.
pub struct TextTower {
    stack: TextStack,
    projection: Linear,
    end: Option<u32>,
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
        let d = config.stack.width;
        Ok(Self {
            stack: TextStack::read(weights, layout, "text_model", config, device)?,
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
        })
    }

    /// The embedding `[projection]` of one text, not yet of unit length. `ids` are its tokens, begin and end among them; padding
    /// may follow.
    pub fn embed(&self, ids: &[u32]) -> candle_core::Result<Tensor> {
        let last = self.place_of_end(ids);
        // nothing behind the end is seen from it
        let x = self.stack.blocks(&ids[..=last])?;
        let x = (self.stack.norm).eval(&x.narrow(1, last, 1)?.squeeze(1)?)?;
        self.projection.eval(&x)?.squeeze(0)
    }

    /// The first end-of-text token, or, where none is named, the first of the highest number.
    fn place_of_end(&self, ids: &[u32]) -> usize {
        let end = self.end.or_else(|| ids.iter().copied().max());
        (ids.iter().position(|id| Some(*id) == end)).unwrap_or(ids.len().saturating_sub(1))
    }
}
