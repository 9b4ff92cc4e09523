//! Embeddings of pictures as a Parquet file, for programs that search millions of them, cluster them or train on them.
//!
//! [`Embedder::run`] finds pictures in folders and in webdatasets (tar archives), embeds them with one CLIP, and writes a row for each. While it
//! works, rows are written to part files in a folder beside the output, `OUT.parts`; at the end they become one file, and the folder is
//! removed. What a run that was stopped has embedded is not embedded again, and neither is what the output already holds: a row is
//! known by its path, its key, the texts that belong to it and the SHA-256 of the picture's bytes. [`EmbeddingIndex`] searches such files.
//!
//! Work can be divided: a [`Shard`] takes every N-th picture or archive of the sorted list and writes a file of its own.
//!
//! | column | content |
//! | --- | --- |
//! | `image_path` | the picture's file, or the archive that holds it |
//! | `image_path_encoded` | its bytes, percent-encoded, where they are not UTF-8 |
//! | `key` | the sample's key in an archive |
//! | `caption`, `metadata` | the `.txt` and the `.json` of the same name |
//! | `width`, `height` | in pixels |
//! | `sha256` | of the picture's bytes, in hexadecimal |
//! | `image_embedding` | `FixedSizeList` of `Float16` or `Float32`, of unit length |

mod arrow_schema;
mod file;
mod index;
mod parts;
mod row;
mod source;
mod writer;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow, bail};
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::judge::{Ensemble, Preprocessed, Skipped, no_pictures};
use crate::names::{one_line, percent_encoded};
use crate::sweep::Shard;
pub use file::EmbeddingFile;
pub use index::{EmbeddingIndex, Hit, MANY};
use parts::Parts;
pub use row::{Dtype, Header, Row};
use source::{Input, Source};

/// Pictures that are decoded, and then embedded, together.
const CHUNK: usize = 64;
/// Rows are written to a part after this time at the latest.
const SAVE_EVERY: Duration = Duration::from_secs(30);

/// What is embedded, and where to.
#[derive(Clone, Debug)]
pub struct Embedder {
    /// Pictures, webdatasets (`.tar`), and folders of both.
    pub inputs: Vec<PathBuf>,
    /// The Parquet file; a shard writes its own part of it.
    pub out: PathBuf,
    /// What the file says of its CLIP.
    pub clip: String,
    /// How values are stored.
    pub dtype: Dtype,
    /// Which part of the pictures to embed.
    pub shard: Shard,
}

/// How far the work is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Files that are done: pictures and archives.
    pub files: usize,
    /// All files of this shard.
    pub of: usize,
    /// Pictures that are done: one a file, and those of archives.
    pub pictures: usize,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Embedded {
    /// The file.
    pub out: PathBuf,
    /// How many rows it has; where the work was interrupted, how many are done.
    pub rows: usize,
    /// Values of a vector.
    pub dimension: usize,
    /// How many pictures were embedded now; the other rows were done before.
    pub embedded: usize,
    /// Rows of a former run that are no longer in the file, because their pictures are gone or changed.
    pub removed: usize,
    /// What could not be read.
    pub skipped: Vec<Skipped>,
    /// Whether it was stopped before the last picture; the rows so far are kept in part files.
    pub interrupted: bool,
}

impl Embedder {
    /// The file that is written.
    pub fn file(&self) -> PathBuf {
        shard_file(&self.out, self.shard)
    }

