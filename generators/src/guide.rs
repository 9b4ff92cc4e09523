//! What a generator may ask about the objective that it will be guided by.

use candle_core::Tensor;
use phantasia_core::EmbeddedPrompt;

/// The objective of a render, as it is at the start of a generator. It stays on the other side of the seam: a generator that needs no more
/// than a gradient never asks.
pub trait Guide {
    /// The loss of each picture, `[1, 3, height, width]` in 0..=1. All are seen by the same cutouts, so that they compare.
    ///
    /// # Errors
    /// When the objective cannot be built or evaluated.
    fn losses(&mut self, pictures: &[Tensor]) -> anyhow::Result<Vec<f64>>;

    /// The prompts as the recipe's first CLIP embeds them, in their order.
    ///
    /// # Errors
    /// When the recipe names no CLIP.
    fn prompt_embeddings(&mut self) -> anyhow::Result<Vec<EmbeddedPrompt>>;
}
