//! SigLIP's "MAP" head (Zhai et al. 2022): attention pooling by a learned query, then a residual MLP.

use candle_core::{Result as CandleResult, Tensor};
use frozen::{Chain, LatentPool, Layer, Linear, Residual};

/// The layers from tokens `[batch, tokens, d]` to `[batch, d]`. `query` is `[d]`, after its projection; `kv` is `[2 d, d]`, the rows of the keys, then
/// those of the values, with its bias.
pub fn map_head(
    query: &Tensor,
    kv: &Tensor,
    kv_bias: &Tensor,
    heads: usize,
    out: Linear,
    mlp: Residual<Chain>,
) -> CandleResult<Vec<Box<dyn Layer>>> {
    let d = query.dim(0)?;
    let (key, value) = (kv.narrow(0, 0, d)?, kv.narrow(0, d, d)?);
    let bias = kv_bias.narrow(0, d, d)?;
    let pool = LatentPool::new(query, &key, &value, Some(&bias), heads)?;
    Ok(vec![Box::new(pool), Box::new(out), Box::new(mlp)])
}
