//! The image pyramid: layers of several sizes, each enlarged to the picture's size, summed and squashed to 0..=1.
//!
//! One generator, two ancestors. imstack's image stack (johnowhitaker/imstack, core.py) has a few layers in geometric
//! steps, starts from noise that decays towards the fine layers, and follows Adam. Direct Ascent Synthesis (Fort and
//! Whitaker, arXiv 2502.07753) has a layer of every size, starts from zero, and follows plain gradient descent, which
//! amounts to a strong preference for coarse changes over fine ones.

mod sides;

use candle_core::{Result, Tensor, Var, bail};
use frozen::{Filter, Layer, Pullback, Resample, add_to};
use phantasia_core::check::Checker;
use phantasia_core::{Schedule, Seamless};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use sides::{AllSides, Sides};

use crate::build::check_learning_rate;
use crate::random::normals;
use crate::starts::Starts;
use crate::{
    Build, BuildContext, ClampWithGrad, Generator, Optimizer, OptimizerConfig, OptimizerKind,
    Progress, State,
};

phantasia_core::config! {
    /// An image pyramid.
    #[schemars(rename = "PyramidConfig")]
    pub struct Config {
        /// How many layers, each `scale` times the size of the one before it.
        #[schemars(range(min = 1, max = 64))]
        pub layers: usize = 5,
        /// The shorter side of the smallest layer in cells.
        #[schemars(range(min = 1, max = 16384))]
        pub base: usize = 4,
        /// The ratio of one layer's side to that of the one before it.
        #[schemars(range(min = 1, max = 1024))]
        pub scale: f64 = 2.0,
        /// The ratio of one layer's noise at the start to that of the one before it.
        #[schemars(range(min = 0, max = 1e6))]
        pub decay: f64 = 0.7,
        /// The ratio of one layer's influence on the picture to that of the one before it.
        #[schemars(range(min = 0, max = 1e6))]
        pub gain: f64 = 0.8,
        /// Instead of `layers`, `base` and `scale`: the shorter side of each layer in cells.
        pub sides: Option<Sides> = None,
        /// The function that squashes the sum of the layers to 0..=1.
        pub squash: Squash = Squash::Clamp,
        /// How layers are enlarged.
        pub filter: Filter = Filter::Bicubic,
        /// How a gradient becomes a step.
        pub optimizer: OptimizerKind = OptimizerKind::Sgd,
        /// The learning rate.
        #[schemars(range(min = 0))]
        // falls along half a cosine, to a tenth
        pub lr: Schedule = Schedule::parse("0.006 + 0.025 * (1 + cos(pi * t))").unwrap_or(0.05.into()),
        /// The momentum of `sgd`: the share of the last step that is kept.
        #[schemars(range(min = 0, max = 1))]
        pub momentum: f64 = 0.8,
        /// Scale the picture's gradient to a root mean square of 1 before the step.
        ///
        /// Each layer is weighted by the area of its cells, and the step scaled so that the sum of the layers changes with a root mean square
        /// of the learning rate (exactly so without momentum). The size of the picture and of the loss then no longer matter.
        pub normalize: bool = true,
        /// Decay of the layers towards 0, times the learning rate (AdamW's).
        #[schemars(range(min = 0, max = 1e6))]
        pub weight_decay: f64 = 0.0,
        /// Standard deviation of the noise that the layers start with.
        #[schemars(range(min = 0, max = 1e6))]
        pub noise: f64 = 0.1,
        /// The share of the render over which finer and finer layers are added; 0 has all from the start.
        #[schemars(range(min = 0, max = 1))]
        pub progressive: f64 = 0.0,
        #[expect(missing_docs, reason = "the type's docs say it")]
        pub starts: Starts = Starts::default(),
    }
}

impl Build for Config {
    fn build(&self, context: &mut BuildContext<'_>) -> anyhow::Result<Box<dyn Generator>> {
        let from_picture = context.init.is_some();
        let pyramid = self.starts.best(from_picture, context, |context| {
            Ok(Pyramid::new(self, context)?)
        })?;
        Ok(Box::new(pyramid))
    }

    fn check(&self, checker: &mut Checker) {
        if let Some(Sides::List(sides)) = &self.sides
            && sides.is_empty()
        {
            checker.invalid("sides", "there is no side: give one, or the word `all`");
        }
        check_learning_rate(checker, "lr", &self.lr);
        let how = "give `noise` a value above 0, such as 0.3";
        self.starts.check(self.noise > 0.0, how, checker);
    }

    fn check_seamless(&self, _: Seamless, _: &mut Checker) {}

    fn template(&self) -> Option<&'static str> {
        Some(include_str!("../recipes/pyramid.yaml"))
    }
}

impl Config {
    /// At most so many layers stand for all sides.
    const DENSE: usize = 28;

