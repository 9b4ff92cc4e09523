//! diffusers' `UNet2DModel`, the U-Net of unconditional diffusion models, and `UNet2DConditionModel`, that of Stable Diffusion, which is
//! conditioned on a text.

mod build;
mod config;

use std::sync::Arc;

use candle_core::{Device, Result, Tensor, bail};
use frozen::{Activation, Chain, Conv2d, Layer, Linear, Pad, Pullback, UpsampleNearest};
use weights::checkpoint::{Branch, Checkpoint, Scope};

pub(super) use config::{CONDITIONAL, UNCONDITIONAL};
pub use config::{OneOrMany, Side, UNetConfig};

use self::build::Builder;
use super::blocks::{PixelAttention, Resnet, ResnetStyle, check_image, joined, side_by_side};
use super::denoise::Network;
use super::error::{Loaded, ModelError};
use super::load_options::LoadOptions;
use super::transformer::Transformer;
use crate::layers::{Norm, NormStyle, conv, linear};

/// A part of the network between two skips.
enum Unit {
    Block {
        resnet: Resnet,
        attention: Option<Attention>,
    },
    Resize(Resnet),
    Down {
        conv: Conv2d,
        /// The row below and the column on the right that are added first.
        pad: Option<Pad>,
    },
    Up(Conv2d),
}

/// What follows a residual block.
enum Attention {
    Pixels(PixelAttention),
    Cross(Transformer),
}

impl Attention {
    fn at(&self, context: Option<&Tensor>) -> Result<Box<dyn Layer>> {
        match (self, context) {
            (Self::Pixels(attention), _) => attention.layer(),
            (Self::Cross(transformer), Some(context)) => transformer.at(context),
            (Self::Cross(_), None) => bail!("UNet: this network needs a text to be conditioned on"),
        }
    }
}

impl Unit {
    fn at(&self, time: &Tensor, context: Option<&Tensor>) -> Result<Box<dyn Layer>> {
        Ok(match self {
            Self::Block {
                resnet,
                attention: None,
            } => resnet.at(time)?,
            Self::Block {
                resnet,
                attention: Some(attention),
            } => Box::new(Chain::new(vec![resnet.at(time)?, attention.at(context)?])),
            Self::Resize(resnet) => resnet.at(time)?,
            Self::Down { conv, pad } => {
                let conv = Box::new(conv.clone());
                match *pad {
                    Some(pad) => Box::new(Chain::new(vec![Box::new(pad), conv])),
                    None => conv,
                }
            }
            Self::Up(conv) => Box::new(Chain::new(vec![
                Box::new(UpsampleNearest::new(2)?),
                Box::new(conv.clone()),
            ])),
        })
    }
}

/// The network, for any time.
pub struct UNet {
    config: UNetConfig,
    time1: Linear,
    time2: Linear,
    conv_in: Conv2d,
    down: Vec<Unit>,
    middle: Vec<Unit>,
    /// Each with whether it takes a skip connection.
    up: Vec<(Unit, bool)>,
    norm_out: Norm,
    conv_out: Conv2d,
    recompute: bool,
    warnings: Vec<String>,
}

/// A tensor that every network has.
pub(super) const MARK: &str = "time_embedding.linear_1.weight";

impl UNet {
    /// The network of that configuration, with the weights of a checkpoint under diffusers' names.
    ///
    /// # Errors
    /// Where the configuration requires something that is not supported, or the weights do not match it: tensors are missing or left over.
    pub fn new(
        config: UNetConfig,
        checkpoint: &Checkpoint,
        device: &Device,
        options: LoadOptions,
    ) -> Loaded<Self> {
        if let Some(what) = config.unsupported() {
            return Err(ModelError::Unsupported(what));
        }
        let weights = Branch::root(checkpoint, device);
        let channels = &config.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let time = config.time_embedding_dim.unwrap_or(4 * first);
        let norm = NormStyle {
            groups: config.norm_num_groups,
            eps: config.norm_eps,
        };
        let style = ResnetStyle {
            norm,
            time,
            scale_shift: config.resnet_time_scale_shift == "scale_shift",
            wrap: options.seamless.axes(),
        };
        let builder = Builder {
            weights,
            config: &config,
            style,
        };
        // read first, so that weights of another kind of model are found out at once
        let time1 = linear(weights, "time_embedding.linear_1", [first, time])?;
        let mut unet = Self {
            time1,
            time2: linear(weights, "time_embedding.linear_2", [time, time])?,
            conv_in: conv(weights, "conv_in", [config.in_channels, first], 3)?.wrapping(style.wrap),
            down: builder.down()?,
            middle: match config.mid_block_type {
                Some(_) => builder.middle(last)?,
                None => vec![],
            },
            up: builder.up()?,
            norm_out: Norm::load(weights, "conv_norm_out", first, norm)?,
            conv_out: conv(weights, "conv_out", [first, config.out_channels], 3)?
                .wrapping(style.wrap),
            config,
            recompute: options.recompute,
            warnings: vec![],
        };
        unet.warnings = checkpoint.finish(Scope::All, &[])?;
        Ok(unet)
    }

