//! Finds the tensors among the values of a pickle.

use std::collections::BTreeMap;

use super::modules;
use super::value::{Id, Node, Pickle};
use crate::checkpoint::source::Source;
use crate::checkpoint::{Entry, Unreadable};

/// The longest name of a tensor, in bytes.
const NAME_LIMIT: usize = 1000;
/// The deepest nesting of dictionaries. TorchScript's modules reach about thirty.
const DEPTH_LIMIT: usize = 200;
/// The limit for visited values; one that is used twice counts twice.
const VISIT_LIMIT: usize = 4 << 20;
/// The limit for the elements of a tensor whose elements overlap, because a few bytes could stand for any number of them.
const OVERLAP_LIMIT: usize = 1 << 26;
/// The limit for the bytes that a non-contiguous tensor spans, because they are read at once.
const SPAN_LIMIT: u64 = 4 << 30;
/// The most bytes that the names of all visited values may have together.
const NAMES_LIMIT: usize = 256 << 20;
/// The limit for nested wrappings: a parameter of a subclass of a tensor has three.
const WRAPPINGS: usize = 8;

/// The location of a storage's bytes.
#[derive(Clone, Copy, Debug)]
pub struct Location {
    /// The index of its source.
    pub source: usize,
    pub start: u64,
    pub length: u64,
}

/// The storages of a pickle's tensors.
pub trait Storages {
    /// The location of the storage of that key.
    ///
    /// # Errors
    /// What is wrong with it, as a clause.
    fn location(&mut self, key: &str) -> Result<Location, String>;

    /// The storage that is a stream of its own within the pickle: those bytes of it.
    ///
    /// # Errors
    /// What is wrong with it, as a clause.
    fn nested(&mut self, _start: u64, _length: u64) -> Result<Stored, String> {
        Err("has its numbers in the pickle, as only NVIDIA's .pkl may".to_owned())
    }

    /// The sources that the storages are read from.
    fn into_sources(self: Box<Self>) -> Vec<Source>;
}

/// A storage whose place is known.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The type of its elements, named as in safetensors; types that safetensors lacks are named as in PyTorch.
    pub dtype: String,
    /// Bytes of an element, if they are known.
    pub width: Option<usize>,
    /// Where its view begins, in elements.
    pub offset: usize,
    pub location: Location,
}

/// A pickle's reference to a storage.
pub struct Storage<'a> {
    pub key: &'a str,
    /// The type of its elements, named as in safetensors; types that safetensors lacks are named as in PyTorch.
    pub dtype: &'a str,
    /// Bytes of an element, if they are known.
    pub width: Option<usize>,
    /// The offset of its view in elements; only very old files have views.
    pub offset: usize,
}

/// The storage that a persistent id refers to: `("storage", type, key, device, count)`, in the old stream followed by a view.
pub fn storage(pickle: &Pickle, id: Id) -> Option<Storage<'_>> {
    let parts = pickle.tuple(id)?;
    let &[kind, class, key, _, _, ref view @ ..] = parts else {
        return None;
    };
    let Node::Class { name, .. } = pickle.node(class) else {
        return None;
    };
    if pickle.text(kind) != Some("storage") {
        return None;
    }
    let offset = match view.first().and_then(|&view| pickle.tuple(view)) {
        Some(&[_, offset, _]) => pickle.size(offset)?,
        _ => 0,
    };
    let (dtype, width) = element_type(name);
    Some(Storage {
        key: pickle.text(key)?,
        dtype,
        width,
        offset,
    })
}

/// The type of the elements of a storage's class or, for types without one, of a `torch.dtype`: its name in safetensors, and how many bytes
/// an element has.
fn element_type(class: &str) -> (&str, Option<usize>) {
    let (dtype, width) = match class {
        "FloatStorage" => ("F32", 4),
        "DoubleStorage" => ("F64", 8),
        "HalfStorage" => ("F16", 2),
        "BFloat16Storage" => ("BF16", 2),
        "ByteStorage" => ("U8", 1),
        "BoolStorage" => ("BOOL", 1),
        "CharStorage" => ("I8", 1),
        "ShortStorage" => ("I16", 2),
        "IntStorage" => ("I32", 4),
        "LongStorage" => ("I64", 8),
        "ComplexFloatStorage" => ("C64", 8),
        "ComplexDoubleStorage" => ("C128", 16),
        "QInt8Storage" | "QUInt8Storage" | "UntypedStorage" => (class, 1),
        "QInt32Storage" => (class, 4),
        "uint16" => ("U16", 2),
        "uint32" => ("U32", 4),
        "uint64" => ("U64", 8),
        "float8_e4m3fn" => ("F8_E4M3", 1),
        "float8_e5m2" => ("F8_E5M2", 1),
        _ if class.starts_with("float8") => (class, 1),
        _ => return (class, None),
    };
    (dtype, Some(width))
}

/// The tensors of a pickle, and the values that cannot be read, by name.
#[derive(Default)]
pub struct Found {
    pub tensors: BTreeMap<String, Entry>,
    pub unreadable: BTreeMap<String, Unreadable>,
    /// Attributes of modules that are numbers, such as `conv_clamp`.
    pub numbers: BTreeMap<String, f64>,
}

