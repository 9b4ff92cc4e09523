//! Activations, element by element.

use candle_core::{Result, Tensor};

use crate::elementwise::{Curve, curve, slope};
use crate::host::{self, Slice, fused};
use crate::layer::{Layer, Pullback};
use crate::real::Real;

/// An activation function, on a tensor of any shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activation {
    /// `x Phi(x)`, with the normal distribution function exactly (erf): Hendrycks & Gimpel 2016.
    Gelu,
    /// The same by its tanh approximation, `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`.
    GeluTanh,
    /// `x sigmoid(1.702 x)`: OpenAI's CLIP.
    QuickGelu,
    /// `x sigmoid(x)`, also called swish.
    Silu,
    /// `max(x, 0)`; its derivative at 0 is 0, as in PyTorch.
    Relu,
}

/// The slope of QuickGelu's sigmoid.
const QUICK: f64 = 1.702;
/// 2 sqrt(2 / pi): `(1 + tanh(u)) / 2 = sigmoid(2 u)`, so that GeluTanh needs no tanh.
const TANH: f64 = 1.595_769_121_605_731;
const CUBIC: f64 = 0.044_715;
/// 1 / sqrt(2 pi).
const DENSITY: f64 = 0.398_942_280_401_432_7;

#[inline(always)]
pub(crate) fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + (T::zero() - x).exp())
}

/// `x sigmoid(a x)`, and its derivative.
#[inline(always)]
pub(crate) fn swish<T: Real>(x: T, a: T) -> (T, T) {
    let s = sigmoid(a * x);
    let y = x * s;
    (y, s + a * y * (T::one() - s))
}

/// The curve of each activation, under its name.
pub(crate) mod curves {
    use super::*;

    #[derive(Clone, Copy)]
    pub struct Gelu;

    impl Curve for Gelu {
        #[inline(always)]
        fn at<T: Real>(x: T) -> (T, T) {
            let (cdf, e) = x.normal();
            (x * cdf, cdf + x * e * T::of(DENSITY))
        }
    }

    #[derive(Clone, Copy)]
    pub struct GeluTanh;

    impl Curve for GeluTanh {
        #[inline(always)]
        fn at<T: Real>(x: T) -> (T, T) {
            let (a, c) = (T::of(TANH), T::of(CUBIC));
            let square = c * x * x;
            let s = sigmoid(a * x * (T::one() + square));
            let y = x * s;
            let slope = a * (T::one() + T::of(3.0) * square);
            (y, s + y * (T::one() - s) * slope)
        }
    }

    #[derive(Clone, Copy)]
    pub struct QuickGelu;

    impl Curve for QuickGelu {
        #[inline(always)]
        fn at<T: Real>(x: T) -> (T, T) {
            swish(x, T::of(QUICK))
        }
    }

    #[derive(Clone, Copy)]
    pub struct Silu;

    impl Curve for Silu {
        #[inline(always)]
        fn at<T: Real>(x: T) -> (T, T) {
            swish(x, T::one())
        }
    }

    #[derive(Clone, Copy)]
    pub struct Relu;

    impl Curve for Relu {
        #[inline(always)]
        fn at<T: Real>(x: T) -> (T, T) {
            // Written so that NaN passes through.
            if x <= T::zero() {
                (T::zero(), T::zero())
            } else {
                (x, T::one())
            }
        }
    }
}

/// Calls a function generic over curves with that of an activation in front of its arguments.
macro_rules! of_curve {
    ($activation:expr, $f:ident($($arg:expr),*)) => {{
        use $crate::activation::{Activation, curves};
        match $activation {
            Activation::Gelu => $f(curves::Gelu, $($arg),*),
            Activation::GeluTanh => $f(curves::GeluTanh, $($arg),*),
            Activation::QuickGelu => $f(curves::QuickGelu, $($arg),*),
            Activation::Silu => $f(curves::Silu, $($arg),*),
            Activation::Relu => $f(curves::Relu, $($arg),*),
        }
    }};
}
pub(crate) use of_curve;

impl Activation {
    fn value<T: Real>(self, x: &Tensor) -> Result<Tensor> {
        let shape = x.shape().clone();
        let x = x.contiguous()?;
        let x = Slice::<T>::new(&x)?;
        host::tensor(of_curve!(self, curve(&x)), shape)
    }

    fn pull<T: Real>(self, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let shape = x.shape().clone();
        let grad = grad.contiguous()?;
        let (x, g) = (Slice::<T>::new(x)?, Slice::<T>::new(&grad)?);
        host::tensor(of_curve!(self, slope(&x, &g)), shape)
    }

    /// The value, and with `slope` the derivative, of candle's operations.
    pub(crate) fn composed(self, x: &Tensor, slope: bool) -> Result<Tensor> {
        let sigmoid = |x: &Tensor| (x.neg()?.exp()? + 1.0)?.recip();
        match self {
            Self::Gelu => {
                let cdf = ((x / std::f64::consts::SQRT_2)?.erf()? + 1.0)?.affine(0.5, 0.0)?;
                if !slope {
                    return x * cdf;
                }
                cdf + (x * (x.sqr()? * -0.5)?.exp()?)? * DENSITY
            }
            Self::GeluTanh => {
                let square = (x.sqr()? * CUBIC)?;
                let s = sigmoid(&((x * TANH)? * (&square + 1.0)?)?)?;
                let y = (x * &s)?;
                if !slope {
                    return Ok(y);
                }
                &s + ((y * s.affine(-1.0, 1.0)?)? * square.affine(3.0 * TANH, TANH)?)?
            }
            Self::QuickGelu | Self::Silu => {
                let a = if self == Self::Silu { 1.0 } else { QUICK };
                let s = sigmoid(&(x * a)?)?;
                let y = (x * &s)?;
                if !slope {
                    return Ok(y);
                }
                &s + (y * s.affine(-a, a)?)?
            }
            Self::Relu if slope => x.gt(&x.zeros_like()?)?.to_dtype(x.dtype()),
            Self::Relu => x.relu(),
        }
    }
}

impl Layer for Activation {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        fused!(x, self.value(x), self.composed(x, false))
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (x, kind) = (x.contiguous()?, *self);
        let y = self.eval(&x)?;
        let pullback = move |grad: &Tensor| {
            host::check_grad("Activation", grad, x.shape())?;
            fused!(grad, kind.pull(&x, grad), kind.composed(&x, true)? * grad)
        };
        Ok((y, Box::new(pullback)))
    }
}
