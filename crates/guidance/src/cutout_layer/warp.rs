//! Perspective maps of cutouts: 3x3 matrices, row after row, of homogeneous coordinates in -1..=1.

/// The map that leaves all points where they are.
pub(crate) const IDENTITY: [f64; 9] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];

/// The map of a point by `second`, then by `first`. Augmentations are composed in the order in which they apply, because each maps points of its
/// result back to its source.
pub(crate) fn compose(first: &[f64; 9], second: &[f64; 9]) -> [f64; 9] {
    std::array::from_fn(|i| {
        let (row, column) = (i / 3, i % 3);
        (0..3)
            .map(|k| first[3 * row + k] * second[3 * k + column])
            .sum()
    })
}
