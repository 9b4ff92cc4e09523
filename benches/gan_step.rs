//! The step of a GAN: a picture by a generator of a published shape, and the gradient of that picture taken back to the latents.
//! `benches/peers/gan_step.py` is the same work in PyTorch.
//!
//! `cargo bench --bench gan_step -- [fastgan|stylegan2|biggan] [REPEATS]` prints a line of JSON. `fastgan` is of 256 x 256 pixels, `stylegan2` is
//! config F of 256 x 256, `biggan` is BigGAN-deep of 128 x 128.

use std::collections::HashMap;
use std::time::Instant;

use candle_core::{Device, Tensor};
use generators::gan::{NetworkOptions, Sampling, open};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The channels at 4, 8, ... 256 pixels.
const CHANNELS: [usize; 7] = [1024, 512, 256, 128, 128, 64, 32];
const LATENTS: usize = 256;

/// Weights by name.
#[derive(Default)]
struct Weights(HashMap<String, Tensor>);

impl Weights {
    fn add(&mut self, name: &str, shape: &[usize]) -> anyhow::Result<()> {
        let inputs: usize = shape.iter().skip(1).product();
        let scale = (3.0 / inputs as f32).sqrt();
        let count: usize = shape.iter().product();
        let values = (0..count).map(|i| match shape.len() {
            1 => f32::from(!name.ends_with("bias") && !name.ends_with("mean")),
            _ if name.ends_with("running_vars") => 1.0,
            _ => scale * (1.7 * i as f32 + name.len() as f32).sin(),
        });
        let values: Vec<f32> = values.collect();
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?;
        self.0.insert(name.to_owned(), tensor);
        Ok(())
    }
}

fn fastgan() -> anyhow::Result<Weights> {
    let mut weights = Weights::default();
    let norm = |name: &str| {
        ["weight", "bias", "running_mean", "running_var"].map(|part| format!("{name}.{part}"))
    };
    weights.add("init.init.0.weight", &[LATENTS, 2 * CHANNELS[0], 4, 4])?;
    for name in norm("init.init.1") {
        weights.add(&name, &[2 * CHANNELS[0]])?;
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
            weights.add(&format!("{}.weight", name(0)), &[2 * outputs, inputs, 3, 3])?;
            if is_double {
                weights.add(&format!("{}.weight", name(1)), &[1])?;
            }
            for name in norm(&name(1 + usize::from(is_double))) {
                weights.add(&name, &[2 * outputs])?;
            }
        }
        if side >= 64 {
            let source = CHANNELS[index - 3];
            weights.add(
                &format!("se_{side}.main.1.weight"),
                &[outputs, source, 4, 4],
            )?;
            weights.add(
                &format!("se_{side}.main.3.weight"),
                &[outputs, outputs, 1, 1],
            )?;
        }
    }
    weights.add("to_big.weight", &[3, CHANNELS[6], 3, 3])?;
    Ok(weights)
}

fn stylegan2() -> anyhow::Result<Weights> {
    const W: usize = 512;
    let mut weights = Weights::default();
    let linear = |weights: &mut Weights, name: &str, outputs: usize| {
        weights.add(&format!("{name}.weight"), &[outputs, W])?;
        weights.add(&format!("{name}.bias"), &[outputs])
    };
    for layer in 1..=8 {
        linear(&mut weights, &format!("style.{layer}"), W)?;
    }
    weights.add("input.input", &[1, 512, 4, 4])?;
    let conv = |weights: &mut Weights, name: &str, [i, o]: [usize; 2], kernel: Option<&str>| {
        let colors = o == 3;
        let size = if colors { 1 } else { 3 };
        linear(weights, &format!("{name}.conv.modulation"), i)?;
        weights.add(&format!("{name}.conv.weight"), &[1, o, i, size, size])?;
        if colors {
            weights.add(&format!("{name}.bias"), &[1, 3, 1, 1])?;
        } else {
            weights.add(&format!("{name}.noise.weight"), &[1])?;
            weights.add(&format!("{name}.activate.bias"), &[o])?;
        }
        match kernel {
            Some(kernel) => weights.add(&format!("{name}.{kernel}"), &[4, 4]),
            None => Ok(()),
        }
    };
    conv(&mut weights, "conv1", [512, 512], None)?;
    conv(&mut weights, "to_rgb1", [512, 3], None)?;
    for (level, pair) in [512, 512, 512, 512, 512, 256, 128].windows(2).enumerate() {
        let [i, o] = [pair[0], pair[1]];
        let (first, second) = (2 * level, 2 * level + 1);
        conv(
            &mut weights,
            &format!("convs.{first}"),
            [i, o],
            Some("conv.blur.kernel"),
        )?;
        conv(&mut weights, &format!("convs.{second}"), [o, o], None)?;
        conv(
            &mut weights,
            &format!("to_rgbs.{level}"),
            [o, 3],
            Some("upsample.kernel"),
        )?;
    }
    // as published
    let taps = [1.0, 3.0, 3.0, 1.0f32];
    let taps: Vec<f32> = (taps.iter())
        .flat_map(|y| taps.map(|x| x * y / 16.0))
        .collect();
    let filter = Tensor::from_vec(taps, (4, 4), &Device::Cpu)?;
    for (name, tensor) in &mut weights.0 {
        if name.ends_with("kernel") {
            *tensor = filter.clone();
        } else if name.ends_with("modulation.bias") {
            *tensor = tensor.ones_like()?;
        }
    }
    Ok(weights)
}

