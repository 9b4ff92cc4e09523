//! Recognises a full disk as the cause of an error.

use std::io;

use super::checkpoint::CheckpointError;
use super::video::VideoError;
use crate::files::{OutputError, is_full, no_space};

/// What ffmpeg prints when the disk is full.
const FFMPEG_FULL: &str = "No space left on device";

/// The message about an error that a full disk caused: first that there is no space and for which file, then the error's context. `None`
/// for other causes.
pub fn disk_full(error: &anyhow::Error) -> Option<String> {
    let mut around = vec![];
    for cause in error.chain() {
        let full = match (
            cause.downcast_ref::<OutputError>(),
            cause.downcast_ref::<CheckpointError>(),
            cause.downcast_ref::<VideoError>(),
            cause.downcast_ref::<io::Error>(),
        ) {
            (Some(error), ..) | (_, Some(CheckpointError::File(error)), ..) => {
                matches!(error, OutputError::Full { .. }).then(|| error.to_string())
            }
            (_, _, Some(VideoError::Unwritable { path, source }), _) => {
                is_full(source).then(|| no_space(path))
            }
            (_, _, Some(VideoError::Ffmpeg { path, said, .. }), _) => {
                said.contains(FFMPEG_FULL).then(|| no_space(path))
            }
            (.., Some(error)) => is_full(error).then(|| "no space left on the disk".to_owned()),
            _ => None,
        };
        if let Some(full) = full {
            around.insert(0, full);
            return Some(around.join("; "));
        }
        around.push(cause.to_string());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::failed;
    use anyhow::Context;
    use std::io::ErrorKind;
    use std::path::Path;

    fn full() -> io::Error {
        ErrorKind::StorageFull.into()
    }

    #[test]
    fn a_full_disk_is_said_first_and_once() {
        let path = Path::new("run/image.png");
        let picture = || failed("write", path)(full());
        let unwritable = VideoError::Unwritable {
            path: path.to_owned(),
            source: full(),
        };
        let ffmpeg = VideoError::Ffmpeg {
            path: path.to_owned(),
            status: "exit status: 1".to_owned(),
            said: "Error writing trailer: No space left on device".to_owned(),
        };
        for error in [
            anyhow::Error::from(picture()),
            CheckpointError::File(picture()).into(),
            unwritable.into(),
            ffmpeg.into(),
        ] {
            let error = Err::<(), _>(error)
                .context("the render stopped")
                .unwrap_err();
            assert_eq!(
                disk_full(&error).as_deref(),
                Some(
                    "no space left on the disk for `run/image.png`: make room, or write to another disk; the render stopped"
                )
            );
        }
        let error = format!("{:#}", anyhow::Error::from(picture()));
        assert_eq!(error.to_lowercase().matches("no space left").count(), 1);
    }

    #[test]
    fn other_causes_are_no_full_disk() {
        let path = Path::new("run/image.png");
        let error = failed("write", path)(ErrorKind::PermissionDenied.into());
        assert_eq!(disk_full(&error.into()), None);
        assert_eq!(disk_full(&anyhow::anyhow!("a loss is not a number")), None);
    }
}
