//! The neural cellular automaton: a small rule that every cell of a grid follows is trained, so that the pattern that forms minimises the
//! loss.
//!
//! Each step takes one state out of a pool, applies the rule for some iterations, and renders it. The gradient of the image is
//! backpropagated through all iterations to the rule; the state returns to the pool, so that the rule learns to continue from its own
//! states (Niklasson et al., *Self-Organising Textures*, Distill 2021; text-2-cellular-automata). The result is the rule:
//! it grows patterns of any size, and repairs damage.
//!
//! A batch is processed one state a step, and its gradients are summed before the rule is updated, so that the objective always evaluates
//! one picture. States side by side in one picture would be evaluated as a collage, with seams that no rule can remove.

mod composed;
mod fire;
mod kernel;
mod rollout;
mod rule;

use candle_core::{DType, Result, Tensor, Var, bail};
use frozen::Pullback;
use phantasia_core::check::Checker;
use phantasia_core::{Schedule, Seamless};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use rollout::{RolloutPullback, RuleGradient};
pub use rule::{Padding, Rule, RuleConfig, key};

use crate::build::check_learning_rate;
use crate::{
    Artifact, Build, BuildContext, Generator, LearningRate, Optimizer, OptimizerConfig,
    OptimizerKind, Progress, State,
};

phantasia_core::config! {
    /// A neural cellular automaton: what is learned is a rule that every pixel follows, so that the picture grows by itself.
    ///
    /// The defaults are those of text-2-cellular-automata, adapted to renders of hundreds of steps instead of thousands: the rule changes after every step, by
    /// twice the learning rate, and a step has half the iterations. A render that changes its rule a hundred times only finds the mean
    /// colour of its prompt. The pool is smaller because each checkpoint holds all of its states.
    #[schemars(rename = "CellularConfig")]
    pub struct Config {
        /// Numbers a cell; the first three are its colour.
        #[schemars(range(min = 3, max = 256))]
        pub channels: usize = 12,
        /// Hidden values between what a cell sees and how it changes.
        #[schemars(range(min = 1, max = 4096))]
        pub hidden: usize = 128,
        /// The fewest and the most iterations of the rule a step.
        #[schemars(inner(range(min = 1, max = 4096)))]
        pub iterations: [usize; 2] = [24, 48],
        /// The probability with which a cell changes in an iteration.
        #[schemars(range(min = 0, max = 1))]
        pub fire_rate: f64 = 0.5,
        /// How many states are kept, of which each step continues one.
        #[schemars(range(min = 1, max = 4096))]
        pub pool: usize = 16,
        /// How many steps are summed to one update of the rule.
        #[schemars(range(min = 1, max = 4096))]
        pub batch: usize = 1,
        /// After so many updates of the rule one state starts anew; 0 for never.
        #[schemars(range(min = 0, max = 4096))]
        pub reseed: usize = 8,
        /// The probability with which a state is damaged before a step, so that the rule learns to repair it.
        ///
        /// A disc of cells is set back to the start.
        #[schemars(range(min = 0, max = 1))]
        pub damage: f64 = 0.0,
        /// The cells beyond the edge.
        pub padding: Padding = Padding::Circular,
        /// The weight of the loss that keeps states within -1..=1.
        ///
        /// The loss is `sum |x - clamp(x, -1, 1)|` of the states.
        #[schemars(range(min = 0, max = 1e6))]
        pub overflow: f64 = 1.0,
        /// The learning rate of Adam.
        #[schemars(range(min = 0))]
        // falls to two fifths twice, where text-2-cellular-automata's falls three times
        pub lr: Schedule = Schedule::parse("0.004 * 0.4 ^ (step(0.5, t) + step(0.8, t))").unwrap_or(0.002.into()),
    }
}

/// With fewer changes of its rule than this, an automaton seldom forms a pattern.
const CHANGES: usize = 200;

impl Build for Config {
    fn build(&self, context: &mut BuildContext<'_>) -> anyhow::Result<Box<dyn Generator>> {
        Ok(Box::new(Cellular::new(self, context)?))
    }

    fn check(&self, checker: &mut Checker) {
        if self.iterations[0] > self.iterations[1] {
            checker.invalid(
                "iterations",
                "the fewest are more than the most: write the smaller number first",
            );
        }
        if self.fire_rate == 0.0 {
            checker.invalid("fire_rate", "it is 0, so that no cell would ever change");
        }
        check_learning_rate(checker, "lr", &self.lr);
    }

