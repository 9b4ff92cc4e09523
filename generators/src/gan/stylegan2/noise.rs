//! Keeping painted noise planes noise (Karras et al. 2019, appendix D): neighbouring pixels must not be alike at any scale.

use candle_core::{Result, Tensor};
use frozen::{AvgPool2d, Layer, Pullback};

/// The smallest side that is looked at.
const LEAST: usize = 8;

/// The gradient of the regulariser of a plane [1, 1, h, w]: at every scale, the squared means of the products of neighbours along y and along x.
pub(super) fn gradient(plane: &Tensor) -> Result<Tensor> {
    let pool = AvgPool2d::new(2)?;
    let mut scales: Vec<(Tensor, Option<Pullback>)> = vec![(plane.clone(), None)];
    while let Some((last, _)) = scales.last()
        && last.dims()[2..].iter().all(|side| *side > LEAST)
    {
        let (halved, back) = pool.vjp(last)?;
        scales.push((halved, Some(back)));
    }
    let mut grad: Option<Tensor> = None;
    for (noise, back) in scales.iter().rev() {
        let mut here = own(noise)?;
        if let Some(smaller) = grad.take() {
            here = (here + smaller)?;
        }
        grad = Some(match back {
            Some(back) => back(&here)?,
            None => here,
        });
    }
    grad.map_or_else(|| plane.zeros_like(), Ok)
}

/// The gradient at one scale.
fn own(noise: &Tensor) -> Result<Tensor> {
    let count = noise.elem_count() as f64;
    let mut grad = noise.zeros_like()?;
    for dim in [2, 3] {
        let neighbours = noise.roll(1, dim)?;
        let mean = (noise * &neighbours)?.mean_all()?;
        let both = (neighbours + noise.roll(-1, dim)?)?;
        grad = (grad + both.broadcast_mul(&(mean * (2.0 / count))?)?)?;
    }
    Ok(grad)
}

/// The plane with mean 0 and variance 1.
pub(super) fn normalized(plane: &Tensor) -> Result<Tensor> {
    let plane = plane.broadcast_sub(&plane.mean_all()?)?;
    let variance = plane.sqr()?.mean_all()?;
    // a plane of one number would be divided by 0
    plane.broadcast_div(&(variance + 1e-12)?.sqrt()?)
}
