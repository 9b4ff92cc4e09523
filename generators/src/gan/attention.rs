//! lightweight-gan's attention over images, of candle's operations.

use candle_core::{D, Result, Tensor};

/// The numbers of a head.
const HEAD: usize = 64;
/// Keeps the normalisation from dividing by 0.
const EPS: f64 = 1e-5;
/// A pixel and its neighbours.
const SIDE: usize = 3;

/// Attention of each pixel to its neighbours and itself, `[inner, c, 1, 1]` and `[2 inner, c, 1, 1]`.
pub(super) struct LocalAttention {
    pub query: Tensor,
    pub pair: Tensor,
}

/// The attention of an image `[1, c, h, w]` that is normalised over its channels by `norm`, gain and shift. `linear` is of linear attention (Shen
/// et al. 2021) the query, the depthwise convolution of keys and values, and their projection; `output` is the last projection and its bias.
///
/// # Errors
/// As a clause, where the heads do not divide the channels.
pub(super) fn attention(
    [gain, shift]: [Tensor; 2],
    linear: [Tensor; 3],
    local: Option<LocalAttention>,
    [output, bias]: [Tensor; 2],
) -> std::result::Result<impl Fn(&Tensor) -> Result<Tensor> + Send + Sync, String> {
    let inner = linear[0].dims()[0];
    if !inner.is_multiple_of(HEAD) {
        return Err(format!(
            "is attention of {inner} channels, which do not divide into heads of {HEAD}"
        ));
    }
    let heads = inner / HEAD;
    Ok(move |x: &Tensor| {
        let centred = x.broadcast_sub(&x.mean_keepdim(1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(1)? + EPS)?.sqrt()?;
        let x = centred.broadcast_div(&deviation)?;
        let x = x.broadcast_mul(&gain)?.broadcast_add(&shift)?;
        let mut seen = linear_attention(&x, &linear, heads)?.gelu_erf()?;
        if let Some(local) = &local {
            seen = Tensor::cat(&[&seen, &local.apply(&x, heads)?], 1)?;
        }
        seen.conv2d(&output, 0, 1, 1, 1)?.broadcast_add(&bias)
    })
}

fn softmax(x: &Tensor, dim: D) -> Result<Tensor> {
    let e = x.broadcast_sub(&x.detach().max_keepdim(dim)?)?.exp()?;
    e.broadcast_div(&e.sum_keepdim(dim)?)
}

/// Keys and values are summed over all pixels before queries see them.
fn linear_attention(x: &Tensor, weights: &[Tensor; 3], heads: usize) -> Result<Tensor> {
    let (_, c, h, w) = x.dims4()?;
    let [query, depthwise, pair] = weights;
    let split = |x: &Tensor| x.reshape((heads, HEAD, h * w));
    let q = split(&x.conv2d(query, 0, 1, 1, 1)?)?;
    let pairs = x.conv2d(depthwise, 1, 1, 1, c)?.conv2d(pair, 0, 1, 1, 1)?;
    let inner = heads * HEAD;
    let k = split(&pairs.narrow(1, 0, inner)?.contiguous()?)?;
    let v = split(&pairs.narrow(1, inner, inner)?.contiguous()?)?;
    let q = (softmax(&q, D::Minus2)? * (HEAD as f64).powf(-0.5))?;
    let k = softmax(&k, D::Minus1)?;
    // [heads, of a key, of a value]
    let context = k.matmul(&v.transpose(1, 2)?.contiguous()?)?;
    let y = context.transpose(1, 2)?.contiguous()?.matmul(&q)?;
    y.reshape((1, inner, h, w))
}

impl LocalAttention {
    fn apply(&self, x: &Tensor, heads: usize) -> Result<Tensor> {
        let (_, _, h, w) = x.dims4()?;
        let inner = heads * HEAD;
        let scale = (HEAD as f64).powf(-0.5);
        let q = (x.conv2d(&self.query, 0, 1, 1, 1)? * scale)?;
        let q = q.reshape((heads, HEAD, 1, h * w))?;
        let pairs = x.conv2d(&self.pair, 0, 1, 1, 1)?;
        // [heads, HEAD, neighbours, h w], zeros beyond the edges
        let neighbours = |start: usize| -> Result<Tensor> {
            let x = pairs.narrow(1, start, inner)?;
            let border = SIDE / 2;
            let x = x.pad_with_zeros(2, border, border)?;
            let x = x.pad_with_zeros(3, border, border)?;
            let mut all = vec![];
            for row in 0..SIDE {
                for column in 0..SIDE {
                    let part = x.narrow(2, row, h)?.narrow(3, column, w)?;
                    all.push(part.contiguous()?.reshape((heads, HEAD, 1, h * w))?);
                }
            }
            Tensor::cat(&all, 2)
        };
        let (k, v) = (neighbours(0)?, neighbours(inner)?);
        let scores = softmax(&k.broadcast_mul(&q)?.sum_keepdim(1)?, D::Minus2)?;
        let y = v.broadcast_mul(&scores)?.sum(2)?;
        y.reshape((1, inner, h, w))
    }
}
