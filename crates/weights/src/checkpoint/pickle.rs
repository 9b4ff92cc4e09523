//! PyTorch's `.pt`, `.pth`, `.ckpt` and `.bin`: a pickled dictionary and the bytes of its tensors, in a zip archive or, before PyTorch 1.6, in
//! one stream; and the `.pkl` of NVIDIA's GANs, a pickle with such a stream for each tensor (`modules`).
//!
//! Nothing is ever executed: the pickle is interpreted symbolically (`machine`), and the calls that would make tensors are recognised in the
//! result (`tensors`). TorchScript archives, which have the same tensors as attributes of nested modules, are read as well.

mod archive;
mod legacy;
mod machine;
mod modules;
mod program;
mod tensors;
mod value;

use super::source::{SharedFile, Source};
use archive::Archive;
use legacy::Legacy;
use modules::Modules;
use tensors::{Found, Storages};
use value::{Node, Pickle};

/// The names under which training programs nest the state dict. Weights come before their averages.
const NESTED: [&str; 9] = [
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "params",
    "params_ema",
    "ema_state_dict",
    "model_ema",
    "ema",
];
/// The prefix that DistributedDataParallel adds, and the counter that averages have.
const PARALLEL: &str = "module.";
const AVERAGED: &str = "n_averaged";

/// File formats.
#[derive(Clone, Copy)]
pub(super) enum Format {
    Zip,
    /// A stream that begins with a pickle, or a single pickle.
    Pickle,
}

/// The contents of a file.
pub(super) struct Contents {
    pub sources: Vec<Source>,
    pub found: Found,
    /// The prefix of the state dict's names.
    pub prefix: String,
}

/// Reads the list of a file's tensors, without their bytes.
pub(super) fn read(file: SharedFile, length: u64, format: Format) -> Result<Contents, String> {
    let (mut storages, pickle): (Box<dyn Storages>, Pickle) = match format {
        Format::Zip => {
            let (archive, pickle) = Archive::open(file, length)?;
            (Box::new(archive), pickle)
        }
        Format::Pickle => {
            let first = legacy::first(&file, length, modules::RULES)?;
            if legacy::begins(&first) {
                let (legacy, pickle) = Legacy::open(file, 0, length)?;
                (Box::new(legacy), pickle)
            } else {
                (Box::new(Modules::new(file, &first)?), first)
            }
        }
    };
    let found = tensors::find(&pickle, storages.as_mut())?;
    if !found.tensors.values().any(|entry| entry.end > entry.start) {
        return Err(nothing(&found));
    }
    Ok(Contents {
        prefix: state_dict(&pickle, &found),
        sources: storages.into_sources(),
        found,
    })
}

/// Why a file has no usable tensor.
fn nothing(found: &Found) -> String {
    match found.unreadable.iter().next() {
        Some((name, unreadable)) if name.is_empty() => format!(
            "it has no state dict: what was saved {}; save the model's state_dict() instead",
            unreadable.what
        ),
        Some((name, unreadable)) => format!(
            "it has no tensor that can be read: `{name}` {}",
            unreadable.what
        ),
        None => "it has no tensors".to_owned(),
    }
}

/// The prefix of the state dict's names.
fn state_dict(pickle: &Pickle, found: &Found) -> String {
    let mut prefix = String::new();
    if let Node::Dict(items) | Node::Object { items, .. } = pickle.node(pickle.root) {
        let holds = |name: &str| {
            let nested = (items.iter()).any(|&(key, value)| {
                pickle.text(key) == Some(name)
                    && matches!(pickle.node(value), Node::Dict(_) | Node::Object { .. })
            });
            nested && (found.tensors.keys()).any(|key| within(key, name).is_some())
        };
        if let Some(name) = NESTED.into_iter().find(|name| holds(name)) {
            prefix = format!("{name}.");
        }
    }
    let mut names = (found.tensors.keys())
        .filter_map(|key| key.strip_prefix(&prefix))
        .filter(|name| *name != AVERAGED)
        .peekable();
    if names.peek().is_some() && names.all(|name| name.starts_with(PARALLEL)) {
        prefix.push_str(PARALLEL);
    }
    prefix
}

/// What follows `name` and a dot.
fn within<'a>(key: &'a str, name: &str) -> Option<&'a str> {
    key.strip_prefix(name)?.strip_prefix('.')
}
