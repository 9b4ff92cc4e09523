//! Perspective warps.

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use crate::gemm::{MatMut, blocks, build, zeros};
use crate::host::{self, Slice, dims4, fused};
use crate::layer::{Layer, Pullback};
use crate::real::{Real, SMALL, simd};
use crate::resample::Border;

/// Each image of [n, c, h, w] seen through a homography, bilinearly.
///
/// A matrix, row after row, takes an output position to an input position, both homogeneous and in coordinates of
/// -1..=1 from one edge of the image to the other (`torch.nn.functional.grid_sample` with `align_corners=False`).
/// [`Border::Zero`], [`Border::Edge`] and [`Border::Reflect`] are its padding modes zeros, border and reflection.
#[derive(Clone, Debug)]
pub struct Warp {
    matrices: Arc<[[f64; 9]]>,
    border: Border,
}

/// Four pixels of a plane, and what each weighs.
type Corners<T> = [(usize, T); 4];

/// Positions at infinity are brought to here, in pixels: outside of any image.
const FAR: f64 = 1e9;

/// The position, not further than [`FAR`]; what is not a number is far.
// clamp would let what is not a number through
#[expect(clippy::manual_clamp)]
#[inline(always)]
fn near(x: f64) -> f64 {
    x.max(-FAR).min(FAR)
}

/// The four neighbours of a position, and their weights; zero for those outside.
#[inline(always)]
fn neighbours<T: Real>(border: Border, [h, w]: [usize; 2], [x, y]: [f64; 2]) -> Corners<T> {
    let (left, top) = (x.floor(), y.floor());
    let (fx, fy) = (T::of(x - left), T::of(y - top));
    let (left, top) = (left as i64, top as i64);
    let (gx, gy) = (T::one() - fx, T::one() - fy);
    let inside = left >= 0 && top >= 0 && left + 1 < w as i64 && top + 1 < h as i64;
    if inside {
        let i = top as usize * w + left as usize;
        return [
            (i, gy * gx),
            (i + 1, gy * fx),
            (i + w, fy * gx),
            (i + w + 1, fy * fx),
        ];
    }
    let side = |i, size, weight| border.fold(i, size).map_or((0, T::zero()), |i| (i, weight));
    let xs = [side(left, w, gx), side(left + 1, w, fx)];
    let ys = [side(top, h, gy), side(top + 1, h, fy)];
    let corner = |(y, wy): (usize, T), (x, wx): (usize, T)| (y * w + x, wy * wx);
    [
        corner(ys[0], xs[0]),
        corner(ys[0], xs[1]),
        corner(ys[1], xs[0]),
        corner(ys[1], xs[1]),
    ]
}

impl Warp {
    /// One matrix per image.
    ///
    /// # Errors
    /// Where an entry is not finite, or a last row is zero.
    pub fn new(matrices: Vec<[f64; 9]>, border: Border) -> Result<Self> {
        for (i, m) in matrices.iter().enumerate() {
            if m.iter().any(|x| !x.is_finite()) || m[6..] == [0.0; 3] {
                bail!("Warp: matrix {i} is not a homography: {m:?}");
            }
        }
        Ok(Self {
            matrices: matrices.into(),
            border,
        })
    }

    fn check(&self, x: &Tensor) -> Result<[usize; 4]> {
        let (n, c, h, w) = dims4("Warp", x)?;
        if n != self.matrices.len() || h == 0 || w == 0 {
            bail!(
                "Warp: expected [{}, channels, height, width], found {:?}",
                self.matrices.len(),
                x.shape()
            );
        }
        Ok([n, c, h, w])
    }

