//! A sweep in a folder that its processes share: a run is painted beside its place, and its folder is renamed when it is whole.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};
use walkdir::WalkDir;

use super::{FAILED, Finished, IMAGE, Partial, Place, RESULT, RUNS, SCORES};
use crate::files::{CREATE_FOLDER, failed, write_whole};
use crate::run::{FolderLock, RunFolder};

/// A folder.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    /// The results of whole runs that were read: they stay as they are.
    results: Mutex<HashMap<String, Finished>>,
}

impl Folder {
    pub(super) fn at(root: PathBuf) -> Self {
        let results = Mutex::default();
        Self { root, results }
    }

    /// What a run that has all that makes it whole says of itself.
    fn result(&self, run: &str) -> Option<Finished> {
        let lock = || self.results.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(run) {
            return Some(known.clone());
        }
        let result = result_of(&self.run(run))?;
        lock().insert(run.to_owned(), result.clone());
        Some(result)
    }

    /// The names in one of its folders; none where there is no such folder.
    fn names(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.root.join(folder);
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![]),
            entries => entries.map_err(failed("look into", &path))?,
        };
        let mut names = vec![];
        for entry in entries {
            let name = entry.map_err(failed("look into", &path))?.file_name();
            names.extend(name.into_string().ok());
        }
        Ok(names)
    }

    fn run(&self, name: &str) -> PathBuf {
        self.root.join(RUNS).join(name)
    }

    /// A name beside a run's place that no process has used yet.
    fn beside(&self, run: &str, ending: &str) -> PathBuf {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let process = std::process::id();
        // processes of other machines may have the same number
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        self.run(&format!(".{run}.{process}-{count}.{ending}"))
    }
}

impl Place for Folder {
    fn location(&self, name: &str) -> String {
        let path = match name {
            "" => self.root.clone(),
            name => self.root.join(name),
        };
        path.display().to_string()
    }

    fn exists(&self) -> Result<bool> {
        Ok(self.root.is_dir())
    }

    fn prepare(&self) -> Result<()> {
        // a folder of something else may have files of the names that a sweep writes
        let is_new = self.root.is_dir() && !self.root.join(RUNS).is_dir();
        let of_others = |name: &String| !name.starts_with('.');
        if is_new && let Some(other) = self.names("")?.iter().find(|name| of_others(name)) {
            bail!(
                "{} is not empty and not a sweep's: it has `{other}`; choose another folder with --out",
                self.root.display()
            );
        }
        for folder in [RUNS, FAILED, SCORES] {
            let path = self.root.join(folder);
            fs::create_dir_all(&path).map_err(failed(CREATE_FOLDER, &path))?;
        }
        Ok(())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write_whole(&self.root.join(name), true, |file| file.write_all(bytes))?;
        Ok(())
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.root.join(name);
        match fs::read(&path) {
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            read => Ok(Some(read.map_err(failed("read", &path))?)),
        }
    }

    fn read_all(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        names.iter().map(|name| self.read(name)).collect()
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.root.join(name);
        fs::remove_file(&path).map_err(failed("remove", &path))?;
        Ok(())
    }

    fn files(&self, folder: &str) -> Result<Vec<String>> {
        self.names(folder)
    }

    fn placed(&self) -> Result<Vec<String>> {
        let mut names = self.names(RUNS)?;
        names.retain(|name| !name.starts_with('.'));
        Ok(names)
    }

    fn is_damaged(&self, run: &str) -> bool {
        self.result(run).is_none()
    }

    fn is_whole(&self, run: &str) -> Result<bool> {
        Ok(result_of(&self.run(run)).is_some())
    }

    fn results(&self, runs: &[String]) -> Result<Vec<Option<Finished>>> {
        Ok(runs.iter().map(|run| self.result(run)).collect())
    }

    fn begin(&self, run: &str, device: &str) -> Result<RunFolder> {
        let mut attempts = 1000;
        loop {
            let path = self.beside(run, &format!("{device}.partial"));
            match RunFolder::create_at(&path) {
                Err(error) if path.is_dir() && attempts > 0 => {
                    drop(error);
                    attempts -= 1;
                }
                made => return Ok(made?),
            }
        }
    }

    fn take_over(&self, partial: &Partial) -> Option<RunFolder> {
        let lock = FolderLock::take(&partial.path).ok()?;
        if !lock.is_exclusive() {
            return None;
        }
        // where locks count on one machine alone, a process of another one that has it finds its folder gone, and begins anew
        let own = self.beside(&partial.run, &format!("{}.partial", partial.device));
        fs::rename(&partial.path, &own).ok()?;
        drop(lock);
        RunFolder::open(&own).ok()
    }

    fn put(&self, partial: &Path, run: &str) -> Result<bool> {
        let place = self.run(run);
        if fs::symlink_metadata(&place).is_ok() && result_of(&place).is_none() {
            // what is left of it is kept, out of the way
            let aside = self.beside(run, "damaged");
            fs::rename(&place, &aside).map_err(failed("put aside", &place))?;
        }
        match fs::rename(partial, &place) {
            Ok(()) => Ok(true),
            // a folder replaces only an empty one
            Err(_) if place.is_dir() => {
                let _ = fs::remove_dir_all(partial);
                Ok(false)
            }
            Err(error) => Err(failed("put in place", &place)(error).into()),
        }
    }

    fn partials(&self) -> Vec<Partial> {
        let names = self.names(RUNS).unwrap_or_default();
        let partials = names.iter().filter_map(|name| {
            let parts = name.strip_prefix('.')?.strip_suffix(".partial")?;
            let (run, rest) = parts.split_once('.')?;
            Some(Partial {
                run: run.to_owned(),
                device: rest.rsplit_once('.').unwrap_or_default().1.to_owned(),
                path: self.run(name),
            })
        });
        partials.collect()
    }

    fn size(&self, run: &str) -> Result<u64> {
        Ok(size_of(&self.run(run)))
    }
}

/// A run's `result.json`, if its folder is complete. A folder is put in place complete, so that a file can be missing only if something else removed it.
fn result_of(run: &Path) -> Option<Finished> {
    let text = fs::read(run.join(RESULT)).ok()?;
    let has_picture = ends_as_png(&run.join(IMAGE)).unwrap_or(false);
    serde_json::from_slice(&text).ok().filter(|_| has_picture)
}

/// Whether a file ends with the last chunk of a PNG, that is whether nothing of it was cut off.
fn ends_as_png(path: &Path) -> std::io::Result<bool> {
    const END: [u8; 12] = *b"\0\0\0\0IEND\xae\x42\x60\x82";
    let mut file = File::open(path)?;
    let mut last = [0; END.len()];
    file.seek(SeekFrom::End(-(END.len() as i64)))?;
    file.read_exact(&mut last)?;
    Ok(last == END)
}

/// The bytes of a folder's files.
pub(in crate::sweep) fn size_of(folder: &Path) -> u64 {
    let files = WalkDir::new(folder).into_iter().flatten();
    files
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|about| about.len())
        .sum()
}
