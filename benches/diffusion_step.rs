//! A step of guided diffusion: the clean image that a `UNet2DModel` sees in a noisy one, and a gradient of it back to the noisy one.
//! `benches/peers/diffusion_step.py` is the same work in PyTorch.
//!
//! `cargo bench --bench diffusion_step -- [ddpm|small] [around|through|recompute] [REPEATS]` prints a line of JSON, with the most memory that
//! the process has held where the system tells. `ddpm` is google/ddpm-cat-256 at 256 x 256, `small` a network of 64 x 64.

use std::sync::Arc;
use std::time::Instant;

use candle_core::{Device, Tensor};
use generators::diffusion::{
    Denoiser, DiscreteDenoiser, LoadOptions, OneOrMany, Prediction, SchedulerConfig, UNet,
    UNetConfig, noise,
};
use weights::checkpoint::Checkpoint;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The most memory that the process has held, in MiB.
fn peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let is = |word: &str| words.iter().any(|other| other == word);
    let repeats = (words.iter().filter_map(|word| word.parse().ok()))
        .next()
        .unwrap_or(3);
    let (name, config, side) = match is("small") {
        true => {
            let words = |words: [&str; 4]| words.map(str::to_owned).to_vec();
            let (down, up) = ("DownBlock2D", "UpBlock2D");
            let config = UNetConfig {
                block_out_channels: vec![32, 64, 96, 160],
                down_block_types: words([down, down, "AttnDownBlock2D", "AttnDownBlock2D"]),
                up_block_types: words(["AttnUpBlock2D", "AttnUpBlock2D", up, up]),
                layers_per_block: 1,
                norm_num_groups: 16,
                attention_head_dim: Some(OneOrMany::One(32)),
                ..UNetConfig::default()
            };
            ("small", config, 64)
        }
        false => ("ddpm", UNetConfig::ddpm_256(), 256),
    };
    let mode = ["around", "recompute"]
        .into_iter()
        .find(|mode| is(mode))
        .unwrap_or("through");
    let device = Device::Cpu;
    let options = LoadOptions {
        recompute: mode == "recompute",
        ..LoadOptions::default()
    };
    let unet = UNet::new(config, &Checkpoint::random(1), &device, options)?;
    let model = DiscreteDenoiser {
        network: Arc::new(unet),
        levels: SchedulerConfig::default().levels()?,
        prediction: Prediction::Epsilon,
        clip: None,
    };
    let x = noise(1, 0, &[1, 3, side, side], &device)?;
    let grad = Tensor::ones_like(&x)?;
    let before = peak();
    let mut seconds = vec![];
    for repeat in 0..=repeats {
        let start = Instant::now();
        match mode {
            "around" => {
                model.eval(&x, 1.0)?;
            }
            _ => {
                let (_, pullback) = model.vjp(&x, 1.0)?;
                pullback(&grad)?;
            }
        }
        // the first warms caches and the allocator
        if repeat > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    seconds.sort_by(f64::total_cmp);
    println!(
        "{}",
        serde_json::json!({
            "name": format!("diffusion_step/{name}/{mode}"),
            "seconds_min": seconds[0],
            "seconds_median": seconds[seconds.len() / 2],
            "repeats": repeats,
            "weights_mib": before,
            "peak_mib": peak(),
        })
    );
    Ok(())
}
