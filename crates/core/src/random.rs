//! Random numbers that depend on where they are used and on nothing else.
//!
//! Every draw has a key: the recipe's seed, its purpose, the step, and an index. What a step draws therefore does not depend on how the work is
//! divided, and a resumed render needs no saved state of a random number generator.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

/// What random numbers are drawn for; each purpose has its own stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The start of a generator.
    Start,
    /// Where cutouts lie and what is done to them.
    Cutouts,
    /// Which of the cutouts of a step are the large ones.
    CutoutSizes,
    /// By how much the cutouts of a seamless picture are moved.
    Roll,
    /// Which drawings a prompt retrieves, and how they are placed.
    Drawings,
    /// Which words of a prompt's wildcards are painted.
    Wildcards,
    /// Which combinations of a sweep's values are painted.
    Samples,
}

/// The random numbers for one key.
pub fn rng(seed: u64, purpose: Purpose, step: usize, index: usize) -> ChaCha8Rng {
    let mut key = [0; 32];
    let words = [seed, purpose as u64, step as u64, index as u64];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// Uniform in `low..high`.
pub fn uniform(rng: &mut impl Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// True with probability `p`.
pub fn chance(rng: &mut impl Rng, p: f64) -> bool {
    rng.random::<f64>() < p
}

/// Independent numbers of the standard normal distribution.
pub fn normal(rng: &mut impl Rng) -> impl Iterator<Item = f32> {
    StandardNormal.sample_iter(rng)
}
