//! The embeddings of a folder's pictures, kept in a file, so that each picture is embedded once.
//!
//! The file is in the safetensors format, which holds tensors and nothing that is executed. It lies in the folder itself,
//! `.phantasia-index.safetensors`, so that it moves with the pictures; where the folder cannot be written to, in the user's
//! cache folder. It holds
//!
//! - `files`: JSON as bytes, `[[path, size, seconds, nanoseconds, digest, [seconds, nanoseconds]], ...]`: each file's path in the folder, with `/`,
//!   its size, when its content was changed, the number of its content in `digests`, and when the file was changed or replaced;
//! - `digests`: `[contents, 32]`, the SHA-256 of each content;
//! - for each model `K`: `model.K.probe`, its embedding of a fixed picture, by which it is recognised (two models whose embeddings of it differ
//!   are different, whatever they are called); `model.K.seen`, numbers of contents; `model.K.vectors`: `[seen, width]`, of unit length.
//!
//! A file whose size and times of change are those of the index is not read again, unless it was changed so shortly before the index
//! was written that another change could have the same time (as in git). Any other file is recognised by its content.

mod file;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use image::{Rgb, RgbImage};

use super::ensemble::Ensemble;
use super::pictures::{Digest, PictureResult, Skipped, by_content, digest, find_pictures};
use super::query::EncodedQueries;
use super::score::{best_first, search_scores};
use crate::clip::fast_dot;

/// The index's file name in a folder of pictures.
pub const INDEX_FILE: &str = ".phantasia-index.safetensors";
/// Two embeddings of the probe whose cosine is further from 1 are of two models. Rounding moves it by less than 1e-9.
const SAME_MODEL: f64 = 1e-5;
/// Files that were changed so shortly before the index was written are read again.
const RACY: Duration = Duration::from_secs(2);
/// So often the index is saved during an update.
const SAVE_EVERY: Duration = Duration::from_secs(30);
/// Files that are embedded before the clock is looked at: at least, and at most.
const SLICE: (usize, usize) = (64, 512);
/// A slice is made larger if the last one took less time than this.
const QUICK: Duration = Duration::from_secs(5);

/// The embeddings of a folder's pictures.
#[derive(Debug, Default)]
pub struct Index {
    folder: PathBuf,
    /// Where the index may lie, the preferred place first.
    locations: Vec<PathBuf>,
    files: HashMap<String, FileEntry>,
    models: Vec<ModelEntry>,
    /// Why an existing index could not be used.
    pub warning: Option<String>,
}

/// What the file system says of a file, and its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileEntry {
    stat: Stat,
    digest: Digest,
    /// Whether that is enough to recognise it.
    is_settled: bool,
}

/// What the file system says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    size: u64,
    /// When its content was changed, which programs may set to any time.
    changed: Duration,
    /// When it was changed or replaced, which no program can set; 0 where the system does not tell it.
    replaced: Duration,
}

/// The embeddings by one model.
#[derive(Debug)]
struct ModelEntry {
    probe: Vec<f32>,
    vectors: HashMap<Digest, Vec<f32>>,
}

/// The result of an update.
#[derive(Debug, Default)]
pub struct Update {
    /// The pictures in the folder that have embeddings, each with the digest of its content.
    pub files: Vec<(PathBuf, Digest)>,
    /// The files that could not be read.
    pub skipped: Vec<Skipped>,
    /// How many pictures were embedded; the others were in the index.
    pub embedded: usize,
    /// Whether it was stopped before the last file; the embeddings so far are kept.
    pub interrupted: bool,
    /// Where the index was written, if it was.
    pub path: Option<PathBuf>,
    /// Why it could not be written.
    pub unsaved: Option<String>,
}

impl Index {
    /// The index of a folder; an empty one if there is none, or none that can be read.
    pub fn open(folder: &Path) -> Self {
        Self::at(folder, locations(folder))
    }

    /// The index of a folder that lies in another folder, `cache`, which may hold those of several.
    pub fn open_in(folder: &Path, cache: &Path) -> Self {
        let absolute = (folder.canonicalize()).unwrap_or_else(|_| folder.to_owned());
        Self::at(folder, vec![cache.join(file_name(&absolute))])
    }

    fn at(folder: &Path, locations: Vec<PathBuf>) -> Self {
        // of several, the one that was written last
        let newest = (locations.iter())
            .filter(|path| path.is_file())
            .max_by_key(|path| fs::metadata(path).and_then(|data| data.modified()).ok())
            .cloned();
        let mut index = Self {
            folder: folder.to_owned(),
            locations,
            ..Self::default()
        };
        let Some(path) = newest else { return index };
        match file::read(&path) {
            Ok((files, models)) => (index.files, index.models) = (files, models),
            Err(error) => {
                index.warning = Some(format!(
                    "the index {} cannot be used ({error:#}); it is made anew",
                    path.display()
                ));
            }
        }
        index
    }

