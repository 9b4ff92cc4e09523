//! Reading checkpoints: safetensors and what PyTorch pickles, one tensor at a time, checked, as f32.

mod branch;
mod error;
mod float8;
mod index;
mod model;
mod pickle;
mod rows;
mod source;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::{Add, Sub};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

pub use branch::Branch;
use candle_core::Tensor;
pub use error::CheckpointError;
pub(crate) use index::{is_plain, shards};
pub use model::Scope;
pub use rows::Rows;

use crate::safetensors::{Header, SafetensorsError};
use source::Source;

/// Where a tensor is stored.
struct Entry {
    /// The type by its name in safetensors, or PyTorch's name of a type that safetensors does not have.
    dtype: String,
    shape: Vec<usize>,
    /// The index of its part.
    part: usize,
    /// Its byte range in the part; `end` is exclusive.
    start: u64,
    end: u64,
    /// The strides in elements, if the tensor is not contiguous.
    strides: Option<Vec<usize>>,
}

/// A named value that cannot be read.
struct Unreadable {
    /// What it is or what is wrong with it, as a clause that follows its name.
    what: String,
    /// Whether it is a tensor.
    tensor: bool,
}

/// What tensors are read from, and its name in messages.
#[derive(Clone)]
struct Part {
    origin: String,
    source: Source,
}

/// How large tensors are in their file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WeightsSize {
    /// The numbers in them.
    pub parameters: u64,
    /// Their bytes, in the type that they have in the file.
    pub bytes: u64,
}

