//! Many iterations of a rule, and backpropagation through all of them in memory that hardly grows with their number.
//!
//! Some states are kept; backwards, the states in between are computed again, a segment at a time (gradient
//! checkpointing: Chen et al., arXiv 1604.06174). The kept states stay within a budget as long as the square root of the number of
//! iterations does.

use std::ops::Range;

use candle_core::{Result, Tensor, Var, bail};
use frozen::add_to;
use frozen::kernel::{Real, is_fused};

use super::composed;
use super::fire::Fire;
use super::kernel::{self, Gradient, Grid, Network};
use super::rule::Rule;

/// States that a rollout may keep, in bytes, unless a square root of all of them is more.
const BUDGET: usize = 32 << 20;

/// The gradient of a loss with respect to a rollout's start and to its rule.
#[derive(Clone, Debug)]
pub struct RuleGradient {
    /// Of the states before: `[batch, channels, height, width]`.
    pub state: Tensor,
    /// Of the first layer: `[hidden, 4 * channels]`.
    pub w1: Tensor,
    /// Of its bias: `[hidden]`.
    pub b1: Tensor,
    /// Of the second layer: `[channels, hidden]`.
    pub w2: Tensor,
}

/// From the gradient of the states after a rollout to [`RuleGradient`].
pub type RolloutPullback = Box<dyn Fn(&Tensor) -> Result<RuleGradient> + Send>;

impl Rule {
    /// The states after the iterations of these numbers. `key` and an iteration's number decide which cells fire in it: the same give the
    /// same states, and so do the same iterations in several calls.
    ///
    /// # Errors
    /// When the states do not fit the rule.
    pub fn advance(&self, state: &Tensor, iterations: Range<usize>, key: u64) -> Result<Tensor> {
        advance(self, state, iterations, key)
    }

    /// The states after so many iterations, numbered from 0, with the pullback to the states before and to the rule.
    ///
    /// # Errors
    /// When the states do not fit the rule.
    pub fn rollout(
        &self,
        state: &Tensor,
        iterations: usize,
        key: u64,
    ) -> Result<(Tensor, RolloutPullback)> {
        rollout(self, state, iterations, key)
    }
}

/// Every how many iterations a state is kept.
fn interval(iterations: usize, bytes: usize) -> usize {
    let root = (iterations as f64).sqrt().ceil().max(1.0) as usize;
    let held = |interval: usize| iterations.div_ceil(interval) + interval;
    (1..root)
        .find(|&interval| held(interval) * bytes <= BUDGET)
        .unwrap_or(root)
}

/// The states after iterations of these numbers.
fn advance(rule: &Rule, state: &Tensor, iterations: Range<usize>, key: u64) -> Result<Tensor> {
    let grid = grid(rule, state)?;
    if !is_fused(state) {
        return composed_advance(rule, state, iterations, key);
    }
    match state.dtype() {
        candle_core::DType::F64 => Fused::<f64>::new(rule, grid, key)?.advance(state, iterations),
        _ => Fused::<f32>::new(rule, grid, key)?.advance(state, iterations),
    }
}

/// The states after so many iterations, with their pullback.
fn rollout(
    rule: &Rule,
    state: &Tensor,
    iterations: usize,
    key: u64,
) -> Result<(Tensor, RolloutPullback)> {
    let grid = grid(rule, state)?;
    if !is_fused(state) {
        return composed_rollout(rule, state, iterations, key);
    }
    match state.dtype() {
        candle_core::DType::F64 => Fused::<f64>::new(rule, grid, key)?.rollout(state, iterations),
        _ => Fused::<f32>::new(rule, grid, key)?.rollout(state, iterations),
    }
}

fn grid(rule: &Rule, state: &Tensor) -> Result<Grid> {
    let (batch, channels, height, width) = state.dims4()?;
    let config = rule.config();
    if channels != config.channels {
        bail!(
            "the states have {channels} channels, and the rule has {}",
            config.channels
        );
    }
    if state.elem_count() == 0 {
        bail!("a state of {width} x {height} has no cells");
    }
    Ok(Grid {
        batch,
        channels,
        height,
        width,
        padding: config.padding,
    })
}

