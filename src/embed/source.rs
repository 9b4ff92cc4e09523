//! Where pictures come from: files, and the samples of webdatasets.
//!
//! A webdataset is a tar archive whose members are grouped into samples by their names up to the first dot:
//! `0001.jpg`, `0001.txt`, `0001.json`. Archives are read by their headers alone; the bytes of a member are read where they are
//! needed. Nothing is ever unpacked, so that names of members are text and no paths.

mod tar;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use walkdir::WalkDir;

use crate::judge::{Skipped, find_pictures};
use crate::picture::{self, DecodeError, LARGEST_FILE, formats};
use tar::Member;

/// Largest caption, in bytes, and largest JSON.
const LARGEST_TEXT: u64 = 1 << 20;

/// A file of pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Picture(PathBuf),
    Archive(PathBuf),
}

impl Source {
    pub fn path(&self) -> &Path {
        let (Self::Picture(path) | Self::Archive(path)) = self;
        path
    }
}

/// A picture that can be read.
#[derive(Clone, Debug)]
pub(super) enum Input {
    File(PathBuf),
    Sample(Arc<PathBuf>, Sample),
}

/// A picture in an archive, and what belongs to it.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub key: String,
    picture: Member,
    caption: Option<Member>,
    metadata: Option<Member>,
}

/// The bytes of a picture, and what belongs to it.
pub(super) struct Contents {
    pub picture: Vec<u8>,
    pub caption: Option<String>,
    pub metadata: Option<String>,
}

/// The pictures among `paths` as [`find_pictures`] finds them, and then the tar archives: those that are named, and those in folders, ordered
/// by name.
pub(super) fn find(paths: &[PathBuf]) -> (Vec<Source>, Vec<Skipped>) {
    let (archives, others): (Vec<PathBuf>, Vec<PathBuf>) =
        (paths.iter().cloned()).partition(|path| is_archive(path) && !path.is_dir());
    let (pictures, skipped) = find_pictures(&others);
    let in_folders = others
        .iter()
        .filter(|path| path.is_dir())
        .flat_map(|folder| {
            let is_visible = |entry: &walkdir::DirEntry| {
                entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.')
            };
            // what cannot be walked is among the skipped ones already
            (WalkDir::new(folder)
                .follow_links(true)
                .sort_by_file_name()
                .into_iter())
            .filter_entry(is_visible)
            .flatten()
            .filter(|entry| entry.file_type().is_file() && is_archive(entry.path()))
            .map(walkdir::DirEntry::into_path)
        });
    let mut known = HashSet::new();
    let archives = (in_folders.chain(archives)).filter(|path| known.insert(path.clone()));
    let sources = (pictures.into_iter().map(Source::Picture))
        .chain(archives.map(Source::Archive))
        .collect();
    (sources, skipped)
}

fn is_archive(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("tar"))
}

impl Source {
    /// The pictures of a source, and what of it cannot be read.
    pub fn inputs(&self) -> (Vec<Input>, Vec<Skipped>) {
        match self {
            Self::Picture(path) => (vec![Input::File(path.clone())], vec![]),
            Self::Archive(path) => {
                let (samples, error) = samples(path);
                let skipped = error.map(|error| Skipped::new(path, error));
                let path = Arc::new(path.clone());
                let inputs = (samples.into_iter())
                    .map(|sample| Input::Sample(Arc::clone(&path), sample))
                    .collect();
                (inputs, skipped.into_iter().collect())
            }
        }
    }
}

/// The samples of an archive that have a picture, a row for each of their pictures, and why it could not be read to its end.
fn samples(path: &Path) -> (Vec<Sample>, Option<String>) {
    let (members, error) = match File::open(path) {
        Ok(file) => tar::members(file),
        Err(error) => (vec![], Some(error.to_string())),
    };
    let mut samples = vec![];
    for members in members.chunk_by(|a, b| key(&a.name).0 == key(&b.name).0) {
        let find = |wanted: &str| {
            (members.iter())
                .find(|member| key(&member.name).1.eq_ignore_ascii_case(wanted))
                .cloned()
        };
        let pictures = members
            .iter()
            .filter(|member| formats::is_read(Path::new(&member.name)));
        samples.extend(pictures.map(|picture| Sample {
            key: key(&picture.name).0.to_owned(),
            picture: picture.clone(),
            caption: find("txt"),
            metadata: find("json"),
        }));
    }
    (samples, error)
}

