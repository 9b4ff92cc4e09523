//! Videos, written frame by frame: GIF and WebP in this process, MP4 by ffmpeg if it is installed.
//!
//! No frame is kept in memory. The video is a temporary file until it is finished, and then renamed, so that it is complete
//! whenever it exists.

mod ffmpeg;
mod gif;
mod webp;

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use image::imageops::{self, FilterType::CatmullRom};
use image::{DynamicImage, RgbImage};
use thiserror::Error;

use self::ffmpeg::{Ffmpeg, PROGRAM};
use self::gif::Gif;
use self::webp::WebP;
use super::config::VideoKind;
use crate::files;

/// Why there is no video.
#[derive(Debug, Error)]
pub enum VideoError {
    /// The file could not be written.
    #[error("cannot write the video `{}`", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// ffmpeg could not be started.
    #[error(
        "a video of kind mp4 is written by `{program}`, which cannot be started ({source}): install ffmpeg (apt install ffmpeg, \
         brew install ffmpeg, winget install ffmpeg), or take gif or webp, which need nothing"
    )]
    NoFfmpeg {
        /// The program's name.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// ffmpeg was built without a usable encoder.
    #[error(
        "`{program}` has none of the encoders {encoders}: install a complete ffmpeg, or take gif or webp, which need nothing"
    )]
    NoEncoder {
        /// The program's name.
        program: String,
        /// The usable ones.
        encoders: String,
    },
    /// ffmpeg failed.
    #[error("ffmpeg failed ({status}) while it wrote `{}`: {said}", .path.display())]
    Ffmpeg {
        /// The file.
        path: PathBuf,
        /// Its exit status.
        status: String,
        /// The last lines of its messages.
        said: String,
    },
    /// A side is longer than the format allows.
    #[error("{kind} holds no video of {width} x {height} pixels, only up to {most} a side")]
    TooLarge {
        /// The format.
        kind: VideoKind,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The longest side.
        most: u32,
    },
    /// The video has no frame.
    #[error("a video needs a frame at least")]
    Empty,
    /// A frame of the run so far could not be read.
    #[error("cannot read the frames of the run for its video")]
    Frames(#[source] anyhow::Error),
}

/// About how many frames a video has by default.
pub const DEFAULT_FRAMES: usize = 160;

/// Writes frames in one format.
trait Encoder: Send {
    /// Appends a frame of the video's size, shown for so many seconds.
    fn push(&mut self, image: &RgbImage, seconds: f64) -> Result<(), VideoError>;
    /// Completes the file.
    fn finish(self: Box<Self>) -> Result<(), VideoError>;
}

/// Checks before a render that videos of that kind can be written on this machine.
///
/// # Errors
/// For [`VideoKind::Mp4`] without ffmpeg or a usable encoder in it; the message says what to do.
pub fn available(kind: VideoKind) -> Result<(), VideoError> {
    match kind {
        VideoKind::Gif | VideoKind::Webp => Ok(()),
        VideoKind::Mp4 => ffmpeg::encoder(PROGRAM).map(drop),
    }
}

/// The file name of a run's video: `video.gif`, `video.mp4` or `video.webp`.
pub fn file_name(kind: VideoKind) -> String {
    format!("video.{kind}")
}

/// Writes a video. Dropped before [`VideoWriter::finish`], it leaves no file.
pub struct VideoWriter {
    path: PathBuf,
    temporary: PathBuf,
    size: (u32, u32),
    fps: f64,
    frames: usize,
    /// Taken by `finish`.
    encoder: Option<Box<dyn Encoder>>,
}

impl VideoWriter {
    /// Begins a video of `fps` frames per second. It appears at `path` when it is finished.
    ///
    /// # Errors
    /// When the file cannot be created, the size is too large for the format, or ffmpeg is missing.
    pub fn create(
        path: &Path,
        kind: VideoKind,
        (width, height): (u32, u32),
        fps: f64,
    ) -> Result<Self, VideoError> {
        let most = match kind {
            VideoKind::Gif => u32::from(u16::MAX),
            // VP8L has 14 bits a side, H.264's largest level little more
            VideoKind::Webp | VideoKind::Mp4 => 16_384,
        };
        if width.max(height) > most || width.min(height) == 0 {
            return Err(VideoError::TooLarge {
                kind,
                width,
                height,
                most,
            });
        }
        let temporary = files::temporary_path(path);
        let open = || fs::File::create_new(&temporary).map_err(unwritable(path));
        let size = (width, height);
        let encoder: Box<dyn Encoder> = match kind {
            VideoKind::Gif => Box::new(Gif::new(open()?, path, size)?),
            VideoKind::Webp => Box::new(WebP::new(open()?, path, size)?),
            VideoKind::Mp4 => Box::new(Ffmpeg::start(PROGRAM, &temporary, path, size, fps)?),
        };
        Ok(Self {
            path: path.to_owned(),
            temporary,
            size,
            fps,
            frames: 0,
            encoder: Some(encoder),
        })
    }

