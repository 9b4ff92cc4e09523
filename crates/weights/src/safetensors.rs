//! The safetensors format: the length of a header, the header in JSON (texts; names, types, shapes and byte ranges of tensors), then the bytes of
//! the tensors.
//!
//! [`Checkpoint`](crate::checkpoint::Checkpoint) reads the header of a file of any size, and tensors one by one. [`Safetensors`] is a small file
//! in memory as a whole, which is read strictly, and written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thiserror::Error;

/// Larger headers than this belong to no model.
const HEADER_LIMIT: u64 = 64 << 20;
/// The key of the texts.
const METADATA: &str = "__metadata__";
/// The supported types of tensors in memory, in the order in which they are written: alignment needs the wide ones first.
const TYPES: [DType; 5] = [DType::I64, DType::F64, DType::F32, DType::U32, DType::U8];

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
#[derive(Serialize, Deserialize)]
pub(crate) struct Entry {
    pub dtype: String,
    pub shape: Vec<usize>,
    /// Its range in the bytes after the header; the end is exclusive.
    pub data_offsets: (u64, u64),
}

/// The header of a file.
pub(crate) struct Header {
    pub metadata: BTreeMap<String, String>,
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
        let damaged = |what: String| Err(SafetensorsError::Damaged(what));
        if length < 8 {
            return damaged(format!("it has {length} bytes"));
        }
        let mut size = [0; 8];
        size.copy_from_slice(&read(0, 8)?);
        let size = u64::from_le_bytes(size);
        if size > HEADER_LIMIT || size > length - 8 {
            return damaged(format!("its header would have {size} bytes of {length}"));
        }
        let data_start = 8 + size;
        let mut header = Self {
            metadata: BTreeMap::new(),
            entries: BTreeMap::new(),
            data_start,
        };
        let json: BTreeMap<String, Value> = match serde_json::from_slice(&read(8, size as usize)?) {
            Ok(json) => json,
            Err(error) => return damaged(format!("its header is not JSON ({error})")),
        };
        let broken = |key: &str, error: serde_json::Error| {
            SafetensorsError::Damaged(format!("the entry of `{key}` is broken ({error})"))
        };
        for (key, value) in json {
            if key == METADATA {
                header.metadata = serde_json::from_value(value).unwrap_or_default();
                continue;
            }
            let entry: Entry =
                serde_json::from_value(value).map_err(|error| broken(&key, error))?;
            let (start, end) = entry.data_offsets;
            if start > end || end > length - data_start {
                return damaged(format!(
                    "`{key}` would end at byte {end} of {}",
                    length - data_start
                ));
            }
            header.entries.insert(key, entry);
        }
        Ok(header)
    }
}

/// A tensor in memory, as bytes.
#[derive(Clone, Debug)]
pub struct RawTensor<'a> {
    /// I64, F64, F32, U32 or U8.
    pub dtype: DType,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements in the order of the shape, little-endian.
    pub bytes: Cow<'a, [u8]>,
}

impl RawTensor<'static> {
    /// The bytes of a tensor; half precision is written as f32, which loses nothing.
    ///
    /// # Errors
    /// If its type is not supported, or the device fails.
    pub fn of(tensor: &Tensor) -> candle_core::Result<Self> {
        let tensor = match tensor.dtype() {
            DType::F16 | DType::BF16 => tensor.to_dtype(DType::F32)?,
            _ => tensor.clone(),
        };
        let mut bytes = vec![];
        tensor.write_bytes(&mut bytes)?;
        Self::new(tensor.dtype(), tensor.dims(), bytes)
    }

    /// These elements, little-endian, as a tensor.
    ///
    /// # Errors
    /// If the type is not supported, or the bytes are not those of the shape.
    pub fn new(dtype: DType, shape: &[usize], bytes: Vec<u8>) -> candle_core::Result<Self> {
        let tensor = Self {
            dtype,
            shape: shape.to_vec(),
            bytes: bytes.into(),
        };
        if !TYPES.contains(&dtype) || tensor.wanted() != Some(tensor.bytes.len()) {
            candle_core::bail!(
                "{} bytes of type {} and shape {shape:?} cannot be written",
                tensor.bytes.len(),
                dtype.as_str()
            );
        }
        Ok(tensor)
    }
}

impl RawTensor<'_> {
    /// How many bytes the shape needs.
    fn wanted(&self) -> Option<usize> {
        let elements =
            (self.shape.iter()).try_fold(1usize, |count, &dim| count.checked_mul(dim))?;
        elements.checked_mul(self.dtype.size_in_bytes())
    }

    /// The tensor on a device.
    ///
    /// # Errors
    /// If the device fails.
    pub fn tensor(&self, device: &Device) -> candle_core::Result<Tensor> {
        Tensor::from_raw_buffer(&self.bytes, self.dtype, &self.shape, device)
    }
}

/// A file in memory.
#[derive(Clone, Debug, Default)]
pub struct Safetensors<'a> {
    /// The tensors by name.
    pub tensors: BTreeMap<String, RawTensor<'a>>,
    /// The texts by name.
    pub metadata: BTreeMap<String, String>,
}

