//! From a tensor's bytes to its numbers.

use candle_core::{DType, Device, Result, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Bytes of an element, for supported types by their names in safetensors.
pub fn width(dtype: &str) -> Option<usize> {
    Some(match dtype {
        "U8" | "I8" | "BOOL" => 1,
        "F16" | "BF16" | "I16" => 2,
        "F32" | "I32" => 4,
        "F64" | "I64" => 8,
        _ => return None,
    })
}

/// The tensor of these bytes in f32. `strides` are in elements, and elements may overlap. `dtype` is a type that [`width`] knows.
pub fn tensor(
    bytes: &[u8],
    dtype: &str,
    shape: &[usize],
    strides: Option<&[usize]>,
) -> Result<Tensor> {
    let count = bytes.len() / width(dtype).unwrap_or(1);
    let line = match dtype {
        "F32" => Tensor::from_raw_buffer(bytes, DType::F32, &[count], &Device::Cpu)?,
        "F16" => Tensor::from_raw_buffer(bytes, DType::F16, &[count], &Device::Cpu)?,
        "BF16" => Tensor::from_raw_buffer(bytes, DType::BF16, &[count], &Device::Cpu)?,
        "F64" => Tensor::from_raw_buffer(bytes, DType::F64, &[count], &Device::Cpu)?,
        "U8" | "BOOL" => Tensor::from_raw_buffer(bytes, DType::U8, &[count], &Device::Cpu)?,
        "I8" => integers(bytes, i8::from_le_bytes)?,
        "I16" => integers(bytes, i16::from_le_bytes)?,
        "I32" => integers(bytes, |bytes| i32::from_le_bytes(bytes) as f32)?,
        "I64" => integers(bytes, |bytes| i64::from_le_bytes(bytes) as f32)?,
        _ => candle_core::bail!("the type {dtype} is not supported"),
    };
    let line = line.to_dtype(DType::F32)?;
    match strides {
        Some(strides) => strided(&line, shape, strides),
        None => line.reshape(shape),
    }
}

fn integers<const N: usize, T: Into<f32>>(
    bytes: &[u8],
    number: impl Fn([u8; N]) -> T,
) -> Result<Tensor> {
    let (numbers, _) = bytes.as_chunks::<N>();
    let numbers: Vec<f32> = (numbers.iter())
        .map(|&bytes| number(bytes).into())
        .collect();
    let count = numbers.len();
    Tensor::from_vec(numbers, count, &Device::Cpu)
}

/// Gathers the elements of a flat tensor with these strides, in the order of the shape.
fn strided(line: &Tensor, shape: &[usize], strides: &[usize]) -> Result<Tensor> {
    let line = line.to_vec1::<f32>()?;
    let mut places = vec![0];
    for (&dim, &stride) in shape.iter().zip(strides) {
        places = (places.iter())
            .flat_map(|place| (0..dim).map(move |index| place + index * stride))
            .collect();
    }
    let values: Vec<f32> = places.iter().map(|place| line[*place]).collect();
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
