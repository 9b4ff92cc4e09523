//! Normalisations: of the last dimension, and of groups of channels.

use std::iter::repeat_with;
use std::sync::{Arc, OnceLock};

use candle_core::{D, DType, Result, Tensor, bail};

use crate::activation::{Activation, swish};
use crate::gemm::build;
use crate::host::{self, Slice, fused};
use crate::layer::{Layer, Pullback};
use crate::real::{Real, simd, sum, sum2};

/// Layer normalisation of the last dimension: `(x - mean) / sqrt(variance + eps) * weight + bias` (Ba et al. 2016).
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Option<Tensor>,
    eps: f64,
}

impl LayerNorm {
    /// `weight` and `bias` are `[d]`, the size of the last dimension.
    ///
    /// # Errors
    /// Where the shapes, types or devices of weight and bias do not fit.
    pub fn new(weight: Tensor, bias: Option<Tensor>, eps: f64) -> Result<Self> {
        let (weight, bias) = affine("LayerNorm", weight, bias)?;
        Ok(Self { weight, bias, eps })
    }

    fn check(&self, x: &Tensor) -> Result<()> {
        host::check_kind("LayerNorm", x, &self.weight)?;
        if x.dims().last() != Some(&self.weight.elem_count()) {
            bail!(
                "LayerNorm: expected [..., {}], found {:?}",
                self.weight.elem_count(),
                x.shape()
            );
        }
        Ok(())
    }

    fn value<T: Real>(&self, x: &Tensor) -> Result<Tensor> {
        let shape = x.shape().clone();
        let x = x.contiguous()?;
        let (x, w) = (Slice::<T>::new(&x)?, Slice::<T>::new(&self.weight)?);
        let bias = self.bias.as_ref().map(Slice::<T>::new).transpose()?;
        let (x, w, bias) = (&*x, &*w, bias.as_deref());
        let eps = T::of(self.eps);
        let y = build(x.len(), w.len(), |i, y| {
            let x = &x[i * w.len()..][..w.len()];
            if let Some(bias) = bias {
                y.copy_from_slice(bias);
            }
            simd!(<'a, T> (y: &'a mut [T], x: &'a [T], w: &'a [T], eps: T) {
                let (mean, scale) = moments(x, eps);
                for ((y, &x), &w) in y.iter_mut().zip(x).zip(w) {
                    *y += (x - mean) * scale * w;
                }
            });
        });
        host::tensor(y, shape)
    }

    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        let y = standardise(x, self.eps)?.0.broadcast_mul(&self.weight)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

impl Layer for LayerNorm {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        self.check(x)?;
        fused!(x, self.value(x), self.composed(x))
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let x = x.contiguous()?;
        let y = self.eval(&x)?;
        let (weight, eps) = (self.weight.clone(), self.eps);
        let pullback = move |grad: &Tensor| {
            host::check_grad("LayerNorm", grad, x.shape())?;
            fused!(
                grad,
                pull_layer(&x, grad, &weight, eps),
                pull_standardise(&x, &grad.broadcast_mul(&weight)?, eps)
            )
        };
        Ok((y, Box::new(pullback)))
    }
}

/// With `n` the normalised input and `h = grad * weight`: `(h - mean(h) - n mean(h n)) / deviation`.
fn pull_layer<T: Real>(x: &Tensor, grad: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let grad = grad.contiguous()?;
    let (xs, g) = (Slice::<T>::new(x)?, Slice::<T>::new(&grad)?);
    let w = Slice::<T>::new(weight)?;
    let (xs, g, w) = (&*xs, &*g, &*w);
    let (d, eps) = (w.len(), T::of(eps));
    let share = T::one() / T::of(d as f64);
    let out = build(xs.len(), d, |i, out| {
        let (x, g) = (&xs[i * d..][..d], &g[i * d..][..d]);
        simd!(<'a, T> (out: &'a mut [T], x: &'a [T], g: &'a [T], w: &'a [T], eps: T, share: T) {
            let (mean, scale) = moments(x, eps);
            for ((out, &g), &w) in out.iter_mut().zip(g).zip(w) {
                *out = g * w;
            }
            let a = sum(out, |h| h) * share;
            let b = sum2(out, x, |h, x| h * (x - mean)) * share * scale * scale;
            for (out, &x) in out.iter_mut().zip(x) {
                *out = (*out - a - (x - mean) * b) * scale;
            }
        });
    });
    host::tensor(out, x.shape())
}

