//! The transformers of Stable Diffusion's U-Net: self-attention over pixels, then cross-attention to a text (Rombach et al. 2022, section 3.3).

use candle_core::{D, Result, Tensor, bail};
use frozen::{
    Activation, Chain, Layer, LayerNorm, Linear, Pullback, Residual, SelfAttention,
    scaled_dot_product,
};
use weights::checkpoint::Branch;

use crate::layers::{Loaded, Norm, NormStyle, OverPixels, linear, linear_of_conv};

/// Of the group normalisation in front, whatever the network's other normalisations have.
const GROUP_EPS: f64 = 1e-6;
const LAYER_EPS: f64 = 1e-5;
/// How much wider the feed-forward network is than its input.
const WIDER: usize = 4;

/// The configuration of a transformer.
#[derive(Clone, Copy)]
pub(super) struct TransformerStyle {
    /// Groups of the normalisation in front.
    pub groups: usize,
    pub heads: usize,
    /// Channels of the text.
    pub context: usize,
    /// How many blocks there are.
    pub layers: usize,
    /// Whether the projections are kept as linear layers, not as convolutions of one pixel.
    pub linear: bool,
}

/// diffusers' `Transformer2DModel`, added to its input.
pub(super) struct Transformer {
    norm: Norm,
    project_in: Linear,
    blocks: Vec<Block>,
    project_out: Linear,
}

impl Transformer {
    pub fn load(
        weights: Branch,
        key: &str,
        channels: usize,
        style: TransformerStyle,
    ) -> Loaded<Self> {
        let norm = NormStyle {
            groups: style.groups,
            eps: GROUP_EPS,
        };
        let project = |part: &str| {
            let name = format!("{key}.{part}");
            if style.linear {
                linear(weights, &name, [channels, channels])
            } else {
                linear_of_conv(weights, &name, channels)
            }
        };
        Ok(Self {
            norm: Norm::load(weights, &format!("{key}.norm"), channels, norm)?,
            project_in: project("proj_in")?,
            blocks: (0..style.layers)
                .map(|i| {
                    let key = format!("{key}.transformer_blocks.{i}");
                    Block::load(weights, &key, channels, style)
                })
                .collect::<Loaded<_>>()?,
            project_out: project("proj_out")?,
        })
    }

    /// The transformer over the pixels of [b, channels, h, w], conditioned on a text [1, tokens, context].
    pub fn at(&self, context: &Tensor) -> Result<Box<dyn Layer>> {
        let mut layers: Vec<Box<dyn Layer>> = vec![Box::new(self.project_in.clone())];
        for block in &self.blocks {
            block.push(context, &mut layers)?;
        }
        layers.push(Box::new(self.project_out.clone()));
        Ok(Box::new(Residual(Chain::new(vec![
            Box::new(self.norm.layer()?),
            Box::new(OverPixels(Chain::new(layers))),
        ]))))
    }
}

/// Attention to the pixels, attention to the text, and a small network, each added to what went in.
struct Block {
    norm1: LayerNorm,
    pixels: SelfAttention,
    norm2: LayerNorm,
    text: CrossAttention,
    norm3: LayerNorm,
    up: Linear,
    down: Linear,
}

impl Block {
    fn load(weights: Branch, key: &str, width: usize, style: TransformerStyle) -> Loaded<Self> {
        let name = |part: &str| format!("{key}.{part}");
        let norm = |part: &str| -> Loaded<LayerNorm> {
            let weight = weights.get(&format!("{key}.{part}.weight"), &[width])?;
            let bias = weights.get(&format!("{key}.{part}.bias"), &[width])?;
            Ok(LayerNorm::new(weight, Some(bias), LAYER_EPS)?)
        };
        let without_bias = |part: &str, input: usize| -> Loaded<Linear> {
            let weight = weights.get(&format!("{key}.{part}.weight"), &[width, input])?;
            Ok(Linear::new(weight, None)?)
        };
        let square = [width, width];
        Ok(Self {
            norm1: norm("norm1")?,
            pixels: SelfAttention::new(
                without_bias("attn1.to_q", width)?,
                without_bias("attn1.to_k", width)?,
                without_bias("attn1.to_v", width)?,
                linear(weights, &name("attn1.to_out.0"), square)?,
                style.heads,
                false,
            )?,
            norm2: norm("norm2")?,
            text: CrossAttention {
                q: without_bias("attn2.to_q", width)?,
                k: without_bias("attn2.to_k", style.context)?,
                v: without_bias("attn2.to_v", style.context)?,
                out: linear(weights, &name("attn2.to_out.0"), square)?,
                heads: style.heads,
            },
            norm3: norm("norm3")?,
            up: linear(weights, &name("ff.net.0.proj"), [width, 2 * WIDER * width])?,
            down: linear(weights, &name("ff.net.2"), [WIDER * width, width])?,
        })
    }

