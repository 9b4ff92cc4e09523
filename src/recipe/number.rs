//! Numbers that may change over a render, and moments of a render.

/// A number, or an expression of `t`, the share of the render that is done (0..=1).
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    // to be filled in: a constant, or the source text with its parsed expression
}

/// A step, or a share of the render (`60%`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moment {
    /// So many steps.
    Steps(usize),
    /// So much of the render, 0..=1.
    Share(f64),
}
