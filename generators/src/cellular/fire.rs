//! Which cells change in an iteration.

/// The cells that fire in one iteration: each independently with the same probability, decided by a key alone, so that the backward pass
/// finds the same cells as the forward pass, on every device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fire {
    key: u64,
    /// Of 65536.
    threshold: u64,
}

impl Fire {
    /// The cells of iteration `iteration` of a run with this key; each fires with probability `rate`.
    pub fn new(key: u64, iteration: usize, rate: f64) -> Self {
        Self {
            key: mix(key ^ mix(iteration as u64)),
            threshold: (rate * 65536.0).round() as u64,
        }
    }

    /// Calls `f` with the columns that fire in a row, in order. Rows are counted through all pictures of a batch.
    #[inline]
    pub fn row(&self, row: usize, width: usize, mut f: impl FnMut(usize)) {
        let start = row as u64 * width.div_ceil(4) as u64;
        for (i, first) in (0..width).step_by(4).enumerate() {
            let mut word = mix(self.key.wrapping_add(start + i as u64));
            for x in first..(first + 4).min(width) {
                if word & 0xffff < self.threshold {
                    f(x);
                }
                word >>= 16;
            }
        }
    }

    /// 1 for the cells that fire and 0 for the others: `rows` rows of `width`.
    pub fn mask(&self, rows: usize, width: usize) -> Vec<f32> {
        let mut mask = vec![0.0; rows * width];
        for (row, cells) in mask.chunks_exact_mut(width.max(1)).enumerate() {
            self.row(row, width, |x| cells[x] = 1.0);
        }
        mask
    }
}

/// One word of SplitMix64 (Steele, Lea and Flood 2014) for a counter.
pub(super) fn mix(counter: u64) -> u64 {
    let mut z = counter.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_fire_at_the_rate_and_for_themselves() {
        for rate in [0.0, 0.25, 0.5, 1.0] {
            let mean = |mask: &[f32]| f64::from(mask.iter().sum::<f32>()) / mask.len() as f64;
            let now = Fire::new(7, 0, rate).mask(256, 255);
            assert!((mean(&now) - rate).abs() < 0.005, "{rate}");
            let both = |other: &[f32]| {
                mean(
                    &now.iter()
                        .zip(other)
                        .map(|(a, b)| a * b)
                        .collect::<Vec<_>>(),
                )
            };
            let next = Fire::new(7, 1, rate).mask(256, 255);
            assert!((both(&next) - rate * rate).abs() < 0.005);
            assert!((both(&now[255..]) - rate * rate).abs() < 0.005);
            assert!((both(&now[1..]) - rate * rate).abs() < 0.005);
        }
    }
}
