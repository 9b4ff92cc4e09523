//! Several crops of one image, each resized to one size.

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};

use super::engine::{self, Plan};
use super::taps::{Border, Filter};
use crate::host::{self, dims4};
use crate::layer::{Layer, Pullback};

/// A rectangle of an image, in pixels. It may begin and end inside a pixel, and reach over the image's edge.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Crop {
    /// The upper edge; 0 is the image's.
    pub top: f64,
    /// The left edge; 0 is the image's.
    pub left: f64,
    /// The height.
    pub height: f64,
    /// The width.
    pub width: f64,
    /// Whether left and right are exchanged.
    pub flip: bool,
}

/// Crops of one image, [1, c, h, w], each resized to the same size and antialiased where that is smaller:
/// [n, c, out_h, out_w].
///
/// A crop is a view of an infinite image, continued beyond its edge by [`Border`]: the filter of a crop's outermost
/// pixels reads the image around the crop. What a crop gives does not depend on the other crops.
#[derive(Clone, Debug)]
pub struct Crops {
    crops: Arc<[Crop]>,
    size: [usize; 2],
    filter: Filter,
    /// Along y and x.
    borders: [Border; 2],
}

/// Crops that reach further are a mistake, and would take a weight for every pixel in between.
const FAR: f64 = 1e6;

impl Crops {
    /// # Errors
    /// Where there is no crop, one is empty or not finite, or a side of the output is 0.
    pub fn new(
        crops: Vec<Crop>,
        out_h: usize,
        out_w: usize,
        filter: Filter,
        border: Border,
    ) -> Result<Self> {
        if out_h == 0 || out_w == 0 || crops.is_empty() {
            bail!(
                "Crops: cannot make {} crops of {out_h} x {out_w}",
                crops.len()
            );
        }
        for (i, crop) in crops.iter().enumerate() {
            let Crop {
                top,
                left,
                height,
                width,
                ..
            } = *crop;
            let near = [top, left, height, width].iter().all(|x| x.abs() <= FAR);
            if !(near && height > 0.0 && width > 0.0) {
                bail!("Crops: crop {i} is not a rectangle of an image: {crop:?}");
            }
        }
        Ok(Self {
            crops: crops.into(),
            size: [out_h, out_w],
            filter,
            borders: [border; 2],
        })
    }

    /// The same, where along the axes that wrap, y and x, the image continues at the opposite side ([`Border::Wrap`]).
    #[must_use]
    pub fn wrapping(mut self, wrap: [bool; 2]) -> Self {
        for (border, wraps) in self.borders.iter_mut().zip(wrap) {
            if wraps {
                *border = Border::Wrap;
            }
        }
        self
    }

    fn plans(&self, x: &Tensor) -> Result<(Vec<Plan>, [usize; 3])> {
        let (1, c, h, w) = dims4("Crops", x)? else {
            bail!(
                "Crops: expected one image, [1, channels, height, width], found {:?}",
                x.shape()
            );
        };
        if h == 0 || w == 0 {
            bail!("Crops: the image is empty, {:?}", x.shape());
        }
        let plans = self.crops.iter().map(|crop| {
            let span = |axis: usize, start, extent, len| {
                let (out, border) = (self.size[axis], self.borders[axis]);
                self.filter.span(start, extent, len, out, border)
            };
            let x = span(1, crop.left, crop.width, w);
            Plan::new(
                span(0, crop.top, crop.height, h),
                if crop.flip { x.reversed() } else { x },
            )
        });
        Ok((plans.collect(), [c, h, w]))
    }
}

impl Layer for Crops {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let (plans, [c, ..]) = self.plans(x)?;
        engine::forward(x, c, &plans, self.size)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (plans, [c, h, w]) = self.plans(x)?;
        let y = engine::forward(x, c, &plans, self.size)?;
        let shape = y.shape().clone();
        let pullback = move |grad: &Tensor| {
            host::check_grad("Crops", grad, &shape)?;
            engine::backward(grad, c, &plans, [h, w])
        };
        Ok((y, Box::new(pullback)))
    }
}
