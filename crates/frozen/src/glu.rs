//! Gated linear units over channels.

use candle_core::{Result, Tensor, bail};

use crate::activation::sigmoid;
use crate::gemm::build;
use crate::host::{self, Slice, dims4, fused};
use crate::layer::{Layer, Pullback};
use crate::real::{Real, simd};

/// `a sigmoid(b)`, where `a` and `b` are the two halves of the channels: [n, 2 c, h, w] to [n, c, h, w] (`torch.nn.GLU(dim=1)`).
///
/// With a noise plane, `scale[channel] plane[y, x]` is added to the input first: the noise of GANs, which a convolution with folded normalisation
/// in front of it scales for each channel.
#[derive(Clone, Debug, Default)]
pub struct Glu {
    noise: Option<Noise>,
}

#[derive(Clone, Debug)]
struct Noise {
    /// [h, w]
    plane: Tensor,
    /// [2 c]
    scale: Tensor,
}

impl Glu {
    /// With noise: `plane` is [h, w], and `scale` is [2 c].
    ///
    /// # Errors
    /// Where they have other ranks, types or devices.
    pub fn with_noise(plane: Tensor, scale: Tensor) -> Result<Self> {
        if plane.rank() != 2 || scale.rank() != 1 {
            bail!(
                "Glu: noise is [h, w] and its scale [2 c], found {:?} and {:?}",
                plane.shape(),
                scale.shape()
            );
        }
        host::check_kind("Glu noise", &plane, &scale)?;
        Ok(Self {
            noise: Some(Noise {
                plane: plane.detach().contiguous()?,
                scale: scale.detach().contiguous()?,
            }),
        })
    }

    /// Half of the channels.
    fn check(&self, x: &Tensor) -> Result<usize> {
        let (_, channels, h, w) = dims4("Glu", x)?;
        if channels == 0 || channels % 2 != 0 {
            bail!("Glu: {channels} channels have no halves");
        }
        if let Some(Noise { plane, scale }) = &self.noise {
            host::check_kind("Glu", x, scale)?;
            if plane.dims() != [h, w] || scale.dims() != [channels] {
                bail!(
                    "Glu: noise of {:?} with a scale of {:?} does not fit {:?}",
                    plane.shape(),
                    scale.shape(),
                    x.shape()
                );
            }
        }
        Ok(channels / 2)
    }

    fn value<T: Real>(&self, x: &Tensor, half: usize) -> Result<Tensor> {
        let (n, _, h, w) = x.dims4()?;
        let pixels = h * w;
        let x = x.contiguous()?;
        let x = Slice::<T>::new(&x)?;
        let noise = self.noise::<T>()?;
        let y = build(n * half * pixels, pixels, |plane, out| {
            let (a, b) = planes(plane / half, plane % half, half, pixels);
            let (a, b) = (&x[a..][..pixels], &x[b..][..pixels]);
            match &noise {
                None => gated(out, a, b),
                Some((noise, scale)) => {
                    let channel = plane % half;
                    noisy(out, a, b, noise, scale[channel], scale[half + channel]);
                }
            }
        });
        host::tensor(y, (n, half, h, w))
    }

    fn pull<T: Real>(&self, x: &Tensor, grad: &Tensor, half: usize) -> Result<Tensor> {
        let (n, channels, h, w) = x.dims4()?;
        let pixels = h * w;
        let grad = grad.contiguous()?;
        let (x_slice, g) = (Slice::<T>::new(x)?, Slice::<T>::new(&grad)?);
        let noise = self.noise::<T>()?;
        let zero = vec![T::zero(); if noise.is_none() { pixels } else { 0 }];
        let out = build(n * channels * pixels, pixels, |plane, out| {
            let (image, channel) = (plane / channels, plane % channels);
            let (a, b) = planes(image, channel % half, half, pixels);
            let (a, b) = (&x_slice[a..][..pixels], &x_slice[b..][..pixels]);
            let g = &g[(image * half + channel % half) * pixels..][..pixels];
            let (noise, sa, sb) = match &noise {
                None => (zero.as_slice(), T::zero(), T::zero()),
                Some((noise, scale)) => {
                    let channel = channel % half;
                    (&**noise, scale[channel], scale[half + channel])
                }
            };
            if channel < half {
                pull_value(out, b, g, noise, sb);
            } else {
                pull_gate(out, a, b, g, noise, [sa, sb]);
            }
        });
        host::tensor(out, x.shape())
    }

