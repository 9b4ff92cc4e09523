//! The neural cellular automaton: a small rule that every cell of a grid follows is trained so that the pattern which forms is what is
//! wanted.
//!
//! Each step takes one state out of a pool, lets the rule run on it for some iterations, and shows it. The gradient of what is shown goes
//! back through all iterations to the rule; the state goes back to the pool, so that the rule learns to go on well from what it made
//! itself (Niklasson et al., *Self-Organising Textures*, Distill 2021; text-2-cellular-automata). What is left in the end is the rule:
//! it paints at any size, and heals.
//!
//! A batch is worked off one state a step, and its gradients are summed before the rule changes: what is judged is always one picture. States
//! side by side in one picture would be judged as a collage, with seams that no rule can paint away.

mod composed;
mod fire;
mod kernel;
mod rollout;
mod rule;

use candle_core::{DType, Device, Result, Tensor, Var, bail};
use frozen::Pullback;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use rollout::{RolloutPullback, RuleGradient};
pub use rule::{Padding, Rule, RuleConfig, key};

use crate::{
    Artifact, Generator, LearningRate, Optimizer, OptimizerKind, Progress, State, share_done,
};

/// What random numbers are drawn for.
#[derive(Clone, Copy)]
enum Purpose {
    Weights,
    Sample,
    Fire,
    Picture,
}

/// All that decides how a [`Cellular`] trains.
#[derive(Clone, Debug)]
pub struct CellularConfig {
    /// Width of the grid in cells, which are pixels.
    pub width: usize,
    /// Height of the grid in cells.
    pub height: usize,
    /// The rule's sizes.
    pub rule: RuleConfig,
    /// The fewest and the most iterations a step.
    pub iterations: (usize, usize),
    /// States in the pool.
    pub pool: usize,
    /// States whose gradients are summed to one change of the rule.
    pub batch: usize,
    /// After so many changes of the rule one state starts anew; 0 for never.
    pub reseed: usize,
    /// The probability, 0..=1, that a state is damaged before it is run: a disc is set back to the start.
    pub damage: f64,
    /// The weight of `sum |x - clamp(x, -1, 1)|` of the states, which keeps them from growing without end.
    pub overflow: f64,
    /// The learning rate of Adam.
    pub lr: LearningRate,
    /// How many steps the render has.
    pub steps: usize,
    /// Decides the rule at the start, and every random number of the training.
    pub seed: u64,
}

/// What the last render leaves for the step after it.
struct Shown {
    image: Tensor,
    /// Which of the pool.
    sample: usize,
    state: Tensor,
    back: RolloutPullback,
    unshow: Pullback,
}

/// The training of a neural cellular automaton as a [`Generator`].
pub struct Cellular {
    config: CellularConfig,
    optimizer: Optimizer,
    /// `[1, channels, height, width]` each; none where it is as at the start.
    pool: Vec<Option<Tensor>>,
    /// What all grow from.
    start: Tensor,
    /// The sum of the batch's gradients so far.
    gradients: Vec<Tensor>,
    steps: usize,
    shown: Option<Shown>,
    /// What was grown from the start, after how many changes of the rule.
    picture: Option<(usize, Tensor)>,
}

