//! Layers that only autoencoders have.

use candle_core::{Result, Tensor};
use frozen::{Conv2d, Conv2dOptions, GroupNorm, Layer, Linear, Pullback, SelfAttention};
use weights::checkpoint::{Branch, CheckpointError};

/// `scale x + shift`.
pub(super) struct Affine {
    pub scale: f64,
    pub shift: f64,
}

impl Layer for Affine {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        x.affine(self.scale, self.shift)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let scale = self.scale;
        Ok((self.eval(x)?, Box::new(move |grad| grad * scale)))
    }
}

/// `limit tanh(x / limit)`: TAESD's soft clamp of its latents.
pub(super) struct SoftClamp {
    pub limit: f64,
}

impl Layer for SoftClamp {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        (x / self.limit)?.tanh()? * self.limit
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let squashed = (x / self.limit)?.tanh()?;
        let y = (&squashed * self.limit)?;
        let slope = squashed.sqr()?.affine(-1.0, 1.0)?;
        Ok((y, Box::new(move |grad| grad * &slope)))
    }
}

/// The first `channels` of each picture: the means among the moments that an AutoencoderKL's encoder gives.
pub(super) struct FirstChannels {
    pub channels: usize,
}

impl Layer for FirstChannels {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        x.narrow(1, 0, self.channels)?.contiguous()
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let rest = x.dims4()?.1 - self.channels;
        let pullback = move |grad: &Tensor| grad.pad_with_zeros(1, 0, rest);
        Ok((self.eval(x)?, Box::new(pullback)))
    }
}

/// Every pixel attends to every other: `[b, c, h, w]` to the same, without the residual around it.
pub(super) struct SpatialAttention {
    pub norm: GroupNorm,
    pub attention: SelfAttention,
}

/// `[b, c, h, w]` to `[b, h w, c]`.
fn to_tokens(x: &Tensor) -> Result<Tensor> {
    x.flatten_from(2)?.transpose(1, 2)?.contiguous()
}

/// `[b, h w, c]` to `[b, c, h, w]`.
fn to_pixels(x: &Tensor, shape: &candle_core::Shape) -> Result<Tensor> {
    x.transpose(1, 2)?.contiguous()?.reshape(shape)
}

impl Layer for SpatialAttention {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let tokens = to_tokens(&self.norm.eval(x)?)?;
        to_pixels(&self.attention.eval(&tokens)?, x.shape())
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (y, to_x) = self.norm.vjp(x)?;
        let (y, to_y) = self.attention.vjp(&to_tokens(&y)?)?;
        let shape = x.shape().clone();
        let y = to_pixels(&y, &shape)?;
        let pullback = move |grad: &Tensor| to_x(&to_pixels(&to_y(&to_tokens(grad)?)?, &shape)?);
        Ok((y, Box::new(pullback)))
    }
}

/// A square convolution with a bias, whose padding keeps the sides where the stride is 1.
pub(super) fn convolution(
    weights: Branch<'_>,
    name: &str,
    inputs: usize,
    outputs: usize,
    kernel: usize,
) -> std::result::Result<Conv2d, CheckpointError> {
    let options = Conv2dOptions {
        padding: kernel / 2,
        ..Conv2dOptions::default()
    };
    convolution_with(weights, name, inputs, outputs, kernel, options)
}

pub(super) fn convolution_with(
    weights: Branch<'_>,
    name: &str,
    inputs: usize,
    outputs: usize,
    kernel: usize,
    options: Conv2dOptions,
) -> std::result::Result<Conv2d, CheckpointError> {
    let weight = weights.get(
        &format!("{name}.weight"),
        &[outputs, inputs, kernel, kernel],
    )?;
    let bias = weights.get(&format!("{name}.bias"), &[outputs])?;
    Ok(Conv2d::new(weight, Some(bias), options)?)
}

/// A projection that may be stored as a matrix or as a 1x1 convolution.
pub(super) fn projection(
    weights: Branch<'_>,
    name: &str,
    channels: usize,
) -> std::result::Result<Linear, CheckpointError> {
    let key = format!("{name}.weight");
    let flat = (weights.checkpoint().shape(&key)).is_some_and(|shape| shape.len() == 2);
    let weight = match flat {
        true => weights.get(&key, &[channels, channels])?,
        false => weights
            .get(&key, &[channels, channels, 1, 1])?
            .reshape((channels, channels))?,
    };
    let bias = weights.get(&format!("{name}.bias"), &[channels])?;
    Ok(Linear::new(weight, Some(bias))?)
}
