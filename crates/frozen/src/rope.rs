//! Rotary position embeddings.

use candle_core::{CpuStorage, D, InplaceOp1, Layout, Result, Tensor, bail};

use crate::host::{self, Kernel, Slice};
use crate::real::{Real, chunks};

/// Rotary position embeddings (Su et al. 2021): each pair of neighbouring channels of a head is turned by an angle that depends on the token.
#[derive(Clone, Debug)]
pub struct Rope {
    /// Of the angles, [n, pairs].
    cos: Tensor,
    sin: Tensor,
}

impl Rope {
    /// `angles` are those of the first token's pairs of channels, then of the second's, and so on, in radians; a head has twice as many channels
    /// as `pairs`. The rotation has the type and device of `like`.
    ///
    /// # Errors
    /// Where the number of angles is not a multiple of `pairs`.
    pub fn new(angles: &[f64], pairs: usize, like: &Tensor) -> Result<Self> {
        if pairs == 0 || !angles.len().is_multiple_of(pairs) {
            bail!(
                "Rope: {} angles are not {pairs} for each token",
                angles.len()
            );
        }
        let shape = [angles.len() / pairs, pairs];
        let table = |f: fn(f64) -> f64| {
            host::constant(angles.iter().map(|angle| f(*angle)).collect(), &shape, like)
        };
        Ok(Self {
            cos: table(f64::cos)?,
            sin: table(f64::sin)?,
        })
    }

    /// Turns q and k of `qkv`, [b, n, 3 heads dh], which nothing else may hold: it is changed in place where the CPU holds it. `back` turns the
    /// other way, which takes a gradient of what was turned to that of what was given.
    pub(crate) fn turn(&self, qkv: Tensor, heads: usize, back: bool) -> Result<Tensor> {
        let (_, n, width) = qkv.dims3()?;
        let (tokens, pairs) = self.cos.dims2()?;
        if n != tokens || width != 6 * heads * pairs {
            bail!(
                "Rope: {tokens} tokens with heads of {} channels were expected, found {:?} with {heads} heads",
                2 * pairs,
                qkv.shape()
            );
        }
        host::check_kind("Rope", &qkv, &self.cos)?;
        if Kernel::of(&qkv) == Kernel::Composed {
            return self.composed(&qkv, heads, back);
        }
        let qkv = qkv.contiguous()?;
        qkv.inplace_op1(&Turn {
            rope: self,
            width,
            back,
        })?;
        Ok(qkv)
    }

    fn composed(&self, qkv: &Tensor, heads: usize, back: bool) -> Result<Tensor> {
        let (b, n, width) = qkv.dims3()?;
        let all = qkv.reshape((b, n, 3 * heads, width / (6 * heads), 2))?;
        let turned = all.narrow(2, 0, 2 * heads)?;
        let (x, y) = (turned.narrow(4, 0, 1)?, turned.narrow(4, 1, 1)?);
        let table = |x: &Tensor| x.reshape((1, n, 1, (), 1));
        let (cos, sin) = (table(&self.cos)?, table(&self.sin)?);
        let sin = if back { sin.neg()? } else { sin };
        let turned = [
            (x.broadcast_mul(&cos)? - y.broadcast_mul(&sin)?)?,
            (y.broadcast_mul(&cos)? + x.broadcast_mul(&sin)?)?,
        ];
        let turned = Tensor::cat(&turned, D::Minus1)?;
        let rest = all.narrow(2, 2 * heads, heads)?;
        Tensor::cat(&[&turned, &rest], 2)?.reshape((b, n, width))
    }
}

/// The rotation in place.
struct Turn<'a> {
    rope: &'a Rope,
    /// Of q, k and v of a token.
    width: usize,
    back: bool,
}

impl Turn<'_> {
    fn run<T: Real>(&self, x: &mut [T]) -> Result<()> {
        let (tokens, pairs) = self.rope.cos.dims2()?;
        let (cos, sin) = (&self.rope.cos, &self.rope.sin);
        let (cos, sin) = (Slice::<T>::new(cos)?, Slice::<T>::new(sin)?);
        let (cos, sin) = (&*cos, &*sin);
        chunks(x, self.width, |i, row| {
            let at = i % tokens * pairs;
            let (cos, sin) = (&cos[at..][..pairs], &sin[at..][..pairs]);
            for head in row[..self.width / 3 * 2].chunks_exact_mut(2 * pairs) {
                let (channels, _) = head.as_chunks_mut::<2>();
                for ((pair, &cos), &sin) in channels.iter_mut().zip(cos).zip(sin) {
                    let sin = if self.back { T::zero() - sin } else { sin };
                    let [x, y] = *pair;
                    *pair = [x * cos - y * sin, y * cos + x * sin];
                }
            }
        });
        Ok(())
    }
}

impl InplaceOp1 for Turn<'_> {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("Rope: a contiguous tensor was expected");
        };
        match storage {
            CpuStorage::F32(x) => self.run(&mut x[start..end]),
            CpuStorage::F64(x) => self.run(&mut x[start..end]),
            _ => bail!("Rope: a tensor of f32 or f64 was expected"),
        }
    }
}
