//! Numbers that change over a render.

use std::fmt;
use std::sync::Arc;

/// A number as a function of the share of the render that is done, 0..=1.
#[derive(Clone)]
pub struct LearningRate(Arc<dyn Fn(f64) -> f64 + Send + Sync>);

impl LearningRate {
    /// The number that `at` gives for each share of the render.
    pub fn new(at: impl Fn(f64) -> f64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(at))
    }

    /// The number at share `t`.
    pub fn at(&self, t: f64) -> f64 {
        (self.0)(t)
    }
}

impl From<f64> for LearningRate {
    fn from(value: f64) -> Self {
        Self::new(move |_| value)
    }
}

impl fmt::Debug for LearningRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LearningRate({} -> {})", self.at(0.0), self.at(1.0))
    }
}
