//! Picture files: found in folders, decoded, and embedded by an ensemble.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Result;
use rayon::prelude::*;
use serde::{Serialize, Serializer};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use walkdir::{DirEntry, WalkDir};

use super::ensemble::{Ensemble, Preprocessed};
use crate::names::{insert_path, one_line};
use crate::picture::{self, DecodeError, formats};
use crate::sweep::layout::{advice_on_url, pictures_in};

/// The SHA-256 of a file's bytes, by which its content is recognised.
pub type Digest = [u8; 32];

/// Files that are decoded, and then embedded, together.
const CHUNK: usize = 64;
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
    pub(crate) fn new(path: &Path, error: impl ToString) -> Self {
        Self {
            path: path.to_owned(),
            error: error.to_string(),
            format: None,
        }
    }

    pub(crate) fn undecodable(path: &Path, error: &DecodeError) -> Self {
        let mut skipped = Self::new(path, error);
        if let DecodeError::NotRead(format) = error {
            skipped.format = Some(*format);
        }
        skipped
    }
}

impl Serialize for Skipped {
    /// An object of `path`, `path_encoded` where the path is not UTF-8, `error`, and `format` where there is one.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut object = json!({});
        insert_path(&mut object, "path", &self.path);
        object["error"] = json!(self.error);
        if let Some(format) = self.format {
            object["format"] = json!(format);
        }
        object.serialize(to)
    }
}

/// A picture with the result of judging it.
#[derive(Clone, Debug, PartialEq)]
pub struct PictureResult<T> {
    /// Its files, at least one; where there are several, they have the same content.
    pub paths: Vec<PathBuf>,
    /// The result.
    pub result: T,
}

/// The results for picture files.
#[derive(Clone, Debug)]
pub struct Results<T> {
    /// The pictures that were read.
    pub pictures: Vec<PictureResult<T>>,
    /// The files that could not be read.
    pub skipped: Vec<Skipped>,
}

/// The skipped files of unsupported formats, by the format's name.
pub fn unsupported(skipped: &[Skipped]) -> BTreeMap<&'static str, Vec<&Skipped>> {
    let mut formats: BTreeMap<_, Vec<&Skipped>> = BTreeMap::new();
    for skipped in skipped {
        if let Some(format) = skipped.format {
            formats.entry(format).or_default().push(skipped);
        }
    }
    formats
}

/// Why none of the pictures in `paths` was read, as a sentence for the user.
pub fn no_pictures(paths: &[PathBuf], skipped: &[Skipped]) -> String {
    let names: Vec<String> = paths.iter().map(|path| one_line(path)).collect();
    let names = names.join(", ");
    if skipped.is_empty() {
        return format!("there are no pictures in {names}");
    }
    if skipped.iter().any(|skipped| skipped.format.is_none()) {
        return "none of the pictures could be read".to_owned();
    }
    let counts: Vec<String> = (unsupported(skipped).iter())
        .map(|(format, files)| format!("{} {format}", files.len()))
        .collect();
    format!(
        "there are no pictures in {names} of a format that is read, only {}: convert to JPEG or PNG",
        counts.join(", ")
    )
}

/// The picture files among `paths`: files as they are, and the pictures in folders by their extensions, ordered by name. In a folder,
/// files with the extension of an unsupported picture format are skipped unless their content is of a supported one; files with
/// other extensions and hidden files and folders are ignored. Links are followed, but not in circles. A file that is found twice is
/// listed once. The folder of a sweep stands for the pictures of its whole runs.
pub fn find_pictures(paths: &[PathBuf]) -> (Vec<PathBuf>, Vec<Skipped>) {
    let mut files = vec![];
    let mut skipped: Vec<Skipped> = vec![];
    for path in paths {
        if !path.is_dir() {
            match advice_on_url(path) {
                Some(advice) => skipped.push(Skipped::new(path, advice)),
                None => files.push(path.clone()),
            }
            continue;
        }
        if let Some(pictures) = pictures_in(path) {
            files.extend(pictures);
            continue;
        }
        let is_visible = |entry: &DirEntry| {
            entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.')
        };
        let entries = WalkDir::new(path).follow_links(true).sort_by_file_name();
        for entry in entries.into_iter().filter_entry(is_visible) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let cause = match (error.loop_ancestor(), error.io_error()) {
                        (Some(above), _) => format!("it is a link back to {}", one_line(above)),
                        (None, Some(cause)) => cause.to_string(),
                        (None, None) => error.to_string(),
                    };
                    skipped.push(Skipped::new(error.path().unwrap_or(path), cause));
                    continue;
                }
            };
            let (file, format) = (entry.path(), formats::not_read(entry.path()));
            // phones and messengers save JPEGs with the extension of HEIC
            let is_read = || format.is_some() && picture::begins_like_one(file);
            if entry.file_type().is_dir() {
            } else if formats::is_read(file) || is_read() {
                files.push(file.to_owned());
            } else if let Some(format) = format {
                skipped.push(Skipped::undecodable(file, &DecodeError::NotRead(format)));
            }
        }
    }
    // the folders may contain each other
    let mut known = HashSet::new();
    files.retain(|path| known.insert(path.clone()));
    let mut known = HashSet::new();
    skipped.retain(|skipped| known.insert(skipped.path.clone()));
    (files, skipped)
}

