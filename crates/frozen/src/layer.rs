//! What a layer is, how layers compose, and how they join candle's graph.

use std::sync::Mutex;

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, Layout, MetalStorage, Result, Shape, Storage, Tensor, bail,
};

use crate::elementwise::add;
use crate::host::{self, Slice, fused};
use crate::real::Real;

/// The vector-Jacobian product of a layer at the point where it was evaluated: takes d(loss)/d(output), in the
/// shape of the output, and returns d(loss)/d(input), in the shape of the input.
///
/// It may be called more than once, and holds what it needs of the forward pass until it is dropped.
pub type Pullback = Box<dyn Fn(&Tensor) -> Result<Tensor> + Send + Sync>;

/// A frozen function of one tensor.
///
/// Both methods see the values of `x` alone and never candle's graph: what they return is detached.
pub trait Layer: Send + Sync {
    /// The value at `x`. Nothing is kept for a backward pass.
    fn eval(&self, x: &Tensor) -> Result<Tensor>;

    /// The value at `x`, and the function that takes a gradient of that value back to `x`.
    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)>;

    /// The value at `x` as a node of candle's graph, so that `backward` reaches `x` through the layer's own
    /// pullback. Where `x` is not tracked this is [`Layer::eval`].
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if !x.track_op() {
            return self.eval(x);
        }
        let (y, pullback) = self.vjp(&x.detach())?;
        attach(x, y, pullback)
    }
}

impl<L: Layer + ?Sized> Layer for Box<L> {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        (**self).eval(x)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        (**self).vjp(x)
    }
}

/// Adds a tensor to a sum, which is `None` before the first.
///
/// # Errors
/// When the shapes differ.
pub fn add_to(sum: &mut Option<Tensor>, part: Tensor) -> Result<()> {
    *sum = Some(match sum.take() {
        None => part,
        Some(sum) => (sum + part)?,
    });
    Ok(())
}

/// The pullback of several values of one pass: takes d(loss)/d(value) for each of them, in their order and shapes, and returns
/// d(loss)/d(input).
pub type TapsPullback = Box<dyn Fn(&[Tensor]) -> Result<Tensor> + Send + Sync>;

/// Applies layers one after the other. Returns the value after each of these numbers of layers, 0 being `x` itself, and the pullback of all of
/// these values together. What comes after the last of them is not computed.
///
/// # Errors
/// When a layer fails, or there are fewer layers.
pub fn vjp_taps(
    layers: &[&dyn Layer],
    x: &Tensor,
    taps: &[usize],
) -> Result<(Vec<Tensor>, TapsPullback)> {
    let last = taps.iter().copied().max().unwrap_or(0);
    if last > layers.len() {
        bail!("there are {} layers, and no {last}", layers.len());
    }
    let mut values = vec![x.clone(); taps.len()];
    let mut pullbacks = Vec::with_capacity(last);
    let mut y = x.clone();
    for (index, layer) in layers[..last].iter().enumerate() {
        let (next, pullback) = layer.vjp(&y)?;
        pullbacks.push(pullback);
        y = next;
        for (value, tap) in values.iter_mut().zip(taps) {
            if *tap == index + 1 {
                *value = y.clone();
            }
        }
    }
    let taps = taps.to_vec();
    let pullback = move |grads: &[Tensor]| {
        if grads.len() != taps.len() {
            bail!("{} values have {} gradients", taps.len(), grads.len());
        }
        let mut grad = None;
        for depth in (0..=last).rev() {
            for (own, tap) in grads.iter().zip(&taps) {
                if *tap == depth {
                    add_to(&mut grad, own.clone())?;
                }
            }
            if let (Some(above), Some(layer)) = (&grad, depth.checked_sub(1)) {
                grad = Some(pullbacks[layer](above)?);
            }
        }
        grad.ok_or_else(|| candle_core::Error::Msg("no value was asked for".to_owned()))
    };
    Ok((values, Box::new(pullback)))
}

/// The value and the pullback of a pass with one tap.
///
/// # Errors
/// When there is no value.
pub fn only_tap((mut values, pullback): (Vec<Tensor>, TapsPullback)) -> Result<(Tensor, Pullback)> {
    let Some(value) = values.pop() else {
        bail!("no value was asked for");
    };
    let pullback = move |grad: &Tensor| pullback(std::slice::from_ref(grad));
    Ok((value, Box::new(pullback)))
}

/// Layers one after the other.
pub struct Chain(Vec<Box<dyn Layer>>);

impl Chain {
    /// The layers in the order in which they are applied; an empty chain is the identity.
    pub fn new(layers: Vec<Box<dyn Layer>>) -> Self {
        Self(layers)
    }

