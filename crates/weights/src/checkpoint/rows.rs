//! Large tables, of which few rows are needed.

use std::fmt;

use candle_core::{DType, Device, Tensor};

use super::{CheckpointError, Entry, Part, values};

/// A matrix that stays in its file, in the precision that it has there. Rows are read when they are needed.
pub struct Rows {
    part: Part,
    /// Where the first row begins, and the bytes of a row.
    start: u64,
    stride: usize,
    dtype: String,
    shape: [usize; 2],
    /// As a [`super::Branch`]'s.
    types: [DType; 2],
    device: Device,
}

impl Rows {
    /// The matrix of an entry that was checked against this shape.
    pub(super) fn new(part: Part, entry: &Entry, shape: [usize; 2]) -> Self {
        Self {
            part,
            start: entry.start,
            stride: shape[1] * values::width(&entry.dtype).unwrap_or_default(),
            dtype: entry.dtype.clone(),
            shape,
            types: [DType::F32; 2],
            device: Device::Cpu,
        }
    }

    /// The same, with numbers rounded to one type and stored in another, on a device.
    pub(super) fn going_to(self, types: [DType; 2], device: &Device) -> Self {
        Self {
            types,
            device: device.clone(),
            ..self
        }
    }

    /// The rows of these numbers, `[numbers, columns]`.
    ///
    /// # Errors
    /// If there is no such row, or the file cannot be read.
    pub fn read(&self, numbers: &[u32]) -> Result<Tensor, CheckpointError> {
        let [count, columns] = self.shape;
        let mut bytes = Vec::with_capacity(numbers.len() * self.stride);
        for &number in numbers {
            if number as usize >= count {
                let what = format!("there is no row {number} in a table of {count}");
                return Err(candle_core::Error::Msg(what).into());
            }
            let at = self.start + u64::from(number) * self.stride as u64;
            bytes.extend(self.part.read(at, self.stride)?);
        }
        let shape = [numbers.len(), columns];
        let [rounded, kept] = self.types;
        let rows = values::tensor(&bytes, &self.dtype, &shape, None)?;
        let rows = rows.to_dtype(rounded)?.to_dtype(kept)?;
        Ok(rows.to_device(&self.device)?)
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rows, columns] = self.shape;
        write!(f, "Rows({rows} x {columns} of {})", self.dtype)
    }
}
