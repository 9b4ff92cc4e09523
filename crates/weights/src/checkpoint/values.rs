//! From a tensor's bytes to its numbers.

use candle_core::{DType, Device, Result, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::float8;

/// The type in which the bytes of a supported type are read, by its name in safetensors.
fn stored_as(dtype: &str) -> Option<DType> {
    Some(match dtype {
        "U8" | "I8" | "BOOL" => DType::U8,
        "I16" => DType::I16,
        "I32" => DType::I32,
        "I64" => DType::I64,
        "F16" => DType::F16,
        "BF16" => DType::BF16,
        "F32" => DType::F32,
        "F64" => DType::F64,
        _ if float8::values(dtype).is_some() => DType::U8,
        _ => return None,
    })
}

/// Bytes of an element, for supported types by their names in safetensors.
pub fn width(dtype: &str) -> Option<usize> {
    stored_as(dtype).map(|dtype| dtype.size_in_bytes())
}

/// The tensor of these bytes in f32. `strides` are in elements, and elements may overlap.
pub fn tensor(
    bytes: &[u8],
    dtype: &str,
    shape: &[usize],
    strides: Option<&[usize]>,
) -> Result<Tensor> {
    let Some(stored) = stored_as(dtype) else {
        candle_core::bail!("the type {dtype} is not supported");
    };
    let line = if dtype == "I8" {
        Tensor::from_iter(
            bytes.iter().map(|&byte| f32::from(byte as i8)),
            &Device::Cpu,
        )?
    } else if let Some(values) = float8::values(dtype) {
        Tensor::from_iter(
            bytes.iter().map(|&byte| values[usize::from(byte)]),
            &Device::Cpu,
        )?
    } else {
        let count = bytes.len() / stored.size_in_bytes();
        Tensor::from_raw_buffer(bytes, stored, &[count], &Device::Cpu)?.to_dtype(DType::F32)?
    };
    match strides {
        Some(strides) => strided(&line, shape, strides),
        None => line.reshape(shape),
    }
}

/// Gathers the elements of a flat tensor with these strides, in the order of the shape.
fn strided(line: &Tensor, shape: &[usize], strides: &[usize]) -> Result<Tensor> {
    let line = line.to_vec1::<f32>()?;
    let mut positions = vec![0];
    for (&dim, &stride) in shape.iter().zip(strides) {
        positions = (positions.iter())
            .flat_map(|position| (0..dim).map(move |index| position + index * stride))
            .collect();
    }
    let values: Vec<f32> = positions.iter().map(|position| line[*position]).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// Values of a size at which activations stay about as large as they are.
pub fn random(seed: u64, key: &str, shape: &[usize]) -> Result<Tensor> {
    let bytes = key.bytes().map(u64::from);
    let hash = bytes.fold(seed, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte));
    let mut rng = ChaCha8Rng::seed_from_u64(hash);
    let count: usize = shape.iter().product();
    let inputs: usize = shape.iter().skip(1).product();
    let scale = 1.0 / (inputs as f32).sqrt();
    let values: Vec<f32> = if key.ends_with("running_var") {
        vec![1.0; count]
    } else {
        (0..count)
            // uniform, with the variance of 1 / inputs
            .map(|_| scale * 3f32.sqrt() * rng.random_range(-1.0..1.0))
            .collect()
    };
    Tensor::from_vec(values, shape, &Device::Cpu)
}
