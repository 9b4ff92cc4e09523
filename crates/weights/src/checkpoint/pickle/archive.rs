//! The zip archives that PyTorch saves since version 1.6.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::PoisonError;

use zip::{CompressionMethod, ZipArchive};

use super::tensors::{Location, Storages};
use super::value::Pickle;
use crate::checkpoint::source::{SharedFile, Source, inflate};

/// The limit for the archive's own directory, in bytes: a state dict of 10,000 tensors takes about one MiB.
const DIRECTORY_LIMIT: u64 = 16 << 20;
/// The largest compression ratio of deflate.
const MOST_DEFLATED: u64 = 1032;

/// A reader that fails after `left` bytes.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("its list of contents is too long"));
        }
        let most = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.inner.read(&mut buffer[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}

impl<R: Seek> Seek for Limited<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// The location of a part of the archive in the file.
struct Part {
    start: u64,
    packed: u64,
    /// Its uncompressed size in bytes.
    size: u64,
    deflated: bool,
}

/// An archive whose pickle has been interpreted.
pub struct Archive {
    zip: ZipArchive<Limited<BufReader<File>>>,
    file: SharedFile,
    /// Length of the file.
    length: u64,
    /// The archive's own folder, which contains its parts, with a slash.
    folder: String,
    locations: HashMap<String, Location>,
    /// The file itself, then its compressed parts.
    sources: Vec<Source>,
}

impl Archive {
    /// Opens an archive and interprets its pickle.
    pub fn open(file: SharedFile, length: u64) -> Result<(Self, Pickle), String> {
        let text = |error: io::Error| error.to_string();
        let own = (file.lock().unwrap_or_else(PoisonError::into_inner))
            .try_clone()
            .map_err(text)?;
        let zip = ZipArchive::new(Limited {
            inner: BufReader::new(own),
            left: DIRECTORY_LIMIT,
        })
        .map_err(|error| format!("its archive cannot be read ({error})"))?;
        let mut pickles = (zip.file_names().filter_map(Result::ok))
            .filter(|name| name == "data.pkl" || name.ends_with("/data.pkl"))
            .map(|name| name.into_owned());
        let Some(pickle) = pickles.next() else {
            return Err(
                "it is a zip archive without a data.pkl, so PyTorch did not write it".to_owned(),
            );
        };
        drop(pickles);
        let folder = (pickle.strip_suffix("data.pkl"))
            .unwrap_or_default()
            .to_owned();
        let mut archive = Self {
            zip,
            sources: vec![Source::File(file.clone())],
            file,
            length,
            folder,
            locations: HashMap::new(),
        };
        if let Ok(part) = archive.part(&format!("{}byteorder", archive.folder)) {
            let mut order = vec![];
            archive.read(&part, |bytes| {
                bytes.take(16).read_to_end(&mut order).map_err(text)
            })?;
            if order != b"little" {
                return Err("its numbers are not little-endian".to_owned());
            }
        }
        let part = archive.part(&pickle)?;
        let pickle = archive.read(&part, |bytes| Pickle::run(bytes))?;
        Ok((archive, pickle))
    }

    fn part(&mut self, name: &str) -> Result<Part, String> {
        let length = self.length;
        let index = (self.zip.index_for_name(name))
            .ok_or_else(|| format!("its part {name} is not in the archive"))?;
        // raw, because the compression is handled here
        let entry = (self.zip.by_index_raw(index)).map_err(|error| format!("{name}: {error}"))?;
        let deflated = match entry.compression() {
            CompressionMethod::Stored => false,
            // the number that the format gives the method of RFC 1951
            method if method == CompressionMethod::DEFLATE => true,
            method => {
                return Err(format!(
                    "its part {name} is compressed with {method}; only stored and deflated parts are supported"
                ));
            }
        };
        if entry.encrypted() {
            return Err(format!("its part {name} is encrypted"));
        }
        let packed = entry.compressed_size();
        let start =
            (entry.data_start()).ok_or_else(|| format!("its part {name} has no position"))?;
        if start.checked_add(packed).is_none_or(|end| end > length) {
            return Err(format!(
                "its part {name} would end after the end of the file"
            ));
        }
        let size = if deflated { entry.size() } else { packed };
        if deflated && size > (packed + 1).saturating_mul(MOST_DEFLATED) {
            return Err(format!(
                "its part {name} of {packed} bytes claims to expand to {size} bytes"
            ));
        }
        Ok(Part {
            start,
            packed,
            size,
            deflated,
        })
    }

    /// Calls `make` with a reader of a part's bytes.
    fn read<T>(
        &self,
        part: &Part,
        make: impl FnOnce(&mut dyn Read) -> Result<T, String>,
    ) -> Result<T, String> {
        let text = |error: io::Error| error.to_string();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if part.deflated {
            let bytes = inflate(&mut file, part.start, part.packed).map_err(text)?;
            return make(&mut BufReader::new(bytes));
        }
        file.seek(SeekFrom::Start(part.start)).map_err(text)?;
        make(&mut BufReader::new(file.by_ref().take(part.packed)))
    }
}

impl Storages for Archive {
    fn location(&mut self, key: &str) -> Result<Location, String> {
        if let Some(location) = self.locations.get(key) {
            return Ok(*location);
        }
        let part = self.part(&format!("{}data/{key}", self.folder))?;
        let mut location = Location {
            source: 0,
            start: part.start,
            length: part.size,
        };
        if part.deflated {
            (location.source, location.start) = (self.sources.len(), 0);
            self.sources.push(Source::Deflated {
                file: self.file.clone(),
                start: part.start,
                packed: part.packed,
            });
        }
        self.locations.insert(key.to_owned(), location);
        Ok(location)
    }

    fn into_sources(self: Box<Self>) -> Vec<Source> {
        self.sources
    }
}