impl<'a> Safetensors<'a> {
    /// Reads a whole file.
    ///
    /// # Errors
    /// If it is damaged or truncated, has bytes that belong to no tensor, or tensors of an unsupported type.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SafetensorsError> {
        let part = |start: u64, length: usize| {
            let start = usize::try_from(start).unwrap_or(usize::MAX);
            (bytes.get(start..))
                .and_then(|rest| rest.get(..length))
                .ok_or(ErrorKind::UnexpectedEof)
        };
        let header = Header::read(bytes.len() as u64, |start, length| {
            Ok(part(start, length)?.to_vec())
        })?;
        let mut tensors = BTreeMap::new();
        let mut ranges = vec![];
        for (name, entry) in header.entries {
            let (start, end) = entry.data_offsets;
            let known = TYPES
                .into_iter()
                .find(|known| type_name(*known) == entry.dtype);
            let Some(dtype) = known else {
                let what = format!("`{name}` has the unsupported type {}", entry.dtype);
                return Err(SafetensorsError::Damaged(what));
            };
            let data = part(header.data_start + start, (end - start) as usize);
            let tensor = RawTensor {
                dtype,
                shape: entry.shape,
                bytes: data.map_err(io::Error::from)?.into(),
            };
            if tensor.wanted() != Some(tensor.bytes.len()) {
                let what = format!("`{name}` has {} bytes, not those of its shape", end - start);
                return Err(SafetensorsError::Damaged(what));
            }
            tensors.insert(name, tensor);
            ranges.push((start, end));
        }
        ranges.sort_unstable();
        let filled = (ranges.iter()).try_fold(header.data_start, |at, (start, end)| {
            (header.data_start + start == at).then_some(header.data_start + end)
        });
        if filled != Some(bytes.len() as u64) {
            let what = "its tensors do not fill it exactly".to_owned();
            return Err(SafetensorsError::Damaged(what));
        }
        Ok(Self {
            tensors,
            metadata: header.metadata,
        })
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut tensors: Vec<(&String, &RawTensor<'_>)> = self.tensors.iter().collect();
        tensors.sort_by_key(|(_, tensor)| TYPES.iter().position(|known| *known == tensor.dtype));
        let mut header = Map::new();
        if !self.metadata.is_empty() {
            header.insert(METADATA.to_owned(), json!(self.metadata));
        }
        let mut end = 0;
        for (name, tensor) in &tensors {
            let start = end;
            end += tensor.bytes.len() as u64;
            let entry = Entry {
                dtype: type_name(tensor.dtype),
                shape: tensor.shape.clone(),
                data_offsets: (start, end),
            };
            header.insert((*name).clone(), json!(entry));
        }
        let mut header = Value::Object(header).to_string().into_bytes();
        // tensors begin at a multiple of eight
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        for (_, tensor) in tensors {
            bytes.extend_from_slice(&tensor.bytes);
        }
        bytes
    }
}

/// A type's name in the format.
fn type_name(dtype: DType) -> String {
    dtype.as_str().to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Safetensors<'static> {
        let tensor = |values: &[f32]| {
            let tensor = Tensor::new(values, &Device::Cpu).expect("a tensor");
            RawTensor::of(&tensor).expect("bytes")
        };
        let numbers = RawTensor::new(DType::U8, &[3], vec![1, 2, 3]).expect("a tensor");
        Safetensors {
            tensors: BTreeMap::from([
                ("a".to_owned(), numbers),
                ("b".to_owned(), tensor(&[1.5, -2.0])),
            ]),
            metadata: BTreeMap::from([("text".to_owned(), "é \"\n".to_owned())]),
        }
    }

    #[test]
    fn a_file_reads_back_and_candle_reads_it() {
        let bytes = file().to_bytes();
        let read = Safetensors::parse(&bytes).expect("a file");
        assert_eq!(read.metadata, file().metadata);
        let values = read.tensors["b"].tensor(&Device::Cpu).expect("a tensor");
        assert_eq!(values.to_vec1::<f32>().expect("values"), [1.5, -2.0]);
        assert_eq!(*read.tensors["a"].bytes, [1, 2, 3]);
        let other = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).expect("a file");
        assert_eq!(other["a"].to_vec1::<u8>().expect("values"), [1, 2, 3]);
        assert_eq!(other["b"].dims(), [2]);
    }

    #[test]
    fn a_file_of_another_length_is_damaged() {
        let bytes = file().to_bytes();
        for length in 0..bytes.len() {
            assert!(Safetensors::parse(&bytes[..length]).is_err(), "{length}");
        }
        assert!(Safetensors::parse(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn bytes_that_do_not_fit_their_shape_are_refused() {
        assert!(RawTensor::new(DType::F32, &[2], vec![0; 7]).is_err());
        assert!(RawTensor::new(DType::F16, &[1], vec![0; 2]).is_err());
    }
}
