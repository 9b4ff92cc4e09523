//! The two element types with fused kernels, and the functions those kernels are made of.
//!
//! The f32 functions are polynomials without branches, so that loops over them vectorise; their coefficients are
//! minimax fits made for this file. The f64 functions serve the tests, and are those of std and libm.

use candle_core::WithDType;
use rayon::prelude::*;

/// How many lanes a sum is split over: enough for several vector registers, and fixed, so that a sum does not depend on
/// the machine's vector width.
const LANES: usize = 32;

/// How many elements of an elementwise loop are handled at a time: input and output stay in the first cache.
pub(crate) const RUN: usize = 1 << 12;

/// Below this many elements a loop stays on the caller's thread.
pub(crate) const SMALL: usize = 1 << 14;

/// f32 or f64.
pub trait Real: WithDType + Default + std::iter::Sum {
    /// The nearest number of the type.
    fn of(x: f64) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// `self * factor + summand`, rounded once; to be called in a block for the machine's vector unit.
    fn fma(self, factor: Self, summand: Self) -> Self;
    /// The exponential; to be called in a block for the machine's vector unit.
    fn exp(self) -> Self;
    /// The standard normal distribution function at `x`, and exp(-x^2 / 2); to be called likewise.
    fn normal(self) -> (Self, Self);
}

impl Real for f32 {
    #[inline(always)]
    fn of(x: f64) -> Self {
        x as f32
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }

    #[inline(always)]
    fn fma(self, factor: Self, summand: Self) -> Self {
        self.mul_add(factor, summand)
    }

    #[inline(always)]
    fn exp(self) -> Self {
        // x = n ln 2 + r, |r| <= ln 2 / 2. Comparisons written so that NaN passes through.
        const HIGH: f32 = 88.37;
        const LOW: f32 = -87.33;
        const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer, in the low bits
        let shifted = self.mul_add(std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        let r = n.mul_add(2.121_944_4e-4, n.mul_add(-0.693_359_4, self));
        let mut p = 0.001_381_313_f32;
        for c in [0.008_369_42, 0.041_668_457, 0.166_665_15, 0.499_999_93] {
            p = p.mul_add(r, c);
        }
        let p = (p * r).mul_add(r, r) + 1.0;
        let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
        let y = if self < LOW { 0.0 } else { p * scale };
        if self > HIGH { f32::INFINITY } else { y }
    }

    #[inline(always)]
    fn normal(self) -> (Self, Self) {
        // erfc(z) = exp(-z^2) q(t), t = 1 / (1 + 0.3 z): the form of Abramowitz & Stegun 7.1.26 with more terms.
        const HALF: f32 = 0.5;
        let e = Real::exp(self * self * -HALF);
        let z = self.abs() * std::f32::consts::FRAC_1_SQRT_2;
        let t = 1.0 / z.mul_add(0.3, 1.0);
        let mut q = -0.129_557_58_f32;
        for c in [
            0.485_744_48,
            -0.512_684_1,
            0.548_228_3,
            -0.095_039_04,
            0.215_111_17,
            0.148_285_48,
            0.170_723_88,
            0.169_187_41,
        ] {
            q = q.mul_add(t, c);
        }
        let tail = HALF * e * q * t;
        (if self > 0.0 { 1.0 - tail } else { tail }, e)
    }
}

impl Real for f64 {
    #[inline(always)]
    fn of(x: f64) -> Self {
        x
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }

    #[inline(always)]
    fn fma(self, factor: Self, summand: Self) -> Self {
        self.mul_add(factor, summand)
    }

    fn exp(self) -> Self {
        self.exp()
    }

