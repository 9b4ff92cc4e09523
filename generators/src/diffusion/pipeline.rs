//! Where a diffusion model is read from.

use std::path::PathBuf;

use super::{ModelError, embedded, is_conditional};

/// Classifier-free guidance of Stable Diffusion where it is not set.
const CFG: f64 = 7.5;

/// Where a diffusion model is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pipeline {
    /// The embedded model. It works in the latents of the embedded VQGAN, and its texts are encoded by the text tower of the embedded CLIP.
    Embedded,
    /// A folder in the layout of diffusers.
    Folder(PathBuf),
}

impl Pipeline {
    /// Whether the model is conditioned on a text.
    ///
    /// # Errors
    /// As [`is_conditional`](super::is_conditional).
    pub fn is_conditional(&self) -> Result<bool, ModelError> {
        match self {
            Self::Embedded => Ok(true),
            Self::Folder(folder) => is_conditional(folder),
        }
    }

    /// The scale of classifier-free guidance where it is not set.
    pub(super) fn default_cfg(&self) -> f64 {
        match self {
            Self::Embedded => embedded::CFG,
            Self::Folder(_) => CFG,
        }
    }

    /// Width and height that the network works at where they are not set, for a picture of that size.
    pub(super) fn default_resolution(&self, size: [usize; 2]) -> [usize; 2] {
        match self {
            Self::Embedded => embedded::resolution(size),
            Self::Folder(_) => size,
        }
    }
}
