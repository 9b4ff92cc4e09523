//! The VQGAN step: a picture of 256 x 256 decoded from 16 x 16 latents by a decoder of f16_1024's shape, and the gradient of that
//! picture taken back to the latents. `benches/peers/vqgan_step.py` is the same work in PyTorch.
//!
//! `cargo bench --bench vqgan_step [-- REPEATS]` prints a line of JSON.

use std::time::Instant;

use candle_core::{Device, Tensor};
use generators::Autoencoder;
use generators::autoencoder::VqganConfig;
use weights::checkpoint::{Branch, Checkpoint};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let repeats = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .next()
        .unwrap_or(5);
    let device = Device::Cpu;
    let weights = Checkpoint::random(1);
    let config = VqganConfig::f16_1024();
    let vqgan = Autoencoder::taming(Branch::root(&weights, &device), &config)?;
    let values: Vec<f32> = (0..256 * 16 * 16)
        .map(|i| (0.37 * i as f32).sin())
        .collect();
    let z = Tensor::from_vec(values, (1, 256, 16, 16), &device)?;
    let (mut whole, mut forward) = (vec![], vec![]);
    for repeat in 0..repeats + 1 {
        let start = Instant::now();
        let (image, pullback) = vqgan.decode_vjp(&z, None)?;
        let decoded = start.elapsed().as_secs_f64();
        let grad = pullback(&image)?;
        assert_eq!(grad.dims(), z.dims());
        // the first warms caches and the allocator
        if repeat > 0 {
            whole.push(start.elapsed().as_secs_f64());
            forward.push(decoded);
        }
    }
    whole.sort_by(f64::total_cmp);
    forward.sort_by(f64::total_cmp);
    println!(
        "{}",
        serde_json::json!({
            "name": "vqgan-f16-1024",
            "seconds_min": whole[0],
            "seconds_median": whole[whole.len() / 2],
            "decode_seconds_min": forward[0],
            "repeats": repeats,
        })
    );
    Ok(())
}
