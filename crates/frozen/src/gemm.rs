//! Matrices as strided windows on slices, and their product: a safe wrapper over the `gemm` crate.
//!
//! This is the only file of the crate with unsafe code. What it relies on is checked when a window is made: every
//! element lies inside the slice, and no two elements of a writable window are the same one.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use crate::real::{Real, chunks};

/// `len` elements, made in runs of `size`: `f` gets the number of a run and its elements, all zero.
///
/// A run is zeroed by the thread that fills it, right before it does: a large zeroed vector would pass through memory
/// twice.
pub(crate) fn build<T: Real>(
    len: usize,
    size: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) -> Vec<T> {
    let mut out = Vec::with_capacity(len);
    let spare: &mut [MaybeUninit<T>] = &mut out.spare_capacity_mut()[..len];
    chunks(spare, size, |i, run| {
        for x in run.iter_mut() {
            x.write(T::zero());
        }
        // SAFETY: `MaybeUninit<T>` has the layout of `T`, and all elements were written above.
        f(i, unsafe { &mut *(std::ptr::from_mut(run) as *mut [T]) });
    });
    // SAFETY: the runs cover all of the first `len` elements, and each was written. Where `f` panics, this is not reached.
    unsafe { out.set_len(len) };
    out
}

/// `len` zeros, written by all threads.
pub(crate) fn zeros<T: Real>(len: usize) -> Vec<T> {
    build(len, 1 << 14, |_, _| ())
}

/// A readable matrix: a window on a slice.
#[derive(Clone, Copy)]
pub struct Mat<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T> Mat<'a, T> {
    /// All of `data`, row after row.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols, 1)
    }

    /// Element (i, j) is `data[i * row_stride + j * col_stride]`.
    pub fn strided(
        data: &'a [T],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Self {
        assert!(extent(rows, cols, row_stride, col_stride) <= data.len());
        Self {
            data,
            rows,
            cols,
            row_stride,
            col_stride,
        }
    }

    /// The transpose, of the same elements.
    pub fn t(self) -> Self {
        Self {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }
}

/// A writable matrix: a window on a slice, and the only one to its elements.
pub struct MatMut<'a, T> {
    data: *mut T,
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: a `MatMut` is an exclusive borrow of its elements, as `&mut [T]` is.
unsafe impl<T: Send> Send for MatMut<'_, T> {}

impl<'a, T> MatMut<'a, T> {
    /// All of `data`, row after row.
    pub fn new(data: &'a mut [T], rows: usize, cols: usize) -> Self {
        assert!(extent(rows, cols, cols, 1) <= data.len());
        Self {
            data: data.as_mut_ptr(),
            rows,
            cols,
            row_stride: cols,
            col_stride: 1,
            owner: PhantomData,
        }
    }

    /// Blocks of `width` columns, left to right; the last may be narrower.
    pub(crate) fn split_cols(self, width: usize) -> impl ExactSizeIterator<Item = MatMut<'a, T>> {
        assert!(width > 0);
        (0..self.cols.div_ceil(width)).map(move |i| {
            let start = i * width;
            MatMut {
                // SAFETY: column `start` exists, so its first element is inside the window (or the window has no
                // rows, and the offset, within the checked extent of a row, is never read). Blocks of columns share no
                // element, since no two elements of the window are the same.
                data: self.data.wrapping_add(start * self.col_stride),
                cols: width.min(self.cols - start),
                ..self
            }
        })
    }

    /// Row `i` of a window whose rows are contiguous.
    pub(crate) fn row(&mut self, i: usize) -> &mut [T] {
        assert!(i < self.rows && self.col_stride == 1);
        // SAFETY: the row's `cols` elements follow one another inside the window, which this borrows exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(i * self.row_stride), self.cols) }
    }

    pub(crate) fn cols(&self) -> usize {
        self.cols
    }
}

/// A buffer seen as [outer, rows, blocks, width], cut into its outer x blocks matrices of [rows, width], the blocks of
/// the first outer part first.
pub(crate) fn blocks<T>(
    data: &mut [T],
    rows: usize,
    blocks: usize,
    width: usize,
) -> impl Iterator<Item = MatMut<'_, T>> {
    let size = (rows * blocks * width).max(1);
    data.chunks_exact_mut(size)
        .flat_map(move |part| MatMut::new(part, rows, blocks * width).split_cols(width.max(1)))
}

/// Whether a product uses the caller's thread alone or rayon's pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Threads {
    /// The caller's thread alone.
    One,
    /// Rayon's pool.
    All,
}

/// `a . b` in a vector of its own, row after row.
pub(crate) fn product<T: Real>(a: Mat<T>, b: Mat<T>, threads: Threads) -> Vec<T> {
    let mut out = Vec::<T>::with_capacity(a.rows * b.cols);
    let window = MatMut {
        data: out.as_mut_ptr(),
        rows: a.rows,
        cols: b.cols,
        row_stride: b.cols,
        col_stride: 1,
        owner: PhantomData,
    };
    gemm(window, a, b, T::one(), false, threads);
    // SAFETY: the capacity was reserved, and a product that does not accumulate writes every element without reading it.
    unsafe { out.set_len(a.rows * b.cols) };
    out
}