    /// Embeds the pictures with an ensemble's one CLIP and writes the file. `progress` may stop the work.
    ///
    /// # Errors
    /// When there are no pictures, the file is one of another CLIP, of other pictures or of another program, another process writes it, it cannot be
    /// written, or the model fails. Pictures that cannot be read are no error; they are listed.
    pub fn run(
        &self,
        ensemble: &Ensemble,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Embedded> {
        let (sources, skipped) = source::find(&self.inputs);
        if sources.is_empty() {
            bail!(self.nothing(&skipped));
        }
        self.check_archives(&sources, &skipped)?;
        let names: HashSet<String> = sources
            .iter()
            .map(|source| identity(source.path()))
            .collect();
        let sources: Vec<Source> = (sources.into_iter().zip(1..))
            .filter_map(|(source, number)| self.shard.has(number).then_some(source))
            .collect();
        let header = Header {
            clip: self.clip.clone(),
            probe: ensemble.probe()?,
            dtype: self.dtype,
        };
        let mut parts = Parts::open(&self.file(), header, &names)?;
        let mut result = Embedded {
            out: self.file(),
            dimension: parts.header().probe.len(),
            // what all shards find, the first reports
            skipped: if self.shard.number == 1 {
                skipped
            } else {
                vec![]
            },
            ..Embedded::default()
        };
        let large = Mutex::new(());
        let decode = |inputs: Vec<Input>, parts: &Parts| -> Vec<Decoded> {
            (inputs.into_par_iter())
                .map(|input| {
                    decode(ensemble, &input, &large, parts).unwrap_or_else(Decoded::Broken)
                })
                .collect()
        };
        let of = sources.len();
        let mut inputs = Inputs::new(sources);
        let mut decoded = decode(inputs.next_chunk(&mut result.skipped), &parts);
        let mut files = inputs.taken;
        let mut pictures = 0;
        let mut saved = Instant::now();
        while !decoded.is_empty() {
            let (mut rows, mut prepared) = (vec![], vec![]);
            pictures += decoded.len();
            for decoded in decoded {
                match decoded {
                    Decoded::Known(id) => parts.keep(id),
                    Decoded::New(id, row, picture) => {
                        rows.push((id, row));
                        prepared.push(picture);
                    }
                    Decoded::Broken(skipped) => result.skipped.push(skipped),
                }
            }
            let next = inputs.next_chunk(&mut result.skipped);
            let (vectors, after) =
                rayon::join(|| ensemble.embed(&prepared), || decode(next, &parts));
            decoded = after;
            for ((id, mut row), mut vectors) in rows.into_iter().zip(vectors?) {
                row.embedding = vectors.pop().context("the CLIP gave no embedding")?;
                result.embedded += usize::from(parts.push(id, row));
            }
            // only whole chunks are saved: how pictures are divided into chunks changes embeddings by rounding
            if parts.is_full() || saved.elapsed() > SAVE_EVERY {
                parts.save()?;
                saved = Instant::now();
            }
            let flow = progress(Progress {
                files,
                of,
                pictures,
            });
            files = inputs.taken;
            if flow.is_break() && !decoded.is_empty() {
                parts.save()?;
                result.interrupted = true;
                result.rows = parts.kept();
                return Ok(result);
            }
        }
        if of > 0 && parts.kept() == 0 {
            bail!(self.nothing(&result.skipped));
        }
        result.rows = parts.kept();
        result.removed = parts.finish()?;
        Ok(result)
    }

    /// Refuses archives in which there are no pictures, where there is nothing else. Only those before the first picture are read.
    fn check_archives(&self, sources: &[Source], skipped: &[Skipped]) -> Result<()> {
        let mut skipped = skipped.to_vec();
        for source in sources {
            if matches!(source, Source::Picture(_)) {
                return Ok(());
            }
            let (inputs, broken) = source.inputs();
            if !inputs.is_empty() {
                return Ok(());
            }
            skipped.extend(broken);
        }
        Err(self.nothing(&skipped))
    }

    /// Why there is no row, with the first reason.
    fn nothing(&self, skipped: &[Skipped]) -> Error {
        let said = no_pictures(&self.inputs, skipped);
        match skipped.iter().find(|skipped| skipped.format.is_none()) {
            Some(first) => anyhow!("{said} ({}: {})", one_line(&first.path), first.error),
            None => anyhow!(said),
        }
    }
}

/// The name of a shard's part of a file: `embeddings-00001-of-00004.parquet` of `embeddings.parquet`.
pub fn shard_file(whole: &Path, shard: Shard) -> PathBuf {
    if shard == Shard::ALL {
        return whole.to_owned();
    }
    let mut name = whole.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{:05}-of-{:05}.", shard.number, shard.count));
    name.push(whole.extension().unwrap_or("parquet".as_ref()));
    whole.with_file_name(name)
}

/// Takes pictures from files and archives, one after the other.
struct Inputs {
    sources: std::vec::IntoIter<Source>,
    /// Of the archive that was begun.
    rest: std::vec::IntoIter<Input>,
    /// How many sources were begun.
    taken: usize,
}

impl Inputs {
    fn new(sources: Vec<Source>) -> Self {
        Self {
            sources: sources.into_iter(),
            rest: vec![].into_iter(),
            taken: 0,
        }
    }

    /// The next pictures; none at the end. What cannot be read of an archive is added to `skipped`.
    fn next_chunk(&mut self, skipped: &mut Vec<Skipped>) -> Vec<Input> {
        let mut chunk = vec![];
        while chunk.len() < CHUNK {
            if let Some(input) = self.rest.next() {
                chunk.push(input);
                continue;
            }
            let Some(source) = self.sources.next() else {
                break;
            };
            self.taken += 1;
            let (inputs, broken) = source.inputs();
            skipped.extend(broken);
            self.rest = inputs.into_iter();
        }
        chunk
    }
}

/// What a row is known by.
type Id = [u8; 16];

/// The identity of a row, from all of it but what follows from the picture.
fn id(row: &Row) -> Id {
    let mut hash = Sha256::new();
    let path = row.image_path_encoded.as_ref().unwrap_or(&row.image_path);
    for text in [
        Some(path),
        row.key.as_ref(),
        row.caption.as_ref(),
        row.metadata.as_ref(),
        Some(&row.sha256),
    ] {
        // no text can end in another's beginning
        hash.update(
            text.map_or(u64::MAX, |text| text.len() as u64)
                .to_le_bytes(),
        );
        hash.update(text.map_or("", String::as_str));
    }
    let mut id = Id::default();
    id.copy_from_slice(&hash.finalize()[..16]);
    id
}

/// What tells a path from others, as rows have it.
fn identity(path: &Path) -> String {
    path.to_str()
        .map_or_else(|| percent_encoded(path), str::to_owned)
}

/// A picture after reading.
enum Decoded {
    Known(Id),
    New(Id, Row, Preprocessed),
    Broken(Skipped),
}

/// Reads a picture, and decodes it unless its row is known.
fn decode(
    ensemble: &Ensemble,
    input: &Input,
    large: &Mutex<()>,
    parts: &Parts,
) -> Result<Decoded, Skipped> {
    let contents = input.read()?;
    let path = input.path();
    let mut row = Row {
        image_path: path.to_string_lossy().into_owned(),
        image_path_encoded: path.to_str().is_none().then(|| percent_encoded(path)),
        key: input.key().map(str::to_owned),
        caption: contents.caption,
        metadata: contents.metadata,
        sha256: (Sha256::digest(&contents.picture).iter())
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        ..Row::default()
    };
    let id = id(&row);
    if parts.is_known(&id) {
        return Ok(Decoded::Known(id));
    }
    let (picture, size) =
        (ensemble.decode(&contents.picture, large)).map_err(|error| input.undecodable(&error))?;
    (row.width, row.height) = size;
    Ok(Decoded::New(id, row, picture))
}