    /// The configuration.
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// The activated embedding of a time, [1, time].
    fn embedding(&self, time: f64) -> Result<Tensor> {
        let width = self.config.block_out_channels[0];
        let waves = waves(
            time,
            width,
            self.config.freq_shift,
            self.config.flip_sin_to_cos,
        );
        let waves: Vec<f32> = waves.into_iter().map(|wave| wave as f32).collect();
        let x = Tensor::from_vec(waves, (1, width), self.norm_out.weight.device())?;
        let x = Activation::Silu.eval(&self.time1.eval(&x)?)?;
        // each block would activate it again
        Activation::Silu.eval(&self.time2.eval(&x)?)
    }

    /// The network at a time of 0 to the number of times that it was trained at, fractions allowed:
    /// `[batch, in_channels, height, width]` to the same shape, sides that are multiples of [`UNetConfig::multiple`].
    ///
    /// `context` is the text of a conditional network, `[1, tokens, cross_attention_dim]`.
    ///
    /// # Errors
    /// Where a conditional network is given no context, or one of another width.
    pub fn at(&self, time: f64, context: Option<&Tensor>) -> Result<UNetAt> {
        let time = self.embedding(time)?;
        let layer =
            |unit: &Unit| -> Result<Arc<dyn Layer>> { Ok(Arc::from(unit.at(&time, context)?)) };
        let down = self.down.iter().map(layer).collect::<Result<_>>()?;
        let middle = self.middle.iter().map(layer).collect::<Result<_>>()?;
        let up = (self.up.iter())
            .map(|(unit, skip)| Ok((layer(unit)?, *skip)))
            .collect::<Result<_>>()?;
        let out: Vec<Box<dyn Layer>> = vec![
            Box::new(self.norm_out.layer()?),
            Box::new(Activation::Silu),
            Box::new(self.conv_out.clone()),
        ];
        Ok(UNetAt {
            channels: self.config.in_channels,
            multiple: self.config.multiple(),
            center: self.config.center_input_sample,
            conv_in: self.conv_in.clone(),
            down,
            middle,
            up,
            out: Arc::new(Chain::new(out)),
            recompute: self.recompute,
        })
    }
}

impl Network for UNet {
    fn at(&self, time: f64) -> Result<Box<dyn Layer>> {
        Ok(Box::new(Self::at(self, time, None)?))
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn multiple(&self) -> usize {
        self.config.multiple()
    }
}

/// A conditional network with its text.
pub struct ConditionedUNet {
    unet: Arc<UNet>,
    context: Tensor,
}

impl ConditionedUNet {
    /// `context` is the encoded text, `[1, tokens, cross_attention_dim]`.
    ///
    /// # Errors
    /// Where the network takes no text, or one of another width.
    pub fn new(unet: Arc<UNet>, context: Tensor) -> Result<Self> {
        let width = unet.config.context().filter(|_| unet.config.conditional());
        match (context.dims(), width) {
            (&[1, tokens, found], Some(width)) if tokens > 0 && found == width => {
                Ok(Self { unet, context })
            }
            (_, None) => bail!("this network takes no text"),
            (_, Some(width)) => bail!(
                "the text has shape {:?}, and the network expects [1, tokens, {width}]: its text encoder is of another model",
                context.dims()
            ),
        }
    }
}

impl Network for ConditionedUNet {
    fn at(&self, time: f64) -> Result<Box<dyn Layer>> {
        Ok(Box::new(self.unet.at(time, Some(&self.context))?))
    }

