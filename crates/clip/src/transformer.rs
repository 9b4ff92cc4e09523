//! The residual attention blocks that both of CLIP's transformers are stacks of.

use candle_core::{Result as CandleResult, Tensor};
use frozen::{Activation, Chain, Layer, LayerNorm, Linear, Pullback, Residual, SelfAttention};

use crate::config::{Layout, StackConfig};
use crate::names::{self, Name, under};
use weights::checkpoint::{Branch, CheckpointError};

/// Reads block `index` of a stack whose names begin with `prefix`: the attention, then an MLP for each token, both residual,
/// `[batch, tokens, width]` in and out.
pub fn block(
    weights: Branch<'_>,
    layout: Layout,
    prefix: &str,
    index: usize,
    config: &StackConfig,
    causal: bool,
) -> Result<[Residual<Chain>; 2], CheckpointError> {
    let (d, hidden) = (config.width, config.hidden);
    let at = under(prefix, &format!("{}.{index}", names::BLOCKS.of(layout)));
    // the last layer of attention or MLP, with LayerScale folded in
    let last = |name: &str, inputs: usize, scale: &str| {
        let scale = (config.layer_scale).then(|| format!("{at}.{scale}.gamma"));
        let name = format!("{at}.{name}");
        scaled_linear(weights, &name, inputs, d, scale.as_deref())
    };
    let attention = match layout {
        Layout::HuggingFace => {
            let part = |name: &str| linear(weights, &format!("{at}.self_attn.{name}"), d, d, true);
            SelfAttention::new(
                part("q_proj")?,
                part("k_proj")?,
                part("v_proj")?,
                part("out_proj")?,
                config.heads,
                causal,
            )?
        }
        Layout::OpenClip => SelfAttention::fused(
            weights.get(&format!("{at}.attn.in_proj_weight"), &[3 * d, d])?,
            Some(weights.get(&format!("{at}.attn.in_proj_bias"), &[3 * d])?),
            last("attn.out_proj", d, "ls_1")?,
            config.heads,
            causal,
        )?,
    };
    let up = linear(
        weights,
        &format!("{at}.{}", names::UP.of(layout)),
        d,
        hidden,
        true,
    )?;
    let norm =
        |name: Name| layer_norm(weights, &format!("{at}.{}", name.of(layout)), d, config.eps);
    Ok([
        Residual(Chain::new(vec![
            Box::new(norm(names::NORM1)?),
            Box::new(attention),
        ])),
        Residual(Chain::new(vec![
            Box::new(norm(names::NORM2)?),
            Box::new(up),
            Box::new(config.activation),
            Box::new(last(names::DOWN.of(layout), hidden, "ls_2")?),
        ])),
    ])
}

/// The residual MLP whose norm and linear layers, from `d` to `hidden` and back, have these names.
pub fn mlp(
    weights: Branch<'_>,
    [norm, up, down]: [&str; 3],
    [d, hidden]: [usize; 2],
    activation: Activation,
    eps: f64,
) -> Result<Residual<Chain>, CheckpointError> {
    Ok(Residual(Chain::new(vec![
        Box::new(layer_norm(weights, norm, d, eps)?),
        Box::new(linear(weights, up, d, hidden, true)?),
        Box::new(activation),
        Box::new(linear(weights, down, hidden, d, true)?),
    ])))
}

/// `[batch, 1 + patches, width]` to the mean of all tokens but the first, `[batch, width]`.
pub struct MeanOfPatches;

impl Layer for MeanOfPatches {
    fn eval(&self, x: &Tensor) -> CandleResult<Tensor> {
        x.narrow(1, 1, x.dim(1)? - 1)?.mean(1)
    }

    fn vjp(&self, x: &Tensor) -> CandleResult<(Tensor, Pullback)> {
        let patches = x.dim(1)? - 1;
        let pullback = move |grad: &Tensor| {
            let (batch, width) = grad.dims2()?;
            let each = (grad / patches as f64)?.unsqueeze(1)?;
            (each.broadcast_as((batch, patches, width))?).pad_with_zeros(1, 1, 0)
        };
        Ok((self.eval(x)?, Box::new(pullback)))
    }
}

/// `[batch, tokens, width]` to the first token's `[batch, width]`.
pub struct FirstToken;

impl Layer for FirstToken {
    fn eval(&self, x: &Tensor) -> CandleResult<Tensor> {
        x.narrow(1, 0, 1)?.squeeze(1)?.contiguous()
    }

    fn vjp(&self, x: &Tensor) -> CandleResult<(Tensor, Pullback)> {
        let (_, tokens, _) = x.dims3()?;
        let pullback = move |grad: &Tensor| grad.unsqueeze(1)?.pad_with_zeros(1, 0, tokens - 1);
        Ok((self.eval(x)?, Box::new(pullback)))
    }
}

/// The linear layer of that name.
pub fn linear(
    weights: Branch<'_>,
    name: &str,
    inputs: usize,
    outputs: usize,
    bias: bool,
) -> Result<Linear, CheckpointError> {
    let weight = weights.get(&format!("{name}.weight"), &[outputs, inputs])?;
    let bias = bias.then(|| weights.get(&format!("{name}.bias"), &[outputs]));
    Ok(Linear::new(weight, bias.transpose()?)?)
}

/// The projection of that name into the joint space, without a bias.
pub fn projection(
    weights: Branch<'_>,
    layout: Layout,
    name: &str,
    inputs: usize,
    outputs: usize,
) -> Result<Linear, CheckpointError> {
    match layout {
        Layout::HuggingFace => linear(weights, name, inputs, outputs, false),
        // a matrix that tokens are multiplied by from the left
        Layout::OpenClip => {
            let matrix = weights.get(name, &[inputs, outputs])?;
            Ok(Linear::new(matrix.t()?.contiguous()?, None)?)
        }
    }
}

/// The linear layer of that name, with a bias. Its outputs are multiplied by the tensor `scale`, one number for each, if there is one.
pub fn scaled_linear(
    weights: Branch<'_>,
    name: &str,
    inputs: usize,
    outputs: usize,
    scale: Option<&str>,
) -> Result<Linear, CheckpointError> {
    let Some(scale) = scale else {
        return linear(weights, name, inputs, outputs, true);
    };
    let scale = weights.get(scale, &[outputs])?;
    let weight = weights.get(&format!("{name}.weight"), &[outputs, inputs])?;
    let bias = weights.get(&format!("{name}.bias"), &[outputs])?;
    let weight = weight.broadcast_mul(&scale.unsqueeze(1)?)?;
    Ok(Linear::new(weight, Some((bias * scale)?))?)
}

/// The layer norm of that name.
pub fn layer_norm(
    weights: Branch<'_>,
    name: &str,
    width: usize,
    eps: f64,
) -> Result<LayerNorm, CheckpointError> {
    let weight = weights.get(&format!("{name}.weight"), &[width])?;
    let bias = weights.get(&format!("{name}.bias"), &[width])?;
    Ok(LayerNorm::new(weight, Some(bias), eps)?)
}
