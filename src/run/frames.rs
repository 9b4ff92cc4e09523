//! The frames of a render: pictures in `frames/`, and the video that they make.

use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;

use super::config::OutputConfig;
use super::folder::RunFolder;
use super::names::FRAMES;
use super::video::{self, VideoError, VideoWriter};
use crate::files::OutputError;
use crate::picture;

/// Takes a frame every so many steps, writes it to the run's `frames/`, and appends it to the run's video.
///
/// A video that fails does not stop the render: [`FrameSink::finish`] returns its first error.
pub struct FrameSink {
    every: usize,
    video: Option<Result<VideoWriter, VideoError>>,
}

impl FrameSink {
    /// Begins the video, if the recipe asks for one. The video of a render that is resumed after `done` steps begins with the frames
    /// of these steps. `size` is the video's width and height in pixels.
    ///
    /// # Errors
    /// When the video cannot be begun, or earlier frames cannot be read.
    pub fn open(
        folder: &RunFolder,
        options: &OutputConfig,
        size: [usize; 2],
        steps: usize,
        done: usize,
    ) -> Result<Self, VideoError> {
        let mut sink = Self {
            every: options.every,
            video: None,
        };
        let Some(kind) = options.video else {
            return Ok(sink);
        };
        if sink.every == 0 {
            sink.every = steps.div_ceil(video::DEFAULT_FRAMES).max(1);
        }
        let path = folder.path().join(video::file_name(kind));
        let [width, height] = size.map(|side| u32::try_from(side).unwrap_or(u32::MAX));
        let mut video = VideoWriter::create(&path, kind, (width, height), options.fps)?;
        for path in earlier(&folder.path().join(FRAMES), done)? {
            let frame = picture::load_rgb(&path).map_err(|e| VideoError::Frames(e.into()))?;
            video.push(&frame)?;
        }
        sink.video = Some(Ok(video));
        Ok(sink)
    }

    /// Whether the picture after `step` steps is a frame.
    pub fn wants(&self, step: usize) -> bool {
        self.every > 0 && step.is_multiple_of(self.every)
    }

    /// Takes the picture after `step` steps.
    ///
    /// # Errors
    /// When the picture cannot be written.
    pub fn take(
        &mut self,
        folder: &RunFolder,
        step: usize,
        image: &RgbImage,
    ) -> Result<(), OutputError> {
        folder.write_frame(step, image)?;
        if let Some(Ok(video)) = &mut self.video
            && let Err(error) = video.push(image)
        {
            self.video = Some(Err(error));
        }
        Ok(())
    }

    /// Completes the video with the render's last picture, which it shows for a second. Returns the video's path.
    ///
    /// # Errors
    /// When the video failed, now or before.
    pub fn finish(&mut self, last: &RgbImage) -> Result<Option<PathBuf>, VideoError> {
        let video = self.video.take().transpose()?;
        video.map(|video| video.finish_with(last)).transpose()
    }
}

/// The frames in a folder up to a step, in order.
fn earlier(folder: &Path, done: usize) -> Result<Vec<PathBuf>, VideoError> {
    let unreadable = |error: std::io::Error| VideoError::Frames(error.into());
    if done == 0 || !folder.exists() {
        return Ok(vec![]);
    }
    let mut frames = vec![];
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let step = (path.file_name())
            .and_then(|name| name.to_str()?.strip_prefix("frame-")?.strip_suffix(".png"))
            .and_then(|digits| digits.parse::<usize>().ok());
        frames.extend(step.filter(|step| *step <= done).map(|step| (step, path)));
    }
    frames.sort();
    Ok(frames.into_iter().map(|(_, path)| path).collect())
}

#[cfg(test)]
mod tests {
    use super::super::config::VideoKind;
    use super::*;
    use image::{AnimationDecoder, Rgb, codecs::webp::WebPDecoder};
    use std::io::Cursor;

    fn shade(level: u8) -> RgbImage {
        RgbImage::from_pixel(4, 4, Rgb([level; 3]))
    }

    fn options(every: usize) -> OutputConfig {
        OutputConfig {
            every,
            video: Some(VideoKind::Webp),
            ..OutputConfig::default()
        }
    }

    /// The red of each frame of a video.
    fn levels(video: &Path) -> Vec<u8> {
        let bytes = fs::read(video).expect("a file");
        let decoder = WebPDecoder::new(Cursor::new(bytes)).expect("a WebP");
        let frames = decoder.into_frames().collect_frames().expect("frames");
        (frames.iter())
            .map(|f| f.buffer().get_pixel(0, 0)[0])
            .collect()
    }

    #[test]
    fn a_video_alone_chooses_how_many_frames_it_takes() {
        let out = tempfile::tempdir().expect("a folder");
        let folder = RunFolder::create(out.path(), "run").expect("a run");
        for (steps, every) in [(20, 1), (160, 1), (161, 2), (1000, 7)] {
            let sink = FrameSink::open(&folder, &options(0), [4, 4], steps, 0).expect("a sink");
            assert_eq!(sink.every, every);
        }
    }

    #[test]
    fn a_resumed_run_has_one_video_of_the_whole() {
        let out = tempfile::tempdir().expect("a folder");
        let folder = RunFolder::create(out.path(), "run").expect("a run");
        let paint = |steps: std::ops::RangeInclusive<usize>, done| {
            let mut sink = FrameSink::open(&folder, &options(2), [4, 4], 9, done).expect("a sink");
            for step in steps.clone() {
                if sink.wants(step) {
                    sink.take(&folder, step, &shade(step as u8))
                        .expect("a frame");
                }
            }
            let last = sink.finish(&shade(100 + *steps.end() as u8));
            levels(&last.expect("a video").expect("a requested video"))
        };
        assert_eq!(paint(1..=5, 0), [2, 4, 105]);
        // the frame after step 4 was written by a run that was lost after its checkpoint at step 3
        assert_eq!(paint(4..=9, 3), [2, 4, 6, 8, 109]);
    }

    #[test]
    fn a_video_that_fails_lets_the_frames_go_on() {
        let out = tempfile::tempdir().expect("a folder");
        let folder = RunFolder::create(out.path(), "run").expect("a run");
        let mut sink = FrameSink::open(&folder, &options(1), [4, 4], 9, 0).expect("a sink");
        sink.video = Some(Err(VideoError::Empty));
        sink.take(&folder, 1, &shade(1)).expect("a frame");
        assert!(folder.path().join("frames/frame-00001.png").exists());
        assert!(sink.finish(&shade(2)).is_err());
    }
}