    /// The layers, in the order in which they are applied.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = &dyn Layer> {
        self.0.iter().map(|layer| &**layer)
    }
}

impl Layer for Chain {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        self.0.iter().try_fold(x.clone(), |x, layer| layer.eval(&x))
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let layers: Vec<_> = self.layers().collect();
        only_tap(vjp_taps(&layers, x, &[layers.len()])?)
    }
}

/// `x + layer(x)`: a residual branch.
pub struct Residual<L>(pub L);

impl<L: Layer> Layer for Residual<L> {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        sum(&self.0.eval(x)?, x)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (y, pullback) = self.0.vjp(x)?;
        Ok((
            sum(&y, x)?,
            Box::new(move |grad| sum(&pullback(grad)?, grad)),
        ))
    }
}

/// `a(x) + b(x)`: two branches of one input, as where a residual block's shortcut has weights of its own.
pub struct Parallel<A, B>(pub A, pub B);

impl<A: Layer, B: Layer> Layer for Parallel<A, B> {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        sum(&self.0.eval(x)?, &self.1.eval(x)?)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let (a, pull_a) = self.0.vjp(x)?;
        let (b, pull_b) = self.1.vjp(x)?;
        let pullback = move |grad: &Tensor| sum(&pull_a(grad)?, &pull_b(grad)?);
        Ok((sum(&a, &b)?, Box::new(pullback)))
    }
}

/// The sum of two tensors of one shape, by all threads where the CPU holds them.
fn sum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    fn fused_sum<T: Real>(a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let (a, b) = (a.contiguous()?, b.contiguous()?);
        let sum = add(&Slice::<T>::new(&a)?, &Slice::<T>::new(&b)?);
        host::tensor(sum, a.shape())
    }
    if a.shape() != b.shape() || a.dtype() != b.dtype() {
        bail!("{a:?} cannot be added to {b:?}");
    }
    fused!(a, fused_sum(a, b), a.add(b))
}

/// Makes `y`, a value computed from the values of `x` outside candle's graph, a node of the graph below `x`,
/// with `pullback` as its backward.
pub fn attach(x: &Tensor, y: Tensor, pullback: Pullback) -> Result<Tensor> {
    let y = y.detach().contiguous()?;
    x.apply_op1(Attached {
        value: Mutex::new(Some(y)),
        pullback,
    })
}

/// A node whose value is already known.
struct Attached {
    value: Mutex<Option<Tensor>>,
    pullback: Pullback,
}

impl Attached {
    fn take(&self) -> Result<Tensor> {
        let value = self.value.lock().map_or(None, |mut value| value.take());
        match value {
            Some(value) => Ok(value),
            None => bail!("a layer's node was evaluated twice"),
        }
    }
}

impl CustomOp1 for Attached {
    fn name(&self) -> &'static str {
        "frozen-layer"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let value = self.take()?;
        let (storage, layout) = value.storage_and_layout();
        match &*storage {
            Storage::Cpu(storage) => Ok((window(storage, layout)?, layout.shape().clone())),
            _ => bail!("a layer's value left the device of its input"),
        }
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        let value = self.take()?.force_contiguous()?;
        let (storage, layout) = value.storage_and_layout();
        match &*storage {
            Storage::Cuda(storage) => Ok((storage.try_clone(layout)?, layout.shape().clone())),
            _ => bail!("a layer's value left the device of its input"),
        }
    }

    fn metal_fwd(&self, _: &MetalStorage, _: &Layout) -> Result<(MetalStorage, Shape)> {
        let value = self.take()?.force_contiguous()?;
        let (storage, layout) = value.storage_and_layout();
        match &*storage {
            Storage::Metal(storage) => Ok((storage.try_clone(layout)?, layout.shape().clone())),
            _ => bail!("a layer's value left the device of its input"),
        }
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        (self.pullback)(grad).map(Some)
    }
}

/// The elements that a contiguous layout shows of its storage, copied.
fn window(storage: &CpuStorage, layout: &Layout) -> Result<CpuStorage> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a layer's value must be contiguous");
    };
    Ok(match storage {
        CpuStorage::F32(v) => CpuStorage::F32(v[start..end].to_vec()),
        CpuStorage::F64(v) => CpuStorage::F64(v[start..end].to_vec()),
        CpuStorage::F16(v) => CpuStorage::F16(v[start..end].to_vec()),
        CpuStorage::BF16(v) => CpuStorage::BF16(v[start..end].to_vec()),
        _ => bail!("a layer's value must be of a floating type"),
    })
}
