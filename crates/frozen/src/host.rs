//! Between tensors and slices: which kernel a tensor is for, the elements of a tensor in memory, and back.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Deref;

use candle_core::{DType, Device, Result, Shape, Storage, StorageRef, Tensor, bail};

use crate::real::Real;

/// The kernel that serves a tensor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kernel {
    /// Fused, f32 on the CPU.
    F32,
    /// Fused, f64 on the CPU.
    F64,
    /// candle's own operations, one after the other: any device, any floating type.
    Composed,
}

thread_local! {
    static COMPOSED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with every layer on this thread composed of candle's operations, as on a GPU: to compare both ways of computing.
pub fn composed<R>(f: impl FnOnce() -> R) -> R {
    let before = COMPOSED.replace(true);
    let result = f();
    COMPOSED.set(before);
    result
}

impl Kernel {
    pub(crate) fn of(x: &Tensor) -> Self {
        match (x.device(), x.dtype()) {
            _ if COMPOSED.get() => Self::Composed,
            (Device::Cpu, DType::F32) => Self::F32,
            (Device::Cpu, DType::F64) => Self::F64,
            _ => Self::Composed,
        }
    }
}

/// Calls a function generic over the element type, or composes: `fused!(x, f(args), composed)`.
macro_rules! fused {
    ($x:expr, $($f:ident).+ ( $($arg:expr),* $(,)? ), $composed:expr) => {
        match $crate::host::Kernel::of($x) {
            $crate::host::Kernel::F32 => $($f).+::<f32>($($arg),*),
            $crate::host::Kernel::F64 => $($f).+::<f64>($($arg),*),
            $crate::host::Kernel::Composed => $composed,
        }
    };
}
pub(crate) use fused;

/// The elements of a contiguous CPU tensor.
pub(crate) struct Slice<'a, T> {
    storage: StorageRef<'a>,
    start: usize,
    end: usize,
    element: PhantomData<T>,
}

impl<'a, T: Real> Slice<'a, T> {
    /// All elements that the storage of a CPU tensor holds from the tensor's first on, for access by strides.
    pub(crate) fn open(x: &'a Tensor) -> Result<Self> {
        let (storage, layout) = x.storage_and_layout();
        let start = layout.start_offset();
        let end = match &*storage {
            Storage::Cpu(storage) => T::cpu_storage_as_slice(storage)?.len(),
            _ => bail!(
                "a tensor on the CPU was expected, got one on {:?}",
                x.device().location()
            ),
        };
        Ok(Self {
            storage,
            start: start.min(end),
            end,
            element: PhantomData,
        })
    }

    /// The elements of a contiguous tensor.
    pub(crate) fn new(x: &'a Tensor) -> Result<Self> {
        if !x.is_contiguous() {
            bail!("a contiguous tensor was expected");
        }
        let mut slice = Self::open(x)?;
        slice.end = slice.start + x.elem_count();
        Ok(slice)
    }
}

impl<T: Real> Deref for Slice<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &*self.storage {
            Storage::Cpu(storage) => T::cpu_storage_as_slice(storage)
                .map_or(&[], |elements| &elements[self.start..self.end]),
            _ => &[],
        }
    }
}

/// A CPU tensor of these elements.
pub(crate) fn tensor<T: Real>(elements: Vec<T>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(elements, shape.into(), &Device::Cpu)
}

/// Numbers as a tensor of the type and on the device of `like`. On the CPU first: not every device knows f64.
pub(crate) fn constant(numbers: Vec<f64>, dims: &[usize], like: &Tensor) -> Result<Tensor> {
    let x = Tensor::from_vec(numbers, dims, &Device::Cpu)?;
    x.to_dtype(like.dtype())?.to_device(like.device())
}

/// Refuses a gradient that is not of the shape of the value.
pub(crate) fn check_grad(layer: &str, grad: &Tensor, shape: &Shape) -> Result<()> {
    if grad.shape() != shape {
        bail!(
            "{layer}: the gradient must have the shape of the output, {shape:?}, found {:?}",
            grad.shape()
        );
    }
    Ok(())
}

/// Refuses an input whose type or device is not that of the weights.
pub(crate) fn check_kind(layer: &str, x: &Tensor, weight: &Tensor) -> Result<()> {
    if x.dtype() != weight.dtype() {
        bail!(
            "{layer}: the weights are {:?}, the input is {:?}",
            weight.dtype(),
            x.dtype()
        );
    }
    if x.device().location() != weight.device().location() {
        bail!(
            "{layer}: the weights are on {:?}, the input is on {:?}",
            weight.device().location(),
            x.device().location()
        );
    }
    Ok(())
}

/// The four dimensions of an image batch whose channels come last.
pub(crate) fn dims4_last(layer: &str, x: &Tensor) -> Result<(usize, usize, usize, usize)> {
    match *x.dims() {
        [n, h, w, c] => Ok((n, h, w, c)),
        _ => bail!(
            "{layer}: expected [batch, height, width, channels], found {:?}",
            x.shape()
        ),
    }
}

/// The four dimensions of an image batch.
pub(crate) fn dims4(layer: &str, x: &Tensor) -> Result<(usize, usize, usize, usize)> {
    match *x.dims() {
        [n, c, h, w] => Ok((n, c, h, w)),
        _ => bail!(
            "{layer}: expected [batch, channels, height, width], found {:?}",
            x.shape()
        ),
    }
}
