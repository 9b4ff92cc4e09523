//! A neural cellular automaton's training step: forward and backward through many iterations. `benches/peers/cellular.py` is the same
//! work in PyTorch.
//!
//! `cargo bench --bench cellular [-- ITERATIONS REPEATS]` prints a line of JSON: seconds, and the most memory that the process held.

use std::time::Instant;

use candle_core::{Device, Result, Tensor};
use generators::cellular::{Padding, Rule, RuleConfig};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CHANNELS: usize = 12;
const HIDDEN: usize = 128;
const SHAPE: (usize, usize, usize, usize) = (4, CHANNELS, 128, 128);

fn main() -> Result<()> {
    // cargo passes `--bench`
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<usize>().ok());
    let iterations = numbers.next().unwrap_or(64);
    let repeats = numbers.next().unwrap_or(3);
    let wave = |count: usize, scale: f32| -> Vec<f32> {
        (0..count).map(|i| scale * (1.7 * i as f32).sin()).collect()
    };
    let cpu = &Device::Cpu;
    let config = RuleConfig {
        channels: CHANNELS,
        hidden: HIDDEN,
        fire_rate: 0.5,
        padding: Padding::Circular,
    };
    let rule = Rule::new(config.clone(), 1, cpu)?;
    let w2 = Tensor::from_vec(wave(CHANNELS * HIDDEN, 0.005), (CHANNELS, HIDDEN), cpu)?;
    let [w1, b1, _] = rule.weights().map(Tensor::clone);
    let rule = Rule::from_parts(config, w1, b1, w2)?;
    let (b, c, h, w) = SHAPE;
    let state = Tensor::from_vec(wave(b * c * h * w, 0.1), SHAPE, cpu)?;
    let grad = Tensor::from_vec(wave(b * c * h * w, 1e-4), SHAPE, cpu)?;
    let mut best = [f64::INFINITY; 2];
    for repeat in 0..repeats {
        let start = Instant::now();
        let (_, back) = rule.rollout(&state, iterations, repeat as u64)?;
        let forward = start.elapsed().as_secs_f64();
        back(&grad)?;
        let both = start.elapsed().as_secs_f64();
        best = [best[0].min(forward), best[1].min(both)];
    }
    let peak = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = (peak.lines()).find_map(|line| line.strip_prefix("VmHWM:"));
    println!(
        "{{\"iterations\":{iterations},\"forward\":{:.3},\"both\":{:.3},\"peak\":\"{}\"}}",
        best[0],
        best[1],
        peak.unwrap_or("unknown").trim()
    );
    Ok(())
}
