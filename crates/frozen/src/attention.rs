//! Scaled dot-product attention (Vaswani et al. 2017).

use candle_core::{D, Result, Tensor, bail};
use rayon::prelude::*;

use crate::gemm::{Mat, MatMut, Threads, blocks, gemm, zeros};
use crate::host::{self, Slice, fused};
use crate::real::{Real, max, simd, sum, sum2};

/// Takes the gradient of an attention's output to those of q, k and v.
pub type AttentionPullback = Box<dyn Fn(&Tensor) -> Result<(Tensor, Tensor, Tensor)> + Send + Sync>;

/// `softmax(q k^T / sqrt(dh)) v` for each batch and head, with its pullback.
///
/// q is [b, heads, n, dh], k is [b, heads, m, dh], v is [b, heads, m, dv], each in any layout of memory; the output is
/// [b, heads, n, dv], laid out so that its transpose [b, n, heads, dv] is contiguous. `causal` lets row i see the columns
/// up to i alone. The weights are computed again in the pullback, so that nothing of size n x m is kept.
///
/// # Errors
/// Where the shapes, types or devices do not fit.
pub fn scaled_dot_product(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    causal: bool,
) -> Result<(Tensor, AttentionPullback)> {
    let (q, k, v) = (q.detach(), k.detach(), v.detach());
    check_heads(&q, &k, &v)?;
    let y = fused!(&q, attend(&q, &k, &v, causal), composed(&q, &k, &v, causal))?;
    let shape = y.shape().clone();
    let pullback = move |grad: &Tensor| {
        host::check_grad("attention", grad, &shape)?;
        fused!(
            grad,
            pull(&q, &k, &v, grad, causal),
            pull_composed(&q, &k, &v, grad, causal)
        )
    };
    Ok((y, Box::new(pullback)))
}

fn check_heads(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<()> {
    let (&[b, h, _, dh], &[kb, kh, m, kd], &[vb, vh, vm, _]) = (q.dims(), k.dims(), v.dims())
    else {
        bail!(
            "attention: q, k and v must be [batch, heads, n, d], found {:?}, {:?}, {:?}",
            q.shape(),
            k.shape(),
            v.shape()
        );
    };
    if (kb, kh, kd) != (b, h, dh) || (vb, vh, vm) != (b, h, m) || m == 0 || dh == 0 {
        bail!(
            "attention: q {:?}, k {:?} and v {:?} do not fit together",
            q.shape(),
            k.shape(),
            v.shape()
        );
    }
    host::check_kind("attention", k, q)?;
    host::check_kind("attention", v, q)
}

/// A [batch, heads, rows, cols] tensor as matrices, in whatever layout it has.
struct Heads<'a, T> {
    data: Slice<'a, T>,
    dims: [usize; 4],
    strides: [usize; 4],
}

impl<'a, T: Real> Heads<'a, T> {
    fn new(x: &'a Tensor) -> Result<Self> {
        let (&[b, h, n, d], &[sb, sh, sn, sd]) = (x.dims(), x.stride()) else {
            bail!(
                "attention: expected [batch, heads, n, d], found {:?}",
                x.shape()
            );
        };
        Ok(Self {
            data: Slice::open(x)?,
            dims: [b, h, n, d],
            strides: [sb, sh, sn, sd],
        })
    }

    /// What all threads read.
    fn view(&self) -> View<'_, T> {
        View {
            data: &self.data,
            dims: self.dims,
            strides: self.strides,
        }
    }
}

#[derive(Clone, Copy)]
struct View<'a, T> {
    data: &'a [T],
    dims: [usize; 4],
    strides: [usize; 4],
}

impl<'a, T: Real> View<'a, T> {
    /// The matrix of head `i % heads` of sample `i / heads`.
    fn mat(&self, i: usize) -> Mat<'a, T> {
        let [_, h, n, d] = self.dims;
        let [sb, sh, sn, sd] = self.strides;
        Mat::strided(&self.data[i / h * sb + i % h * sh..], n, d, sn, sd)
    }
}

/// One task per head, on all threads; where heads are fewer than threads, one after the other with all threads in each.
fn each_head<I: Send, T: Real>(
    heads: Vec<I>,
    work: usize,
    f: impl Fn(usize, I, &mut Vec<T>, Threads) + Sync,
) {
    let serial = heads.len() * work < 1 << 15;
    if serial || heads.len() < rayon::current_num_threads() {
        let threads = if serial { Threads::One } else { Threads::All };
        let mut scratch = Vec::new();
        for (i, head) in heads.into_iter().enumerate() {
            f(i, head, &mut scratch, threads);
        }
    } else {
        heads
            .into_par_iter()
            .enumerate()
            .for_each_init(Vec::new, |scratch, (i, head)| {
                f(i, head, scratch, Threads::One);
            });
    }
}

