//! Who paints in a run folder: one process at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::files::{OutputError, failed};

/// The lock's file name in a run folder. What counts is the system's lock on the file, which ends with the process, however that ends:
/// a file that was left behind keeps nobody out.
pub(super) const LOCK: &str = ".lock";

/// The lock on a run folder, held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    /// Its lock is the file's, and ends when it is closed.
    _file: File,
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
            match file.try_lock() {
                // whoever had it may just have removed it, and another may have made a new one
                Ok(()) if !is_at(&file, &path) => continue,
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(failed("go on with", run)(in_use(&mut file)));
                }
                // some network file systems have no locks, and a run is not refused for that
                Err(TryLockError::Error(_)) => {}
            }
            // for the words of those who find the lock taken; it is as good without
            let _ = sign(&mut file);
            return Ok(Self { path, _file: file });
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // It is locked still, so that the file is nobody else's. Elsewhere a file in use cannot be removed, and stays.
        if cfg!(unix) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether a file is the one that has this name now.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(file), Ok(named)) => (file.dev(), file.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// Whether a file is the one that has this name now: always, for nobody removes it.
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
    // on some systems a file that is locked cannot be read by others
    let process =
        (file.read_to_string(&mut text).ok()).and_then(|_| text.trim().parse::<u32>().ok());
    let holder = match process {
        Some(process) => format!("another process ({process})"),
        None => "another process".to_owned(),
    };
    io::Error::new(
        ErrorKind::ResourceBusy,
        format!("{holder} is painting in it; wait until it is done, or stop it first"),
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
        assert!(
            error.to_string().starts_with("cannot go on with `"),
            "{error}"
        );
        let said = error.into_source().to_string();
        let me = format!("({}) is painting in it", std::process::id());
        assert!(said.contains(&me), "{said}");
        drop(lock);
        Lock::take(run.path()).expect("the lock again");
        assert!(!cfg!(unix) || !run.path().join(LOCK).exists());
        // what a killed process leaves
        fs::write(run.path().join(LOCK), "1").expect("a file");
        Lock::take(run.path()).expect("the lock of nobody");
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
