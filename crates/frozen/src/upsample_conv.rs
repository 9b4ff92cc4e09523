//! A convolution of an image enlarged to the nearest pixel.

use candle_core::{DType, Result, Tensor, bail};

use crate::conv::{Conv2d, Conv2dOptions};
use crate::gemm::{Mat, Threads, build, product};
use crate::host::{self, Kernel, Slice, dims4};
use crate::layer::{Chain, Layer, Pullback};
use crate::pool::UpsampleNearest;
use crate::real::Real;

/// A 3 x 3 convolution with a padding of 1 of the image enlarged twice to the nearest pixel: [n, ic, h, w] to [n, oc, 2 h, 2 w].
///
/// The enlarged image is even but for the steps between its pixels, which the fused kernels make use of. Along one axis, with the weights
/// `a b c`, the two pixels that come from `x[i]` are `s x[i] - a (x[i] - x[i - 1])` and `s x[i] + c (x[i + 1] - x[i])`, where `s = a + b + c`:
/// three products instead of six. Along both axes there are nine for each pixel of the small image instead of 36, with matrices on the image, on its
/// differences along x, along y, and along both.
#[derive(Clone, Debug)]
pub struct UpsampleConv2d {
    form: Form,
    bias: Option<Tensor>,
    inputs: usize,
    outputs: usize,
}

#[derive(Clone, Debug)]
enum Form {
    /// [9 oc, ic]: a matrix for the image, two for its differences along x, two along y, four along both.
    Differences(Tensor),
    /// [oc, ic, 3, 3]
    Plain(Tensor),
}

/// The groups of matrices that see one image: the first, and how many.
const GROUPS: [(usize, usize); 4] = [(0, 1), (1, 2), (3, 2), (5, 4)];
/// The kinds of weights along y and x of each matrix: their sum, the negative of the first, the last.
const KINDS: [[usize; 2]; 9] = [
    [0, 0],
    [0, 1],
    [0, 2],
    [1, 0],
    [2, 0],
    [1, 1],
    [1, 2],
    [2, 1],
    [2, 2],
];

