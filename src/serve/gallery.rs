//! The runs of a folder.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::UNIX_EPOCH;

use image::codecs::jpeg::JpegEncoder;
use serde::{Deserialize, Serialize};

use super::access::{file_within, is_plain};
use crate::recipe::{PartialRecipe, VideoKind};
use crate::run::{CHECKPOINT, IMAGE, METRICS, RECIPE, video};

/// The name under which a small picture of a run is found.
pub(super) const THUMBNAIL: &str = "thumbnail.jpg";
/// Its longer side, in pixels.
const THUMBNAIL_SIDE: u32 = 320;
/// At most this many runs are listed, the newest.
const MOST: usize = 200;
/// The end of a run's metrics that is read for its last line.
const TAIL: u64 = 64 << 10;

/// A run in the folder.
#[derive(Serialize)]
pub(super) struct Listed {
    name: String,
    /// When its picture or recipe was written last, in seconds since 1970.
    modified: u64,
    /// Whether there is a picture.
    picture: bool,
    /// The file name of its video.
    video: Option<String>,
    /// Whether there is a checkpoint to continue from.
    checkpoint: bool,
    /// Steps done.
    step: usize,
    /// The number of steps of its recipe.
    steps: Option<usize>,
    /// Whether it was stopped before its last step.
    stopped: bool,
    seed: Option<u64>,
    size: Option<[usize; 2]>,
    /// The texts of its prompts, as they were last.
    prompts: Vec<String>,
}

/// The runs of a folder, the newest first.
pub(super) fn list(dir: &Path) -> Vec<Listed> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<(u64, String)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            is_plain(&name).then_some(())?;
            let path = entry.path();
            let times = [IMAGE, RECIPE].map(|file| modified(&path.join(file)));
            Some((times.into_iter().flatten().max()?, name))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.truncate(MOST);
    (found.into_iter())
        .map(|(modified, name)| describe(dir, name, modified))
        .collect()
}

fn describe(dir: &Path, name: String, modified: u64) -> Listed {
    let has = |file: &str| file_within(dir, &name, file).is_some();
    let video = [VideoKind::Mp4, VideoKind::Webp, VideoKind::Gif].map(video::file_name);
    let recipe = (file_within(dir, &name, RECIPE))
        .and_then(|path| PartialRecipe::load(&path).ok()?.unchecked().ok());
    let prompts = recipe.as_ref().map(|recipe| {
        let edited = recipe
            .timeline
            .iter()
            .rev()
            .find_map(|edit| edit.prompts.as_ref());
        edited.unwrap_or(&recipe.prompts)
    });
    let texts = prompts
        .into_iter()
        .flatten()
        .flat_map(|prompt| prompt.texts());
    Listed {
        modified,
        picture: has(IMAGE),
        video: video.into_iter().find(|file| has(file)),
        checkpoint: has(CHECKPOINT),
        step: last_step(dir, &name).unwrap_or(0),
        steps: (recipe.as_ref())
            .map(|recipe| recipe.clone().without_stops(usize::MAX).total_steps()),
        stopped: recipe
            .as_ref()
            .is_some_and(|recipe| recipe.stops_at().is_some()),
        seed: recipe.as_ref().map(|recipe| recipe.seed),
        size: recipe.as_ref().map(|recipe| recipe.size),
        prompts: texts.map(ToOwned::to_owned).collect(),
        name,
    }
}

fn modified(path: &Path) -> Option<u64> {
    let time = fs::metadata(path).ok()?.modified().ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// The step of the last whole line of a run's metrics.
fn last_step(dir: &Path, name: &str) -> Option<usize> {
    #[derive(Deserialize)]
    struct Line {
        step: usize,
    }
    let mut file = File::open(file_within(dir, name, METRICS)?).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))
        .ok()?;
    let mut tail = vec![];
    file.take(TAIL).read_to_end(&mut tail).ok()?;
    let mut lines = tail.split(|byte| *byte == b'\n').rev();
    lines.find_map(|line| Some(serde_json::from_slice::<Line>(line).ok()?.step))
}

/// The media type of a file of a run that may be read; `None` of others.
pub(super) fn media_type(file: &str) -> Option<&'static str> {
    Some(match file {
        IMAGE => "image/png",
        THUMBNAIL => "image/jpeg",
        RECIPE => "application/yaml; charset=utf-8",
        METRICS => "application/x-ndjson",
        "video.mp4" => "video/mp4",
        "video.webp" => "image/webp",
        "video.gif" => "image/gif",
        _ => return None,
    })
}

/// A small JPEG of a run's picture.
pub(super) fn thumbnail(dir: &Path, name: &str) -> Option<Vec<u8>> {
    let image = image::open(file_within(dir, name, IMAGE)?).ok()?;
    let small = if image.width().max(image.height()) > THUMBNAIL_SIDE {
        image.thumbnail(THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    } else {
        image
    };
    let mut bytes = vec![];
    let encoder = JpegEncoder::new_with_quality(&mut bytes, 85);
    small.to_rgb8().write_with_encoder(encoder).ok()?;
    Some(bytes)
}