impl Cellular {
    /// An automaton whose rule does nothing yet. Its cells start at zero, or show `init`, an image `[1, 3, height, width]` in 0..=1.
    ///
    /// # Errors
    /// When a setting is out of range, or `init` has another shape.
    pub fn new(config: CellularConfig, init: Option<&Tensor>, device: &Device) -> Result<Self> {
        let (width, height) = (config.width, config.height);
        if width == 0 || height == 0 {
            bail!("a grid of {width} x {height} has no cells");
        }
        let (least, most) = config.iterations;
        if least == 0 || least > most {
            bail!(
                "iterations from {least} to {most}: at least 1, and the second no fewer than the first"
            );
        }
        if config.pool == 0 || config.batch == 0 {
            bail!("a pool and a batch have one state at least");
        }
        let weights = key(&[config.seed, Purpose::Weights as u64]);
        let rule = Rule::new(config.rule.clone(), weights, device)?;
        let mut start = rule.start(1, height, width)?;
        if let Some(init) = init {
            let expected = [1, 3, height, width];
            if init.dims() != expected {
                bail!(
                    "the init image has shape {:?}, and {expected:?} is expected",
                    init.dims()
                );
            }
            let rest = start.narrow(1, 3, config.rule.channels - 3)?;
            start = Tensor::cat(&[&(init.to_dtype(DType::F32)?.detach() - 0.5)?, &rest], 1)?;
        }
        let parameters = [rule.w1(), rule.b1(), rule.w2()]
            .into_iter()
            .map(|tensor| Var::from_tensor(&tensor.copy()?))
            .collect::<Result<Vec<_>>>()?;
        let gradients = (parameters.iter())
            .map(|p| p.zeros_like())
            .collect::<Result<_>>()?;
        let adam = OptimizerKind::Adam { weight_decay: 0.0 };
        Ok(Self {
            optimizer: Optimizer::new(adam, parameters)?,
            pool: vec![None; config.pool],
            start,
            gradients,
            steps: 0,
            shown: None,
            picture: None,
            config,
        })
    }

    /// The rule as it is now.
    ///
    /// # Errors
    /// When the device fails.
    pub fn rule(&self) -> Result<Rule> {
        let [w1, b1, w2] = self.optimizer.parameters() else {
            bail!("a rule has three parameters");
        };
        Rule::from_parts(
            self.config.rule.clone(),
            w1.as_detached_tensor(),
            b1.as_detached_tensor(),
            w2.as_detached_tensor(),
        )
    }

    fn key(&self, purpose: Purpose) -> u64 {
        key(&[self.config.seed, purpose as u64, self.steps as u64])
    }

    /// The state that this step runs, as it is before, and for how many iterations.
    fn sample(&self, rule: &Rule) -> Result<(usize, Tensor, usize)> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.key(Purpose::Sample));
        let sample = rng.random_range(0..self.pool.len());
        let (least, most) = self.config.iterations;
        let iterations = rng.random_range(least..=most);
        let (batch, reseed) = (self.config.batch, self.config.reseed);
        let anew = reseed > 0
            && self.steps.is_multiple_of(batch)
            && (self.steps / batch).is_multiple_of(reseed);
        let mut state = match &self.pool[sample] {
            Some(state) if !anew => state.clone(),
            _ => self.start.clone(),
        };
        if rng.random::<f64>() < self.config.damage {
            let (width, height) = (self.config.width as f64, self.config.height as f64);
            let x = rng.random::<f64>() * width;
            let y = rng.random::<f64>() * height;
            let radius = width.min(height) * rng.random_range(0.1..0.3);
            state = rule.damage(&state, x, y, radius)?;
        }
        Ok((sample, state, iterations))
    }

    fn share_done(&self) -> f64 {
        share_done(self.steps, self.config.steps)
    }
}

/// `gradient / (|gradient| + 1e-8)`, so that neither the length of a run nor the size of the picture decides the size of a step.
fn normalized(gradient: &Tensor) -> Result<Tensor> {
    let norm = gradient.sqr()?.sum_all()?.sqrt()?.to_dtype(DType::F64)?;
    gradient / (norm.to_scalar::<f64>()? + 1e-8)
}

impl Generator for Cellular {
    /// The state of this step after its iterations. Rendering again before the step gives the same and costs nothing.
    fn render(&mut self) -> Result<Tensor> {
        if let Some(shown) = &self.shown {
            return Ok(shown.image.clone());
        }
        let rule = self.rule()?;
        let (sample, state, iterations) = self.sample(&rule)?;
        let (state, back) = rule.rollout(&state, iterations, self.key(Purpose::Fire))?;
        let (image, unshow) = Rule::show(&state)?;
        self.shown = Some(Shown {
            image: image.clone(),
            sample,
            state,
            back,
            unshow,
        });
        Ok(image)
    }