fn rows_on<T: Send>(
    x: &mut [T],
    size: usize,
    threads: Threads,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    match threads {
        Threads::One => x
            .chunks_exact_mut(size)
            .enumerate()
            .for_each(|(i, row)| f(i, row)),
        Threads::All => crate::real::chunks(x, size, f),
    }
}

/// The attention weights `softmax(scale q k^T)`, written to `p`, [n, m].
fn weights<T: Real>(
    p: &mut [T],
    q: Mat<T>,
    k: Mat<T>,
    dims: (usize, usize, usize),
    causal: bool,
    threads: Threads,
) {
    let (n, m, d) = dims;
    let scale = T::one() / T::of(d as f64).sqrt();
    gemm(MatMut::new(p, n, m), q, k.t(), scale, false, threads);
    rows_on(p, m, threads, |i, row| {
        let (row, masked) = row.split_at_mut(if causal { m.min(i + 1) } else { m });
        masked.fill(T::zero());
        simd!(<'a, T> (row: &'a mut [T]) {
            let max = max(row);
            row.iter_mut().for_each(|x| *x = (*x - max).exp());
            let share = T::one() / sum(row, |x| x);
            row.iter_mut().for_each(|x| *x *= share);
        });
    });
}

/// The value, as a [b, heads, n, dv] window on a contiguous [b, n, heads, dv].
pub(crate) fn attend<T: Real>(q: &Tensor, k: &Tensor, v: &Tensor, causal: bool) -> Result<Tensor> {
    let (qh, kh, vh) = (
        Heads::<T>::new(q)?,
        Heads::<T>::new(k)?,
        Heads::<T>::new(v)?,
    );
    let (q, k, v) = (qh.view(), kh.view(), vh.view());
    let [b, h, n, d] = q.dims;
    let (m, dv) = (k.dims[2], v.dims[3]);
    let mut y = zeros(b * n * h * dv);
    let heads = blocks(&mut y, n, h, dv).collect::<Vec<_>>();
    each_head(heads, n * m * (d + dv), |i, y, scratch, threads| {
        scratch.resize(n * m, T::zero());
        weights(scratch, q.mat(i), k.mat(i), (n, m, d), causal, threads);
        gemm(
            y,
            Mat::new(scratch, n, m),
            v.mat(i),
            T::one(),
            false,
            threads,
        );
    });
    host::tensor(y, (b, n, h, dv))?.transpose(1, 2)
}

/// With p the weights and s the gradient of what the softmax takes: `dv = p^T g`, `dp = g v^T`,
/// `s = p (dp - sum(p dp))`, `dq = scale s k`, `dk = scale s^T q`.
fn pull_into<T: Real>([q, k, v, g]: [View<T>; 4], causal: bool, grads: Vec<[MatMut<T>; 3]>) {
    let [_, _, n, d] = q.dims;
    let (m, dv) = (k.dims[2], v.dims[3]);
    let scale = T::one() / T::of(d as f64).sqrt();
    each_head(
        grads,
        2 * n * m * (d + dv),
        |i, [gq, gk, gv], scratch, threads| {
            scratch.resize(2 * n * m, T::zero());
            let (p, s) = scratch.split_at_mut(n * m);
            let (q, k, v, g) = (q.mat(i), k.mat(i), v.mat(i), g.mat(i));
            weights(p, q, k, (n, m, d), causal, threads);
            gemm(gv, Mat::new(p, n, m).t(), g, T::one(), false, threads);
            gemm(MatMut::new(s, n, m), g, v.t(), T::one(), false, threads);
            let p = &*p;
            rows_on(s, m, threads, |i, s| {
                let p = &p[i * m..][..m];
                let mean = sum2(p, s, |p, s| p * s);
                for (s, &p) in s.iter_mut().zip(p) {
                    *s = (*s - mean) * p;
                }
            });
            gemm(gq, Mat::new(s, n, m), k, scale, false, threads);
            gemm(gk, Mat::new(s, n, m).t(), q, scale, false, threads);
        },
    );
}