/// The digest of a file's bytes.
pub(super) fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// Files grouped by content, in the order of the first of each.
pub(super) fn by_content(files: &[(PathBuf, Digest)]) -> Vec<(Digest, Vec<PathBuf>)> {
    let mut indices = HashMap::new();
    let mut groups: Vec<(Digest, Vec<PathBuf>)> = vec![];
    for (path, digest) in files {
        let index = *indices.entry(*digest).or_insert_with(|| {
            groups.push((*digest, vec![]));
            groups.len() - 1
        });
        groups[index].1.push(path.clone());
    }
    groups
}

/// Files that were read, and their pictures as vectors.
#[derive(Debug, Default)]
pub struct EmbeddedFiles {
    /// The files that were read, in the order in which they were given, each with the digest of its content.
    pub files: Vec<(PathBuf, Digest)>,
    /// The vectors of each content, `[encoder][width]`, of unit length. Contents that were known before are left out.
    pub vectors: HashMap<Digest, Vec<Vec<f32>>>,
    /// The files that could not be read.
    pub skipped: Vec<Skipped>,
    /// Whether `progress` stopped it before the last file.
    pub interrupted: bool,
}

/// A file after decoding.
enum Decoded {
    Known(Digest),
    New(Digest, Preprocessed),
    Broken(Skipped),
}

impl Ensemble {
    /// Reads the picture files among `paths` (see [`find_pictures`]) and embeds them. `progress` is called with the number of files that are
    /// done, and of all.
    ///
    /// # Errors
    /// When a model fails. Files that cannot be read are no error; they are listed.
    pub fn embed_paths(
        &self,
        paths: &[PathBuf],
        mut progress: impl FnMut(usize, usize),
    ) -> Result<EmbeddedFiles> {
        let (files, skipped) = find_pictures(paths);
        let progress = |done| {
            progress(done, files.len());
            ControlFlow::Continue(())
        };
        let mut embedded = self.embed_files(&files, |_| false, progress)?;
        embedded.skipped.splice(0..0, skipped);
        Ok(embedded)
    }

    /// Decodes a picture and brings it to the input sizes of the CLIPs; also its width and height. `large` is held while a large one is
    /// decoded.
    pub(crate) fn decode(
        &self,
        bytes: &[u8],
        large: &Mutex<()>,
    ) -> Result<(Preprocessed, (u32, u32)), DecodeError> {
        let is_large = picture::dimensions(bytes)
            .is_ok_and(|(width, height)| u64::from(width) * u64::from(height) > LARGE);
        let _alone = is_large.then(|| large.lock());
        let picture = picture::decode_rgb(bytes)?;
        let preprocessed = (self.preprocess(&picture))
            .map_err(|error| DecodeError::Unreadable(io::Error::other(format!("{error:#}"))))?;
        Ok((preprocessed, picture.dimensions()))
    }

    /// Reads files and embeds their pictures. Files of the same content are embedded once, those that `is_known` says not at all. `progress` is called
    /// with the number of files that are done, and may stop it.
    ///
    /// Decoding works on all cores, and the next files are decoded while the models embed the present ones.
    ///
    /// # Errors
    /// When a model fails. Files that cannot be read are no error; they are listed.
    pub fn embed_files(
        &self,
        files: &[PathBuf],
        is_known: impl Fn(&Digest) -> bool + Sync,
        mut progress: impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<EmbeddedFiles> {
        let mut embedded = EmbeddedFiles::default();
        let large = Mutex::new(());
        let decode = |files: &[PathBuf], seen: &HashMap<Digest, Vec<Vec<f32>>>| -> Vec<Decoded> {
            let is_known = |digest: &Digest| is_known(digest) || seen.contains_key(digest);
            (files.par_iter())
                .map(|path| decode(self, path, &large, is_known).unwrap_or_else(Decoded::Broken))
                .collect()
        };
        let mut chunks = files.chunks(CHUNK);
        let mut next = (chunks.next()).map(|chunk| (chunk, decode(chunk, &embedded.vectors)));
        let mut done = 0;
        while let Some((chunk, decoded)) = next.take() {
            let mut digests = vec![];
            let mut pictures = vec![];
            for (path, decoded) in chunk.iter().zip(decoded) {
                let digest = match decoded {
                    Decoded::Broken(skipped) => {
                        embedded.skipped.push(skipped);
                        continue;
                    }
                    Decoded::Known(digest) => digest,
                    Decoded::New(digest, picture) => {
                        if !embedded.vectors.contains_key(&digest) && !digests.contains(&digest) {
                            digests.push(digest);
                            pictures.push(picture);
                        }
                        digest
                    }
                };
                embedded.files.push((path.clone(), digest));
            }
            let after = chunks.next();
            let (vectors, decoded) = rayon::join(
                || self.embed(&pictures),
                || after.map(|chunk| (chunk, decode(chunk, &embedded.vectors))),
            );
            embedded.vectors.extend(digests.into_iter().zip(vectors?));
            next = decoded;
            done += chunk.len();
            if progress(done).is_break() && done < files.len() {
                embedded.interrupted = true;
                break;
            }
        }
        Ok(embedded)
    }
}

fn decode(
    ensemble: &Ensemble,
    path: &Path,
    large: &Mutex<()>,
    is_known: impl Fn(&Digest) -> bool,
) -> Result<Decoded, Skipped> {
    // the messages need not name the file: `Skipped` does
    let bytes =
        picture::read_bytes(path).map_err(|error| Skipped::undecodable(path, &error.source))?;
    let digest = digest(&bytes);
    if is_known(&digest) {
        return Ok(Decoded::Known(digest));
    }
    let (preprocessed, _) =
        (ensemble.decode(&bytes, large)).map_err(|error| Skipped::undecodable(path, &error))?;
    Ok(Decoded::New(digest, preprocessed))
}
