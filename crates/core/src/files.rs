//! Files that are whole or not there: written aside in the same folder, then renamed.

use std::error::Error;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The action for [`failed`] when a folder is created.
pub const CREATE_FOLDER: &str = "create the folder";

/// A file or folder that could not be written.
#[derive(Debug)]
pub struct OutputError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl OutputError {
    /// What the system says.
    pub fn cause(&self) -> &io::Error {
        &self.source
    }

    /// What the system says, for callers with a message of their own.
    pub fn into_source(self) -> io::Error {
        self.source
    }
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        if is_full(&self.source) {
            return write!(f, "{}", no_space(&self.path));
        }
        write!(
            f,
            "cannot {} `{path}`{}",
            self.action,
            remedy(self.action, &self.source)
        )
    }
}

impl Error for OutputError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // the message names a full disk already
        if is_full(&self.source) {
            None
        } else {
            Some(&self.source)
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

/// What the user can do about it. Only the place of a new run folder can be chosen, with `--out`.
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

/// Makes an I/O error tell what was done to which file.
pub fn failed<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> OutputError + 'a {
    move |source| OutputError {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Writes a file aside and renames it, so that it is there whole or not at all. `sync` waits for the disk.
pub fn write_whole(
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
pub fn aside(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}-{count}.partial", std::process::id()))
}