/// A rule in memory of its own, for fused kernels.
struct Fused<T> {
    grid: Grid,
    w1: Vec<T>,
    b1: Vec<T>,
    w2: Vec<T>,
    key: u64,
    fire_rate: f64,
}

impl<T: Real> Fused<T> {
    fn new(rule: &Rule, grid: Grid, key: u64) -> Result<Self> {
        let values = |tensor: &Tensor| tensor.to_dtype(T::DTYPE)?.flatten_all()?.to_vec1::<T>();
        let [w1, b1, w2] = rule.weights();
        Ok(Self {
            grid,
            w1: values(w1)?,
            b1: values(b1)?,
            w2: values(w2)?,
            key,
            fire_rate: rule.config().fire_rate,
        })
    }

    fn network(&self) -> Network<'_, T> {
        Network {
            w1: &self.w1,
            b1: &self.b1,
            w2: &self.w2,
        }
    }

    fn fire(&self, iteration: usize) -> Fire {
        Fire::new(self.key, iteration, self.fire_rate)
    }

    /// From `[batch, channels, height, width]`.
    fn enter(&self, state: &Tensor) -> Result<Vec<T>> {
        let rows = state.detach().transpose(1, 2)?.contiguous()?;
        rows.flatten_all()?.to_vec1::<T>()
    }

    /// To `[batch, channels, height, width]`.
    fn leave(&self, state: Vec<T>) -> Result<Tensor> {
        let Grid {
            batch,
            channels,
            height,
            width,
            ..
        } = self.grid;
        let shape = (batch, height, channels, width);
        Tensor::from_vec(state, shape, &candle_core::Device::Cpu)?
            .transpose(1, 2)?
            .contiguous()
    }

    fn step(&self, iteration: usize, x: &[T], out: &mut [T]) {
        kernel::forward(&self.grid, &self.network(), &self.fire(iteration), x, out);
    }

    fn advance(&self, state: &Tensor, iterations: Range<usize>) -> Result<Tensor> {
        let mut x = self.enter(state)?;
        let mut next = vec![T::zero(); x.len()];
        for iteration in iterations {
            self.step(iteration, &x, &mut next);
            std::mem::swap(&mut x, &mut next);
        }
        self.leave(x)
    }

    fn rollout(self, state: &Tensor, iterations: usize) -> Result<(Tensor, RolloutPullback)> {
        let mut x = self.enter(state)?;
        let interval = interval(iterations, size_of_val(&x[..]));
        let mut kept = vec![];
        let mut next = vec![T::zero(); x.len()];
        for iteration in 0..iterations {
            self.step(iteration, &x, &mut next);
            if iteration.is_multiple_of(interval) {
                kept.push(std::mem::replace(&mut x, next));
                next = vec![T::zero(); x.len()];
            } else {
                std::mem::swap(&mut x, &mut next);
            }
        }
        drop(next);
        let end = self.leave(x)?;
        let pullback = move |grad: &Tensor| {
            let mut grad = self.enter(grad)?;
            self.back(&kept, interval, iterations, &mut grad)
        };
        Ok((end, Box::new(pullback)))
    }

    fn back(
        &self,
        kept: &[Vec<T>],
        interval: usize,
        iterations: usize,
        grad: &mut Vec<T>,
    ) -> Result<RuleGradient> {
        let network = self.network();
        let mut gradient = Gradient::zero(&network);
        let mut before = vec![T::zero(); grad.len()];
        // the states of a segment after its first
        let mut segment = vec![vec![]; interval - 1];
        for (part, start) in kept.iter().enumerate().rev() {
            let first = part * interval;
            let count = interval.min(iterations - first);
            for i in 1..count {
                let (done, rest) = segment.split_at_mut(i - 1);
                let x = done.last().unwrap_or(start);
                rest[0].resize(x.len(), T::zero());
                self.step(first + i - 1, x, &mut rest[0]);
            }
            for i in (0..count).rev() {
                let x = match i {
                    0 => start,
                    i => &segment[i - 1],
                };
                let fire = self.fire(first + i);
                kernel::backward(
                    &self.grid,
                    &network,
                    &fire,
                    x,
                    grad,
                    &mut gradient,
                    &mut before,
                );
                std::mem::swap(grad, &mut before);
            }
        }
        let (channels, hidden) = (self.grid.channels, self.b1.len());
        let cpu = &candle_core::Device::Cpu;
        Ok(RuleGradient {
            state: self.leave(std::mem::take(grad))?,
            w1: Tensor::from_vec(gradient.w1, (hidden, kernel::SENSES * channels), cpu)?,
            b1: Tensor::from_vec(gradient.b1, hidden, cpu)?,
            w2: Tensor::from_vec(gradient.w2, (channels, hidden), cpu)?,
        })
    }
}

