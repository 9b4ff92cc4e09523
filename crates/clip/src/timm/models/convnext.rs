//! timm's ConvNeXts.

use super::Pool;

/// What the weights of a ConvNeXt do not show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvNextTraits {
    /// Added to the variance in layer norms.
    pub eps: f64,
}

impl ConvNextTraits {
    pub(super) fn pools(&self) -> &'static [(&'static str, Pool)] {
        &[("", Pool::Average), ("avg", Pool::Average)]
    }
}

const USUAL: ConvNextTraits = ConvNextTraits { eps: 1e-6 };

/// By name.
pub const MODELS: &[(&str, ConvNextTraits)] = &[
    ("convnext_tiny", USUAL),
    ("convnext_small", USUAL),
    ("convnext_base", USUAL),
    ("convnext_large", USUAL),
    ("convnext_xlarge", USUAL),
    ("convnext_xxlarge", ConvNextTraits { eps: 1e-5 }),
];
