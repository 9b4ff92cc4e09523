//! The index of a sharded checkpoint, `model.safetensors.index.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::CheckpointError;

/// The largest index that is read, in bytes.
const SIZE_LIMIT: u64 = 64 << 20;
/// The largest number of shards.
const SHARD_LIMIT: usize = 1000;

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The names of the shards that an index lists, which are files in its own folder.
///
/// # Errors
/// If it cannot be read, is not an index, or names anything but plain files.
pub fn shards(path: &Path) -> Result<BTreeSet<String>, CheckpointError> {
    let origin = path.display().to_string();
    let read = |source| CheckpointError::Read {
        origin: origin.clone(),
        source,
    };
    let broken = |what: String| CheckpointError::Index {
        origin: origin.clone(),
        what,
    };
    let length = std::fs::metadata(path).map_err(read)?.len();
    if length > SIZE_LIMIT {
        return Err(broken(format!("it has {length} bytes")));
    }
    let text = std::fs::read(path).map_err(read)?;
    let index: Index = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    if names.len() > SHARD_LIMIT {
        return Err(broken(format!("it names {} files", names.len())));
    }
    let is_plain = |name: &str| {
        !name.starts_with('.') && !name.contains(['/', '\\']) && !name.ends_with(".json")
    };
    match names.iter().find(|name| !is_plain(name)) {
        Some(name) => Err(broken(format!(
            "`{name}` is not the name of a file in its folder"
        ))),
        None => Ok(names),
    }
}
