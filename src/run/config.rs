//! The section `output` of a recipe.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is written while a render runs, and in what pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Output")]
pub struct OutputConfig {
    /// The number of steps from one frame to the next. 0 writes no frames, or with `video` as many as a video of about eight seconds needs.
    pub every: usize,
    /// Make a video of the frames.
    pub video: Option<VideoKind>,
    /// Frames of the video per second.
    #[schemars(range(min = 0.1, max = 120.0))]
    pub fps: f64,
    /// The number of steps from one checkpoint, to resume from, to the next. 0 writes only one, at the end.
    pub checkpoint: usize,
    /// Pixel art: the picture consists of square blocks of so many pixels, and CLIP sees it so. Width and height must be multiples of it.
    #[schemars(range(min = 1, max = 4096))]
    pub pixel_size: usize,
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self {
            every: 0,
            video: None,
            fps: 20.0,
            checkpoint: 50,
            pixel_size: 1,
        }
    }
}

/// Formats of videos.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VideoKind {
    /// 256 colours per frame; plays everywhere.
    Gif,
    /// H.264; needs ffmpeg.
    Mp4,
    /// Lossless, and larger than the others; plays in browsers.
    Webp,
}

/// The extension of its files.
impl fmt::Display for VideoKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gif => "gif",
            Self::Mp4 => "mp4",
            Self::Webp => "webp",
        })
    }
}
