//! Sharded weights: several files and an index that names them.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

#[derive(serde::Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

/// The shards that an index (`model.safetensors.index.json`) names, which are beside it; none for any other file.
pub(super) fn parts(list: &Path) -> BTreeSet<String> {
    if !is_list(&list.to_string_lossy()) {
        return BTreeSet::new();
    }
    let text = std::fs::read_to_string(list).unwrap_or_default();
    let index: Option<Index> = serde_json::from_str(&text).ok();
    // plain file names, never paths
    let is_name = |name: &String| !name.starts_with('.') && !name.contains(['/', '\\']);
    index.map_or(BTreeSet::new(), |index| {
        index.weight_map.into_values().filter(is_name).collect()
    })
}

/// Whether a weights file exists and, if it is an index, all of its shards.
pub(super) fn is_whole(file: &Path) -> bool {
    let beside = |name: &String| file.with_file_name(name).is_file();
    file.is_file() && parts(file).iter().all(beside)
}

/// Whether that is the name of an index.
pub(super) fn is_list(name: &str) -> bool {
    name.ends_with(".index.json")
}
