//! What a tower is asked for.

/// What of a picture a tower makes sense of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Squares of any size and place.
    Cutouts,
    /// The largest square in the middle, as it is.
    Middle,
    /// All of it, squeezed into a square.
    All,
}

/// What a tower is asked for: a place among its embeddings.
#[derive(Clone, Debug)]
pub struct Aim {
    /// As wide as the tower's embeddings, of unit length.
    pub vector: Vec<f32>,
    /// How much the tower knows of it, 0..=1: what it does not know, it leaves to others to paint.
    pub sure: f64,
}

impl Aim {
    /// A place of the joint space, which a tower of that space knows as well as any.
    pub(crate) fn joint(embedding: &[f32]) -> Self {
        Self {
            vector: embedding.to_vec(),
            sure: 1.0,
        }
    }
}
