//! Why a diffusion model could not be loaded.

use std::path::PathBuf;

use thiserror::Error;
use weights::checkpoint::CheckpointError;

use crate::AutoencoderError;

/// Why a diffusion model could not be loaded.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The folder lacks a file.
    #[error(
        "{folder} holds no diffusion model: there is no {wanted} in it or in its folder `{part}`"
    )]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// What was looked for.
        wanted: &'static str,
        /// The part of a pipeline that would hold it.
        part: &'static str,
    },
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file is not the JSON that is expected.
    #[error("{path} is not a configuration of diffusers: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A configuration of another kind of model.
    #[error(
        "{path} is of the class `{found}`; a `UNet2DModel` is read here, that is an unconditional model of diffusers, or a `UNet2DConditionModel`, that is a \
         Stable Diffusion"
    )]
    Class {
        /// The file.
        path: PathBuf,
        /// Its class.
        found: String,
    },
    /// The model has an unsupported setting.
    #[error("the model's configuration asks for {0}")]
    Unsupported(String),
    /// The autoencoder of a pipeline cannot be used.
    #[error(transparent)]
    Autoencoder(#[from] AutoencoderError),
    /// The weights do not fit.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The network could not be made.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

pub(super) type Loaded<T> = Result<T, ModelError>;
