//! Optimisers: how the gradient of a parameter becomes a change of it.

use candle_core::{Result, Tensor, Var, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{LearningRate, Progress, State};

/// How a gradient becomes a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// Adam, with decoupled weight decay.
    ///
    /// Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019; with betas 0.9 and 0.999.
    Adam,
    /// Gradient descent, with momentum.
    ///
    /// Its direction is an average of the gradients, `v = momentum * v + (1 - dampening) * g`.
    Sgd,
    /// A step of the learning rate against the sign of the gradient.
    Sign,
}

/// The settings of an [`Optimizer`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerConfig {
    /// The rule.
    pub kind: OptimizerKind,
    /// The share of each parameter that a step takes off, times the learning rate ([`OptimizerKind::Sign`] has none).
    pub weight_decay: f64,
    /// How much of the last direction is kept, 0..1 ([`OptimizerKind::Sgd`]).
    pub momentum: f64,
    /// How much less of the gradient is taken in; equal to the momentum it makes the direction a mean ([`OptimizerKind::Sgd`]).
    pub dampening: f64,
    /// Go along `g + momentum * v` instead (Nesterov, as Sutskever et al. 2013 write it; [`OptimizerKind::Sgd`]).
    pub nesterov: bool,
}

impl OptimizerConfig {
    /// The kind without weight decay and momentum.
    pub const fn new(kind: OptimizerKind) -> Self {
        Self {
            kind,
            weight_decay: 0.0,
            momentum: 0.0,
            dampening: 0.0,
            nesterov: false,
        }
    }
}

const BETAS: (f64, f64) = (0.9, 0.999);
const EPS: f64 = 1e-8;

/// Parameters with the rule and the moments that change them.
pub struct Optimizer {
    config: OptimizerConfig,
    lr: LearningRate,
    parameters: Vec<Var>,
    /// For each parameter its moments, two for Adam, one for momentum, none otherwise.
    moments: Vec<Vec<Tensor>>,
    /// For each parameter its multiple of the learning rate.
    multiples: Vec<f64>,
    step: usize,
}

impl Optimizer {
    /// An optimiser at its first step.
    pub fn new(config: OptimizerConfig, lr: LearningRate, parameters: Vec<Var>) -> Result<Self> {
        let count = match config.kind {
            OptimizerKind::Adam => 2,
            OptimizerKind::Sgd if config.momentum != 0.0 => 1,
            _ => 0,
        };
        let moments = parameters
            .iter()
            .map(|p| (0..count).map(|_| p.zeros_like()).collect())
            .collect::<Result<_>>()?;
        Ok(Self {
            config,
            lr,
            multiples: vec![1.0; parameters.len()],
            parameters,
            moments,
            step: 0,
        })
    }

    /// The same, with a multiple of the learning rate for each parameter; one of 0 stays as it is.
    pub fn with_multiples(mut self, multiples: Vec<f64>) -> Result<Self> {
        if multiples.len() != self.parameters.len() {
            bail!(
                "{} multiples of the learning rate for {} parameters",
                multiples.len(),
                self.parameters.len()
            );
        }
        self.multiples = multiples;
        Ok(self)
    }

    /// The parameters, in the order in which they were given.
    pub fn parameters(&self) -> &[Var] {
        &self.parameters
    }

    /// How many steps were made.
    pub fn steps(&self) -> usize {
        self.step
    }

    /// The share of the steps that is done, 0 at the first and 1 at the last.
    pub fn t(&self) -> f64 {
        self.lr.t(self.step)
    }

    /// Whether all steps are made.
    pub fn progress(&self) -> Progress {
        self.lr.progress(self.step)
    }

    /// One step along `grads`, one gradient for each parameter.
    pub fn step(&mut self, grads: &[Tensor]) -> Result<Progress> {
        self.step_by(grads, self.lr.at(self.step))?;
        Ok(self.progress())
    }

    /// One step of size `lr`.
    pub fn step_by(&mut self, grads: &[Tensor], lr: f64) -> Result<()> {
        if grads.len() != self.parameters.len() {
            bail!(
                "{} gradients for {} parameters",
                grads.len(),
                self.parameters.len()
            );
        }
        self.step += 1;
        let parameters = (self.parameters.iter().zip(&self.multiples))
            .zip(&mut self.moments)
            .zip(grads);
        for (((parameter, multiple), moments), grad) in parameters {
            if *multiple == 0.0 {
                continue;
            }
            let lr = lr * multiple;
            let (change, decay) = match self.config.kind {
                OptimizerKind::Adam => (adam(moments, grad, self.step)?, self.config.weight_decay),
                OptimizerKind::Sgd => (sgd(moments, grad, &self.config)?, self.config.weight_decay),
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

    /// Parameters, moments and the number of steps.
    pub fn save(&self) -> Result<State> {
        let mut state = State::default();
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
        Ok(state)
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

/// The direction of gradient descent with momentum.
fn sgd(moments: &mut [Tensor], grad: &Tensor, config: &OptimizerConfig) -> Result<Tensor> {
    let Some(v) = moments.first_mut() else {
        return Ok(grad.clone());
    };
    *v = ((&*v * config.momentum)? + (grad * (1.0 - config.dampening))?)?;
    if config.nesterov {
        grad + (&*v * config.momentum)?
    } else {
        Ok(v.clone())
    }
}
