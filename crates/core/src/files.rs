//! Files that are complete or absent: written under a temporary name in the same folder, then renamed.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

/// The action for [`failed`] when a folder is created.
pub const CREATE_FOLDER: &str = "create the folder";

/// A file or folder that could not be written.
#[derive(Debug, Error)]
pub enum OutputError {
    /// The disk, or the user's quota, is full.
    #[error("{}", no_space(path))]
    Full {
        /// The file or folder.
        path: PathBuf,
        /// What the system says; not the source, because the message says it already.
        cause: io::Error,
    },
    /// Another failure.
    #[error("cannot {action} `{}`{}", .path.display(), remedy(action, .source))]
    Failed {
        /// What was tried, such as `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl OutputError {
    /// What the system says.
    pub fn into_source(self) -> io::Error {
        match self {
            Self::Full { cause: source, .. } | Self::Failed { source, .. } => source,
        }
    }
}

/// Whether the disk or the user's quota is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

/// The message about a file for which the disk has no space.
pub fn no_space(path: &Path) -> String {
    format!(
        "no space left on the disk for `{}`: make room, or write to another disk",
        path.display()
    )
}

/// What the user can do about it: the place of a new run folder can be chosen, with `--out`.
fn remedy(action: &str, error: &io::Error) -> &'static str {
    match error.kind() {
        _ if action != CREATE_FOLDER => "",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            " (choose a folder that you may write to with --out)"
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            " (a file is in the way: choose another folder with --out)"
        }
        _ => "",
    }
}

/// Adds to an I/O error what was done to which file.
pub fn failed<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> OutputError + 'a {
    move |source| {
        let path = path.to_owned();
        if is_full(&source) {
            OutputError::Full {
                path,
                cause: source,
            }
        } else {
            OutputError::Failed {
                action,
                path,
                source,
            }
        }
    }
}

/// Writes a file under a temporary name and renames it, so that it is complete or absent. `sync` waits for the disk.
pub fn write_whole(
    path: &Path,
    sync: bool,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), OutputError> {
    let temporary = temporary_path(path);
    let result = (|| {
        let mut out = BufWriter::new(File::create_new(&temporary)?);
        write(&mut out)?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        if sync {
            file.sync_all()?;
        }
        drop(file);
        fs::rename(&temporary, path)
    })();
    result.map_err(|error| {
        // the first error is the one to report
        let _ = fs::remove_file(&temporary);
        failed("write", path)(error)
    })
}

/// A name in the same folder that no other process or thread uses.
pub fn temporary_path(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}-{count}.partial", std::process::id()))
}