impl Add for WeightsSize {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            parameters: self.parameters.saturating_add(other.parameters),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

impl Sub for WeightsSize {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            parameters: self.parameters.saturating_sub(other.parameters),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

impl Part {
    /// Reads `length` bytes from `start` on.
    fn read(&self, start: u64, length: usize) -> Result<Vec<u8>, CheckpointError> {
        let bytes = self.source.read(start, length);
        bytes.map_err(|source| CheckpointError::Read(self.origin.clone(), source))
    }
}

/// The tensors of one checkpoint. Only their list is held in memory.
///
/// The format is detected from the content, not from the file's name: safetensors; PyTorch's files (`.bin`, `.pt`, `.pth`, `.ckpt`), which are
/// zip archives, including TorchScript's, or the streams from before PyTorch 1.6; the `.pkl` of NVIDIA's GANs; and the JSON index of a sharded
/// checkpoint. Pickles are never executed. Numbers may be floats of 64, 32, 16 and 8 bits, or integers.
///
/// Training programs save a model together with other data, and often prefix the names of its tensors. [`Checkpoint::locate`] finds the prefix
/// by a tensor that every such model has; names are then relative to it. The checkpoint records which tensors have been read, so that
/// [`Checkpoint::finish`] can report the rest.
pub struct Checkpoint {
    origin: String,
    parts: Vec<Part>,
    /// By their full names.
    entries: BTreeMap<String, Entry>,
    unreadable: BTreeMap<String, Unreadable>,
    /// The numbers that modules have as attributes, in files of whole modules.
    numbers: BTreeMap<String, f64>,
    /// The prefix of the full names of the model's tensors.
    prefix: String,
    /// The full names of the tensors that have been requested.
    used: Mutex<BTreeSet<String>>,
}

/// Whether a file's name says that it is PyTorch's or NVIDIA's.
fn has_name_of_pickle(path: &Path) -> bool {
    const ENDINGS: [&str; 5] = ["pt", "pth", "pkl", "ckpt", "bin"];
    path.extension().is_some_and(|ending| {
        ENDINGS
            .iter()
            .any(|known| ending.eq_ignore_ascii_case(known))
    })
}

impl Checkpoint {
    /// Opens a file and reads what it holds.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let origin = path.display().to_string();
        let fail = |source| CheckpointError::Read(origin.clone(), source);
        // opening a pipe would wait for whoever writes into it
        if fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir()) {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "it is not a file");
            return Err(fail(error));
        }
        let mut file = File::open(path).map_err(fail)?;
        let length = file.metadata().map_err(fail)?.len();
        let mut start = Vec::new();
        (file.by_ref().take(48).read_to_end(&mut start)).map_err(fail)?;
        let file = Arc::new(Mutex::new(file));
        // safetensors begin with the length of a header, which is JSON
        if start.get(8) == Some(&b'{') {
            return Self::safetensors(origin, Source::File(file), length);
        }
        let pickle = |what: &str| CheckpointError::Pickle(origin.clone(), what.to_owned());
        let format = match start.as_slice() {
            [b'P', b'K', 3, 4, ..] => pickle::Format::Zip,
            [0x80, 1..=5, ..] => pickle::Format::Pickle,
            [b'<', ..] => return Err(pickle("it is a web page, not a checkpoint; fetch it again")),
            _ if start.starts_with(b"version https://git-lfs") => {
                return Err(pickle(
                    "it is a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`",
                ));
            }
            [b'{', ..] => return Self::sharded(path, &origin),
            _ if has_name_of_pickle(path) => {
                return Err(pickle(if start.is_empty() {
                    "it is empty; fetch it again"
                } else {
                    "it begins like no pickle and no archive; fetch it again"
                }));
            }
            _ => return Self::safetensors(origin, Source::File(file), length),
        };
        let contents = pickle::read(file, length, format).map_err(|what| pickle(&what))?;
        Ok(Self {
            unreadable: contents.found.unreadable,
            numbers: contents.found.numbers,
            prefix: contents.prefix,
            ..Self::of(origin, contents.sources, contents.found.tensors)
        })
    }

    /// Reads the header of a safetensors file that is part of the program; `origin` names it in errors.
    pub fn from_static(origin: &str, bytes: &'static [u8]) -> Result<Self, CheckpointError> {
        Self::safetensors(origin.to_owned(), Source::Bytes(bytes), bytes.len() as u64)
    }

    fn of(origin: String, sources: Vec<Source>, entries: BTreeMap<String, Entry>) -> Self {
        let part = |source| Part {
            origin: origin.clone(),
            source,
        };
        Self {
            parts: sources.into_iter().map(part).collect(),
            origin,
            entries,
            unreadable: BTreeMap::new(),
            numbers: BTreeMap::new(),
            prefix: String::new(),
            used: Mutex::default(),
        }
    }

    /// The shards that an index names.
    fn sharded(path: &Path, origin: &str) -> Result<Self, CheckpointError> {
        let mut whole = Self::of(origin.to_owned(), vec![], BTreeMap::new());
        let mut prefixes = BTreeSet::new();
        for name in shards(path)? {
            if !is_plain(&name) {
                return Err(CheckpointError::Index(
                    origin.to_owned(),
                    format!("`{name}` is not the name of a file in its folder"),
                ));
            }
            let part = Self::open(&path.with_file_name(name))?;
            let offset = whole.parts.len();
            whole.parts.extend(part.parts);
            for (key, mut entry) in part.entries {
                entry.part += offset;
                whole.entries.insert(key, entry);
            }
            whole.unreadable.extend(part.unreadable);
            prefixes.insert(part.prefix);
        }
        // a prefix counts only if all shards have it
        if prefixes.len() == 1 {
            whole.prefix = prefixes.pop_first().unwrap_or_default();
        }
        Ok(whole)
    }

    fn safetensors(origin: String, source: Source, length: u64) -> Result<Self, CheckpointError> {
        let header = Header::read(length, |start, length| source.read(start, length));
        let header = header.map_err(|error| match error {
            SafetensorsError::Read(source) => CheckpointError::Read(origin.clone(), source),
            SafetensorsError::Damaged(what) => CheckpointError::Damaged(origin.clone(), what),
        })?;
        let entries = (header.entries.into_iter())
            .map(|(key, entry)| {
                let (start, end) = entry.data_offsets;
                let entry = Entry {
                    dtype: entry.dtype,
                    shape: entry.shape,
                    part: 0,
                    start: header.data_start + start,
                    end: header.data_start + end,
                    strides: None,
                };
                (key, entry)
            })
            .collect();
        Ok(Self::of(origin, vec![source], entries))
    }

    /// A checkpoint that has a tensor of every name and shape, with random values, for benchmarks and tests of shapes.
    pub fn random(seed: u64) -> Self {
        let origin = "random weights".to_owned();
        Self::of(origin, vec![Source::Random { seed }], BTreeMap::new())
    }

    /// Its path or name in messages.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The names of the model's tensors.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries
            .keys()
            .filter_map(|key| key.strip_prefix(&self.prefix))
    }

    /// Whether there is a tensor or another value of that name.
    pub fn has(&self, key: &str) -> bool {
        let key = self.full(key);
        self.entries.contains_key(&key) || self.unreadable.contains_key(&key)
    }

    /// The shape of a tensor, if it is there.
    pub fn shape(&self, key: &str) -> Option<&[usize]> {
        self.entries
            .get(&self.full(key))
            .map(|entry| entry.shape.as_slice())
    }

    /// A number that a module has as an attribute, if it is there: only files of whole modules, such as NVIDIA's `.pkl`, have any.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.numbers.get(&self.full(key)).copied()
    }

    /// How large the tensors are that have been read.
    pub fn used_size(&self) -> WeightsSize {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        (used.iter().filter_map(|key| self.entries.get(key)))
            .map(|entry| WeightsSize {
                parameters: (entry.shape.iter())
                    .fold(1, |count, dim| u64::saturating_mul(count, *dim as u64)),
                bytes: entry.end - entry.start,
            })
            .fold(WeightsSize::default(), Add::add)
    }

    /// The sizes of a tensor that has so many of them, none of which is 0: for networks whose shape is that of their tensors.
    ///
    /// # Errors
    /// If it is missing, has another number of dimensions, or is empty.
    pub fn dims<const N: usize>(&self, key: &str) -> Result<[usize; N], CheckpointError> {
        let Some(entry) = self.entries.get(&self.full(key)) else {
            return Err(self.absent(self.full(key)));
        };
        let dims =
            (entry.shape.as_slice().try_into().ok()).filter(|dims: &[usize; N]| !dims.contains(&0));
        dims.ok_or_else(|| CheckpointError::Rank {
            origin: self.origin.clone(),
            key: self.full(key),
            found: entry.shape.clone(),
            rank: N,
        })
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The tensor of that name and shape, as f32 on the processor.
    ///
    /// # Errors
    /// If it is missing, has another shape or an unsupported type, or the file cannot be read.
    pub fn tensor(&self, key: &str, shape: &[usize]) -> Result<Tensor, CheckpointError> {
        if let Some(Source::Random { seed }) = self.parts.first().map(|part| &part.source) {
            return Ok(values::random(*seed, key, shape)?);
        }
        let numbers = self.stored(key, shape)?;
        Ok(match self.scale(key)? {
            Some(scale) => (numbers * f64::from(scale))?,
            None => numbers,
        })
    }

    /// The tensor as it is stored, without a scale that belongs to it.
    fn stored(&self, key: &str, shape: &[usize]) -> Result<Tensor, CheckpointError> {
        let (entry, part) = self.find(key, shape)?;
        let bytes = (entry.end - entry.start) as usize;
        let bytes = part.read(entry.start, bytes)?;
        let strides = entry.strides.as_deref();
        Ok(values::tensor(&bytes, &entry.dtype, shape, strides)?)
    }

    /// The matrix of that name and shape `[rows, columns]`, whose rows are read when they are needed; none if they do not lie one after the other in
    /// a file, because they are compressed, or strided, or if they have to be scaled.
    ///
    /// # Errors
    /// As [`Checkpoint::tensor`].
    pub fn rows(&self, key: &str, shape: [usize; 2]) -> Result<Option<Rows>, CheckpointError> {
        if matches!(self.parts.first(), Some(part) if matches!(part.source, Source::Random { .. }))
        {
            return Ok(None);
        }
        let (entry, part) = self.find(key, &shape)?;
        if entry.strides.is_some() || !part.source.is_flat() || self.scale(key)?.is_some() {
            return Ok(None);
        }
        Ok(Some(Rows::new(part.clone(), entry, shape)))
    }

    /// Where the tensor of that name and shape is stored; it counts as used.
    fn find(&self, key: &str, shape: &[usize]) -> Result<(&Entry, &Part), CheckpointError> {
        let key = self.full(key);
        let origin = self.origin.clone();
        let Some(entry) = self.entries.get(&key) else {
            return Err(self.absent(key));
        };
        self.mark_used(key.clone());
        if entry.shape != shape {
            return Err(CheckpointError::Shape {
                origin,
                key,
                found: entry.shape.clone(),
                expected: shape.to_owned(),
            });
        }
        let Some(width) = values::width(&entry.dtype) else {
            let dtype = entry.dtype.clone();
            return Err(CheckpointError::Type { origin, key, dtype });
        };
        let bytes = entry.end - entry.start;
        let part = &self.parts[entry.part];
        // strides were checked against the shape when the file was opened
        if entry.strides.is_none() {
            let elements = (shape.iter()).try_fold(1usize, |count, &dim| count.checked_mul(dim));
            let wanted = elements.and_then(|count| count.checked_mul(width));
            if wanted.map(|wanted| wanted as u64) != Some(bytes) {
                return Err(CheckpointError::Damaged(
                    part.origin.clone(),
                    format!("`{key}` has {bytes} bytes, not those of its shape"),
                ));
            }
        }
        Ok((entry, part))
    }

    /// Notes that the tensor of a full name has been requested.
    fn mark_used(&self, key: String) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(key);
    }

    /// The error for a full name that is not a tensor's.
    fn absent(&self, key: String) -> CheckpointError {
        let origin = self.origin.clone();
        match self.unreadable.get(&key) {
            Some(unreadable) => CheckpointError::Unreadable {
                origin,
                key,
                what: unreadable.what.clone(),
            },
            None => CheckpointError::Missing {
                origin,
                nearest: self.nearest(&key),
                key,
            },
        }
    }

    fn nearest(&self, key: &str) -> String {
        (self.entries.keys())
            .map(|other| (strsim::jaro(key, other), other))
            .filter(|(score, _)| *score > 0.85)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map_or(String::new(), |(_, other)| {
                format!(" (the nearest is `{other}`)")
            })
    }
}