    fn multiple(&self) -> usize {
        self.unet.config.multiple()
    }
}

/// The sines and cosines of a time (Vaswani et al. 2017; diffusers' `get_timestep_embedding`).
fn waves(time: f64, width: usize, shift: f64, cosines_first: bool) -> Vec<f64> {
    const LONGEST: f64 = 10_000.0;
    let half = width / 2;
    let angles = (0..half)
        .map(|i| (-LONGEST.ln() * i as f64 / (half as f64 - shift)).exp() * time)
        .collect::<Vec<_>>();
    let sines = angles.iter().map(|angle| angle.sin());
    let cosines = angles.iter().map(|angle| angle.cos());
    if cosines_first {
        cosines.chain(sines).collect()
    } else {
        sines.chain(cosines).collect()
    }
}

/// A [`UNet`] at one time.
pub struct UNetAt {
    channels: usize,
    multiple: usize,
    center: bool,
    conv_in: Conv2d,
    down: Vec<Arc<dyn Layer>>,
    middle: Vec<Arc<dyn Layer>>,
    /// Each with whether it takes a skip connection.
    up: Vec<(Arc<dyn Layer>, bool)>,
    out: Arc<dyn Layer>,
    recompute: bool,
}

impl UNetAt {
    fn centered(&self, x: &Tensor) -> Result<Tensor> {
        check_image(x, self.channels, self.multiple)?;
        if self.center {
            x.affine(2.0, -1.0)
        } else {
            Ok(x.clone())
        }
    }

    /// The channels of the image, without those of a predicted variance.
    fn image_channels(&self, y: Tensor) -> Result<Tensor> {
        if y.dims()[1] == self.channels {
            Ok(y)
        } else {
            y.narrow(1, 0, self.channels)?.contiguous()
        }
    }
}

fn popped(skips: &mut Vec<Tensor>) -> Result<Tensor> {
    match skips.pop() {
        Some(skip) => Ok(skip),
        None => candle_core::bail!("UNet: there are more up blocks than skip connections"),
    }
}

impl Layer for UNetAt {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let mut h = self.conv_in.eval(&self.centered(x)?)?;
        let mut skips = vec![h.clone()];
        for layer in &self.down {
            h = layer.eval(&h)?;
            skips.push(h.clone());
        }
        for layer in &self.middle {
            h = layer.eval(&h)?;
        }
        for (layer, joins) in &self.up {
            if *joins {
                h = side_by_side(&[h, popped(&mut skips)?])?;
            }
            h = layer.eval(&h)?;
        }
        self.image_channels(self.out.eval(&h)?)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let unit = |layer: &Arc<dyn Layer>, parts| joined(layer, parts, self.recompute);
        let (mut h, pull_in) = self.conv_in.vjp(&self.centered(x)?)?;
        let mut skips = vec![h.clone()];
        let mut down = Vec::with_capacity(self.down.len());
        for layer in &self.down {
            let (y, pullback) = unit(layer, vec![h])?;
            down.push(pullback);
            skips.push(y.clone());
            h = y;
        }
        let mut middle = Vec::with_capacity(self.middle.len());
        for layer in &self.middle {
            let (y, pullback) = unit(layer, vec![h])?;
            middle.push(pullback);
            h = y;
        }
        let mut up = Vec::with_capacity(self.up.len());
        for (layer, joins) in &self.up {
            // the channels from the layer before, where those of a skip connection are concatenated
            let mut split = None;
            let mut parts = vec![h];
            if *joins {
                split = Some(parts[0].dims()[1]);
                parts.push(popped(&mut skips)?);
            }
            let (y, pullback) = unit(layer, parts)?;
            up.push((pullback, split));
            h = y;
        }
        let (y, pull_out) = unit(&self.out, vec![h])?;
        let (all, channels, center) = (y.dims()[1], self.channels, self.center);
        let y = self.image_channels(y)?;

        let back = move |grad: &Tensor| {
            let grad = grad.pad_with_zeros(1, 0, all - channels)?;
            let mut grad = pull_out(&grad)?;
            // skip connections are used in reverse order
            let mut left = Vec::with_capacity(down.len() + 1);
            for (pullback, split) in up.iter().rev() {
                grad = pullback(&grad)?;
                if let Some(came) = *split {
                    let joined = grad.dims()[1] - came;
                    left.push(grad.narrow(1, came, joined)?.contiguous()?);
                    grad = grad.narrow(1, 0, came)?.contiguous()?;
                }
            }
            for pullback in middle.iter().rev() {
                grad = pullback(&grad)?;
            }
            for pullback in down.iter().rev() {
                grad = pullback(&(grad + popped(&mut left)?)?)?;
            }
            grad = pull_in(&(grad + popped(&mut left)?)?)?;
            if center { grad * 2.0 } else { Ok(grad) }
        };
        Ok((y, Box::new(back)))
    }
}
