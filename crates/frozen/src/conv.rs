//! Convolution in two dimensions.

mod kernels;
mod transposed;

pub use transposed::ConvTranspose2d;

use candle_core::{DType, Result, Tensor, bail};

use self::kernels::{backward, forward};

use crate::host::{self, dims4, fused};
use crate::layer::{Layer, Pullback};
use crate::pad::Pad;

/// How the kernel of a [`Conv2d`] moves over the image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conv2dOptions {
    /// Pixels between neighbouring positions, in both directions; 1 by default.
    pub stride: usize,
    /// Zeros on every side of the image; 0 by default.
    pub padding: usize,
    /// Groups of channels that do not mix; 1 by default.
    pub groups: usize,
}

impl Default for Conv2dOptions {
    fn default() -> Self {
        Self {
            stride: 1,
            padding: 0,
            groups: 1,
        }
    }
}

/// A convolution (a cross-correlation, as in every framework): [b, ic, h, w] to [b, oc, oh, ow], where
/// `oh = (h + 2 padding - kh) / stride + 1`.
#[derive(Clone, Debug)]
pub struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    options: Conv2dOptions,
    /// Along y and x, whether the padding is of the opposite side's pixels.
    wrap: [bool; 2],
}

impl Conv2d {
    /// `weight` is [oc, ic / groups, kh, kw], as PyTorch stores it, and `bias` is `[oc]`.
    ///
    /// # Errors
    /// Where the shapes, types or devices of weight and bias do not fit, or the stride is 0.
    pub fn new(weight: Tensor, bias: Option<Tensor>, options: Conv2dOptions) -> Result<Self> {
        let [oc, _, kh, kw] = *weight.dims() else {
            bail!(
                "Conv2d: the weight must be [oc, ic / groups, kh, kw], found {:?}",
                weight.shape()
            );
        };
        if options.groups == 0 || oc % options.groups != 0 {
            bail!(
                "Conv2d: {oc} output channels do not divide into {} groups",
                options.groups
            );
        }
        if options.stride == 0 || kh == 0 || kw == 0 {
            bail!(
                "Conv2d: stride and kernel must be at least 1, found {} and {kh} x {kw}",
                options.stride
            );
        }
        if let Some(bias) = &bias {
            if bias.dims() != [oc] {
                bail!("Conv2d: the bias must be [{oc}], found {:?}", bias.shape());
            }
            host::check_kind("Conv2d bias", bias, &weight)?;
        }
        Ok(Self {
            weight: weight.detach().contiguous()?,
            bias: bias.map(|bias| bias.detach().contiguous()).transpose()?,
            options,
            wrap: [false; 2],
        })
    }

    /// The same, with padding of the pixels of the opposite side along the axes that wrap, y and x, instead of zeros
    /// (PyTorch's `padding_mode="circular"`).
    #[must_use]
    pub fn wrapping(self, wrap: [bool; 2]) -> Self {
        Self { wrap, ..self }
    }

    /// A convolution followed by a batch normalisation that no longer learns, as one convolution:
    /// `(conv(x) - bn_mean) / sqrt(bn_var + eps) * bn_weight + bn_bias`. The four statistics are `[oc]`.
    ///
    /// # Errors
    /// Where the shapes, types or devices do not fit.
    #[expect(clippy::too_many_arguments)]
    pub fn folded(
        weight: Tensor,
        bias: Option<Tensor>,
        bn_weight: &Tensor,
        bn_bias: &Tensor,
        bn_mean: &Tensor,
        bn_var: &Tensor,
        eps: f64,
        options: Conv2dOptions,
    ) -> Result<Self> {
        let oc = weight.dims().first().copied().unwrap_or(0);
        for (name, x) in [
            ("weight", bn_weight),
            ("bias", bn_bias),
            ("mean", bn_mean),
            ("variance", bn_var),
        ] {
            if x.dims() != [oc] {
                bail!(
                    "Conv2d: the batch norm's {name} must be [{oc}], found {:?}",
                    x.shape()
                );
            }
        }
        // halves have too few digits for the quotient
        let kind = weight.dtype();
        let wide = |x: &Tensor| match kind {
            DType::F16 | DType::BF16 => x.to_dtype(DType::F32),
            _ => Ok(x.clone()),
        };
        let scale = (wide(bn_weight)? / (wide(bn_var)? + eps)?.sqrt()?)?;
        let mean = match &bias {
            Some(bias) => (wide(bn_mean)? - wide(bias)?)?,
            None => wide(bn_mean)?,
        };
        let bias = (wide(bn_bias)? - (mean * &scale)?)?.to_dtype(kind)?;
        let weight = wide(&weight)?.broadcast_mul(&scale.reshape((oc, 1, 1, 1))?)?;
        Self::new(weight.to_dtype(kind)?, Some(bias), options)
    }

    /// The padding with what is not zero, where there is any.
    fn wrapped(&self) -> Option<Pad> {
        let padding = self.options.padding;
        let [rows, columns] = self.wrap.map(|wraps| [if wraps { padding } else { 0 }; 2]);
        (padding > 0 && self.wrap != [false; 2]).then(|| Pad::new(rows, columns, self.wrap))
    }

