//! CLIP's ModifiedResNet: three convolutions as a stem, average pooling in front of every stride, attention as the last pooling.
//!
//! The layout is OpenAI's and open_clip's. Batch norms are folded into the convolutions before them.

use candle_core::{D, Result as CandleResult, Tensor};
use frozen::{
    Activation, AvgPool2d, Chain, Conv2d, Conv2dOptions, Layer, Linear, Parallel, Pullback,
    Residual, scaled_dot_product,
};

use crate::transformer::linear;
use crate::trunk::{LayerKind, Trunk};
use weights::checkpoint::{Branch, CheckpointError};

/// The epsilon of torch's BatchNorm2d.
const EPS: f64 = 1e-5;
/// Channels of a block's result for each channel of its middle.
const EXPANSION: usize = 4;

/// Reads a ModifiedResNet: normalised pixels `[batch, 3, size, size]` to embeddings `[batch, projection]`, not yet of unit length.
pub fn modified_resnet(
    weights: Branch<'_>,
    size: usize,
    layers: &[usize; 4],
    width: usize,
    heads: usize,
    projection: usize,
) -> Result<Trunk, CheckpointError> {
    let half = width / 2;
    let mut chain: Vec<Box<dyn Layer>> = vec![];
    for (i, (inputs, outputs, stride)) in [(3, half, 2), (half, half, 1), (half, width, 1)]
        .into_iter()
        .enumerate()
    {
        let conv = format!("visual.conv{}", i + 1);
        let norm = format!("visual.bn{}", i + 1);
        chain.push(Box::new(convolution(
            weights, &conv, &norm, inputs, outputs, 3, stride,
        )?));
        chain.push(Box::new(Activation::Relu));
    }
    chain.push(Box::new(AvgPool2d::new(2)?));
    let mut inputs = width;
    let mut ends = vec![];
    for (stage, &blocks) in layers.iter().enumerate() {
        let planes = width << stage;
        for index in 0..blocks {
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            let name = format!("visual.layer{}.{index}", stage + 1);
            chain.push(bottleneck(weights, &name, inputs, planes, stride)?);
            chain.push(Box::new(Activation::Relu));
            inputs = planes * EXPANSION;
        }
        ends.push(chain.len());
    }
    let grid = size / 32;
    chain.push(Box::new(AttentionPool::read(
        weights, grid, inputs, heads, projection,
    )?));
    let pixels = (size / 4).pow(2);
    let floats = width * pixels * (32 + 14 * layers.iter().sum::<usize>());
    Ok(Trunk::new(chain, LayerKind::Stage, ends, floats))
}

/// A convolution without bias and the batch norm behind it, as one.
fn convolution(
    weights: Branch<'_>,
    conv: &str,
    norm: &str,
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
) -> Result<Conv2d, CheckpointError> {
    let weight = weights.get(
        &format!("{conv}.weight"),
        &[outputs, inputs, kernel, kernel],
    )?;
    let norm = |name: &str| weights.get(&format!("{norm}.{name}"), &[outputs]);
    Ok(Conv2d::folded(
        weight,
        None,
        &norm("weight")?,
        &norm("bias")?,
        &norm("running_mean")?,
        &norm("running_var")?,
        EPS,
        Conv2dOptions {
            stride,
            padding: kernel / 2,
            ..Conv2dOptions::default()
        },
    )?)
}

