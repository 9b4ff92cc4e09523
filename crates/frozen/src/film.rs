//! Feature-wise linear modulation (Perez et al. 2018): what a condition does to the channels of an image, in conditional normalisations and
//! modulated convolutions.

use std::sync::OnceLock;

use candle_core::{DType, Result, Tensor, bail};

use crate::gemm::build;
use crate::host::{self, Slice, dims4, fused};
use crate::real::{RUN, Real, simd, sum, sum2};

/// `gain leaky(scale x + shift + plane)`: each channel of each image [b, c, h, w] times a number of its own, plus another one, plus a plane
/// [b, 1, h, w] that its channels share; what is negative then is multiplied by `slope`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Film {
    /// Factor of what is below 0: 0 is ReLU, 1 no activation.
    pub slope: f64,
    /// Factor of the result.
    pub gain: f64,
}

/// What a [`Film`] was computed of, kept for its gradients.
pub struct FilmTape {
    film: Film,
    x: Tensor,
    scale: Tensor,
    shift: Option<Tensor>,
    plane: Option<Tensor>,
}

/// Gradients of a [`Film`], in the shapes of what they are the gradients of.
pub struct FilmGradients {
    /// Of the images, [b, c, h, w].
    pub x: Tensor,
    /// Of the scales, [b, c].
    pub scale: Tensor,
    /// Of the shifts, [b, c].
    pub shift: Tensor,
}

impl Film {
    /// ReLU.
    pub const RELU: Self = Self {
        slope: 0.0,
        gain: 1.0,
    };

    /// The value for images [b, c, h, w], scales and shifts [b, c] and planes [b, 1, h, w], and what its gradients need.
    ///
    /// # Errors
    /// Where shapes, types or devices do not fit.
    pub fn vjp(
        self,
        x: &Tensor,
        scale: &Tensor,
        shift: Option<&Tensor>,
        plane: Option<&Tensor>,
    ) -> Result<(Tensor, FilmTape)> {
        let (b, c, h, w) = dims4("Film", x)?;
        let parts = [
            ("scale", Some(scale), vec![b, c]),
            ("shift", shift, vec![b, c]),
            ("plane", plane, vec![b, 1, h, w]),
        ];
        for (name, part, dims) in parts {
            let Some(part) = part else { continue };
            if part.dims() != dims {
                bail!(
                    "Film: the {name} must be {dims:?}, found {:?}",
                    part.shape()
                );
            }
            host::check_kind("Film", part, x)?;
        }
        let own = |part: &Tensor| part.detach().contiguous();
        let tape = FilmTape {
            film: self,
            x: own(x)?,
            scale: own(scale)?,
            shift: shift.map(own).transpose()?,
            plane: plane.map(own).transpose()?,
        };
        let y = fused!(x, tape.value(), tape.composed())?;
        Ok((y, tape))
    }
}

impl FilmTape {
    /// The gradients of images, scales and shifts.
    ///
    /// # Errors
    /// Where `grad` has not the shape of the value.
    pub fn pull(&self, grad: &Tensor) -> Result<FilmGradients> {
        host::check_grad("Film", grad, self.x.shape())?;
        fused!(grad, self.pull_fused(grad), self.pull_composed(grad))
    }

    /// The gradient of the planes, [b, 1, h, w].
    ///
    /// # Errors
    /// Where `grad` has not the shape of the value.
    pub fn pull_plane(&self, grad: &Tensor) -> Result<Tensor> {
        host::check_grad("Film", grad, self.x.shape())?;
        fused!(
            grad,
            self.pull_plane_fused(grad),
            self.before(grad)?.sum_keepdim(1)
        )
    }

