//! The lock of a run folder, which only one process may write to at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::files::{OutputError, failed};

/// The lock's file name in a run folder. What counts is the operating system's lock on the file, which is released when the process ends,
/// however it ends: a leftover file does not keep the folder locked.
pub(super) const LOCK: &str = ".lock";

/// The lock on a run folder, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    /// Closing the file releases the lock.
    _file: File,
    is_exclusive: bool,
}

impl Lock {
    /// Takes the lock of a folder.
    ///
    /// # Errors
    /// When another process has it, or the folder cannot be written to.
    pub fn take(run: &Path) -> Result<Self, OutputError> {
        let path = run.join(LOCK);
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(failed("write", &path))?;
            let is_exclusive = match file.try_lock() {
                // the previous holder may just have removed the file, and another process may have created a new one
                Ok(()) if !is_at(&file, &path) => continue,
                Ok(()) => true,
                Err(TryLockError::WouldBlock) => {
                    return Err(failed("lock", run)(in_use(&mut file)));
                }
                // some network file systems do not support locks; a run continues without one there
                Err(TryLockError::Error(_)) => false,
            };
            // only for the message of a process that finds the folder locked
            let _ = sign(&mut file);
            return Ok(Self {
                path,
                _file: file,
                is_exclusive,
            });
        }
    }

    /// Whether no other process can have it: false where the file system has no locks.
    pub fn is_exclusive(&self) -> bool {
        self.is_exclusive
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The lock is still held, so no other process uses the file. Other systems cannot remove an open file, and it stays.
        if cfg!(unix) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether `file` is the file of that name now.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(file), Ok(named)) => (file.dev(), file.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// Whether `file` is the file of that name now: always, because nothing removes it on these systems.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())
}

fn in_use(file: &mut File) -> io::Error {
    let mut text = String::new();
    // on some systems other processes cannot read a locked file
    let process =
        (file.read_to_string(&mut text).ok()).and_then(|_| text.trim().parse::<u32>().ok());
    let number = process.map_or_else(String::new, |process| format!(" ({process})"));
    io::Error::new(
        ErrorKind::ResourceBusy,
        format!(
            "another process{number} is painting in it; wait until it is done, or stop it first"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_lock_and_gives_it_back() {
        let run = tempfile::tempdir().expect("a folder");
        let lock = Lock::take(run.path()).expect("the lock");
        let error = Lock::take(run.path()).expect_err("a folder in use");
        assert!(error.to_string().starts_with("cannot lock `"), "{error}");
        let said = error.into_source().to_string();
        let me = format!("({}) is painting in it", std::process::id());
        assert!(said.contains(&me), "{said}");
        drop(lock);
        Lock::take(run.path()).expect("the lock again");
        assert!(!cfg!(unix) || !run.path().join(LOCK).exists());
        // what a killed process leaves
        fs::write(run.path().join(LOCK), "1").expect("a file");
        Lock::take(run.path()).expect("a lock that no process holds");
    }

    #[test]
    fn of_many_at_once_one_has_the_lock() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let run = tempfile::tempdir().expect("a folder");
        let (holders, takes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        if let Ok(_lock) = Lock::take(run.path()) {
                            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                            takes.fetch_add(1, Ordering::SeqCst);
                            holders.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
        assert!(takes.into_inner() > 0);
    }
}