/// A residual block without the nonlinearity after it. Its shortcut has weights of its own if it changes the shape.
fn bottleneck(
    weights: Branch<'_>,
    name: &str,
    inputs: usize,
    planes: usize,
    stride: usize,
) -> Result<Box<dyn Layer>, CheckpointError> {
    let outputs = planes * EXPANSION;
    let conv = |i: usize, inputs, outputs, kernel| {
        let (conv, norm) = (format!("{name}.conv{i}"), format!("{name}.bn{i}"));
        convolution(weights, &conv, &norm, inputs, outputs, kernel, 1)
    };
    let mut branch: Vec<Box<dyn Layer>> = vec![
        Box::new(conv(1, inputs, planes, 1)?),
        Box::new(Activation::Relu),
        Box::new(conv(2, planes, planes, 3)?),
        Box::new(Activation::Relu),
    ];
    let mut shortcut: Vec<Box<dyn Layer>> = vec![];
    if stride > 1 {
        branch.push(Box::new(AvgPool2d::new(stride)?));
        shortcut.push(Box::new(AvgPool2d::new(stride)?));
    }
    branch.push(Box::new(conv(3, planes, outputs, 1)?));
    let branch = Chain::new(branch);
    if stride == 1 && inputs == outputs {
        return Ok(Box::new(Residual(branch)));
    }
    let (conv, norm) = (
        format!("{name}.downsample.0"),
        format!("{name}.downsample.1"),
    );
    let conv = convolution(weights, &conv, &norm, inputs, outputs, 1, 1)?;
    shortcut.push(Box::new(conv));
    Ok(Box::new(Parallel(branch, Chain::new(shortcut))))
}

/// Attention pooling: attention over all positions and their mean, with the mean as the only query. `[batch, channels, rows, columns]` to
/// `[batch, projection]`.
struct AttentionPool {
    positions: Tensor,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    heads: usize,
}

impl AttentionPool {
    fn read(
        weights: Branch<'_>,
        grid: usize,
        channels: usize,
        heads: usize,
        projection: usize,
    ) -> Result<Self, CheckpointError> {
        let part = |name: &str, outputs| {
            let name = format!("visual.attnpool.{name}");
            linear(weights, &name, channels, outputs, true)
        };
        Ok(Self {
            positions: weights.get(
                "visual.attnpool.positional_embedding",
                &[grid * grid + 1, channels],
            )?,
            q: part("q_proj", channels)?,
            k: part("k_proj", channels)?,
            v: part("v_proj", channels)?,
            out: part("c_proj", projection)?,
            heads,
        })
    }
}

/// `[batch, tokens, channels]` to `[batch, heads, tokens, channels / heads]`.
fn split(x: &Tensor, heads: usize) -> CandleResult<Tensor> {
    let (batch, tokens, channels) = x.dims3()?;
    x.reshape((batch, tokens, heads, channels / heads))?
        .transpose(1, 2)?
        .contiguous()
}

/// The inverse of [`split`].
fn join(x: &Tensor) -> CandleResult<Tensor> {
    x.transpose(1, 2)?.contiguous()?.flatten_from(2)
}

impl Layer for AttentionPool {
    fn eval(&self, x: &Tensor) -> CandleResult<Tensor> {
        Ok(self.vjp(x)?.0)
    }

    fn vjp(&self, x: &Tensor) -> CandleResult<(Tensor, Pullback)> {
        let shape = x.shape().clone();
        let positions = x.flatten_from(2)?.transpose(1, 2)?.contiguous()?;
        let mean = positions.mean_keepdim(1)?;
        let tokens = Tensor::cat(&[&mean, &positions], 1)?.broadcast_add(&self.positions)?;
        let query = tokens.narrow(1, 0, 1)?.contiguous()?;
        let (q, back_q) = self.q.vjp(&query)?;
        let (k, back_k) = self.k.vjp(&tokens)?;
        let (v, back_v) = self.v.vjp(&tokens)?;
        let heads = self.heads;
        let [q, k, v] = [split(&q, heads)?, split(&k, heads)?, split(&v, heads)?];
        let (y, back) = scaled_dot_product(&q, &k, &v, false)?;
        let (y, back_out) = self.out.vjp(&join(&y)?.squeeze(1)?)?;
        let pullback = move |grad: &Tensor| {
            let (q, k, v) = back(&split(&back_out(grad)?.unsqueeze(1)?, heads)?)?;
            let tokens = (back_k(&join(&k)?)? + back_v(&join(&v)?)?)?;
            let count = tokens.dim(1)? - 1;
            // the mean is a key and a value as well as the query
            let mean = (tokens.narrow(1, 0, 1)? + back_q(&join(&q)?)?)?;
            let positions = tokens
                .narrow(1, 1, count)?
                .broadcast_add(&(mean / count as f64)?)?;
            positions
                .transpose(D::Minus1, D::Minus2)?
                .contiguous()?
                .reshape(&shape)
        };
        Ok((y, Box::new(pullback)))
    }
}
