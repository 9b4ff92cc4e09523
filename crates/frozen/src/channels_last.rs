//! Images whose channels are neighbours in memory, [batch, height, width, channels]: from and to other orders, their mean,
//! squares of them.

use candle_core::{Result, Tensor, bail};

use crate::gemm::build;
use crate::host::{self, Slice, dims4, dims4_last, fused};
use crate::layer::{Layer, Pullback};
use crate::real::{Real, axpy};

/// [batch, channels, height, width] to [batch, height, width, channels].
///
/// Where memory is in this order already, as behind a convolution of patches, nothing is copied, here and in the pullback.
#[derive(Clone, Copy, Debug)]
pub struct ChannelsLast;

impl Layer for ChannelsLast {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        dims4("ChannelsLast", x)?;
        channels_last(x)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let y = self.eval(x)?;
        let shape = y.shape().clone();
        let plain = x.is_contiguous();
        let pullback = move |grad: &Tensor| {
            host::check_grad("ChannelsLast", grad, &shape)?;
            if plain {
                channels_first(grad)
            } else {
                grad.permute((0, 3, 1, 2))
            }
        };
        Ok((y, Box::new(pullback)))
    }
}

/// [batch, height, width, channels] to [batch, channels, height, width], of the same memory: nothing is copied.
#[derive(Clone, Copy, Debug)]
pub struct ChannelsFirst;

impl Layer for ChannelsFirst {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        dims4_last("ChannelsFirst", x)?;
        x.permute((0, 3, 1, 2))
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let y = self.eval(x)?;
        let shape = y.shape().clone();
        let pullback = move |grad: &Tensor| {
            host::check_grad("ChannelsFirst", grad, &shape)?;
            channels_last(grad)
        };
        Ok((y, Box::new(pullback)))
    }
}

/// A contiguous [b, h, w, c] of [b, c, h, w].
fn channels_last(x: &Tensor) -> Result<Tensor> {
    let (b, c, h, w) = x.dims4()?;
    let y = x.permute((0, 2, 3, 1))?;
    if y.is_contiguous() {
        return Ok(y);
    }
    fused!(x, transpose(x, (b, c, h * w), (b, h, w, c)), y.contiguous())
}

/// A contiguous tensor of an image [b, c, h, w] whose channels may be neighbours in memory.
pub(crate) fn planes(x: &Tensor) -> Result<Tensor> {
    if x.is_contiguous() {
        return Ok(x.clone());
    }
    channels_first(&x.permute((0, 2, 3, 1))?)
}

/// A contiguous [b, c, h, w] of [b, h, w, c].
fn channels_first(x: &Tensor) -> Result<Tensor> {
    let (b, h, w, c) = x.dims4()?;
    let y = x.permute((0, 3, 1, 2))?;
    if y.is_contiguous() {
        return Ok(y);
    }
    fused!(x, transpose(x, (b, h * w, c), (b, c, h, w)), y.contiguous())
}

/// [n, rows, columns] to [n, columns, rows], seen as `shape`.
fn transpose<T: Real>(
    x: &Tensor,
    (_, rows, columns): (usize, usize, usize),
    shape: (usize, usize, usize, usize),
) -> Result<Tensor> {
    let x = x.contiguous()?;
    let x = Slice::<T>::new(&x)?;
    let x = &*x;
    // whole lines of the cache are read, where columns divide into them
    let tile = [16, 8, 4, 2]
        .into_iter()
        .find(|tile| columns.is_multiple_of(*tile));
    let tile = tile.unwrap_or(1);
    let y = build(x.len(), tile * rows, |i, y| {
        let (image, first) = (i * tile / columns, i * tile % columns);
        let x = &x[image * rows * columns..][..rows * columns];
        for (row, x) in x.chunks_exact(columns).enumerate() {
            for (i, &x) in x[first..][..tile].iter().enumerate() {
                y[i * rows + row] = x;
            }
        }
    });
    host::tensor(y, shape)
}

/// The channels of each square of k x k pixels behind one another, row by row: [b, h, w, c] to [b, h / k, w / k, k k c], rows
/// and columns that fill no square left out. A linear layer behind it is a convolution whose stride is its size.
#[derive(Clone, Copy, Debug)]
pub struct SpaceToDepth {
    size: usize,
}

impl SpaceToDepth {
    /// Squares of `size` pixels a side.
    ///
    /// # Errors
    /// Where the size is 0.
    pub fn new(size: usize) -> Result<Self> {
        if size == 0 {
            bail!("SpaceToDepth: the size must be at least 1");
        }
        Ok(Self { size })
    }
}

