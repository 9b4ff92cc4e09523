//! PyTorch's `.pt`, `.pth`, `.ckpt` and `.bin`: a pickled dictionary and the bytes of its tensors, in a zip archive or, before PyTorch 1.6, in
//! one stream.
//!
//! Nothing is ever executed: the pickle is run on names and numbers alone (`machine`), and the calls that would make tensors are
//! recognised among them (`tensors`). TorchScript archives keep the same tensors as attributes of modules within modules, and are
//! read as well.

mod archive;
mod legacy;
mod machine;
mod tensors;
mod value;

use std::collections::BTreeMap;

use super::source::{SharedFile, Source};
use super::{Entry, Odd};
use archive::Archive;
use legacy::Legacy;
use tensors::{Found, Storages};
use value::{Node, Pickle};

/// Under these names training programs keep the state dict among other things. The weights themselves come before their averages.
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
/// DistributedDataParallel puts the model inside one more module, and averages count how many they are of.
const PARALLEL: &str = "module.";
const AVERAGED: &str = "n_averaged";

/// Which of PyTorch's formats a file is of.
#[derive(Clone, Copy)]
pub(super) enum Format {
    Zip,
    Legacy,
}

/// What a file holds.
pub(super) struct Contents {
    pub sources: Vec<Source>,
    pub tensors: BTreeMap<String, Entry>,
    pub odd: BTreeMap<String, Odd>,
    /// What the names of the state dict begin with.
    pub prefix: String,
}

/// Reads what a file holds; nothing of the tensors but where they are.
pub(super) fn read(file: SharedFile, length: u64, format: Format) -> Result<Contents, String> {
    let (mut storages, pickle): (Box<dyn Storages>, Pickle) = match format {
        Format::Zip => {
            let (archive, pickle) = Archive::open(file, length)?;
            (Box::new(archive), pickle)
        }
        Format::Legacy => {
            let (legacy, pickle) = Legacy::open(file, length)?;
            (Box::new(legacy), pickle)
        }
    };
    let found = tensors::find(&pickle, storages.as_mut())?;
    if !found.tensors.values().any(|entry| entry.end > entry.start) {
        return Err(nothing(&found));
    }
    let prefix = state_dict(&pickle, &found);
    let Found { tensors, odd } = found;
    Ok(Contents {
        sources: storages.into_sources(),
        tensors,
        odd,
        prefix,
    })
}

/// Why a file gives no tensor.
fn nothing(found: &Found) -> String {
    match found.odd.iter().next() {
        Some((name, odd)) if name.is_empty() => format!(
            "it holds no state dict: what was saved {}; save the model's state_dict() instead",
            odd.what
        ),
        Some((name, odd)) => format!("it holds no tensor that can be read: `{name}` {}", odd.what),
        None => "it holds no tensors".to_owned(),
    }
}

/// What the names of the state dict begin with.
fn state_dict(pickle: &Pickle, found: &Found) -> String {
    let mut prefix = String::new();
    if let Node::Dict(items) | Node::Object { items, .. } = pickle.node(pickle.root()) {
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
