//! Perspective warps.

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};

use crate::host::{self, Slice, dims4, fused};
use crate::layer::{Layer, Pullback};
use crate::real::{Real, chunks};
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

/// Positions at infinity are brought to here, in pixels: outside of any image.
const FAR: f64 = 1e9;

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

    /// The four neighbours that an output pixel reads, and their weights; zero for those outside.
    #[inline(always)]
    fn sample(&self, n: usize, [h, w]: [usize; 2], [y, x]: [usize; 2]) -> [(usize, f64); 4] {
        let m = &self.matrices[n];
        let x = (2 * x + 1) as f64 / w as f64 - 1.0;
        let y = (2 * y + 1) as f64 / h as f64 - 1.0;
        let z = m[6] * x + m[7] * y + m[8];
        let pixel = |v: f64, size: usize| {
            let v = ((v / z + 1.0) * size as f64 - 1.0) * 0.5;
            if v.is_nan() { -FAR } else { v.clamp(-FAR, FAR) }
        };
        let x_in = pixel(m[0] * x + m[1] * y + m[2], w);
        let y_in = pixel(m[3] * x + m[4] * y + m[5], h);
        let (left, top) = (x_in.floor(), y_in.floor());
        let (fx, fy) = (x_in - left, y_in - top);
        let (left, top) = (left as i64, top as i64);
        let side = |i, size, weight| self.border.fold(i, size).map_or((0, 0.0), |i| (i, weight));
        let xs = [side(left, w, 1.0 - fx), side(left + 1, w, fx)];
        let ys = [side(top, h, 1.0 - fy), side(top + 1, h, fy)];
        let corner = |(y, wy): (usize, f64), (x, wx): (usize, f64)| (y * w + x, wy * wx);
        [
            corner(ys[0], xs[0]),
            corner(ys[0], xs[1]),
            corner(ys[1], xs[0]),
            corner(ys[1], xs[1]),
        ]
    }

    fn value<T: Real>(&self, x: &Tensor, [n, c, h, w]: [usize; 4]) -> Result<Tensor> {
        let x = x.contiguous()?;
        let x = Slice::<T>::new(&x)?;
        let x = &*x;
        let mut out = vec![T::zero(); x.len()];
        chunks(&mut out, w, |i, out| {
            let (plane, y) = (i / h, i % h);
            let x = &x[plane * h * w..][..h * w];
            for (column, out) in out.iter_mut().enumerate() {
                let corners = self.sample(plane / c, [h, w], [y, column]);
                *out = corners
                    .iter()
                    .map(|&(i, weight)| T::of(weight) * x[i])
                    .sum();
            }
        });
        host::tensor(out, (n, c, h, w))
    }

    /// One task owns an image plane, and adds in the order of the output's pixels.
    fn pull<T: Real>(&self, grad: &Tensor, [n, c, h, w]: [usize; 4]) -> Result<Tensor> {
        let grad = grad.contiguous()?;
        let grad = Slice::<T>::new(&grad)?;
        let grad = &*grad;
        let mut out = vec![T::zero(); grad.len()];
        chunks(&mut out, h * w, |plane, out| {
            let grad = &grad[plane * h * w..][..h * w];
            for (y, row) in grad.chunks_exact(w).enumerate() {
                for (column, &g) in row.iter().enumerate() {
                    for (i, weight) in self.sample(plane / c, [h, w], [y, column]) {
                        out[i] += T::of(weight) * g;
                    }
                }
            }
        });
        host::tensor(out, (n, c, h, w))
    }

    /// The four neighbours of every output pixel as tensors: indices and weights of [n, 1, h w], like `x`.
    fn corners(&self, x: &Tensor, [n, _, h, w]: [usize; 4]) -> Result<Vec<(Tensor, Tensor)>> {
        let pixels = (0..n * h * w).map(|i| self.sample(i / (h * w), [h, w], [i / w % h, i % w]));
        let pixels = pixels.collect::<Vec<_>>();
        let corner = |k: usize| {
            let index = pixels.iter().map(|corners| corners[k].0 as u32);
            let weight = pixels.iter().map(|corners| corners[k].1 as f32);
            let index = Tensor::from_iter(index, x.device())?.reshape((n, 1, h * w))?;
            let weight = Tensor::from_iter(weight, x.device())?.reshape((n, 1, h * w))?;
            Ok((index, weight.to_dtype(x.dtype())?))
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
