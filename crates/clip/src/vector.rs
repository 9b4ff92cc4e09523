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
