//! Changes of resolution by any factor, and crops: separable filters, applied as banded matrices.
//!
//! A row of the output is a weighted sum of a few rows of the input, and each of its pixels a weighted sum of a few
//! pixels of that. The weights depend on sizes alone, so that the gradient is the same two sums transposed.

mod crops;
mod engine;
mod taps;

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};

pub use self::crops::{Crop, Crops};
use self::engine::Plan;
pub use self::taps::{Border, Filter};
use crate::host::{self, dims4};
use crate::layer::{Layer, Pullback};

/// [b, c, h, w] resized to [b, c, out_h, out_w]; the corners of image and image are the corners of the outermost pixels
/// (PyTorch: `align_corners=False`).
///
/// As `torch.nn.functional.interpolate` computes it: without `antialias` the filter reads the pixels around a point and
/// repeats those at the edge (bicubic with a = -0.75); with `antialias` the filter is widened by the factor of
/// reduction, as in Pillow, and what reaches over the edge is left out (bicubic with a = -0.5).
#[derive(Clone, Copy, Debug)]
pub struct Resample {
    size: [usize; 2],
    filter: Filter,
    antialias: bool,
    /// Along y and x, whether the image continues at the opposite side.
    wrap: [bool; 2],
}

impl Resample {
    /// # Errors
    /// Where a side of the output is 0.
    pub fn new(out_h: usize, out_w: usize, filter: Filter, antialias: bool) -> Result<Self> {
        if out_h == 0 || out_w == 0 {
            bail!("Resample: cannot resize to {out_h} x {out_w}");
        }
        Ok(Self {
            size: [out_h, out_w],
            filter,
            antialias,
            wrap: [false; 2],
        })
    }

    /// The same, where along the axes that wrap, y and x, the image continues at the opposite side instead of ending at its edge.
    #[must_use]
    pub fn wrapping(self, wrap: [bool; 2]) -> Self {
        Self { wrap, ..self }
    }

    fn plan(&self, x: &Tensor) -> Result<(Plan, [usize; 4])> {
        let (b, c, h, w) = dims4("Resample", x)?;
        if h == 0 || w == 0 {
            bail!("Resample: the image is empty, {:?}", x.shape());
        }
        let taps = |axis: usize, len| {
            let (out, wraps) = (self.size[axis], self.wrap[axis]);
            self.filter.resize(len, out, self.antialias, wraps)
        };
        let plan = Plan::new(taps(0, h), taps(1, w));
        Ok((plan, [b, c, h, w]))
    }
}

/// Resizes images `[b, c, h, w]` to exactly that width and height, keeping the aspect ratio: enlarged or reduced to cover it and cropped to
/// the middle, with values held to 0..=1.
///
/// # Errors
/// Where a side is 0.
pub fn resize_to_fill(image: &Tensor, [width, height]: [usize; 2]) -> Result<Tensor> {
    let (_, _, h, w) = image.dims4()?;
    if (h, w) == (height, width) {
        return Ok(image.clone());
    }
    let scale = (width as f64 / w as f64).max(height as f64 / h as f64);
    let scaled = |side: usize, least: usize| ((side as f64 * scale).round() as usize).max(least);
    let (h, w) = (scaled(h, height), scaled(w, width));
    let resized = Resample::new(h, w, Filter::Bicubic, true)?.eval(image)?;
    resized
        .narrow(2, (h - height) / 2, height)?
        .narrow(3, (w - width) / 2, width)?
        .contiguous()?
        .clamp(0.0, 1.0)
}

impl Layer for Resample {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let (plan, [b, c, ..]) = self.plan(x)?;
        engine::forward(x, b * c, &[plan], self.size)?.reshape((b, c, self.size[0], self.size[1]))
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (plan, [b, c, h, w]) = self.plan(x)?;
        let plans = Arc::new([plan]);
        let y = engine::forward(x, b * c, &*plans, self.size)?;
        let y = y.reshape((b, c, self.size[0], self.size[1]))?;
        let shape = y.shape().clone();
        let pullback = move |grad: &Tensor| {
            host::check_grad("Resample", grad, &shape)?;
            engine::backward(grad, b * c, &*plans, [h, w])?.reshape((b, c, h, w))
        };
        Ok((y, Box::new(pullback)))
    }
}
