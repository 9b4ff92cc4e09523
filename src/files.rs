//! Files that are whole or not there: written aside in the same folder, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

/// A file or folder that could not be written.
#[derive(Debug, Error)]
#[error("cannot {action} `{}`{}", .path.display(), remedy(.source))]
pub struct OutputError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl OutputError {
    /// What the system says, for those who have their own words for the rest.
    pub(crate) fn into_source(self) -> io::Error {
        self.source
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            " (make room, or choose another disk with --out)"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            " (choose a folder that you may write to with --out)"
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            " (a file is in the way: choose another folder with --out)"
        }
        _ => "",
    }
}

/// Makes an I/O error tell what was done to which file.
pub(crate) fn failed<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl Fn(io::Error) -> OutputError + 'a {
    move |source| OutputError {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Writes a file aside and renames it, so that it is there whole or not at all. `sync` waits for the disk.
pub(crate) fn write_whole(
    path: &Path,
    sync: bool,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), OutputError> {
    let aside = aside(path);
    let result = (|| {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&aside)?;
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        if sync {
            file.sync_all()?;
        }
        drop(file);
        fs::rename(&aside, path)
    })();
    result.map_err(|error| {
        // The first error is the one to tell.
        let _ = fs::remove_file(&aside);
        failed("write", path)(error)
    })
}

/// A name in the same folder that no other process or thread uses.
pub(crate) fn aside(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}-{count}.partial", std::process::id()))
}
