//! How a model is loaded.

use phantasia_core::Seamless;

/// How a model is loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// Whether a gradient keeps the inputs of the network's blocks alone and computes what is in them again: less memory, and about a third
    /// more time.
    pub recompute: bool,
    /// Whether predicted images are clamped to their range; `None` takes the scheduler's setting.
    pub clip: Option<bool>,
    /// The axes along which its pictures repeat without a seam: convolutions wrap around.
    pub seamless: Seamless,
}
