//! The parts of a U-Net: residual blocks that know the time, attention over pixels, changes of resolution.

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use frozen::{
    Activation, AvgPool2d, Chain, Conv2d, Conv2dOptions, GroupNorm, Layer, Linear, Parallel,
    Pullback, Residual, SelfAttention, UpsampleNearest,
};
use weights::checkpoint::Branch;

use super::load::Loaded;

/// A convolution with a bias, square, as the checkpoint names it.
pub(super) fn conv(
    weights: Branch,
    key: &str,
    [input, output]: [usize; 2],
    kernel: usize,
    options: Conv2dOptions,
) -> Loaded<Conv2d> {
    let weight = weights.get(&format!("{key}.weight"), &[output, input, kernel, kernel])?;
    let bias = weights.get(&format!("{key}.bias"), &[output])?;
    Ok(Conv2d::new(weight, Some(bias), options)?)
}

/// A 3 x 3 convolution that keeps the size.
pub(super) fn conv3(weights: Branch, key: &str, channels: [usize; 2]) -> Loaded<Conv2d> {
    let options = Conv2dOptions {
        padding: 1,
        ..Conv2dOptions::default()
    };
    conv(weights, key, channels, 3, options)
}

/// A linear layer with a bias.
pub(super) fn linear(weights: Branch, key: &str, [input, output]: [usize; 2]) -> Loaded<Linear> {
    let weight = weights.get(&format!("{key}.weight"), &[output, input])?;
    let bias = weights.get(&format!("{key}.bias"), &[output])?;
    Ok(Linear::new(weight, Some(bias))?)
}

/// Weight and bias of a group normalisation.
#[derive(Clone)]
pub(super) struct Norm {
    pub groups: usize,
    pub weight: Tensor,
    pub bias: Tensor,
    pub eps: f64,
}

/// What all normalisations of a network share.
#[derive(Clone, Copy)]
pub(super) struct NormStyle {
    pub groups: usize,
    pub eps: f64,
}

impl Norm {
    pub fn load(weights: Branch, key: &str, channels: usize, style: NormStyle) -> Loaded<Self> {
        Ok(Self {
            groups: style.groups,
            weight: weights.get(&format!("{key}.weight"), &[channels])?,
            bias: weights.get(&format!("{key}.bias"), &[channels])?,
            eps: style.eps,
        })
    }

    pub fn layer(&self) -> Result<GroupNorm> {
        GroupNorm::new(
            self.groups,
            self.weight.clone(),
            self.bias.clone(),
            self.eps,
        )
    }
}

/// A change of resolution by two inside of a residual block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Resize {
    Halve,
    Double,
}

impl Resize {
    fn layer(self) -> Result<Box<dyn Layer>> {
        Ok(match self {
            Self::Halve => Box::new(AvgPool2d::new(2)?),
            Self::Double => Box::new(UpsampleNearest::new(2)?),
        })
    }
}

/// What the residual blocks of a network share.
#[derive(Clone, Copy)]
pub(super) struct ResnetStyle {
    pub norm: NormStyle,
    /// Size of the time's embedding.
    pub time: usize,
    /// Whether the time scales and shifts the second normalisation, or is added before it.
    pub scale_shift: bool,
}

/// Two convolutions with a shortcut; between them comes in what the time says.
pub(super) struct Resnet {
    norm1: Norm,
    conv1_weight: Tensor,
    conv1_bias: Tensor,
    time: Linear,
    norm2: Norm,
    conv2: Conv2d,
    shortcut: Option<Conv2d>,
    scale_shift: bool,
    resize: Option<Resize>,
    /// What the sum is divided by.
    divisor: f64,
}

impl Resnet {
    pub fn load(
        weights: Branch,
        key: &str,
        [input, output]: [usize; 2],
        style: ResnetStyle,
        resize: Option<Resize>,
        divisor: f64,
    ) -> Loaded<Self> {
        let name = |part: &str| format!("{key}.{part}");
        let time = if style.scale_shift {
            2 * output
        } else {
            output
        };
        Ok(Self {
            norm1: Norm::load(weights, &name("norm1"), input, style.norm)?,
            conv1_weight: weights.get(&name("conv1.weight"), &[output, input, 3, 3])?,
            conv1_bias: weights.get(&name("conv1.bias"), &[output])?,
            time: linear(weights, &name("time_emb_proj"), [style.time, time])?,
            norm2: Norm::load(weights, &name("norm2"), output, style.norm)?,
            conv2: conv3(weights, &name("conv2"), [output, output])?,
            shortcut: match input == output {
                true => None,
                false => {
                    let plain = Conv2dOptions::default();
                    let key = name("conv_shortcut");
                    Some(conv(weights, &key, [input, output], 1, plain)?)
                }
            },
            scale_shift: style.scale_shift,
            resize,
            divisor,
        })
    }