    /// Appends a frame. One of another size is scaled to fit into the video's, with its aspect ratio kept and black bars at the sides or
    /// above and below.
    ///
    /// # Errors
    /// When the file cannot be written, or ffmpeg fails.
    pub fn push(&mut self, image: &RgbImage) -> Result<(), VideoError> {
        self.hold(image, 1.0 / self.fps)
    }

    /// Appends a frame that is shown for so many seconds.
    ///
    /// # Errors
    /// When the file cannot be written, or ffmpeg fails.
    pub fn hold(&mut self, image: &RgbImage, seconds: f64) -> Result<(), VideoError> {
        let image = fitted(image, self.size);
        if let Some(encoder) = &mut self.encoder {
            encoder.push(&image, seconds)?;
            self.frames += 1;
        }
        Ok(())
    }

    /// Completes the video with a last picture, which it shows for a second. Returns the video's path.
    ///
    /// # Errors
    /// When the file cannot be written, or ffmpeg fails.
    pub fn finish_with(mut self, last: &RgbImage) -> Result<PathBuf, VideoError> {
        self.hold(last, 1.0)?;
        self.finish()
    }

    /// Completes the video and renames it to its path, which is returned.
    ///
    /// # Errors
    /// When there was no frame, the file cannot be written, or ffmpeg fails.
    pub fn finish(mut self) -> Result<PathBuf, VideoError> {
        if self.frames == 0 {
            return Err(VideoError::Empty);
        }
        if let Some(encoder) = self.encoder.take() {
            encoder.finish()?;
        }
        fs::rename(&self.temporary, &self.path).map_err(unwritable(&self.path))?;
        Ok(self.path.clone())
    }
}

impl Drop for VideoWriter {
    fn drop(&mut self) {
        // closes the file before it is removed
        self.encoder = None;
        // a finished video was renamed
        let _ = fs::remove_file(&self.temporary);
    }
}

/// The picture in the middle of a black frame of that size, as large as fits.
fn fitted(image: &RgbImage, (width, height): (u32, u32)) -> Cow<'_, RgbImage> {
    if image.dimensions() == (width, height) {
        return Cow::Borrowed(image);
    }
    let image = DynamicImage::from(image.clone());
    let scaled = image.resize(width, height, CatmullRom).into_rgb8();
    let mut frame = RgbImage::new(width, height);
    let (left, top) = ((width - scaled.width()) / 2, (height - scaled.height()) / 2);
    imageops::replace(&mut frame, &scaled, left.into(), top.into());
    Cow::Owned(frame)
}

fn unwritable(path: &Path) -> impl Fn(io::Error) -> VideoError + '_ {
    |source| VideoError::Unwritable {
        path: path.to_owned(),
        source,
    }
}

/// Durations of frames in whole units. Rounding errors do not add up, because each frame ends at the rounded sum of all durations.
#[derive(Default)]
struct Clock {
    seconds: f64,
    units: u64,
}