    fn step(&mut self, _: Tensor, grad: &Tensor) -> Result<Progress> {
        if self.steps >= self.config.steps {
            return Ok(Progress::Finished);
        }
        let Some(shown) = self.shown.take() else {
            bail!("a step needs a render before it");
        };
        let colors = (shown.unshow)(&grad.detach())?;
        let rest = shown.state.narrow(1, 3, self.config.rule.channels - 3)?;
        let mut grad = Tensor::cat(&[&colors, &rest.zeros_like()?], 1)?;
        if self.config.overflow != 0.0 {
            // the slope of |x - clamp(x, -1, 1)|
            let outside = (&shown.state - shown.state.clamp(-1.0, 1.0)?)?.sign()?;
            grad = (grad + (outside * self.config.overflow)?)?;
        }
        let gradient = (shown.back)(&grad)?;
        for (sum, part) in (self.gradients.iter_mut()).zip([gradient.w1, gradient.b1, gradient.w2])
        {
            *sum = (&*sum + part)?;
        }
        self.pool[shown.sample] = Some(shown.state);
        let lr = self.config.lr.at(self.share_done());
        self.steps += 1;
        let finished = self.steps >= self.config.steps;
        if finished || self.steps.is_multiple_of(self.config.batch) {
            let gradients = (self.gradients.iter())
                .map(normalized)
                .collect::<Result<Vec<_>>>()?;
            self.optimizer.step(&gradients, lr)?;
            for sum in &mut self.gradients {
                *sum = sum.zeros_like()?;
            }
        }
        Ok(Progress::after(self.steps, self.config.steps))
    }

    /// What the rule makes from the start in twice the most iterations, always of the same cells firing.
    fn picture(&mut self) -> Result<Tensor> {
        let changes = self.optimizer.steps();
        if let Some((at, image)) = &self.picture
            && *at == changes
        {
            return Ok(image.clone());
        }
        let key = key(&[self.config.seed, Purpose::Picture as u64]);
        let iterations = 2 * self.config.iterations.1;
        let state = self.rule()?.advance(&self.start, 0..iterations, key)?;
        let (image, _) = Rule::show(&state)?;
        self.picture = Some((changes, image.clone()));
        Ok(image)
    }

    fn artifact(&self) -> Result<Option<Artifact>> {
        self.rule()?.artifact().map(Some)
    }

    fn save(&self) -> Result<State> {
        let mut state = State::default();
        self.optimizer.save(&mut state)?;
        for (i, gradient) in self.gradients.iter().enumerate() {
            state
                .tensors
                .insert(format!("gradient.{i}"), gradient.clone());
        }
        for (i, sample) in self.pool.iter().enumerate() {
            if let Some(sample) = sample {
                state.tensors.insert(format!("pool.{i}"), sample.clone());
            }
        }
        state.tensors.insert("start".to_owned(), self.start.clone());
        (state.scalars).insert("generator.step".to_owned(), self.steps as f64);
        state
            .scalars
            .insert("pool".to_owned(), self.pool.len() as f64);
        Ok(state)
    }

    fn load(&mut self, state: &State) -> Result<()> {
        let steps = state.scalar("generator.step")?;
        let pool = state.scalar("pool")? as usize;
        if pool != self.pool.len() {
            bail!(
                "the saved state has a pool of {pool}, and {} is expected",
                self.pool.len()
            );
        }
        let device = self.start.device();
        let like = |name: &str, shape: &[usize]| -> Result<Tensor> {
            state
                .tensor(name, shape)?
                .to_dtype(DType::F32)?
                .to_device(device)
        };
        let gradients = (self.gradients.iter().enumerate())
            .map(|(i, gradient)| like(&format!("gradient.{i}"), gradient.dims()))
            .collect::<Result<_>>()?;
        let start = like("start", self.start.dims())?;
        let samples = (0..pool)
            .map(|i| {
                let name = format!("pool.{i}");
                let there = state.tensors.contains_key(&name);
                there.then(|| like(&name, self.start.dims())).transpose()
            })
            .collect::<Result<_>>()?;
        self.optimizer.load(state)?;
        self.gradients = gradients;
        self.start = start;
        self.pool = samples;
        self.steps = steps as usize;
        self.shown = None;
        self.picture = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