    /// The block at a time, given the activated embedding of it, [1, time]. What the time adds to the first convolution is part
    /// of its bias, and what it scales and shifts of the second normalisation part of its weights, so that it costs nothing.
    pub fn at(&self, time: &Tensor) -> Result<Box<dyn Layer>> {
        let time = self.time.eval(time)?.squeeze(0)?;
        let mut bias = self.conv1_bias.clone();
        let mut norm2 = self.norm2.clone();
        if self.scale_shift {
            let half = time.elem_count() / 2;
            let (scale, shift) = (
                (time.narrow(0, 0, half)? + 1.0)?,
                time.narrow(0, half, half)?,
            );
            norm2.weight = (&norm2.weight * &scale)?;
            norm2.bias = ((&norm2.bias * &scale)? + shift)?;
        } else {
            bias = (bias + time)?;
        }
        let options = Conv2dOptions {
            padding: 1,
            ..Conv2dOptions::default()
        };
        let conv1 = Conv2d::new(self.conv1_weight.clone(), Some(bias), options)?;
        let mut branch: Vec<Box<dyn Layer>> =
            vec![Box::new(self.norm1.layer()?), Box::new(Activation::Silu)];
        let mut shortcut: Vec<Box<dyn Layer>> = vec![];
        if let Some(resize) = self.resize {
            branch.push(resize.layer()?);
            shortcut.push(resize.layer()?);
        }
        branch.push(Box::new(conv1));
        branch.push(Box::new(norm2.layer()?));
        branch.push(Box::new(Activation::Silu));
        branch.push(Box::new(self.conv2.clone()));
        if let Some(conv) = &self.shortcut {
            shortcut.push(Box::new(conv.clone()));
        }
        let block = Parallel(Chain::new(branch), Chain::new(shortcut));
        Ok(match self.divisor == 1.0 {
            true => Box::new(block),
            false => Box::new(Chain::new(vec![
                Box::new(block),
                Box::new(Divide(self.divisor)),
            ])),
        })
    }
}

/// `x / divisor`
struct Divide(f64);

impl Layer for Divide {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        x / self.0
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let divisor = self.0;
        Ok((self.eval(x)?, Box::new(move |grad| grad / divisor)))
    }
}

/// Attention of every pixel to every pixel, added to the input.
#[derive(Clone)]
pub(super) struct PixelAttention {
    norm: Option<Norm>,
    attention: SelfAttention,
    divisor: f64,
}

impl PixelAttention {
    pub fn load(
        weights: Branch,
        key: &str,
        channels: usize,
        head: usize,
        norm: Option<NormStyle>,
        divisor: f64,
    ) -> Loaded<Self> {
        let name = |part: &str| format!("{key}.{part}");
        // before diffusers 0.15 the projections had other names
        let old = weights.has(&name("proj_attn.weight"));
        let [q, k, v, out] = match old {
            true => ["query", "key", "value", "proj_attn"],
            false => ["to_q", "to_k", "to_v", "to_out.0"],
        };
        let heads = channels / head.max(1);
        let square = |part: &str| linear(weights, &name(part), [channels, channels]);
        let attention = SelfAttention::new(
            square(q)?,
            square(k)?,
            square(v)?,
            square(out)?,
            heads,
            false,
        )?;
        let norm = match norm {
            None => None,
            Some(style) => Some(Norm::load(weights, &name("group_norm"), channels, style)?),
        };
        Ok(Self {
            norm,
            attention,
            divisor,
        })
    }

    pub fn layer(&self) -> Result<Box<dyn Layer>> {
        let mut branch: Vec<Box<dyn Layer>> = vec![];
        if let Some(norm) = &self.norm {
            branch.push(Box::new(norm.layer()?));
        }
        branch.push(Box::new(OverPixels(self.attention.clone())));
        let mut layers: Vec<Box<dyn Layer>> = vec![Box::new(Residual(Chain::new(branch)))];
        if self.divisor != 1.0 {
            layers.push(Box::new(Divide(self.divisor)));
        }
        Ok(Box::new(Chain::new(layers)))
    }
}

/// A layer of sequences [b, n, c] over the pixels of [b, c, h, w].
pub(super) struct OverPixels<L>(pub L);

fn to_sequence(x: &Tensor) -> Result<Tensor> {
    x.flatten_from(2)?.transpose(1, 2)?.contiguous()
}

fn to_image(x: &Tensor, (h, w): (usize, usize)) -> Result<Tensor> {
    let (b, _, c) = x.dims3()?;
    x.transpose(1, 2)?.contiguous()?.reshape((b, c, h, w))
}

impl<L: Layer> Layer for OverPixels<L> {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let (_, _, h, w) = x.dims4()?;
        to_image(&self.0.eval(&to_sequence(x)?)?, (h, w))
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (_, _, h, w) = x.dims4()?;
        let (y, pullback) = self.0.vjp(&to_sequence(x)?)?;
        let back = move |grad: &Tensor| to_image(&pullback(&to_sequence(grad)?)?, (h, w));
        Ok((to_image(&y, (h, w))?, Box::new(back)))
    }
}

/// A layer of several images side by side in their channels, [b, c, h, w] each.
///
/// With `recompute` it keeps these images alone, and runs again when its gradient is asked for (Chen et al. 2016, arXiv 1604.06174).
pub(super) fn joined(
    layer: &Arc<dyn Layer>,
    parts: Vec<Tensor>,
    recompute: bool,
) -> Result<(Tensor, Pullback)> {
    if !recompute {
        return layer.vjp(&side_by_side(&parts)?);
    }
    let y = layer.eval(&side_by_side(&parts)?)?;
    let layer = Arc::clone(layer);
    let back = move |grad: &Tensor| layer.vjp(&side_by_side(&parts)?)?.1(grad);
    Ok((y, Box::new(back)))
}

/// Several images as one of all their channels.
pub(super) fn side_by_side(parts: &[Tensor]) -> Result<Tensor> {
    match parts {
        [only] => Ok(only.clone()),
        _ => Tensor::cat(parts, 1),
    }
}

/// Refuses what is not [batch, channels, height, width] with sides that are multiples.
pub(super) fn check_image(x: &Tensor, channels: usize, multiple: usize) -> Result<()> {
    match *x.dims() {
        [_, c, h, w]
            if c == channels && h > 0 && w > 0 && h % multiple == 0 && w % multiple == 0 =>
        {
            Ok(())
        }
        _ => bail!(
            "UNet: expected [batch, {channels}, height, width] with sides that are multiples of {multiple}, found {:?}",
            x.shape()
        ),
    }
}
