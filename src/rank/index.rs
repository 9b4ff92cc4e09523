//! What CLIPs saw in the pictures of a folder, kept in a file so that they need not look twice.
//!
//! The file is in the safetensors format, tables of numbers that nothing has to be executed for. It lies in the folder itself,
//! `.phantasia-index.safetensors`, so that it moves with the pictures; where the folder cannot be written to, in the user's
//! cache folder. It holds
//!
//! - `files`: JSON as bytes, `[[path, size, seconds, nanoseconds, digest], ...]`: each file's path in the folder, with `/`, what the
//!   file system says of it, and the number of its content in `digests`;
//! - `digests`: `[contents, 32]`, the SHA-256 of each content;
//! - for each model `K`: `model.K.probe`, what it sees in a fixed picture, by which it is known again (two models whose answers differ
//!   are different, whatever they are called); `model.K.seen`, numbers of contents; `model.K.vectors`: `[seen, width]`, of unit length.
//!
//! A file whose size and time of change are those of the index is not read again, unless it was changed so shortly before the index
//! was written that another change could have the same time (as in git). Any other file is known by its content.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use image::{Rgb, RgbImage};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};

use super::eye::{Panel, dot};
use super::gallery::{Digest, Skipped, digest, look, walk};
use crate::files::write_whole;

/// The file's name in a folder of pictures.
pub const FILE: &str = ".phantasia-index.safetensors";
/// Larger files are no index of ours: a million pictures and a wide model take half of it.
const LARGEST: u64 = 8 << 30;
/// Two answers to the probe whose cosine is further from 1 are of two models. Rounding moves it by less than 1e-9.
const SAME_MODEL: f64 = 1e-5;
/// Files that were changed so shortly before the index was written are read again.
const RACY: Duration = Duration::from_secs(2);
/// So often the index is saved while it grows.
const SAVE_EVERY: Duration = Duration::from_secs(30);
/// Files between two looks at the clock.
const SLICE: usize = 512;

/// What is known of a folder's pictures.
#[derive(Debug)]
pub struct Index {
    folder: PathBuf,
    files: HashMap<String, Entry>,
    models: Vec<Model>,
    /// Something that the person should know: why an index was begun anew.
    pub notice: Option<String>,
}

/// What the file system says of a file, and what was in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    size: u64,
    changed: Duration,
    digest: Digest,
    /// Whether size and time of change are enough to know it again.
    settled: bool,
}

#[derive(Debug)]
struct Model {
    probe: Vec<f32>,
    vectors: HashMap<Digest, Vec<f32>>,
}

/// A row of `files`.
#[derive(Deserialize, Serialize)]
struct Row(String, u64, u64, u32, usize);

/// What an update found.
#[derive(Debug, Default)]
pub struct Update {
    /// The pictures that are in the folder and were seen, by path, each with what is in it.
    pub files: Vec<(PathBuf, Digest)>,
    /// The files that could not be read.
    pub skipped: Vec<Skipped>,
    /// Pictures that the model looked at; the others were known.
    pub looked_at: usize,
    /// Whether it was stopped before the last file; what was seen is kept.
    pub interrupted: bool,
    /// Where the index lies, if it could be written.
    pub path: Option<PathBuf>,
    /// Why it could not be written.
    pub unsaved: Option<String>,
}

impl Index {
    /// The index of a folder; an empty one where there is none, or none that can be read.
    pub fn open(folder: &Path) -> Self {
        let empty = |notice| Self {
            folder: folder.to_owned(),
            files: HashMap::new(),
            models: vec![],
            notice,
        };
        let present: Vec<PathBuf> = places(folder)
            .into_iter()
            .filter(|path| path.is_file())
            .collect();
        // of several, the one that was written last
        let newest = present
            .into_iter()
            .max_by_key(|path| fs::metadata(path).and_then(|data| data.modified()).ok());
        let Some(path) = newest else {
            return empty(None);
        };
        match read(&path) {
            Ok((files, models)) => Self {
                folder: folder.to_owned(),
                files,
                models,
                notice: None,
            },
            Err(error) => empty(Some(format!(
                "the index {} cannot be used ({error:#}); it is made anew",
                path.display()
            ))),
        }
    }

