//! Files to pictures to vectors: folders are walked, what is the same is seen once, what cannot be read is told.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Result;
use rayon::prelude::*;
use serde::ser::{Serialize, SerializeMap, Serializer};
use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

use super::eye::{Panel, Shown};
use crate::names;
use crate::picture::{self, DecodeError, PictureError, formats};

/// What a file's content is known by: its SHA-256.
pub type Digest = [u8; 32];

/// Files that are worked on together.
const TOGETHER: usize = 64;
/// Pictures of more pixels are decoded one at a time, so that memory does not grow with the number of cores.
const LARGE: u64 = 1 << 24;

/// A file or folder that could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// Why, in words.
    pub error: String,
    /// The name of the file's format, if it is an unsupported picture format.
    pub format: Option<&'static str>,
}

impl Skipped {
    fn not_read(path: PathBuf, format: &'static str) -> Self {
        Self {
            path,
            error: DecodeError::NotRead(format).to_string(),
            format: Some(format),
        }
    }
}

impl Serialize for Skipped {
    /// An object of `path`, `error`, `format` where there is one, and `path_encoded` where the path is not UTF-8.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut object = to.serialize_map(None)?;
        object.serialize_entry("path", &self.path.to_string_lossy())?;
        object.serialize_entry("error", &self.error)?;
        if let Some(format) = self.format {
            object.serialize_entry("format", format)?;
        }
        if let Some(encoded) = names::encoded_if_needed(&self.path) {
            object.serialize_entry("path_encoded", &encoded)?;
        }
        object.end()
    }
}

/// The picture files among `paths`: a file as it is, a folder's pictures by their extensions, in the order of their names. In a folder,
/// files with the extension of an unsupported picture format are skipped unless their content is of a supported one, and files with
/// other extensions are ignored.
/// Hidden files and folders inside of a folder are left out; links are followed, but not in circles. A file that is named twice comes once.
pub fn walk(paths: &[PathBuf]) -> (Vec<PathBuf>, Vec<Skipped>) {
    let mut files = vec![];
    let mut skipped = vec![];
    let mut known = HashSet::new();
    let mut add = |path: PathBuf| {
        if known.insert(path.clone()) {
            files.push(path);
        }
    };
    for path in paths {
        if !path.is_dir() {
            add(path.clone());
            continue;
        }
        let entries = WalkDir::new(path)
            .follow_links(true)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(|entry| {
                entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.')
            });
        for entry in entries {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {}
                Ok(entry) if formats::is_read(entry.path()) => add(entry.into_path()),
                Ok(entry) => match formats::not_read(entry.path()) {
                    None => {}
                    // phones and messengers save JPEGs with the extension of HEIC
                    Some(_) if picture::begins_like_one(entry.path()) => add(entry.into_path()),
                    Some(format) => {
                        skipped.push(Skipped::not_read(entry.into_path(), format));
                    }
                },
                Err(error) => skipped.push(Skipped {
                    path: error.path().unwrap_or(path).to_owned(),
                    error: match error.loop_ancestor() {
                        Some(above) => format!("it is a link back to {}", names::one_line(above)),
                        None => error
                            .io_error()
                            .map_or_else(|| error.to_string(), ToString::to_string),
                    },
                    format: None,
                }),
            }
        }
    }
    // the folders may contain each other
    let mut known = HashSet::new();
    skipped.retain(|skipped: &Skipped| known.insert(skipped.path.clone()));
    (files, skipped)
}

/// The digest of a file's bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// Files that were read, and what a panel's CLIPs see in them.
#[derive(Debug, Default)]
pub struct Gallery {
    /// The files that were read, in the order in which they were given, with what is in them.
    pub files: Vec<(PathBuf, Digest)>,
    /// What each CLIP sees, by content: `[eye][width]`, of unit length. Contents that were known before are left out.
    pub vectors: HashMap<Digest, Vec<Vec<f32>>>,
    /// The files that could not be read.
    pub skipped: Vec<Skipped>,
    /// Whether `watch` stopped it before the last file.
    pub interrupted: bool,
}

/// What was found in one file.
enum Found {
    Known(Digest),
    New(Digest, Shown),
    Broken(Skipped),
}

/// Reads files and looks at them. Files of the same content are seen once, those in `known` not at all. `watch` is told
/// how many files are done, and may stop it.
///
/// Decoding works on all cores, and goes on for the next pictures while the models look at these.
///
/// # Errors
/// When a model fails. Files that cannot be read are no error; they are listed.
pub fn look(
    panel: &Panel,
    files: &[PathBuf],
    known: &HashSet<Digest>,
    mut watch: impl FnMut(usize) -> ControlFlow<()>,
) -> Result<Gallery> {
    let mut gallery = Gallery::default();
    let large = Mutex::new(());
    let open = |files: &[PathBuf], seen: &HashMap<Digest, Vec<Vec<f32>>>| -> Vec<Found> {
        (files.par_iter())
            .map(|path| {
                open(panel, path, &large, |digest| {
                    known.contains(digest) || seen.contains_key(digest)
                })
            })
            .collect()
    };
    let mut chunks = files.chunks(TOGETHER);
    let mut next = chunks
        .next()
        .map(|chunk| (chunk, open(chunk, &gallery.vectors)));
    let mut done = 0;
    while let Some((chunk, found)) = next.take() {
        let mut digests = vec![];
        let mut pictures = vec![];
        let mut fresh = HashSet::new();
        for (path, found) in chunk.iter().zip(found) {
            match found {
                Found::Broken(skipped) => gallery.skipped.push(skipped),
                Found::Known(digest) => gallery.files.push((path.clone(), digest)),
                Found::New(digest, shown) => {
                    gallery.files.push((path.clone(), digest));
                    if !gallery.vectors.contains_key(&digest) && fresh.insert(digest) {
                        digests.push(digest);
                        pictures.push(shown);
                    }
                }
            }
        }
        let after = chunks.next();
        let (seen, opened) = rayon::join(
            || panel.see(&pictures),
            || after.map(|chunk| (chunk, open(chunk, &gallery.vectors))),
        );
        gallery.vectors.extend(digests.into_iter().zip(seen?));
        next = opened;
        done += chunk.len();
        if watch(done).is_break() && done < files.len() {
            gallery.interrupted = true;
            break;
        }
    }
    Ok(gallery)
}

fn open(panel: &Panel, path: &Path, large: &Mutex<()>, known: impl Fn(&Digest) -> bool) -> Found {
    let broken = |error: String| {
        Found::Broken(Skipped {
            path: path.to_owned(),
            error,
            format: None,
        })
    };
    let undecodable = |error: DecodeError| match error {
        DecodeError::NotRead(format) => Found::Broken(Skipped::not_read(path.to_owned(), format)),
        // the message need not name the file: `Skipped` does
        error => broken(error.to_string()),
    };
    let bytes = match picture::read_bytes(path) {
        Ok(bytes) => bytes,
        Err(PictureError::Undecodable { source, .. }) => return undecodable(source),
        Err(PictureError::Unreadable { source, .. }) => return broken(source.to_string()),
    };
    let digest = digest(&bytes);
    if known(&digest) {
        return Found::Known(digest);
    }
    let is_large = picture::dimensions(&bytes)
        .is_ok_and(|(width, height)| u64::from(width) * u64::from(height) > LARGE);
    let _alone = is_large.then(|| large.lock());
    match picture::decode_rgb(&bytes) {
        Ok(picture) => match panel.show(&picture) {
            Ok(shown) => Found::New(digest, shown),
            Err(error) => broken(format!("{error:#}")),
        },
        Err(error) => undecodable(error),
    }
}
