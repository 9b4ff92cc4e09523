//! The step of any CLIP: the loss of eight cutouts and its gradient with respect to their pixels, through the image tower in a folder.
//! `benches/peers/open_clip_step.py` makes such folders, is the same work in PyTorch, and leaves what this compares its results with.
//!
//! `cargo bench --bench open_clip_step -- FOLDER.. [REPEATS]` prints a line of JSON for each folder.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use candle_core::{Device, Tensor};
use frozen::Layer;
use phantasia::clip::files::ClipFiles;
use phantasia::clip::{DTypePolicy, Tower};
use phantasia::objective::{Target, prompt_loss};
use phantasia::recipe::{Distance, Select};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CUTOUTS: usize = 8;

/// The embeddings and the gradient.
fn step(tower: &Tower, x: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
    let (embeddings, pullback) = tower.vjp(x)?;
    let (n, width) = embeddings.dims2()?;
    let target = Target {
        vector: vec![1.0 / (width as f32).sqrt(); width],
        weight: 1.0,
        stop: None,
    };
    let values = embeddings.flatten_all()?.to_vec1::<f32>()?;
    let targets = std::slice::from_ref(&target);
    let found = prompt_loss(&values, width, targets, &[], Distance::Cosine, Select::All);
    let grads = found.grads.iter().map(|grad| grad / n as f32).collect();
    let grad = pullback(&Tensor::from_vec(grads, (n, width), x.device())?)?;
    Ok((embeddings, grad))
}

/// The largest difference as a share of the largest expected value.
fn difference(found: &Tensor, expected: &Tensor) -> candle_core::Result<f64> {
    let largest = |x: &Tensor| x.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>();
    Ok(f64::from(
        largest(&(found - expected)?)? / largest(expected)?,
    ))
}

/// Seconds that the threads of this process have run, where the system has `/proc`.
fn processor_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let spent = tasks.filter_map(|task| {
        let stat = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<f64>().ok()
    });
    spent.sum::<f64>() / 1e9
}

fn measure(folder: &Path, repeats: usize) -> Result<serde_json::Value> {
    let device = Device::Cpu;
    let start = Instant::now();
    let (checkpoint, config) = ClipFiles::in_folder(folder)?.open()?;
    let name = folder.display().to_string();
    let tower = Tower::build(&name, &config, &checkpoint, DTypePolicy::F32, &device)?;
    let load = start.elapsed().as_secs_f64();
    let side = tower.size();
    let values: Vec<f32> = (0..CUTOUTS * 3 * side * side)
        .map(|i| (0.5 + 0.4 * (0.37 * i as f64).sin()) as f32)
        .collect();
    let x = Tensor::from_vec(values, (CUTOUTS, 3, side, side), &device)?;
    // the first two warm caches and the allocator
    step(&tower, &x)?;
    let (embeddings, grad) = step(&tower, &x)?;
    let reference = folder.join("reference.safetensors");
    let differences = if reference.exists() {
        let reference = candle_core::safetensors::load(reference, &device)?;
        Some([
            difference(&embeddings, &reference["image_embeds"])?,
            difference(&grad, &reference["grad"])?,
        ])
    } else {
        None
    };
    let (mut seconds, mut processors) = (vec![], vec![]);
    for _ in 0..repeats {
        let (start, spent) = (Instant::now(), processor_seconds());
        step(&tower, &x)?;
        seconds.push(start.elapsed().as_secs_f64());
        processors.push(processor_seconds() - spent);
    }
    seconds.sort_by(f64::total_cmp);
    processors.sort_by(f64::total_cmp);
    Ok(serde_json::json!({
        "name": name,
        "seconds_min": seconds[0],
        "seconds_median": seconds[seconds.len() / 2],
        "processor_seconds_min": processors[0],
        "repeats": repeats,
        "load_seconds": load,
        "bytes_per_image": tower.bytes_per_image(),
        "differences": differences,
    }))
}

fn main() -> Result<()> {
    let arguments = std::env::args().skip(1).filter(|it| !it.starts_with("--"));
    let (numbers, folders): (Vec<_>, Vec<_>) =
        arguments.partition(|argument| argument.parse::<usize>().is_ok());
    let repeats = numbers.first().and_then(|it| it.parse().ok());
    for folder in folders.iter().map(PathBuf::from) {
        println!("{}", measure(&folder, repeats.unwrap_or(10).max(1))?);
    }
    Ok(())
}
