//! Attention pooling by one learned query.

use candle_core::{D, DType, Result, Tensor, bail};

use crate::host;
use crate::layer::{Layer, Pullback};
use crate::linear::Linear;

/// Attention of one query that is part of the weights: [b, n, d] to [b, heads dv]. SigLIP's "MAP" head without its last layers, and the
/// contrastive pooling of CoCa (Lee et al. 2019, Zhai et al. 2022).
///
/// A query that never changes is multiplied with the weights of the keys once, so that a token's scores are one product with [heads, d]. Nor are
/// values computed for each token: those of a head are linear in the tokens, so that their weighted mean is the value of the tokens' mean.
#[derive(Clone, Debug)]
pub struct LatentPool {
    /// Gives the score of a token for each head, [heads, d]. The bias of the keys adds the same to all scores, which the softmax cancels.
    scores: Linear,
    /// The weights of the values, [heads, d, dv].
    value: Tensor,
    /// [heads dv]
    bias: Option<Tensor>,
}

impl LatentPool {
    /// `query` is [heads dk], after its projection, and `key` is [heads dk, d]; `value` is [heads dv, d], and its bias [heads dv].
    ///
    /// # Errors
    /// Where the shapes, types or devices do not fit together.
    pub fn new(
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        value_bias: Option<&Tensor>,
        heads: usize,
    ) -> Result<Self> {
        let ((keys, d), (values, other)) = (key.dims2()?, value.dims2()?);
        let fits = query.dims() == [keys]
            && other == d
            && value_bias.is_none_or(|bias| bias.dims() == [values]);
        if !fits {
            bail!(
                "LatentPool: a query {:?}, keys {:?}, values {:?} and their bias {:?} do not fit together",
                query.shape(),
                key.shape(),
                value.shape(),
                value_bias.map(Tensor::shape)
            );
        }
        if heads == 0 || keys == 0 || values == 0 || keys % heads != 0 || values % heads != 0 {
            bail!("LatentPool: {keys} and {values} channels do not divide into {heads} heads");
        }
        for other in [Some(query), Some(value), value_bias].into_iter().flatten() {
            host::check_kind("LatentPool", other, key)?;
        }
        // a sum of many products: half precision has too few digits
        let kind = key.dtype();
        let wide = |x: &Tensor| match kind {
            DType::F16 | DType::BF16 => x.to_dtype(DType::F32),
            _ => Ok(x.clone()),
        };
        let size = keys / heads;
        let query = wide(query)?.reshape((heads, 1, size))?;
        let scores = query.matmul(&wide(key)?.reshape((heads, size, d))?)?;
        let scores = (scores.squeeze(1)? * (1.0 / (size as f64).sqrt()))?;
        Ok(Self {
            scores: Linear::new(scores.to_dtype(kind)?, None)?,
            value: (value.detach().reshape((heads, values / heads, d))?)
                .transpose(1, 2)?
                .contiguous()?,
            bias: value_bias
                .map(|bias| bias.detach().contiguous())
                .transpose()?,
        })
    }

    /// How much each head looks at each token, [b, heads, n].
    fn weights(&self, x: &Tensor) -> Result<Tensor> {
        if x.rank() != 3 || x.dims()[1] == 0 {
            bail!(
                "LatentPool: expected [batch, n, {}], found {:?}",
                self.scores.input_size(),
                x.shape()
            );
        }
        let scores = self.scores.eval(x)?.transpose(1, 2)?.contiguous()?;
        let e = (scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?).exp()?;
        e.broadcast_div(&e.sum_keepdim(D::Minus1)?)
    }

    /// The values of each head's mean of tokens; `weights` is [b, heads, n].
    fn values(&self, x: &Tensor, weights: &Tensor) -> Result<Tensor> {
        let means = weights.matmul(x)?.transpose(0, 1)?.contiguous()?;
        let y = means
            .matmul(&self.value)?
            .transpose(0, 1)?
            .flatten_from(1)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => y.contiguous(),
        }
    }

    /// With p the weights and m the gradient of the heads' means: `ds = p (m x^T - sum(p m x^T))`, `dx = ds^T a + p^T m`.
    fn pull(&self, x: &Tensor, p: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let (heads, _, dv) = self.value.dims3()?;
        let batch = x.dim(0)?;
        let g = grad
            .reshape((batch, heads, dv))?
            .transpose(0, 1)?
            .contiguous()?;
        let m = g.matmul(&self.value.transpose(1, 2)?.contiguous()?)?;
        let m = m.transpose(0, 1)?.contiguous()?;
        let dp = m.matmul(&x.transpose(1, 2)?.contiguous()?)?;
        let mean = (&dp * p)?.sum_keepdim(D::Minus1)?;
        let ds = (dp.broadcast_sub(&mean)? * p)?;
        let a = self.scores.weight();
        let a = a.unsqueeze(0)?.expand((batch, heads, a.dim(1)?))?;
        let left = Tensor::cat(&[&ds, p], 1)?.transpose(1, 2)?.contiguous()?;
        left.matmul(&Tensor::cat(&[&a.contiguous()?, &m], 1)?)
    }
}

impl Layer for LatentPool {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.contiguous()?;
        self.values(&x, &self.weights(&x)?)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let x = x.contiguous()?.detach();
        let weights = self.weights(&x)?;
        let y = self.values(&x, &weights)?;
        let (layer, shape) = (self.clone(), y.shape().clone());
        let pullback = move |grad: &Tensor| {
            host::check_grad("LatentPool", grad, &shape)?;
            layer.pull(&x, &weights, grad)
        };
        Ok((y, Box::new(pullback)))
    }
}
