//! The parts of a U-Net: residual blocks conditioned on the time, attention over pixels, changes of resolution.

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use frozen::{
    Activation, AvgPool2d, Chain, Conv2d, Conv2dOptions, Layer, Linear, Parallel, Pullback,
    Residual, SelfAttention, UpsampleNearest,
};
use weights::checkpoint::Branch;

use crate::layers::{Loaded, Norm, NormStyle, OverPixels, conv, linear};

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
    /// Along y and x, whether convolutions wrap around.
    pub wrap: [bool; 2],
}

/// Two convolutions with a shortcut; the time's embedding is added between them.
pub(super) struct Resnet {
    norm1: Norm,
    conv1_weight: Tensor,
    conv1_bias: Tensor,
    time: Linear,
    norm2: Norm,
    conv2: Conv2d,
    shortcut: Option<Conv2d>,
    scale_shift: bool,
    wrap: [bool; 2],
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
            conv2: conv(weights, &name("conv2"), [output, output], 3)?.wrapping(style.wrap),
            shortcut: (input != output)
                .then(|| conv(weights, &name("conv_shortcut"), [input, output], 1))
                .transpose()?,
            scale_shift: style.scale_shift,
            wrap: style.wrap,
            resize,
            divisor,
        })
    }

    /// The block at a time, given the activated embedding of it, [1, time]. The embedding is folded into the bias of the
    /// first convolution, or into the weights of the second normalisation, so that it costs nothing.
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
        let conv1 =
            Conv2d::new(self.conv1_weight.clone(), Some(bias), options)?.wrapping(self.wrap);
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
        Ok(divided(block, self.divisor))
    }
}

/// A layer whose output is divided.
fn divided(layer: impl Layer + 'static, divisor: f64) -> Box<dyn Layer> {
    if divisor == 1.0 {
        return Box::new(layer);
    }
    Box::new(Chain::new(vec![Box::new(layer), Box::new(Divide(divisor))]))
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
        let [q, k, v, out] = if old {
            ["query", "key", "value", "proj_attn"]
        } else {
            ["to_q", "to_k", "to_v", "to_out.0"]
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
        let norm = norm.map(|style| Norm::load(weights, &name("group_norm"), channels, style));
        Ok(Self {
            norm: norm.transpose()?,
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
        Ok(divided(Residual(Chain::new(branch)), self.divisor))
    }
}

/// A layer of several images side by side in their channels, [b, c, h, w] each.
///
/// With `recompute` it keeps these images alone, and runs again for its gradient (Chen et al. 2016, arXiv 1604.06174).
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
