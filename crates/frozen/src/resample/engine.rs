//! Banded matrices on both sides of images, and their transposes.

use std::ops::Range;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::taps::Taps;
use crate::gemm::zeros;
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

    /// Where in the columns that the view reads column `x` is. An output that reads nothing has column 0 and no weights.
    #[inline(always)]
    fn column(&self, x: usize) -> usize {
        x.saturating_sub(self.columns.start)
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

/// Rows handled at once: the sums along a row are of a few pixels each, too few for a vector, so that the lanes of a
/// vector are several rows.
const ROWS: usize = 8;

/// One block of at most [`ROWS`] output rows is one task.
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
    let mut out = zeros(plans.len() * planes * oh * ow);
    let tasks = out
        .chunks_exact_mut(oh * ow)
        .enumerate()
        .flat_map(|(i, plane)| {
            let blocks = plane.chunks_mut(ROWS * ow).enumerate();
            blocks.map(move |(block, out)| (i, block * ROWS, out))
        });
    let block = |scratch: &mut Scratch<T>, (i, top, out): (usize, usize, &mut [T])| {
        let plan = &plans[i / planes];
        let plane = &x[i % planes * h * w..][..h * w];
        view_block(plan, plane, w, top, out, ow, scratch);
    };
    run(
        x.len().max(plans.len() * planes * oh * ow),
        tasks.collect(),
        block,
    );
    host::tensor(out, (plans.len(), planes, oh, ow))
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
    let mut out = zeros(planes * h * w);
    let wanted = (4 * rayon::current_num_threads()).div_ceil(planes.max(1));
    let rows = h.div_ceil(wanted).max(16).min(h);
    let tasks = out
        .chunks_exact_mut(h * w)
        .enumerate()
        .flat_map(|(plane, out)| {
            let bands = out.chunks_mut(rows * w).enumerate();
            bands.map(move |(i, out)| (plane, i * rows, out))
        });
    let band = |scratch: &mut Scratch<T>, (plane, top, out): (usize, usize, &mut [T])| {
        let band = top..top + out.len() / w;
        for (i, plan) in plans.iter().enumerate() {
            let grad = &grad[(i * planes + plane) * oh * ow..][..oh * ow];
            for (i, grad) in grad.chunks(ROWS * ow).enumerate() {
                pull_block(plan, grad, ow, i * ROWS, out, w, &band, scratch);
            }
        }
    };
    run(grad.len().max(planes * h * w), tasks.collect(), band);
    host::tensor(out, (1, planes, h, w))
}

/// The output rows from `top` on, as many as `out` holds, of the view of one plane of width `w`.
fn view_block<T: Real>(
    plan: &Plan,
    plane: &[T],
    w: usize,
    top: usize,
    out: &mut [T],
    ow: usize,
    scratch: &mut Scratch<T>,
) {
    scratch.clear(plan.columns.len());
    simd!(<'a, T> (
        plan: &'a Plan, plane: &'a [T], w: usize, top: usize,
        out: &'a mut [T], ow: usize, scratch: &'a mut Scratch<T>,
    ) {
        let Scratch { row, lanes } = scratch;
        for lane in 0..out.len() / ow {
            row.fill(T::zero());
            let (first, weights) = plan.y.at(top + lane);
            for (i, &weight) in weights.iter().enumerate() {
                axpy(row, T::of(weight), &plane[(first + i) * w..][plan.columns.clone()]);
            }
            for (lanes, &x) in lanes.iter_mut().zip(&*row) {
                lanes[lane] = x;
            }
        }
        for column in 0..ow {
            let (first, weights) = plan.x.at(column);
            let mut sum = [T::zero(); ROWS];
            for (lanes, &weight) in lanes[plan.column(first)..].iter().zip(weights) {
                let weight = T::of(weight);
                for lane in 0..ROWS {
                    sum[lane] += weight * lanes[lane];
                }
            }
            for (row, &sum) in out.chunks_exact_mut(ow).zip(&sum) {
                row[column] = sum;
            }
        }
    });
}

/// Adds to the rows `band` of an input of width `w`, which are `out`, what the output rows from `top` on, whose gradient
/// is `grad`, make of them.
#[expect(clippy::too_many_arguments)]
fn pull_block<T: Real>(
    plan: &Plan,
    grad: &[T],
    ow: usize,
    top: usize,
    out: &mut [T],
    w: usize,
    band: &Range<usize>,
    scratch: &mut Scratch<T>,
) {
    let reach = |lane: usize| {
        let (first, weights) = plan.y.at(top + lane);
        first.max(band.start)..(first + weights.len()).min(band.end)
    };
    if (0..grad.len() / ow).all(|lane| reach(lane).is_empty()) {
        return;
    }
    scratch.clear(plan.columns.len());
    simd!(<'a, T> (
        plan: &'a Plan, grad: &'a [T], ow: usize, top: usize,
        out: &'a mut [T], w: usize, band: &'a Range<usize>, scratch: &'a mut Scratch<T>,
    ) {
        let Scratch { row, lanes } = scratch;
        for column in 0..ow {
            let mut g = [T::zero(); ROWS];
            for (g, row) in g.iter_mut().zip(grad.chunks_exact(ow)) {
                *g = row[column];
            }
            let (first, weights) = plan.x.at(column);
            for (lanes, &weight) in lanes[plan.column(first)..].iter_mut().zip(weights) {
                let weight = T::of(weight);
                for lane in 0..ROWS {
                    lanes[lane] += weight * g[lane];
                }
            }
        }
        for lane in 0..grad.len() / ow {
            for (x, lanes) in row.iter_mut().zip(&*lanes) {
                *x = lanes[lane];
            }
            let (first, weights) = plan.y.at(top + lane);
            for y in first.max(band.start)..(first + weights.len()).min(band.end) {
                let to = &mut out[(y - band.start) * w..][plan.columns.clone()];
                axpy(to, T::of(weights[y - first]), row);
            }
        }
    });
}

/// The columns that a view reads: one row of them, and several side by side.
struct Scratch<T> {
    row: Vec<T>,
    lanes: Vec<[T; ROWS]>,
}

impl<T: Real> Scratch<T> {
    fn new() -> Self {
        Self {
            row: Vec::new(),
            lanes: Vec::new(),
        }
    }

    fn clear(&mut self, columns: usize) {
        self.row.clear();
        self.row.resize(columns, T::zero());
        self.lanes.clear();
        self.lanes.resize(columns, [T::zero(); ROWS]);
    }
}

/// Runs the tasks on all threads, or where there is little to do on this one.
fn run<T: Real, I: Send>(work: usize, tasks: Vec<I>, f: impl Fn(&mut Scratch<T>, I) + Send + Sync) {
    if work <= SMALL {
        let mut scratch = Scratch::new();
        tasks.into_iter().for_each(|task| f(&mut scratch, task));
    } else {
        tasks.into_par_iter().for_each_init(Scratch::new, f);
    }
}

/// The rows of `taps` as a dense matrix of the inputs `range`, like `x` in type and device.
fn dense(taps: &Taps, range: &Range<usize>, x: &Tensor) -> Result<Tensor> {
    let mut matrix = vec![0.0; taps.len() * range.len()];
    for i in 0..taps.len() {
        let (first, weights) = taps.at(i);
        for (j, &w) in weights.iter().enumerate() {
            matrix[i * range.len() + first + j - range.start] = w;
        }
    }
    host::constant(matrix, &[taps.len(), range.len()], x)
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
