//! PyTorch's `.pt`, `.pth`, `.ckpt` and `.bin`: a zip archive of a pickled dictionary and of the bytes of its tensors.
//!
//! The pickle is parsed by candle's reader, which runs nothing: a class is a name, a call is its parts. TorchScript archives keep the
//! same tensors as attributes of modules within modules, and are read as well.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use candle_core::pickle::{Object, Stack};
use zip::{CompressionMethod, ZipArchive};

use super::{Entry, guard};

/// A larger pickle than this belongs to no state dict.
const PICKLE_LIMIT: u64 = 64 << 20;
/// The archive's own lists may be this long: a state dict of 10,000 tensors takes about one MiB.
const DIRECTORY_LIMIT: u64 = 16 << 20;
/// Longer names than this belong to no tensor.
const NAME_LIMIT: usize = 1000;
/// Under these names training programs keep the state dict among other things.
const NESTED: [&str; 5] = [
    "state_dict",
    "model_state_dict",
    "model",
    "params_ema",
    "params",
];

/// A reader that gives up after so many bytes.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("its list of contents is too long"));
        }
        let most = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.inner.read(&mut buffer[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}

impl<R: Seek> Seek for Limited<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

struct Archive {
    zip: ZipArchive<Limited<BufReader<File>>>,
    /// Length of the file.
    length: u64,
}

impl Archive {
    /// Where an entry's bytes begin in the file, and how many there are.
    fn place(&mut self, name: &str) -> Result<(u64, u64), String> {
        let length = self.length;
        let entry = (self.zip.by_name(name)).map_err(|error| format!("{name}: {error}"))?;
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err(format!("its part {name} is compressed"));
        }
        let size = entry.compressed_size();
        let start = (entry.data_start()).ok_or_else(|| format!("its part {name} has no place"))?;
        match start.checked_add(size) {
            Some(end) if end <= length => Ok((start, size)),
            _ => Err(format!("its part {name} would end behind the file's end")),
        }
    }
}

/// The tensors of the archive, under their full names.
pub fn read(file: &File, length: u64) -> Result<Vec<(String, Entry)>, String> {
    let text = |error: io::Error| error.to_string();
    let inner = BufReader::new(file.try_clone().map_err(text)?);
    let left = DIRECTORY_LIMIT;
    let zip = ZipArchive::new(Limited { inner, left })
        .map_err(|error| format!("its archive cannot be read ({error})"))?;
    let mut pickles = (zip.file_names().filter_map(Result::ok))
        .filter(|name| name == "data.pkl" || name.ends_with("/data.pkl"))
        .map(|name| name.into_owned());
    let Some(pickle) = pickles.next() else {
        return Err(
            "it is a zip archive without a data.pkl, so nothing that PyTorch saved".to_owned(),
        );
    };
    drop(pickles);
    let folder = (pickle.strip_suffix("data.pkl"))
        .unwrap_or_default()
        .to_owned();
    let mut archive = Archive { zip, length };
    let (start, size) = archive.place(&pickle)?;
    if size > PICKLE_LIMIT {
        return Err(format!("its pickle would have {size} bytes"));
    }
    let mut bytes = vec![0; size as usize];
    let mut whole = file;
    (whole.seek(SeekFrom::Start(start)))
        .and_then(|_| whole.read_exact(&mut bytes))
        .map_err(text)?;
    if let Ok((start, size)) = archive.place(&format!("{folder}byteorder")) {
        let mut order = vec![0; size.min(16) as usize];
        (whole.seek(SeekFrom::Start(start)))
            .and_then(|_| whole.read_exact(&mut order))
            .map_err(text)?;
        if order != b"little" {
            return Err("its numbers are not little-endian".to_owned());
        }
    }
    let root = parse(&bytes)?;
    let mut tensors = Tensors {
        archive,
        folder,
        places: HashMap::new(),
        found: vec![],
        foreign: None,
    };
    tensors.walk(String::new(), state_dict(&root))?;
    let Tensors {
        mut found, foreign, ..
    } = tensors;
    if !found.iter().any(|(_, entry)| entry.end > entry.start) {
        return Err(match foreign {
            Some(class) => format!(
                "it holds no state dict but an object of the class `{class}`, and no class is ever run; save the model's state_dict() instead"
            ),
            None => "it holds no tensors".to_owned(),
        });
    }
    // DistributedDataParallel puts the model inside one more module
    if found.iter().all(|(name, _)| name.starts_with("module.")) {
        for (name, _) in &mut found {
            *name = name["module.".len()..].to_owned();
        }
    }
    Ok(found)
}

