//! timm's vision transformers.

use frozen::Activation;

use super::Pool;

/// What the weights of a vision transformer do not show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VitTraits {
    /// Heads of the attention.
    pub heads: usize,
    /// The nonlinearity of the blocks.
    pub activation: Activation,
    /// Added to the variance in layer norms.
    pub eps: f64,
    /// Whether tokens are normalised before the first block. Then the patches have no bias.
    pub pre_norm: bool,
}

impl VitTraits {
    pub(super) fn pools(&self) -> &'static [(&'static str, Pool)] {
        &[("token", Pool::Token)]
    }
}

/// A CLIP's own transformer under timm's names.
const CLIP: VitTraits = VitTraits {
    heads: 16,
    activation: Activation::Gelu,
    eps: 1e-5,
    pre_norm: true,
};

/// By name.
pub const MODELS: &[(&str, VitTraits)] = &[("vit_large_patch14_clip_224", CLIP)];
