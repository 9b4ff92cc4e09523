//! MP4 by ffmpeg, which reads raw frames from its standard input.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use image::RgbImage;

use super::{Encoder, VideoError, unwritable};

/// The program, found through `PATH`.
pub(super) const PROGRAM: &str = "ffmpeg";
/// The number of its last messages that an error quotes.
const LAST_LINES: usize = 4;
/// Encoders in the order of preference, with settings of about the same quality, hardly distinguishable from the frames.
const ENCODERS: [(&str, &[&str]); 4] = [
    ("libx264", &["-preset", "medium", "-crf", "17"]),
    ("h264_videotoolbox", &["-q:v", "70"]),
    ("libopenh264", &["-b:v", "12M"]),
    ("mpeg4", &["-q:v", "2"]),
];

/// The first of the encoders that this ffmpeg has, with its settings.
pub(super) fn encoder(
    program: &str,
) -> Result<(&'static str, &'static [&'static str]), VideoError> {
    let listing = command(program)
        .args(["-hide_banner", "-loglevel", "error", "-encoders"])
        .stdin(Stdio::null())
        .output()
        .map_err(missing(program))?;
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    // a line is flags, name, description
    let has =
        |name: &str| (listing.lines()).any(|line| line.split_whitespace().nth(1) == Some(name));
    (ENCODERS.into_iter().find(|(name, _)| has(name))).ok_or_else(|| VideoError::NoEncoder {
        program: program.to_owned(),
        encoders: ENCODERS.map(|(name, _)| name).join(", "),
    })
}

pub(super) struct Ffmpeg {
    child: Child,
    /// Reads its standard error.
    messages: Option<JoinHandle<Vec<u8>>>,
    path: PathBuf,
    fps: f64,
}

impl Ffmpeg {
    /// Starts ffmpeg, which writes to the file `temporary`; `path` is for messages.
    pub fn start(
        program: &str,
        temporary: &Path,
        path: &Path,
        (width, height): (u32, u32),
        fps: f64,
    ) -> Result<Self, VideoError> {
        let (encoder, settings) = encoder(program)?;
        // yuv420p needs even sides, because it has one colour for two by two pixels
        let [width, height] = [width, height].map(|side| side.next_multiple_of(2));
        let size = format!("{width}x{height}");
        let rate = fps.to_string();
        let mut command = command(program);
        command
            .args(["-hide_banner", "-loglevel", "error", "-y"])
            .args(["-f", "rawvideo", "-pixel_format", "rgb24"])
            .args(["-video_size", &size, "-framerate", &rate, "-i", "pipe:0"])
            .args(["-an", "-c:v", encoder])
            .args(settings)
            // most players assume the matrix of HD; the tags below are for those that read them
            .args(["-vf", "scale=out_color_matrix=bt709:out_range=tv"])
            .args(["-colorspace", "bt709", "-color_primaries", "bt709"])
            .args(["-color_trc", "iec61966-2-1", "-color_range", "tv"])
            .args(["-pix_fmt", "yuv420p", "-movflags", "+faststart"])
            .args(["-f", "mp4"])
            .arg(file_url(temporary))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(missing(program))?;
        let messages = child.stderr.take().map(|mut stderr| {
            std::thread::spawn(move || {
                let mut messages = vec![];
                // what was read before an error is enough
                let _ = stderr.read_to_end(&mut messages);
                messages
            })
        });
        Ok(Self {
            child,
            messages,
            path: path.to_owned(),
            fps,
        })
    }

    /// Closes the input, waits for the end, and reports what went wrong.
    fn close(&mut self) -> Result<(), VideoError> {
        let status = self.child.wait().map_err(unwritable(&self.path))?;
        if status.success() {
            return Ok(());
        }
        let messages = (self.messages.take()).and_then(|thread| thread.join().ok());
        let messages = String::from_utf8_lossy(&messages.unwrap_or_default()).into_owned();
        let lines: Vec<_> = messages.lines().map(str::trim).collect();
        let mut said = lines[lines.len().saturating_sub(LAST_LINES)..].join("; ");
        if said.is_empty() {
            said.push_str("it said nothing");
        }
        Err(VideoError::Ffmpeg {
            path: self.path.clone(),
            status: status.to_string(),
            said,
        })
    }
}

impl Encoder for Ffmpeg {
    fn push(&mut self, image: &RgbImage, seconds: f64) -> Result<(), VideoError> {
        let image = evened(image);
        let times = (seconds * self.fps).round().max(1.0) as usize;
        for _ in 0..times {
            let Some(input) = &mut self.child.stdin else {
                break;
            };
            if let Err(error) = input.write_all(image.as_raw()) {
                // ffmpeg has closed the pipe, and knows why
                self.close()?;
                return Err(unwritable(&self.path)(error));
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), VideoError> {
        self.close()
    }
}

impl Drop for Ffmpeg {
    fn drop(&mut self) {
        // of an abandoned video; without effect on a process that has ended
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that Ctrl-C in the terminal does not reach, because ffmpeg must finish its file after the render has stopped.
fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        command.process_group(0);
    }
    #[cfg(windows)]
    {
        use std::os::windows::process::CommandExt;
        /// CREATE_NEW_PROCESS_GROUP
        const NEW_GROUP: u32 = 0x200;
        command.creation_flags(NEW_GROUP);
    }
    command
}

/// The path as a URL, because `a:b` alone would name a protocol.
fn file_url(path: &Path) -> std::ffi::OsString {
    let mut url = std::ffi::OsString::from("file:");
    url.push(path);
    url
}

/// The picture, with its last column and row doubled if their number is odd.
fn evened(image: &RgbImage) -> Cow<'_, RgbImage> {
    let (width, height) = image.dimensions();
    if width % 2 == 0 && height % 2 == 0 {
        return Cow::Borrowed(image);
    }
    let [even_width, even_height] = [width, height].map(|side| side.next_multiple_of(2));
    Cow::Owned(RgbImage::from_fn(even_width, even_height, |x, y| {
        *image.get_pixel(x.min(width - 1), y.min(height - 1))
    }))
}

fn missing(program: &str) -> impl Fn(io::Error) -> VideoError {
    move |source| VideoError::NoFfmpeg {
        program: program.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_ffmpeg_says_what_to_install_or_to_take_instead() {
        let error = encoder("no-such-ffmpeg")
            .expect_err("no program")
            .to_string();
        for part in ["no-such-ffmpeg", "install ffmpeg", "gif"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn an_odd_picture_gets_its_edge_twice() {
        let image = RgbImage::from_fn(3, 1, |x, _| image::Rgb([x as u8; 3]));
        let row = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2];
        assert_eq!(*evened(&image).as_raw(), [row, row].concat());
    }

    /// A stand-in that knows the encoder, and breaks when it gets its first frames.
    #[cfg(unix)]
    #[test]
    fn its_last_messages_are_reported_when_it_fails() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("ffmpeg");
        let script = "#!/bin/sh\ncase \"$*\" in *-encoders*) echo ' V..... libx264 x'; exit 0;; esac\n\
                      head -c 10 >/dev/null\necho 'one' >&2\necho 'No space left on device' >&2\nexit 3\n";
        std::fs::write(&program, script).expect("a script");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&program, mode).expect("a program");
        let path = folder.path().join("video.mp4");
        let program = program.to_str().expect("a path");
        let mut ffmpeg = Ffmpeg::start(
            program,
            &folder.path().join("temporary"),
            &path,
            (64, 64),
            20.0,
        )
        .expect("it starts");
        let image = RgbImage::new(64, 64);
        let error = (0..100)
            .find_map(|_| ffmpeg.push(&image, 0.05).err())
            .expect("it breaks")
            .to_string();
        assert!(error.contains("one; No space left on device"), "{error}");
        assert!(error.contains("video.mp4"), "{error}");
    }
}
