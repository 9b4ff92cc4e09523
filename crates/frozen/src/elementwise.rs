//! Functions of every element of one or two slices, by all threads.

use std::marker::PhantomData;

use crate::gemm::build;
use crate::real::{RUN, Real};

/// A function of one variable, and its derivative.
///
/// A trait, and not a closure, because its methods can be `inline(always)`: see [`simd`].
pub(crate) trait Curve: Copy + Send + Sync + 'static {
    /// The value and the slope at `x`. A loop that uses one of them does not compute the other.
    fn at<T: Real>(x: T) -> (T, T);
}

/// A curve's value at every element.
pub(crate) fn curve<C: Curve, T: Real>(_: C, x: &[T]) -> Vec<T> {
    build(x.len(), RUN, |i, out| {
        let x = &x[i * RUN..][..out.len()];
        values::<C, T>(x, out);
    })
}

/// A curve's slope at every element of `x`, times `g`.
pub(crate) fn slope<C: Curve, T: Real>(_: C, x: &[T], g: &[T]) -> Vec<T> {
    build(x.len(), RUN, |i, out| {
        let (x, g) = (&x[i * RUN..][..out.len()], &g[i * RUN..][..out.len()]);
        slopes::<C, T>(x, g, out);
    })
}

fn values<C: Curve, T: Real>(x: &[T], out: &mut [T]) {
    struct Values<'a, C, T>(&'a [T], &'a mut [T], PhantomData<C>);

    impl<C: Curve, T: Real> pulp::WithSimd for Values<'_, C, T> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _: S) {
            for (&x, out) in self.0.iter().zip(self.1) {
                *out = C::at(x).0;
            }
        }
    }

    pulp::Arch::new().dispatch(Values::<C, T>(x, out, PhantomData));
}

fn slopes<C: Curve, T: Real>(x: &[T], g: &[T], out: &mut [T]) {
    struct Slopes<'a, C, T>(&'a [T], &'a [T], &'a mut [T], PhantomData<C>);

    impl<C: Curve, T: Real> pulp::WithSimd for Slopes<'_, C, T> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: pulp::Simd>(self, _: S) {
            for ((&x, &g), out) in self.0.iter().zip(self.1).zip(self.2) {
                *out = C::at(x).1 * g;
            }
        }
    }

    pulp::Arch::new().dispatch(Slopes::<C, T>(x, g, out, PhantomData));
}

/// The sum of two slices of one length.
pub(crate) fn add<T: Real>(x: &[T], y: &[T]) -> Vec<T> {
    build(x.len(), RUN, |i, out| {
        let (x, y) = (&x[i * RUN..][..out.len()], &y[i * RUN..][..out.len()]);
        for ((out, &x), &y) in out.iter_mut().zip(x).zip(y) {
            *out = x + y;
        }
    })
}

/// A curve's value at the first half of each row of 2 `h` elements, times the second half.
pub(crate) fn gate<C: Curve, T: Real>(_: C, x: &[T], h: usize) -> Vec<T> {
    build(x.len() / 2, h, |i, out| {
        let (gate, value) = x[2 * i * h..][..2 * h].split_at(h);
        values::<C, T>(gate, out);
        for (out, &value) in out.iter_mut().zip(value) {
            *out *= value;
        }
    })
}

/// The gradient of [`gate`], given that of its values.
pub(crate) fn gate_slope<C: Curve, T: Real>(_: C, x: &[T], g: &[T], h: usize) -> Vec<T> {
    build(x.len(), 2 * h, |i, out| {
        let (gate, value) = x[2 * i * h..][..2 * h].split_at(h);
        let (to_gate, to_value) = out.split_at_mut(h);
        let g = &g[i * h..][..h];
        slopes::<C, T>(gate, g, to_gate);
        for (out, &value) in to_gate.iter_mut().zip(value) {
            *out *= value;
        }
        values::<C, T>(gate, to_value);
        for (out, &g) in to_value.iter_mut().zip(g) {
            *out *= g;
        }
    })
}
