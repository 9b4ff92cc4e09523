//! The residual attention blocks that both of CLIP's transformers are stacks of.

use candle_core::{Result as CandleResult, Tensor};
use frozen::{Chain, Layer, LayerNorm, Linear, Pullback, Residual, SelfAttention};

use crate::config::{Layout, StackConfig};
use weights::checkpoint::{Branch, CheckpointError};

/// Reads block `index` of a stack whose names begin with `prefix`.
pub fn block(
    weights: Branch<'_>,
    layout: Layout,
    prefix: &str,
    index: usize,
    config: &StackConfig,
    causal: bool,
) -> Result<Block, CheckpointError> {
    let (d, hidden) = (config.width, config.hidden);
    let names = Names::of(layout);
    let at = match prefix {
        "" => format!("{}.{index}", names.blocks),
        _ => format!("{prefix}.{}.{index}", names.blocks),
    };
    // the last layer of attention or MLP, with LayerScale folded in
    let last = |name: &str, inputs: usize, scale: &str| {
        let scale = (config.layer_scale).then(|| format!("{at}.{scale}.gamma"));
        scaled_linear(
            weights,
            &format!("{at}.{name}"),
            inputs,
            d,
            scale.as_deref(),
        )
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
    let norm = |name: &str| layer_norm(weights, &format!("{at}.{name}"), d, config.eps);
    Ok(Block {
        attention: Residual(Chain::new(vec![
            Box::new(norm(names.norm1)?),
            Box::new(attention),
        ])),
        mlp: Residual(Chain::new(vec![
            Box::new(norm(names.norm2)?),
            Box::new(linear(
                weights,
                &format!("{at}.{}", names.up),
                d,
                hidden,
                true,
            )?),
            Box::new(config.activation),
            Box::new(last(names.down, hidden, "ls_2")?),
        ])),
    })
}

struct Names {
    blocks: &'static str,
    norm1: &'static str,
    norm2: &'static str,
    up: &'static str,
    down: &'static str,
}

impl Names {
    fn of(layout: Layout) -> Self {
        match layout {
            Layout::HuggingFace => Self {
                blocks: "encoder.layers",
                norm1: "layer_norm1",
                norm2: "layer_norm2",
                up: "mlp.fc1",
                down: "mlp.fc2",
            },
            Layout::OpenClip => Self {
                blocks: "transformer.resblocks",
                norm1: "ln_1",
                norm2: "ln_2",
                up: "mlp.c_fc",
                down: "mlp.c_proj",
            },
        }
    }
}

/// One block: attention, then a small network at each place, each added to what went in. `[batch, tokens, width]` both ways.
pub struct Block {
    attention: Residual<Chain>,
    mlp: Residual<Chain>,
}

impl Block {
    /// The same block where only the first token of the result is wanted: `[batch, tokens, width]` to `[batch, width]`.
    pub fn first_token_only(self) -> LastBlock {
        LastBlock(self)
    }
}

impl Layer for Block {
    fn eval(&self, x: &Tensor) -> CandleResult<Tensor> {
        self.mlp.eval(&self.attention.eval(x)?)
    }

    fn vjp(&self, x: &Tensor) -> CandleResult<(Tensor, Pullback)> {
        let (y, attention) = self.attention.vjp(x)?;
        let (y, mlp) = self.mlp.vjp(&y)?;
        Ok((y, Box::new(move |grad| attention(&mlp(grad)?))))
    }
}

/// A stack's last block, of whose result only the first token is read: the network behind the attention runs on that one alone.
pub struct LastBlock(Block);

impl Layer for LastBlock {
    fn eval(&self, x: &Tensor) -> CandleResult<Tensor> {
        let y = FirstToken.eval(&self.0.attention.eval(x)?)?;
        self.0.mlp.eval(&y)
    }

    fn vjp(&self, x: &Tensor) -> CandleResult<(Tensor, Pullback)> {
        let (y, attention) = self.0.attention.vjp(x)?;
        let (y, first) = FirstToken.vjp(&y)?;
        let (y, mlp) = self.0.mlp.vjp(&y)?;
        Ok((y, Box::new(move |grad| attention(&first(&mlp(grad)?)?))))
    }
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
    let bias = match bias {
        true => Some(weights.get(&format!("{name}.bias"), &[outputs])?),
        false => None,
    };
    Ok(Linear::new(weight, bias)?)
}

/// The linear layer of that name, with a bias. Its outputs are multiplied by the tensor `scale`, one number for each, if there is one.
fn scaled_linear(
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
