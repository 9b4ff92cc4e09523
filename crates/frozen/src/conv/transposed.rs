//! Transposed convolution.

use candle_core::{Result, Tensor, bail};

use super::{Conv2d, Conv2dOptions, Geometry, backward};
use crate::host::{self, dims4, fused};
use crate::layer::{Layer, Pullback};

/// A transposed convolution without padding (`torch.nn.ConvTranspose2d`): [b, ic, h, w] to [b, oc, oh, ow], where `oh = (h - 1) stride + kh`.
///
/// It is the transpose of a [`Conv2d`], whose kernels it runs the other way round.
#[derive(Clone, Debug)]
pub struct ConvTranspose2d {
    conv: Conv2d,
}

impl ConvTranspose2d {
    /// `weight` is [ic, oc, kh, kw], as PyTorch stores it.
    ///
    /// # Errors
    /// Where the weight has another number of dimensions, or a size of 0.
    pub fn new(weight: Tensor, stride: usize) -> Result<Self> {
        let options = Conv2dOptions {
            stride,
            ..Conv2dOptions::default()
        };
        let conv = Conv2d::new(weight, None, options)?;
        Ok(Self { conv })
    }

    /// The sizes of the convolution of which this is the transpose.
    fn geometry(&self, x: &Tensor) -> Result<Geometry> {
        host::check_kind("ConvTranspose2d", x, &self.conv.weight)?;
        let (batch, c, oh, ow) = dims4("ConvTranspose2d", x)?;
        let (oc, ic, kh, kw) = self.conv.weight.dims4()?;
        if c != oc || oh == 0 || ow == 0 {
            bail!(
                "ConvTranspose2d: expected [batch, {oc}, height, width], found {:?}",
                x.shape()
            );
        }
        let stride = self.conv.options.stride;
        Ok(Geometry {
            batch,
            groups: 1,
            ic,
            oc,
            h: (oh - 1) * stride + kh,
            w: (ow - 1) * stride + kw,
            kh,
            kw,
            oh,
            ow,
            stride,
            pad: [0, 0],
        })
    }
}

impl Layer for ConvTranspose2d {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let g = self.geometry(x)?;
        fused!(
            x,
            backward(x, &self.conv.weight, &g),
            self.conv.pull_composed(x, &g)
        )
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let y = self.eval(x)?;
        let (conv, shape) = (self.conv.clone(), y.shape().clone());
        let pullback = move |grad: &Tensor| {
            host::check_grad("ConvTranspose2d", grad, &shape)?;
            conv.padded_eval(grad)
        };
        Ok((y, Box::new(pullback)))
    }
}
