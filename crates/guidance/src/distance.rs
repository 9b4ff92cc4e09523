//! Distances between embeddings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far an image embedding is from a prompt's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// 1 - cos
    Cosine,
    /// 2 asin(|x - y| / 2)^2, that is half the squared angle.
    #[default]
    Spherical,
}

impl Distance {
    /// The distance of two embeddings with that cosine, and its derivative with respect to the cosine.
    pub(crate) fn of_cosine(self, cosine: f64) -> (f64, f64) {
        match self {
            Self::Cosine => (1.0 - cosine, -1.0),
            Self::Spherical => {
                let angle = cosine.acos();
                // d(angle^2 / 2)/d(cos) = -angle / sin(angle): -1 in the limit of 0, without bound towards pi
                let slope = if angle < 1e-4 {
                    -1.0
                } else {
                    -angle / angle.sin().max(1e-3)
                };
                (0.5 * angle * angle, slope)
            }
        }
    }
}