    fn check_seamless(&self, _: Seamless, checker: &mut Checker) {
        if self.padding == Padding::Zero {
            let message = "beyond the edge there is nothing, so that the pattern ends there and cannot be `seamless`: take `circular`, or leave \
                           `seamless` out";
            checker.invalid("padding", message);
        }
    }

    fn check_symmetry(&self, checker: &mut Checker) {
        let message = "what it learns is a rule, which grows a pattern without a middle, and cannot have a `symmetry`: choose another kind, or \
                       leave `symmetry` out";
        checker.invalid("kind", message);
    }

    fn remedies_for_flatness(&self, steps: usize, key: &dyn Fn(&str) -> String) -> Vec<String> {
        let changes = steps / self.batch.max(1);
        let mut remedies = vec![];
        if self.batch > 1 && changes < CHANGES {
            remedies.push(format!("{}: 1", key("batch")));
        }
        if changes < 2 * CHANGES {
            remedies.push("more `steps`".to_owned());
        }
        remedies.push(format!("another {} (0.002 to 0.006)", key("lr")));
        remedies
    }

    fn template(&self) -> Option<&'static str> {
        Some(include_str!("../recipes/cellular.yaml"))
    }
}

impl Config {
    fn rule(&self) -> RuleConfig {
        RuleConfig {
            channels: self.channels,
            hidden: self.hidden,
            fire_rate: self.fire_rate,
            padding: self.padding,
        }
    }
}

/// What random numbers are drawn for.
#[derive(Clone, Copy)]
enum Purpose {
    Weights,
    Sample,
    Fire,
    Picture,
}

/// What the last render keeps for the step after it.
struct Rendered {
    image: Tensor,
    /// Which of the pool.
    sample: usize,
    state: Tensor,
    back: RolloutPullback,
    unshow: Pullback,
}

/// The training of a neural cellular automaton as a [`Generator`].
pub struct Cellular {
    config: Config,
    size: [usize; 2],
    seed: u64,
    lr: LearningRate,
    optimizer: Optimizer,
    /// `[1, channels, height, width]` each; none where it is as at the start.
    pool: Vec<Option<Tensor>>,
    /// What all grow from.
    start: Tensor,
    /// The sum of the batch's gradients so far.
    gradients: Vec<Tensor>,
    steps: usize,
    rendered: Option<Rendered>,
    /// What was grown from the start, after how many changes of the rule.
    picture: Option<(usize, Tensor)>,
}

impl Cellular {
    /// An automaton whose rule does nothing yet. Its cells start at zero, or show the image to start from.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(config: &Config, context: &BuildContext<'_>) -> Result<Self> {
        let (width, height) = context.sides()?;
        let [least, most] = config.iterations;
        if least == 0 || least > most {
            bail!(
                "iterations from {least} to {most}: at least 1, and the second no fewer than the first"
            );
        }
        if config.pool == 0 || config.batch == 0 {
            bail!("a pool and a batch have one state at least");
        }
        let weights = key(&[context.seed, Purpose::Weights as u64]);
        let rule = Rule::new(config.rule(), weights, context.device)?;
        let mut start = rule.start(1, height, width)?;
        if let Some(init) = context.init()? {
            let rest = start.narrow(1, 3, config.channels - 3)?;
            start = Tensor::cat(&[&(init - 0.5)?, &rest], 1)?;
        }
        let parameters = (rule.weights().into_iter())
            .map(|tensor| Var::from_tensor(&tensor.copy()?))
            .collect::<Result<Vec<_>>>()?;
        let gradients = (parameters.iter())
            .map(|p| p.zeros_like())
            .collect::<Result<_>>()?;
        let lr = context.learning_rate(&config.lr);
        let optimizer = OptimizerConfig::new(OptimizerKind::Adam);
        Ok(Self {
            optimizer: Optimizer::new(optimizer, lr.clone(), parameters)?,
            config: config.clone(),
            size: context.size,
            seed: context.seed,
            lr,
            pool: vec![None; config.pool],
            start,
            gradients,
            steps: 0,
            rendered: None,
            picture: None,
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
            self.config.rule(),
            w1.as_detached_tensor(),
            b1.as_detached_tensor(),
            w2.as_detached_tensor(),
        )
    }