    fn normal(self) -> (Self, Self) {
        let cdf = 0.5 * libm::erfc(-self * std::f64::consts::FRAC_1_SQRT_2);
        (cdf, (self * self * -0.5).exp())
    }
}

/// Runs a block compiled for the vector unit of this machine, on the variables named with their types:
/// `simd!(<'a, T> (out: &'a mut [T], x: &'a [T]) { .. })`.
///
/// The block is the body of a function that is always inlined, which a closure is not: what is not inlined is compiled
/// for the oldest machine of the architecture. For the same reason all that the block calls in a loop should be
/// `inline(always)`, or a closure of one line.
macro_rules! simd {
    (<$a:lifetime, $t:ident> ($($name:ident: $type:ty),* $(,)?) $body:block) => {{
        struct Kernel<$a, $t>($($type,)* std::marker::PhantomData<&$a $t>);

        impl<$a, $t: $crate::real::Real> pulp::WithSimd for Kernel<$a, $t> {
            type Output = ();

            #[inline(always)]
            fn with_simd<S: pulp::Simd>(self, _: S) {
                let Self($($name,)* _) = self;
                $body
            }
        }

        pulp::Arch::new().dispatch(Kernel($($name,)* std::marker::PhantomData))
    }};
}
pub(crate) use simd;

/// Cuts `out` into runs of `size` elements and hands each to `f` with its number, on all threads unless `out` is small.
pub(crate) fn chunks<T: Send>(out: &mut [T], size: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let size = size.max(1);
    let each = |(i, out): (usize, &mut [T])| f(i, out);
    if out.len() <= SMALL {
        out.chunks_mut(size).enumerate().for_each(each);
    } else {
        let runs = (SMALL / 2).div_ceil(size);
        out.par_chunks_mut(size)
            .enumerate()
            .with_min_len(runs)
            .for_each(each);
    }
}

/// The sum of `f` over the elements of a slice.
#[inline(always)]
pub(crate) fn sum<T: Real>(x: &[T], f: impl Fn(T) -> T) -> T {
    let mut lanes = [T::zero(); LANES];
    let (body, tail) = x.as_chunks::<LANES>();
    for x in body {
        for (lane, &x) in lanes.iter_mut().zip(x) {
            *lane += f(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(tail) {
        *lane += f(x);
    }
    fold(lanes)
}

/// The sum of `f` over pairs of elements of two slices, up to the end of the shorter.
#[inline(always)]
pub(crate) fn sum2<T: Real>(x: &[T], y: &[T], f: impl Fn(T, T) -> T) -> T {
    let mut lanes = [T::zero(); LANES];
    let n = x.len().min(y.len());
    let (x, x_tail) = x[..n].as_chunks::<LANES>();
    let (y, y_tail) = y[..n].as_chunks::<LANES>();
    for (x, y) in x.iter().zip(y) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += f(x, y);
        }
    }
    for ((lane, &x), &y) in lanes.iter_mut().zip(x_tail).zip(y_tail) {
        *lane += f(x, y);
    }
    fold(lanes)
}

/// The largest element of a slice that is not empty; NaN is passed over.
#[inline(always)]
pub(crate) fn max<T: Real>(x: &[T]) -> T {
    let larger = |max: T, x: T| if x > max { x } else { max };
    let mut lanes = [x[0]; LANES];
    let (body, tail) = x.as_chunks::<LANES>();
    for x in body {
        for (lane, &x) in lanes.iter_mut().zip(x) {
            *lane = larger(*lane, x);
        }
    }
    let max = lanes.into_iter().fold(x[0], larger);
    tail.iter().fold(max, |max, &x| larger(max, x))
}

#[inline(always)]
fn fold<T: Real>(mut lanes: [T; LANES]) -> T {
    let mut n = LANES / 2;
    while n > 0 {
        for i in 0..n {
            let high = lanes[i + n];
            lanes[i] += high;
        }
        n /= 2;
    }
    lanes[0]
}

/// `out += w * x`, up to the end of the shorter.
#[inline(always)]
pub(crate) fn axpy<T: Real>(out: &mut [T], w: T, x: &[T]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out += w * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: f64, to: f64) -> impl Iterator<Item = f32> {
        (0..=200_000).map(move |i| (from + (to - from) * i as f64 / 200_000.0) as f32)
    }

    #[test]
    fn exp_is_precise() {
        for x in span(-87.0, 88.0) {
            let (ours, exact) = (f64::from(Real::exp(x)), f64::from(x).exp());
            assert!((ours / exact - 1.0).abs() < 1.5e-7, "exp({x}) = {ours}");
        }
    }

    #[test]
    fn exp_ends_at_zero_and_infinity() {
        for (x, y) in [
            (-88.0, 0.0),
            (-1e9, 0.0),
            (f32::NEG_INFINITY, 0.0),
            (0.0, 1.0),
            (-0.0, 1.0),
            (89.0, f32::INFINITY),
            (f32::INFINITY, f32::INFINITY),
        ] {
            assert_eq!(Real::exp(x), y, "exp({x})");
        }
        assert!(Real::exp(f32::NAN).is_nan());
    }

    #[test]
    fn the_normal_distribution_is_precise() {
        for x in span(-12.0, 12.0) {
            let (ours, exact) = (x.normal(), f64::from(x).normal());
            let error = (f64::from(ours.0) / exact.0 - 1.0).abs();
            // The square of x is rounded before its exponential is taken.
            assert!(
                error < 6e-7 + 6e-8 * f64::from(x * x),
                "Phi({x}) = {}: {error:e}",
                ours.0
            );
        }
    }

    #[test]
    fn sums_and_maxima() {
        for n in [1, 5, 31, 32, 33, 64, 100] {
            let x = (0..n)
                .map(|i| (i * 37 % 101) as f64 - 50.0)
                .collect::<Vec<_>>();
            assert_eq!(sum(&x, |x| x), x.iter().sum::<f64>());
            assert_eq!(
                sum2(&x, &x, |a, b| a * b),
                x.iter().map(|x| x * x).sum::<f64>()
            );
            assert_eq!(max(&x), x.iter().copied().fold(f64::MIN, f64::max));
        }
        assert_eq!(sum::<f32>(&[], |x| x), 0.0);
    }

    #[test]
    fn chunks_cover_every_element_once() {
        for n in [0, 1, SMALL, SMALL + 1, 5 * SMALL + 3] {
            let mut out = vec![0; n];
            chunks(&mut out, 7, |i, out| {
                out.iter_mut().for_each(|x| *x += i + 1)
            });
            assert!(out.iter().enumerate().all(|(i, &x)| x == i / 7 + 1));
        }
    }
}