/// Walks through the values from the root.
pub struct Walk<'a> {
    pickle: &'a Pickle,
    storages: &'a mut dyn Storages,
    found: Found,
    visits: usize,
    /// Bytes of the names that were made.
    named: usize,
}

/// The tensors of a pickle, their names joined by dots from the root on.
pub fn find(pickle: &Pickle, storages: &mut dyn Storages) -> Result<Found, String> {
    let mut walk = Walk {
        pickle,
        storages,
        found: Found::default(),
        visits: 0,
        named: 0,
    };
    walk.visit(String::new(), pickle.root, 0)?;
    Ok(walk.found)
}

impl Walk<'_> {
    fn visit(&mut self, name: String, id: Id, depth: usize) -> Result<(), String> {
        self.visits += 1;
        if self.visits > VISIT_LIMIT {
            return Err(format!(
                "its pickle expands to more than {VISIT_LIMIT} values"
            ));
        }
        if depth > DEPTH_LIMIT {
            self.unreadable(name, format!("is nested deeper than {DEPTH_LIMIT}"), false);
            return Ok(());
        }
        let pickle = self.pickle;
        match pickle.node(id) {
            Node::Dict(items) => self.items(&name, items, depth),
            Node::Tuple(parts) | Node::List(parts) => {
                for (index, &part) in parts.iter().enumerate() {
                    // most parts are numbers, whose names would be built for nothing
                    if !matches!(
                        pickle.node(part),
                        Node::Int(_) | Node::Float(_) | Node::Other | Node::Text(_)
                    ) {
                        let name = self.join(&name, &index.to_string())?;
                        self.visit(name, part, depth + 1)?;
                    }
                }
                Ok(())
            }
            Node::Object {
                callee,
                args,
                state,
                items,
            } => {
                if let Some(args) = tensor_args(pickle, *callee, *args, WRAPPINGS) {
                    match self.entry(args) {
                        Ok(entry) => {
                            self.found.tensors.insert(name, entry);
                        }
                        Err(what) => self.unreadable(name, what, true),
                    }
                    return Ok(());
                }
                if let Some(state) = modules::state(pickle, *callee, *args) {
                    return self.module(&name, state, depth);
                }
                let class = class_of(pickle, *callee, WRAPPINGS);
                // a module of TorchScript: its class and its attributes
                if let (Some((module, _)), Some(state)) = (class, state)
                    && module.starts_with("__torch__")
                {
                    return self.visit(name, *state, depth + 1);
                }
                self.items(&name, items, depth)?;
                let class = class.map_or("unknown".to_owned(), |(module, class)| {
                    format!("{module}.{class}")
                });
                let what = format!("is an object of `{class}`; code in checkpoints is never run");
                self.unreadable(name, what, false);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn items(&mut self, name: &str, items: &[(Id, Id)], depth: usize) -> Result<(), String> {
        for &(key, value) in items {
            let key = match self.pickle.node(key) {
                Node::Text(key) => key.to_string(),
                Node::Int(key) => key.to_string(),
                _ => continue,
            };
            let name = self.join(name, &key)?;
            self.visit(name, value, depth + 1)?;
        }
        Ok(())
    }

    /// The tensors of a module and of its parts, and its numbers.
    fn module(&mut self, name: &str, state: Id, depth: usize) -> Result<(), String> {
        let pickle = self.pickle;
        for &(key, value) in pickle.items(state) {
            let Some(key) = pickle.text(key) else {
                continue;
            };
            let number = match pickle.node(value) {
                Node::Int(number) => *number as f64,
                Node::Float(number) => *number,
                _ => {
                    if ["_parameters", "_buffers", "_modules"].contains(&key) {
                        self.items(name, pickle.items(value), depth)?;
                    }
                    continue;
                }
            };
            let name = self.join(name, key)?;
            self.found.numbers.insert(name, number);
        }
        Ok(())
    }

    fn join(&mut self, name: &str, key: &str) -> Result<String, String> {
        if name.len() + key.len() > NAME_LIMIT {
            return Err(format!("it has a name of more than {NAME_LIMIT} bytes"));
        }
        self.named += name.len() + key.len() + 1;
        if self.named > NAMES_LIMIT {
            return Err(format!(
                "its pickle expands to more than {} MiB of names",
                NAMES_LIMIT >> 20
            ));
        }
        Ok(match name {
            "" => key.to_owned(),
            _ => format!("{name}.{key}"),
        })
    }

    /// The storage that a value stands for.
    fn stored(&mut self, id: Id) -> Result<Stored, String> {
        let pickle = self.pickle;
        let broken = || "is not a complete tensor".to_owned();
        match pickle.node(id) {
            Node::Persistent(id) => {
                let storage = storage(pickle, *id).ok_or_else(broken)?;
                Ok(Stored {
                    dtype: storage.dtype.to_owned(),
                    width: storage.width,
                    offset: storage.offset,
                    location: self.storages.location(storage.key)?,
                })
            }
            Node::Object { callee, args, .. } => {
                let bytes = modules::nested_bytes(pickle, *callee, *args).ok_or_else(broken)?;
                self.storages.nested(bytes.0, bytes.1)
            }
            _ => Err(broken()),
        }
    }

    fn unreadable(&mut self, name: String, what: String, tensor: bool) {
        self.found
            .unreadable
            .insert(name, Unreadable { what, tensor });
    }

    /// The tensor of these arguments: storage, offset, size, strides, and more.
    fn entry(&mut self, args: &[Id]) -> Result<Entry, String> {
        let pickle = self.pickle;
        let broken = || "is not a complete tensor".to_owned();
        let &[id, offset, shape, strides, ref more @ ..] = args else {
            return Err(broken());
        };
        let storage = self.stored(id)?;
        // `_rebuild_tensor_v3` names the type by itself
        let (dtype, width) = match more.get(2).map(|&id| pickle.node(id)) {
            Some(Node::Class { module, name }) if &**module == "torch" => element_type(name),
            _ => (storage.dtype.as_str(), storage.width),
        };
        let sizes = |id: Id| match pickle.node(id) {
            Node::Tuple(sizes) | Node::List(sizes) if sizes.len() <= 8 => {
                (sizes.iter().map(|&size| pickle.size(size))).collect::<Option<Vec<usize>>>()
            }
            _ => None,
        };
        let shape = sizes(shape).ok_or_else(broken)?;
        let strides = sizes(strides).ok_or_else(broken)?;
        let offset = pickle.size(offset).ok_or_else(broken)?;
        if strides.len() != shape.len() {
            return Err(broken());
        }
        let location = storage.location;
        // tensors of unknown types are never read, so their width does not matter
        let width = width.unwrap_or(0);
        let bytes_of = |elements: usize| elements.checked_mul(width).map(|bytes| bytes as u64);
        let empty = shape.contains(&0);
        // from the first to the last element, in elements
        let span = (shape.iter().zip(&strides)).try_fold(1usize, |span, (&dim, &stride)| {
            span.checked_add(dim.saturating_sub(1).checked_mul(stride)?)
        });
        let span = if empty { Some(0) } else { span };
        let begin = offset.checked_add(storage.offset).and_then(bytes_of);
        let count = (shape.iter()).try_fold(1usize, |count, &dim| count.checked_mul(dim));
        let (Some(begin), Some(bytes), Some(count), Some(span)) =
            (begin, span.and_then(bytes_of), count, span)
        else {
            return Err(format!("has the impossible shape {shape:?}"));
        };
        let length = location.length;
        if begin.checked_add(bytes).is_none_or(|end| end > length) {
            return Err(format!("would end after its {length} bytes"));
        }
        if count > span && count > OVERLAP_LIMIT {
            return Err(format!(
                "has shape {shape:?} with strides {strides:?}: more than {OVERLAP_LIMIT} elements that overlap"
            ));
        }
        let mut expected = 1usize;
        let mut contiguous = true;
        for (&dim, &stride) in shape.iter().zip(&strides).rev() {
            contiguous &= dim == 1 || stride == expected;
            expected = expected.saturating_mul(dim);
        }
        if !contiguous && bytes > SPAN_LIMIT {
            return Err(format!("is not contiguous and spans {bytes} bytes"));
        }
        Ok(Entry {
            dtype: dtype.to_owned(),
            shape,
            part: location.source,
            start: location.start + begin,
            end: location.start + begin + bytes,
            strides: (!contiguous && !empty).then_some(strides),
        })
    }
}

/// The class that is called or instantiated, through at most `calls` nested calls.
pub fn class_of(pickle: &Pickle, callee: Id, calls: usize) -> Option<(&str, &str)> {
    match pickle.node(callee) {
        Node::Class { module, name } => Some((module, name)),
        Node::Object { callee, .. } => class_of(pickle, *callee, calls.checked_sub(1)?),
        // the old stream saves the source code of a class with it
        Node::Persistent(id) => match pickle.tuple(*id)? {
            &[kind, class, ..] if pickle.text(kind) == Some("module") => {
                class_of(pickle, class, calls.checked_sub(1)?)
            }
            _ => None,
        },
        _ => None,
    }
}

/// The arguments of the tensor that this call makes. Parameters and tensors of subclasses wrap another such call.
fn tensor_args(pickle: &Pickle, callee: Id, args: Id, wrappings: usize) -> Option<&[Id]> {
    let args = pickle.tuple(args)?;
    let wrappings = wrappings.checked_sub(1)?;
    match (class_of(pickle, callee, 0)?, args) {
        (
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3"),
            args,
        ) => Some(args),
        (
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
            | ("torch.nn.parameter", "Parameter"),
            &[inner, ..],
        ) => match pickle.node(inner) {
            Node::Object { callee, args, .. } => tensor_args(pickle, *callee, *args, wrappings),
            _ => None,
        },
        (
            ("torch._tensor", "_rebuild_from_type_v2" | "_rebuild_from_type"),
            &[callee, _, args, ..],
        ) => tensor_args(pickle, callee, args, wrappings),
        _ => None,
    }
}