    fn key(&self, purpose: Purpose) -> u64 {
        key(&[self.seed, purpose as u64, self.steps as u64])
    }

    /// The state that this step runs, as it is before, and for how many iterations.
    fn sample(&self, rule: &Rule) -> Result<(usize, Tensor, usize)> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.key(Purpose::Sample));
        let sample = rng.random_range(0..self.pool.len());
        let [least, most] = self.config.iterations;
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
            let [width, height] = self.size.map(|side| side as f64);
            let x = rng.random::<f64>() * width;
            let y = rng.random::<f64>() * height;
            let radius = width.min(height) * rng.random_range(0.1..0.3);
            state = rule.damage(&state, x, y, radius)?;
        }
        Ok((sample, state, iterations))
    }
}

/// `gradient / (|gradient| + 1e-8)`, so that neither the length of a run nor the size of the picture decides the size of a step.
fn normalized(gradient: &Tensor) -> Result<Tensor> {
    let norm = gradient.sqr()?.sum_all()?.sqrt()?.to_dtype(DType::F64)?;
    gradient / (norm.to_scalar::<f64>()? + 1e-8)
}

impl Generator for Cellular {
    /// The state of this step after its iterations. Rendering again before the step returns the same image at no cost.
    fn render(&mut self) -> Result<Tensor> {
        if let Some(rendered) = &self.rendered {
            return Ok(rendered.image.clone());
        }
        let rule = self.rule()?;
        let (sample, state, iterations) = self.sample(&rule)?;
        let (state, back) = rule.rollout(&state, iterations, self.key(Purpose::Fire))?;
        let (image, unshow) = Rule::show(&state)?;
        self.rendered = Some(Rendered {
            image: image.clone(),
            sample,
            state,
            back,
            unshow,
        });
        Ok(image)
    }

    fn step(&mut self, _: Tensor, grad: &Tensor) -> Result<Progress> {
        if self.lr.progress(self.steps) == Progress::Finished {
            return Ok(Progress::Finished);
        }
        let Some(rendered) = self.rendered.take() else {
            bail!("a step needs a render before it");
        };
        let colors = (rendered.unshow)(&grad.detach())?;
        let rest = rendered.state.narrow(1, 3, self.config.channels - 3)?;
        let mut grad = Tensor::cat(&[&colors, &rest.zeros_like()?], 1)?;
        if self.config.overflow != 0.0 {
            // the slope of |x - clamp(x, -1, 1)|
            let outside = (&rendered.state - rendered.state.clamp(-1.0, 1.0)?)?.sign()?;
            grad = (grad + (outside * self.config.overflow)?)?;
        }
        let gradient = (rendered.back)(&grad)?;
        for (sum, part) in (self.gradients.iter_mut()).zip([gradient.w1, gradient.b1, gradient.w2])
        {
            *sum = (&*sum + part)?;
        }
        self.pool[rendered.sample] = Some(rendered.state);
        let lr = self.lr.at(self.steps);
        self.steps += 1;
        let progress = self.lr.progress(self.steps);
        if progress == Progress::Finished || self.steps.is_multiple_of(self.config.batch) {
            let gradients = (self.gradients.iter())
                .map(normalized)
                .collect::<Result<Vec<_>>>()?;
            self.optimizer.step_by(&gradients, lr)?;
            for sum in &mut self.gradients {
                *sum = sum.zeros_like()?;
            }
        }
        Ok(progress)
    }

    /// What the rule makes from the start in twice the most iterations, always of the same cells firing.
    fn picture(&mut self) -> Result<Tensor> {
        let changes = self.optimizer.steps();
        if let Some((at, image)) = &self.picture
            && *at == changes
        {
            return Ok(image.clone());
        }
        let key = key(&[self.seed, Purpose::Picture as u64]);
        let iterations = 2 * self.config.iterations[1];
        let state = self.rule()?.advance(&self.start, 0..iterations, key)?;
        let (image, _) = Rule::show(&state)?;
        self.picture = Some((changes, image.clone()));
        Ok(image)
    }

    fn artifact(&self) -> Result<Option<Artifact>> {
        self.rule()?.artifact().map(Some)
    }

    fn save(&self) -> Result<State> {
        let mut state = self.optimizer.save()?;
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
        self.rendered = None;
        self.picture = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
