//! The step of a GAN: a picture of 256 x 256 by a generator of FastGAN's shape, and the gradient of that picture taken back to the latent.
//! `benches/peers/gan_step.py` is the same work in PyTorch.
//!
//! `cargo bench --bench gan_step [-- REPEATS]` prints a line of JSON.

use std::collections::HashMap;
use std::time::Instant;

use candle_core::{Device, Tensor};
use generators::gan::{NetworkOptions, Sampling, open};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The channels at 4, 8, ... 256 pixels.
const CHANNELS: [usize; 7] = [1024, 512, 256, 128, 128, 64, 32];
const LATENTS: usize = 256;

/// Weights under FastGAN's names.
fn weights() -> anyhow::Result<HashMap<String, Tensor>> {
    let mut weights = HashMap::new();
    let mut add = |name: String, shape: &[usize]| -> anyhow::Result<()> {
        let inputs: usize = shape.iter().skip(1).product();
        let scale = (3.0 / inputs as f32).sqrt();
        let count: usize = shape.iter().product();
        let values = (0..count).map(|i| match shape.len() {
            1 => f32::from(!name.ends_with("bias") && !name.ends_with("mean")),
            _ => scale * (1.7 * i as f32 + name.len() as f32).sin(),
        });
        let values: Vec<f32> = values.collect();
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?;
        weights.insert(name, tensor);
        Ok(())
    };
    let norm = |name: &str| {
        ["weight", "bias", "running_mean", "running_var"].map(|part| format!("{name}.{part}"))
    };
    add(
        "init.init.0.weight".to_owned(),
        &[LATENTS, 2 * CHANNELS[0], 4, 4],
    )?;
    for name in norm("init.init.1") {
        add(name, &[2 * CHANNELS[0]])?;
    }
    for (index, pair) in CHANNELS.windows(2).enumerate() {
        let [inputs, outputs] = [pair[0], pair[1]];
        let side = 8 << index;
        let mut layers = vec![(1, inputs)];
        let is_double = index % 2 == 0;
        if is_double {
            layers.push((5, outputs));
        }
        for (layer, inputs) in layers {
            let name = |offset: usize| format!("feat_{side}.{}", layer + offset);
            add(format!("{}.weight", name(0)), &[2 * outputs, inputs, 3, 3])?;
            if is_double {
                add(format!("{}.weight", name(1)), &[1])?;
            }
            for name in norm(&name(1 + usize::from(is_double))) {
                add(name, &[2 * outputs])?;
            }
        }
        if side >= 64 {
            let source = CHANNELS[index - 3];
            add(format!("se_{side}.main.1.weight"), &[outputs, source, 4, 4])?;
            add(
                format!("se_{side}.main.3.weight"),
                &[outputs, outputs, 1, 1],
            )?;
        }
    }
    add("to_big.weight".to_owned(), &[3, CHANNELS[6], 3, 3])?;
    Ok(weights)
}

fn main() -> anyhow::Result<()> {
    let repeats = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .next()
        .unwrap_or(5);
    let device = Device::Cpu;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("model.safetensors");
    candle_core::safetensors::save(&weights()?, &file)?;
    let (network, _) = open(&file, &NetworkOptions::default(), &device)?;
    let sampling = Sampling {
        seed: 1,
        truncation: 1.0,
        device,
    };
    let latents: Vec<Tensor> = (network.draw(&sampling)?.into_iter())
        .map(|latent| latent.value)
        .collect();
    let (mut whole, mut forward) = (vec![], vec![]);
    for repeat in 0..repeats + 1 {
        let start = Instant::now();
        let (image, pullback) = network.vjp(&latents)?;
        let painted = start.elapsed().as_secs_f64();
        let grads = pullback(&image)?;
        assert_eq!(grads[0].dims(), latents[0].dims());
        assert_eq!(image.dims(), [1, 3, 256, 256]);
        // the first warms caches and the allocator
        if repeat > 0 {
            whole.push(start.elapsed().as_secs_f64());
            forward.push(painted);
        }
    }
    whole.sort_by(f64::total_cmp);
    forward.sort_by(f64::total_cmp);
    println!(
        "{}",
        serde_json::json!({
            "name": "fastgan-256",
            "seconds_min": whole[0],
            "seconds_median": whole[whole.len() / 2],
            "forward_seconds_min": forward[0],
            "repeats": repeats,
        })
    );
    Ok(())
}
