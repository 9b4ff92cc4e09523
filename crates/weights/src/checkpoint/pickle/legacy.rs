//! The stream that PyTorch saved before version 1.6, and still saves on request: five pickles, then the bytes of the storages.
//!
//! The pickles are a magic number, the version of the format, properties of the machine that wrote it, the saved object, and the keys of the
//! storages in their order. Each storage is the number of its elements in eight bytes, then the elements.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::{MutexGuard, PoisonError};

use super::machine::Rules;
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

/// Whether a pickle is the first one of a stream.
pub fn begins(pickle: &Pickle) -> bool {
    matches!(pickle.node(pickle.root), Node::Wide(bytes) if **bytes == MAGIC)
}

impl Legacy {
    /// Opens the stream that is these bytes of a file (`end` is exclusive), and interprets its pickles.
    pub fn open(file: SharedFile, start: u64, end: u64) -> Result<(Self, Pickle), String> {
        let text = |error: std::io::Error| error.to_string();
        let mut at = start;
        let next = |at: &mut u64| -> Result<Pickle, String> {
            let pickle = Pickle::run(within(&mut lock(&file), *at, end).map_err(text)?)?;
            *at += pickle.length;
            Ok(pickle)
        };
        if !begins(&next(&mut at)?) {
            return Err("it does not begin as PyTorch's streams do".to_owned());
        }
        let version = next(&mut at)?;
        if !matches!(version.node(version.root), Node::Int(VERSION)) {
            return Err(format!(
                "it has a version of PyTorch's format other than {VERSION}"
            ));
        }
        let facts = next(&mut at)?;
        if big_endian(&facts) {
            return Err("its numbers are not little-endian".to_owned());
        }
        let pickle = next(&mut at)?;
        let keys = next(&mut at)?;
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
            within(&mut lock(&file), at, end)
                .and_then(|mut input| input.read_exact(&mut count))
                .map_err(|_| format!("its storage `{key}` is missing: the file is truncated"))?;
            let start = at + 8;
            let bytes = u64::from_le_bytes(count).checked_mul(width as u64);
            let last = bytes.and_then(|bytes| start.checked_add(bytes));
            let (Some(bytes), Some(last)) = (bytes, last.filter(|&last| last <= end)) else {
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
            at = last;
        }
        Ok((Self { file, locations }, pickle))
    }
}

fn lock(file: &SharedFile) -> MutexGuard<'_, File> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A reader of the bytes from `at` to `end`.
fn within(file: &mut File, at: u64, end: u64) -> io::Result<impl Read> {
    file.seek(SeekFrom::Start(at))?;
    Ok(BufReader::new(file.take(end.saturating_sub(at))))
}

/// The first pickle of a file, interpreted by these rules.
pub fn first(file: &SharedFile, length: u64, rules: Rules) -> Result<Pickle, String> {
    let mut file = lock(file);
    let input = within(&mut file, 0, length).map_err(|error| error.to_string())?;
    Pickle::run_by(rules, input)
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
