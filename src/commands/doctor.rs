//! `phantasia doctor`

use std::env::consts::{ARCH, OS};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use candle_core::Device;
use clap::Args;
use phantasia::clip::Clip;
use phantasia::recipe::{Prompt, Recipe, VideoKind};
use phantasia::run::video;
use phantasia::session::Session;
use phantasia::ui::{Environment, PreviewError};
use serde_json::{Value, json};

use super::arguments::DeviceChoice::{self, Cpu, Cuda, Metal};
use super::console::{print_json, print_line};

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// A property of this machine or of the program: its name, its value, and whether it works; true where nothing can fail.
type Finding = (&'static str, Value, bool);

/// Inspects the machine and paints one step.
pub fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let fact = |name, value| (name, value, true);
    let mebibytes = |bytes: Option<u64>| json!(bytes.map(|bytes| bytes >> 20));
    let findings = [
        fact("version", json!(env!("CARGO_PKG_VERSION"))),
        fact("system", json!(format!("{OS} {ARCH}"))),
        fact("cpu_features", json!(cpu_features())),
        fact("threads", json!(threads())),
        fact("memory_mib", mebibytes(memory("MemTotal:"))),
        fact("memory_free_mib", mebibytes(memory("MemAvailable:"))),
        fact("devices_built", json!(built())),
        fact("devices_found", json!(found())),
        fact("display", display()),
        fact("ffmpeg", ffmpeg()),
        tried("embedded_model", embedded_model),
        tried("self_test", self_test),
    ];
    let ok = findings.iter().all(|(_, _, works)| *works);
    if args.json {
        let mut report = json!({ "ok": ok });
        for (name, value, _) in findings {
            report[name] = value;
        }
        print_json(&report)?;
    } else {
        for (name, value, works) in &findings {
            let mark = if *works { " " } else { "!" };
            print_line(format_args!("{mark} {name:<16} {}", words(value)))?;
        }
        print_line(if ok {
            "  all is well"
        } else {
            "! see the lines with a mark"
        })?;
    }
    Ok(ExitCode::from(u8::from(!ok)))
}

fn words(value: &Value) -> String {
    match value {
        Value::Null => "unknown".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn tried(name: &'static str, test: fn() -> Result<String>) -> Finding {
    match test() {
        Ok(words) => (name, json!(words), true),
        Err(error) => (name, json!(format!("{error:#}")), false),
    }
}

/// The features of the CPU that matter to matrix products.
fn cpu_features() -> Vec<&'static str> {
    let mut features = vec![];
    macro_rules! look {
        ($detect:ident: $($name:tt),*) => {
            $(if std::arch::$detect!($name) { features.push($name); })*
        };
    }
    #[cfg(target_arch = "x86_64")]
    look!(is_x86_feature_detected: "sse4.2", "avx", "avx2", "fma", "f16c", "avx512f");
    #[cfg(target_arch = "aarch64")]
    look!(is_aarch64_feature_detected: "neon", "fp16", "dotprod", "bf16");
    features
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// An entry of /proc/meminfo in bytes, where there is one.
fn memory(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

fn built() -> Vec<&'static str> {
    (["cpu"].into_iter())
        .chain(cfg!(feature = "cuda").then_some("cuda"))
        .chain(cfg!(feature = "metal").then_some("metal"))
        .collect()
}

fn found() -> Vec<String> {
    ([Cpu, Cuda(0), Metal].into_iter())
        .filter_map(|choice| Some(choice.open().ok()?.1))
        .collect()
}

fn display() -> Value {
    let named = (["WAYLAND_DISPLAY", "DISPLAY"].into_iter())
        .find_map(|name| Some(format!("{name}={}", std::env::var(name).ok()?)));
    let is_dead = Environment::current().window == Err(PreviewError::DeadDisplay);
    let note = if is_dead { " (does not answer)" } else { "" };
    json!(named.map_or("none".to_owned(), |display| display + note))
}

/// Whether ffmpeg, which videos of kind mp4 need, is found.
fn ffmpeg() -> Value {
    json!(match video::available(VideoKind::Mp4) {
        Ok(()) => "found (for `video: mp4`)".to_owned(),
        Err(error) => format!("none: {error}"),
    })
}

fn embedded_model() -> Result<String> {
    let start = Instant::now();
    Clip::embedded(&Device::Cpu)?;
    let milliseconds = start.elapsed().as_secs_f64() * 1e3;
    Ok(format!("loads in {milliseconds:.0} ms"))
}

/// One step of a small picture, on the device that a render would take.
fn self_test() -> Result<String> {
    let (device, name) = DeviceChoice::Auto.open()?;
    let mut recipe = Recipe::new(vec![Prompt::new("a red square")]);
    recipe.size = [64, 64];
    recipe.steps = 1;
    let mut session = Session::new(&recipe, &device)?;
    let tick = session.tick()?;
    session.image()?;
    let milliseconds = tick.seconds * 1e3;
    Ok(format!("one step on {name} in {milliseconds:.0} ms"))
}
