//! Banded matrices on both sides of images, and their transposes.

use std::ops::Range;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::taps::Taps;
use crate::host::{self, Slice, fused};
use crate::real::{Real, SMALL, axpy, simd};

/// The weights of one view of an image.
#[derive(Debug)]
pub(super) struct Plan {
    y: Taps,
    x: Taps,
    /// The columns that the view reads.
    columns: Range<usize>,
}

impl Plan {
    pub(super) fn new(y: Taps, x: Taps) -> Self {
        let columns = x.range();
        Self { y, x, columns }
    }
}

/// Each of `plans` applied to each of the `planes` images in `x`: [plans, planes, out_h, out_w].
pub(super) fn forward(
    x: &Tensor,
    planes: usize,
    plans: &[Plan],
    size: [usize; 2],
) -> Result<Tensor> {
    fused!(x, view(x, planes, plans, size), compose(x, planes, plans))
}

/// The gradient of those images: [1, planes, h, w].
pub(super) fn backward(
    grad: &Tensor,
    planes: usize,
    plans: &[Plan],
    size: [usize; 2],
) -> Result<Tensor> {
    fused!(
        grad,
        pull(grad, planes, plans, size),
        pull_composed(grad, planes, plans, size)
    )
}

fn view<T: Real>(
    x: &Tensor,
    planes: usize,
    plans: &[Plan],
    [oh, ow]: [usize; 2],
) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let x = x.contiguous()?;
    let x = Slice::<T>::new(&x)?;
    let x = &*x;
    let mut out = vec![T::zero(); plans.len() * planes * oh * ow];
    let row = |scratch: &mut Vec<T>, (i, out): (usize, &mut [T])| {
        let plan = &plans[i / oh / planes];
        let plane = &x[i / oh % planes * h * w..][..h * w];
        let columns = plan.columns.clone();
        let (first, weights) = plan.y.at(i % oh);
        simd(|| {
            scratch.clear();
            scratch.resize(columns.len(), T::zero());
            for (row, &weight) in plane.chunks_exact(w).skip(first).zip(weights) {
                axpy(scratch, T::of(weight), &row[columns.clone()]);
            }
            for (i, out) in out.iter_mut().enumerate() {
                let (first, weights) = plan.x.at(i);
                // A view that reads nothing has no columns.
                let scratch = scratch
                    .get(first.saturating_sub(columns.start)..)
                    .unwrap_or(&[]);
                *out = dot(weights, scratch);
            }
        });
    };
    if x.len().max(out.len()) <= SMALL {
        let mut scratch = Vec::new();
        (out.chunks_mut(ow).enumerate()).for_each(|item| row(&mut scratch, item));
    } else {
        (out.par_chunks_mut(ow).enumerate().with_min_len(8)).for_each_init(Vec::new, row);
    }
    host::tensor(out, (plans.len(), planes, oh, ow))
}

#[inline(always)]
fn dot<T: Real>(weights: &[f64], x: &[T]) -> T {
    weights.iter().zip(x).map(|(&w, &x)| T::of(w) * x).sum()
}