    fn push(&self, context: &Tensor, layers: &mut Vec<Box<dyn Layer>>) -> Result<()> {
        let mut add = |branch| layers.push(Box::new(Residual(Chain::new(branch))));
        add(vec![
            Box::new(self.norm1.clone()),
            Box::new(self.pixels.clone()),
        ]);
        add(vec![
            Box::new(self.norm2.clone()),
            Box::new(self.text.at(context)?),
        ]);
        add(vec![
            Box::new(self.norm3.clone()),
            Box::new(self.up.clone()),
            Box::new(Geglu),
            Box::new(self.down.clone()),
        ]);
        Ok(())
    }
}

/// Attention of one sequence to another.
#[derive(Clone)]
struct CrossAttention {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    heads: usize,
}

/// [b, n, heads dh] as [b, heads, n, dh].
fn split(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (b, n, width) = x.dims3()?;
    x.reshape((b, n, heads, width / heads))?.transpose(1, 2)
}

/// The inverse.
fn merge(x: &Tensor) -> Result<Tensor> {
    x.transpose(1, 2)?.contiguous()?.flatten_from(2)
}

impl CrossAttention {
    /// Attention to a context [1, m, channels] that stays the same.
    fn at(&self, context: &Tensor) -> Result<CrossAttentionAt> {
        let part = |projection: &Linear| split(&projection.eval(context)?, self.heads);
        Ok(CrossAttentionAt {
            k: part(&self.k)?,
            v: part(&self.v)?,
            layer: self.clone(),
        })
    }
}

struct CrossAttentionAt {
    layer: CrossAttention,
    k: Tensor,
    v: Tensor,
}

impl CrossAttentionAt {
    /// Keys and values for a batch of that many.
    fn of_batch(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let (batch, _, _) = x.dims3()?;
        let repeated = |x: &Tensor| match batch {
            1 => Ok(x.clone()),
            _ => x.repeat((batch, 1, 1, 1)),
        };
        Ok((repeated(&self.k)?, repeated(&self.v)?))
    }
}

impl Layer for CrossAttentionAt {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let (k, v) = self.of_batch(x)?;
        let q = split(&self.layer.q.eval(x)?, self.layer.heads)?;
        let (y, _) = scaled_dot_product(&q, &k, &v, false)?;
        self.layer.out.eval(&merge(&y)?)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (k, v) = self.of_batch(x)?;
        let heads = self.layer.heads;
        let (q, pull_q) = self.layer.q.vjp(x)?;
        let (y, pull) = scaled_dot_product(&split(&q, heads)?, &k, &v, false)?;
        let (y, pull_out) = self.layer.out.vjp(&merge(&y)?)?;
        let back = move |grad: &Tensor| {
            let (q, _, _) = pull(&split(&pull_out(grad)?, heads)?)?;
            pull_q(&merge(&q)?)
        };
        Ok((y, Box::new(back)))
    }
}

/// `value * gelu(gate)` of [..., value and gate] (Shazeer 2020, arXiv 2002.05202).
struct Geglu;

impl Geglu {
    fn halves(x: &Tensor) -> Result<(Tensor, Tensor)> {
        let width = x.dim(D::Minus1)?;
        if width % 2 != 0 {
            bail!("Geglu: {width} channels have no halves");
        }
        let half = |start| x.narrow(D::Minus1, start, width / 2)?.contiguous();
        Ok((half(0)?, half(width / 2)?))
    }
}

impl Layer for Geglu {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let (value, gate) = Self::halves(x)?;
        value * Activation::Gelu.eval(&gate)?
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (value, gate) = Self::halves(x)?;
        let (open, pull) = Activation::Gelu.vjp(&gate)?;
        let y = (&value * &open)?;
        let back = move |grad: &Tensor| {
            let gate = pull(&(grad * &value)?)?;
            Tensor::cat(&[(grad * &open)?, gate], D::Minus1)
        };
        Ok((y, Box::new(back)))
    }
}
