//! Reading checkpoints: safetensors and what PyTorch pickles, one tensor at a time, checked, as f32.

mod guard;
mod pickle;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use candle_core::{DType, Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
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
    /// A tensor of integers or of an unknown type where numbers are needed.
    #[error("`{key}` in {origin} is of type {dtype}; f32, f16, bf16, f64 and u8 are read")]
    Type {
        /// The file.
        origin: String,
        /// The tensor's name.
        key: String,
        /// Its type.
        dtype: String,
    },
    /// candle could not make the tensor.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// Larger headers than this belong to no model.
const HEADER_LIMIT: u64 = 64 << 20;

/// A tensor's entry in a safetensors header.
#[derive(Deserialize)]
struct Header {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// The list of a checkpoint in several files.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Where a tensor lies.
struct Entry {
    /// As safetensors names it, or in words what it is instead of a tensor of numbers.
    dtype: String,
    shape: Vec<usize>,
    /// Which of the files.
    part: usize,
    /// Its first byte in the file, and the one behind its last.
    start: u64,
    end: u64,
    /// How many elements apart neighbours are along each dimension, where they do not simply follow each other.
    strides: Option<Vec<usize>>,
}

enum Source {
    Bytes(&'static [u8]),
    File(Mutex<File>),
    Random { seed: u64 },
}

/// One file, and what messages call it.
struct Part {
    origin: String,
    source: Source,
}

/// The tensors of one checkpoint. Nothing but the list of them is held in memory.
///
/// Files are known by their content, not by their name: safetensors; PyTorch's zip archives (`.bin`, `.pt`, `.pth`, `.ckpt`), TorchScript's
/// among them; and the JSON list of a checkpoint that is divided into several files.
pub struct Checkpoint {
    origin: String,
    parts: Vec<Part>,
    entries: BTreeMap<String, Entry>,
}

impl Checkpoint {
    /// Opens a file and reads what it holds.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let origin = path.display().to_string();
        let fail = |source| CheckpointError::Read {
            origin: origin.clone(),
            source,
        };
        let mut file = File::open(path).map_err(fail)?;
        let length = file.metadata().map_err(fail)?.len();
        let mut start = Vec::new();
        (file.by_ref().take(48).read_to_end(&mut start)).map_err(fail)?;
        match Format::of(&start) {
            Format::Safetensors => {
                Self::safetensors(origin, Source::File(Mutex::new(file)), length)
            }
            Format::Zip => {
                let pickle = |what| CheckpointError::Pickle {
                    origin: origin.clone(),
                    what,
                };
                let entries = pickle::read(&file, length).map_err(pickle)?;
                Ok(Self::single(
                    origin,
                    Source::File(Mutex::new(file)),
                    entries.into_iter().collect(),
                ))
            }
            Format::Index => Self::divided(path, &origin, length),
            Format::Unknown(what) => Err(CheckpointError::Pickle {
                origin,
                what: what.to_owned(),
            }),
        }
    }

    /// Reads the header of a safetensors file that is part of the program; `origin` names it in errors.
    pub fn from_static(origin: &str, bytes: &'static [u8]) -> Result<Self, CheckpointError> {
        Self::safetensors(origin.to_owned(), Source::Bytes(bytes), bytes.len() as u64)
    }

    fn single(origin: String, source: Source, entries: BTreeMap<String, Entry>) -> Self {
        let part = Part {
            origin: origin.clone(),
            source,
        };
        Self {
            origin,
            parts: vec![part],
            entries,
        }
    }

    /// The files that `model.safetensors.index.json` names; they lie beside it.
    fn divided(path: &Path, origin: &str, length: u64) -> Result<Self, CheckpointError> {
        let broken = |what: String| CheckpointError::Index {
            origin: origin.to_owned(),
            what,
        };
        if length > HEADER_LIMIT {
            return Err(broken(format!("it has {length} bytes")));
        }
        let text = std::fs::read(path).map_err(|source| CheckpointError::Read {
            origin: origin.to_owned(),
            source,
        })?;
        let index: Index =
            serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
        let names: BTreeSet<&str> = index.weight_map.values().map(String::as_str).collect();
        if names.len() > 1000 {
            return Err(broken(format!("it names {} files", names.len())));
        }
        let mut whole = Self {
            origin: origin.to_owned(),
            parts: vec![],
            entries: BTreeMap::new(),
        };
        for name in names {
            if Path::new(name).file_name() != Some(name.as_ref()) || name.ends_with(".json") {
                return Err(broken(format!(
                    "`{name}` is not the name of a file beside it"
                )));
            }
            let part = Self::open(&path.with_file_name(name))?;
            let offset = whole.parts.len();
            whole.parts.extend(part.parts);
            whole
                .entries
                .extend(part.entries.into_iter().map(|(key, mut entry)| {
                    entry.part += offset;
                    (key, entry)
                }));
        }
        Ok(whole)
    }

