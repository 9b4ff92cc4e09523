//! Convolution on the CPU: columns of pixels under the kernel, times the weights.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::Geometry;
use crate::channels_last::planes;
use crate::gemm::{Mat, MatMut, Threads, build, gemm, product, zeros};
use crate::host::{self, Slice};
use crate::real::{Real, axpy};

/// Elements of one tile of the column matrix: it stays in the cache between being written and multiplied, and is wide
/// enough that arranging the weights for the product, once a tile, does not count.
const TILE: usize = 1 << 18;

pub(super) fn forward<T: Real>(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    g: &Geometry,
) -> Result<Tensor> {
    let x = planes(x)?;
    let x = Slice::<T>::new(&x)?;
    let weight = Slice::<T>::new(weight)?;
    let bias = bias.map(Slice::<T>::new).transpose()?;
    if g.is_patches() {
        patches(&x, &weight, bias.as_deref(), g)
    } else {
        let y = convolve(&x, &weight, bias.as_deref(), g);
        host::tensor(y, (g.batch, g.groups * g.oc, g.oh, g.ow))
    }
}

pub(super) fn backward<T: Real>(grad: &Tensor, weight: &Tensor, g: &Geometry) -> Result<Tensor> {
    let weight = Slice::<T>::new(weight)?;
    let shape = (g.batch, g.groups * g.ic, g.h, g.w);
    if g.is_patches() {
        return host::tensor(unpatch(grad, &weight, g)?, shape);
    }
    let grad = planes(grad)?;
    let grad = Slice::<T>::new(&grad)?;
    if g.stride == 1 && g.pad[0] < g.kh && g.pad[1] < g.kw {
        // The gradient of the input is a convolution of the output's with the kernel turned by 180 degrees.
        let turned = Geometry {
            ic: g.oc,
            oc: g.ic,
            h: g.oh,
            w: g.ow,
            oh: g.h,
            ow: g.w,
            pad: [g.kh - 1 - g.pad[0], g.kw - 1 - g.pad[1]],
            ..*g
        };
        return host::tensor(convolve(&grad, &turn(&weight, g), None, &turned), shape);
    }
    host::tensor(scatter(&grad, &weight, g), shape)
}

/// [groups, oc, ic, kh kw] to [groups, ic, oc, kh kw reversed].
fn turn<T: Real>(weight: &[T], g: &Geometry) -> Vec<T> {
    let kernel = g.kh * g.kw;
    build(weight.len(), g.oc * kernel, |i, turned| {
        let (group, ic) = (i / g.ic, i % g.ic);
        for (oc, turned) in turned.chunks_exact_mut(kernel).enumerate() {
            let start = ((group * g.oc + oc) * g.ic + ic) * kernel;
            for (turned, &w) in turned
                .iter_mut()
                .zip(weight[start..start + kernel].iter().rev())
            {
                *turned = w;
            }
        }
    })
}

/// Columns of a tile: as many as the cache takes, and few enough that there is work for every thread; in whole vectors.
fn tile(depth: usize, positions: usize, tasks: usize) -> usize {
    let wanted = (4 * rayon::current_num_threads()).div_ceil(tasks.max(1));
    let fair = positions.div_ceil(wanted).max(64);
    let size = (TILE / depth.max(1)).clamp(64, 4096).min(fair);
    size.next_multiple_of(32).min(positions.max(1))
}

fn convolve<T: Real>(x: &[T], weight: &[T], bias: Option<&[T]>, g: &Geometry) -> Vec<T> {
    let (depth, positions) = (g.depth(), g.oh * g.ow);
    let mut y = zeros(g.batch * g.groups * g.oc * positions);
    if y.is_empty() {
        return y;
    }
    let direct = g.kh == 1 && g.kw == 1 && g.stride == 1 && g.pad == [0, 0];
    let size = tile(depth, positions, g.batch * g.groups);
    let parts = y.chunks_exact_mut(g.oc * positions).enumerate();
    let tiles = parts.flat_map(|(part, y)| {
        let tiles = MatMut::new(y, g.oc, positions).split_cols(size).enumerate();
        tiles.map(move |(i, y)| (part, i * size, y))
    });
    let tiles = tiles.collect::<Vec<_>>();
    let is_small = g.batch * g.groups * g.oc * positions * depth < 1 << 16;
    // where there are few positions, the threads share the channels of one product
    let threads = if tiles.len() == 1 && !is_small {
        Threads::All
    } else {
        Threads::One
    };
    let run = |columns: &mut Vec<T>, (part, start, mut y): (usize, usize, MatMut<T>)| {
        let (group, n) = (part % g.groups, y.cols());
        let weight = &weight[group * g.oc * depth..][..g.oc * depth];
        if let Some(bias) = bias {
            for i in 0..g.oc {
                y.row(i).fill(bias[group * g.oc + i]);
            }
        }
        let x = &x[part * g.ic * g.h * g.w..][..g.ic * g.h * g.w];
        let columns = if direct {
            Mat::strided(&x[start..], depth, n, positions, 1)
        } else {
            columns.resize(depth * n, T::zero());
            gather(x, columns, start, n, g);
            Mat::new(columns, depth, n)
        };
        gemm(
            y,
            Mat::new(weight, g.oc, depth),
            columns,
            T::one(),
            bias.is_some(),
            threads,
        );
    };
    if is_small || threads == Threads::All {
        let mut columns = Vec::new();
        tiles.into_iter().for_each(|tile| run(&mut columns, tile));
    } else {
        tiles.into_par_iter().for_each_init(Vec::new, run);
    }
    y
}

