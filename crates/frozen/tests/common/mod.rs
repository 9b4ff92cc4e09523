//! What the tests of this crate share.
#![allow(dead_code)]

use candle_core::{DType, Device, Result, Tensor};
use frozen::Layer;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use phantasia_frozen as frozen;

/// Numbers of -1..1, the same for the same seed and shape.
pub fn random(seed: u64, shape: &[usize], dtype: DType) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let n = shape.iter().product();
    let numbers = (0..n)
        .map(|_| rng.random_range(-1.0..1.0))
        .collect::<Vec<f64>>();
    let x = Tensor::from_vec(numbers, shape, &Device::Cpu).and_then(|x| x.to_dtype(dtype));
    x.expect("a tensor of random numbers")
}

/// The elements as f64.
pub fn numbers(x: &Tensor) -> Vec<f64> {
    let x = x
        .to_dtype(DType::F64)
        .and_then(|x| x.flatten_all()?.to_vec1());
    x.expect("a tensor of numbers")
}

/// The largest difference, relative to the largest element.
pub fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims(), "shapes differ");
    let (a, b) = (numbers(a), numbers(b));
    assert!(a.iter().chain(&b).all(|x| x.is_finite()), "not finite");
    let largest = |x: &[f64]| x.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
    let difference = a.iter().zip(&b).map(|(a, b)| a - b).collect::<Vec<_>>();
    largest(&difference) / largest(&b).max(1e-12)
}

/// A tensor of the same elements whose memory is not contiguous.
pub fn strided(x: &Tensor) -> Result<Tensor> {
    let last = x.rank() - 1;
    let wide = Tensor::cat(&[x, x, x], last)?;
    let middle = wide.narrow(last, x.dims()[last], x.dims()[last])?;
    if x.rank() == 1 {
        return Ok(middle);
    }
    middle.transpose(0, last)?.contiguous()?.transpose(0, last)
}

/// The gradient of `sum(g y)` by the pullback.
pub fn gradient(layer: &dyn Layer, x: &Tensor, g: &Tensor) -> Result<Tensor> {
    layer.vjp(x)?.1(g)
}

/// The gradient of `sum(g y)` by central differences in f64.
pub fn differences(layer: &dyn Layer, x: &Tensor, g: &Tensor) -> Result<Tensor> {
    let step = 1e-5;
    let (base, g) = (numbers(x), numbers(g));
    let along = |i: usize, step: f64| -> Result<f64> {
        let mut moved = base.clone();
        moved[i] += step;
        let y = numbers(&layer.eval(&Tensor::from_vec(moved, x.shape(), x.device())?)?);
        Ok(y.iter().zip(&g).map(|(y, g)| y * g).sum())
    };
    let slope = |i| Ok((along(i, step)? - along(i, -step)?) / (2.0 * step));
    let slopes = (0..base.len()).map(slope).collect::<Result<Vec<f64>>>()?;
    Tensor::from_vec(slopes, x.shape(), x.device())
}
