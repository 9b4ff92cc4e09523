//! The rows of a file while it is made: those of a former run, and those in part files.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use super::file::EmbeddingFile;
use super::row::{Header, Row};
use super::writer::{GROUP, GROUP_TEXT, Writer};
use super::{Id, id, source};
use crate::files::{CREATE_FOLDER, OutputError, failed, write_whole};
use crate::judge::is_same_model;
use crate::run::FolderLock;
use crate::table::io_error;

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is in a file, and its picture was not seen yet.
    Unseen,
    /// It is in a file, and belongs to the result.
    Kept,
    /// It is in the result.
    Written,
}

/// The rows of a file that is being made.
pub(super) struct Parts {
    out: PathBuf,
    folder: PathBuf,
    header: Header,
    /// The file of a former run, if there is one, and the parts.
    files: Vec<PathBuf>,
    has_out: bool,
    states: HashMap<Id, State>,
    /// Rows that are in no file yet.
    rows: Vec<Row>,
    text: usize,
    /// The number of the next part.
    next: usize,
    /// Until it is dropped.
    lock: Option<FolderLock>,
}

impl Parts {
    /// Takes the lock of a file's parts and reads which rows are done. `names` are the pictures and archives of all shards.
    pub fn open(out: &Path, header: Header, names: &HashSet<String>) -> Result<Self> {
        let mut folder = out.as_os_str().to_owned();
        folder.push(".parts");
        let folder = PathBuf::from(folder);
        if out.is_dir() {
            bail!(
                "`{}` is a folder: --out is the name of a file",
                out.display()
            );
        }
        fs::create_dir_all(&folder).map_err(failed(CREATE_FOLDER, &folder))?;
        let lock = FolderLock::take(&folder).map_err(|error| match error {
            OutputError::Failed { source, .. } if source.kind() == io::ErrorKind::ResourceBusy => anyhow!(
                "another process is writing `{}`: wait until it is done, or choose another --out", out.display()
            ),
            error => error.into(),
        })?;
        let mut parts = Self {
            out: out.to_owned(),
            folder,
            header,
            files: vec![],
            has_out: out.exists(),
            states: HashMap::new(),
            rows: vec![],
            text: 0,
            next: 0,
            lock: Some(lock),
        };
        parts.read(names)?;
        Ok(parts)
    }

