//! Optimisers: how the gradient of a parameter becomes a change of it.

use candle_core::{Result, Tensor, Var, bail};

use crate::State;

/// Which rule an [`Optimizer`] follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptimizerKind {
    /// Adam with decoupled weight decay (Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019), with betas 0.9 and 0.999.
    Adam {
        /// The share of each parameter that a step takes off, times the learning rate.
        weight_decay: f64,
    },
    /// Gradient descent along an average of the gradients: `v = momentum * v + (1 - dampening) * g`.
    Sgd {
        /// How much of the last direction goes on, 0..1.
        momentum: f64,
        /// How much less of the gradient is taken in; equal to the momentum it makes `v` a mean.
        dampening: f64,
        /// Go along `g + momentum * v` instead (Nesterov, as Sutskever et al. 2013 write it).
        nesterov: bool,
        /// The share of each parameter that a step takes off, times the learning rate.
        weight_decay: f64,
    },
    /// A step of the learning rate against the sign of each gradient.
    Sign,
}

const BETAS: (f64, f64) = (0.9, 0.999);
const EPS: f64 = 1e-8;

/// Parameters with the rule and the moments that change them.
pub struct Optimizer {
    kind: OptimizerKind,
    parameters: Vec<Var>,
    /// For each parameter its moments, two for Adam, one for momentum, none otherwise.
    moments: Vec<Vec<Tensor>>,
    step: usize,
}

impl Optimizer {
    /// An optimiser at its first step.
    pub fn new(kind: OptimizerKind, parameters: Vec<Var>) -> Result<Self> {
        let count = match kind {
            OptimizerKind::Adam { .. } => 2,
            OptimizerKind::Sgd { momentum, .. } if momentum != 0.0 => 1,
            _ => 0,
        };
        let moments = parameters
            .iter()
            .map(|p| (0..count).map(|_| p.zeros_like()).collect())
            .collect::<Result<_>>()?;
        Ok(Self {
            kind,
            parameters,
            moments,
            step: 0,
        })
    }

    /// The parameters, in the order in which they were given.
    pub fn parameters(&self) -> &[Var] {
        &self.parameters
    }

    /// How many steps were made.
    pub fn steps(&self) -> usize {
        self.step
    }

    /// One step of size `lr` along `grads`, one gradient for each parameter.
    pub fn step(&mut self, grads: &[Tensor], lr: f64) -> Result<()> {
        if grads.len() != self.parameters.len() {
            bail!(
                "{} gradients for {} parameters",
                grads.len(),
                self.parameters.len()
            );
        }
        self.step += 1;
        for ((parameter, moments), grad) in
            (self.parameters.iter().zip(&mut self.moments)).zip(grads)
        {
            let (change, decay) = match self.kind {
                OptimizerKind::Adam { weight_decay } => {
                    (adam(moments, grad, self.step)?, weight_decay)
                }
                OptimizerKind::Sgd {
                    momentum,
                    dampening,
                    nesterov,
                    weight_decay,
                } => match moments.first_mut() {
                    None => (grad.clone(), weight_decay),
                    Some(v) => {
                        *v = ((&*v * momentum)? + (grad * (1.0 - dampening))?)?;
                        let change = match nesterov {
                            true => (grad + (&*v * momentum)?)?,
                            false => v.clone(),
                        };
                        (change, weight_decay)
                    }
                },
                OptimizerKind::Sign => (grad.sign()?, 0.0),
            };
            let value = parameter.as_detached_tensor();
            let kept = if decay == 0.0 {
                value
            } else {
                (value * (1.0 - lr * decay))?
            };
            parameter.set(&(kept - (change * lr)?)?)?;
        }
        Ok(())
    }

    /// Writes parameters, moments and the number of steps to `state`.
    pub fn save(&self, state: &mut State) -> Result<()> {
        for (i, (parameter, moments)) in self.parameters.iter().zip(&self.moments).enumerate() {
            // a copy: `Var::set` writes in place
            let value = parameter.as_detached_tensor().copy()?;
            state.tensors.insert(format!("parameter.{i}"), value);
            for (k, moment) in moments.iter().enumerate() {
                state
                    .tensors
                    .insert(format!("moment.{i}.{k}"), moment.clone());
            }
        }
        state.scalars.insert("step".to_owned(), self.step as f64);
        Ok(())
    }

    /// Takes what [`Optimizer::save`] wrote. Nothing is changed where something does not fit.
    pub fn load(&mut self, state: &State) -> Result<()> {
        let step = state.scalar("step")?;
        let mut loaded = Vec::with_capacity(self.parameters.len());
        for (i, (parameter, moments)) in self.parameters.iter().zip(&self.moments).enumerate() {
            let like = |tensor: &Tensor| {
                tensor
                    .to_dtype(parameter.dtype())?
                    .to_device(parameter.device())
            };
            let value = like(state.tensor(&format!("parameter.{i}"), parameter.dims())?)?;
            let moments = (0..moments.len())
                .map(|k| like(state.tensor(&format!("moment.{i}.{k}"), parameter.dims())?))
                .collect::<Result<Vec<_>>>()?;
            loaded.push((value, moments));
        }
        for (i, (value, moments)) in loaded.into_iter().enumerate() {
            self.parameters[i].set(&value)?;
            self.moments[i] = moments;
        }
        self.step = step as usize;
        Ok(())
    }
}

/// Adam's direction, bias corrected.
fn adam(moments: &mut [Tensor], grad: &Tensor, step: usize) -> Result<Tensor> {
    let [m, v] = moments else {
        bail!("Adam keeps two moments a parameter")
    };
    *m = ((&*m * BETAS.0)? + (grad * (1.0 - BETAS.0))?)?;
    *v = ((&*v * BETAS.1)? + (grad.sqr()? * (1.0 - BETAS.1))?)?;
    let m = (&*m / (1.0 - BETAS.0.powi(step as i32)))?;
    let v = (&*v / (1.0 - BETAS.1.powi(step as i32)))?;
    m / (v.sqrt()? + EPS)?
}
