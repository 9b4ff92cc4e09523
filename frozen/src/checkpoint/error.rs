//! Why a checkpoint cannot be used.

use thiserror::Error;

/// Why a checkpoint could not be used.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The file could not be opened or read.
    #[error("cannot read {origin}: {source}")]
    Read {
        /// The file.
        origin: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not a whole safetensors file.
    #[error("{origin} is not a safetensors file, or not a whole one: {what}; fetch it again")]
    Damaged {
        /// The file.
        origin: String,
        /// What is wrong with it.
        what: String,
    },
    /// It is not a whole file of PyTorch's, or holds no state dict.
    #[error("{origin} cannot be read as a PyTorch checkpoint: {what}")]
    Pickle {
        /// The file.
        origin: String,
        /// What is wrong with it.
        what: String,
    },
    /// The list of the files of a divided checkpoint is broken.
    #[error("{origin} does not list the files of a checkpoint: {what}")]
    Index {
        /// The file.
        origin: String,
        /// What is wrong with it.
        what: String,
    },
    /// A tensor that the model needs is not there.
    #[error(
        "{origin} has no tensor `{key}`{nearest}; it does not fit its configuration, or is of another layout"
    )]
    Missing {
        /// The file.
        origin: String,
        /// The tensor's name.
        key: String,
        /// A name that comes close, as part of a sentence.
        nearest: String,
    },
    /// A tensor has another shape than the configuration asks for.
    #[error("`{key}` in {origin} has shape {found:?}, and the configuration asks for {expected:?}")]
    Shape {
        /// The file.
        origin: String,
        /// The tensor's name.
        key: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that is asked for.
        expected: Vec<usize>,
    },
    /// A tensor of a type that is not read.
    #[error(
        "`{key}` in {origin} is of type {dtype}; f32, f16, bf16, f64, booleans and signed integers and u8 are read"
    )]
    Type {
        /// The file.
        origin: String,
        /// The tensor's name.
        key: String,
        /// Its type.
        dtype: String,
    },
    /// What is asked for is no tensor, or a broken one.
    #[error("`{key}` in {origin} {what}")]
    Odd {
        /// The file.
        origin: String,
        /// Its name.
        key: String,
        /// What it is, as the rest of a sentence.
        what: String,
    },
    /// Several models lie in the file.
    #[error(
        "{origin} holds several models that could be meant: {prefixes}; save the one that is wanted in a file of its own"
    )]
    Ambiguous {
        /// The file.
        origin: String,
        /// What the names of their tensors begin with, as a list.
        prefixes: String,
    },
    /// The model holds tensors that nothing asks for.
    #[error(
        "{origin} holds {names}: no part of this model uses {}, so that it would not be computed as it was trained; it is of a kind that is not \
         built here, or its configuration is another model's",
        if *count == 1 { "it" } else { "them" }
    )]
    Unused {
        /// The file.
        origin: String,
        /// How many there are.
        count: usize,
        /// How many, and the names of the first, as a list.
        names: String,
    },
    /// candle could not make the tensor.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