/// `out = scale * a . b`, or `out += scale * a . b` where `accumulate`.
pub fn gemm<T: Real>(
    out: MatMut<T>,
    a: Mat<T>,
    b: Mat<T>,
    scale: T,
    accumulate: bool,
    threads: Threads,
) {
    assert!(out.rows == a.rows && out.cols == b.cols && a.cols == b.rows);
    let threads = match threads {
        Threads::One => gemm::Parallelism::None,
        Threads::All => gemm::Parallelism::Rayon(0),
    };
    // SAFETY: all three windows were checked to lie inside their slices, their shapes agree (above), `out` is an
    // exclusive borrow so that it overlaps neither `a` nor `b`, and strides fit isize because the slices do.
    // `T` is f32 or f64, which the gemm crate knows.
    unsafe {
        gemm::gemm(
            out.rows,
            out.cols,
            a.cols,
            out.data,
            out.col_stride as isize,
            out.row_stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            T::one(),
            scale,
            false,
            false,
            false,
            threads,
        );
    }
}

/// How many elements of a slice a window reaches over.
fn extent(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> usize {
    if rows == 0 || cols == 0 {
        return 0;
    }
    let reach = |n: usize, stride: usize| (n - 1).checked_mul(stride);
    let last = reach(rows, row_stride)
        .zip(reach(cols, col_stride))
        .and_then(|(r, c)| r.checked_add(c)?.checked_add(1));
    last.unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(n: usize) -> Vec<f64> {
        (0..n).map(|i| (i * 7 % 11) as f64 - 5.0).collect()
    }

    fn element(m: &Mat<f64>, i: usize, j: usize) -> f64 {
        m.data[i * m.row_stride + j * m.col_stride]
    }

    fn check(m: usize, n: usize, k: usize, transposed: bool, accumulate: bool, threads: Threads) {
        let (a, b) = (counting(m * k), counting(k * n));
        let (a, b) = if transposed {
            (Mat::new(&a, k, m).t(), Mat::new(&b, n, k).t())
        } else {
            (Mat::new(&a, m, k), Mat::new(&b, k, n))
        };
        let mut out = vec![3.0; m * n];
        gemm(MatMut::new(&mut out, m, n), a, b, 2.0, accumulate, threads);
        for i in 0..m {
            for j in 0..n {
                let sum = (0..k)
                    .map(|l| element(&a, i, l) * element(&b, l, j))
                    .sum::<f64>();
                let expected = 2.0 * sum + if accumulate { 3.0 } else { 0.0 };
                assert_eq!(out[i * n + j], expected, "{m} {n} {k} ({i}, {j})");
            }
        }
    }

    #[test]
    fn products() {
        for (m, n, k) in [
            (1, 1, 1),
            (3, 5, 7),
            (17, 33, 9),
            (1, 20, 6),
            (20, 1, 6),
            (70, 90, 130),
            (4, 3, 0),
        ] {
            for transposed in [false, true] {
                for accumulate in [false, true] {
                    check(m, n, k, transposed, accumulate, Threads::One);
                    check(m, n, k, transposed, accumulate, Threads::All);
                }
            }
        }
    }

    #[test]
    fn threads_do_not_change_a_product() {
        let numbers = |n: usize| -> Vec<f32> { (0..n).map(|i| (1.7 * i as f32).sin()).collect() };
        for (m, n, k) in [
            (700, 64, 2304),
            (512, 25, 1000),
            (96, 49, 4000),
            (2000, 3, 300),
        ] {
            let (a, b) = (numbers(m * k), numbers(k * n));
            let (a, b) = (Mat::new(&a, m, k), Mat::new(&b, k, n));
            let one = product(a, b, Threads::One);
            assert!(one == product(a, b, Threads::All), "{m} {n} {k}");
        }
    }

    #[test]
    fn column_blocks_write_their_own_columns() {
        let mut out = vec![0; 4 * 10];
        for (i, mut block) in MatMut::new(&mut out, 4, 10).split_cols(3).enumerate() {
            for row in 0..4 {
                block.row(row).fill(i + 1);
            }
        }
        assert!(
            out.chunks(10)
                .all(|row| row == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4])
        );
    }

    #[test]
    fn blocks_are_those_of_a_four_dimensional_array() {
        let mut out = vec![0; 2 * 3 * 4 * 5];
        for (i, mut block) in blocks(&mut out, 3, 4, 5).enumerate() {
            (0..3).for_each(|row| block.row(row).fill(i));
        }
        for (at, &i) in out.iter().enumerate() {
            assert_eq!(i, at / 60 * 4 + at / 5 % 4);
        }
    }

    #[test]
    #[should_panic]
    fn windows_reach_no_further_than_their_slice() {
        Mat::strided(&[0.0; 11], 3, 4, 4, 1);
    }

    #[test]
    #[should_panic]
    fn windows_do_not_overflow() {
        Mat::strided(&[0.0; 11], 3, 4, usize::MAX / 2, 1);
    }

    #[test]
    #[should_panic]
    fn shapes_must_agree() {
        let (a, mut out) = ([0.0; 6], [0.0; 4]);
        let a = Mat::new(&a, 2, 3);
        gemm(MatMut::new(&mut out, 2, 2), a, a, 1.0, false, Threads::One);
    }
}
