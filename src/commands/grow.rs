//! `phantasia grow`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use image::RgbImage;
use phantasia::grow::{self, Garden, Growth};
use phantasia::preview::{GardenWindow, Preview, Surroundings};
use phantasia::recipe::VideoKind;
use phantasia::run::{
    RULE, RunFolder,
    video::{self, VideoWriter},
    without_number,
};
use serde::Serialize;

use super::company::{self, INTERRUPTED};
use super::console::{note, say};
use super::device;
use crate::cli::{GrowArgs, GrowVideo};

/// A video has about so many frames, a twentieth of a second each.
const FRAMES: usize = 160;
const FPS: f64 = 20.0;
/// So long a video shows the grown pattern.
const LAST_SECONDS: f64 = 1.0;
/// In the window an iteration takes at least so long, else growing is over before one has seen it.
const PACE: Duration = Duration::from_millis(20);

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    run: String,
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    video: Option<String>,
    steps: usize,
    seconds: f64,
    device: String,
}

/// Grows a pattern.
pub fn run(args: &GrowArgs) -> Result<ExitCode> {
    let size = args.size;
    let kind = args.video.map(VideoKind::from);
    if let Some(kind) = kind {
        video::available(kind)?;
    }
    let stop = company::interrupt()?;
    let (device, device_name) = device::open(args.device)?;
    let rule = grow::load(&args.rule, &device)?;
    let mut growth = Growth::new(rule, size, args.seed)?;
    // before the run folder is created, so that a failure leaves no empty folder behind
    let window = (args.live)
        .then(|| -> Result<_> {
            Surroundings::now().check(Preview::Window)?;
            GardenWindow::open("Phantasia")
        })
        .transpose()?;
    let folder = Arc::new(RunFolder::create(&args.out, &name(&args.rule))?);
    let start = Instant::now();
    let (picture, video, interrupted);
    if let Some(window) = window {
        growth = tend(growth, window, &folder, &stop)?;
        picture = growth.image()?;
        (video, interrupted) = (None, false);
    } else {
        (picture, video) = film(args, &folder, &mut growth, &stop)?;
        interrupted = growth.steps() < args.steps;
    }
    let image = folder.write_image(&picture, None)?;
    if interrupted {
        note(format_args!(
            "interrupted after step {} of {}; what has grown so far is saved",
            growth.steps(),
            args.steps
        ));
    }
    if args.json {
        let report = Report {
            run: folder.path().display().to_string(),
            image: image.display().to_string(),
            video: video.map(|path| path.display().to_string()),
            steps: growth.steps(),
            seconds: start.elapsed().as_secs_f64(),
            device: device_name,
        };
        say(serde_json::to_string(&report)?)?;
    } else {
        say(image.display())?;
    }
    Ok(match interrupted {
        true => ExitCode::from(INTERRUPTED),
        false => ExitCode::SUCCESS,
    })
}

/// Grows the pattern to its end, and films it if that is asked for. The picture, and the video's file.
fn film(
    args: &GrowArgs,
    folder: &RunFolder,
    growth: &mut Growth,
    stop: &AtomicBool,
) -> Result<(RgbImage, Option<PathBuf>)> {
    let size = args.size;
    let mut movie = match args.video.map(VideoKind::from) {
        None => None,
        Some(kind) => {
            let path = folder.path().join(video::file_name(kind));
            let size = (size[0] as u32, size[1] as u32);
            Some(VideoWriter::create(&path, kind, size, FPS)?)
        }
    };
    let every = args.steps.div_ceil(FRAMES).max(1);
    if let Some(movie) = &mut movie {
        movie.push(&growth.image()?)?;
    }
    while growth.steps() < args.steps && !stop.load(Ordering::Relaxed) {
        let until = (growth.steps() / every + 1) * every;
        let damage = (args.damage).filter(|step| (growth.steps()..until).contains(step));
        if let Some(step) = damage {
            growth.grow(step - growth.steps())?;
            let [width, height] = size.map(|side| side as f64);
            growth.damage(width / 2.0, height / 2.0, width.min(height) / 4.0)?;
        }
        growth.grow(until.min(args.steps) - growth.steps())?;
        if let Some(movie) = &mut movie {
            movie.push(&growth.image()?)?;
        }
    }
    let picture = growth.image()?;
    let video = match movie {
        None => None,
        Some(mut movie) => {
            movie.hold(&picture, LAST_SECONDS)?;
            Some(movie.finish()?)
        }
    };
    Ok((picture, video))
}

/// Lets the pattern grow in a window until that is closed; the pattern as it is then.
fn tend(
    growth: Growth,
    mut window: GardenWindow,
    folder: &Arc<RunFolder>,
    stop: &Arc<AtomicBool>,
) -> Result<Growth> {
    window.set_title(&format!("Phantasia: {}", folder.path().display()));
    let snapshots = Arc::clone(folder);
    let garden = Garden::plant(growth, PACE, Arc::clone(stop), move |steps, image| {
        Ok(snapshots.write_snapshot(steps, image, None)?)
    })?;
    // what has grown is kept, whatever becomes of the window
    if let Err(error) = window.run(&garden) {
        note(format_args!("{error:#}"));
    }
    garden.join()
}

/// Runs are named after the rule's file, or after the run folder that it lies in.
fn name(rule: &Path) -> String {
    let is_rule = rule.file_name().is_some_and(|name| name == RULE);
    let named = match rule.parent() {
        Some(folder) if is_rule && folder.file_name().is_some() => folder,
        _ => rule,
    };
    let stem = named.file_stem().unwrap_or_default().to_string_lossy();
    format!("{}-grown", without_number(&stem))
}

impl From<GrowVideo> for VideoKind {
    fn from(kind: GrowVideo) -> Self {
        match kind {
            GrowVideo::Gif => Self::Gif,
            GrowVideo::Mp4 => Self::Mp4,
            GrowVideo::Webp => Self::Webp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_named_after_the_rules_run() {
        for (rule, expected) in [
            ("outputs/leaves-003/rule.safetensors", "leaves-grown"),
            ("outputs/leaves-003", "leaves-grown"),
            ("moss.safetensors", "moss-grown"),
            ("rule.safetensors", "rule-grown"),
        ] {
            assert_eq!(name(Path::new(rule)), expected);
        }
    }
}