    fn safetensors(origin: String, source: Source, length: u64) -> Result<Self, CheckpointError> {
        let damaged = |what: String| CheckpointError::Damaged {
            origin: origin.clone(),
            what,
        };
        if length < 8 {
            return Err(damaged(format!("it has {length} bytes")));
        }
        let mut size = [0; 8];
        size.copy_from_slice(&read(&origin, &source, 0, 8)?);
        let size = u64::from_le_bytes(size);
        if size > HEADER_LIMIT || size > length - 8 {
            return Err(damaged(format!(
                "its header would have {size} bytes of {length}"
            )));
        }
        let header = read(&origin, &source, 8, size as usize)?;
        let json: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&header)
            .map_err(|error| damaged(format!("its header is not JSON ({error})")))?;
        let data_start = 8 + size;
        let mut entries = BTreeMap::new();
        for (key, value) in json {
            if key == "__metadata__" {
                continue;
            }
            let entry: Header = serde_json::from_value(value)
                .map_err(|error| damaged(format!("the entry of `{key}` is broken ({error})")))?;
            let (start, end) = entry.data_offsets;
            if start > end || end > length - data_start {
                return Err(damaged(format!(
                    "`{key}` would end at byte {end} of {}",
                    length - data_start
                )));
            }
            entries.insert(
                key,
                Entry {
                    dtype: entry.dtype,
                    shape: entry.shape,
                    part: 0,
                    start: data_start + start,
                    end: data_start + end,
                    strides: None,
                },
            );
        }
        Ok(Self::single(origin, source, entries))
    }

    /// A checkpoint that has every tensor it is asked for, with random values: to time and to test shapes without weights.
    pub fn random(seed: u64) -> Self {
        let origin = "random weights".to_owned();
        Self::single(origin, Source::Random { seed }, BTreeMap::new())
    }

    /// Where it comes from, for messages.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The names of all tensors.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The shape of a tensor, if it is there.
    pub fn shape(&self, key: &str) -> Option<&[usize]> {
        self.entries.get(key).map(|entry| entry.shape.as_slice())
    }

    /// The tensor of that name and shape, as f32 on the processor.
    pub fn tensor(&self, key: &str, shape: &[usize]) -> Result<Tensor, CheckpointError> {
        if let Some(Source::Random { seed }) = self.parts.first().map(|part| &part.source) {
            let seed = *seed;
            return Ok(random_tensor(seed, key, shape)?);
        }
        let Some(entry) = self.entries.get(key) else {
            return Err(CheckpointError::Missing {
                origin: self.origin.clone(),
                key: key.to_owned(),
                nearest: self.nearest(key),
            });
        };
        if entry.shape != shape {
            return Err(CheckpointError::Shape {
                origin: self.origin.clone(),
                key: key.to_owned(),
                found: entry.shape.clone(),
                expected: shape.to_owned(),
            });
        }
        let dtype = match entry.dtype.as_str() {
            "F32" => DType::F32,
            "F16" => DType::F16,
            "BF16" => DType::BF16,
            "F64" => DType::F64,
            "U8" => DType::U8,
            _ => {
                return Err(CheckpointError::Type {
                    origin: self.origin.clone(),
                    key: key.to_owned(),
                    dtype: entry.dtype.clone(),
                });
            }
        };
        let bytes = entry.end - entry.start;
        let part = &self.parts[entry.part];
        let load = || read(&part.origin, &part.source, entry.start, bytes as usize);
        let tensor = match &entry.strides {
            // the span was held against the shape when the file was opened
            Some(strides) => {
                let span = bytes as usize / dtype.size_in_bytes();
                let line = Tensor::from_raw_buffer(&load()?, dtype, &[span], &Device::Cpu)?;
                strided(&line.to_dtype(DType::F32)?, shape, strides)?
            }
            None => {
                let elements =
                    (shape.iter()).try_fold(1usize, |count, &dim| count.checked_mul(dim));
                let wanted = elements.and_then(|count| count.checked_mul(dtype.size_in_bytes()));
                if wanted.map(|wanted| wanted as u64) != Some(bytes) {
                    return Err(CheckpointError::Damaged {
                        origin: part.origin.clone(),
                        what: format!("`{key}` has {bytes} bytes, not those of its shape"),
                    });
                }
                Tensor::from_raw_buffer(&load()?, dtype, shape, &Device::Cpu)?
            }
        };
        Ok(tensor.to_dtype(DType::F32)?)
    }

