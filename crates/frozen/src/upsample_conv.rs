//! A convolution of an image enlarged to the nearest pixel.

use candle_core::{D, Result, Tensor, bail};

use crate::conv::{Conv2d, Conv2dOptions};
use crate::gemm::build;
use crate::host::{self, Slice, fused};
use crate::layer::{Layer, Pullback};
use crate::real::Real;

/// A 3 x 3 convolution with a padding of 1 of the image enlarged twice to the nearest pixel: [n, ic, h, w] to [n, oc, 2 h, 2 w].
///
/// Pixels of the enlarged image that come from one pixel are multiplied with the sum of their weights: each of the four kinds of output pixels is
/// a 2 x 2 convolution of the small image, with four ninths of the products.
#[derive(Clone, Debug)]
pub struct UpsampleConv2d {
    /// The four kinds one after the other, [4 oc, ic, 2, 2].
    phases: Conv2d,
    outputs: usize,
}

impl UpsampleConv2d {
    /// `weight` is [oc, ic, 3, 3], as PyTorch stores it, and `bias` is `[oc]`.
    ///
    /// # Errors
    /// Where the shapes, types or devices of weight and bias do not fit.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let [outputs, _, 3, 3] = *weight.dims() else {
            bail!(
                "UpsampleConv2d: the weight must be [oc, ic, 3, 3], found {:?}",
                weight.shape()
            );
        };
        let weight = weight.detach();
        // an output pixel of the first kind sees half of the pixel before it, and one of the second kind half of the pixel after it
        let halves = |x: &Tensor, dim: D, kind: usize| -> Result<Tensor> {
            let dim = candle_core::shape::Dim::to_index(&dim, x.shape(), "halves")?;
            let tap = |i: usize| x.narrow(dim, i, 1);
            let pair = match kind {
                0 => [tap(0)?, (tap(1)? + tap(2)?)?],
                _ => [(tap(0)? + tap(1)?)?, tap(2)?],
            };
            Tensor::cat(&pair, dim)
        };
        let mut kinds = Vec::with_capacity(4);
        for row in 0..2 {
            let rows = halves(&weight, D::Minus2, row)?;
            for column in 0..2 {
                kinds.push(halves(&rows, D::Minus1, column)?);
            }
        }
        let bias = bias.map(|bias| Tensor::cat(&[bias; 4], 0)).transpose()?;
        let options = Conv2dOptions {
            padding: 1,
            ..Conv2dOptions::default()
        };
        Ok(Self {
            phases: Conv2d::new(Tensor::cat(&kinds, 0)?, bias, options)?,
            outputs,
        })
    }
}

/// Interleaves the pixels of the four kinds: [n, 4 c, h + 1, w + 1] to [n, c, 2 h, 2 w].
fn interleave(phases: &Tensor, c: usize) -> Result<Tensor> {
    fn fused_interleave<T: Real>(phases: &Tensor, c: usize) -> Result<Tensor> {
        let (n, _, ph, pw) = phases.dims4()?;
        let (h, w) = (ph - 1, pw - 1);
        let phases = phases.contiguous()?;
        let slice = Slice::<T>::new(&phases)?;
        let out = build(n * c * 4 * h * w, 4 * h * w, |plane, out: &mut [T]| {
            let (image, channel) = (plane / c, plane % c);
            for (y, row) in out.chunks_exact_mut(2 * w).enumerate() {
                let (i, kind) = (y / 2, y % 2);
                let source = |column: usize| {
                    let from = (4 * image + 2 * kind + column) * c + channel;
                    &slice[(from * ph + i + kind) * pw + column..][..w]
                };
                for ((pair, &even), &odd) in row.chunks_exact_mut(2).zip(source(0)).zip(source(1)) {
                    pair.copy_from_slice(&[even, odd]);
                }
            }
        });
        host::tensor(out, (n, c, 2 * h, 2 * w))
    }
    fused!(phases, fused_interleave(phases, c), {
        let (n, _, ph, pw) = phases.dims4()?;
        let (h, w) = (ph - 1, pw - 1);
        let kind = |row: usize, column: usize| {
            let kind = phases.narrow(1, (2 * row + column) * c, c)?;
            kind.narrow(2, row, h)?.narrow(3, column, w)
        };
        let row = |row: usize| Tensor::stack(&[kind(row, 0)?, kind(row, 1)?], 4);
        // [n, c, h, row, w, column]
        let all = Tensor::stack(&[row(0)?, row(1)?], 3)?;
        all.reshape((n, c, 2 * h, 2 * w))
    })
}

/// The transpose of [`interleave`]: zero where nothing was taken from.
fn separate(grad: &Tensor) -> Result<Tensor> {
    fn fused_separate<T: Real>(grad: &Tensor) -> Result<Tensor> {
        let (n, c, gh, gw) = grad.dims4()?;
        let (h, w) = (gh / 2, gw / 2);
        let (ph, pw) = (h + 1, w + 1);
        let grad = grad.contiguous()?;
        let slice = Slice::<T>::new(&grad)?;
        let out = build(n * 4 * c * ph * pw, ph * pw, |plane, out: &mut [T]| {
            let (image, kind, channel) = (plane / (4 * c), plane / c % 4, plane % c);
            let (row, column) = (kind / 2, kind % 2);
            for i in 0..h {
                let from = ((image * c + channel) * gh + 2 * i + row) * gw;
                let out = &mut out[(i + row) * pw + column..][..w];
                for (out, pair) in out.iter_mut().zip(slice[from..][..gw].chunks_exact(2)) {
                    *out = pair[column];
                }
            }
        });
        host::tensor(out, (n, 4 * c, ph, pw))
    }
    fused!(grad, fused_separate(grad), {
        let (n, c, gh, gw) = grad.dims4()?;
        let split = grad
            .contiguous()?
            .reshape(&[n, c, gh / 2, 2, gw / 2, 2][..])?;
        let mut kinds = Vec::with_capacity(4);
        for row in 0..2 {
            for column in 0..2 {
                let kind = split.narrow(3, row, 1)?.narrow(5, column, 1)?;
                let kind = kind.squeeze(5)?.squeeze(3)?;
                let kind = kind.pad_with_zeros(2, row, 1 - row)?;
                kinds.push(kind.pad_with_zeros(3, column, 1 - column)?);
            }
        }
        Tensor::cat(&kinds, 1)
    })
}

impl Layer for UpsampleConv2d {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        interleave(&self.phases.eval(x)?, self.outputs)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (phases, pullback) = self.phases.vjp(x)?;
        let y = interleave(&phases, self.outputs)?;
        let shape = y.shape().clone();
        let back = move |grad: &Tensor| {
            host::check_grad("UpsampleConv2d", grad, &shape)?;
            pullback(&separate(grad)?)
        };
        Ok((y, Box::new(back)))
    }
}
