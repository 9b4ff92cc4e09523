//! Layers that several networks of this crate share, and how they are read from a checkpoint.

use candle_core::{Result, Shape, Tensor};
use frozen::{Conv2d, Conv2dOptions, GroupNorm, Layer, Linear, Pullback};
use weights::checkpoint::{Branch, CheckpointError};

pub(crate) type Loaded<T> = std::result::Result<T, CheckpointError>;

/// A square convolution with a bias, whose padding keeps the sides.
pub(crate) fn conv(
    weights: Branch,
    name: &str,
    channels: [usize; 2],
    kernel: usize,
) -> Loaded<Conv2d> {
    let options = Conv2dOptions {
        padding: kernel / 2,
        ..Conv2dOptions::default()
    };
    conv_with(weights, name, channels, kernel, options)
}

/// A square convolution with a bias.
pub(crate) fn conv_with(
    weights: Branch,
    name: &str,
    [input, output]: [usize; 2],
    kernel: usize,
    options: Conv2dOptions,
) -> Loaded<Conv2d> {
    let weight = weights.get(&format!("{name}.weight"), &[output, input, kernel, kernel])?;
    let bias = weights.get(&format!("{name}.bias"), &[output])?;
    Ok(Conv2d::new(weight, Some(bias), options)?)
}

/// A linear layer with a bias.
pub(crate) fn linear(weights: Branch, name: &str, [input, output]: [usize; 2]) -> Loaded<Linear> {
    let weight = weights.get(&format!("{name}.weight"), &[output, input])?;
    let bias = weights.get(&format!("{name}.bias"), &[output])?;
    Ok(Linear::new(weight, Some(bias))?)
}

/// A linear layer with a bias whose weight is stored as that of a 1 x 1 convolution.
pub(crate) fn linear_of_conv(weights: Branch, name: &str, channels: usize) -> Loaded<Linear> {
    let weight = weights.get(&format!("{name}.weight"), &[channels, channels, 1, 1])?;
    let bias = weights.get(&format!("{name}.bias"), &[channels])?;
    Ok(Linear::new(
        weight.reshape((channels, channels))?,
        Some(bias),
    )?)
}

/// Weight and bias of a group normalisation.
#[derive(Clone)]
pub(crate) struct Norm {
    pub style: NormStyle,
    pub weight: Tensor,
    pub bias: Tensor,
}

/// What all normalisations of a network share.
#[derive(Clone, Copy)]
pub(crate) struct NormStyle {
    pub groups: usize,
    pub eps: f64,
}

impl Norm {
    pub fn load(weights: Branch, name: &str, channels: usize, style: NormStyle) -> Loaded<Self> {
        let part = |part: &str| weights.get(&format!("{name}.{part}"), &[channels]);
        Ok(Self {
            style,
            weight: part("weight")?,
            bias: part("bias")?,
        })
    }

    pub fn layer(&self) -> Result<GroupNorm> {
        let NormStyle { groups, eps } = self.style;
        GroupNorm::new(groups, self.weight.clone(), self.bias.clone(), eps)
    }
}

/// A layer of sequences [b, n, c] over the pixels of [b, c, h, w].
pub(crate) struct OverPixels<L>(pub L);

fn to_sequence(x: &Tensor) -> Result<Tensor> {
    x.flatten_from(2)?.transpose(1, 2)?.contiguous()
}

fn to_image(x: &Tensor, shape: &Shape) -> Result<Tensor> {
    x.transpose(1, 2)?.contiguous()?.reshape(shape)
}

impl<L: Layer> Layer for OverPixels<L> {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        to_image(&self.0.eval(&to_sequence(x)?)?, x.shape())
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (y, pullback) = self.0.vjp(&to_sequence(x)?)?;
        let shape = x.shape().clone();
        let y = to_image(&y, &shape)?;
        let back = move |grad: &Tensor| to_image(&pullback(&to_sequence(grad)?)?, &shape);
        Ok((y, Box::new(back)))
    }
}
