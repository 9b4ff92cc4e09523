//! Depthwise convolution, of pixels whose channels are neighbours in memory.

mod kernels;

use candle_core::{Result, Tensor, bail};

use self::kernels::correlate;
use crate::host::{self, dims4_last, fused};
use crate::layer::{Layer, Pullback, add_to};
use crate::real::Real;

/// A convolution in which every output channel sees one input channel, with as much padding as keeps the size at stride 1:
/// [b, h, w, c] to [b, oh, ow, c multiplier], where `oh = ceil(h / stride)`. Output channel `o` sees input channel
/// `o / multiplier`, as in PyTorch with `groups = c`.
///
/// Channels come last, as in the linear layers and the layer norms that stand around it in every network of this kind:
/// nothing is transposed in between, and the kernel works on runs of channels whatever the width of the image.
#[derive(Clone, Debug)]
pub struct DepthwiseConv2d {
    /// [c multiplier, k k]
    weight: Tensor,
    bias: Option<Tensor>,
    multiplier: usize,
    kernel: usize,
    stride: usize,
}

impl DepthwiseConv2d {
    /// `weight` is [c multiplier, 1, k, k], as PyTorch stores it, with an odd k, and `bias` is `[c multiplier]`.
    ///
    /// # Errors
    /// Where the shapes, types or devices of weight and bias do not fit, or the stride is neither 1 nor 2.
    pub fn new(
        weight: Tensor,
        bias: Option<Tensor>,
        multiplier: usize,
        stride: usize,
    ) -> Result<Self> {
        let (outputs, kernel) = match *weight.dims() {
            [o, 1, kh, kw] if kh == kw && kh % 2 == 1 => (o, kh),
            _ => bail!(
                "DepthwiseConv2d: the weight must be [oc, 1, k, k] with an odd k, found {:?}",
                weight.shape()
            ),
        };
        if multiplier == 0 || outputs % multiplier != 0 {
            bail!(
                "DepthwiseConv2d: {outputs} output channels are not {multiplier} for each input channel"
            );
        }
        if !(1..=2).contains(&stride) {
            bail!("DepthwiseConv2d: the stride must be 1 or 2, found {stride}");
        }
        if let Some(bias) = &bias {
            if bias.dims() != [outputs] {
                bail!(
                    "DepthwiseConv2d: the bias must be [{outputs}], found {:?}",
                    bias.shape()
                );
            }
            host::check_kind("DepthwiseConv2d bias", bias, &weight)?;
        }
        let weight = weight.detach().reshape((outputs, kernel * kernel))?;
        Ok(Self {
            weight: weight.contiguous()?,
            bias: bias.map(|bias| bias.detach().contiguous()).transpose()?,
            multiplier,
            kernel,
            stride,
        })
    }

    fn inputs(&self) -> usize {
        self.weight.dims()[0] / self.multiplier
    }

    /// What is added to every side.
    fn padding(&self) -> usize {
        self.kernel / 2
    }

    fn reduced(&self, size: usize) -> usize {
        size.div_ceil(self.stride)
    }

    fn value<T: Real>(&self, x: &Tensor) -> Result<Tensor> {
        let (_, h, w, _) = x.dims4()?;
        let size = (self.reduced(h), self.reduced(w));
        correlate::<T>(self, x, size, kernels::Direction::Forward)
    }

    fn pull<T: Real>(&self, grad: &Tensor, size: (usize, usize)) -> Result<Tensor> {
        correlate::<T>(self, grad, size, kernels::Direction::Backward)
    }

    /// The weight of the kernel's element `(y, x)` as [channels, multiplier].
    fn tap(&self, y: usize, x: usize) -> Result<Tensor> {
        (self.weight.narrow(1, y * self.kernel + x, 1)?).reshape((self.inputs(), self.multiplier))
    }

