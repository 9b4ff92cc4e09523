//! `phantasia grow`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use phantasia::grow::{self, GrowWorker, Growth};
use phantasia::recipe::VideoKind;
use phantasia::run::video::{self, VideoWriter};
use phantasia::run::{RULE, RunFolder, without_number};
use phantasia::ui::{Environment, GrowWindow, Preview};
use serde_json::json;

use super::arguments::{DeviceArgs, one_of, steps};
use super::console::{eprint_line, print_json, print_line};
use super::interrupt::{exit_code, interrupt};

/// Frames of the video per second.
const FPS: f64 = 20.0;
const VIDEOS: [(&str, &str, VideoKind); 3] = [
    ("gif", "256 colours; plays everywhere", VideoKind::Gif),
    ("mp4", "H.264; needs ffmpeg", VideoKind::Mp4),
    ("webp", "Lossless; plays in browsers", VideoKind::Webp),
];
/// The least time for an iteration in the window, where growing would otherwise be too fast to see.
const PACE: Duration = Duration::from_millis(20);

/// Arguments of `grow`.
#[derive(Debug, Args)]
pub struct GrowArgs {
    /// The rule (rule.safetensors), or the run folder that holds it
    rule: PathBuf,
    /// Width and height in pixels
    #[arg(long, value_name = "WxH", default_value = "256x256", value_parser = grid)]
    size: [usize; 2],
    /// Iterations of the rule
    #[arg(long, value_name = "N", default_value_t = 320, value_parser = steps, allow_negative_numbers = true)]
    steps: usize,
    /// The seed of every random number
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Write a video
    #[arg(long, value_name = "KIND", value_parser = one_of(VIDEOS))]
    video: Option<VideoKind>,
    /// Show it in a window, in which a click damages the pattern, until the window is closed
    #[arg(long, conflicts_with_all = ["steps", "video", "damage"])]
    live: bool,
    /// Erase a disc in the middle after this many iterations, to see it regenerate
    #[arg(long, value_name = "STEP")]
    damage: Option<usize>,
    /// Device
    #[command(flatten)]
    device: DeviceArgs,
    /// Create run folders in this folder
    #[arg(long, value_name = "DIR", default_value = "outputs")]
    out: PathBuf,
    /// Print one JSON object about the run on standard output
    #[arg(long)]
    json: bool,
}

/// Grows a pattern.
pub fn run(args: &GrowArgs) -> Result<ExitCode> {
    let size = args.size;
    if let Some(kind) = args.video {
        video::available(kind)?;
    }
    let stop = interrupt("step")?;
    let (device, device_name) = args.device.open()?;
    let rule = grow::load(&args.rule, &device)?;
    let mut growth = Growth::new(rule, size, args.seed)?;
    // before the run folder is created, so that a failure leaves no empty folder behind
    let window = (args.live)
        .then(|| -> Result<_> {
            Environment::current().check(Preview::Window)?;
            GrowWindow::open("Phantasia")
        })
        .transpose()?;
    let folder = Arc::new(RunFolder::create(&args.out, &name(&args.rule))?);
    let start = Instant::now();
    let (mut video, mut interrupted) = (None, false);
    if let Some(window) = window {
        growth = show(growth, window, &folder, &stop)?;
    } else {
        let mut writer = None;
        if let Some(kind) = args.video {
            let path = folder.path().join(video::file_name(kind));
            let size = (size[0] as u32, size[1] as u32);
            writer = Some(VideoWriter::create(&path, kind, size, FPS)?);
        }
        video = growth.film(args.steps, args.damage, writer, &stop)?;
        interrupted = growth.steps() < args.steps;
    }
    let image = folder.write_image(&growth.image()?, None)?;
    if interrupted {
        let (done, all) = (growth.steps(), args.steps);
        eprint_line(format_args!(
            "interrupted after step {done} of {all}; what has grown so far is saved"
        ));
    }
    if args.json {
        let mut report = json!({
            "run": folder.path().display().to_string(),
            "image": image.display().to_string(),
        });
        if let Some(path) = video {
            report["video"] = json!(path.display().to_string());
        }
        report["steps"] = json!(growth.steps());
        report["seconds"] = json!(start.elapsed().as_secs_f64());
        report["device"] = json!(device_name);
        print_json(&report)?;
    } else {
        print_line(image.display())?;
    }
    Ok(exit_code(interrupted))
}

/// Lets the pattern grow in a window until it is closed. Returns the pattern.
fn show(
    growth: Growth,
    mut window: GrowWindow,
    folder: &Arc<RunFolder>,
    stop: &Arc<AtomicBool>,
) -> Result<Growth> {
    window.set_title(&format!("Phantasia: {}", folder.path().display()));
    let worker = GrowWorker::spawn(growth, PACE, Arc::clone(stop), Arc::clone(folder))?;
    // what has grown is kept, even if the window fails
    if let Err(error) = window.run(&worker) {
        eprint_line(format_args!("{error:#}"));
    }
    worker.join()
}

/// Runs are named after the rule's file, or after the run folder that it lies in.
fn name(rule: &Path) -> String {
    let inside = rule.file_name().is_some_and(|name| name == RULE);
    let named = match rule.parent() {
        Some(folder) if inside && folder.file_name().is_some() => folder,
        _ => rule,
    };
    let stem = named.file_stem().unwrap_or_default().to_string_lossy();
    format!("{}-grown", without_number(&stem))
}

/// `WIDTHxHEIGHT` of a pattern.
fn grid(text: &str) -> Result<[usize; 2], String> {
    const LONGEST: usize = 16_384;
    const MOST_CELLS: usize = 1 << 24;
    let sides = text.split_once(['x', 'X']).and_then(|(width, height)| {
        Some([width.trim().parse().ok()?, height.trim().parse().ok()?])
    });
    (sides.filter(|sides| sides.iter().all(|side| (1..=LONGEST).contains(side))))
        .filter(|[width, height]| width * height <= MOST_CELLS)
        .ok_or_else(|| {
            format!(
                "expected width and height, such as 256x256: sides up to {LONGEST}, at most {MOST_CELLS} pixels"
            )
        })
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