    fn nearest(&self, key: &str) -> String {
        (self.keys())
            .map(|other| (strsim::jaro(key, other), other))
            .filter(|(score, _)| *score > 0.85)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map_or(String::new(), |(_, other)| {
                format!(" (the nearest is `{other}`)")
            })
    }
}

/// The elements of a line that lie `strides` apart, in the order of the shape.
fn strided(line: &Tensor, shape: &[usize], strides: &[usize]) -> candle_core::Result<Tensor> {
    let line = line.to_vec1::<f32>()?;
    let mut places = vec![0];
    for (&dim, &stride) in shape.iter().zip(strides) {
        places = (places.iter())
            .flat_map(|place| (0..dim).map(move |index| place + index * stride))
            .collect();
    }
    let values: Vec<f32> = places.iter().map(|place| line[*place]).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// What the first bytes of a file say of it.
enum Format {
    Safetensors,
    Zip,
    Index,
    Unknown(&'static str),
}

impl Format {
    fn of(start: &[u8]) -> Self {
        // safetensors begin with the length of a header, which is JSON
        if start.get(8) == Some(&b'{') {
            return Self::Safetensors;
        }
        match start {
            [b'P', b'K', 3, 4, ..] => Self::Zip,
            [b'{', ..] => Self::Index,
            [0x80, 1..=5, ..] => Self::Unknown(
                "it is a bare pickle, as PyTorch wrote before version 1.6; load it in a current PyTorch and save it again",
            ),
            _ if start.starts_with(b"version https://git-lfs") => Self::Unknown(
                "it is a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`",
            ),
            [b'<', ..] => Self::Unknown("it is a web page, not a checkpoint; fetch it again"),
            _ => Self::Safetensors,
        }
    }
}

/// Values of a size at which activations stay about as large as they are.
fn random_tensor(seed: u64, key: &str, shape: &[usize]) -> candle_core::Result<Tensor> {
    let bytes = key.bytes().map(u64::from);
    let hash = bytes.fold(seed, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte));
    let mut rng = ChaCha8Rng::seed_from_u64(hash);
    let count: usize = shape.iter().product();
    let inputs: usize = shape.iter().skip(1).product();
    let scale = 1.0 / (inputs as f32).sqrt();
    let values: Vec<f32> = if key.ends_with("running_var") {
        vec![1.0; count]
    } else {
        (0..count)
            // uniform, with the variance of 1 / inputs
            .map(|_| scale * 3f32.sqrt() * rng.random_range(-1.0..1.0))
            .collect()
    };
    Tensor::from_vec(values, shape, &Device::Cpu)
}

fn read(
    origin: &str,
    source: &Source,
    start: u64,
    length: usize,
) -> Result<Vec<u8>, CheckpointError> {
    match source {
        Source::Bytes(bytes) => {
            let start = start as usize;
            Ok(bytes[start..start + length].to_vec())
        }
        Source::Random { .. } => Ok(vec![0; length]),
        Source::File(file) => {
            let mut file = file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let mut data = vec![0; length];
            file.seek(SeekFrom::Start(start))
                .and_then(|_| file.read_exact(&mut data))
                .map_err(|source| CheckpointError::Read {
                    origin: origin.to_owned(),
                    source,
                })?;
            Ok(data)
        }
    }
}

/// A checkpoint seen from one of its branches: names are relative to a prefix.
#[derive(Clone, Copy)]
pub struct Branch<'a> {
    checkpoint: &'a Checkpoint,
    device: &'a Device,
    /// What numbers are rounded to, and then kept in.
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

    /// The same, its numbers rounded to one type and kept in another instead of f32.
    pub fn of_types(self, rounded: DType, kept: DType) -> Self {
        Self {
            types: [rounded, kept],
            ..self
        }
    }

    /// The tensor of that full name and shape.
    pub fn get(&self, key: &str, shape: &[usize]) -> Result<Tensor, CheckpointError> {
        let [rounded, kept] = self.types;
        // cast before it travels: the device holds no more than what is kept
        let tensor = self.checkpoint.tensor(key, shape)?;
        let tensor = tensor.to_dtype(rounded)?.to_dtype(kept)?;
        Ok(tensor.to_device(self.device)?)
    }

    /// Whether there is a tensor of that name.
    pub fn has(&self, key: &str) -> bool {
        self.checkpoint.shape(key).is_some()
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &'a Checkpoint {
        self.checkpoint
    }
}

/// A file of a model's folder.
pub fn file_in(folder: &Path, names: &[&str]) -> Option<PathBuf> {
    names
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
}