    fn read(&mut self, names: &HashSet<String>) -> Result<()> {
        let mut paths: Vec<PathBuf> = (fs::read_dir(&self.folder)
            .map_err(failed("read", &self.folder))?)
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "parquet")
        })
        .collect();
        // their names are numbers of the same length
        paths.sort();
        let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<usize>().ok();
        self.next = paths
            .iter()
            .filter_map(number)
            .max()
            .map_or(0, |last| last + 1);
        if self.has_out {
            paths.insert(0, self.out.clone());
        }
        for path in paths {
            let file = EmbeddingFile::open(&path).with_context(|| {
                format!(
                    "{} is in the way: remove it, or choose another --out",
                    path.display()
                )
            })?;
            self.check(&file)?;
            for group in 0..file.groups() {
                self.read_group(&file, group, names)?;
            }
            self.files.push(path);
        }
        Ok(())
    }

    /// Refuses a file that is not of the same CLIP and type.
    fn check(&self, file: &EmbeddingFile) -> Result<()> {
        let path = file.path.display();
        let Some(header) = &file.header else {
            bail!("`{path}` was written by another program: choose another --out");
        };
        if !is_same_model(&header.probe, &self.header.probe) {
            bail!(
                "`{path}` holds embeddings of the CLIP `{}`, not of `{}`: choose another --out, or remove it",
                header.clip,
                self.header.clip
            );
        }
        if header.dtype != self.header.dtype {
            bail!(
                "`{path}` holds embeddings in {}, not in {}: add --dtype {}, or choose another --out",
                header.dtype.name(),
                self.header.dtype.name(),
                header.dtype.name()
            );
        }
        Ok(())
    }

    fn read_group(
        &mut self,
        file: &EmbeddingFile,
        group: usize,
        names: &HashSet<String>,
    ) -> Result<()> {
        let mut columns = [
            "image_path",
            "image_path_encoded",
            "key",
            "caption",
            "metadata",
            "sha256",
        ]
        .map(|name| file.texts(group, name))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
        for row in 0..columns[0].len() {
            let mut text = |column: usize| columns[column][row].take();
            let row = Row {
                image_path: text(0).unwrap_or_default(),
                image_path_encoded: text(1),
                key: text(2),
                caption: text(3),
                metadata: text(4),
                sha256: text(5).unwrap_or_default(),
                ..Row::default()
            };
            let path = row.image_path_encoded.as_ref().unwrap_or(&row.image_path);
            if !names.contains(path) && source::exists(path) {
                bail!(
                    "`{}` holds other pictures, such as `{path}`, which would be lost: name them too, choose another --out, or remove it",
                    file.path.display()
                );
            }
            self.states.insert(id(&row), State::Unseen);
        }
        Ok(())
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether a row is done.
    pub fn is_known(&self, id: &Id) -> bool {
        self.states.contains_key(id)
    }

    /// A row that is done belongs to the result.
    pub fn keep(&mut self, id: Id) {
        self.states.insert(id, State::Kept);
    }

    /// Adds a row, and returns whether it is new: the same picture may be named twice.
    pub fn push(&mut self, id: Id, row: Row) -> bool {
        if self.states.insert(id, State::Kept).is_some() {
            return false;
        }
        self.text += row.text();
        self.rows.push(row);
        true
    }

    /// Whether there are enough rows for a part.
    pub fn is_full(&self) -> bool {
        self.rows.len() >= GROUP || self.text >= GROUP_TEXT
    }

    /// How many rows the result has so far.
    pub fn kept(&self) -> usize {
        self.states
            .values()
            .filter(|state| **state == State::Kept)
            .count()
    }

    /// Writes the rows that are in no file yet as a part.
    pub fn save(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let path = self.folder.join(format!("{:08}.parquet", self.next));
        let rows = std::mem::take(&mut self.rows);
        write_whole(&path, true, |file| {
            let write = || {
                let mut writer = Writer::new(file, &self.header)?;
                rows.into_iter().try_for_each(|row| writer.push(row))?;
                writer.finish()
            };
            write().map_err(io_error)
        })?;
        self.next += 1;
        self.text = 0;
        self.files.push(path);
        Ok(())
    }

    /// Makes the parts one file, and returns how many rows of a former run it does not have.
    pub fn finish(mut self) -> Result<usize> {
        self.save()?;
        let unseen = self
            .states
            .values()
            .filter(|state| **state == State::Unseen)
            .count();
        let is_whole = self.has_out && self.files.len() == 1 && unseen == 0;
        if !is_whole {
            let mut broken = None;
            let whole = self.folder.join("whole");
            write_whole(&whole, true, |file| {
                let mut writer = Writer::new(file, &self.header).map_err(io_error)?;
                let mut unreadable = |error| {
                    broken = Some(error);
                    io::Error::other("a part cannot be read")
                };
                for path in &self.files {
                    let file = EmbeddingFile::open(path).map_err(&mut unreadable)?;
                    for group in 0..file.groups() {
                        let rows = file.read_rows(group).map_err(&mut unreadable)?;
                        for row in rows {
                            let state = self.states.get_mut(&id(&row));
                            let Some(state) = state.filter(|state| **state == State::Kept) else {
                                continue;
                            };
                            *state = State::Written;
                            writer.push(row).map_err(io_error)?;
                        }
                    }
                }
                writer.finish().map_err(io_error)
            })
            .map_err(|error| broken.take().unwrap_or_else(|| error.into()))?;
            fs::rename(&whole, &self.out).map_err(failed("write", &self.out))?;
        }
        for part in self.files.iter().skip(usize::from(self.has_out)) {
            fs::remove_file(part).map_err(failed("remove", part))?;
        }
        // what was being written when a process was killed
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "partial")
            {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(unseen)
    }
}

impl Drop for Parts {
    /// Removes the folder of the parts if none is left.
    fn drop(&mut self) {
        self.lock = None;
        // a folder that holds parts stays
        let _ = fs::remove_dir(&self.folder);
    }
}
