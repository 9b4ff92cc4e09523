//! Normal noise.

use candle_core::{Device, Result, Tensor};
use phantasia_core::random::normal;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// `count` numbers of a normal distribution around 0.
pub(crate) fn normals(rng: &mut impl Rng, count: usize, deviation: f64) -> Vec<f32> {
    if deviation == 0.0 {
        return vec![0.0; count];
    }
    let scaled = normal(rng).map(|number| (f64::from(number) * deviation) as f32);
    scaled.take(count).collect()
}

/// Standard normal noise of that shape, determined by the `seed` and a `step` of a render. The same step has the same noise whatever was
/// drawn before, so that a resumed render needs no saved state of a random generator.
pub fn noise(seed: u64, step: u64, shape: &[usize], device: &Device) -> Result<Tensor> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&step.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    let values = normal(&mut rng).take(shape.iter().product()).collect();
    Tensor::from_vec::<_, f32>(values, shape, device)
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