fn composed_advance(
    rule: &Rule,
    state: &Tensor,
    iterations: Range<usize>,
    key: u64,
) -> Result<Tensor> {
    let mut x = state.detach();
    for iteration in iterations {
        let fire = Fire::new(key, iteration, rule.config().fire_rate);
        x = composed::step(rule, &x, &fire)?.detach();
    }
    Ok(x)
}

fn composed_rollout(
    rule: &Rule,
    state: &Tensor,
    iterations: usize,
    key: u64,
) -> Result<(Tensor, RolloutPullback)> {
    let rule = rule.copy()?;
    let bytes = state.elem_count() * state.dtype().size_in_bytes();
    let interval = interval(iterations, bytes);
    let mut kept = vec![];
    let mut x = state.detach().copy()?;
    for iteration in 0..iterations {
        if iteration.is_multiple_of(interval) {
            kept.push(x.clone());
        }
        x = composed_advance(&rule, &x, iteration..iteration + 1, key)?;
    }
    let pullback = move |grad: &Tensor| {
        let mut grad = grad.detach();
        let [w1, b1, w2] = rule.weights().map(Var::from_tensor);
        let variables = [w1?, b1?, w2?];
        let [w1, b1, w2] = variables.each_ref().map(|var| var.as_tensor().clone());
        let learning = Rule::from_parts(rule.config().clone(), w1, b1, w2)?;
        let mut sums: [Option<Tensor>; 3] = [None, None, None];
        for (part, start) in kept.iter().enumerate().rev() {
            let first = part * interval;
            let count = interval.min(iterations - first);
            let mut segment = vec![start.clone()];
            for i in 1..count {
                let at = first + i - 1;
                segment.push(composed_advance(&rule, &segment[i - 1], at..at + 1, key)?);
            }
            for (i, x) in segment.iter().enumerate().rev() {
                let x = Var::from_tensor(x)?;
                let fire = Fire::new(key, first + i, rule.config().fire_rate);
                let y = composed::step(&learning, x.as_tensor(), &fire)?;
                let grads = (y * &grad)?.sum_all()?.backward()?;
                let of = |var: &Var| match grads.get(var) {
                    Some(grad) => Ok(grad.clone()),
                    None => bail!("an iteration of the rule has lost its gradient"),
                };
                for (sum, variable) in sums.iter_mut().zip(&variables) {
                    add_to(sum, of(variable)?)?;
                }
                grad = of(&x)?;
            }
        }
        let weight = |i: usize| match &sums[i] {
            Some(sum) => Ok(sum.clone()),
            None => rule.weights()[i].zeros_like(),
        };
        Ok(RuleGradient {
            state: grad,
            w1: weight(0)?,
            b1: weight(1)?,
            w2: weight(2)?,
        })
    };
    Ok((x, Box::new(pullback)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_stays_within_the_budget_or_a_square_root() {
        for bytes in [1 << 10, 800 << 10, 3 << 20, 64 << 20] {
            for iterations in [1, 2, 32, 64, 128, 1000] {
                let k = interval(iterations, bytes);
                let held = iterations.div_ceil(k) + k;
                let root = (iterations as f64).sqrt().ceil() as usize;
                assert!(
                    held * bytes <= BUDGET || held <= 2 * root,
                    "{bytes} {iterations}"
                );
            }
        }
        assert_eq!(interval(64, 1 << 10), 1);
        assert_eq!(interval(64, 3 << 20), 8);
    }
}
