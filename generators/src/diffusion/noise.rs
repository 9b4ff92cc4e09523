//! Noise that is determined by where it is used.

use candle_core::{Device, Result, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Standard normal noise of that shape for one place of a render: its `seed`, and a `step`. The same place has the same
/// noise whatever was drawn before, so that a resumed render needs no saved state of a random generator.
pub fn noise(seed: u64, step: u64, shape: &[usize], device: &Device) -> Result<Tensor> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&step.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    let count: usize = shape.iter().product();
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        // Box and Muller 1958; 1 - u is never 0
        let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
        let (sin, cos) = (std::f32::consts::TAU * rng.random::<f32>()).sin_cos();
        values.extend([radius * cos, radius * sin]);
    }
    values.truncate(count);
    Tensor::from_vec(values, shape, device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(seed: u64, step: u64) -> Vec<f32> {
        let noise = noise(seed, step, &[3, 4111], &Device::Cpu);
        noise
            .and_then(|noise| noise.flatten_all()?.to_vec1())
            .expect("noise")
    }

    #[test]
    fn a_place_has_its_own_noise() {
        assert_eq!(values(1, 2), values(1, 2));
        assert_ne!(values(1, 2), values(1, 3));
        assert_ne!(values(1, 2), values(2, 2));
    }

    #[test]
    fn noise_is_standard_normal() {
        let values = values(7, 0);
        let n = values.len() as f64;
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let variance = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.04);
    }
}
