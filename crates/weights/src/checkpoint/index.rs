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

/// The names of the shards that an index lists; not all need be [plain](is_plain).
///
/// # Errors
/// If it cannot be read or is not an index.
pub fn shards(path: &Path) -> Result<BTreeSet<String>, CheckpointError> {
    let origin = path.display().to_string();
    let read = |source| CheckpointError::Read(origin.clone(), source);
    let broken = |what: String| CheckpointError::Index(origin.clone(), what);
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
    Ok(names)
}

/// Whether the name of a shard is that of a file in the index's own folder.
pub fn is_plain(name: &str) -> bool {
    !name.starts_with('.') && !name.contains(['/', '\\']) && !name.ends_with(".json")
}
