//! The network of an image tower, and what its layers make of a picture.

use candle_core::{Result as CandleResult, Tensor};
use frozen::{Chain, Layer, Pullback, TapsPullback, only_tap, vjp_taps};

/// What a tower computes on the way from pixels to an embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tap {
    /// The activations after a numbered layer: `[batch, 1 + patches, width]` after a block of a transformer, the class token first, or
    /// `[batch, patches, width]` where it has none; `[batch, channels, rows, columns]` after a stage of a convolutional network.
    Layer(usize),
    /// The embedding `[batch, projection]`, not yet of unit length.
    Embedding,
}

/// The kind of a tower's numbered layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerKind {
    /// The blocks of a transformer.
    Block,
    /// The stages of a convolutional network.
    Stage,
}

/// A network from normalised pixels `[batch, 3, size, size]` to embeddings `[batch, projection]`.
pub struct Trunk {
    chain: Chain,
    kind: LayerKind,
    /// For each numbered layer, the length of the chain up to its end.
    ends: Vec<usize>,
    /// Where the class token is taken out before the last layer's last part, because no other token of it reaches the embedding: the index in
    /// the chain.
    narrows: Option<usize>,
    /// About how many numbers one image takes while its gradient is computed: an upper estimate.
    floats: usize,
    /// Whether the first token of a block's is a class token.
    class_token: bool,
}

impl Trunk {
    /// A chain whose numbered layers end after so many of its layers each. `floats` is about how many numbers one image takes while its
    /// gradient is computed, an upper estimate to size micro-batches with.
    pub fn new(
        layers: Vec<Box<dyn Layer>>,
        kind: LayerKind,
        ends: Vec<usize>,
        floats: usize,
    ) -> Self {
        Self {
            chain: Chain::new(layers),
            kind,
            ends,
            narrows: None,
            floats,
            class_token: kind == LayerKind::Block,
        }
    }

    /// The same for a transformer that takes the class token out at `index`, one before the end of its last block, where its layers treat
    /// every token alike and the two may be swapped.
    pub fn narrowing(self, index: usize) -> Self {
        Self {
            narrows: Some(index),
            ..self
        }
    }

    /// The same for a transformer without a class token.
    pub fn without_class_token(self) -> Self {
        Self {
            class_token: false,
            ..self
        }
    }

    /// Whether the first token of a block's is a class token.
    pub fn has_class_token(&self) -> bool {
        self.class_token
    }

    /// About how many numbers one image takes while its gradient is computed.
    pub fn floats(&self) -> usize {
        self.floats
    }

    /// How many numbered layers it has.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The kind of the numbered layers.
    pub fn kind(&self) -> LayerKind {
        self.kind
    }

    /// What these taps give, and their pullback. Nothing is computed twice, nor beyond the last of them.
    ///
    /// # Errors
    /// When there is no such layer, or one fails.
    pub fn vjp_taps(&self, x: &Tensor, taps: &[Tap]) -> CandleResult<(Vec<Tensor>, TapsPullback)> {
        let mut layers: Vec<_> = self.chain.layers().collect();
        let last = self.ends.len().saturating_sub(1);
        let narrows = self.narrows.filter(|_| taps.contains(&Tap::Layer(last)));
        if let Some(index) = narrows {
            // all tokens of the last block are asked for
            layers.swap(index, index + 1);
        }
        let depth = |tap: &Tap| match *tap {
            Tap::Embedding => Ok(layers.len()),
            Tap::Layer(layer) => match (self.ends.get(layer), narrows) {
                (None, _) => candle_core::bail!("there are {} layers, and no {layer}", last + 1),
                (Some(_), Some(index)) if layer == last => Ok(index + 1),
                (Some(end), _) => Ok(*end),
            },
        };
        let depths = taps.iter().map(depth).collect::<CandleResult<Vec<_>>>()?;
        vjp_taps(&layers, x, &depths)
    }
}

impl Layer for Trunk {
    fn eval(&self, x: &Tensor) -> CandleResult<Tensor> {
        self.chain.eval(x)
    }

    fn vjp(&self, x: &Tensor) -> CandleResult<(Tensor, Pullback)> {
        only_tap(self.vjp_taps(x, &[Tap::Embedding])?)
    }
}