/// The mean and one over the standard deviation of each group, kept for the pullback.
type Stats = Arc<[OnceLock<(f64, f64)>]>;

/// Group normalisation of [batch, channels, ...]: mean and variance over each group of neighbouring channels of a
/// sample, then a weight and a bias per channel (Wu & He 2018).
#[derive(Clone, Debug)]
pub struct GroupNorm {
    groups: usize,
    weight: Tensor,
    bias: Tensor,
    eps: f64,
    silu: bool,
}

impl GroupNorm {
    /// `weight` and `bias` are `[channels]`.
    ///
    /// # Errors
    /// Where the channels do not divide into the groups, or weight and bias do not fit.
    pub fn new(groups: usize, weight: Tensor, bias: Tensor, eps: f64) -> Result<Self> {
        let (weight, bias) = affine("GroupNorm", weight, Some(bias))?;
        let channels = weight.elem_count();
        let Some(bias) = bias.filter(|_| groups > 0 && channels % groups == 0) else {
            bail!("GroupNorm: {channels} channels do not divide into {groups} groups");
        };
        Ok(Self {
            groups,
            weight,
            bias,
            eps,
            silu: false,
        })
    }

    /// The normalisation followed by silu, `y sigmoid(y)`, as it mostly is: in one pass, and nothing is kept but its input.
    pub fn then_silu(self) -> Self {
        Self { silu: true, ..self }
    }

    fn check(&self, x: &Tensor) -> Result<()> {
        host::check_kind("GroupNorm", x, &self.weight)?;
        if x.rank() < 2 || x.dims()[1] != self.weight.elem_count() {
            bail!(
                "GroupNorm: expected [batch, {}, ...], found {:?}",
                self.weight.elem_count(),
                x.shape()
            );
        }
        Ok(())
    }

