//! The part of a picture that cutouts are drawn in.

/// A rectangle of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Frame {
    pub top: f64,
    pub left: f64,
    pub height: f64,
    pub width: f64,
}

impl Frame {
    /// All of a picture.
    pub fn whole(width: usize, height: usize) -> Self {
        Self {
            top: 0.0,
            left: 0.0,
            height: height as f64,
            width: width as f64,
        }
    }

    /// The shorter side.
    pub fn short(&self) -> f64 {
        self.width.min(self.height)
    }
}
