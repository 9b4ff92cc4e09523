//! Text towers that open_clip takes from transformers (`hf_model_name`): encoders that see all of a text's tokens. Forward alone, because texts are
//! never optimised.
//!
//! candle-transformers has an XLM-RoBERTa, but reads it from safetensors alone, with its whole table of 250,000 tokens, which takes more memory than
//! the rest of the tower; and it has no encoder of NLLB's. The layers of [`frozen`] make both, from any checkpoint, with the table in its file.

use candle_core::{DType, Device, Result as CandleResult, Tensor};
use frozen::{Activation, Chain, Layer, LayerNorm, Residual, SelfAttention};

use crate::config::{HfFamily, HfProjection, HfTextConfig, TextConfig, TextPool};
use crate::token_table::TokenTable;
use crate::transformer::{layer_norm, linear};
use weights::checkpoint::{Branch, CheckpointError};

/// The prefix of the encoder's names.
const ENCODER: &str = "text.transformer";
/// The table of sines and cosines, which older versions of transformers stored.
pub const SINUSOIDS: &str = "text.transformer.embed_positions.";
/// What the tensors do not show, and is the same in all published ones: channels of a head, the id of the padding, and what is added to the
/// variance in layer norms.
const HEAD: usize = 64;
const PADDING: u32 = 1;
const EPS: f64 = 1e-5;
/// Positions are counted from here: the first numbers belong to the padding.
const FIRST_POSITION: usize = PADDING as usize + 1;

/// An encoder from transformers with open_clip's pooling and projection. Its sizes are those of its tensors.
pub struct HfTextTower {
    tokens: TokenTable,
    /// What token embeddings are multiplied with.
    scale: f64,
    positions: Positions,
    encoder: Chain,
    first: bool,
    projection: Chain,
    device: Device,
}

/// The position embeddings, which are added to the embeddings of the tokens.
enum Positions {
    /// A table, `[positions, width]`.
    Learned(Tensor),
    /// Sines and cosines of the position.
    Sinusoidal,
}

impl HfTextTower {
    /// Reads the tower of a checkpoint; its embeddings have `outputs` numbers.
    pub fn read(
        weights: Branch<'_>,
        config: &TextConfig,
        hf: &HfTextConfig,
        outputs: usize,
        device: &Device,
    ) -> Result<Self, CheckpointError> {
        let name = |part: &str| format!("{ENCODER}.{part}");
        let table = name(match hf.family {
            HfFamily::Roberta => "embeddings.word_embeddings.weight",
            HfFamily::M2m100 => "embed_tokens.weight",
        });
        let [vocabulary, d] = weights.dims(&table)?;
        let mut layers: Vec<Box<dyn Layer>> = vec![];
        let norm = |part: &str| layer_norm(weights, &name(part), d, EPS);
        let (scale, positions) = match hf.family {
            HfFamily::Roberta => {
                let key = name("embeddings.position_embeddings.weight");
                let [count, _] = weights.dims(&key)?;
                let positions = weights.get(&key, &[count, d])?;
                // all tokens of a text are of the first type
                let key = name("embeddings.token_type_embeddings.weight");
                let [types, _] = weights.dims(&key)?;
                let kind = weights.get(&key, &[types, d])?.narrow(0, 0, 1)?;
                layers.push(Box::new(norm("embeddings.LayerNorm")?));
                (1.0, Positions::Learned(positions.broadcast_add(&kind)?))
            }
            HfFamily::M2m100 => ((d as f64).sqrt(), Positions::Sinusoidal),
        };
        let (blocks, mark) = match hf.family {
            HfFamily::Roberta => (name("encoder.layer"), "output.dense.weight"),
            HfFamily::M2m100 => (name("layers"), "fc2.weight"),
        };
        let is_there = |index: &usize| weights.has(&format!("{blocks}.{index}.{mark}"));
        // where there is none, the first is missed by its name
        let count = (0..).take_while(is_there).count().max(1);
        for index in 0..count {
            let at = format!("{blocks}.{index}");
            layers.extend(match hf.family {
                HfFamily::Roberta => roberta_block(weights, &at, d)?,
                HfFamily::M2m100 => m2m100_block(weights, &at, d)?,
            });
        }
        if hf.family == HfFamily::M2m100 {
            layers.push(Box::new(norm("layer_norm")?));
        }
        Ok(Self {
            tokens: TokenTable::read(weights, &table, [vocabulary, d], device)?,
            scale,
            positions,
            encoder: Chain::new(layers),
            first: config.pool == TextPool::First,
            projection: projection(weights, hf.projection, d, outputs)?,
            device: device.clone(),
        })
    }

    /// How many tokens its table has.
    pub fn vocabulary(&self) -> usize {
        self.tokens.rows()
    }

    /// The embedding `[outputs]` of one text, not yet of unit length. Padding among its tokens is not seen.
    pub fn embed(&self, ids: &[u32]) -> CandleResult<Tensor> {
        let ids: Vec<u32> = (ids.iter().copied()).filter(|id| *id != PADDING).collect();
        let x = (self.tokens.lookup(&ids)? * self.scale)?;
        let positions = self.positions(ids.len(), x.dim(2)?, x.dtype())?;
        let x = self.encoder.eval(&x.broadcast_add(&positions)?)?;
        let pooled = if self.first {
            x.narrow(1, 0, 1)?.squeeze(1)?
        } else {
            x.mean(1)?
        };
        self.projection.eval(&pooled.contiguous()?)?.squeeze(0)
    }

