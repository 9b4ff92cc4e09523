//! Times of layers and of transformers made of them: the fastest of several runs, in milliseconds by the clock and of
//! processors (the latter on Linux).
//!
//!     cargo bench -p phantasia-frozen -- [FILTER]
//!
//! `benches/peer.py` times the same work in PyTorch. Run both in the same quiet moment; where there is none, compare the
//! processors' time with RAYON_NUM_THREADS=1 and OMP_NUM_THREADS=1.

use std::time::Instant;

use candle_core::{DType, Device, Result, Tensor};
use phantasia_frozen::*;

// As in the program: glibc returns large blocks to the system, and every page of the next one faults again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn random(shape: &[usize]) -> Result<Tensor> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let numbers = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    });
    let n = shape.iter().product();
    Tensor::from_vec(numbers.take(n).collect::<Vec<_>>(), shape, &Device::Cpu)
}

/// A block of a Vision Transformer.
fn block(width: usize, heads: usize) -> Result<Vec<Box<dyn Layer>>> {
    let linear = |out: usize, inp: usize| {
        let weight = (random(&[out, inp])? / (inp as f64).sqrt())?;
        Linear::new(weight, Some(random(&[out])?))
    };
    let norm = || {
        LayerNorm::new(
            Tensor::ones(width, DType::F32, &Device::Cpu)?,
            Some(Tensor::zeros(width, DType::F32, &Device::Cpu)?),
            1e-5,
        )
    };
    let attention = SelfAttention::new(
        linear(width, width)?,
        linear(width, width)?,
        linear(width, width)?,
        linear(width, width)?,
        heads,
        false,
    )?;
    Ok(vec![
        Box::new(Residual(Chain::new(vec![
            Box::new(norm()?),
            Box::new(attention),
        ]))),
        Box::new(Residual(Chain::new(vec![
            Box::new(norm()?),
            Box::new(linear(4 * width, width)?),
            Box::new(Activation::QuickGelu),
            Box::new(linear(width, 4 * width)?),
        ]))),
    ])
}

fn vit(width: usize, heads: usize, blocks: usize) -> Result<Chain> {
    let blocks = (0..blocks).map(|_| block(width, heads));
    let blocks = blocks.collect::<Result<Vec<_>>>()?;
    Ok(Chain::new(blocks.into_iter().flatten().collect()))
}

/// Milliseconds that the threads of this process have run.
fn processor_time() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let spent = tasks.filter_map(|task| {
        let stat = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<f64>().ok()
    });
    spent.sum::<f64>() / 1e6
}

struct Bench(Option<String>);

impl Bench {
    fn time(&self, name: &str, mut f: impl FnMut() -> Result<()>) -> Result<()> {
        if self.0.as_ref().is_some_and(|filter| !name.contains(filter)) {
            return Ok(());
        }
        let begin = Instant::now();
        let (mut clock, mut busy, mut runs) = (f64::MAX, f64::MAX, 0);
        while runs < 5 || (begin.elapsed().as_secs_f64() < 1.5 && runs < 100) {
            let (start, work) = (Instant::now(), processor_time());
            f()?;
            clock = clock.min(start.elapsed().as_secs_f64() * 1e3);
            busy = busy.min(processor_time() - work);
            runs += 1;
        }
        println!("{name:32} {clock:9.2} clock {busy:9.2} processor");
        Ok(())
    }

    /// The value, the value with its gradient, and the gradient alone.
    fn layer(&self, name: &str, shape: &[usize], layer: &dyn Layer) -> Result<()> {
        let x = random(shape)?;
        let (y, pullback) = layer.vjp(&x)?;
        let g = random(y.dims())?;
        self.time(&format!("{name} value"), || layer.eval(&x).map(drop))?;
        self.time(&format!("{name} gradient"), || pullback(&g).map(drop))?;
        self.time(&format!("{name} both"), || layer.vjp(&x)?.1(&g).map(drop))
    }
}

fn conv(oc: usize, ic: usize, k: usize, stride: usize, padding: usize) -> Result<Conv2d> {
    let options = Conv2dOptions {
        stride,
        padding,
        groups: 1,
    };
    Conv2d::new(random(&[oc, ic, k, k])?, Some(random(&[oc])?), options)
}

fn main() -> Result<()> {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let bench = Bench(filter);
    bench.layer("vit-b32", &[8, 50, 768], &vit(768, 12, 12)?)?;
    bench.layer("vit-small", &[8, 65, 192], &vit(192, 6, 6)?)?;
    bench.layer(
        "linear",
        &[400, 768],
        &Linear::new(random(&[3072, 768])?, Some(random(&[3072])?))?,
    )?;
    bench.layer(
        "conv3x3-128",
        &[1, 128, 128, 128],
        &conv(128, 128, 3, 1, 1)?,
    )?;
    bench.layer("conv3x3-512", &[1, 512, 16, 16], &conv(512, 512, 3, 1, 1)?)?;
    bench.layer("conv1x1-256", &[1, 256, 64, 64], &conv(256, 256, 1, 1, 0)?)?;
    bench.layer(
        "conv-down-128",
        &[1, 128, 128, 128],
        &conv(128, 128, 3, 2, 1)?,
    )?;
    bench.layer("patchify-32", &[8, 3, 224, 224], &conv(768, 3, 32, 32, 0)?)?;
    let ones = Tensor::ones(128, DType::F32, &Device::Cpu)?;
    bench.layer(
        "group-norm",
        &[1, 128, 128, 128],
        &GroupNorm::new(32, ones.clone(), ones, 1e-6)?,
    )?;
    bench.layer("quick-gelu", &[400, 3072], &Activation::QuickGelu)?;
    bench.layer("gelu", &[400, 3072], &Activation::Gelu)?;
    bench.layer("silu", &[1, 128, 128, 128], &Activation::Silu)?;
    bench.layer("upsample", &[1, 128, 64, 64], &UpsampleNearest::new(2)?)?;
    let resample = |size, filter| Resample::new(size, size, filter, true);
    bench.layer(
        "resample-up",
        &[1, 3, 64, 64],
        &resample(512, Filter::Bicubic)?,
    )?;
    bench.layer(
        "resample-down",
        &[1, 3, 512, 512],
        &resample(224, Filter::Bicubic)?,
    )?;
    for (name, size) in [
        ("crops-256", 256.0),
        ("crops-512", 512.0),
        ("crops-4k", 3840.0),
    ] {
        let crops = (0..16).map(|i| {
            let side = size * (0.35 + 0.04 * i as f64);
            let (top, left) = ((size - side) * 0.5, (size - side) * 0.3);
            Crop {
                top,
                left,
                height: side,
                width: side,
                flip: i % 2 == 0,
            }
        });
        let crops = Crops::new(crops.collect(), 224, 224, Filter::Bicubic, Border::Edge)?;
        bench.layer(name, &[1, 3, size as usize, size as usize], &crops)?;
    }
    let turn = [0.8, -0.6, 0.1, 0.6, 0.8, -0.2, 0.1, -0.2, 1.0];
    bench.layer(
        "warp",
        &[16, 3, 224, 224],
        &Warp::new(vec![turn; 16], Border::Reflect)?,
    )
}
