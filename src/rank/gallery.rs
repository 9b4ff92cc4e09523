//! Files to pictures to vectors: folders are walked, what is the same is seen once, what cannot be read is told.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Result;
use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

use super::eye::{Panel, Shown};
use crate::picture;

/// What a file's content is known by: its SHA-256.
pub type Digest = [u8; 32];

/// Endings of files that are taken for pictures in a folder.
const ENDINGS: [&str; 8] = ["bmp", "gif", "jpeg", "jpg", "png", "tif", "tiff", "webp"];
/// Files that are worked on together.
const TOGETHER: usize = 64;
/// Pictures of more pixels are decoded one at a time, so that memory does not grow with the number of cores.
const LARGE: u64 = 1 << 24;

/// A file or folder that could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The file.
    #[serde(serialize_with = "as_text")]
    pub path: PathBuf,
    /// Why, in words.
    pub error: String,
}

/// A path as text, for JSON.
pub(super) fn as_text<S: serde::Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&path.display())
}

/// The picture files among `paths`: a file as it is, a folder's pictures by their endings, in the order of their names.
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
                Ok(entry) if !entry.file_type().is_dir() && is_picture(entry.path()) => {
                    add(entry.into_path());
                }
                Ok(_) => {}
                Err(error) => skipped.push(Skipped {
                    path: error.path().unwrap_or(path).to_owned(),
                    error: match error.loop_ancestor() {
                        Some(above) => format!("it is a link back to {}", above.display()),
                        None => error
                            .io_error()
                            .map_or_else(|| error.to_string(), ToString::to_string),
                    },
                }),
            }
        }
    }
    (files, skipped)
}

fn is_picture(path: &Path) -> bool {
    path.extension().is_some_and(|ending| {
        let ending = ending.to_string_lossy().to_ascii_lowercase();
        ENDINGS.contains(&ending.as_str())
    })
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
    Broken(String),
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
                Found::Broken(error) => gallery.skipped.push(Skipped {
                    path: path.clone(),
                    error,
                }),
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
    let bytes = match picture::read_bytes(path) {
        Ok(bytes) => bytes,
        Err(error) => return Found::Broken(cause(&error)),
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
            Err(error) => Found::Broken(format!("{error:#}")),
        },
        Err(error) => Found::Broken(error.to_string()),
    }
}

/// The innermost cause: the file is named beside it.
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}
