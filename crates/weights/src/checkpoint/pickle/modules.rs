//! The `.pkl` of NVIDIA's GANs (stylegan2-ada-pytorch, StyleGAN3): one pickle of whole modules.
//!
//! A module is a call of `torch_utils.persistence._reconstruct_persistent_obj` with a dictionary: the source code of its class as a text, which is
//! ignored here, and its `state`, in which its tensors and parts are. The numbers of a tensor are bytes, a stream of PyTorch's old format with one
//! storage.

use std::collections::HashMap;

use super::legacy::Legacy;
use super::machine::Rules;
use super::tensors::{Location, Storages, Stored, storage};
use super::value::{Id, Node, Pickle};
use crate::checkpoint::source::{SharedFile, Source};

/// Such a file has most of its bytes in the pickle, and names only what is known.
pub const RULES: Rules = Rules {
    counts_bytes: false,
    check,
};

/// What such files name.
const KNOWN: [(&str, &[&str]); 11] = [
    ("torch_utils.persistence", &["_reconstruct_persistent_obj"]),
    (
        "torch._utils",
        &[
            "_rebuild_tensor",
            "_rebuild_tensor_v2",
            "_rebuild_tensor_v3",
            "_rebuild_parameter",
            "_rebuild_parameter_with_state",
        ],
    ),
    ("torch.nn.parameter", &["Parameter"]),
    ("torch.storage", &["_load_from_bytes"]),
    (
        "torch",
        &["Size", "device", "float16", "float32", "float64", "int64"],
    ),
    ("collections", &["OrderedDict", "defaultdict"]),
    ("dnnlib.util", &["EasyDict"]),
    (
        "builtins",
        &["set", "frozenset", "dict", "list", "slice", "range"],
    ),
    ("numpy", &["dtype", "ndarray"]),
    ("numpy.core.multiarray", &["scalar", "_reconstruct"]),
    ("numpy._core.multiarray", &["scalar", "_reconstruct"]),
];

/// The package that TensorFlow's versions of these GANs are pickled with.
const TENSORFLOW: &str = "dnnlib.tflib";

fn check(module: &str, name: &str) -> Result<(), String> {
    if module.starts_with(TENSORFLOW) {
        return Err(format!(
            "it is a GAN of NVIDIA's for TensorFlow (`{module}.{name}`), and only those for PyTorch are read; convert it with `legacy.py` of \
             stylegan2-ada-pytorch or StyleGAN3, which writes a .pkl that is read"
        ));
    }
    let known = (KNOWN.iter()).any(|(known, names)| *known == module && names.contains(&name));
    if known {
        return Ok(());
    }
    Err(format!(
        "its pickle names `{module}.{name}`, which is in no file of PyTorch's `save` at this place, nor in NVIDIA's .pkl files; nothing in it was run"
    ))
}

/// The state of a module that this call makes.
pub fn state(pickle: &Pickle, callee: Id, args: Id) -> Option<Id> {
    let meta = *called(pickle, callee, args, KNOWN[0].0, KNOWN[0].1[0])?;
    let mut items = pickle.items(meta).iter();
    let &(_, state) = items.find(|(key, _)| pickle.text(*key) == Some("state"))?;
    Some(state)
}

/// Place and length of the bytes that this call makes a storage of.
pub fn nested_bytes(pickle: &Pickle, callee: Id, args: Id) -> Option<(u64, u64)> {
    let bytes = *called(pickle, callee, args, "torch.storage", "_load_from_bytes")?;
    match *pickle.node(bytes) {
        Node::Bytes { start, length } => Some((start, length)),
        _ => None,
    }
}

/// The only argument of a call of that function.
fn called<'a>(
    pickle: &'a Pickle,
    callee: Id,
    args: Id,
    module: &str,
    name: &str,
) -> Option<&'a Id> {
    let is_it = matches!(pickle.node(callee), Node::Class { module: found, name: class }
        if &**found == module && &**class == name);
    match pickle.tuple(args) {
        Some([argument]) if is_it => Some(argument),
        _ => None,
    }
}

/// The streams within such a file.
pub struct Modules {
    file: SharedFile,
    /// By their places.
    opened: HashMap<u64, Result<Stored, String>>,
}

impl Modules {
    /// Those of the file that is this pickle.
    ///
    /// # Errors
    /// If it has no modules.
    pub fn new(file: SharedFile, pickle: &Pickle) -> Result<Self, String> {
        let has_modules = (pickle.nodes.iter())
            .any(|node| matches!(node, Node::Class { module, .. } if &**module == KNOWN[0].0));
        if !has_modules {
            return Err(
                "it is a pickle that PyTorch's `save` did not write, such as one of numpy arrays; load it in Python and save its tensors as safetensors"
                    .to_owned(),
            );
        }
        Ok(Self {
            file,
            opened: HashMap::new(),
        })
    }

    fn open(&self, start: u64, length: u64) -> Result<Stored, String> {
        let within = |what: String| format!("has numbers that cannot be read: {what}");
        let end = start.saturating_add(length);
        let (mut stream, pickle) = Legacy::open(self.file.clone(), start, end).map_err(within)?;
        let storage = match pickle.node(pickle.root) {
            Node::Persistent(id) => storage(&pickle, *id),
            _ => None,
        };
        let storage = storage.ok_or_else(|| within("they are no storage".to_owned()))?;
        Ok(Stored {
            location: stream.location(storage.key)?,
            dtype: storage.dtype.to_owned(),
            width: storage.width,
            offset: storage.offset,
        })
    }
}

impl Storages for Modules {
    fn location(&mut self, key: &str) -> Result<Location, String> {
        Err(format!(
            "is in the storage `{key}`, which is not in the file"
        ))
    }

    fn nested(&mut self, start: u64, length: u64) -> Result<Stored, String> {
        if let Some(stored) = self.opened.get(&start) {
            return stored.clone();
        }
        let stored = self.open(start, length);
        self.opened.insert(start, stored.clone());
        stored
    }

    fn into_sources(self: Box<Self>) -> Vec<Source> {
        vec![Source::File(self.file)]
    }
}
