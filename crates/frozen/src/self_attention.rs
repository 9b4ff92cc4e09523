//! Self-attention with its projections.

use candle_core::{D, Result, Tensor, bail};

use crate::attention::{attend, composed, pull_composed, pull_fused};
use crate::host::{self, Kernel, fused};
use crate::layer::{Layer, Pullback};
use crate::linear::Linear;
use crate::norm::LayerNorm;
use crate::rope::Rope;

/// Self-attention with its projections: [b, n, d] to [b, n, d].
#[derive(Clone, Debug)]
pub struct SelfAttention {
    qkv: Linear,
    out: Linear,
    heads: usize,
    causal: bool,
    rope: Option<Rope>,
    norm: Option<LayerNorm>,
}

impl SelfAttention {
    /// `q`, `k` and `v` take d to heads x dh, and `out` takes heads x dh back; they are fused to one product.
    ///
    /// # Errors
    /// Where the projections do not fit together.
    pub fn new(
        q: Linear,
        k: Linear,
        v: Linear,
        out: Linear,
        heads: usize,
        causal: bool,
    ) -> Result<Self> {
        let parts = [&q, &k, &v];
        let weight = Tensor::cat(&parts.map(Linear::weight), 0)?;
        let bias = if parts.iter().any(|part| part.bias().is_some()) {
            let bias = |part: &Linear| match part.bias() {
                Some(bias) => Ok(bias.clone()),
                None => Tensor::zeros(part.output_size(), weight.dtype(), weight.device()),
            };
            Some(Tensor::cat(&[bias(&q)?, bias(&k)?, bias(&v)?], 0)?)
        } else {
            None
        };
        if k.output_size() != q.output_size() || v.output_size() != q.output_size() {
            bail!(
                "SelfAttention: q, k and v must have one output size, found {}, {}, {}",
                q.output_size(),
                k.output_size(),
                v.output_size()
            );
        }
        Self::fused(weight, bias, out, heads, causal)
    }

    /// `qkv_weight` is [3 heads dh, d]: the rows of q, then of k, then of v. `qkv_bias` is [3 heads dh].
    ///
    /// # Errors
    /// Where the projections do not fit together.
    pub fn fused(
        qkv_weight: Tensor,
        qkv_bias: Option<Tensor>,
        out: Linear,
        heads: usize,
        causal: bool,
    ) -> Result<Self> {
        let qkv = Linear::new(qkv_weight, qkv_bias)?;
        let (rows, inner) = (qkv.output_size(), out.input_size());
        if rows != 3 * inner || inner == 0 {
            bail!(
                "SelfAttention: the q, k, v projection has {rows} rows, the output's input is {inner}"
            );
        }
        if heads == 0 || inner % heads != 0 {
            bail!("SelfAttention: {inner} channels do not divide into {heads} heads");
        }
        host::check_kind("SelfAttention", out.weight(), qkv.weight())?;
        Ok(Self {
            qkv,
            out,
            heads,
            causal,
            rope: None,
            norm: None,
        })
    }

    /// The same with queries and keys turned by the positions of their tokens.
    pub fn rotating(self, rope: Rope) -> Self {
        Self {
            rope: Some(rope),
            ..self
        }
    }

    /// The same with the joined heads normalised before the last projection, as in EVA-02.
    pub fn normalizing(self, norm: LayerNorm) -> Self {
        Self {
            norm: Some(norm),
            ..self
        }
    }

    /// Queries and keys of the projected input, turned.
    fn turned(&self, qkv: Tensor) -> Result<Tensor> {
        match &self.rope {
            Some(rope) => rope.turn(qkv, self.heads, false),
            None => Ok(qkv),
        }
    }

    /// q, k and v of [b, n, 3 heads dh] as [b, heads, n, dh] windows on it.
    fn parts(&self, qkv: &Tensor) -> Result<[Tensor; 3]> {
        let (b, n, _) = qkv.dims3()?;
        let all = qkv.reshape((b, n, 3, self.heads, ()))?;
        let part = |i| all.narrow(2, i, 1)?.squeeze(2)?.transpose(1, 2);
        Ok([part(0)?, part(1)?, part(2)?])
    }

    fn check(&self, x: &Tensor) -> Result<()> {
        if x.rank() != 3 || x.dims()[1] == 0 {
            bail!(
                "SelfAttention: expected [batch, n, {}], found {:?}",
                self.qkv.input_size(),
                x.shape()
            );
        }
        Ok(())
    }

    /// Attention over the projected input: [b, n, 3 heads dh] to [b, n, heads dh].
    fn attend(&self, qkv: &Tensor) -> Result<Tensor> {
        let [q, k, v] = self.parts(qkv)?;
        let y = fused!(
            qkv,
            attend(&q, &k, &v, self.causal),
            composed(&q, &k, &v, self.causal)
        )?;
        y.transpose(1, 2)?.flatten_from(2)
    }

    fn pull(&self, qkv: &Tensor, grad: &Tensor) -> Result<Tensor> {
        let (b, n, inner) = grad.dims3()?;
        let grad = grad
            .reshape((b, n, self.heads, inner / self.heads))?
            .transpose(1, 2)?;
        let [q, k, v] = self.parts(qkv)?;
        let grad = match Kernel::of(qkv) {
            Kernel::F32 => pull_fused::<f32>(&q, &k, &v, &grad, self.causal),
            Kernel::F64 => pull_fused::<f64>(&q, &k, &v, &grad, self.causal),
            Kernel::Composed => {
                let (q, k, v) = pull_composed(&q, &k, &v, &grad, self.causal)?;
                let flat = |x: Tensor| x.transpose(1, 2)?.flatten_from(2);
                Tensor::cat(&[flat(q)?, flat(k)?, flat(v)?], D::Minus1)
            }
        }?;
        match &self.rope {
            Some(rope) => rope.turn(grad, self.heads, true),
            None => Ok(grad),
        }
    }
}

impl Layer for SelfAttention {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        self.check(x)?;
        let y = self.attend(&self.turned(self.qkv.eval(x)?)?)?;
        match &self.norm {
            Some(norm) => self.out.eval(&norm.eval(&y)?),
            None => self.out.eval(&y),
        }
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        self.check(x)?;
        let (qkv, to_x) = self.qkv.vjp(x)?;
        let qkv = self.turned(qkv)?;
        let heads = self.attend(&qkv)?;
        let (heads, through_norm) = match &self.norm {
            Some(norm) => {
                let (heads, pullback) = norm.vjp(&heads)?;
                (heads, Some(pullback))
            }
            None => (heads, None),
        };
        let (y, to_heads) = self.out.vjp(&heads)?;
        let layer = self.clone();
        let pullback = move |grad: &Tensor| {
            let mut grad = to_heads(grad)?;
            if let Some(through_norm) = &through_norm {
                grad = through_norm(&grad)?;
            }
            to_x(&layer.pull(&qkv, &grad)?)
        };
        Ok((y, Box::new(pullback)))
    }
}
