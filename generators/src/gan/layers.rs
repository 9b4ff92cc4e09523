//! Layers that networks of GANs share, and how they are read from a checkpoint.

use candle_core::{DType, Device, Result, Tensor, Var};
use frozen::{Layer, Pullback};
use weights::checkpoint::Branch;

use super::GanError;
use crate::random::noise;

/// What batch normalisations add to variances.
const EPS: f64 = 1e-5;
/// Planes of noise have random numbers of their own among those of a seed.
const PLANES: u64 = 1 << 40;

/// `1 / (1 + exp(-steepness x))`; with 2 it is `(tanh(x) + 1) / 2`.
pub(super) struct Sigmoid {
    pub steepness: f64,
}

impl Layer for Sigmoid {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        ((x * -self.steepness)?.exp()? + 1.0)?.recip()
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let y = self.eval(x)?;
        let slope = ((&y * y.affine(-1.0, 1.0)?)? * self.steepness)?;
        Ok((y, Box::new(move |grad| grad * &slope)))
    }
}

/// `[1, n]` as an image `[1, n / pixels, height, width]`.
pub(super) struct ToImage {
    pub size: [usize; 2],
}

impl Layer for ToImage {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let [width, height] = self.size;
        x.contiguous()?
            .reshape((1, x.elem_count() / (width * height), height, width))
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let shape = x.shape().clone();
        let back = move |grad: &Tensor| grad.contiguous()?.reshape(&shape);
        Ok((self.eval(x)?, Box::new(back)))
    }
}

/// A layer of candle's operations whose pullback is candle's own backward pass: for layers that cost little beside the others.
pub(super) struct Traced<F>(pub F);

impl<F: Fn(&Tensor) -> Result<Tensor> + Send + Sync> Layer for Traced<F> {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        self.0(&x.detach())
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let x = Var::from_tensor(&x.detach())?;
        let y = self.0(x.as_tensor())?;
        let value = y.detach();
        let back = move |grad: &Tensor| {
            let sum = (&y * grad.detach())?.sum_all()?;
            match sum.backward()?.remove(&x) {
                Some(grad) => grad.contiguous(),
                None => candle_core::bail!("a layer does not depend on its input"),
            }
        };
        Ok((value, Box::new(back)))
    }
}

/// A batch normalisation that no longer learns: `scale x + shift` for each channel.
pub(super) struct Norm {
    pub scale: Tensor,
    pub shift: Tensor,
}

impl Norm {
    pub fn load(
        weights: Branch,
        name: &str,
        channels: usize,
    ) -> std::result::Result<Self, GanError> {
        let part = |part: &str| weights.get(&format!("{name}.{part}"), &[channels]);
        let scale = (part("weight")? / (part("running_var")? + EPS)?.sqrt()?)?;
        let shift = (part("bias")? - (part("running_mean")? * &scale)?)?;
        Ok(Self { scale, shift })
    }

    /// The weight and bias of a convolution, its outputs along `dim` of the weight, with this normalisation behind it.
    pub fn fold(&self, weight: &Tensor, bias: Option<&Tensor>, dim: usize) -> Result<[Tensor; 2]> {
        let mut shape = vec![1; weight.rank()];
        shape[dim] = self.scale.elem_count();
        let weight = weight.broadcast_mul(&self.scale.reshape(shape)?)?;
        let bias = match bias {
            Some(bias) => (bias * &self.scale)?.add(&self.shift)?,
            None => self.shift.clone(),
        };
        Ok([weight, bias])
    }
}

/// A weight as it counts, of a layer that is normalised by its largest singular value or not, in any of PyTorch's ways to store that. The
/// outputs are along `dim`.
pub(super) fn weight(
    weights: Branch,
    name: &str,
    shape: &[usize],
    dim: usize,
) -> std::result::Result<Tensor, GanError> {
    let names = [
        ("weight_orig", "weight_u", "weight_v"),
        (
            "parametrizations.weight.original",
            "parametrizations.weight.0._u",
            "parametrizations.weight.0._v",
        ),
    ];
    for (weight, u, v) in names {
        let key = |part: &str| format!("{name}.{part}");
        if !weights.has(&key(weight)) {
            continue;
        }
        let weight = weights.get(&key(weight), shape)?;
        let outputs = shape[dim];
        let u = weights.get(&key(u), &[outputs])?;
        let v = weights.get(&key(v), &[weight.elem_count() / outputs])?;
        // the outputs first, the others in their order
        let order: Vec<usize> = (std::iter::once(dim))
            .chain((0..shape.len()).filter(|other| *other != dim))
            .collect();
        let matrix = weight
            .permute(order)?
            .contiguous()?
            .reshape((outputs, ()))?;
        let sigma = (matrix.broadcast_mul(&u.unsqueeze(1)?)?.sum(0)? * v)?;
        let sigma = f64::from(sigma.sum_all()?.to_dtype(DType::F32)?.to_scalar::<f32>()?);
        return Ok((weight / sigma)?);
    }
    Ok(weights.get(&format!("{name}.weight"), shape)?)
}

/// The noise that a layer adds to each pixel, `[side, side]`: that of a number among the layers of a network.
pub(super) fn plane(seed: u64, number: usize, side: usize, device: &Device) -> Result<Tensor> {
    noise(seed, PLANES | number as u64, &[side, side], device)
}

/// Half of the excess of normal noise's length: the gradient of `|z|^2 / 2 - (d - 1) log |z|` where `z`, of `d` numbers, is longer than normal
/// noise mostly is, else 0, so that latents closer to the middle stay there.
pub(super) fn length_gradient(z: &Tensor) -> Result<Tensor> {
    let square = z
        .to_dtype(DType::F32)?
        .sqr()?
        .sum_all()?
        .to_scalar::<f32>()?;
    let expected = z.elem_count() as f64 - 1.0;
    let excess = 1.0 - expected / f64::from(square).max(f64::MIN_POSITIVE);
    z * excess.max(0.0)
}