    fn value<T: Real>(&self, x: &Tensor) -> Result<(Tensor, Stats)> {
        let (shape, pixels) = (x.shape().clone(), pixels(x));
        let x = x.contiguous()?;
        let x = Slice::<T>::new(&x)?;
        let (w, bias) = (Slice::<T>::new(&self.weight)?, Slice::<T>::new(&self.bias)?);
        let (x, w, bias) = (&*x, &*w, &*bias);
        let per_group = w.len() / self.groups;
        let size = per_group * pixels;
        let (eps, silu) = (T::of(self.eps), self.silu);
        let stats = repeat_with(OnceLock::new)
            .take(x.len() / size)
            .collect::<Vec<_>>();
        let y = build(x.len(), size, |i, y| {
            let x = &x[i * size..][..size];
            let first = (i % self.groups) * per_group;
            let (w, bias) = (&w[first..][..per_group], &bias[first..][..per_group]);
            let stats = &stats[i];
            simd!(<'a, T> (
                y: &'a mut [T], x: &'a [T], w: &'a [T], bias: &'a [T], pixels: usize, eps: T,
                silu: bool, stats: &'a OnceLock<(f64, f64)>,
            ) {
                let (mean, scale) = moments(x, eps);
                stats.get_or_init(|| (mean.to_f64(), scale.to_f64()));
                let planes = y.chunks_exact_mut(pixels).zip(x.chunks_exact(pixels));
                for ((y, x), (&w, &bias)) in planes.zip(w.iter().zip(bias)) {
                    let a = w * scale;
                    let b = bias - mean * a;
                    if silu {
                        for (y, &x) in y.iter_mut().zip(x) {
                            *y = swish(x * a + b, T::one()).0;
                        }
                    } else {
                        for (y, &x) in y.iter_mut().zip(x) {
                            *y = x * a + b;
                        }
                    }
                }
            });
        });
        Ok((host::tensor(y, shape)?, stats.into()))
    }

    fn pull<T: Real>(&self, x: &Tensor, grad: &Tensor, stats: &Stats) -> Result<Tensor> {
        let pixels = pixels(x);
        let grad = grad.contiguous()?;
        let (xs, g) = (Slice::<T>::new(x)?, Slice::<T>::new(&grad)?);
        let (w, bias) = (Slice::<T>::new(&self.weight)?, Slice::<T>::new(&self.bias)?);
        let (xs, g, w, bias) = (&*xs, &*g, &*w, &*bias);
        let per_group = w.len() / self.groups;
        let size = per_group * pixels;
        let share = T::one() / T::of(size as f64);
        let silu = self.silu;
        let out = build(xs.len(), size, |i, out| {
            let (x, g) = (&xs[i * size..][..size], &g[i * size..][..size]);
            let (mean, scale) = stats[i]
                .get()
                .map_or((T::zero(), T::zero()), |&(mean, scale)| {
                    (T::of(mean), T::of(scale))
                });
            let first = (i % self.groups) * per_group;
            let (w, bias) = (&w[first..][..per_group], &bias[first..][..per_group]);
            simd!(<'a, T> (
                out: &'a mut [T], x: &'a [T], g: &'a [T], w: &'a [T], bias: &'a [T], pixels: usize,
                mean: T, scale: T, share: T, silu: bool,
            ) {
                let planes = || x.chunks_exact(pixels).zip(g.chunks_exact(pixels)).zip(w);
                let (mut a, mut b) = (T::zero(), T::zero());
                for ((out, &bias), ((x, g), &w)) in out.chunks_exact_mut(pixels).zip(bias).zip(planes()) {
                    let g = if silu {
                        let (by, to) = (w * scale, bias - mean * w * scale);
                        for ((out, &x), &g) in out.iter_mut().zip(x).zip(g) {
                            *out = g * swish(x * by + to, T::one()).1;
                        }
                        &*out
                    } else {
                        g
                    };
                    a += w * sum(g, |g| g);
                    b += w * sum2(g, x, |g, x| g * (x - mean));
                }
                let (a, b) = (a * share, b * share * scale * scale);
                for (out, ((x, g), &w)) in out.chunks_exact_mut(pixels).zip(planes()) {
                    if silu {
                        for (out, &x) in out.iter_mut().zip(x) {
                            *out = (*out * w - a - (x - mean) * b) * scale;
                        }
                    } else {
                        for ((out, &x), &g) in out.iter_mut().zip(x).zip(g) {
                            *out = (g * w - a - (x - mean) * b) * scale;
                        }
                    }
                }
            });
        });
        host::tensor(out, x.shape())
    }

    fn normalise(&self, x: &Tensor) -> Result<(Tensor, Stats)> {
        self.check(x)?;
        if x.elem_count() == 0 {
            return Ok((x.clone(), [].into()));
        }
        fused!(x, self.value(x), Ok((self.composed(x)?, [].into())))
    }

    /// `x` as [batch, groups, all of a group], and the weight as it broadcasts over `x` as [batch, channels, all].
    fn grouped(&self, x: &Tensor) -> Result<Tensor> {
        x.contiguous()?.reshape((x.dims()[0], self.groups, ()))
    }

    fn scaled(&self, x: &Tensor) -> Result<Tensor> {
        let channels = self.weight.elem_count();
        let x = x.contiguous()?.reshape((x.dims()[0], channels, ()))?;
        x.broadcast_mul(&self.weight.reshape((1, channels, 1))?)
    }

    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.composed_norm(x)?;
        if self.silu {
            Activation::Silu.eval(&y)
        } else {
            Ok(y)
        }
    }

    fn composed_norm(&self, x: &Tensor) -> Result<Tensor> {
        let y = standardise(&self.grouped(x)?, self.eps)?.0;
        let y = self.scaled(&y.reshape(x.shape())?)?;
        y.broadcast_add(&self.bias.reshape((1, (), 1))?)?
            .reshape(x.shape())
    }

    fn pull_composed(&self, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let grad = &if self.silu {
            Activation::Silu.vjp(&self.composed_norm(x)?)?.1(grad)?
        } else {
            grad.clone()
        };
        let grad = self.grouped(&self.scaled(grad)?)?;
        pull_standardise(&self.grouped(x)?, &grad, self.eps)?.reshape(x.shape())
    }
}