    /// The sides of the layers of a picture whose shorter side has `short` pixels, none larger than that, each once.
    fn sides(&self, short: usize) -> Vec<usize> {
        let geometric = |count: usize, first: f64, ratio: f64| {
            let side = move |i: usize| (first * ratio.powi(i as i32)).round() as usize;
            (0..count).map(side).collect()
        };
        let mut sides: Vec<usize> = match &self.sides {
            None => geometric(self.layers, self.base as f64, self.scale),
            Some(Sides::List(sides)) => sides.clone(),
            Some(Sides::Word(AllSides::All)) if short <= Self::DENSE => (1..=short).collect(),
            Some(Sides::Word(AllSides::All)) => {
                let ratio = (short as f64).powf(1.0 / (Self::DENSE - 1) as f64);
                geometric(Self::DENSE, 1.0, ratio)
            }
        };
        for side in &mut sides {
            *side = (*side).clamp(1, short);
        }
        sides.dedup();
        sides
    }
}

/// A function that squashes a sum of layers to 0..=1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Squash {
    /// 1 / (1 + exp(-x))
    Sigmoid,
    /// (tanh(x) + 1) / 2
    Tanh,
    /// x + 1/2, clamped, with a gradient that leads back from outside of 0..=1.
    Clamp,
}

struct PyramidLayer {
    gain: f64,
    up: Resample,
    down: Resample,
}

/// The image pyramid as a [`Generator`].
pub struct Pyramid {
    config: Config,
    size: [usize; 2],
    /// The rows and columns by which a seamless picture is rolled. The cells of all layers begin at the same place, where the slope is steepest; the
    /// roll moves it away from the seam.
    roll: [i32; 2],
    layers: Vec<PyramidLayer>,
    optimizer: Optimizer,
    /// The detail of an init image that the layers are too coarse for, before squashing.
    offset: Option<Tensor>,
    /// The pullbacks of the last render.
    pullbacks: Option<Pullbacks>,
}

struct Pullbacks {
    squash: Pullback,
    layers: Vec<Pullback>,
}

impl Pyramid {
    /// A pyramid at its start: noise around mid-grey, or the image to start from.
    ///
    /// # Errors
    /// When the picture has no pixels or the pyramid no layers.
    pub fn new(config: &Config, context: &BuildContext<'_>) -> Result<Self> {
        let (width, height) = context.sides()?;
        let short = width.min(height);
        let cells = |side: usize, long: usize| {
            ((side as f64 * long as f64 / short as f64).round() as usize).clamp(1, long)
        };
        let wrap = context.seamless.axes();
        let mut rng = ChaCha8Rng::seed_from_u64(context.seed);
        let mut layers = vec![];
        let mut parameters = vec![];
        let mut roll = [0; 2];
        for (i, side) in config.sides(short).into_iter().enumerate() {
            let (h, w) = (cells(side, height), cells(side, width));
            let deviation = config.noise * config.decay.powi(i as i32);
            let values = normals(&mut rng, 3 * h * w, deviation);
            parameters.push(Var::from_vec(values, (1, 3, h, w), context.device)?);
            let half_cell = |side: usize, cells: usize, wraps: bool| {
                if wraps { (side / cells / 2) as i32 } else { 0 }
            };
            // the finest layer's
            roll = [half_cell(height, h, wrap[0]), half_cell(width, w, wrap[1])];
            layers.push(PyramidLayer {
                gain: config.gain.powi(i as i32),
                up: Resample::new(height, width, config.filter, false)?.wrapping(wrap),
                down: Resample::new(h, w, Filter::Bilinear, true)?.wrapping(wrap),
            });
        }
        if layers.is_empty() {
            bail!("a pyramid needs at least one layer");
        }
        let optimizer = OptimizerConfig {
            weight_decay: config.weight_decay,
            momentum: config.momentum,
            dampening: config.momentum,
            ..OptimizerConfig::new(config.optimizer)
        };
        let lr = context.learning_rate(&config.lr);
        let mut pyramid = Self {
            config: config.clone(),
            size: context.size,
            roll,
            layers,
            optimizer: Optimizer::new(optimizer, lr, parameters)?,
            offset: None,
            pullbacks: None,
        };
        if let Some(init) = context.init()? {
            pyramid.start_from(init)?;
        }
        Ok(pyramid)
    }

    /// The parameters, coarse to fine: `[1, 3, h, w]` each.
    pub fn parameters(&self) -> &[Var] {
        self.optimizer.parameters()
    }

    /// Splits an image into layers from coarse to fine, each holding what the coarser ones left
    /// (imstack's initialisation). The rest is kept as an offset, so that the first render is the image.
    fn start_from(&mut self, init: Tensor) -> Result<()> {
        let init = self.rolled_back(init)?;
        let mut rest = match self.config.squash {
            Squash::Sigmoid => {
                let x = init.clamp(1e-3, 1.0 - 1e-3)?;
                (x.log()? - x.affine(-1.0, 1.0)?.log()?)?
            }
            Squash::Tanh => {
                // atanh(2x - 1) = logit(x) / 2
                let x = init.clamp(1e-3, 1.0 - 1e-3)?;
                ((x.log()? - x.affine(-1.0, 1.0)?.log()?)? * 0.5)?
            }
            Squash::Clamp => (init - 0.5)?,
        };
        for (layer, parameter) in self.layers.iter().zip(self.optimizer.parameters()) {
            let part = (layer.down.eval(&rest)? / layer.gain)?;
            parameter.set(&part)?;
            rest = (rest - (layer.up.eval(&part)? * layer.gain)?)?;
        }
        self.offset = Some(rest);
        Ok(())
    }