fn parse(bytes: &[u8]) -> Result<Object, String> {
    guard::check(bytes)?;
    let mut stack = Stack::empty();
    let mut bytes = bytes;
    stack
        .read_loop(&mut bytes)
        .and_then(|()| stack.finalize())
        .map_err(|error| format!("its pickle cannot be read ({error})"))
}

/// The dictionary of tensors within what was saved.
fn state_dict(root: &Object) -> &Object {
    let Object::Dict(pairs) = root else {
        return root;
    };
    let named = |name: &str| {
        let found = pairs
            .iter()
            .find(|(key, _)| matches!(key, Object::Unicode(key) if key == name));
        found.map(|(_, value)| value)
    };
    (NESTED.iter().filter_map(|name| named(name)))
        .find(|value| matches!(value, Object::Dict(pairs) if !pairs.is_empty()))
        .unwrap_or(root)
}

struct Tensors {
    archive: Archive,
    /// The archive's own folder with a slash, where its parts lie.
    folder: String,
    places: HashMap<String, (u64, u64)>,
    found: Vec<(String, Entry)>,
    /// The first class that is neither a tensor's nor a module's.
    foreign: Option<String>,
}

impl Tensors {
    fn walk(&mut self, name: String, object: &Object) -> Result<(), String> {
        match object {
            Object::Dict(pairs) => {
                for (key, value) in pairs {
                    let Object::Unicode(key) = key else { continue };
                    if name.len() + key.len() > NAME_LIMIT {
                        return Err(format!("it has a name of more than {NAME_LIMIT} bytes"));
                    }
                    let dot = if name.is_empty() { "" } else { "." };
                    self.walk(format!("{name}{dot}{key}"), value)?;
                }
                Ok(())
            }
            // a module of TorchScript: its class and its attributes
            Object::Build { callable, args } => match class_of(callable) {
                Some((module, _)) if module.starts_with("__torch__") => self.walk(name, args),
                class => {
                    self.refuse(name, class);
                    Ok(())
                }
            },
            Object::Reduce { callable, args } => match tensor_args(callable, args) {
                Some(args) => {
                    let entry = self
                        .entry(args)
                        .map_err(|what| format!("`{name}` {what}"))?;
                    self.found.push((name, entry));
                    Ok(())
                }
                None => {
                    self.refuse(name, class_of(callable));
                    Ok(())
                }
            },
            _ => Ok(()),
        }
    }

    /// Notes an object that is no tensor; asking for it is an error, and so is a file of nothing else.
    fn refuse(&mut self, name: String, class: Option<(&str, &str)>) {
        let class = class.map_or("unknown".to_owned(), |(module, class)| {
            format!("{module}.{class}")
        });
        self.foreign.get_or_insert(class.clone());
        let dtype = format!("`{class}`, a class that is never run");
        self.found.push((
            name,
            Entry {
                dtype,
                shape: vec![],
                part: 0,
                start: 0,
                end: 0,
                strides: None,
            },
        ));
    }