/// A member's key and extension: what is before the first dot of its file name, and after it.
fn key(name: &str) -> (&str, &str) {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[file..].find('.') {
        Some(dot) => (&name[..file + dot], &name[file + dot + 1..]),
        None => (name, ""),
    }
}

impl Input {
    /// The picture's file, or the archive.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Sample(path, _) => path,
        }
    }

    /// The key of the sample.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::File(_) => None,
            Self::Sample(_, sample) => Some(&sample.key),
        }
    }

    /// The picture cannot be used.
    pub fn skipped(&self, error: impl ToString) -> Skipped {
        let error = error.to_string();
        match self {
            Self::File(path) => Skipped::new(path, error),
            Self::Sample(path, sample) => {
                Skipped::new(path, format!("{}: {error}", sample.picture.name))
            }
        }
    }

    /// The picture cannot be decoded.
    pub fn undecodable(&self, error: &DecodeError) -> Skipped {
        match self {
            Self::File(path) => Skipped::undecodable(path, error),
            Self::Sample(..) => self.skipped(error),
        }
    }

    /// Reads the picture and its texts: for a file, those of the same name that end in `.txt` and `.json`.
    pub fn read(&self) -> Result<Contents, Skipped> {
        match self {
            Self::File(path) => {
                let picture = picture::read_bytes(path)
                    .map_err(|error| Skipped::undecodable(path, &error.source))?;
                let text = |extension: &str| -> io::Result<Option<String>> {
                    let path = path.with_extension(extension);
                    match File::open(&path) {
                        Ok(file) if file.metadata()?.is_file() => {
                            let size = file.metadata()?.len();
                            Ok(Some(text(&read(file, size, LARGEST_TEXT)?)))
                        }
                        _ => Ok(None),
                    }
                };
                let said = |extension: &str| {
                    text(extension).map_err(|error| {
                        self.skipped(format_args!("its text, .{extension}: {error}"))
                    })
                };
                Ok(Contents {
                    picture,
                    caption: said("txt")?,
                    metadata: said("json")?,
                })
            }
            Self::Sample(path, sample) => {
                let read = |member: &Member, most: u64| -> io::Result<Vec<u8>> {
                    let mut file = File::open(path.as_path())?;
                    file.seek(SeekFrom::Start(member.offset))?;
                    read(file, member.size, most)
                };
                let said = |member: &Option<Member>| -> Result<Option<String>, Skipped> {
                    let Some(member) = member else {
                        return Ok(None);
                    };
                    let bytes = read(member, LARGEST_TEXT).map_err(|error| {
                        self.skipped(format_args!("its text {}: {error}", member.name))
                    })?;
                    Ok(Some(text(&bytes)))
                };
                Ok(Contents {
                    picture: read(&sample.picture, LARGEST_FILE)
                        .map_err(|error| self.skipped(error))?,
                    caption: said(&sample.caption)?,
                    metadata: said(&sample.metadata)?,
                })
            }
        }
    }
}

/// Reads `size` bytes, which are not more than `most`.
fn read(file: File, size: u64, most: u64) -> io::Result<Vec<u8>> {
    if size > most {
        let message = format!("it is larger than {} MiB", most >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    let mut bytes = vec![];
    file.take(size).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < size {
        let message = DecodeError::Truncated.to_string();
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
    }
    Ok(bytes)
}

/// Bytes as text, without the line break at its end.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_end_matches(['\n', '\r'])
        .to_owned()
}

/// Whether a row's picture is still there.
pub(super) fn exists(path: &str) -> bool {
    fs::metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_what_has_the_same_name_up_to_the_first_dot() {
        assert_eq!(key("a/b.c/0001.cls.txt"), ("a/b.c/0001", "cls.txt"));
        assert_eq!(key("0001.jpg"), ("0001", "jpg"));
        assert_eq!(key("plain"), ("plain", ""));
    }
}