    /// The sum of shifted images, each times one element of every channel's kernel: a loop over the kernel, not over channels.
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        let (b, h, w, c) = x.dims4()?;
        let (oh, ow) = (self.reduced(h), self.reduced(w));
        let (k, s, p) = (self.kernel, self.stride, self.padding());
        // as many rows and columns behind as the last position, and a whole stride from it, reach
        let after = |size: usize, out: usize| k + s * out - p - size;
        let x = x.pad_with_zeros(1, p, after(h, oh))?;
        let x = x.pad_with_zeros(2, p, after(w, ow))?;
        let mut sum = None;
        for ky in 0..k {
            for kx in 0..k {
                let shifted = every(&every(&x, 1, ky, oh, s)?, 2, kx, ow, s)?;
                let shifted = shifted.reshape((b, oh, ow, c, 1))?;
                add_to(&mut sum, shifted.broadcast_mul(&self.tap(ky, kx)?)?)?;
            }
        }
        let Some(sum) = sum else {
            bail!("DepthwiseConv2d: the kernel is empty");
        };
        let y = sum.reshape((b, oh, ow, c * self.multiplier))?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }

    /// The same of the gradient, spread by the stride, with the kernel turned by 180 degrees.
    fn pull_composed(&self, grad: &Tensor, (h, w): (usize, usize)) -> Result<Tensor> {
        let (b, oh, ow, outputs) = grad.dims4()?;
        let (k, s, p, c) = (self.kernel, self.stride, self.padding(), self.inputs());
        let spread = grad.contiguous()?.reshape((b, oh, 1, ow, 1, outputs))?;
        let spread = spread.pad_with_zeros(2, 0, s - 1)?;
        let spread = spread.pad_with_zeros(4, 0, s - 1)?;
        let spread = spread.reshape((b, oh * s, ow * s, outputs))?;
        let spread = spread.narrow(1, 0, h)?.narrow(2, 0, w)?;
        let spread = spread.pad_with_zeros(1, p, p)?.pad_with_zeros(2, p, p)?;
        let mut sum = None;
        for ky in 0..k {
            for kx in 0..k {
                let shifted = spread.narrow(1, ky, h)?.narrow(2, kx, w)?.contiguous()?;
                let shifted = shifted.reshape((b, h, w, c, self.multiplier))?;
                let tap = self.tap(k - 1 - ky, k - 1 - kx)?;
                add_to(&mut sum, shifted.broadcast_mul(&tap)?.sum(4)?)?;
            }
        }
        sum.ok_or_else(|| candle_core::Error::Msg("the kernel is empty".to_owned()))
    }
}

/// `count` elements of an axis, one of every `stride`, from `first` on.
fn every(x: &Tensor, axis: usize, first: usize, count: usize, stride: usize) -> Result<Tensor> {
    if stride == 1 {
        return x.narrow(axis, first, count)?.contiguous();
    }
    let mut dims = x.dims().to_vec();
    dims[axis] = count;
    dims.insert(axis + 1, stride);
    let runs = x.narrow(axis, first, count * stride)?.contiguous()?;
    let first = runs.reshape(dims)?.narrow(axis + 1, 0, 1)?;
    first.squeeze(axis + 1)?.contiguous()
}

impl Layer for DepthwiseConv2d {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        host::check_kind("DepthwiseConv2d", x, &self.weight)?;
        let (_, h, w, c) = dims4_last("DepthwiseConv2d", x)?;
        if c != self.inputs() || h == 0 || w == 0 {
            bail!(
                "DepthwiseConv2d: expected [batch, height, width, {}], found {:?}",
                self.inputs(),
                x.shape()
            );
        }
        fused!(x, self.value(x), self.composed(x))
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let y = self.eval(x)?;
        let (_, h, w, _) = x.dims4()?;
        let (layer, shape) = (self.clone(), y.shape().clone());
        let pullback = move |grad: &Tensor| {
            host::check_grad("DepthwiseConv2d", grad, &shape)?;
            fused!(
                grad,
                layer.pull(grad, (h, w)),
                layer.pull_composed(grad, (h, w))
            )
        };
        Ok((y, Box::new(pullback)))
    }
}
