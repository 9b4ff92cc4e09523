//! `y = x W^T + b`.

use candle_core::{Result, Tensor, bail};

use crate::gemm::{Mat, MatMut, Threads, build, gemm, product};
use crate::host::{self, Slice, fused};
use crate::layer::{Layer, Pullback};
use crate::real::Real;

/// A linear map of the last dimension: `y = x W^T + b`, [..., in] to [..., out].
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// `weight` is [out, in], as PyTorch stores it, and `bias` is `[out]`.
    ///
    /// # Errors
    /// Where the shapes, types or devices of weight and bias do not fit.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Result<Self> {
        let [out, _] = *weight.dims() else {
            bail!(
                "Linear: the weight must be [out, in], found {:?}",
                weight.shape()
            );
        };
        if let Some(bias) = &bias {
            if bias.dims() != [out] {
                bail!("Linear: the bias must be [{out}], found {:?}", bias.shape());
            }
            host::check_kind("Linear bias", bias, &weight)?;
        }
        Ok(Self {
            weight: weight.detach().contiguous()?,
            bias: bias.map(|bias| bias.detach().contiguous()).transpose()?,
        })
    }

    /// Both layers as one: the outputs of this one, then those of the other.
    ///
    /// # Errors
    /// Where their inputs, types or devices differ, or only one of them has a bias.
    pub fn beside(&self, other: &Self) -> Result<Self> {
        let bias = match (&self.bias, &other.bias) {
            (Some(a), Some(b)) => Some(Tensor::cat(&[a, b], 0)?),
            (None, None) => None,
            _ => bail!("Linear: of two layers side by side only one has a bias"),
        };
        Self::new(Tensor::cat(&[&self.weight, &other.weight], 0)?, bias)
    }

    /// The size of the input's last dimension.
    pub fn input_size(&self) -> usize {
        self.weight.dims()[1]
    }

    /// The size of the output's last dimension.
    pub fn output_size(&self) -> usize {
        self.weight.dims()[0]
    }

    pub(crate) fn weight(&self) -> &Tensor {
        &self.weight
    }

    pub(crate) fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    fn check(&self, x: &Tensor) -> Result<()> {
        host::check_kind("Linear", x, &self.weight)?;
        if x.dims().last() != Some(&self.input_size()) {
            bail!(
                "Linear: expected [..., {}], found {:?}",
                self.input_size(),
                x.shape()
            );
        }
        Ok(())
    }
}

impl Layer for Linear {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        self.check(x)?;
        fused!(
            x,
            apply(x, &self.weight, self.bias.as_ref(), false),
            composed(x, &self.weight.t()?, self.bias.as_ref())
        )
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let y = self.eval(x)?;
        let (weight, shape) = (self.weight.clone(), y.shape().clone());
        let pullback = move |grad: &Tensor| {
            host::check_grad("Linear", grad, &shape)?;
            fused!(
                grad,
                apply(grad, &weight, None, true),
                composed(grad, &weight, None)
            )
        };
        Ok((y, Box::new(pullback)))
    }
}

/// `x W^T + b`, or `x W` where `transposed`.
fn apply<T: Real>(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    transposed: bool,
) -> Result<Tensor> {
    let x = x.contiguous()?;
    let (out, inp) = weight.dims2()?;
    let w = Slice::<T>::new(weight)?;
    let w = Mat::new(&w, out, inp);
    let (w, from, to) = if transposed {
        (w, out, inp)
    } else {
        (w.t(), inp, out)
    };
    let rows = x.elem_count() / from.max(1);
    let mut dims = x.dims().to_vec();
    dims.pop();
    let rows = if from == 0 {
        dims.iter().product()
    } else {
        rows
    };
    dims.push(to);
    let xs = Slice::<T>::new(&x)?;
    let x_mat = Mat::new(&xs, rows, from);
    let y = if let Some(bias) = bias {
        let bias = Slice::<T>::new(bias)?;
        let bias = &*bias;
        let mut y = build(rows * to, to, |_, y| y.copy_from_slice(bias));
        gemm(
            MatMut::new(&mut y, rows, to),
            x_mat,
            w,
            T::one(),
            true,
            Threads::All,
        );
        y
    } else {
        product(x_mat, w, Threads::All)
    };
    host::tensor(y, dims)
}

fn composed(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    let inp = dims.pop().unwrap_or(0);
    let rows: usize = dims.iter().product();
    dims.push(weight.dims()[1]);
    let y = x.contiguous()?.reshape((rows, inp))?.matmul(weight)?;
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    y.reshape(dims)
}
