//! Vectors of the joint space.

/// The dot product, summed in f64.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    (a.iter().zip(b))
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

/// The vector at unit length; a vector of zeros stays as it is.
pub fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = dot(&vector, &vector).sqrt();
    if norm > 0.0 {
        for value in &mut vector {
            *value = (f64::from(*value) / norm) as f32;
        }
    }
    vector
}
/// The inner product of two vectors, to about 1e-7, for comparing many of them: sixteen sums in f32, which do not wait for each other. Of
/// vectors of unit length it is their cosine.
pub fn fast_dot(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 16;
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0f32; LANES];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().map(|sum| f64::from(*sum)).sum::<f64>() + f64::from(rest)
}

/// Spherical linear interpolation (Shoemake 1985) between two vectors of unit length: the first at a share of 0, the second at 1.
/// Of unit length.
pub fn slerp(a: &[f32], b: &[f32], share: f64) -> Vec<f32> {
    if share <= 0.0 {
        return a.to_vec();
    }
    let angle = dot(a, b).clamp(-1.0, 1.0).acos();
    // along an arc that is hardly one, or could be any of several
    let is_straight = angle.sin() < 1e-4;
    let [a_share, b_share] = [1.0 - share, share].map(|share| {
        if is_straight {
            share
        } else {
            (share * angle).sin() / angle.sin()
        }
    });
    let mixed = (a.iter().zip(b))
        .map(|(a, b)| (a_share * f64::from(*a) + b_share * f64::from(*b)) as f32)
        .collect();
    unit(mixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_between_two_vectors_is_an_arc_of_even_pace() {
        let (a, b) = ([1.0f32, 0.0, 0.0], [0.0f32, 0.6, 0.8]);
        for share in [0.0, 0.25, 0.5, 0.9, 1.0] {
            let found = slerp(&a, &b, share);
            assert!((dot(&found, &found) - 1.0).abs() < 1e-6);
            let angle = dot(&a, &found).clamp(-1.0, 1.0).acos();
            assert!((angle - share * std::f64::consts::FRAC_PI_2).abs() < 1e-3);
        }
        assert_eq!(slerp(&a, &a, 0.3), a);
        assert!(slerp(&a, &a.map(|x| -x), 0.3).iter().all(|x| x.is_finite()));
    }
}