impl Layer for SpaceToDepth {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let (b, h, w, c) = dims4_last("SpaceToDepth", x)?;
        let k = self.size;
        let (oh, ow) = (h / k, w / k);
        if oh == 0 || ow == 0 {
            bail!("SpaceToDepth: a square of {k} does not fit into {h} x {w}");
        }
        let x = x.narrow(1, 0, oh * k)?.narrow(2, 0, ow * k)?.contiguous()?;
        let x = x.reshape((b * oh, k, ow, k * c))?;
        swap_inner(&x)?.reshape((b, oh, ow, k * k * c))
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let y = self.eval(x)?;
        let (b, h, w, c) = x.dims4()?;
        let (k, shape) = (self.size, y.shape().clone());
        let pullback = move |grad: &Tensor| {
            host::check_grad("SpaceToDepth", grad, &shape)?;
            let (oh, ow) = (h / k, w / k);
            let grad = grad.contiguous()?.reshape((b * oh, ow, k, k * c))?;
            let grad = swap_inner(&grad)?.reshape((b, oh * k, ow * k, c))?;
            grad.pad_with_zeros(1, 0, h - oh * k)?
                .pad_with_zeros(2, 0, w - ow * k)
        };
        Ok((y, Box::new(pullback)))
    }
}

/// A contiguous [n, a, b, run] to [n, b, a, run].
fn swap_inner(x: &Tensor) -> Result<Tensor> {
    fn copied<T: Real>(x: &Tensor) -> Result<Tensor> {
        let (n, a, b, run) = x.dims4()?;
        let x = Slice::<T>::new(x)?;
        let x = &*x;
        let y = build(x.len(), run, |i, y| {
            let (n, rest) = (i / (a * b), i % (a * b));
            let (to_b, to_a) = (rest / a, rest % a);
            y.copy_from_slice(&x[((n * a + to_a) * b + to_b) * run..][..run]);
        });
        host::tensor(y, (n, b, a, run))
    }
    fused!(x, copied(x), x.transpose(1, 2)?.contiguous())
}

/// The mean of all pixels, [b, h, w, c], or of all tokens, [b, n, c]: [b, c].
#[derive(Clone, Copy, Debug)]
pub struct GlobalAvgPool;

impl Layer for GlobalAvgPool {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let x = if x.rank() == 3 { &x.unsqueeze(1)? } else { x };
        let (_, h, w, _) = dims4_last("GlobalAvgPool", x)?;
        if h * w == 0 {
            bail!("GlobalAvgPool: {:?} has no pixels", x.shape());
        }
        pixel_sums(x, None)? / (h * w) as f64
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let y = self.eval(x)?;
        let shape = x.shape().clone();
        let pullback = move |grad: &Tensor| {
            let (b, c) = (shape.dims()[0], shape.dims()[shape.rank() - 1]);
            host::check_grad("GlobalAvgPool", grad, &(b, c).into())?;
            let pixels = shape.elem_count() / grad.elem_count().max(1);
            let each = (grad / pixels as f64)?.reshape((b, 1, c))?;
            each.broadcast_as((b, pixels, c))?
                .contiguous()?
                .reshape(&shape)
        };
        Ok((y, Box::new(pullback)))
    }
}

/// The sum of all pixels of `x`, times those of `factor`, by channel: [b, h, w, c] to [b, c].
pub(crate) fn pixel_sums(x: &Tensor, factor: Option<&Tensor>) -> Result<Tensor> {
    fn sums<T: Real>(x: &Tensor, factor: Option<&Tensor>) -> Result<Tensor> {
        let (b, h, w, c) = x.dims4()?;
        let x = x.contiguous()?;
        let factor = factor.map(Tensor::contiguous).transpose()?;
        let (x, factor) = (
            Slice::<T>::new(&x)?,
            factor.as_ref().map(Slice::<T>::new).transpose()?,
        );
        let (x, factor) = (&*x, factor.as_deref());
        let y = build(b * c, c, |image, y| {
            let mut sum = vec![T::zero(); c];
            for row in 0..h {
                // row by row: a long sum of small numbers loses digits
                sum.fill(T::zero());
                let start = (image * h + row) * w * c;
                let pixels = x[start..][..w * c].chunks_exact(c);
                match factor {
                    None => pixels.for_each(|x| axpy(&mut sum, T::one(), x)),
                    Some(factor) => {
                        let factors = factor[start..][..w * c].chunks_exact(c);
                        for (x, factor) in pixels.zip(factors) {
                            for ((sum, &x), &factor) in sum.iter_mut().zip(x).zip(factor) {
                                *sum += x * factor;
                            }
                        }
                    }
                }
                axpy(y, T::one(), &sum);
            }
        });
        host::tensor(y, (b, c))
    }
    fused!(
        x,
        sums(x, factor),
        match factor {
            None => x.sum((1, 2)),
            Some(factor) => (x * factor)?.sum((1, 2)),
        }
    )
}
