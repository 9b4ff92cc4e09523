//! Changes of resolution by whole factors: nearest-neighbour upsampling and average pooling.

use candle_core::{Result, Shape, Tensor, bail};

use crate::gemm::{build, zeros};
use crate::host::{self, Slice, dims4, fused};
use crate::layer::{Layer, Pullback};
use crate::real::Real;

/// Each pixel of [n, c, h, w] repeated in a square: [n, c, h factor, w factor].
#[derive(Clone, Copy, Debug)]
pub struct UpsampleNearest {
    factor: usize,
}

impl UpsampleNearest {
    /// # Errors
    /// Where the factor is 0.
    pub fn new(factor: usize) -> Result<Self> {
        if factor == 0 {
            bail!("UpsampleNearest: the factor must be at least 1");
        }
        Ok(Self { factor })
    }
}

impl Layer for UpsampleNearest {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let (n, c, h, w) = dims4("UpsampleNearest", x)?;
        let f = self.factor;
        let shape = Shape::from((n, c, h * f, w * f));
        fused!(x, spread(x, f, shape, 1.0), spread_composed(x, f))
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (y, f) = (self.eval(x)?, self.factor);
        let shape = y.shape().clone();
        let pullback = move |grad: &Tensor| {
            host::check_grad("UpsampleNearest", grad, &shape)?;
            fused!(grad, gather(grad, f, 1.0), gather_composed(grad, f, 1.0))
        };
        Ok((y, Box::new(pullback)))
    }
}

/// The mean of each k x k square of [n, c, h, w]: [n, c, h / k, w / k], rows and columns that fill no square left out.
#[derive(Clone, Copy, Debug)]
pub struct AvgPool2d {
    size: usize,
}

impl AvgPool2d {
    /// Kernel and stride are both `size`.
    ///
    /// # Errors
    /// Where the size is 0.
    pub fn new(size: usize) -> Result<Self> {
        if size == 0 {
            bail!("AvgPool2d: the size must be at least 1");
        }
        Ok(Self { size })
    }

    /// What each pixel of a square weighs in its mean.
    fn share(self) -> f64 {
        1.0 / (self.size * self.size) as f64
    }
}

impl Layer for AvgPool2d {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let (_, _, h, w) = dims4("AvgPool2d", x)?;
        if h < self.size || w < self.size {
            bail!(
                "AvgPool2d: a square of {} does not fit into {h} x {w}",
                self.size
            );
        }
        fused!(
            x,
            gather(x, self.size, self.share()),
            gather_composed(x, self.size, self.share())
        )
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (y, pool, shape) = (self.eval(x)?, *self, x.shape().clone());
        let out = y.shape().clone();
        let pullback = move |grad: &Tensor| {
            host::check_grad("AvgPool2d", grad, &out)?;
            let (_, _, h, w) = shape.dims4()?;
            fused!(
                grad,
                spread(grad, pool.size, shape.clone(), pool.share()),
                {
                    let spread = (spread_composed(grad, pool.size)? * pool.share())?;
                    let (_, _, sh, sw) = spread.dims4()?;
                    spread
                        .pad_with_zeros(2, 0, h - sh)?
                        .pad_with_zeros(3, 0, w - sw)
                }
            )
        };
        Ok((y, Box::new(pullback)))
    }
}

/// The largest element of each k x k square of [n, c, h, w]: [n, c, h / k, w / k]. Equal largest elements share the gradient.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool2d {
    size: usize,
}

impl MaxPool2d {
    /// Kernel and stride are both `size`.
    ///
    /// # Errors
    /// Where the size is 0.
    pub fn new(size: usize) -> Result<Self> {
        if size == 0 {
            bail!("MaxPool2d: the size must be at least 1");
        }
        Ok(Self { size })
    }
}

impl Layer for MaxPool2d {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let (n, c, h, w) = dims4("MaxPool2d", x)?;
        let k = self.size;
        if h % k != 0 || w % k != 0 || h * w == 0 {
            bail!("MaxPool2d: {h} x {w} pixels are not whole squares of {k}");
        }
        let squares = x.detach().contiguous()?;
        let rows = squares.reshape((n * c, h / k, k, w))?.max(2)?;
        rows.reshape((n, c, h / k, w / k, k))?.max(4)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (x, size) = (x.detach().contiguous()?, self.size);
        let y = self.eval(&x)?;
        let shape = y.shape().clone();
        let largest = x.eq(&spread_composed(&y, size)?)?.to_dtype(x.dtype())?;
        let count = gather_composed(&largest, size, 1.0)?;
        let pullback = move |grad: &Tensor| {
            host::check_grad("MaxPool2d", grad, &shape)?;
            spread_composed(&(grad / &count)?, size)? * &largest
        };
        Ok((y, Box::new(pullback)))
    }
}

/// Each element of `x` times `scale` in an f x f square of the planes of `shape`; zero where they reach further.
fn spread<T: Real>(x: &Tensor, f: usize, shape: Shape, scale: f64) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let (_, _, oh, ow) = shape.dims4()?;
    let x = x.contiguous()?;
    let x = Slice::<T>::new(&x)?;
    let (x, scale) = (&*x, T::of(scale));
    if x.is_empty() {
        return host::tensor(zeros::<T>(shape.elem_count()), shape);
    }
    let out = build(shape.elem_count(), oh * ow, |plane, out| {
        let rows = x[plane * h * w..][..h * w].chunks_exact(w);
        for (block, x) in out.chunks_mut(f * ow).zip(rows) {
            let (first, rest) = block.split_at_mut(ow);
            for (out, &x) in first.chunks_exact_mut(f).zip(x) {
                out.fill(x * scale);
            }
            rest.chunks_exact_mut(ow)
                .for_each(|row| row.copy_from_slice(first));
        }
    });
    host::tensor(out, shape)
}

/// The sum of each f x f square, times `scale`.
fn gather<T: Real>(x: &Tensor, f: usize, scale: f64) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let (oh, ow) = (h / f, w / f);
    let x = x.contiguous()?;
    let x = Slice::<T>::new(&x)?;
    let (x, scale) = (&*x, T::of(scale));
    let out = build(n * c * oh * ow, oh * ow, |plane, out: &mut [T]| {
        let x = &x[plane * h * w..][..h * w];
        for (out, block) in out.chunks_exact_mut(ow).zip(x.chunks(f * w)) {
            for row in block.chunks_exact(w) {
                for (out, x) in out.iter_mut().zip(row.chunks_exact(f)) {
                    for &x in x {
                        *out += x;
                    }
                }
            }
            out.iter_mut().for_each(|out| *out *= scale);
        }
    });
    host::tensor(out, (n, c, oh, ow))
}

fn spread_composed(x: &Tensor, f: usize) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let x = x.contiguous()?.reshape((n * c, h, 1, w, 1))?;
    x.expand((n * c, h, f, w, f))?
        .contiguous()?
        .reshape((n, c, h * f, w * f))
}

fn gather_composed(x: &Tensor, f: usize, scale: f64) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let (oh, ow) = (h / f, w / f);
    let x = x.narrow(2, 0, oh * f)?.narrow(3, 0, ow * f)?.contiguous()?;
    let x = x.reshape((n * c, oh, f, ow, f))?.sum((2, 4))?;
    x.reshape((n, c, oh, ow))? * scale
}
