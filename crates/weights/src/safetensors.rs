//! The safetensors format: the length of a header, the header in JSON (texts; names, types, shapes and byte ranges of tensors), then the bytes of
//! the tensors.
//!
//! [`Checkpoint`](crate::checkpoint::Checkpoint) reads the header of a file of any size, and tensors one by one, of whatever types. A [`TensorFile`]
//! is a small file in memory with its texts, read strictly and written.

use std::collections::{BTreeMap, HashMap};
use std::io;

use ::safetensors::{SafeTensorError, SafeTensors, serialize};
use candle_core::safetensors::Load;
use candle_core::{Device, Tensor};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// Larger headers than this belong to no model.
const HEADER_LIMIT: u64 = 64 << 20;
/// Why bytes are not a safetensors file.
#[derive(Debug, Error)]
pub enum SafetensorsError {
    /// They could not be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// They are damaged, truncated or of another format; the message is a clause about the file.
    #[error("{0}")]
    Damaged(String),
}

/// A tensor's entry in the header.
#[derive(Deserialize)]
pub(crate) struct Entry {
    pub dtype: String,
    pub shape: Vec<usize>,
    /// Its range in the bytes after the header; the end is exclusive.
    pub data_offsets: (u64, u64),
}

/// The header of a file.
pub(crate) struct Header {
    pub entries: BTreeMap<String, Entry>,
    /// Where the bytes of the tensors begin.
    pub data_start: u64,
}

impl Header {
    /// Reads the header of a file of `length` bytes; `read` returns that many bytes from a position on.
    pub fn read(
        length: u64,
        read: impl Fn(u64, usize) -> io::Result<Vec<u8>>,
    ) -> Result<Self, SafetensorsError> {
        let damaged = SafetensorsError::Damaged;
        if length < 8 {
            return Err(damaged(format!("it has {length} bytes")));
        }
        let mut size = [0; 8];
        size.copy_from_slice(&read(0, 8)?);
        let size = u64::from_le_bytes(size);
        if size > HEADER_LIMIT || size > length - 8 {
            let what = format!("its header would have {size} bytes of {length}");
            return Err(damaged(what));
        }
        let data_start = 8 + size;
        let mut json: BTreeMap<String, Value> = serde_json::from_slice(&read(8, size as usize)?)
            .map_err(|error| damaged(format!("its header is not JSON ({error})")))?;
        json.remove("__metadata__");
        let data_length = length - data_start;
        let mut entries = BTreeMap::new();
        for (key, value) in json {
            let entry: Entry = serde_json::from_value(value)
                .map_err(|error| damaged(format!("the entry of `{key}` is broken ({error})")))?;
            let (start, end) = entry.data_offsets;
            if start > end || end > data_length {
                let what = format!("`{key}` would end at byte {end} of {data_length}");
                return Err(damaged(what));
            }
            entries.insert(key, entry);
        }
        Ok(Self {
            entries,
            data_start,
        })
    }
}

/// A small file in memory.
#[derive(Clone, Debug, Default)]
pub struct TensorFile {
    /// The tensors by name, on the CPU.
    pub tensors: BTreeMap<String, Tensor>,
    /// The texts by name.
    pub metadata: BTreeMap<String, String>,
}

impl TensorFile {
    /// Reads a whole file.
    ///
    /// # Errors
    /// If it is damaged, truncated or too long, or has tensors of an unsupported type.
    pub fn parse(bytes: &[u8]) -> Result<Self, SafetensorsError> {
        let damaged = |error: SafeTensorError| SafetensorsError::Damaged(error.to_string());
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let tensors = (tensors.iter())
            .map(|(name, view)| Ok((name.to_owned(), view.load(&Device::Cpu)?)))
            .collect::<candle_core::Result<_>>();
        Ok(Self {
            tensors: tensors.map_err(|error| SafetensorsError::Damaged(error.to_string()))?,
            metadata: (metadata.metadata().iter().flatten())
                .map(|(name, text)| (name.clone(), text.clone()))
                .collect(),
        })
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// If a tensor cannot be written.
    pub fn to_bytes(&self) -> candle_core::Result<Vec<u8>> {
        let metadata: HashMap<String, String> = self.metadata.clone().into_iter().collect();
        let metadata = (!metadata.is_empty()).then_some(metadata);
        serialize(&self.tensors, metadata).map_err(candle_core::Error::wrap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back_unless_it_has_another_length() {
        let values = Tensor::new(&[1.5f32, -2.0], &Device::Cpu).expect("a tensor");
        let file = TensorFile {
            tensors: BTreeMap::from([("a".to_owned(), values)]),
            metadata: BTreeMap::from([("text".to_owned(), "é \"\n".to_owned())]),
        };
        let bytes = file.to_bytes().expect("bytes");
        let read = TensorFile::parse(&bytes).expect("a file");
        assert_eq!(read.metadata, file.metadata);
        let values = read.tensors["a"].to_vec1::<f32>().expect("values");
        assert_eq!(values, [1.5, -2.0]);
        for length in 0..bytes.len() {
            assert!(TensorFile::parse(&bytes[..length]).is_err(), "{length}");
        }
        assert!(TensorFile::parse(&[&bytes[..], &[0]].concat()).is_err());
    }
}
