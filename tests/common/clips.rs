//! Small CLIPs of random weights, and what the reference libraries say of them.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use frozen::Layer;
use phantasia::clip::Clip;
use phantasia::clip::config::{MEAN, STD};

use super::fixture;

/// The tensors of a fixture.
pub fn tensors(name: &str) -> Result<HashMap<String, Tensor>> {
    Ok(candle_core::safetensors::load(fixture(name), &Device::Cpu)?)
}

/// A CLIP in a folder, of any name.
pub fn load(folder: &Path) -> Clip {
    Clip::from_folder("tiny", folder, &Device::Cpu).expect("a CLIP")
}

/// Why a folder is not read as a CLIP.
#[track_caller]
pub fn load_error(folder: &Path) -> String {
    match Clip::from_folder("tiny", folder, &Device::Cpu) {
        Ok(_) => panic!("it was read"),
        Err(error) => error.to_string(),
    }
}

/// The largest difference as a share of the largest expected value.
pub fn error(found: &Tensor, expected: &Tensor) -> Result<f64> {
    assert_eq!(found.dims(), expected.dims());
    let largest = |x: &Tensor| {
        x.to_dtype(DType::F64)?
            .abs()?
            .flatten_all()?
            .max(0)?
            .to_scalar::<f64>()
    };
    Ok(largest(&(found - expected)?)? / largest(expected)?)
}

/// Pixels 0..=1 of normalised ones, and the factor between their gradients.
pub fn pixels(normalised: &Tensor) -> Result<(Tensor, Tensor)> {
    let channel = |values: [f64; 3]| {
        Tensor::new(&values.map(|value| value as f32), &Device::Cpu)?.reshape((1, 3, 1, 1))
    };
    let (mean, std) = (channel(MEAN)?, channel(STD)?);
    let pixels = normalised.broadcast_mul(&std)?.broadcast_add(&mean)?;
    Ok((pixels, std))
}

/// What a CLIP's image tower makes of a picture of waves.
pub fn see(clip: &Clip) -> Vec<f32> {
    let tower = &clip.towers()[0];
    let side = tower.size();
    let image = Tensor::arange(0f32, (3 * side * side) as f32, &Device::Cpu)
        .and_then(|x| x.sin()?.affine(0.5, 0.5)?.reshape((1, 3, side, side)))
        .expect("an image");
    let seen = tower.eval(&image).and_then(|x| x.flatten_all()?.to_vec1());
    seen.expect("an embedding")
}

/// What a CLIP makes of a text.
pub fn read(clip: &Clip, text: &str) -> Vec<f32> {
    clip.embed_text(text).expect("an embedding").vector
}