    /// Brings the index up to what is in the folder, for a panel of one CLIP, and writes it if anything is new. `watch` is told
    /// how many files of how many are done, and may stop it.
    ///
    /// # Errors
    /// When the model fails. An index that cannot be written is no error; [`Update::unsaved`] says why.
    pub fn update(
        &mut self,
        panel: &Panel,
        mut watch: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Update> {
        let model = self.model(panel)?;
        let (paths, skipped) = walk(std::slice::from_ref(&self.folder));
        let mut update = Update {
            skipped,
            ..Update::default()
        };
        let mut changed = false;
        let mut files = HashMap::new();
        let mut to_see = vec![];
        for path in &paths {
            let known = self
                .key(path)
                .zip(stat(path))
                .and_then(|(key, (size, time))| {
                    let entry = *self.files.get(&key)?;
                    let same = entry.settled && entry.size == size && entry.changed == time;
                    (same && self.models[model].vectors.contains_key(&entry.digest))
                        .then_some((key, entry))
                });
            match known {
                Some((key, entry)) => {
                    files.insert(key, entry);
                }
                None => to_see.push(path.clone()),
            }
        }
        changed |= files.len() + to_see.len() != self.files.len();
        let (known, total) = (paths.len() - to_see.len(), paths.len());
        // files that are gone are kept until all that is there was seen
        self.files.extend(files);
        let mut saved = Instant::now();
        let mut done = 0;
        let mut seen = HashMap::new();
        for slice in to_see.chunks(SLICE) {
            let stats: HashMap<&Path, (u64, Duration)> = slice
                .iter()
                .filter_map(|path| Some((path.as_path(), stat(path)?)))
                .collect();
            let before: HashSet<Digest> = self.models[model].vectors.keys().copied().collect();
            let gallery = look(panel, slice, &before, |files| {
                watch(known + done + files, total)
            })?;
            done += slice.len();
            update.looked_at += gallery.vectors.len();
            update.skipped.extend(gallery.skipped);
            for (digest, mut vectors) in gallery.vectors {
                let vector = vectors.pop().context("the CLIP saw nothing")?;
                self.models[model].vectors.insert(digest, vector);
            }
            let now = since_epoch(SystemTime::now());
            for (path, digest) in gallery.files {
                if let (Some(key), Some((size, time))) =
                    (self.key(&path), stats.get(path.as_path()))
                {
                    let entry = Entry {
                        size: *size,
                        changed: *time,
                        digest,
                        settled: settled(*time, now),
                    };
                    changed |= self.files.insert(key, entry) != Some(entry);
                }
                seen.insert(path, digest);
            }
            if gallery.interrupted {
                update.interrupted = true;
                break;
            }
            if changed && saved.elapsed() > SAVE_EVERY {
                self.save(&mut update);
                saved = Instant::now();
            }
        }
        let broken: HashSet<&Path> = (update.skipped.iter())
            .map(|skipped| skipped.path.as_path())
            .collect();
        let mut found = vec![];
        for path in paths {
            let by_key = || Some(self.files.get(&self.key(&path)?)?.digest);
            let digest = seen.get(&path).copied().or_else(by_key);
            // what was there once and cannot be read now is no result
            let is_seen = |digest: &Digest| {
                !broken.contains(path.as_path()) && self.models[model].vectors.contains_key(digest)
            };
            if let Some(digest) = digest.filter(is_seen) {
                found.push((path, digest));
            }
        }
        update.files = found;
        if !update.interrupted {
            let present: HashSet<String> = (update.files.iter())
                .filter_map(|(path, _)| self.key(path))
                .collect();
            self.files.retain(|key, _| present.contains(key));
            let digests: HashSet<Digest> = (self.files.values().map(|entry| entry.digest))
                .chain(update.files.iter().map(|(_, digest)| *digest))
                .collect();
            for model in &mut self.models {
                model.vectors.retain(|digest, _| digests.contains(digest));
            }
        }
        if changed || update.looked_at > 0 {
            self.save(&mut update);
        }
        Ok(update)
    }

    /// What the panel's one CLIP saw in a content; `None` where it has not seen it.
    ///
    /// # Errors
    /// When the model fails.
    pub fn vectors(&mut self, panel: &Panel) -> Result<&HashMap<Digest, Vec<f32>>> {
        let model = self.model(panel)?;
        Ok(&self.models[model].vectors)
    }

    /// The place of the panel's one CLIP among the models, found by what it answers to the probe.
    fn model(&mut self, panel: &Panel) -> Result<usize> {
        if panel.eyes().len() != 1 {
            bail!("an index is of one CLIP at a time");
        }
        let seen = panel.see(&[panel.show(&probe())?])?;
        let answer = (seen.into_iter().flatten().next()).context("the CLIP saw nothing")?;
        let same = |model: &Model| {
            model.probe.len() == answer.len() && 1.0 - dot(&model.probe, &answer) < SAME_MODEL
        };
        if let Some(place) = self.models.iter().position(same) {
            return Ok(place);
        }
        self.models.push(Model {
            probe: answer,
            vectors: HashMap::new(),
        });
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

    fn save(&self, update: &mut Update) {
        let mut first = None;
        for path in places(&self.folder) {
            match self.write(&path) {
                Ok(()) => {
                    update.path = Some(path);
                    update.unsaved = None;
                    return;
                }
                Err(error) => {
                    first.get_or_insert(format!("{error:#}"));
                }
            }
        }
        update.unsaved = first;
    }

    fn write(&self, path: &Path) -> Result<()> {
        let mut digests: Vec<Digest> = (self.files.values().map(|entry| entry.digest))
            .chain(
                self.models
                    .iter()
                    .flat_map(|model| model.vectors.keys().copied()),
            )
            .collect();
        digests.sort_unstable();
        digests.dedup();
        let number = |digest: &Digest| digests.binary_search(digest).unwrap_or_default();
        let mut rows: Vec<Row> = (self.files.iter())
            .map(|(path, entry)| {
                // a file that could change unseen is told by an impossible time
                let time = if entry.settled {
                    entry.changed
                } else {
                    Duration::ZERO
                };
                Row(
                    path.clone(),
                    entry.size,
                    time.as_secs(),
                    time.subsec_nanos(),
                    number(&entry.digest),
                )
            })
            .collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        let mut parts: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = vec![];
        let rows = serde_json::to_vec(&rows)?;
        parts.push(("files".to_owned(), Dtype::U8, vec![rows.len()], rows));
        parts.push((
            "digests".to_owned(),
            Dtype::U8,
            vec![digests.len(), 32],
            digests.concat(),
        ));
        for (k, model) in self.models.iter().enumerate() {
            let width = model.probe.len();
            let mut seen: Vec<(usize, &Vec<f32>)> = (model.vectors.iter())
                .map(|(digest, vector)| (number(digest), vector))
                .collect();
            seen.sort_by_key(|(number, _)| *number);
            let bytes = |values: &[f32]| {
                values
                    .iter()
                    .flat_map(|value| value.to_le_bytes())
                    .collect()
            };
            parts.push((
                format!("model.{k}.probe"),
                Dtype::F32,
                vec![width],
                bytes(&model.probe),
            ));
            let numbers = seen
                .iter()
                .flat_map(|(number, _)| (*number as u32).to_le_bytes());
            parts.push((
                format!("model.{k}.seen"),
                Dtype::U32,
                vec![seen.len()],
                numbers.collect(),
            ));
            let mut vectors: Vec<u8> = Vec::with_capacity(seen.len() * width * 4);
            for (_, vector) in &seen {
                vectors.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
            }
            parts.push((
                format!("model.{k}.vectors"),
                Dtype::F32,
                vec![seen.len(), width],
                vectors,
            ));
        }
        let views = (parts.iter())
            .map(|(name, dtype, shape, bytes)| {
                Ok((
                    name.as_str(),
                    TensorView::new(*dtype, shape.clone(), bytes)?,
                ))
            })
            .collect::<Result<Vec<_>>>()?;
        let bytes = serialize(views, None)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(write_whole(path, true, |file| file.write_all(&bytes))?)
    }
}

/// Where the index of a folder may lie: in it, or in the user's cache.
fn places(folder: &Path) -> Vec<PathBuf> {
    let mut places = vec![folder.join(FILE)];
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".cache")));
    if let (Some(cache), Ok(folder)) = (cache, folder.canonicalize()) {
        let name: String = (digest(folder.as_os_str().as_encoded_bytes())[..16].iter())
            .map(|byte| format!("{byte:02x}"))
            .collect();
        places.push(
            cache
                .join("phantasia/index")
                .join(format!("{name}.safetensors")),
        );
    }
    places
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