impl Layer for GroupNorm {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.normalise(x)?.0)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let x = x.contiguous()?;
        let ((y, stats), norm) = (self.normalise(&x)?, self.clone());
        let pullback = move |grad: &Tensor| {
            host::check_grad("GroupNorm", grad, x.shape())?;
            if x.elem_count() == 0 {
                return Ok(grad.clone());
            }
            fused!(
                grad,
                norm.pull(&x, grad, &stats),
                norm.pull_composed(&x, grad)
            )
        };
        Ok((y, Box::new(pullback)))
    }
}

/// Elements per channel.
fn pixels(x: &Tensor) -> usize {
    x.dims()[2..].iter().product()
}

/// The mean of a slice, and one over its standard deviation. Two passes: the variance of activations far from zero
/// would lose its digits in one.
#[inline(always)]
fn moments<T: Real>(x: &[T], eps: T) -> (T, T) {
    let share = T::one() / T::of(x.len() as f64);
    let mean = sum(x, |x| x) * share;
    let variance = sum(x, |x| (x - mean) * (x - mean)) * share;
    (mean, T::one() / (variance + eps).sqrt())
}

fn affine(layer: &str, weight: Tensor, bias: Option<Tensor>) -> Result<(Tensor, Option<Tensor>)> {
    if weight.rank() != 1 {
        bail!(
            "{layer}: the weight must have one dimension, found {:?}",
            weight.shape()
        );
    }
    if let Some(bias) = &bias {
        if bias.shape() != weight.shape() {
            bail!(
                "{layer}: the bias must be {:?}, found {:?}",
                weight.shape(),
                bias.shape()
            );
        }
        host::check_kind(layer, bias, &weight)?;
    }
    let bias = bias.map(|bias| bias.detach().contiguous()).transpose()?;
    Ok((weight.detach().contiguous()?, bias))
}

/// The last dimension with mean 0 and variance 1, and one over its standard deviation, of candle's operations. Half
/// precision has too few digits for the moments, which are taken in f32.
fn standardise(x: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    let kind = x.dtype();
    let wide = match kind {
        DType::F16 | DType::BF16 => x.to_dtype(DType::F32)?,
        _ => x.clone(),
    };
    let x = wide.broadcast_sub(&wide.mean_keepdim(D::Minus1)?)?;
    let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?.recip()?;
    Ok((x.broadcast_mul(&scale)?.to_dtype(kind)?, scale))
}

/// The pullback of [`standardise`].
fn pull_standardise(x: &Tensor, grad: &Tensor, eps: f64) -> Result<Tensor> {
    let kind = x.dtype();
    let (n, scale) = standardise(x, eps)?;
    let (n, grad) = (n.to_dtype(scale.dtype())?, grad.to_dtype(scale.dtype())?);
    let along = n.broadcast_mul(&(&grad * &n)?.mean_keepdim(D::Minus1)?)?;
    let rest = grad.broadcast_sub(&grad.mean_keepdim(D::Minus1)?)?;
    (rest - along)?.broadcast_mul(&scale)?.to_dtype(kind)
}