/// The runs of output positions `start..start + n` that lie in one row: (offset in the tile, row, columns).
fn runs(
    start: usize,
    n: usize,
    width: usize,
) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
    let mut p = start;
    std::iter::from_fn(move || {
        if p >= start + n {
            return None;
        }
        let (row, from) = (p / width, p % width);
        let to = width.min(from + start + n - p);
        let run = (p - start, row, from..to);
        p += to - from;
        Some(run)
    })
}

/// The output columns of `range` whose input column `ox stride + k - pad` lies in 0..w, and the first of those input columns.
fn inside(
    range: &std::ops::Range<usize>,
    k: usize,
    pad: usize,
    stride: usize,
    w: usize,
) -> (std::ops::Range<usize>, usize) {
    let low = pad.saturating_sub(k).div_ceil(stride);
    let high = (w + pad).saturating_sub(k).div_ceil(stride);
    let from = range.start.max(low).min(range.end);
    let to = range.end.min(high).max(from);
    (from..to, (from * stride + k).saturating_sub(pad))
}

/// The tile of the column matrix, [ic kh kw, n], for the output positions from `start` on.
fn gather<T: Real>(x: &[T], columns: &mut [T], start: usize, n: usize, g: &Geometry) {
    let rows = columns.chunks_exact_mut(n);
    for (i, out) in rows.enumerate() {
        let (c, ky, kx) = (i / (g.kh * g.kw), i / g.kw % g.kh, i % g.kw);
        let plane = &x[c * g.h * g.w..][..g.h * g.w];
        for (at, oy, range) in runs(start, n, g.ow) {
            let out = &mut out[at..at + range.len()];
            let y = oy * g.stride + ky;
            if y < g.pad[0] || y >= g.h + g.pad[0] {
                out.fill(T::zero());
                continue;
            }
            let row = &plane[(y - g.pad[0]) * g.w..][..g.w];
            let (good, first) = inside(&range, kx, g.pad[1], g.stride, g.w);
            let (a, b) = (good.start - range.start, good.end - range.start);
            out[..a].fill(T::zero());
            out[b..].fill(T::zero());
            let out = &mut out[a..b];
            if out.is_empty() {
                continue;
            }
            if g.stride == 1 {
                out.copy_from_slice(&row[first..first + out.len()]);
            } else {
                for (out, &x) in out.iter_mut().zip(row[first..].iter().step_by(g.stride)) {
                    *out = x;
                }
            }
        }
    }
}

