//! A checkpoint as the layers of a network read it.

use candle_core::{DType, Device, Tensor};

use super::{Checkpoint, CheckpointError, Rows};

/// A checkpoint whose tensors go to one device in one type.
#[derive(Clone, Copy)]
pub struct Branch<'a> {
    checkpoint: &'a Checkpoint,
    device: &'a Device,
    /// The type that numbers are rounded to, and the type that they are then stored in.
    types: [DType; 2],
}

impl<'a> Branch<'a> {
    /// The whole checkpoint, its tensors going to `device`.
    pub fn root(checkpoint: &'a Checkpoint, device: &'a Device) -> Self {
        Self {
            checkpoint,
            device,
            types: [DType::F32; 2],
        }
    }

    /// The same, with numbers rounded to one type and stored in another, instead of f32.
    pub fn of_types(self, rounded: DType, kept: DType) -> Self {
        Self {
            types: [rounded, kept],
            ..self
        }
    }

    /// The type of the tensors that it gives.
    pub fn dtype(&self) -> DType {
        self.types[1]
    }

    /// The tensor of that full name and shape.
    pub fn get(&self, key: &str, shape: &[usize]) -> Result<Tensor, CheckpointError> {
        let [rounded, kept] = self.types;
        // cast before the copy, so that the device never holds more than the final type
        let tensor = self.checkpoint.tensor(key, shape)?;
        let tensor = tensor.to_dtype(rounded)?.to_dtype(kept)?;
        Ok(tensor.to_device(self.device)?)
    }

    /// The matrix of that full name and shape, whose rows are read when they are needed; none if they have to be read together, as
    /// [`Checkpoint::rows`] says.
    pub fn rows(&self, key: &str, shape: [usize; 2]) -> Result<Option<Rows>, CheckpointError> {
        let rows = self.checkpoint.rows(key, shape)?;
        Ok(rows.map(|rows| rows.going_to(self.types, self.device)))
    }

    /// The sizes of the tensor of that full name, if it has so many of them.
    pub fn dims<const N: usize>(&self, key: &str) -> Result<[usize; N], CheckpointError> {
        self.checkpoint.dims(key)
    }

    /// Whether there is a tensor of that name.
    pub fn has(&self, key: &str) -> bool {
        self.checkpoint.has(key)
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &'a Checkpoint {
        self.checkpoint
    }
}