    /// Runs `f` with the number and the constants of each channel's plane.
    fn constants<T: Real>(&self) -> Result<Constants<'_, T>> {
        let (_, channels, h, w) = self.x.dims4()?;
        Ok(Constants {
            channels,
            size: h * w,
            x: Slice::new(&self.x)?,
            scale: Slice::new(&self.scale)?,
            shift: self.shift.as_ref().map(Slice::new).transpose()?,
            plane: self.plane.as_ref().map(Slice::new).transpose()?,
            slope: T::of(self.film.slope),
            gain: T::of(self.film.gain),
        })
    }

    fn value<T: Real>(&self) -> Result<Tensor> {
        let constants = self.constants::<T>()?;
        let at = constants.view();
        let y = build(self.x.elem_count(), at.size, |i, out| {
            let (x, plane, [a, b]) = at.channel(i);
            let (slope, gain) = (at.slope, at.gain);
            simd!(<'a, T> (out: &'a mut [T], x: &'a [T], plane: Option<&'a [T]>, a: T, b: T, slope: T, gain: T) {
                let leaky = |v: T| if v > T::zero() { v * gain } else { v * slope * gain };
                match plane {
                    None => {
                        for (out, &x) in out.iter_mut().zip(x) {
                            *out = leaky(a.fma(x, b));
                        }
                    }
                    Some(plane) => {
                        for ((out, &x), &p) in out.iter_mut().zip(x).zip(plane) {
                            *out = leaky(a.fma(x, b + p));
                        }
                    }
                }
            });
        });
        host::tensor(y, self.x.shape())
    }

    fn pull_fused<T: Real>(&self, grad: &Tensor) -> Result<FilmGradients> {
        let grad = grad.contiguous()?;
        let grad = Slice::<T>::new(&grad)?;
        let constants = self.constants::<T>()?;
        let (at, grad) = (constants.view(), &*grad);
        let sums = vec![OnceLock::<[T; 2]>::new(); self.scale.elem_count()];
        let x = build(self.x.elem_count(), at.size, |i, out| {
            let (x, plane, [a, b]) = at.channel(i);
            let g = &grad[i * at.size..][..at.size];
            let mut total = [T::zero(); 2];
            // in runs, so that what is added up and scaled is still in the first cache
            for (run, out) in out.chunks_mut(RUN).enumerate() {
                let part = run * RUN..run * RUN + out.len();
                let (x, g) = (&x[part.clone()], &g[part.clone()]);
                let plane = plane.map(|plane| &plane[part]);
                slopes(at, [a, b], [x, g], plane, out);
                let total = &mut total;
                simd!(<'a, T> (out: &'a mut [T], x: &'a [T], total: &'a mut [T; 2], a: T) {
                    total[0] += sum2(out, x, |g, x| g * x);
                    total[1] += sum(out, |g| g);
                    out.iter_mut().for_each(|g| *g *= a);
                });
            }
            // each channel has one task, so that this is the first value
            sums[i].get_or_init(|| total);
        });
        let sums: Vec<[T; 2]> = (sums.into_iter())
            .map(|sum| sum.into_inner().unwrap_or_default())
            .collect();
        let part = |i: usize| {
            let sums = sums.iter().map(|sum| sum[i]).collect();
            host::tensor(sums, self.scale.shape())
        };
        Ok(FilmGradients {
            x: host::tensor(x, self.x.shape())?,
            scale: part(0)?,
            shift: part(1)?,
        })
    }

    fn pull_plane_fused<T: Real>(&self, grad: &Tensor) -> Result<Tensor> {
        let (batch, channels, h, w) = self.x.dims4()?;
        let grad = grad.contiguous()?;
        let grad = Slice::<T>::new(&grad)?;
        let constants = self.constants::<T>()?;
        let (at, grad) = (constants.view(), &*grad);
        let sums = build(batch * h * w, w, |row, out: &mut [T]| {
            let (image, y) = (row / h, row % h);
            let mut slope = vec![T::zero(); w];
            for channel in image * channels..(image + 1) * channels {
                let (x, plane, constants) = at.channel(channel);
                let part = y * w..(y + 1) * w;
                let plane = plane.map(|plane| &plane[part.clone()]);
                let g = &grad[channel * at.size..][part.clone()];
                slopes(at, constants, [&x[part], g], plane, &mut slope);
                for (out, &slope) in out.iter_mut().zip(&slope) {
                    *out += slope;
                }
            }
        });
        host::tensor(sums, (batch, 1, h, w))
    }

    /// `scale x + shift + plane`, of candle's operations.
    fn linear(&self) -> Result<Tensor> {
        let (b, c, ..) = self.x.dims4()?;
        let mut y = (self.x).broadcast_mul(&self.scale.reshape((b, c, 1, 1))?)?;
        if let Some(shift) = &self.shift {
            y = y.broadcast_add(&shift.reshape((b, c, 1, 1))?)?;
        }
        if let Some(plane) = &self.plane {
            y = y.broadcast_add(plane)?;
        }
        Ok(y)
    }

    fn composed(&self) -> Result<Tensor> {
        let Film { slope, gain } = self.film;
        let y = self.linear()?;
        if slope == 1.0 {
            return y * gain;
        }
        // positive numbers whole, and of negative ones a part
        y.relu()?.affine(gain * (1.0 - slope), 0.0)? + (y * (gain * slope))?
    }

    /// The gradient before the activation, of candle's operations.
    fn before(&self, grad: &Tensor) -> Result<Tensor> {
        let Film { slope, gain } = self.film;
        if slope == 1.0 {
            return grad * gain;
        }
        let y = self.linear()?;
        let above = y.gt(&y.zeros_like()?)?.to_dtype(grad.dtype())?;
        grad * above.affine(gain * (1.0 - slope), gain * slope)?
    }

    fn pull_composed(&self, grad: &Tensor) -> Result<FilmGradients> {
        let (b, c, ..) = self.x.dims4()?;
        let before = self.before(grad)?;
        // halves overflow in sums over planes
        let total = |x: &Tensor| -> Result<Tensor> {
            let x = match x.dtype() {
                DType::F16 | DType::BF16 => x.to_dtype(DType::F32)?,
                _ => x.clone(),
            };
            x.sum((2, 3))?.to_dtype(grad.dtype())
        };
        Ok(FilmGradients {
            x: before.broadcast_mul(&self.scale.reshape((b, c, 1, 1))?)?,
            scale: total(&(&before * &self.x)?)?,
            shift: total(&before)?,
        })
    }
}