/// The input gradient for any stride: the gradient of the columns, added up where they came from. One task owns some
/// channels of one sample, so that no two add to one pixel.
fn scatter<T: Real>(grad: &[T], weight: &[T], g: &Geometry) -> Vec<T> {
    let (kernel, positions, plane) = (g.kh * g.kw, g.oh * g.ow, g.h * g.w);
    let mut out = zeros(g.batch * g.groups * g.ic * plane);
    if out.is_empty() || positions == 0 {
        return out;
    }
    let wanted = (4 * rayon::current_num_threads()).div_ceil(g.batch * g.groups);
    let share = g.ic.div_ceil(wanted).max(1);
    let tasks = out
        .chunks_exact_mut(g.ic * plane)
        .enumerate()
        .flat_map(|(part, out)| {
            out.chunks_mut(share * plane)
                .enumerate()
                .map(move |(i, out)| (part, i * share, out))
        });
    let tasks = tasks.collect::<Vec<_>>();
    tasks
        .into_par_iter()
        .for_each_init(Vec::new, |columns: &mut Vec<T>, (part, first, out)| {
            let channels = out.len() / plane;
            let rows = channels * kernel;
            let group = part % g.groups;
            let weight = &weight[group * g.oc * g.depth() + first * kernel..];
            let weight = Mat::strided(weight, rows, g.oc, 1, g.depth());
            let grad = &grad[part * g.oc * positions..][..g.oc * positions];
            let size = (TILE / rows).clamp(64, 4096).min(positions);
            for start in (0..positions).step_by(size) {
                let n = size.min(positions - start);
                columns.resize(rows * n, T::zero());
                let grad = Mat::strided(&grad[start..], g.oc, n, positions, 1);
                gemm(
                    MatMut::new(columns, rows, n),
                    weight,
                    grad,
                    T::one(),
                    false,
                    Threads::One,
                );
                for (i, column) in columns.chunks_exact(n).enumerate() {
                    let (c, ky, kx) = (i / kernel, i / g.kw % g.kh, i % g.kw);
                    let plane = &mut out[c * plane..][..plane];
                    for (at, oy, range) in runs(start, n, g.ow) {
                        let y = oy * g.stride + ky;
                        if y < g.pad[0] || y >= g.h + g.pad[0] {
                            continue;
                        }
                        let row = &mut plane[(y - g.pad[0]) * g.w..][..g.w];
                        let (good, first) = inside(&range, kx, g.pad[1], g.stride, g.w);
                        let column = &column[at + good.start - range.start..][..good.len()];
                        if column.is_empty() {
                            continue;
                        }
                        if g.stride == 1 {
                            axpy(&mut row[first..], T::one(), column);
                        } else {
                            for (out, &x) in row[first..].iter_mut().step_by(g.stride).zip(column) {
                                *out += x;
                            }
                        }
                    }
                }
            }
        });
    out
}

/// Patches as rows times the weights: [b, oh, ow, oc], seen as [b, oc, oh, ow], so that a transformer's tokens need no
/// copy.
fn patches<T: Real>(x: &[T], weight: &[T], bias: Option<&[T]>, g: &Geometry) -> Result<Tensor> {
    let (depth, k) = (g.depth(), g.kh);
    let rows = g.batch * g.oh * g.ow;
    let columns = build(rows * depth, g.ow * depth, |i, out| {
        let (b, oy) = (i / g.oh, i % g.oh);
        for c in 0..g.ic {
            for ky in 0..k {
                let row = &x[((b * g.ic + c) * g.h + oy * k + ky) * g.w..][..g.ow * k];
                for (patch, run) in out.chunks_exact_mut(depth).zip(row.chunks_exact(k)) {
                    patch[(c * k + ky) * k..][..k].copy_from_slice(run);
                }
            }
        }
    });
    let mut y = build(rows * g.oc, g.oc, |_, y| {
        if let Some(bias) = bias {
            y.copy_from_slice(bias);
        }
    });
    let weight = Mat::new(weight, g.oc, depth).t();
    let columns = Mat::new(&columns, rows, depth);
    gemm(
        MatMut::new(&mut y, rows, g.oc),
        columns,
        weight,
        T::one(),
        true,
        Threads::All,
    );
    host::tensor(y, (g.batch, g.oh, g.ow, g.oc))?.permute((0, 3, 1, 2))
}

fn unpatch<T: Real>(grad: &Tensor, weight: &[T], g: &Geometry) -> Result<Vec<T>> {
    let (depth, k, rows) = (g.depth(), g.kh, g.batch * g.oh * g.ow);
    let grad = grad.permute((0, 2, 3, 1))?.contiguous()?;
    let grad = Slice::<T>::new(&grad)?;
    let weight = Mat::new(weight, g.oc, depth);
    let columns = product(Mat::new(&grad, rows, g.oc), weight, Threads::All);
    let out = build(g.batch * g.ic * g.h * g.w, g.h * g.w, |i, out| {
        let (b, c) = (i / g.ic, i % g.ic);
        for (y, row) in out.chunks_exact_mut(g.w).enumerate().take(g.oh * k) {
            let (oy, ky) = (y / k, y % k);
            let patches = columns[(b * g.oh + oy) * g.ow * depth..].chunks_exact(depth);
            for (run, patch) in row.chunks_exact_mut(k).take(g.ow).zip(patches) {
                run.copy_from_slice(&patch[(c * k + ky) * k..][..k]);
            }
        }
    });
    Ok(out)
}
