//! MP4 by ffmpeg: raw frames go into its standard input.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::JoinHandle;

use image::RgbImage;

use super::{Encoder, VideoError, unwritable};

/// The program, looked for as the system does.
pub(super) const PROGRAM: &str = "ffmpeg";
/// So much of what ffmpeg says last is told.
const LAST_LINES: usize = 4;
/// Encoders in the order of preference, each with settings of about the same quality: hardly to be told from the frames.
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
        .map_err(|source| VideoError::NoFfmpeg {
            program: program.to_owned(),
            source,
        })?;
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    // a line is flags, name, words
    let has =
        |name: &str| (listing.lines()).any(|line| line.split_whitespace().nth(1) == Some(name));
    (ENCODERS.into_iter().find(|(name, _)| has(name))).ok_or_else(|| VideoError::NoEncoder {
        program: program.to_owned(),
        encoders: ENCODERS.map(|(name, _)| name).join(", "),
    })
}

pub(super) struct Ffmpeg {
    child: Child,
    /// Closed by `finish`.
    input: Option<ChildStdin>,
    last_words: Option<JoinHandle<VecDeque<String>>>,
    path: PathBuf,
    fps: f64,
}

impl Ffmpeg {
    /// Starts ffmpeg, writing to `aside` what will be `path`.
    pub fn start(
        program: &str,
        aside: &Path,
        path: &Path,
        (width, height): (u32, u32),
        fps: f64,
    ) -> Result<Self, VideoError> {
        let (encoder, settings) = encoder(program)?;
        // yuv420p has a colour for two by two pixels, so that sides are even
        let size = format!("{}x{}", even(width), even(height));
        let rate = fps.to_string();
        let mut command = command(program);
        command
            .args(["-hide_banner", "-loglevel", "error", "-y"])
            .args(["-f", "rawvideo", "-pixel_format", "rgb24"])
            .args(["-video_size", &size, "-framerate", &rate, "-i", "pipe:0"])
            .args(["-an", "-c:v", encoder])
            .args(settings)
            // players take HD's matrix for granted where nothing is said, and not all read what is said
            .args(["-vf", "scale=out_color_matrix=bt709:out_range=tv"])
            .args(["-colorspace", "bt709", "-color_primaries", "bt709"])
            .args(["-color_trc", "iec61966-2-1", "-color_range", "tv"])
            .args([
                "-pix_fmt",
                "yuv420p",
                "-movflags",
                "+faststart",
                "-f",
                "mp4",
            ])
            .arg(file_url(aside))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| VideoError::NoFfmpeg {
            program: program.to_owned(),
            source,
        })?;
        let input = child.stdin.take();
        let last_words = child.stderr.take().map(|stderr| {
            std::thread::spawn(move || {
                let mut lines = VecDeque::new();
                for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                    if lines.len() == LAST_LINES {
                        lines.pop_front();
                    }
                    lines.push_back(String::from_utf8_lossy(&line).trim().to_owned());
                }
                lines
            })
        });
        Ok(Self {
            child,
            input,
            last_words,
            path: path.to_owned(),
            fps,
        })
    }

    /// Closes the input, waits, and tells what went wrong.
    fn close(&mut self) -> Result<(), VideoError> {
        self.input = None;
        let status = self.child.wait().map_err(unwritable(&self.path))?;
        let words = (self.last_words.take()).and_then(|thread| thread.join().ok());
        if status.success() {
            return Ok(());
        }
        let words = Vec::from(words.unwrap_or_default()).join("; ");
        Err(VideoError::Ffmpeg {
            path: self.path.clone(),
            status: status.to_string(),
            said: match words.is_empty() {
                true => "it said nothing".to_owned(),
                false => words,
            },
        })
    }
}

impl Encoder for Ffmpeg {
    fn push(&mut self, image: &RgbImage, seconds: f64) -> Result<(), VideoError> {
        let bytes = evened(image);
        let times = (seconds * self.fps).round().max(1.0) as usize;
        for _ in 0..times {
            let Some(input) = &mut self.input else { break };
            if let Err(error) = input.write_all(&bytes) {
                // it has closed its end: it knows why
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
        if self.input.take().is_some() {
            // abandoned: what it would still write is not wanted
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A command that Ctrl-C in the terminal does not reach: ffmpeg is to finish its file when the render has stopped.
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

/// The path as ffmpeg takes it for a file whatever its name: `a:b` alone would be a protocol.
fn file_url(path: &Path) -> std::ffi::OsString {
    let mut url = std::ffi::OsString::from("file:");
    url.push(path);
    url
}

fn even(side: u32) -> u32 {
    side + side % 2
}

/// The pixels with the last column and row twice where their number is odd.
fn evened(image: &RgbImage) -> Vec<u8> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut bytes = Vec::with_capacity((width + 1) * (height + 1) * 3);
    for y in 0..even(height as u32) as usize {
        let start = y.min(height - 1) * width * 3;
        let row = &image.as_raw()[start..start + width * 3];
        bytes.extend(row);
        if width % 2 == 1 {
            bytes.extend(&row[row.len() - 3..]);
        }
    }
    bytes
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
        assert_eq!(evened(&image), [row, row].concat());
    }

    /// A stand-in that knows the encoder, and breaks when it gets its first frames.
    #[cfg(unix)]
    #[test]
    fn its_last_words_are_told_when_it_fails() {
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
        let mut ffmpeg =
            Ffmpeg::start(program, &folder.path().join("aside"), &path, (64, 64), 20.0)
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
