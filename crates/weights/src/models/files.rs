//! Whether a folder holds a model: its files, the shards of its weights, its configuration.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::table::FileSet;
use crate::checkpoint;

/// The endings of weights files.
const WEIGHTS: [&str; 6] = ["safetensors", "bin", "pt", "pth", "ckpt", "pkl"];

/// The first of these files that exists in a folder.
pub fn file_in<S: AsRef<str>>(
    folder: &Path,
    names: impl IntoIterator<Item = S>,
) -> Option<PathBuf> {
    (names.into_iter())
        .map(|name| folder.join(name.as_ref()))
        .find(|path| path.is_file())
}

/// The weights in a folder that holds a single file of them, under any name. Hidden files are none: they belong to a program.
pub fn only_weights(folder: &Path) -> Option<PathBuf> {
    let is_weights = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with('.')
            && path.is_file()
            && ending.is_some_and(|ending| WEIGHTS.contains(&ending))
    };
    let files = std::fs::read_dir(folder).ok()?;
    let mut found = files.flatten().map(|entry| entry.path()).filter(is_weights);
    found.next().filter(|_| found.next().is_none())
}

/// Whether that is the name of the index of a sharded checkpoint.
pub(super) fn is_index(name: &str) -> bool {
    name.ends_with(".index.json")
}

/// The shards that an index (`model.safetensors.index.json`) names, in its own folder; none for any other file. A broken index has none: reading
/// the checkpoint reports it.
pub(super) fn shards(file: &Path) -> BTreeSet<String> {
    if is_index(&file.to_string_lossy()) {
        let names = checkpoint::shards(file).unwrap_or_default().into_iter();
        names.filter(|name| checkpoint::is_plain(name)).collect()
    } else {
        BTreeSet::new()
    }
}

/// Whether a weights file exists and, if it is an index, all of its shards.
pub(super) fn is_complete(file: &Path) -> bool {
    let exists = |name: &String| file.with_file_name(name).is_file();
    file.is_file() && shards(file).iter().all(exists)
}

/// Whether a folder holds all required files and weights.
pub(super) fn holds(folder: &Path, files: &FileSet) -> bool {
    let path = |file: &String| folder.join(file);
    files.required.iter().all(|file| path(file).is_file())
        && files.weights.iter().any(|file| is_complete(&path(file)))
}

/// Whether the configuration that a weights file needs is next to it. `weights` is relative to the folder.
pub(super) fn is_described(folder: &Path, weights: &str) -> bool {
    let path = folder.join(weights);
    let exists = |name: &str| path.with_file_name(name).is_file();
    let file = weights.rsplit('/').next().unwrap_or(weights);
    if file.starts_with("open_clip_") {
        return exists("open_clip_config.json");
    }
    let described = ["model.", "pytorch_model.", "diffusion_pytorch_model."];
    let needs = described.iter().any(|start| file.starts_with(start));
    !needs || file.ends_with(".ckpt") || exists("config.json")
}