    fn noise<T: Real>(&self) -> Result<Option<(Slice<'_, T>, Slice<'_, T>)>> {
        match &self.noise {
            None => Ok(None),
            Some(noise) => Ok(Some((Slice::new(&noise.plane)?, Slice::new(&noise.scale)?))),
        }
    }

    /// The two halves, with noise, and the sigmoid of the second.
    fn halves(&self, x: &Tensor, half: usize) -> Result<[Tensor; 2]> {
        let x = match &self.noise {
            None => x.clone(),
            Some(Noise { plane, scale }) => {
                let scale = scale.reshape((1, 2 * half, 1, 1))?;
                x.broadcast_add(&scale.broadcast_mul(&plane.unsqueeze(0)?.unsqueeze(0)?)?)?
            }
        };
        let gate = x.narrow(1, half, half)?;
        let gate = (gate.neg()?.exp()? + 1.0)?.recip()?;
        Ok([x.narrow(1, 0, half)?, gate])
    }

    fn composed(&self, x: &Tensor, half: usize) -> Result<Tensor> {
        let [value, gate] = self.halves(x, half)?;
        value * gate
    }

    fn pull_composed(&self, x: &Tensor, grad: &Tensor, half: usize) -> Result<Tensor> {
        let [value, gate] = self.halves(x, half)?;
        let to_value = (grad * &gate)?;
        let slope = (&gate * gate.affine(-1.0, 1.0)?)?;
        let to_gate = ((grad * value)? * slope)?;
        Tensor::cat(&[to_value, to_gate], 1)
    }
}

/// Where the planes of a value and of its gate begin.
fn planes(image: usize, channel: usize, half: usize, pixels: usize) -> (usize, usize) {
    let first = 2 * half * image + channel;
    (first * pixels, (first + half) * pixels)
}

fn gated<T: Real>(out: &mut [T], a: &[T], b: &[T]) {
    simd!(<'a, T> (out: &'a mut [T], a: &'a [T], b: &'a [T]) {
        for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
            *out = a * sigmoid(b);
        }
    });
}

fn noisy<T: Real>(out: &mut [T], a: &[T], b: &[T], noise: &[T], sa: T, sb: T) {
    simd!(<'a, T> (out: &'a mut [T], a: &'a [T], b: &'a [T], noise: &'a [T], sa: T, sb: T) {
        for (((out, &a), &b), &n) in out.iter_mut().zip(a).zip(b).zip(noise) {
            *out = (a + sa * n) * sigmoid(b + sb * n);
        }
    });
}

/// The gradient of the first half.
fn pull_value<T: Real>(out: &mut [T], b: &[T], g: &[T], noise: &[T], sb: T) {
    simd!(<'a, T> (out: &'a mut [T], b: &'a [T], g: &'a [T], noise: &'a [T], sb: T) {
        for (((out, &b), &g), &n) in out.iter_mut().zip(b).zip(g).zip(noise) {
            *out = g * sigmoid(b + sb * n);
        }
    });
}

/// The gradient of the second half.
fn pull_gate<T: Real>(out: &mut [T], a: &[T], b: &[T], g: &[T], noise: &[T], scales: [T; 2]) {
    simd!(<'a, T> (out: &'a mut [T], a: &'a [T], b: &'a [T], g: &'a [T], noise: &'a [T], scales: [T; 2]) {
        let [sa, sb] = scales;
        for ((((out, &a), &b), &g), &n) in out.iter_mut().zip(a).zip(b).zip(g).zip(noise) {
            let s = sigmoid(b + sb * n);
            *out = g * (a + sa * n) * s * (T::one() - s);
        }
    });
}

impl Layer for Glu {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let half = self.check(x)?;
        fused!(x, self.value(x, half), self.composed(x, half))
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let half = self.check(x)?;
        let (x, layer) = (x.contiguous()?.detach(), self.clone());
        let y = self.eval(&x)?;
        let shape = y.shape().clone();
        let pullback = move |grad: &Tensor| {
            host::check_grad("Glu", grad, &shape)?;
            fused!(
                grad,
                layer.pull(&x, grad, half),
                layer.pull_composed(&x, grad, half)
            )
        };
        Ok((y, Box::new(pullback)))
    }
}
