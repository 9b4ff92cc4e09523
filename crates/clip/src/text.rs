//! CLIP's text transformer. Texts are never optimised, so it has no backward pass.

use candle_core::{Device, Tensor};
use frozen::{Chain, Layer, LayerNorm, Linear};

use crate::coca::CocaTextTower;
use crate::config::{Layout, TextConfig, TextKind, TextPool, TextProjection};
use crate::names::{self, Name, under};
use crate::text_hf::HfTextTower;
use crate::token_table::TokenTable;
use crate::transformer::{self, block, layer_norm, linear};
use weights::checkpoint::{Branch, Checkpoint, CheckpointError};

/// Tokens to their states after the transformer.
pub struct TextStack {
    tokens: TokenTable,
    positions: Tensor,
    blocks: Chain,
    norm: LayerNorm,
}

impl TextStack {
    /// Reads the transformer of a checkpoint, whose names begin with `prefix`.
    pub fn read(
        weights: Branch<'_>,
        layout: Layout,
        prefix: &str,
        config: &TextConfig,
        device: &Device,
    ) -> Result<Self, CheckpointError> {
        let stack = &config.stack;
        let d = stack.width;
        let name = |name: Name| under(prefix, name.of(layout));
        let table = [config.vocabulary, d];
        let tokens = TokenTable::read(weights, &name(names::TOKENS), table, device)?;
        let positions = weights.get(&name(names::POSITIONS), &[config.context, d])?;
        let mut blocks: Vec<Box<dyn Layer>> = vec![];
        for index in 0..stack.layers {
            for part in block(weights, layout, prefix, index, stack, config.causal)? {
                blocks.push(Box::new(part));
            }
        }
        Ok(Self {
            tokens,
            positions,
            blocks: Chain::new(blocks),
            norm: layer_norm(weights, &name(names::FINAL_NORM), d, stack.eps)?,
        })
    }

    /// `[1, tokens, width]`, before the last normalisation.
    fn blocks(&self, ids: &[u32]) -> candle_core::Result<Tensor> {
        let positions = self.positions.narrow(0, 0, ids.len())?;
        let x = self.tokens.lookup(ids)?.broadcast_add(&positions)?;
        self.blocks.eval(&x)
    }

    /// The state of each token after the last normalisation: `[1, tokens, width]`.
    ///
    /// # Errors
    /// If there are more tokens than positions, or one is not in the vocabulary.
    pub fn hidden(&self, ids: &[u32]) -> candle_core::Result<Tensor> {
        self.norm.eval(&self.blocks(ids)?)
    }
}

/// Tokens to an embedding in the joint space.
pub enum TextTower {
    Clip(ClipTextTower),
    Hf(HfTextTower),
    Coca(CocaTextTower),
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
        Ok(match &config.kind {
            TextKind::Clip => Self::Clip(ClipTextTower::read(
                weights, layout, config, projection, device,
            )?),
            TextKind::Coca { padding } => Self::Coca(CocaTextTower::read(
                weights, config, *padding, projection, device,
            )?),
            TextKind::Hf(hf) => {
                Self::Hf(HfTextTower::read(weights, config, hf, projection, device)?)
            }
        })
    }

    /// How many tokens its table has.
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Clip(tower) => tower.stack.tokens.rows(),
            Self::Hf(tower) => tower.vocabulary(),
            Self::Coca(tower) => tower.vocabulary(),
        }
    }

    /// The embedding `[projection]` of one text, not yet of unit length. `ids` are its tokens, begin and end among them; padding
    /// may follow, and has to where [`TextConfig::reads_padding`].
    pub fn embed(&self, ids: &[u32]) -> candle_core::Result<Tensor> {
        match self {
            Self::Clip(tower) => tower.embed(ids),
            Self::Hf(tower) => tower.embed(ids),
            Self::Coca(tower) => tower.embed(ids),
        }
    }
}

/// CLIP's own text tower.
pub struct ClipTextTower {
    stack: TextStack,
    projection: Option<Linear>,
    pool: TextPool,
    causal: bool,
}

impl ClipTextTower {
    fn read(
        weights: Branch<'_>,
        layout: Layout,
        config: &TextConfig,
        projection: usize,
        device: &Device,
    ) -> Result<Self, CheckpointError> {
        let d = config.stack.width;
        let prefix = prefix(weights.checkpoint(), layout);
        let name = match layout {
            // SigLIP's
            Layout::HuggingFace if config.projection == TextProjection::Linear => {
                under(prefix, "head")
            }
            Layout::HuggingFace => "text_projection".to_owned(),
            Layout::OpenClip => under(prefix, "text_projection"),
        };
        let projection = match config.projection {
            TextProjection::None => None,
            TextProjection::Linear => Some(linear(weights, &name, d, projection, true)?),
            TextProjection::Matrix => Some(transformer::projection(
                weights, layout, &name, d, projection,
            )?),
        };
        Ok(Self {
            stack: TextStack::read(weights, layout, prefix, config, device)?,
            projection,
            pool: config.pool,
            causal: config.causal,
        })
    }

    fn embed(&self, ids: &[u32]) -> candle_core::Result<Tensor> {
        let place = self.place(ids);
        // with a causal mask, later tokens do not change the result
        let seen = if self.causal { &ids[..=place] } else { ids };
        let x = self.stack.blocks(seen)?;
        let x = (self.stack.norm).eval(&x.narrow(1, place, 1)?.squeeze(1)?)?;
        match &self.projection {
            Some(projection) => projection.eval(&x)?.squeeze(0),
            None => x.squeeze(0),
        }
    }

    /// The index of the token that the embedding is taken from.
    fn place(&self, ids: &[u32]) -> usize {
        let last = ids.len().saturating_sub(1);
        let wanted = match self.pool {
            TextPool::First => return 0,
            TextPool::Last | TextPool::Mean => return last,
            TextPool::Token(id) => Some(id),
            TextPool::Highest => ids.iter().copied().max(),
        };
        (ids.iter().position(|id| Some(*id) == wanted)).unwrap_or(last)
    }
}

/// The prefix of the text tower's names. The weights decide whether it is a CustomTextCLIP's, because `custom_text` is not reliable.
pub(super) fn prefix(checkpoint: &Checkpoint, layout: Layout) -> &'static str {
    match layout {
        Layout::HuggingFace => "text_model",
        Layout::OpenClip if checkpoint.shape("text.token_embedding.weight").is_some() => "text",
        Layout::OpenClip => "",
    }
}
