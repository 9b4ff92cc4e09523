//! The CLIP step: the loss of eight cutouts, or of 64 on a GPU, and its gradient with respect to their pixels.
//! `benches/peers/clip_step.py` is the same work in PyTorch.
//!
//! `cargo bench --bench clip_step [-- REPEATS]` prints a line of JSON for each size; with `--features cuda`, `-- cuda` times the GPU,
//! and prints the relative difference between its gradient and the CPU's.

use std::time::Instant;

use candle_core::{Device, Result, Tensor};
use frozen::{Activation, Layer};
use phantasia::clip::config::{
    ClipConfig, Layout, MEAN, STD, StackConfig, TextConfig, TextKind, TextPool, TextProjection,
    TokenRules, VisionConfig, VisionKind, VisionPool, VitConfig,
};
use phantasia::clip::preprocess::{CropRounding, Preprocess};
use phantasia::clip::{DTypePolicy, Tower};
use phantasia::objective::{Target, prompt_loss};
use phantasia::recipe::{Distance, Select};
use weights::checkpoint::Checkpoint;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The relative distance of two gradients.
fn distance(a: &Tensor, b: &Tensor) -> Result<f32> {
    let norm = |t: &Tensor| t.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>();
    Ok(norm(&(a - b)?)? / norm(b)?)
}

fn config(
    image: usize,
    patch: usize,
    width: usize,
    layers: usize,
    heads: usize,
    projection: usize,
) -> ClipConfig {
    let stack = StackConfig {
        width,
        hidden: 4 * width,
        layers,
        heads,
        activation: Activation::QuickGelu,
        eps: 1e-5,
        layer_scale: false,
    };
    ClipConfig {
        layout: Layout::HuggingFace,
        projection,
        vision: VisionConfig {
            image_size: image,
            kind: VisionKind::Transformer(VitConfig {
                patch,
                stack,
                class_token: true,
                patch_bias: false,
                pre_norm: true,
                pool: VisionPool::ClassToken,
            }),
        },
        text: TextConfig {
            kind: TextKind::Clip,
            vocabulary: 8,
            context: 8,
            stack,
            causal: true,
            pool: TextPool::Highest,
            projection: TextProjection::Matrix,
            tokens: TokenRules::default(),
        },
        mean: MEAN,
        std: STD,
        preprocess: Preprocess::new(image, CropRounding::Floor),
    }
}

fn step(tower: &Tower, x: &Tensor, target: &Target) -> Result<Tensor> {
    let (embeddings, pullback) = tower.vjp(x)?;
    let (n, width) = embeddings.dims2()?;
    let values = embeddings.flatten_all()?.to_vec1::<f32>()?;
    let found = prompt_loss(
        &values,
        width,
        std::slice::from_ref(target),
        &[],
        Distance::Cosine,
        Select::All,
    );
    let grads = found.grads.iter().map(|grad| grad / n as f32).collect();
    pullback(&Tensor::from_vec(grads, (n, width), x.device())?)
}

fn main() -> anyhow::Result<()> {
    let repeats = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .next()
        .unwrap_or(10);
    let (device, cutouts) = match std::env::args().any(|argument| argument == "cuda") {
        true => (Device::new_cuda(0)?, 64),
        false => (Device::Cpu, 8),
    };
    for (name, config) in [
        ("vit-b-32", config(224, 32, 768, 12, 12, 512)),
        ("tiny", config(64, 8, 192, 6, 6, 256)),
    ] {
        let build = |device: &Device| {
            let checkpoint = Checkpoint::random(1);
            Tower::build(name, &config, &checkpoint, DTypePolicy::F32, device)
        };
        let tower = build(&device)?;
        let side = config.vision.image_size;
        let values: Vec<f32> = (0..cutouts * 3 * side * side)
            .map(|i| 0.5 + 0.4 * (0.37 * i as f32).sin())
            .collect();
        let x = Tensor::from_vec(values, (cutouts, 3, side, side), &device)?;
        let target = Target {
            vector: vec![1.0 / (config.projection as f32).sqrt(); config.projection],
            weight: 1.0,
            stop: None,
        };
        let mut seconds = vec![];
        for repeat in 0..repeats + 2 {
            let start = Instant::now();
            step(&tower, &x, &target)?;
            device.synchronize()?;
            // the first two warm caches and the allocator
            if repeat >= 2 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
        seconds.sort_by(f64::total_cmp);
        let off = match device.is_cuda() {
            true => {
                let there = step(&tower, &x, &target)?.to_device(&Device::Cpu)?;
                let here = step(&build(&Device::Cpu)?, &x.to_device(&Device::Cpu)?, &target)?;
                Some(distance(&there, &here)?)
            }
            false => None,
        };
        println!(
            "{}",
            serde_json::json!({
                "name": name,
                "seconds_min": seconds[0],
                "seconds_median": seconds[seconds.len() / 2],
                "repeats": repeats,
                "cutouts": cutouts,
                "gradient_off": off,
            })
        );
    }
    Ok(())
}
