//! Files of the cache as downloads write them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
#[cfg(unix)]
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::error::FetchError;
use phantasia_core::files;

pub fn sha256(file: &mut File) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(file, &mut hash)?;
    Ok(format!("{:x}", hash.finalize()))
}

pub fn written(path: &Path, source: io::Error) -> FetchError {
    FetchError::Write(path.display().to_string(), source)
}

pub fn create_folder(file: &Path) -> Result<(), FetchError> {
    match file.parent() {
        Some(folder) => fs::create_dir_all(folder).map_err(|source| written(folder, source)),
        None => Ok(()),
    }
}

pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), FetchError> {
    create_folder(path)?;
    files::write_whole(path, false, |out| out.write_all(bytes))
        .map_err(|error| written(path, error.into_source()))
}

/// The snapshot's name for a blob: a relative link, as huggingface_hub makes it, or the file itself on systems without links.
pub fn link_to(blob: &Path, link: &Path) -> Result<(), FetchError> {
    create_folder(link)?;
    let failed = |source| written(link, source);
    if link.symlink_metadata().is_ok() {
        fs::remove_file(link).map_err(failed)?;
    }
    #[cfg(unix)]
    {
        // from snapshots/COMMIT/FILE, one step up for each folder within FILE's name
        let root = blob.parent().and_then(Path::parent);
        let steps = root
            .and_then(|root| link.parent()?.strip_prefix(root).ok())
            .map_or(0, |folders| folders.components().count());
        let mut target: PathBuf = std::iter::repeat_n("..", steps).collect();
        target.push("blobs");
        target.push(blob.file_name().unwrap_or_default());
        std::os::unix::fs::symlink(target, link).map_err(failed)
    }
    #[cfg(not(unix))]
    fs::rename(blob, link).map_err(failed)
}