/// One task owns a band of rows of one image, and adds up in a fixed order what the views make of it, so that the sums
/// do not depend on the threads.
fn pull<T: Real>(
    grad: &Tensor,
    planes: usize,
    plans: &[Plan],
    [h, w]: [usize; 2],
) -> Result<Tensor> {
    let (_, _, oh, ow) = grad.dims4()?;
    let grad = grad.contiguous()?;
    let grad = Slice::<T>::new(&grad)?;
    let grad = &*grad;
    let mut out = vec![T::zero(); planes * h * w];
    let wanted = (4 * rayon::current_num_threads()).div_ceil(planes.max(1));
    let rows = h.div_ceil(wanted).max(16).min(h);
    let bands = out
        .chunks_exact_mut(h * w)
        .enumerate()
        .flat_map(|(plane, out)| {
            let bands = out.chunks_mut(rows * w).enumerate();
            bands.map(move |(i, out)| (plane, i * rows, out))
        });
    let bands = bands.collect::<Vec<_>>();
    let band = |scratch: &mut Vec<T>, (plane, top, out): (usize, usize, &mut [T])| {
        let bottom = top + out.len() / w;
        simd(|| {
            for (crop, plan) in plans.iter().enumerate() {
                let grad = &grad[(crop * planes + plane) * oh * ow..][..oh * ow];
                for (i, grad) in grad.chunks_exact(ow).enumerate() {
                    let (first, weights) = plan.y.at(i);
                    let from = first.max(top);
                    let to = (first + weights.len()).min(bottom);
                    if from >= to {
                        continue;
                    }
                    scratch.clear();
                    scratch.resize(plan.columns.len(), T::zero());
                    for (x, &g) in grad.iter().enumerate() {
                        let (first, weights) = plan.x.at(x);
                        let at = first.saturating_sub(plan.columns.start);
                        for (out, &w) in scratch.iter_mut().skip(at).zip(weights) {
                            *out += T::of(w) * g;
                        }
                    }
                    for y in from..to {
                        let row = &mut out[(y - top) * w..][..w];
                        axpy(
                            &mut row[plan.columns.clone()],
                            T::of(weights[y - first]),
                            scratch,
                        );
                    }
                }
            }
        });
    };
    if grad.len().max(planes * h * w) <= SMALL {
        let mut scratch = Vec::new();
        bands.into_iter().for_each(|item| band(&mut scratch, item));
    } else {
        bands.into_par_iter().for_each_init(Vec::new, band);
    }
    host::tensor(out, (1, planes, h, w))
}

/// The rows of `taps` as a dense matrix of the inputs `range`, like `x` in type and device.
fn dense(taps: &Taps, range: &Range<usize>, x: &Tensor) -> Result<Tensor> {
    let mut matrix = vec![0f32; taps.len() * range.len()];
    for i in 0..taps.len() {
        let (first, weights) = taps.at(i);
        for (j, &w) in weights.iter().enumerate() {
            matrix[i * range.len() + first + j - range.start] = w as f32;
        }
    }
    Tensor::from_vec(matrix, (taps.len(), range.len()), x.device())?.to_dtype(x.dtype())
}

fn compose(x: &Tensor, planes: usize, plans: &[Plan]) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let x = x.contiguous()?.reshape((planes, h, w))?;
    let views = plans.iter().map(|plan| {
        let (rows, columns) = (plan.y.range(), plan.columns.clone());
        let (oh, ow) = (plan.y.len(), plan.x.len());
        if rows.is_empty() || columns.is_empty() {
            return Tensor::zeros((planes, oh, ow), x.dtype(), x.device());
        }
        let y = dense(&plan.y, &rows, &x)?;
        let across = dense(&plan.x, &columns, &x)?.t()?;
        let part = x
            .narrow(1, rows.start, rows.len())?
            .narrow(2, columns.start, columns.len())?;
        let part = y.broadcast_matmul(&part.contiguous()?)?;
        part.reshape((planes * oh, columns.len()))?
            .matmul(&across)?
            .reshape((planes, oh, ow))
    });
    Tensor::stack(&views.collect::<Result<Vec<_>>>()?, 0)
}

fn pull_composed(
    grad: &Tensor,
    planes: usize,
    plans: &[Plan],
    [h, w]: [usize; 2],
) -> Result<Tensor> {
    let (_, _, oh, ow) = grad.dims4()?;
    let grad = grad.contiguous()?.reshape((plans.len(), planes, oh, ow))?;
    let mut sum = Tensor::zeros((planes, h, w), grad.dtype(), grad.device())?;
    for (i, plan) in plans.iter().enumerate() {
        let (rows, columns) = (plan.y.range(), plan.columns.clone());
        if rows.is_empty() || columns.is_empty() {
            continue;
        }
        let y = dense(&plan.y, &rows, &grad)?.t()?.contiguous()?;
        let across = dense(&plan.x, &columns, &grad)?;
        let part = grad.get(i)?.reshape((planes * oh, ow))?.matmul(&across)?;
        let part = y.broadcast_matmul(&part.reshape((planes, oh, columns.len()))?)?;
        let part = part.pad_with_zeros(1, rows.start, h - rows.end)?;
        sum = (sum + part.pad_with_zeros(2, columns.start, w - columns.end)?)?;
    }
    sum.reshape((1, planes, h, w))
}
