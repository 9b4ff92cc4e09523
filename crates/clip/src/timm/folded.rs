//! Convolutions with all that is folded into their weights: parallel branches, batch norms, scales.

use candle_core::{DType, Result as CandleResult, Tensor};
use frozen::{Conv2d, Conv2dOptions, DepthwiseConv2d, Linear};
use weights::checkpoint::{Branch, CheckpointError};

/// The epsilon of torch's BatchNorm2d.
pub const EPS: f64 = 1e-5;

/// A convolution, of f32 until it becomes a layer: halves have too few digits for sums of branches.
pub struct Folded {
    /// [outputs, inputs of a group, kernel, kernel]
    weight: Tensor,
    /// \[outputs\]
    bias: Tensor,
}

impl Folded {
    /// The convolution `conv` of that shape with the batch norm `bn` behind it.
    pub fn conv_norm(
        weights: Branch<'_>,
        at: &str,
        shape: [usize; 4],
    ) -> Result<Self, CheckpointError> {
        let weight = get(weights, &format!("{at}.conv.weight"), &shape)?;
        let (scale, shift) = batch_norm(weights, &format!("{at}.bn"), shape[0])?;
        Ok(Self {
            weight: weight.broadcast_mul(&scale.reshape((shape[0], 1, 1, 1))?)?,
            bias: shift,
        })
    }

    /// A convolution of that name and shape with a bias.
    pub fn conv(weights: Branch<'_>, at: &str, shape: [usize; 4]) -> Result<Self, CheckpointError> {
        Ok(Self {
            weight: get(weights, &format!("{at}.weight"), &shape)?,
            bias: get(weights, &format!("{at}.bias"), &shape[..1])?,
        })
    }

    /// A batch norm as a convolution of that shape, which sees as many channels as it gives, or one for each.
    pub fn norm(weights: Branch<'_>, at: &str, shape: [usize; 4]) -> Result<Self, CheckpointError> {
        let (scale, shift) = batch_norm(weights, at, shape[0])?;
        let identity = identity(shape, &scale)?;
        Ok(Self {
            weight: identity.broadcast_mul(&scale.reshape((shape[0], 1, 1, 1))?)?,
            bias: shift,
        })
    }

    /// MobileOne's block: the sum of a convolution, one of a single pixel, and its input, each with a batch norm. All but the first may be
    /// missing, the last also where the first is.
    pub fn mobile_one(
        weights: Branch<'_>,
        at: &str,
        shape: [usize; 4],
    ) -> Result<Self, CheckpointError> {
        let mut sum = Self::conv_norm(weights, &format!("{at}.conv_kxk.0"), shape)?;
        let name = format!("{at}.conv_scale");
        if weights.has(&format!("{name}.conv.weight")) {
            let [outputs, depth, ..] = shape;
            let scale = Self::conv_norm(weights, &name, [outputs, depth, 1, 1])?;
            sum = sum.plus(&scale)?;
        }
        let name = format!("{at}.identity");
        if weights.has(&format!("{name}.weight")) {
            sum = sum.plus(&Self::norm(weights, &name, shape)?)?;
        }
        Ok(sum)
    }

    /// The sum of two convolutions of one image. The kernel of the other is not the larger one.
    pub fn plus(&self, other: &Self) -> CandleResult<Self> {
        let margin = (self.weight.dim(2)?.saturating_sub(other.weight.dim(2)?)) / 2;
        let padded = other.weight.pad_with_zeros(2, margin, margin)?;
        let padded = padded.pad_with_zeros(3, margin, margin)?;
        Ok(Self {
            weight: (&self.weight + padded)?,
            bias: (&self.bias + &other.bias)?,
        })
    }

    /// Minus another convolution of the same shape.
    pub fn minus(&self, other: &Self) -> CandleResult<Self> {
        Ok(Self {
            weight: (&self.weight - &other.weight)?,
            bias: (&self.bias - &other.bias)?,
        })
    }

