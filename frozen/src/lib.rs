//! Layers of frozen networks, differentiable in their input alone.
//!
//! A network that only criticises or decodes never learns: all that is wanted of its backward pass is the gradient
//! of its *input*. Every [`Layer`] here therefore carries two functions, written by hand: its value ([`Layer::eval`])
//! and its value together with a [`Pullback`] ([`Layer::vjp`]), the map from the gradient of the output to the
//! gradient of the input. Layers compose with [`Chain`] and [`Residual`] without a graph in between, and a whole network
//! joins candle's graph as one node ([`Layer::forward`]).

pub mod layer;

pub use layer::{Chain, Layer, Pullback, Residual, attach};
