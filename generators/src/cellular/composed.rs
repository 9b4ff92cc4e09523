//! One iteration of a rule in candle's operations: for GPUs, and to compare with.

use candle_core::{Result, Tensor};

use super::Padding;
use super::fire::Fire;
use super::kernel::SENSES;
use super::rule::Rule;

/// The states after one iteration, with candle's graph.
pub(super) fn step(rule: &Rule, x: &Tensor, fire: &Fire) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    let senses = perceive(x, rule.config().padding)?;
    let senses = senses.reshape((batch, SENSES * channels, height * width))?;
    let [w1, b1, w2] = rule.weights();
    let bias = b1.reshape((1, (), 1))?;
    let hidden = w1.broadcast_matmul(&senses)?.broadcast_add(&bias)?.relu()?;
    let change = w2.broadcast_matmul(&hidden)?.reshape(x.shape())?;
    let mask = fire.mask(batch * height, width);
    let mask = Tensor::from_vec(mask, (batch, 1, height, width), &candle_core::Device::Cpu)?;
    let mask = mask.to_dtype(x.dtype())?.to_device(x.device())?;
    x + change.broadcast_mul(&mask)?
}

/// `[batch, channels, height, width]` to `[batch, channels, 4, height, width]`: each channel itself, its slopes along x and y by Sobel's
/// kernels, its Laplacian by `[1 2 1; 2 -12 2; 1 2 1]`.
fn perceive(x: &Tensor, padding: Padding) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    let tall = pad(x, 2, padding)?;
    let [above, below] = [tall.narrow(2, 0, height)?, tall.narrow(2, 2, height)?];
    let smooth = pad(&((&above + &below)? + (x * 2.0)?)?, 3, padding)?;
    let slope = pad(&(below - above)?, 3, padding)?;
    let at = |line: &Tensor, column: usize| line.narrow(3, column, width);
    let dx = (at(&smooth, 2)? - at(&smooth, 0)?)?;
    let across = |line: &Tensor| (at(line, 0)? + at(line, 2)?)? + (at(line, 1)? * 2.0)?;
    let dy = across(&slope)?;
    let laplacian = (across(&smooth)? - (x * 16.0)?)?;
    Tensor::stack(&[x, &dx, &dy, &laplacian], 2)
}

/// One row or column more at both ends.
fn pad(x: &Tensor, dim: usize, padding: Padding) -> Result<Tensor> {
    match padding {
        Padding::Zero => x.pad_with_zeros(dim, 1, 1),
        Padding::Circular => {
            let last = x.dim(dim)? - 1;
            Tensor::cat(&[&x.narrow(dim, last, 1)?, x, &x.narrow(dim, 0, 1)?], dim)
        }
    }
}
