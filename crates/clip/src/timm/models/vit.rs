//! timm's vision transformers: those of its `vision_transformer.py`, `vision_transformer_hybrid.py` and `eva.py` that open_clip uses.

use frozen::Activation;

use super::Pool;

/// What the weights of a vision transformer do not show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VitTraits {
    /// Heads of the attention.
    pub heads: usize,
    /// The nonlinearity of the blocks, and of the attention pooling.
    pub activation: Activation,
    /// Added to the variance in layer norms.
    pub eps: f64,
    /// How pixels become tokens.
    pub stem: Stem,
    /// The class token.
    pub class: ClassToken,
    /// Whether tokens are normalised before the first block.
    pub pre_norm: bool,
    /// The kind of block.
    pub block: Block,
    /// Rotary positions, besides the learned ones.
    pub rope: Option<RopeTraits>,
    /// Heads of the attention pooling; without it, the class token is the result.
    pub pool_heads: Option<usize>,
}

/// How pixels become tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// One convolution, as wide as its stride.
    Patches {
        /// Whether it has a bias.
        bias: bool,
    },
    /// Three convolutions, each as wide as its stride, with batch norms and GELU between.
    Convolutions,
}

/// The class token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassToken {
    /// There is none.
    None,
    /// It has a position embedding of its own.
    WithPosition,
    /// It has no position embedding.
    WithoutPosition,
}

/// The kind of block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// CLIP's: attention and MLP, each normalised before.
    Plain,
    /// EVA's: queries and values have a bias, keys have none. `post_norm`: normalised after attention and MLP instead of before.
    Eva {
        /// Whether attention and MLP are normalised after instead of before.
        post_norm: bool,
    },
    /// EVA-02's: also three weights for queries, keys and values, norms inside attention and MLP, and an MLP gated by SiLU.
    Eva02,
}

/// Rotary positions in two dimensions: half of a head's channels turn with a token's row, half with its column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RopeTraits {
    /// The side of the grid of tokens in training: positions in other grids are scaled to it.
    pub reference: usize,
    /// The position of the first row and column.
    pub offset: f64,
    /// Whether the first half of the channels turns with the column instead of the row.
    pub column_first: bool,
}

impl VitTraits {
    pub(super) fn pools(&self) -> &'static [(&'static str, Pool)] {
        match self.pool_heads {
            Some(_) => &[("map", Pool::Map), ("", Pool::Map)],
            None => &[("token", Pool::Token)],
        }
    }
}

/// A CLIP's own transformer under timm's names.
const CLIP: VitTraits = VitTraits {
    heads: 16,
    activation: Activation::Gelu,
    eps: 1e-5,
    stem: Stem::Patches { bias: false },
    class: ClassToken::WithPosition,
    pre_norm: true,
    block: Block::Plain,
    rope: None,
    pool_heads: None,
};

/// MobileCLIP's transformer.
const MOBILE: VitTraits = VitTraits {
    heads: 12,
    eps: 1e-6,
    stem: Stem::Convolutions,
    class: ClassToken::WithoutPosition,
    pre_norm: false,
    ..CLIP
};

const fn siglip(heads: usize, activation: Activation) -> VitTraits {
    VitTraits {
        heads,
        activation,
        eps: 1e-6,
        stem: Stem::Patches { bias: true },
        class: ClassToken::None,
        pre_norm: false,
        pool_heads: Some(heads),
        ..CLIP
    }
}

/// The same weights have another GELU under another name.
const SIGLIP_BASE: VitTraits = siglip(12, Activation::Gelu);
const SIGLIP_BASE_TANH: VitTraits = siglip(12, Activation::GeluTanh);
const SIGLIP: VitTraits = siglip(16, Activation::Gelu);
const SIGLIP_TANH: VitTraits = siglip(16, Activation::GeluTanh);

const EVA: VitTraits = VitTraits {
    eps: 1e-6,
    stem: Stem::Patches { bias: true },
    pre_norm: false,
    block: Block::Eva { post_norm: false },
    ..CLIP
};

const fn eva02(heads: usize) -> VitTraits {
    VitTraits {
        heads,
        block: Block::Eva02,
        rope: Some(RopeTraits {
            reference: 16,
            offset: 0.0,
            column_first: false,
        }),
        ..EVA
    }
}

const EVA02_ENORMOUS: VitTraits = VitTraits {
    block: Block::Eva { post_norm: true },
    ..EVA
};

/// The Perception Encoder; `reference` is the side of the grid of tokens in training.
const fn perception(heads: usize, reference: usize) -> VitTraits {
    VitTraits {
        heads,
        rope: Some(RopeTraits {
            reference,
            offset: 1.0,
            column_first: true,
        }),
        pool_heads: Some(8),
        ..CLIP
    }
}

const PERCEPTION_GIGANTIC: VitTraits = VitTraits {
    class: ClassToken::None,
    rope: Some(RopeTraits {
        reference: 32,
        offset: 0.0,
        column_first: true,
    }),
    ..perception(16, 32)
};

/// By name.
pub const MODELS: &[(&str, VitTraits)] = &[
    ("vit_base_patch16_siglip_224", SIGLIP_BASE),
    ("vit_base_patch16_siglip_256", SIGLIP_BASE),
    ("vit_base_patch16_siglip_384", SIGLIP_BASE),
    ("vit_base_patch16_siglip_512", SIGLIP_BASE),
    ("vit_base_patch32_siglip_256", SIGLIP_BASE_TANH),
    ("vit_large_patch16_siglip_256", SIGLIP),
    ("vit_large_patch16_siglip_384", SIGLIP),
    ("vit_large_patch16_siglip_512", SIGLIP_TANH),
    ("vit_so400m_patch14_siglip_224", SIGLIP),
    ("vit_so400m_patch14_siglip_378", SIGLIP),
    ("vit_so400m_patch14_siglip_384", SIGLIP),
    ("vit_so400m_patch16_siglip_256", SIGLIP_TANH),
    ("vit_so400m_patch16_siglip_384", SIGLIP_TANH),
    ("vit_so400m_patch16_siglip_512", SIGLIP_TANH),
    ("vit_giantopt_patch16_siglip_256", SIGLIP_TANH),
    ("vit_giantopt_patch16_siglip_384", SIGLIP_TANH),
    ("eva_giant_patch14_224", EVA),
    ("eva02_base_patch16_clip_224", eva02(12)),
    ("eva02_large_patch14_clip_224", eva02(16)),
    ("eva02_large_patch14_clip_336", eva02(16)),
    ("eva02_enormous_patch14_clip_224", EVA02_ENORMOUS),
    ("vit_pe_core_tiny_patch16_384", perception(3, 24)),
    ("vit_pe_core_small_patch16_384", perception(6, 24)),
    ("vit_pe_core_base_patch16_224", perception(12, 14)),
    ("vit_pe_core_large_patch14_336", perception(16, 24)),
    ("vit_pe_core_gigantic_patch14_448", PERCEPTION_GIGANTIC),
    ("vit_base_mci_224", MOBILE),
    ("vit_large_patch14_clip_224", CLIP),
];
