//! The saved state of a generator.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, bail};

/// Named tensors and numbers.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Parameters and optimiser moments.
    pub tensors: BTreeMap<String, Tensor>,
    /// Counters and settings.
    pub scalars: BTreeMap<String, f64>,
}

impl State {
    /// The tensor of that name, which must have that shape.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<&Tensor> {
        match self.tensors.get(name) {
            None => bail!("the saved state has no `{name}`: it is of another generator"),
            Some(tensor) if tensor.dims() != shape => bail!(
                "`{name}` in the saved state has shape {:?}, and {shape:?} is expected: it is of another size",
                tensor.dims()
            ),
            Some(tensor) => Ok(tensor),
        }
    }

    /// [`State::tensor`], where there is one of that name.
    pub fn optional(&self, name: &str, shape: &[usize]) -> Result<Option<&Tensor>> {
        if self.tensors.contains_key(name) {
            self.tensor(name, shape).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The number of that name.
    pub fn scalar(&self, name: &str) -> Result<f64> {
        match self.scalars.get(name) {
            None => bail!("the saved state has no `{name}`: it is of another generator"),
            Some(value) => Ok(*value),
        }
    }
}