fn biggan() -> anyhow::Result<Weights> {
    const WIDTH: usize = 128;
    const CONDITION: usize = 256;
    const BLOCKS: [[usize; 2]; 10] = [
        [16, 16],
        [16, 16],
        [16, 16],
        [16, 8],
        [8, 8],
        [8, 4],
        [4, 4],
        [4, 2],
        [2, 2],
        [2, 1],
    ];
    let mut weights = Weights::default();
    // weights whose spectral norm is folded already
    weights.add("embeddings.weight", &[128, 1000])?;
    weights.add("generator.gen_z.weight", &[16 * 16 * WIDTH, CONDITION])?;
    weights.add("generator.gen_z.bias", &[16 * 16 * WIDTH])?;
    let conv = |weights: &mut Weights, name: &str, [i, o]: [usize; 2], size: usize| {
        weights.add(&format!("{name}.weight"), &[o, i, size, size])?;
        weights.add(&format!("{name}.bias"), &[o])
    };
    let mut index = 0;
    for (block, channels) in BLOCKS.into_iter().enumerate() {
        let [input, output] = channels.map(|channels| channels * WIDTH);
        if block == 8 {
            let name = format!("generator.layers.{index}");
            for (part, i, o) in [
                ("theta", input, input / 8),
                ("phi", input, input / 8),
                ("g", input, input / 2),
                ("o_conv", input / 2, input),
            ] {
                weights.add(&format!("{name}.snconv1x1_{part}.weight"), &[o, i, 1, 1])?;
            }
            weights.add(&format!("{name}.gamma"), &[1])?;
            index += 1;
        }
        let name = format!("generator.layers.{index}");
        let middle = input / 4;
        for (i, channels) in [input, middle, middle, middle].into_iter().enumerate() {
            let name = format!("{name}.bn_{i}");
            weights.add(&format!("{name}.running_means"), &[51, channels])?;
            weights.add(&format!("{name}.running_vars"), &[51, channels])?;
            weights.add(&format!("{name}.scale.weight"), &[channels, CONDITION])?;
            weights.add(&format!("{name}.offset.weight"), &[channels, CONDITION])?;
        }
        conv(&mut weights, &format!("{name}.conv_0"), [input, middle], 1)?;
        conv(&mut weights, &format!("{name}.conv_1"), [middle; 2], 3)?;
        conv(&mut weights, &format!("{name}.conv_2"), [middle; 2], 3)?;
        conv(&mut weights, &format!("{name}.conv_3"), [middle, output], 1)?;
        index += 1;
    }
    weights.add("generator.bn.running_means", &[51, WIDTH])?;
    weights.add("generator.bn.running_vars", &[51, WIDTH])?;
    weights.add("generator.bn.weight", &[WIDTH])?;
    weights.add("generator.bn.bias", &[WIDTH])?;
    conv(&mut weights, "generator.conv_to_rgb", [WIDTH; 2], 3)?;
    Ok(weights)
}

fn main() -> anyhow::Result<()> {
    let repeats = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .next()
        .unwrap_or(5);
    let asked = |word: &str| std::env::args().any(|argument| argument == word);
    let (name, weights) = if asked("stylegan2") {
        ("stylegan2-f-256", stylegan2()?)
    } else if asked("biggan") {
        ("biggan-deep-128", biggan()?)
    } else {
        ("fastgan-256", fastgan()?)
    };
    let device = Device::Cpu;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("model.safetensors");
    candle_core::safetensors::save(&weights.0, &file)?;
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
        let [width, height] = network.size();
        assert_eq!(image.dims(), [1, 3, height, width]);
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
            "name": name,
            "seconds_min": whole[0],
            "seconds_median": whole[whole.len() / 2],
            "forward_seconds_min": forward[0],
            "repeats": repeats,
        })
    );
    Ok(())
}