impl Clock {
    /// The duration of the next frame in units of 1/`rate` seconds, at least `least`.
    fn advance(&mut self, seconds: f64, rate: f64, least: u64) -> u64 {
        self.seconds += seconds;
        let end = (self.seconds * rate).round() as u64;
        let units = end.saturating_sub(self.units).max(least);
        self.units += units;
        units
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{AnimationDecoder, Rgb};
    use std::io::BufReader;
    use std::process::Command;
    use tempfile::TempDir;

    /// A disc that moves over a gradient.
    fn frame(width: u32, height: u32, index: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let (dx, dy) = (x as i32 - 8 - 3 * index as i32, y as i32 - 10);
            if dx * dx + dy * dy < 36 {
                Rgb([230, 40, 30])
            } else {
                Rgb([(x * 3) as u8, (y * 5) as u8, 90])
            }
        })
    }

    fn written(kind: VideoKind, (width, height): (u32, u32), frames: u32) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(file_name(kind));
        let mut video = VideoWriter::create(&path, kind, (width, height), 30.0).expect("a video");
        for index in 0..frames {
            video.push(&frame(width, height, index)).expect("a frame");
        }
        assert!(!path.exists(), "a video that is not finished has its name");
        assert_eq!(video.finish().expect("a whole video"), path);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        (folder, path)
    }

    fn open(path: &Path) -> BufReader<fs::File> {
        BufReader::new(fs::File::open(path).expect("a file"))
    }

    /// Delays in milliseconds.
    fn delays(frames: &[image::Frame]) -> Vec<u32> {
        (frames.iter())
            .map(|frame| {
                let (numerator, denominator) = frame.delay().numer_denom_ms();
                numerator / denominator
            })
            .collect()
    }

    #[test]
    fn a_gif_comes_back_close_to_what_it_was() {
        let (_folder, path) = written(VideoKind::Gif, (48, 32), 6);
        let decoder = image::codecs::gif::GifDecoder::new(open(&path)).expect("a GIF");
        let frames = decoder.into_frames().collect_frames().expect("frames");
        assert_eq!(delays(&frames), [30, 40, 30, 30, 40, 30]);
        for (index, shown) in frames.iter().enumerate() {
            let aim = frame(48, 32, index as u32);
            let off: f64 = (aim.as_raw().iter())
                .zip(shown.buffer().pixels().flat_map(|p| [p[0], p[1], p[2]]))
                .map(|(a, b)| f64::from(a.abs_diff(b)))
                .sum();
            // 256 colours with a grain over them
            assert!(off / (48.0 * 32.0 * 3.0) < 7.0, "frame {index}: {off}");
        }
    }

    #[test]
    fn a_webp_comes_back_exactly() {
        // odd sizes, whose chunks want padding
        let (_folder, path) = written(VideoKind::Webp, (47, 31), 5);
        let decoder = image::codecs::webp::WebPDecoder::new(open(&path)).expect("a WebP");
        assert!(decoder.has_animation());
        let frames = decoder.into_frames().collect_frames().expect("frames");
        assert_eq!(delays(&frames), [33, 34, 33, 33, 34]);
        for (index, shown) in frames.iter().enumerate() {
            let pixels: Vec<_> = (shown.buffer().pixels())
                .flat_map(|p| [p[0], p[1], p[2]])
                .collect();
            assert_eq!(pixels, frame(47, 31, index as u32).into_raw());
        }
    }

    #[test]
    fn an_mp4_plays_and_has_even_sides() {
        if available(VideoKind::Mp4).is_err() {
            return;
        }
        let (folder, path) = written(VideoKind::Mp4, (47, 31), 12);
        let back = folder.path().join("back");
        fs::create_dir(&back).expect("a folder");
        let status = Command::new(PROGRAM)
            .args(["-loglevel", "error", "-i"])
            .arg(&path)
            .arg(back.join("%02d.png"))
            .status()
            .expect("ffmpeg");
        assert!(status.success());
        assert_eq!(fs::read_dir(&back).expect("frames").count(), 12);
        let shown = image::open(back.join("05.png")).expect("a frame").to_rgb8();
        assert_eq!(shown.dimensions(), (48, 32));
        let (seen, aim) = (shown.get_pixel(30, 28), *frame(47, 31, 4).get_pixel(30, 28));
        for channel in 0..3 {
            assert!(
                seen[channel].abs_diff(aim[channel]) < 12,
                "{seen:?} {aim:?}"
            );
        }
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        for kind in [VideoKind::Gif, VideoKind::Webp, VideoKind::Mp4] {
            if available(kind).is_err() {
                continue;
            }
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join(file_name(kind));
            let mut video = VideoWriter::create(&path, kind, (16, 16), 20.0).expect("a video");
            video.push(&frame(16, 16, 0)).expect("a frame");
            drop(video);
            assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
        }
    }

    #[test]
    fn a_video_without_frames_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("video.gif");
        let video = VideoWriter::create(&path, VideoKind::Gif, (16, 16), 20.0).expect("a video");
        assert!(matches!(video.finish(), Err(VideoError::Empty)));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn a_frame_of_another_shape_has_black_bars() {
        let red = RgbImage::from_pixel(8, 8, Rgb([200, 0, 0]));
        let wide = fitted(&red, (40, 16));
        assert_eq!(wide.dimensions(), (40, 16));
        for (x, level) in [(0, 0), (11, 0), (12, 200), (27, 200), (28, 0)] {
            assert_eq!(wide.get_pixel(x, 8).0, [level, 0, 0], "column {x}");
        }
        let high = fitted(&red, (3, 9));
        assert_eq!((high.get_pixel(1, 2)[0], high.get_pixel(1, 3)[0]), (0, 200));
        assert_eq!(*fitted(&red, (8, 8)), red);
    }

    #[test]
    fn frames_of_another_size_are_brought_to_the_videos() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("video.webp");
        let mut video =
            VideoWriter::create(&path, VideoKind::Webp, (24, 16), 20.0).expect("a video");
        video.push(&frame(48, 32, 0)).expect("a frame");
        video.hold(&frame(24, 16, 0), 1.0).expect("a frame");
        video.finish().expect("a video");
        let decoder = image::codecs::webp::WebPDecoder::new(open(&path)).expect("a WebP");
        let frames = decoder.into_frames().collect_frames().expect("frames");
        assert_eq!(delays(&frames), [50, 1000]);
    }
}
