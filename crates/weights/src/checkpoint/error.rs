//! Why a checkpoint cannot be used.

use thiserror::Error;

/// Why a checkpoint could not be used.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The file could not be opened or read: its path and what the system says.
    #[error("cannot read {0}: {1}")]
    Read(String, std::io::Error),
    /// It is not a complete safetensors file: its path and what is wrong with it.
    #[error("{0} is not a complete safetensors file: {1}; download it again")]
    Damaged(String, String),
    /// It is not a complete file of PyTorch's, or has no state dict: its path and what is wrong with it.
    #[error("{0} cannot be read as a PyTorch checkpoint: {1}")]
    Pickle(String, String),
    /// The index of a sharded checkpoint is broken: its path and what is wrong with it.
    #[error("{0} does not list the files of a checkpoint: {1}")]
    Index(String, String),
    /// A tensor that the model needs is not there.
    #[error(
        "{origin} has no tensor `{key}`{nearest}; it does not match its configuration, or has another layout"
    )]
    Missing {
        /// The file.
        origin: String,
        /// The tensor's name.
        key: String,
        /// A name that comes close, as part of a sentence.
        nearest: String,
    },
    /// A tensor does not have the shape that the configuration requires.
    #[error("`{key}` in {origin} has shape {found:?}, but the configuration requires {expected:?}")]
    Shape {
        /// The file.
        origin: String,
        /// The tensor's name.
        key: String,
        /// Its shape.
        found: Vec<usize>,
        /// The required shape.
        expected: Vec<usize>,
    },
    /// A tensor whose sizes are those of a part of the network has another number of them, or is empty.
    #[error("`{key}` in {origin} has shape {found:?}, and {rank} sizes above 0 are needed")]
    Rank {
        /// The file.
        origin: String,
        /// The tensor's name.
        key: String,
        /// Its shape.
        found: Vec<usize>,
        /// How many sizes it should have.
        rank: usize,
    },
    /// A tensor has an unsupported type.
    #[error(
        "`{key}` in {origin} has type {dtype}; supported are f32, f64, f16, bf16, f8_e4m3, f8_e5m2, signed integers, u8 and booleans"
    )]
    Type {
        /// The file.
        origin: String,
        /// The tensor's name.
        key: String,
        /// Its type.
        dtype: String,
    },
    /// The requested value is not a tensor, a broken one, or one that would have to be changed in a way that is not supported.
    #[error("`{key}` in {origin} {what}")]
    Unreadable {
        /// The file.
        origin: String,
        /// Its name.
        key: String,
        /// What it is, as a clause that follows its name.
        what: String,
    },
    /// The file has several models: its path and the prefixes of their tensors, as a list.
    #[error("{0} has several models: {1}; save the one that you want in a file of its own")]
    Ambiguous(String, String),
    /// The model has tensors that were not read.
    #[error(
        "{origin} has {names}: no part of this model uses {}, so it would not compute what it was trained to; it is of an unsupported kind, \
         or its configuration belongs to another model",
        if *count == 1 { "it" } else { "them" }
    )]
    Unused {
        /// The file.
        origin: String,
        /// How many there are.
        count: usize,
        /// How many, and the first names, as a list.
        names: String,
    },
    /// candle could not make the tensor.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