impl UpsampleConv2d {
    /// `weight` is [oc, ic, 3, 3], as PyTorch stores it, and `bias` is `[oc]`.
    ///
    /// # Errors
    /// Where the shapes, types or devices of weight and bias do not fit.
    pub fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let [outputs, inputs, 3, 3] = *weight.dims() else {
            bail!(
                "UpsampleConv2d: the weight must be [oc, ic, 3, 3], found {:?}",
                weight.shape()
            );
        };
        let weight = weight.detach();
        let bias = bias.map(Tensor::detach);
        // checks the bias
        Conv2d::new(weight.clone(), bias.clone(), Conv2dOptions::default())?;
        let is_fused =
            weight.device().is_cpu() && matches!(weight.dtype(), DType::F32 | DType::F64);
        let form = if is_fused {
            let kind = |x: &Tensor, dim: usize, kind: usize| match kind {
                0 => x.sum_keepdim(dim),
                1 => x.narrow(dim, 0, 1)?.neg(),
                _ => x.narrow(dim, 2, 1),
            };
            let matrices = KINDS.map(|[y, x]| -> Result<Tensor> {
                let matrix = kind(&kind(&weight, 2, y)?, 3, x)?;
                matrix.reshape((outputs, inputs))
            });
            let matrices = matrices.into_iter().collect::<Result<Vec<_>>>()?;
            Form::Differences(Tensor::cat(&matrices, 0)?)
        } else {
            Form::Plain(weight)
        };
        Ok(Self {
            form,
            bias,
            inputs,
            outputs,
        })
    }

    /// The enlargement and the convolution.
    fn plain(&self) -> Result<Chain> {
        let weight = match &self.form {
            Form::Plain(weight) => weight.clone(),
            Form::Differences(matrices) => {
                let part = |y: usize, x: usize| {
                    let index = KINDS.iter().position(|kind| *kind == [y, x]).unwrap_or(0);
                    matrices.narrow(0, index * self.outputs, self.outputs)
                };
                let row = |y: usize| -> Result<Tensor> {
                    let (sum, first, last) = (part(y, 0)?, part(y, 1)?.neg()?, part(y, 2)?);
                    Tensor::stack(&[&first, &((sum - &first)? - &last)?, &last], 2)
                };
                let (sum, first, last) = (row(0)?, row(1)?.neg()?, row(2)?);
                Tensor::stack(&[&first, &((sum - &first)? - &last)?, &last], 2)?
            }
        };
        let options = Conv2dOptions {
            padding: 1,
            ..Conv2dOptions::default()
        };
        Ok(Chain::new(vec![
            Box::new(UpsampleNearest::new(2)?),
            Box::new(Conv2d::new(weight, self.bias.clone(), options)?),
        ]))
    }

    /// The matrices, where a fused kernel serves `x`.
    fn matrices(&self, x: &Tensor) -> Result<Option<(&Tensor, Kernel)>> {
        let (_, c, _, _) = dims4("UpsampleConv2d", x)?;
        if c != self.inputs {
            bail!(
                "UpsampleConv2d: expected [batch, {}, height, width], found {:?}",
                self.inputs,
                x.shape()
            );
        }
        Ok(match (&self.form, Kernel::of(x)) {
            (Form::Plain(_), _) | (_, Kernel::Composed) => None,
            (Form::Differences(matrices), kernel) => {
                host::check_kind("UpsampleConv2d", x, matrices)?;
                Some((matrices, kernel))
            }
        })
    }

    fn value<T: Real>(&self, matrices: &Tensor, x: &Tensor) -> Result<Tensor> {
        let (n, ic, h, w) = x.dims4()?;
        let oc = self.outputs;
        let x = x.contiguous()?;
        let (x, matrices) = (Slice::<T>::new(&x)?, Slice::<T>::new(matrices)?);
        let bias = self.bias.as_ref().map(Slice::<T>::new).transpose()?;
        let mut y = Vec::with_capacity(n * oc * 4 * h * w);
        for x in x.chunks_exact((ic * h * w).max(1)) {
            let along_x = differences_along_x(x, [h, w]);
            let along_y = differences_along_y(x, [h, w]);
            let both = differences_along_y(&along_x, [h, w + 1]);
            let images = [x, &along_x, &along_y, &both];
            let products: Vec<Vec<T>> = (GROUPS.iter().zip(images))
                .map(|((first, count), image)| {
                    let matrix = &matrices[first * oc * ic..][..count * oc * ic];
                    let image = Mat::new(image, ic, image.len() / ic);
                    product(Mat::new(matrix, count * oc, ic), image, Threads::All)
                })
                .collect();
            let [own, along_x, along_y, both] = products.as_slice() else {
                bail!("UpsampleConv2d: there are four groups")
            };
            y.extend(build(oc * 4 * h * w, 4 * h * w, |o, out: &mut [T]| {
                let bias = bias.as_ref().map_or(T::zero(), |bias| bias[o]);
                for (row, out) in out.chunks_exact_mut(2 * w).enumerate() {
                    let (i, r) = (row / 2, row % 2);
                    let own = &own[(o * h + i) * w..][..w];
                    let side = |c: usize| &along_x[((c * oc + o) * h + i) * (w + 1) + c..][..w];
                    let above = &along_y[((r * oc + o) * (h + 1) + i + r) * w..][..w];
                    let corner = |c: usize| {
                        &both[(((2 * r + c) * oc + o) * (h + 1) + i + r) * (w + 1) + c..][..w]
                    };
                    let sides = side(0).iter().zip(side(1));
                    let corners = corner(0).iter().zip(corner(1));
                    let all = own.iter().zip(above).zip(sides).zip(corners);
                    for (pair, (((own, above), side), corner)) in out.chunks_exact_mut(2).zip(all) {
                        let both = bias + *own + *above;
                        pair[0] = both + *side.0 + *corner.0;
                        pair[1] = both + *side.1 + *corner.1;
                    }
                }
            }));
        }
        host::tensor(y, (n, oc, 2 * h, 2 * w))
    }

    fn pull<T: Real>(matrices: &Tensor, grad: &Tensor, [oc, ic]: [usize; 2]) -> Result<Tensor> {
        let (n, _, gh, gw) = grad.dims4()?;
        let (h, w) = (gh / 2, gw / 2);
        let grad = grad.contiguous()?;
        let (grad, matrices) = (Slice::<T>::new(&grad)?, Slice::<T>::new(matrices)?);
        let mut out = Vec::with_capacity(n * ic * h * w);
        for g in grad.chunks_exact((oc * gh * gw).max(1)) {
            let at = |o: usize, row: usize| &g[(o * gh + row) * gw..][..gw];
            let own = build(oc * h * w, h * w, |o, out: &mut [T]| {
                for (i, out) in out.chunks_exact_mut(w).enumerate() {
                    let rows = at(o, 2 * i)
                        .chunks_exact(2)
                        .zip(at(o, 2 * i + 1).chunks_exact(2));
                    for (out, (a, b)) in out.iter_mut().zip(rows) {
                        *out = a[0] + a[1] + b[0] + b[1];
                    }
                }
            });
            let along_x = build(2 * oc * h * (w + 1), h * (w + 1), |plane, out: &mut [T]| {
                let (c, o) = (plane / oc, plane % oc);
                for (i, out) in out.chunks_exact_mut(w + 1).enumerate() {
                    let rows = at(o, 2 * i)
                        .chunks_exact(2)
                        .zip(at(o, 2 * i + 1).chunks_exact(2));
                    for (out, (a, b)) in out[c..].iter_mut().zip(rows) {
                        *out = a[c] + b[c];
                    }
                }
            });
            let along_y = build(2 * oc * (h + 1) * w, (h + 1) * w, |plane, out: &mut [T]| {
                let (r, o) = (plane / oc, plane % oc);
                for (i, out) in out[r * w..].chunks_exact_mut(w).take(h).enumerate() {
                    for (out, a) in out.iter_mut().zip(at(o, 2 * i + r).chunks_exact(2)) {
                        *out = a[0] + a[1];
                    }
                }
            });
            let corners = (h + 1) * (w + 1);
            let both = build(4 * oc * corners, corners, |plane, out: &mut [T]| {
                let (r, c, o) = (plane / (2 * oc), plane / oc % 2, plane % oc);
                let rows = out[r * (w + 1)..].chunks_exact_mut(w + 1).take(h);
                for (i, out) in rows.enumerate() {
                    for (out, a) in out[c..].iter_mut().zip(at(o, 2 * i + r).chunks_exact(2)) {
                        *out = a[c];
                    }
                }
            });
            let images = [&own, &along_x, &along_y, &both];
            let products: Vec<Vec<T>> = (GROUPS.iter().zip(images))
                .map(|((first, count), image)| {
                    let matrix = &matrices[first * oc * ic..][..count * oc * ic];
                    let image = Mat::new(image, count * oc, image.len() / (count * oc));
                    product(Mat::new(matrix, count * oc, ic).t(), image, Threads::All)
                })
                .collect();
            let [own, along_x, along_y, both] = products.as_slice() else {
                bail!("UpsampleConv2d: there are four groups")
            };
            // a difference is this pixel minus the one before it
            out.extend(build(ic * h * w, h * w, |channel, out: &mut [T]| {
                for (i, out) in out.chunks_exact_mut(w).enumerate() {
                    let own = &own[(channel * h + i) * w..][..w];
                    let along_x = &along_x[(channel * h + i) * (w + 1)..][..w + 1];
                    let along_y = |i: usize| &along_y[(channel * (h + 1) + i) * w..][..w];
                    let both = |i: usize| &both[(channel * (h + 1) + i) * (w + 1)..][..w + 1];
                    let (above, below) = (along_y(i), along_y(i + 1));
                    let (first, second) = (both(i), both(i + 1));
                    for (j, out) in out.iter_mut().enumerate() {
                        *out = own[j] + along_x[j] - along_x[j + 1] + above[j] - below[j]
                            + first[j]
                            - first[j + 1]
                            - second[j]
                            + second[j + 1];
                    }
                }
            }));
        }
        host::tensor(out, (n, ic, h, w))
    }
}