/// The three gradients in buffers of their own, each [b, heads, rows, d] as a window on [b, rows, heads, d].
fn pull<T: Real>(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    grad: &Tensor,
    causal: bool,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (qh, kh, vh, gh) = (
        Heads::<T>::new(q)?,
        Heads::<T>::new(k)?,
        Heads::<T>::new(v)?,
        Heads::<T>::new(grad)?,
    );
    let [b, h, n, d] = qh.dims;
    let (m, dv) = (kh.dims[2], vh.dims[3]);
    let mut gq = zeros(b * h * n * d);
    let mut gk = zeros(b * h * m * d);
    let mut gv = zeros(b * h * m * dv);
    let grads = blocks(&mut gq, n, h, d)
        .zip(blocks(&mut gk, m, h, d))
        .zip(blocks(&mut gv, m, h, dv))
        .map(|((q, k), v)| [q, k, v])
        .collect();
    pull_into([qh.view(), kh.view(), vh.view(), gh.view()], causal, grads);
    let windows = |x, n, d| host::tensor(x, (b, n, h, d))?.transpose(1, 2);
    Ok((windows(gq, n, d)?, windows(gk, m, d)?, windows(gv, m, dv)?))
}

/// The three gradients side by side, [b, n, 3 heads dh].
pub(crate) fn pull_fused<T: Real>(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    grad: &Tensor,
    causal: bool,
) -> Result<Tensor> {
    let (qh, kh, vh, gh) = (
        Heads::<T>::new(q)?,
        Heads::<T>::new(k)?,
        Heads::<T>::new(v)?,
        Heads::<T>::new(grad)?,
    );
    let [b, h, n, d] = qh.dims;
    let mut out = zeros(b * n * 3 * h * d);
    let mut grads = Vec::with_capacity(b * h);
    let mut all = blocks(&mut out, n, 3 * h, d);
    for _ in 0..b {
        let q = all.by_ref().take(h).collect::<Vec<_>>();
        let k = all.by_ref().take(h).collect::<Vec<_>>();
        let v = all.by_ref().take(h);
        grads.extend(q.into_iter().zip(k).zip(v).map(|((q, k), v)| [q, k, v]));
    }
    drop(all);
    pull_into([qh.view(), kh.view(), vh.view(), gh.view()], causal, grads);
    host::tensor(out, (b, n, 3 * h * d))
}

fn weights_composed(q: &Tensor, k: &Tensor, causal: bool) -> Result<Tensor> {
    let (_, _, n, d) = q.dims4()?;
    let m = k.dims()[2];
    let scores = q.contiguous()?.matmul(&k.t()?.contiguous()?)?;
    let scores = (scores * (1.0 / (d as f64).sqrt()))?;
    let scores = if causal {
        let mask = (0..n * m).map(|i| {
            if i % m > i / m {
                f32::NEG_INFINITY
            } else {
                0.0
            }
        });
        let mask = Tensor::from_iter(mask, q.device())?.to_dtype(q.dtype())?;
        scores.broadcast_add(&mask.reshape((n, m))?)?
    } else {
        scores
    };
    let e = scores
        .broadcast_sub(&scores.max_keepdim(D::Minus1)?)?
        .exp()?;
    e.broadcast_div(&e.sum_keepdim(D::Minus1)?)
}

/// The value of candle's operations, in the layout of the fused kernel's.
pub(crate) fn composed(q: &Tensor, k: &Tensor, v: &Tensor, causal: bool) -> Result<Tensor> {
    let y = weights_composed(q, k, causal)?.matmul(&v.contiguous()?)?;
    y.transpose(1, 2)?.contiguous()?.transpose(1, 2)
}

pub(crate) fn pull_composed(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    grad: &Tensor,
    causal: bool,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (q, k, g) = (q.contiguous()?, k.contiguous()?, grad.contiguous()?);
    let scale = 1.0 / (q.dims()[3] as f64).sqrt();
    let p = weights_composed(&q, &k, causal)?;
    let gv = p.t()?.contiguous()?.matmul(&g)?;
    let gp = g.matmul(&v.t()?.contiguous()?)?;
    let mean = (&gp * &p)?.sum_keepdim(D::Minus1)?;
    let s = ((gp.broadcast_sub(&mean)? * p)? * scale)?;
    let gq = s.matmul(&k)?;
    let gk = s.t()?.contiguous()?.matmul(&q)?;
    Ok((gq, gk, gv))
}