fn stat(path: &Path) -> Option<(u64, Duration)> {
    let data = fs::metadata(path).ok()?;
    Some((data.len(), since_epoch(data.modified().ok()?)))
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn settled(changed: Duration, now: Duration) -> bool {
    changed > Duration::ZERO && changed + RACY < now
}

fn read(path: &Path) -> Result<(HashMap<String, Entry>, Vec<Model>)> {
    if fs::metadata(path)?.len() > LARGEST {
        bail!("it is larger than {} GiB", LARGEST >> 30);
    }
    let bytes = fs::read(path)?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let table = |name: &str, dtype: Dtype, dims: usize| -> Result<TensorView<'_>> {
        let table = tensors.tensor(name)?;
        if table.dtype() != dtype || table.shape().len() != dims {
            bail!("its table `{name}` is of another kind");
        }
        Ok(table)
    };
    let digests = table("digests", Dtype::U8, 2)?;
    if digests.shape()[1] != 32 {
        bail!("its table `digests` is of another kind");
    }
    let (digests, _) = digests.data().as_chunks::<32>();
    let digest = |number: usize| {
        digests
            .get(number)
            .copied()
            .context("it names a content that it does not hold")
    };
    let rows: Vec<Row> = serde_json::from_slice(table("files", Dtype::U8, 1)?.data())?;
    let mut files = HashMap::with_capacity(rows.len());
    for Row(path, size, seconds, nanos, number) in rows {
        if nanos >= 1_000_000_000 {
            bail!("it holds an impossible time");
        }
        let changed = Duration::new(seconds, nanos);
        let entry = Entry {
            size,
            changed,
            digest: digest(number)?,
            settled: changed > Duration::ZERO,
        };
        files.insert(path, entry);
    }
    let mut models = vec![];
    while tensors
        .tensor(&format!("model.{}.probe", models.len()))
        .is_ok()
    {
        let k = models.len();
        let probe = floats(table(&format!("model.{k}.probe"), Dtype::F32, 1)?.data());
        let seen = table(&format!("model.{k}.seen"), Dtype::U32, 1)?;
        let vectors = table(&format!("model.{k}.vectors"), Dtype::F32, 2)?;
        let width = probe.len();
        if width == 0 || vectors.shape() != [seen.shape()[0], width] {
            bail!("the tables of its model {k} do not fit each other");
        }
        let (seen, _) = seen.data().as_chunks::<4>();
        let rows = vectors.data().chunks_exact(4 * width);
        let vectors = (seen.iter().zip(rows))
            .map(|(number, row)| {
                let vector = floats(row);
                if vector.iter().any(|value| !value.is_finite()) {
                    bail!("a vector of its model {k} holds what is no number");
                }
                Ok((digest(u32::from_le_bytes(*number) as usize)?, vector))
            })
            .collect::<Result<_>>()?;
        models.push(Model { probe, vectors });
    }
    Ok((files, models))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (values, _) = bytes.as_chunks::<4>();
    values
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}
