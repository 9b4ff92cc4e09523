//! Why a CLIP cannot be used.

use std::path::Path;

use thiserror::Error;
use weights::checkpoint::CheckpointError;

use crate::unsupported;

/// Why a CLIP could not be loaded or used.
#[derive(Debug, Error)]
pub enum ClipError {
    /// The weights do not fit or cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The folder lacks a file.
    #[error("{folder} has no {missing}; a CLIP's folder holds {wanted}")]
    NoFile {
        /// The folder.
        folder: String,
        /// The missing file.
        missing: &'static str,
        /// The files that belong there, as a phrase.
        wanted: &'static str,
    },
    /// A file of the folder could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The configuration cannot be used.
    #[error("the configuration {path} {what}")]
    Config {
        /// The file.
        path: String,
        /// What is wrong, as the rest of a sentence.
        what: String,
    },
    /// The weights belong to an unsupported kind of model.
    #[error("{path} has the weights of {kind}; {}", unsupported::SUPPORTED)]
    Unsupported {
        /// The file.
        path: String,
        /// The kind of model.
        kind: String,
    },
    /// The tokenizer cannot be used.
    #[error("the tokenizer of {model} failed: {what}")]
    Tokenizer {
        /// The model.
        model: String,
        /// What is wrong.
        what: String,
    },
    /// The model's vocabulary has no tokens for a text.
    #[error(
        "`{model}` can read nothing of \"{text}\": its vocabulary has no such characters; use other words or another CLIP"
    )]
    Unreadable {
        /// The model.
        model: String,
        /// The text.
        text: String,
    },
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl ClipError {
    /// An error about a configuration; `what` is the rest of a sentence.
    pub(crate) fn config(path: &Path, what: String) -> Self {
        Self::Config {
            path: path.display().to_string(),
            what,
        }
    }

    /// An error about the tokenizer of a model.
    pub(crate) fn tokenizer(model: &str, what: String) -> Self {
        Self::Tokenizer {
            model: model.to_owned(),
            what,
        }
    }
}
