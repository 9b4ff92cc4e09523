//! 8-bit floats, in which large models are often published, and the scales that ComfyUI saves with them.

use super::{Checkpoint, CheckpointError};

/// Names, beside a `weight`, of the number that it has to be multiplied by: of ComfyUI's older files and of its newer ones.
const SCALES: [&str; 2] = ["scale_weight", "weight_scale"];
/// Names, beside a `weight`, of what only a product of two 8-bit tensors needs.
const UNNEEDED: [&str; 3] = ["scale_input", "input_scale", "comfy_quant"];

/// OCP's E4M3, PyTorch's `float8_e4m3fn`: no infinities, and one NaN of each sign.
static E4M3: [f32; 256] = {
    let mut values = finite(3, 7);
    values[0x7f] = f32::NAN;
    values[0xff] = f32::NAN;
    values
};

/// OCP's E5M2, PyTorch's `float8_e5m2`: the upper half of an f16.
static E5M2: [f32; 256] = {
    let mut values = finite(2, 15);
    values[0x7c] = f32::INFINITY;
    values[0xfc] = f32::NEG_INFINITY;
    let mut byte = 0x7d;
    while byte < 0x80 {
        values[byte] = f32::NAN;
        values[0x80 | byte] = f32::NAN;
        byte += 1;
    }
    values
};

/// The values of all bytes, were all of them finite: a sign, an exponent with that bias, and so many bits of the significand.
const fn finite(bits: u32, bias: u32) -> [f32; 256] {
    let mut values = [0.0; 256];
    let mut byte = 0;
    while byte < 256 {
        let exponent = (byte as u32 & 0x7f) >> bits;
        let fraction = byte as u32 & ((1 << bits) - 1);
        // below the smallest exponent lie the subnormal numbers, which have no leading 1
        let (significand, exponent) = match exponent {
            0 => (fraction, 1),
            _ => (fraction | 1 << bits, exponent),
        };
        // a power of two in f32, whose bias is 127
        let unit = f32::from_bits((exponent + 127 - bias - bits) << 23);
        let value = significand as f32 * unit;
        values[byte] = if byte < 128 { value } else { -value };
        byte += 1;
    }
    values
}

/// The value of each of the 256 bytes, for a type of 8-bit floats; `None` for other types. `dtype` is the name that safetensors gives it.
pub fn values(dtype: &str) -> Option<&'static [f32; 256]> {
    match dtype {
        "F8_E4M3" => Some(&E4M3),
        "F8_E5M2" => Some(&E5M2),
        _ => None,
    }
}

impl Checkpoint {
    /// What the numbers of a tensor have to be multiplied by, if it is one of 8-bit floats with a scale beside it. All that belongs to its
    /// scaling counts as used.
    ///
    /// # Errors
    /// If the scale is not a single number.
    pub(super) fn scale(&self, key: &str) -> Result<Option<f32>, CheckpointError> {
        let entry = self.entries.get(&self.full(key));
        let is_float8 = entry.is_some_and(|entry| values(&entry.dtype).is_some());
        let Some(module) = key.strip_suffix("weight").filter(|_| is_float8) else {
            return Ok(None);
        };
        let beside = |name: &str| format!("{module}{name}");
        for key in UNNEEDED.map(beside) {
            if self.has(&key) {
                self.mark_used(self.full(&key));
            }
        }
        let Some(scale) = SCALES.map(beside).into_iter().find(|key| self.has(key)) else {
            return Ok(None);
        };
        let shape = self.shape(&scale).unwrap_or_default();
        if shape.iter().any(|dim| *dim != 1) {
            return Err(CheckpointError::Unreadable {
                origin: self.origin.clone(),
                key: self.full(key),
                what: format!(
                    "has 8-bit numbers with the scale `{}` of shape {shape:?}, and only scales of one number are supported: use a file with f16 or bf16 \
                     weights",
                    self.full(&scale)
                ),
            });
        }
        let scale = self.stored(&scale, shape)?.flatten_all()?;
        Ok(scale.to_vec1::<f32>()?.first().copied())
    }
}