    /// The arguments of `torch._utils._rebuild_tensor_v2`: storage, offset, size, strides, and more.
    fn entry(&mut self, args: &[Object]) -> Result<Entry, String> {
        let broken = || "is no whole tensor".to_owned();
        let [storage, offset, shape, strides, ..] = args else {
            return Err(broken());
        };
        let Object::PersistentLoad(storage) = storage else {
            return Err(broken());
        };
        let Object::Tuple(storage) = storage.as_ref() else {
            return Err(broken());
        };
        let [
            _,
            Object::Class { class_name, .. },
            Object::Unicode(key),
            ..,
        ] = storage.as_slice()
        else {
            return Err(broken());
        };
        let (dtype, width) = match class_name.as_str() {
            "FloatStorage" => ("F32", 4),
            "DoubleStorage" => ("F64", 8),
            "HalfStorage" => ("F16", 2),
            "BFloat16Storage" => ("BF16", 2),
            // never read, so how wide they are does not matter
            other => (other, 0),
        };
        let shape = sizes(shape).ok_or_else(broken)?;
        let strides = sizes(strides).ok_or_else(broken)?;
        let offset = size(offset).ok_or_else(broken)?;
        if strides.len() != shape.len() {
            return Err(broken());
        }
        let (start, length) = match self.places.get(key) {
            Some(place) => *place,
            None => {
                let place = self.archive.place(&format!("{}data/{key}", self.folder))?;
                self.places.insert(key.clone(), place);
                place
            }
        };
        // from the first to behind the last element, in elements
        let empty = shape.contains(&0);
        let span = (shape.iter().zip(&strides)).try_fold(1usize, |span, (&dim, &stride)| {
            span.checked_add(dim.saturating_sub(1).checked_mul(stride)?)
        });
        let span = if empty { Some(0) } else { span };
        let begin = offset.checked_mul(width).map(|bytes| bytes as u64);
        let bytes = span
            .and_then(|span| span.checked_mul(width))
            .map(|bytes| bytes as u64);
        let count = shape
            .iter()
            .try_fold(1usize, |count, &dim| count.checked_mul(dim));
        let (Some(begin), Some(bytes), Some(count), Some(span)) = (begin, bytes, count, span)
        else {
            return Err(format!("has the impossible shape {shape:?}"));
        };
        if begin.checked_add(bytes).is_none_or(|end| end > length) {
            return Err(format!("would end behind its {length} bytes"));
        }
        if count > span && !empty {
            return Err(format!(
                "has shape {shape:?} with strides {strides:?}: its elements overlap"
            ));
        }
        let mut expected = 1usize;
        let mut contiguous = true;
        for (&dim, &stride) in shape.iter().zip(&strides).rev() {
            contiguous &= dim == 1 || stride == expected;
            expected = expected.saturating_mul(dim);
        }
        Ok(Entry {
            dtype: dtype.to_owned(),
            shape,
            part: 0,
            start: start + begin,
            end: start + begin + bytes,
            strides: (!contiguous).then_some(strides),
        })
    }
}

/// The class that is called or made.
fn class_of(callable: &Object) -> Option<(&str, &str)> {
    match callable {
        Object::Class {
            module_name,
            class_name,
        } => Some((module_name, class_name)),
        Object::Reduce { callable, .. } => class_of(callable),
        _ => None,
    }
}

/// The arguments of the tensor that this call makes; a parameter or a tensor of a subclass is one in a wrapping.
fn tensor_args<'a>(callable: &Object, args: &'a Object) -> Option<&'a [Object]> {
    let Object::Tuple(args) = args else {
        return None;
    };
    match (class_of(callable)?, args.as_slice()) {
        (("torch._utils", "_rebuild_tensor_v2"), args) => Some(args),
        (("torch._utils", "_rebuild_parameter"), [Object::Reduce { callable, args }, ..]) => {
            tensor_args(callable, args)
        }
        (("torch._tensor", "_rebuild_from_type_v2"), [callable, _, args, ..]) => {
            tensor_args(callable, args)
        }
        _ => None,
    }
}

fn size(object: &Object) -> Option<usize> {
    match object {
        Object::Int(value) => usize::try_from(*value).ok(),
        Object::Long(value) => usize::try_from(*value).ok(),
        _ => None,
    }
}

fn sizes(object: &Object) -> Option<Vec<usize>> {
    match object {
        Object::Tuple(values) | Object::List(values) if values.len() <= 8 => {
            values.iter().map(size).collect()
        }
        _ => None,
    }
}