/// Each pixel minus the one before it in its row, with zeros beyond both ends: [c, h, w] to [c, h, w + 1].
fn differences_along_x<T: Real>(x: &[T], [h, w]: [usize; 2]) -> Vec<T> {
    let planes = x.len() / (h * w);
    build(planes * h * (w + 1), h * (w + 1), |plane, out: &mut [T]| {
        let rows = x[plane * h * w..][..h * w].chunks_exact(w);
        for (out, x) in out.chunks_exact_mut(w + 1).zip(rows) {
            out[0] = x[0];
            for (out, pair) in out[1..].iter_mut().zip(x.windows(2)) {
                *out = pair[1] - pair[0];
            }
            out[w] = T::zero() - x[w - 1];
        }
    })
}

/// Each pixel minus the one above it, with zeros beyond both ends: [c, h, w] to [c, h + 1, w].
fn differences_along_y<T: Real>(x: &[T], [h, w]: [usize; 2]) -> Vec<T> {
    let planes = x.len() / (h * w);
    build(planes * (h + 1) * w, (h + 1) * w, |plane, out: &mut [T]| {
        let x = &x[plane * h * w..][..h * w];
        for (i, out) in out.chunks_exact_mut(w).enumerate() {
            if i < h {
                out.copy_from_slice(&x[i * w..][..w]);
            }
            if let Some(above) = i.checked_sub(1) {
                for (out, &x) in out.iter_mut().zip(&x[above * w..][..w]) {
                    *out -= x;
                }
            }
        }
    })
}

impl Layer for UpsampleConv2d {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        match self.matrices(x)? {
            Some((matrices, Kernel::F32)) => self.value::<f32>(matrices, x),
            Some((matrices, _)) => self.value::<f64>(matrices, x),
            None => self.plain()?.eval(x),
        }
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let Some((matrices, kernel)) = self.matrices(x)? else {
            return self.plain()?.vjp(x);
        };
        let y = self.eval(x)?;
        let (matrices, shape) = (matrices.clone(), y.shape().clone());
        let sizes = [self.outputs, self.inputs];
        let back = move |grad: &Tensor| {
            host::check_grad("UpsampleConv2d", grad, &shape)?;
            match kernel {
                Kernel::F32 => Self::pull::<f32>(&matrices, grad, sizes),
                _ => Self::pull::<f64>(&matrices, grad, sizes),
            }
        };
        Ok((y, Box::new(back)))
    }
}
