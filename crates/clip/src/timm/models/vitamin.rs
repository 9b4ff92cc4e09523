//! timm's ViTamins.

use super::Pool;

/// What the weights of a ViTamin do not show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VitaminTraits {
    /// Heads of the attention.
    pub heads: usize,
    /// Whether tokens have learned positions.
    pub positions: bool,
}

impl VitaminTraits {
    pub(super) fn pools(&self) -> &'static [(&'static str, Pool)] {
        &[("", Pool::Average), ("avg", Pool::Average)]
    }
}

const fn heads(heads: usize) -> VitaminTraits {
    VitaminTraits {
        heads,
        positions: true,
    }
}

const XLARGE: VitaminTraits = VitaminTraits {
    heads: 16,
    positions: false,
};

/// By name.
pub const MODELS: &[(&str, VitaminTraits)] = &[
    ("vitamin_small_224", heads(6)),
    ("vitamin_base_224", heads(12)),
    ("vitamin_large_224", heads(16)),
    ("vitamin_large_256", heads(16)),
    ("vitamin_large_336", heads(16)),
    ("vitamin_large_384", heads(16)),
    ("vitamin_large2_224", heads(16)),
    ("vitamin_large2_256", heads(16)),
    ("vitamin_large2_336", heads(16)),
    ("vitamin_large2_384", heads(16)),
    ("vitamin_xlarge_256", XLARGE),
    ("vitamin_xlarge_336", XLARGE),
    ("vitamin_xlarge_384", XLARGE),
];