    /// With its outputs multiplied by the tensor of that name, `[outputs, 1, 1]`.
    pub fn scaled(self, weights: Branch<'_>, gamma: &str) -> Result<Self, CheckpointError> {
        let outputs = self.bias.elem_count();
        let gamma = get(weights, gamma, &[outputs, 1, 1])?;
        Ok(Self {
            weight: self.weight.broadcast_mul(&gamma.unsqueeze(1)?)?,
            bias: (self.bias * gamma.flatten_all()?)?,
        })
    }

    /// Added to its input.
    pub fn residual(self) -> CandleResult<Self> {
        let (outputs, depth, kernel, _) = self.weight.dims4()?;
        let identity = identity([outputs, depth, kernel, kernel], &self.weight)?;
        Ok(Self {
            weight: (self.weight + identity)?,
            bias: self.bias,
        })
    }

    /// In the type of the layers.
    fn parts(self, weights: Branch<'_>) -> CandleResult<(Tensor, Tensor)> {
        let kind = weights.dtype();
        Ok((self.weight.to_dtype(kind)?, self.bias.to_dtype(kind)?))
    }

    /// As a convolution whose padding is half its kernel.
    pub fn full(self, weights: Branch<'_>, stride: usize) -> CandleResult<Conv2d> {
        let (weight, bias) = self.parts(weights)?;
        let options = Conv2dOptions {
            stride,
            padding: weight.dim(2)? / 2,
            ..Conv2dOptions::default()
        };
        Conv2d::new(weight, Some(bias), options)
    }

    /// As a depthwise convolution.
    pub fn depthwise(
        self,
        weights: Branch<'_>,
        multiplier: usize,
        stride: usize,
    ) -> CandleResult<DepthwiseConv2d> {
        let (weight, bias) = self.parts(weights)?;
        DepthwiseConv2d::new(weight, Some(bias), multiplier, stride)
    }

    /// A convolution of a single pixel, as a linear layer of its channels.
    pub fn linear(self, weights: Branch<'_>) -> CandleResult<Linear> {
        let (weight, bias) = self.parts(weights)?;
        Linear::new(weight.flatten_from(1)?, Some(bias))
    }
}

/// A linear layer without a bias behind a batch norm, as one.
pub fn linear_of_norm(
    weights: Branch<'_>,
    name: &str,
    norm: &str,
    shape: [usize; 2],
) -> Result<(Tensor, Tensor), CheckpointError> {
    let weight = get(weights, &format!("{name}.weight"), &shape)?;
    let (scale, shift) = batch_norm(weights, norm, shape[1])?;
    let bias = weight.matmul(&shift.unsqueeze(1)?)?.squeeze(1)?;
    let folded = Folded {
        weight: weight.broadcast_mul(&scale)?,
        bias,
    };
    Ok(folded.parts(weights)?)
}

fn get(weights: Branch<'_>, name: &str, shape: &[usize]) -> Result<Tensor, CheckpointError> {
    Ok(weights.get(name, shape)?.to_dtype(DType::F32)?)
}

/// What a batch norm multiplies each channel by, and what it then adds.
fn batch_norm(
    weights: Branch<'_>,
    at: &str,
    channels: usize,
) -> Result<(Tensor, Tensor), CheckpointError> {
    let part = |name: &str| get(weights, &format!("{at}.{name}"), &[channels]);
    let scale = (part("weight")? / (part("running_var")? + EPS)?.sqrt()?)?;
    let shift = (part("bias")? - (part("running_mean")? * &scale)?)?;
    Ok((scale, shift))
}

/// The kernel that leaves an image as it is, of the type and on the device of `like`.
fn identity([outputs, depth, kernel, _]: [usize; 4], like: &Tensor) -> CandleResult<Tensor> {
    let (kind, device) = (like.dtype(), like.device());
    let channels = if depth == 1 {
        Tensor::ones((outputs, 1, 1, 1), kind, device)?
    } else {
        Tensor::eye(outputs, kind, device)?.reshape((outputs, outputs, 1, 1))?
    };
    let margin = kernel / 2;
    let rows = channels.pad_with_zeros(2, margin, margin)?;
    rows.pad_with_zeros(3, margin, margin)
}