    fn rolled_back(&self, image: Tensor) -> Result<Tensor> {
        rolled(image, self.roll.map(|by| -by))
    }

    /// The sum of the layers, before squashing, with the pullback to each of them.
    fn sum(&self) -> Result<(Tensor, Vec<Pullback>)> {
        let mut sum = self.offset.clone();
        let mut pullbacks = vec![];
        for (layer, parameter) in self.layers.iter().zip(self.optimizer.parameters()) {
            let (part, pullback) = layer.up.vjp(&parameter.as_detached_tensor())?;
            pullbacks.push(pullback);
            add_to(&mut sum, scaled(part, layer.gain)?)?;
        }
        match sum {
            Some(sum) => Ok((sum, pullbacks)),
            None => bail!("a pyramid needs at least one layer"),
        }
    }

    /// Weighs each layer's gradient by its cells' area and scales all so that the picture's step has a root mean square of 1.
    fn normalized(&self, grads: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let pixels = (self.size[0] * self.size[1]) as f64;
        let mut weighted = Vec::with_capacity(grads.len());
        let mut change: Option<Tensor> = None;
        for (layer, grad) in self.layers.iter().zip(grads) {
            let (_, _, h, w) = grad.dims4()?;
            let grad = (grad * ((h * w) as f64 / pixels))?;
            let part = scaled(layer.up.eval(&grad)?, layer.gain)?;
            add_to(&mut change, part)?;
            weighted.push(grad);
        }
        let Some(change) = change else {
            return Ok(weighted);
        };
        let rms = f64::from(change.sqr()?.mean_all()?.sqrt()?.to_scalar::<f32>()?);
        if rms == 0.0 {
            return Ok(weighted);
        }
        weighted.into_iter().map(|grad| grad / rms).collect()
    }
}

/// An image moved by so many rows and columns, over its edge to the opposite side.
fn rolled(image: Tensor, [rows, columns]: [i32; 2]) -> Result<Tensor> {
    if [rows, columns] == [0; 2] {
        return Ok(image);
    }
    image.roll(rows, 2)?.roll(columns, 3)?.contiguous()
}

/// `x * factor`; a factor of 1 costs nothing.
fn scaled(x: Tensor, factor: f64) -> Result<Tensor> {
    if factor == 1.0 { Ok(x) } else { x * factor }
}

impl Layer for Squash {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.vjp(x)?.0)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let half = match self {
            Self::Clamp => return ClampWithGrad.vjp(&(x + 0.5)?),
            // a sigmoid in terms of tanh does not overflow
            Self::Sigmoid => 0.5,
            Self::Tanh => 1.0,
        };
        let y = scaled(x.clone(), half)?.tanh()?.affine(0.5, 0.5)?;
        let values = y.clone();
        // dy/dx = half * (1 - tanh^2) / 2 = 2 * half * y * (1 - y)
        let pullback = move |grad: &Tensor| {
            let slope = (&values * values.affine(-1.0, 1.0)?)?;
            (grad * slope)? * (2.0 * half)
        };
        Ok((y, Box::new(pullback)))
    }
}

impl Generator for Pyramid {
    fn render(&mut self) -> Result<Tensor> {
        let (sum, layers) = self.sum()?;
        let (image, squash) = self.config.squash.vjp(&sum)?;
        self.pullbacks = Some(Pullbacks { squash, layers });
        rolled(image, self.roll)
    }

    fn step(&mut self, _: Tensor, grad: &Tensor) -> Result<Progress> {
        if self.optimizer.progress() == Progress::Finished {
            return Ok(Progress::Finished);
        }
        let Some(pullbacks) = self.pullbacks.take() else {
            bail!("a step needs a render before it");
        };
        let grad = (pullbacks.squash)(&self.rolled_back(grad.detach())?)?;
        let t = self.optimizer.t();
        let count = self.layers.len() as f64;
        let mut grads = vec![];
        for (i, (layer, pullback)) in self.layers.iter().zip(&pullbacks.layers).enumerate() {
            let waits = t < self.config.progressive * i as f64 / count;
            grads.push(if waits {
                self.parameters()[i].zeros_like()?
            } else {
                scaled(pullback(&grad)?, layer.gain)?
            });
        }
        if self.config.normalize {
            grads = self.normalized(grads)?;
        }
        self.optimizer.step(&grads)
    }

    fn save(&self) -> Result<State> {
        let mut state = self.optimizer.save()?;
        if let Some(offset) = &self.offset {
            state.tensors.insert("offset".to_owned(), offset.clone());
        }
        Ok(state)
    }

    fn load(&mut self, state: &State) -> Result<()> {
        let [width, height] = self.size;
        let offset = state.optional("offset", &[1, 3, height, width])?.cloned();
        self.optimizer.load(state)?;
        self.offset = offset;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
