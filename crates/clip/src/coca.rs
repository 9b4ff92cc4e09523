//! The contrastive part of CoCa (Yu et al. 2022) in open_clip: attention pooling of the image's tokens, and a text transformer with a class token
//! behind the text. Its decoder, which writes captions, is not read.

use candle_core::{D, Device, Result as CandleResult, Tensor};
use frozen::{Chain, LatentPool, Layer, LayerNorm, Linear, Residual};

use crate::config::TextConfig;
use crate::token_table::TokenTable;
use crate::transformer::{self, layer_norm, linear};
use weights::checkpoint::{Branch, CheckpointError};

/// Names of tensors that begin so belong to the decoder.
pub const DECODER: &str = "text_decoder.";
const POOL: &str = "visual.attn_pool";

/// The layers from an image's tokens `[batch, tokens, d]` to `[batch, outputs]`: attention of many learned queries to the normalised tokens, of which
/// the first alone counts for the embedding.
pub fn image_pool(
    weights: Branch<'_>,
    d: usize,
    outputs: usize,
    heads: usize,
    eps: f64,
) -> Result<Vec<Box<dyn Layer>>, CheckpointError> {
    let name = |part: &str| format!("{POOL}.{part}");
    let [queries, _] = weights.dims(&name("query"))?;
    let queries = weights.get(&name("query"), &[queries, outputs])?;
    let query =
        layer_norm(weights, &name("ln_q"), outputs, eps)?.eval(&queries.narrow(0, 0, 1)?)?;
    // PyTorch stores the three projections as one tensor where their widths are the same
    let [q, k, v] = if d == outputs {
        let all = weights.get(&name("attn.in_proj_weight"), &[3 * d, d])?;
        let part = |index: usize| all.narrow(0, index * d, d);
        [part(0)?, part(1)?, part(2)?]
    } else {
        let part = |part: &str, inputs: usize| {
            weights.get(
                &name(&format!("attn.{part}_proj_weight")),
                &[outputs, inputs],
            )
        };
        [part("q", outputs)?, part("k", d)?, part("v", d)?]
    };
    let bias = weights.get(&name("attn.in_proj_bias"), &[3 * outputs])?;
    let query = Linear::new(q, Some(bias.narrow(0, 0, outputs)?))?.eval(&query)?;
    let value_bias = bias.narrow(0, 2 * outputs, outputs)?;
    let pool = LatentPool::new(&query.squeeze(0)?, &k, &v, Some(&value_bias), heads)?;
    Ok(vec![
        Box::new(layer_norm(weights, &name("ln_k"), d, eps)?),
        Box::new(pool),
        Box::new(linear(
            weights,
            &name("attn.out_proj"),
            outputs,
            outputs,
            true,
        )?),
    ])
}

/// CoCa's text tower, forward alone: texts are never optimised.
pub struct CocaTextTower {
    tokens: TokenTable,
    /// The class token, `[1, 1, width]`.
    class: Tensor,
    /// `[context + 1, width]`
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    projection: Linear,
    padding: u32,
    device: Device,
}

/// A block whose attention has a mask.
struct Block {
    norm: LayerNorm,
    qkv: Linear,
    out: Linear,
    heads: usize,
    mlp: Residual<Chain>,
}

