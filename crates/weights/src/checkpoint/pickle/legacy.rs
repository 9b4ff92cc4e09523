//! The stream that PyTorch saved before version 1.6, and still saves on request: five pickles, then the bytes of the storages.
//!
//! The pickles are a magic number, the version of the format, properties of the machine that wrote it, the saved object, and the keys of the
//! storages in their order. Each storage is the number of its elements in eight bytes, then the elements.

use std::collections::HashMap;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::PoisonError;

use super::tensors::{Location, Storages, storage};
use super::value::{Node, Pickle};
use crate::checkpoint::source::{SharedFile, Source};

/// The first bytes of a stream: 0x1950a86a20f9469cfc6c, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The only version of the format.
const VERSION: i64 = 1001;

/// A stream whose pickles have been interpreted.
pub struct Legacy {
    file: SharedFile,
    locations: HashMap<String, Location>,
}

impl Legacy {
    /// Opens a stream and interprets its pickles.
    pub fn open(file: SharedFile, length: u64) -> Result<(Self, Pickle), String> {
        let shared = file.clone();
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let text = |error: std::io::Error| error.to_string();
        file.seek(SeekFrom::Start(0)).map_err(text)?;
        let mut input = BufReader::new(&mut *file);
        let mut at = 0;
        let mut next = |input: &mut BufReader<_>| -> Result<Pickle, String> {
            let pickle = Pickle::run(input)?;
            at += pickle.length;
            Ok(pickle)
        };
        let magic = next(&mut input)?;
        if !matches!(magic.node(magic.root), Node::Wide(bytes) if **bytes == MAGIC) {
            return Err(
                "it is a pickle that PyTorch's `save` did not write, such as one of numpy arrays; load it in Python and save its tensors as safetensors"
                    .to_owned(),
            );
        }
        let version = next(&mut input)?;
        if !matches!(version.node(version.root), Node::Int(VERSION)) {
            return Err(format!(
                "it has a version of PyTorch's format other than {VERSION}"
            ));
        }
        let facts = next(&mut input)?;
        if big_endian(&facts) {
            return Err("its numbers are not little-endian".to_owned());
        }
        let pickle = next(&mut input)?;
        let keys = next(&mut input)?;
        let widths = widths(&pickle);
        let Node::List(order) = keys.node(keys.root) else {
            return Err("it does not list its storages".to_owned());
        };
        let mut locations = HashMap::new();
        for &key in order {
            let key = keys.text(key).unwrap_or_default();
            let Some(&width) = widths.get(key) else {
                return Err(format!(
                    "its storage `{key}` has an unknown type, so the storages after it cannot be found"
                ));
            };
            let mut count = [0; 8];
            input
                .seek(SeekFrom::Start(at))
                .and_then(|_| input.read_exact(&mut count))
                .map_err(|_| format!("its storage `{key}` is missing: the file is truncated"))?;
            let start = at + 8;
            let bytes = u64::from_le_bytes(count).checked_mul(width as u64);
            let end = bytes.and_then(|bytes| start.checked_add(bytes));
            let (Some(bytes), Some(end)) = (bytes, end.filter(|&end| end <= length)) else {
                return Err(format!(
                    "its storage `{key}` would end after the end of the file: the file is truncated"
                ));
            };
            let location = Location {
                source: 0,
                start,
                length: bytes,
            };
            locations.insert(key.to_owned(), location);
            at = end;
        }
        drop(input);
        drop(file);
        Ok((
            Self {
                file: shared,
                locations,
            },
            pickle,
        ))
    }
}

/// Bytes of an element of each storage.
fn widths(pickle: &Pickle) -> HashMap<String, usize> {
    pickle
        .nodes
        .iter()
        .filter_map(|node| match node {
            Node::Persistent(id) => {
                let storage = storage(pickle, *id)?;
                Some((storage.key.to_owned(), storage.width?))
            }
            _ => None,
        })
        .collect()
}

/// Whether the machine's properties contain `little_endian: False`.
fn big_endian(facts: &Pickle) -> bool {
    let Node::Dict(items) = facts.node(facts.root) else {
        return false;
    };
    (items.iter()).any(|&(key, value)| {
        facts.text(key) == Some("little_endian") && matches!(facts.node(value), Node::Bool(false))
    })
}

impl Storages for Legacy {
    fn location(&mut self, key: &str) -> Result<Location, String> {
        (self.locations.get(key).copied())
            .ok_or_else(|| format!("is in the storage `{key}`, which is not in the file"))
    }

    fn into_sources(self: Box<Self>) -> Vec<Source> {
        vec![Source::File(self.file)]
    }
}