    /// The sizes for an image that has been padded with what is not zero.
    fn geometry(&self, x: &Tensor) -> Result<Geometry> {
        host::check_kind("Conv2d", x, &self.weight)?;
        let (b, c, h, w) = dims4("Conv2d", x)?;
        let (oc, ic, kh, kw) = self.weight.dims4()?;
        let Conv2dOptions {
            stride,
            padding,
            groups,
        } = self.options;
        let pad = (self.wrap).map(|wraps| if wraps { 0 } else { padding });
        if c != ic * groups {
            bail!(
                "Conv2d: expected [batch, {}, height, width], found {:?}",
                ic * groups,
                x.shape()
            );
        }
        if h + 2 * pad[0] < kh || w + 2 * pad[1] < kw {
            bail!(
                "Conv2d: the {kh} x {kw} kernel is larger than the image, {h} x {w} with padding {padding}"
            );
        }
        Ok(Geometry {
            batch: b,
            groups,
            ic,
            oc: oc / groups,
            h,
            w,
            kh,
            kw,
            oh: (h + 2 * pad[0] - kh) / stride + 1,
            ow: (w + 2 * pad[1] - kw) / stride + 1,
            stride,
            pad,
        })
    }

    /// One group's kernel after the other as a matrix, [oc, ic kh kw], each with its part of the image.
    fn composed(&self, x: &Tensor, g: &Geometry) -> Result<Tensor> {
        let [rows, columns] = g.pad;
        let (x, padding) = if rows == columns {
            (x.clone(), rows)
        } else {
            // candle's convolution has one padding for both axes
            let x = x.pad_with_zeros(2, rows, rows)?;
            (x.pad_with_zeros(3, columns, columns)?, 0)
        };
        let y = x.conv2d(&self.weight, padding, g.stride, 1, g.groups)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?),
            None => Ok(y),
        }
    }

    /// The transposed convolution of candle, group by group, since it knows no groups itself.
    fn pull_composed(&self, grad: &Tensor, g: &Geometry) -> Result<Tensor> {
        let [rows, columns] = g.pad;
        let parts = (0..g.groups).map(|i| {
            let grad = grad.narrow(1, i * g.oc, g.oc)?.contiguous()?;
            let weight = self.weight.narrow(0, i * g.oc, g.oc)?.contiguous()?;
            // Without padding, and cut afterwards: then rows that no kernel reached are appended, not guessed.
            let full = grad.conv_transpose2d(&weight, 0, 0, g.stride, 1)?;
            let (_, _, fh, fw) = full.dims4()?;
            let full = full
                .pad_with_zeros(2, 0, (g.h + 2 * rows).saturating_sub(fh))?
                .pad_with_zeros(3, 0, (g.w + 2 * columns).saturating_sub(fw))?;
            full.narrow(2, rows, g.h)?.narrow(3, columns, g.w)
        });
        Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 1)
    }

    /// The value at an image that has been padded with what is not zero.
    fn padded_eval(&self, x: &Tensor) -> Result<Tensor> {
        let g = self.geometry(x)?;
        fused!(
            x,
            forward(x, &self.weight, self.bias.as_ref(), &g),
            self.composed(x, &g)
        )
    }
}

impl Layer for Conv2d {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        match self.wrapped() {
            None => self.padded_eval(x),
            Some(pad) => self.padded_eval(&pad.eval(x)?),
        }
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (x, unpad) = match self.wrapped() {
            None => (x.clone(), None),
            Some(pad) => {
                let (x, unpad) = pad.vjp(x)?;
                (x, Some(unpad))
            }
        };
        let (g, y) = (self.geometry(&x)?, self.padded_eval(&x)?);
        let (layer, shape) = (self.clone(), y.shape().clone());
        let pullback = move |grad: &Tensor| {
            host::check_grad("Conv2d", grad, &shape)?;
            let grad = fused!(
                grad,
                backward(grad, &layer.weight, &g),
                layer.pull_composed(grad, &g)
            )?;
            match &unpad {
                None => Ok(grad),
                Some(unpad) => unpad(&grad),
            }
        };
        Ok((y, Box::new(pullback)))
    }
}

/// The sizes of one convolution. Channels are those of one group.
#[derive(Clone, Copy, Debug)]
struct Geometry {
    batch: usize,
    groups: usize,
    ic: usize,
    oc: usize,
    h: usize,
    w: usize,
    kh: usize,
    kw: usize,
    oh: usize,
    ow: usize,
    stride: usize,
    /// Zeros above and below, and left and right.
    pad: [usize; 2],
}

impl Geometry {
    /// Whether every pixel is under at most one position of the kernel, aligned with it: a Vision Transformer's patches.
    fn is_patches(&self) -> bool {
        self.kh == self.kw
            && self.stride == self.kh
            && self.pad == [0, 0]
            && self.groups == 1
            && self.kh > 1
    }

    /// Rows of the column matrix: elements under the kernel.
    fn depth(&self) -> usize {
        self.ic * self.kh * self.kw
    }
}
