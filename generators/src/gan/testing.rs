//! What the tests of networks share.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Result, Tensor};
use weights::checkpoint::Checkpoint;

use super::{GanError, Network, NetworkOptions, Sampling};

pub type Tensors = HashMap<String, Tensor>;

pub fn fixture(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(file)
}

pub fn tensors(file: &str) -> Tensors {
    candle_core::safetensors::load(fixture(file), &Device::Cpu).expect("the fixture")
}

/// The largest difference, relative to the largest element.
pub fn distance(a: &Tensor, b: &Tensor) -> Result<f32> {
    assert_eq!(a.dims(), b.dims());
    let largest = |x: &Tensor| x.abs()?.max_all()?.to_scalar::<f32>();
    Ok(largest(&(a - b)?)? / largest(b)?)
}

/// Compares a picture and the gradients of its latents with PyTorch's, by fused kernels and by candle's operations.
pub fn agrees(
    network: &dyn Network,
    latents: &[Tensor],
    g: &Tensor,
    picture: &Tensor,
    gradients: &[Tensor],
) -> Result<()> {
    let check = || -> Result<()> {
        let (found, back) = network.vjp(latents)?;
        assert_eq!(found.dims()[2..], [network.size()[1], network.size()[0]]);
        assert_eq!(distance(&network.eval(latents)?, &found)?, 0.0);
        let error = distance(&found, picture)?;
        assert!(error < 3e-6, "picture {error:e}");
        let found = back(g)?;
        assert_eq!(found.len(), gradients.len());
        for (found, expected) in found.iter().zip(gradients) {
            let error = distance(found, expected)?;
            assert!(error < 3e-5, "gradient {error:e}");
        }
        Ok(())
    };
    check()?;
    frozen::kernel::composed(check)
}

pub fn values(network: &dyn Network, seed: u64, truncation: f64) -> Result<Vec<Tensor>> {
    let sampling = Sampling {
        seed,
        truncation,
        device: Device::Cpu,
    };
    let latents = network.draw(&sampling)?;
    Ok(latents.into_iter().map(|latent| latent.value).collect())
}

/// A network of these weights, read as any file is.
pub fn read(
    folder: &Path,
    weights: &Tensors,
    options: &NetworkOptions,
) -> std::result::Result<Box<dyn Network>, GanError> {
    let file = folder.join("model.safetensors");
    candle_core::safetensors::save(weights, &file).expect("weights");
    let mut checkpoint = Checkpoint::open(&file)?;
    Ok(super::read(&mut checkpoint, options, &Device::Cpu)?.0)
}

/// Checks that reading these weights is refused in words that contain `part`.
#[track_caller]
pub fn refused(folder: &Path, weights: &Tensors, options: &NetworkOptions, part: &str) {
    let Err(error) = read(folder, weights, options) else {
        panic!("accepted, where an error with {part:?} was expected");
    };
    assert!(
        error.to_string().contains(part),
        "{part:?} is not in: {error}"
    );
}

/// Checks that weights without any one of these tensors are refused by its name.
#[track_caller]
pub fn refused_without(folder: &Path, weights: &Tensors, options: &NetworkOptions, names: &[&str]) {
    for name in names {
        let mut weights = weights.clone();
        weights.remove(*name);
        refused(folder, &weights, options, name);
    }
}

/// Checks that weights are refused in which one of these tensors has that shape; each has a part of the error's words.
#[track_caller]
pub fn refused_with(
    folder: &Path,
    weights: &Tensors,
    options: &NetworkOptions,
    changes: &[(&str, &[usize], &str)],
) {
    for (name, shape, part) in changes {
        let zeros = Tensor::zeros(*shape, DType::F32, &Device::Cpu).expect("a tensor");
        let mut weights = weights.clone();
        weights.insert((*name).to_owned(), zeros);
        refused(folder, &weights, options, part);
    }
}

/// Numbers in no order, f64.
pub fn wave(seed: f64, shape: &[usize]) -> Result<Tensor> {
    let count = shape.iter().product::<usize>();
    let numbers = (0..count).map(|i| (1.3 * i as f64 + seed).sin() + (0.7 * (i * i) as f64).cos());
    Tensor::from_iter(numbers, &Device::Cpu)?.reshape(shape)
}

/// Checks gradients of `sum(g f(inputs))` against central differences.
pub fn slopes_agree(
    inputs: &[Tensor],
    value: impl Fn(&[Tensor]) -> Result<Tensor>,
    gradients: impl Fn(&[Tensor], &Tensor) -> Result<Vec<Tensor>>,
) -> Result<()> {
    let g = wave(7.0, value(inputs)?.dims())?;
    let numbers = |x: &Tensor| x.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    for (part, found) in gradients(inputs, &g)?.iter().enumerate() {
        let (found, at) = (numbers(found)?, numbers(&inputs[part])?);
        assert_eq!(found.len(), at.len());
        for i in 0..at.len() {
            let loss = |step: f64| -> Result<f64> {
                let (mut moved, mut inputs) = (at.clone(), inputs.to_vec());
                moved[i] += step;
                inputs[part] = Tensor::from_vec(moved, inputs[part].shape(), &Device::Cpu)?;
                (value(&inputs)? * &g)?.sum_all()?.to_scalar()
            };
            let slope = (loss(1e-5)? - loss(-1e-5)?) / 2e-5;
            let error = (slope - found[i]).abs();
            assert!(error < 1e-6, "{part} {i}: {slope}, not {}", found[i]);
        }
    }
    Ok(())
}