/// The elements of a tape.
struct Constants<'a, T> {
    channels: usize,
    size: usize,
    x: Slice<'a, T>,
    scale: Slice<'a, T>,
    shift: Option<Slice<'a, T>>,
    plane: Option<Slice<'a, T>>,
    slope: T,
    gain: T,
}

/// The same, as all threads read it.
#[derive(Clone, Copy)]
struct View<'a, T> {
    channels: usize,
    /// Pixels of a channel.
    size: usize,
    x: &'a [T],
    scale: &'a [T],
    shift: Option<&'a [T]>,
    plane: Option<&'a [T]>,
    slope: T,
    gain: T,
}

impl<T: Real> Constants<'_, T> {
    fn view(&self) -> View<'_, T> {
        View {
            channels: self.channels,
            size: self.size,
            x: &self.x,
            scale: &self.scale,
            shift: self.shift.as_deref(),
            plane: self.plane.as_deref(),
            slope: self.slope,
            gain: self.gain,
        }
    }
}

impl<'a, T: Real> View<'a, T> {
    /// The pixels of a channel, counted over all images, the plane that is added to them, and scale and shift.
    fn channel(self, i: usize) -> (&'a [T], Option<&'a [T]>, [T; 2]) {
        let pixels = |x: &'a [T], i: usize| &x[i * self.size..][..self.size];
        let plane = self.plane.map(|plane| pixels(plane, i / self.channels));
        let shift = self.shift.map_or(T::zero(), |shift| shift[i]);
        (pixels(self.x, i), plane, [self.scale[i], shift])
    }
}

/// The gradients before the activation, of pixels of one channel and the gradients of their values.
fn slopes<T: Real>(
    at: View<T>,
    [a, b]: [T; 2],
    [x, g]: [&[T]; 2],
    plane: Option<&[T]>,
    out: &mut [T],
) {
    let (above, below) = (at.gain, at.gain * at.slope);
    simd!(<'a, T> (out: &'a mut [T], x: &'a [T], g: &'a [T], plane: Option<&'a [T]>, a: T, b: T, above: T, below: T) {
        let slope = |v: T| if v > T::zero() { above } else { below };
        match plane {
            None => {
                for ((out, &x), &g) in out.iter_mut().zip(x).zip(g) {
                    *out = g * slope(a.fma(x, b));
                }
            }
            Some(plane) => {
                for (((out, &x), &g), &p) in out.iter_mut().zip(x).zip(g).zip(plane) {
                    *out = g * slope(a.fma(x, b + p));
                }
            }
        }
    });
}