    /// Brings the index up to date with the folder, for an ensemble of one CLIP, and writes it if it changed. `progress` is called with
    /// the number of files that are done, and of all, and may stop it.
    ///
    /// # Errors
    /// When the model fails. An index that cannot be written is no error; [`Update::unsaved`] says why.
    pub fn update(
        &mut self,
        ensemble: &Ensemble,
        mut progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Update> {
        let model = self.model(ensemble)?;
        let (paths, skipped) = find_pictures(std::slice::from_ref(&self.folder));
        let mut update = Update {
            skipped,
            ..Update::default()
        };
        let is_unknown = |path: &&PathBuf| !self.is_known(path, model);
        let unknown: Vec<PathBuf> = paths.iter().filter(is_unknown).cloned().collect();
        let mut done = paths.len() - unknown.len();
        // files that are gone stay in the index until all others are embedded
        let mut changed = paths.len() != self.files.len();
        let mut digests = HashMap::new();
        let mut saved = Instant::now();
        let (mut rest, mut length) = (unknown.as_slice(), SLICE.0);
        while !rest.is_empty() {
            let (slice, after) = rest.split_at(length.min(rest.len()));
            rest = after;
            let began = Instant::now();
            // before the files are read, so that later changes are noticed
            let stats: HashMap<&PathBuf, Stat> = (slice.iter())
                .filter_map(|path| Some((path, stat(path)?)))
                .collect();
            let is_known = |digest: &Digest| self.models[model].vectors.contains_key(digest);
            let mut is_stopped = false;
            let embedded = ensemble.embed_files(slice, is_known, |files| {
                let flow = progress(done + files, paths.len());
                is_stopped = flow.is_break();
                flow
            })?;
            done += slice.len();
            update.embedded += embedded.vectors.len();
            update.skipped.extend(embedded.skipped);
            for (digest, mut vectors) in embedded.vectors {
                let vector = vectors.pop().context("the CLIP gave no embedding")?;
                self.models[model].vectors.insert(digest, vector);
            }
            let now = since_epoch(SystemTime::now());
            for (path, digest) in embedded.files {
                if let (Some(key), Some(stat)) = (self.key(&path), stats.get(&path)) {
                    let time = stat.changed;
                    let entry = FileEntry {
                        stat: *stat,
                        digest,
                        is_settled: time > Duration::ZERO && time + RACY < now,
                    };
                    changed |= self.files.insert(key, entry) != Some(entry);
                }
                digests.insert(path, digest);
            }
            if embedded.interrupted || (is_stopped && !rest.is_empty()) {
                update.interrupted = true;
                break;
            }
            if began.elapsed() < QUICK {
                length = (2 * length).min(SLICE.1);
            }
            if (changed || update.embedded > 0) && saved.elapsed() > SAVE_EVERY {
                self.save(&mut update);
                saved = Instant::now();
            }
        }
        // a file that was in the index and cannot be read now is no result
        let unreadable: HashSet<&Path> = (update.skipped.iter())
            .map(|skipped| skipped.path.as_path())
            .collect();
        update.files = (paths.into_iter())
            .filter(|path| !unreadable.contains(path.as_path()))
            .filter_map(|path| {
                let by_key = || Some(self.files.get(&self.key(&path)?)?.digest);
                let digest = digests.get(&path).copied().or_else(by_key)?;
                let is_embedded = self.models[model].vectors.contains_key(&digest);
                is_embedded.then_some((path, digest))
            })
            .collect();
        if !update.interrupted {
            self.retain(&update.files);
        }
        if changed || update.embedded > 0 {
            self.save(&mut update);
        }
        Ok(update)
    }

    /// The pictures of an update, the best first, with the weighted means of their cosines to queries that the same ensemble encoded.
    ///
    /// # Errors
    /// When the model fails.
    pub fn search(
        &mut self,
        ensemble: &Ensemble,
        queries: &EncodedQueries,
        update: &Update,
    ) -> Result<Vec<PictureResult<f64>>> {
        let mut groups = by_content(&update.files);
        let vectors = self.vectors(ensemble)?;
        let pictures: Vec<&[f32]> = (groups.iter())
            .map(|(digest, _)| vectors[digest].as_slice())
            .collect();
        let scores = search_scores(&pictures, queries);
        let order = best_first(scores.iter().copied()).into_iter();
        let ranked = order.map(|index| {
            let (result, paths) = (scores[index], std::mem::take(&mut groups[index].1));
            PictureResult { paths, result }
        });
        Ok(ranked.collect())
    }

    /// The embeddings by the ensemble's one CLIP, by content.
    ///
    /// # Errors
    /// When the model fails.
    pub fn vectors(&mut self, ensemble: &Ensemble) -> Result<&HashMap<Digest, Vec<f32>>> {
        let model = self.model(ensemble)?;
        Ok(&self.models[model].vectors)
    }

    /// The index of the ensemble's one CLIP among the models, found by its embedding of the probe.
    fn model(&mut self, ensemble: &Ensemble) -> Result<usize> {
        let probe = ensemble.probe()?;
        let is_same = |model: &ModelEntry| is_same_model(&model.probe, &probe);
        if let Some(index) = self.models.iter().position(is_same) {
            return Ok(index);
        }
        let vectors = HashMap::new();
        self.models.push(ModelEntry { probe, vectors });
        Ok(self.models.len() - 1)
    }

    /// A file's path in the folder. Names that are not Unicode have none, and their files are read every time.
    fn key(&self, path: &Path) -> Option<String> {
        let inside = path.strip_prefix(&self.folder).ok()?;
        let parts: Option<Vec<&str>> = inside
            .components()
            .map(|part| part.as_os_str().to_str())
            .collect();
        Some(parts?.join("/"))
    }

    /// Whether a file was not changed since it was embedded by that model.
    fn is_known(&self, path: &Path, model: usize) -> bool {
        let entry = self.key(path).and_then(|key| self.files.get(&key));
        entry.is_some_and(|entry| {
            entry.is_settled
                && stat(path) == Some(entry.stat)
                && self.models[model].vectors.contains_key(&entry.digest)
        })
    }

    /// Removes what belongs to other files than these.
    fn retain(&mut self, files: &[(PathBuf, Digest)]) {
        let present: HashSet<String> = (files.iter())
            .filter_map(|(path, _)| self.key(path))
            .collect();
        self.files.retain(|key, _| present.contains(key));
        let digests: HashSet<Digest> = files.iter().map(|(_, digest)| *digest).collect();
        for model in &mut self.models {
            model.vectors.retain(|digest, _| digests.contains(digest));
        }
    }

    fn save(&self, update: &mut Update) {
        update.unsaved = None;
        for path in &self.locations {
            match file::write(path, &self.files, &self.models) {
                Ok(()) => {
                    update.path = Some(path.clone());
                    update.unsaved = None;
                    return;
                }
                Err(error) => {
                    update.unsaved.get_or_insert(format!("{error:#}"));
                }
            }
        }
    }
}

/// Where the index of a folder may lie: in it, or in the user's cache.
fn locations(folder: &Path) -> Vec<PathBuf> {
    let mut locations = vec![folder.join(INDEX_FILE)];
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".cache")));
    if let (Some(cache), Ok(folder)) = (cache, folder.canonicalize()) {
        locations.push(cache.join("phantasia/index").join(file_name(&folder)));
    }
    locations
}

