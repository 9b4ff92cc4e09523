//! A tower's target.

use crate::vector::slerp;

/// The part of a picture that a tower understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Squares of any size and position.
    Cutouts,
    /// The largest square in the center.
    Middle,
    /// All of it, resized to a square.
    All,
}

/// A tower's target: a point among its embeddings.
#[derive(Clone, Debug)]
pub struct Aim {
    /// As wide as the tower's embeddings, of unit length.
    pub vector: Vec<f32>,
    /// How well the tower knows it, 0..=1: the less, the more it leaves to other towers.
    pub sure: f64,
}

impl Aim {
    /// Interpolates between two: `a` at a share of 0, `b` at 1.
    pub fn between(a: &Self, b: &Self, share: f64) -> Self {
        Self {
            vector: slerp(&a.vector, &b.vector, share),
            sure: a.sure + (b.sure - a.sure) * share,
        }
    }

    /// A point of the joint space, all of which a tower of that space knows equally well.
    pub(crate) fn joint(embedding: &[f32]) -> Self {
        Self {
            vector: embedding.to_vec(),
            sure: 1.0,
        }
    }
}