    /// What the pixels of output row `y` of image `n` read.
    fn row<T: Real>(&self, n: usize, [h, w]: [usize; 2], y: usize, corners: &mut Vec<Corners<T>>) {
        let (m, border) = (&self.matrices[n], self.border);
        simd!(<'a, T> (
            m: &'a [f64; 9], border: Border, h: usize, w: usize, y: usize, corners: &'a mut Vec<Corners<T>>,
        ) {
            let y = (2 * y + 1) as f64 / h as f64 - 1.0;
            corners.clear();
            for x in 0..w {
                let x = (2 * x + 1) as f64 / w as f64 - 1.0;
                let z = m[6] * x + m[7] * y + m[8];
                let px = (m[0] * x + m[1] * y + m[2]) / z + 1.0;
                let py = (m[3] * x + m[4] * y + m[5]) / z + 1.0;
                let px = near((px * w as f64 - 1.0) * 0.5);
                let py = near((py * h as f64 - 1.0) * 0.5);
                corners.push(neighbours(border, [h, w], [px, py]));
            }
        });
    }

    /// One task makes one row of all channels.
    fn value<T: Real>(&self, x: &Tensor, [n, c, h, w]: [usize; 4]) -> Result<Tensor> {
        let x = x.contiguous()?;
        let x = Slice::<T>::new(&x)?;
        let x = &*x;
        let mut out = zeros(x.len());
        let rows = blocks(&mut out, c, h, w).enumerate().collect::<Vec<_>>();
        let row = |corners: &mut Vec<Corners<T>>, (i, mut out): (usize, MatMut<T>)| {
            let (n, y) = (i / h, i % h);
            self.row(n, [h, w], y, corners);
            let planes = x[n * c * h * w..][..c * h * w].chunks_exact(h * w);
            for (channel, plane) in planes.enumerate() {
                for (out, corners) in out.row(channel).iter_mut().zip(&*corners) {
                    let [a, b, c, d] = corners.map(|(i, weight)| weight * plane[i]);
                    *out = (a + b) + (c + d);
                }
            }
        };
        if n * c * h * w <= SMALL {
            let mut scratch = Vec::new();
            rows.into_iter().for_each(|item| row(&mut scratch, item));
        } else {
            rows.into_par_iter()
                .with_min_len(4)
                .for_each_init(Vec::new, row);
        }
        host::tensor(out, (n, c, h, w))
    }

    /// One task owns an image, or one of its channels, and adds in the order of the output's pixels.
    fn pull<T: Real>(&self, grad: &Tensor, [n, c, h, w]: [usize; 4]) -> Result<Tensor> {
        let grad = grad.contiguous()?;
        let grad = Slice::<T>::new(&grad)?;
        let grad = &*grad;
        let planes = if n >= rayon::current_num_threads() {
            c
        } else {
            1
        };
        let size = planes * h * w;
        let out = build(grad.len(), size, |i, out: &mut [T]| {
            let grad = &grad[i * size..][..size];
            let mut corners = Vec::<Corners<T>>::with_capacity(w);
            for y in 0..h {
                self.row(i * planes / c, [h, w], y, &mut corners);
                let planes = out.chunks_exact_mut(h * w).zip(grad.chunks_exact(h * w));
                for (out, grad) in planes {
                    for (&g, corners) in grad[y * w..].iter().zip(&corners) {
                        for (i, weight) in corners {
                            out[*i] += *weight * g;
                        }
                    }
                }
            }
        });
        host::tensor(out, (n, c, h, w))
    }

    /// The four neighbours of every output pixel as tensors: indices and weights of [n, 1, h w], like `x`.
    fn corners(&self, x: &Tensor, [n, _, h, w]: [usize; 4]) -> Result<Vec<(Tensor, Tensor)>> {
        let (mut pixels, mut row) = (Vec::with_capacity(n * h * w), Vec::new());
        for i in 0..n * h {
            self.row::<f64>(i / h, [h, w], i % h, &mut row);
            pixels.append(&mut row);
        }
        let corner = |k: usize| {
            let index = pixels.iter().map(|corners| corners[k].0 as u32);
            let weight = pixels.iter().map(|corners| corners[k].1).collect();
            let index = Tensor::from_iter(index, x.device())?.reshape((n, 1, h * w))?;
            Ok((index, host::constant(weight, &[n, 1, h * w], x)?))
        };
        (0..4).map(corner).collect()
    }

    fn composed(&self, x: &Tensor, dims: [usize; 4]) -> Result<Tensor> {
        let [n, c, h, w] = dims;
        let x = x.contiguous()?.reshape((n, c, h * w))?;
        let mut sum = x.zeros_like()?;
        for (index, weight) in self.corners(&x, dims)? {
            let index = index.expand((n, c, h * w))?.contiguous()?;
            sum = (sum + x.gather(&index, 2)?.broadcast_mul(&weight)?)?;
        }
        sum.reshape((n, c, h, w))
    }

    fn pull_composed(&self, grad: &Tensor, dims: [usize; 4]) -> Result<Tensor> {
        let [n, c, h, w] = dims;
        let grad = grad.contiguous()?.reshape((n, c, h * w))?;
        let mut sum = grad.zeros_like()?;
        for (index, weight) in self.corners(&grad, dims)? {
            let index = index.expand((n, c, h * w))?.contiguous()?;
            sum = sum.scatter_add(&index, &grad.broadcast_mul(&weight)?, 2)?;
        }
        sum.reshape((n, c, h, w))
    }
}

impl Layer for Warp {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let dims = self.check(x)?;
        fused!(x, self.value(x, dims), self.composed(x, dims))
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let dims = self.check(x)?;
        let (y, warp, shape) = (self.eval(x)?, self.clone(), x.shape().clone());
        let pullback = move |grad: &Tensor| {
            host::check_grad("Warp", grad, &shape)?;
            fused!(grad, warp.pull(grad, dims), warp.pull_composed(grad, dims))
        };
        Ok((y, Box::new(pullback)))
    }
}
