//! Why a CLIP cannot be used.

use std::path::Path;

use phantasia_core::diagnostic::shown;
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
    /// A file of the folder could not be read: its path and what the system says.
    #[error("cannot read {0}: {1}")]
    Read(String, #[source] std::io::Error),
    /// The configuration cannot be used: its path and what is wrong with it.
    #[error("the configuration {0} {1}")]
    Config(String, String),
    /// The weights belong to an unsupported kind of model: the path of the weights and the kind of model.
    #[error("{0} has the weights of {1}; {supported}", supported = unsupported::SUPPORTED)]
    Unsupported(String, String),
    /// The tokenizer cannot be used: the name of the model and what is wrong.
    #[error("the tokenizer of {0} failed: {1}")]
    Tokenizer(String, String),
    /// The model's vocabulary has no tokens for a text: the name of the model and the text.
    #[error(
        "`{0}` can read nothing of \"{text}\": its vocabulary has no such characters; use other words or another CLIP",
        text = shown(.1)
    )]
    Unreadable(String, String),
    /// Its weights are larger than the memory that is free.
    #[error(
        "`{name}` does not fit into memory: it needs about {needed} GB, and {free} GB are free; take a smaller CLIP (`phantasia models list` tells their sizes), or end other programs",
        needed = gigabytes(*.needed),
        free = gigabytes(*.free)
    )]
    Memory {
        /// The name of the model.
        name: String,
        /// The bytes that it needs.
        needed: u64,
        /// The bytes that are free.
        free: u64,
    },
    /// candle failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e9)
}

impl ClipError {
    /// An error about a configuration; `what` is the rest of a sentence.
    pub(crate) fn config(path: &Path, what: String) -> Self {
        Self::Config(path.display().to_string(), what)
    }

    /// An error about the tokenizer of a model.
    pub(crate) fn tokenizer(model: &str, what: String) -> Self {
        Self::Tokenizer(model.to_owned(), what)
    }
}