impl CocaTextTower {
    /// Reads the text tower of a checkpoint.
    pub fn read(
        weights: Branch<'_>,
        config: &TextConfig,
        padding: u32,
        outputs: usize,
        device: &Device,
    ) -> Result<Self, CheckpointError> {
        let stack = &config.stack;
        let d = stack.width;
        let block = |index: usize| {
            let at = format!("text.transformer.resblocks.{index}");
            let name = |part: &str| format!("{at}.{part}");
            let weight = weights.get(&name("attn.in_proj_weight"), &[3 * d, d])?;
            let bias = weights.get(&name("attn.in_proj_bias"), &[3 * d])?;
            let names = [name("ln_2"), name("mlp.c_fc"), name("mlp.c_proj")];
            let names = names.each_ref().map(String::as_str);
            let sizes = [d, stack.hidden];
            Ok(Block {
                norm: layer_norm(weights, &name("ln_1"), d, stack.eps)?,
                qkv: Linear::new(weight, Some(bias))?,
                out: linear(weights, &name("attn.out_proj"), d, d, true)?,
                heads: stack.heads,
                mlp: transformer::mlp(weights, names, sizes, stack.activation, stack.eps)?,
            })
        };
        let blocks = (0..stack.layers).map(block);
        let projection = weights.get("text.text_projection", &[d, outputs])?;
        let table = [config.vocabulary, d];
        Ok(Self {
            tokens: TokenTable::read(weights, "text.token_embedding.weight", table, device)?,
            class: weights.get("text.cls_emb", &[d])?.reshape((1, 1, d))?,
            positions: weights.get("text.positional_embedding", &[config.context + 1, d])?,
            blocks: blocks.collect::<Result<_, CheckpointError>>()?,
            norm: layer_norm(weights, "text.ln_final", d, stack.eps)?,
            projection: Linear::new(projection.t()?.contiguous()?, None)?,
            padding,
            device: device.clone(),
        })
    }

    /// How many tokens its table has.
    pub fn vocabulary(&self) -> usize {
        self.tokens.rows()
    }

    /// The embedding `[outputs]` of one text, not yet of unit length. `ids` are its tokens, padded to the context.
    pub fn embed(&self, ids: &[u32]) -> CandleResult<Tensor> {
        let x = Tensor::cat(&[&self.tokens.lookup(ids)?, &self.class], 1)?;
        let mut x = x.broadcast_add(&self.positions)?;
        let mask = self.mask(ids)?.to_dtype(x.dtype())?;
        for block in &self.blocks {
            x = block.eval(&x, &mask)?;
        }
        let class = x.narrow(1, ids.len(), 1)?.squeeze(1)?.contiguous()?;
        self.projection.eval(&self.norm.eval(&class)?)?.squeeze(0)
    }

    /// What is added to the scores of all pairs of tokens: a token sees itself and those before it that do not follow on padding. That the
    /// mask is late by one token, so that the class token sees the first of the padding, and itself behind a full text alone, is a slip that the
    /// published weights were trained with.
    fn mask(&self, ids: &[u32]) -> CandleResult<Tensor> {
        let count = ids.len() + 1;
        let hidden = |key: usize| key > 0 && ids[key - 1] == self.padding;
        let mask = (0..count).flat_map(|query| {
            (0..count).map(move |key| {
                if key > query || hidden(key) {
                    f32::NEG_INFINITY
                } else {
                    0.0
                }
            })
        });
        Tensor::from_vec(mask.collect(), (count, count), &self.device)
    }
}

impl Block {
    /// `[1, tokens, width]` in and out.
    fn eval(&self, x: &Tensor, mask: &Tensor) -> CandleResult<Tensor> {
        let (_, count, width) = x.dims3()?;
        let head = width / self.heads;
        let qkv = self.qkv.eval(&self.norm.eval(x)?)?;
        let qkv = qkv.reshape((count, 3, self.heads, head))?;
        // [heads, tokens, head]
        let part = |index: usize| {
            let part = qkv.narrow(1, index, 1)?.squeeze(1)?;
            part.transpose(0, 1)?.contiguous()
        };
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let scores = (q.matmul(&k.t()?.contiguous()?)? * (head as f64).powf(-0.5))?;
        let scores = scores.broadcast_add(mask)?;
        // the first token is always seen
        let weights = scores
            .broadcast_sub(&scores.max_keepdim(D::Minus1)?)?
            .exp()?;
        let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
        let y = weights.matmul(&v)?.transpose(0, 1)?.contiguous()?;
        let y = self.out.eval(&y.reshape((1, count, width))?)?;
        self.mlp.eval(&(x + y)?)
    }
}