    /// What is added to that many tokens.
    fn positions(&self, count: usize, width: usize, dtype: DType) -> CandleResult<Tensor> {
        match &self.positions {
            Positions::Learned(table) => {
                let most = table.dim(0)?.saturating_sub(FIRST_POSITION);
                if count > most {
                    candle_core::bail!("the text has {count} tokens, and the tower reads {most}");
                }
                table.narrow(0, FIRST_POSITION, count)
            }
            Positions::Sinusoidal => {
                let half = width / 2;
                let rate = 10_000f64.ln() / (half.saturating_sub(1).max(1)) as f64;
                let mut values = Vec::with_capacity(count * width);
                for position in FIRST_POSITION..FIRST_POSITION + count {
                    let angle = |k: usize| position as f64 * (-rate * k as f64).exp();
                    values.extend((0..half).map(|k| angle(k).sin() as f32));
                    values.extend((0..half).map(|k| angle(k).cos() as f32));
                    values.resize(values.len() + width % 2, 0.0);
                }
                Tensor::from_vec(values, (count, width), &self.device)?.to_dtype(dtype)
            }
        }
    }
}

/// A block of BERT's and RoBERTa's: attention, then an MLP for each token, both residual and normalised afterwards.
fn roberta_block(
    weights: Branch<'_>,
    at: &str,
    d: usize,
) -> Result<Vec<Box<dyn Layer>>, CheckpointError> {
    let up = format!("{at}.intermediate.dense");
    let [hidden, _] = weights.dims(&format!("{up}.weight"))?;
    let qkv = ["query", "key", "value"].map(|part| format!("{at}.attention.self.{part}"));
    let attention = attention(weights, &qkv, &format!("{at}.attention.output.dense"), d)?;
    let norm = |name: &str| layer_norm(weights, &format!("{at}.{name}.LayerNorm"), d, EPS);
    let mlp = Chain::new(vec![
        Box::new(linear(weights, &up, d, hidden, true)?),
        Box::new(Activation::Gelu),
        Box::new(linear(
            weights,
            &format!("{at}.output.dense"),
            hidden,
            d,
            true,
        )?),
    ]);
    Ok(vec![
        Box::new(Residual(attention)),
        Box::new(norm("attention.output")?),
        Box::new(Residual(mlp)),
        Box::new(norm("output")?),
    ])
}

/// A block of M2M100's encoder, which NLLB is: attention, then an MLP for each token, both residual and normalised before.
fn m2m100_block(
    weights: Branch<'_>,
    at: &str,
    d: usize,
) -> Result<Vec<Box<dyn Layer>>, CheckpointError> {
    let [hidden, _] = weights.dims(&format!("{at}.fc1.weight"))?;
    let qkv = ["q_proj", "k_proj", "v_proj"].map(|part| format!("{at}.self_attn.{part}"));
    let attention = attention(weights, &qkv, &format!("{at}.self_attn.out_proj"), d)?;
    let norm = |name: &str| -> Result<LayerNorm, CheckpointError> {
        layer_norm(weights, &format!("{at}.{name}"), d, EPS)
    };
    let attention = Chain::new(vec![
        Box::new(norm("self_attn_layer_norm")?),
        Box::new(attention),
    ]);
    let mlp = Chain::new(vec![
        Box::new(norm("final_layer_norm")?),
        Box::new(linear(weights, &format!("{at}.fc1"), d, hidden, true)?),
        Box::new(Activation::Relu),
        Box::new(linear(weights, &format!("{at}.fc2"), hidden, d, true)?),
    ]);
    Ok(vec![Box::new(Residual(attention)), Box::new(Residual(mlp))])
}

fn attention(
    weights: Branch<'_>,
    qkv: &[String; 3],
    out: &str,
    d: usize,
) -> Result<SelfAttention, CheckpointError> {
    let read = |name: &str| linear(weights, name, d, d, true);
    let [q, k, v] = qkv;
    Ok(SelfAttention::new(
        read(q)?,
        read(k)?,
        read(v)?,
        read(out)?,
        d / HEAD,
        false,
    )?)
}

/// The layers from the pooled state to the embedding.
fn projection(
    weights: Branch<'_>,
    kind: HfProjection,
    d: usize,
    outputs: usize,
) -> Result<Chain, CheckpointError> {
    let layers: Vec<Box<dyn Layer>> = match kind {
        HfProjection::None if d != outputs => {
            let what = format!(
                "the text tower is {d} wide and has no projection (`hf_proj_type`) to the joint space of {outputs}"
            );
            return Err(candle_core::Error::Msg(what).into());
        }
        HfProjection::None => vec![],
        HfProjection::Linear => vec![Box::new(linear(weights, "text.proj", d, outputs, false)?)],
        HfProjection::Mlp => {
            let hidden = (d + outputs) / 2;
            vec![
                Box::new(linear(weights, "text.proj.0", d, hidden, false)?),
                Box::new(Activation::Gelu),
                Box::new(linear(weights, "text.proj.2", hidden, outputs, false)?),
            ]
        }
    };
    Ok(Chain::new(layers))
}
