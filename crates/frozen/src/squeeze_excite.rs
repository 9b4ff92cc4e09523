//! Squeeze-and-excitation: channels weighted by what the whole image shows.

use candle_core::{Result, Tensor, bail};

use crate::activation::Activation;
use crate::channels_last::{GlobalAvgPool, pixel_sums};
use crate::gemm::build;
use crate::host::{self, Slice, dims4_last, fused};
use crate::layer::{Layer, Pullback};
use crate::linear::Linear;
use crate::real::Real;

/// `x sigmoid(expand(relu(reduce(mean(x)))))`, the mean over all pixels of each channel (Hu et al. 2018): [b, h, w, c] in and out.
#[derive(Clone, Debug)]
pub struct SqueezeExcite {
    reduce: Linear,
    expand: Linear,
}

impl SqueezeExcite {
    /// `reduce` takes all channels to fewer, `expand` takes these back to all.
    ///
    /// # Errors
    /// Where the sizes of the two do not fit.
    pub fn new(reduce: Linear, expand: Linear) -> Result<Self> {
        let sizes = (reduce.input_size(), reduce.output_size());
        if (expand.output_size(), expand.input_size()) != sizes {
            bail!(
                "SqueezeExcite: {} to {} channels do not fit {} to {}",
                sizes.0,
                sizes.1,
                expand.input_size(),
                expand.output_size()
            );
        }
        Ok(Self { reduce, expand })
    }

    /// What each channel is multiplied by, [b, c], and its pullback to the mean.
    fn gates(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (_, _, _, c) = dims4_last("SqueezeExcite", x)?;
        if c != self.reduce.input_size() {
            bail!(
                "SqueezeExcite: expected [batch, height, width, {}], found {:?}",
                self.reduce.input_size(),
                x.shape()
            );
        }
        let (hidden, from_hidden) = self.reduce.vjp(&GlobalAvgPool.eval(x)?)?;
        let (active, from_active) = Activation::Relu.vjp(&hidden)?;
        let (logits, from_logits) = self.expand.vjp(&active)?;
        let gates = (logits.neg()?.exp()? + 1.0)?.recip()?;
        let slope = (&gates * gates.affine(-1.0, 1.0)?)?;
        let pullback =
            move |grad: &Tensor| from_hidden(&from_active(&from_logits(&(grad * &slope)?)?)?);
        Ok((gates, Box::new(pullback)))
    }
}

impl Layer for SqueezeExcite {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        scale(x, &self.gates(x)?.0, None)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let x = x.contiguous()?;
        let (gates, to_mean) = self.gates(&x)?;
        let y = scale(&x, &gates, None)?;
        let (_, h, w, _) = x.dims4()?;
        let pullback = move |grad: &Tensor| {
            host::check_grad("SqueezeExcite", grad, x.shape())?;
            let mean = to_mean(&pixel_sums(grad, Some(&x))?)?;
            scale(grad, &gates, Some(&(mean / (h * w) as f64)?))
        };
        Ok((y, Box::new(pullback)))
    }
}

/// `x gates + shift`, where the last two are [b, c].
fn scale(x: &Tensor, gates: &Tensor, shift: Option<&Tensor>) -> Result<Tensor> {
    fn scaled<T: Real>(x: &Tensor, gates: &Tensor, shift: Option<&Tensor>) -> Result<Tensor> {
        let (_, h, w, c) = x.dims4()?;
        let shape = x.shape().clone();
        let x = x.contiguous()?;
        let (x, gates) = (Slice::<T>::new(&x)?, Slice::<T>::new(gates)?);
        let shift = shift.map(Slice::<T>::new).transpose()?;
        let (x, gates, shift) = (&*x, &*gates, shift.as_deref());
        let y = build(x.len(), c, |pixel, y| {
            let image = pixel / (h * w);
            if let Some(shift) = shift {
                y.copy_from_slice(&shift[image * c..][..c]);
            }
            let (x, gates) = (&x[pixel * c..][..c], &gates[image * c..][..c]);
            for ((y, &x), &gate) in y.iter_mut().zip(x).zip(gates) {
                *y += x * gate;
            }
        });
        host::tensor(y, shape)
    }
    let pixels = |x: &Tensor| x.unsqueeze(1)?.unsqueeze(1);
    fused!(x, scaled(x, gates, shift), {
        let y = x.broadcast_mul(&pixels(gates)?)?;
        match shift {
            Some(shift) => y.broadcast_add(&pixels(shift)?),
            None => Ok(y),
        }
    })
}