/// The name of a folder's index among those of other folders.
fn file_name(folder: &Path) -> String {
    let name: String = (digest(folder.as_os_str().as_encoded_bytes())[..16].iter())
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{name}.safetensors")
}

impl Ensemble {
    /// The embedding by its one CLIP of a fixed picture, by which the model is recognised ([`is_same_model`]).
    ///
    /// # Errors
    /// When there are several CLIPs, or the model fails.
    pub(crate) fn probe(&self) -> Result<Vec<f32>> {
        let Ok([probe]) = <[Vec<f32>; 1]>::try_from(self.embed_picture(&probe())?) else {
            bail!("an index is of one CLIP at a time");
        };
        Ok(probe)
    }
}

/// Whether two embeddings of the probe are of the same model.
pub(crate) fn is_same_model(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && 1.0 - fast_dot(a, b) < SAME_MODEL
}

/// A picture with colours, edges and fine detail, always the same.
fn probe() -> RgbImage {
    RgbImage::from_fn(96, 64, |x, y| {
        let stripes = if (x / 5 + y / 9) % 2 == 0 { 40 } else { 0 };
        Rgb([
            (x * 2 + stripes) as u8,
            (y * 3 + stripes) as u8,
            (255 - x - y + (x * y * 7) % 31) as u8,
        ])
    })
}

fn stat(path: &Path) -> Option<Stat> {
    let data = fs::metadata(path).ok()?;
    Some(Stat {
        size: data.len(),
        changed: since_epoch(data.modified().ok()?),
        replaced: replaced(&data),
    })
}

#[cfg(unix)]
fn replaced(data: &fs::Metadata) -> Duration {
    use std::os::unix::fs::MetadataExt;
    // both are positive after 1970
    Duration::from_secs(data.ctime().unsigned_abs())
        + Duration::from_nanos(data.ctime_nsec().unsigned_abs())
}

#[cfg(not(unix))]
fn replaced(_: &fs::Metadata) -> Duration {
    Duration::ZERO
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}
