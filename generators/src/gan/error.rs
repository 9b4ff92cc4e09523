//! Why a GAN cannot be used.

use thiserror::Error;
use weights::checkpoint::CheckpointError;

/// Why a GAN could not be used.
#[derive(Debug, Error)]
pub enum GanError {
    /// The file could not be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A tensor is missing, or has another shape than the network expects.
    #[error("{error} (read as {architecture})")]
    Weights {
        /// The architecture that the names were taken for.
        architecture: &'static str,
        /// What is wrong; not called a source, which would be said twice.
        error: CheckpointError,
    },
    /// Nothing in the file is named as in an architecture that is read.
    #[error("{origin} holds no known GAN: none of {wanted} was recognised by its tensors; {found}")]
    Unknown {
        /// The file.
        origin: String,
        /// The architectures, as a list.
        wanted: String,
        /// What it holds instead, as a clause.
        found: String,
    },
    /// A network of a known architecture with a part that is not supported.
    #[error("{origin} is a {architecture}, but {what}")]
    Unsupported {
        /// The file.
        origin: String,
        /// The architecture.
        architecture: &'static str,
        /// What is wrong, as a clause.
        what: String,
    },
    /// A setting that the architecture does not have.
    #[error(
        "`{key}` is a setting of {only}, and this model is a {architecture}: leave `{key}` out"
    )]
    Option {
        /// The setting.
        key: &'static str,
        /// The architecture.
        architecture: &'static str,
        /// The architecture that has it.
        only: &'static str,
    },
    /// A setting whose value does not fit the model.
    #[error("`{key}` does not fit this {architecture}: {what}")]
    Value {
        /// The setting.
        key: &'static str,
        /// The architecture.
        architecture: &'static str,
        /// What is wrong, as a clause.
        what: String,
    },
    /// The folder holds no weights.
    #[error(
        "{folder} holds no file of weights, neither one called {wanted} nor a single one of another name"
    )]
    Empty {
        /// The folder.
        folder: String,
        /// The names that are known.
        wanted: String,
    },
    /// candle could not make the network.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
