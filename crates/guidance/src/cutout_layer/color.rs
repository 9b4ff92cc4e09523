//! Colours of cutouts: affine maps of their channels.

/// An affine map of colours: three rows of three factors and a shift.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ColorMatrix(pub [f32; 12]);

/// How much each channel adds to the brightness (Rec. 601).
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

impl ColorMatrix {
    pub const IDENTITY: Self = Self([1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);

    /// The matrix of the given factors, by row and column, and one shift for all channels.
    fn new(shift: f32, factor: impl Fn(usize, usize) -> f32) -> Self {
        Self(std::array::from_fn(|i| match (i / 4, i % 4) {
            (_, 3) => shift,
            (row, column) => factor(row, column),
        }))
    }

    /// 0 is grey, 1 leaves colours as they are.
    pub fn saturation(factor: f64) -> Self {
        let s = factor as f32;
        Self::new(0.0, |row, column| {
            (1.0 - s) * LUMA[column] + if row == column { s } else { 0.0 }
        })
    }

    /// Turned by a share of the circle around the grey axis.
    pub fn hue(turn: f64) -> Self {
        let (sin, cos) = (turn * std::f64::consts::TAU).sin_cos();
        let (sin, cos) = (sin as f32, cos as f32);
        // Rodrigues' rotation around (1, 1, 1) / sqrt(3)
        let third = (1.0 - cos) / 3.0;
        let s = sin / 3f32.sqrt();
        let factors = [cos + third, third - s, third + s];
        Self::new(0.0, |row, column| factors[(column + 3 - row) % 3])
    }

    /// Distances from mid-grey times `factor`.
    pub fn contrast(factor: f64) -> Self {
        let f = factor as f32;
        Self::new(
            0.5 * (1.0 - f),
            |row, column| {
                if row == column { f } else { 0.0 }
            },
        )
    }

    /// All channels shifted.
    pub fn brightness(shift: f64) -> Self {
        Self::new(
            shift as f32,
            |row, column| {
                if row == column { 1.0 } else { 0.0 }
            },
        )
    }

    /// First this, then `next`.
    pub fn then(&self, next: &Self) -> Self {
        Self(std::array::from_fn(|i| {
            let (row, column) = (i / 4, i % 4);
            let sum: f32 = (0..3)
                .map(|k| next.0[4 * row + k] * self.0[4 * k + column])
                .sum();
            sum + if column == 3 {
                next.0[4 * row + 3]
            } else {
                0.0
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_turn_of_the_hue_changes_nothing() {
        for (i, value) in ColorMatrix::hue(1.0).0.iter().enumerate() {
            let expected = if i % 5 == 0 { 1.0 } else { 0.0 };
            assert!((value - expected).abs() < 1e-6, "{i}: {value}");
        }
    }

    #[test]
    fn a_third_of_a_turn_takes_red_to_green() {
        let turned = ColorMatrix::hue(1.0 / 3.0).0;
        let red: Vec<f32> = (0..3).map(|row| turned[4 * row]).collect();
        assert!((red[1] - 1.0).abs() < 1e-6, "{red:?}");
    }
}
