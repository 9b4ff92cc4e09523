//! The image pyramid: layers of several sizes, each enlarged to the picture's size, summed and brought to 0..=1.
//!
//! One generator, two ancestors. imstack's image stack (johnowhitaker/imstack, core.py) has a few layers in geometric
//! steps, starts from noise that decays towards the fine layers, and follows Adam. Direct Ascent Synthesis (Fort and
//! Whitaker, arXiv 2502.07753) has a layer of every size, starts from zero, and follows plain gradient descent, which
//! amounts to a strong preference for coarse changes over fine ones.

use candle_core::{DType, Device, Result, Tensor, Var, bail};
use frozen::{Filter, Layer, Resample};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::optimizer::{Optimizer, OptimizerKind};
use crate::{ClampWithGrad, Generator, Progress, Schedule, State};

/// What brings a sum of layers to 0..=1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Squash {
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `(tanh(x) + 1) / 2`
    Tanh,
    /// `x + 1/2`, clamped, with a gradient that leads back from outside ([`ClampWithGrad`]).
    Clamp,
}

/// Which sides the layers have, in cells along the picture's shorter side.
#[derive(Clone, Debug, PartialEq)]
pub enum Sides {
    /// `layers` of them: `base`, `base * scale`, `base * scale^2`, and so on.
    Geometric {
        /// The side of the first layer.
        base: usize,
        /// The ratio of a side to the one before.
        scale: f64,
        /// How many.
        layers: usize,
    },
    /// Exactly these.
    List(Vec<usize>),
    /// Every side from 1 to the picture's; above [`Sides::DENSE`] of them, that many in geometric steps, which comes close to all of
    /// them at a fraction of the cost.
    All,
}

impl Sides {
    /// How many sides [`Sides::All`] stands for at most.
    pub const DENSE: usize = 28;

    /// The sides for a picture whose shorter side has `short` pixels, none larger than that, each once.
    pub fn resolve(&self, short: usize) -> Vec<usize> {
        let mut sides = match self {
            Self::Geometric {
                base,
                scale,
                layers,
            } => (0..*layers)
                .map(|i| (*base as f64 * scale.powi(i as i32)).round() as usize)
                .collect(),
            Self::List(sides) => sides.clone(),
            Self::All if short <= Self::DENSE => (1..=short).collect(),
            Self::All => {
                let ratio = (short as f64).powf(1.0 / (Self::DENSE - 1) as f64);
                (0..Self::DENSE)
                    .map(|i| ratio.powi(i as i32).round() as usize)
                    .collect()
            }
        };
        for side in &mut sides {
            *side = (*side).clamp(1, short);
        }
        sides.dedup();
        sides
    }
}

/// All that decides how a [`Pyramid`] paints.
#[derive(Clone, Debug)]
pub struct PyramidConfig {
    /// Width of the picture in pixels.
    pub width: usize,
    /// Height of the picture in pixels.
    pub height: usize,
    /// The sizes of the layers.
    pub sides: Sides,
    /// The ratio of the initial noise of one layer to that of the layer before it.
    pub decay: f64,
    /// The ratio of one layer's influence on the picture to that of the layer before it.
    pub gain: f64,
    /// Standard deviation of the noise in the first layer at the start; 0 starts from mid-grey.
    pub noise: f64,
    /// What brings the sum of the layers to 0..=1.
    pub squash: Squash,
    /// How layers are enlarged.
    pub filter: Filter,
    /// How a gradient becomes a step.
    pub optimizer: OptimizerKind,
    /// The learning rate.
    pub lr: Schedule,
    /// Weigh each layer by the area of its cells, and scale the step so that the sum of the layers changes with a root mean square of
    /// the learning rate (exactly so without momentum). The size of the picture and of the loss then no longer matter.
    pub normalize: bool,
    /// The share of the render over which ever finer layers join in; 0 has all of them from the start.
    pub progressive: f64,
    /// How many steps the render has.
    pub steps: usize,
    /// Decides the noise at the start.
    pub seed: u64,
}

struct PyramidLayer {
    gain: f64,
    up: Resample,
    down: Resample,
}

/// The image pyramid as a [`Generator`].
pub struct Pyramid {
    config: PyramidConfig,
    layers: Vec<PyramidLayer>,
    optimizer: Optimizer,
    /// What of an init image the layers are too coarse to hold, before squashing.
    offset: Option<Tensor>,
}

impl Pyramid {
    /// A pyramid at its start: noise around mid-grey, or `init`, an image `[1, 3, height, width]` in 0..=1.
    pub fn new(config: PyramidConfig, init: Option<&Tensor>, device: &Device) -> Result<Self> {
        let (width, height) = (config.width, config.height);
        if width == 0 || height == 0 {
            bail!("a picture of {width}x{height} has no pixels");
        }
        let short = width.min(height);
        let cells = |side: usize, long: usize| {
            ((side as f64 * long as f64 / short as f64).round() as usize).clamp(1, long)
        };
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let mut layers = vec![];
        let mut parameters = vec![];
        for (i, side) in config.sides.resolve(short).into_iter().enumerate() {
            let (h, w) = (cells(side, height), cells(side, width));
            let deviation = config.noise * config.decay.powi(i as i32);
            let values = normals(&mut rng, 3 * h * w, deviation);
            parameters.push(Var::from_vec(values, (1, 3, h, w), device)?);
            layers.push(PyramidLayer {
                gain: config.gain.powi(i as i32),
                up: Resample::new(height, width, config.filter, false)?,
                down: Resample::new(h, w, Filter::Bilinear, true)?,
            });
        }
        if layers.is_empty() {
            bail!("a pyramid needs at least one layer");
        }
        let optimizer = Optimizer::new(config.optimizer, parameters)?;
        let mut pyramid = Self {
            config,
            layers,
            optimizer,
            offset: None,
        };
        if let Some(init) = init {
            pyramid.start_from(init)?;
        }
        Ok(pyramid)
    }

    /// The parameters, coarse to fine: `[1, 3, h, w]` each.
    pub fn parameters(&self) -> &[Var] {
        self.optimizer.parameters()
    }

    /// Takes an image apart from coarse to fine, each layer holding what the coarser ones left
    /// (imstack's initialisation). What even the finest leaves is kept aside, so that the first render is the image.
    fn start_from(&mut self, init: &Tensor) -> Result<()> {
        let expected = [1, 3, self.config.height, self.config.width];
        if init.dims() != expected {
            bail!(
                "the init image has shape {:?}, and {expected:?} is expected",
                init.dims()
            );
        }
        let init = init.to_dtype(DType::F32)?;
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

    /// The sum of the layers, before squashing.
    fn sum(&self) -> Result<Tensor> {
        let mut sum = self.offset.clone();
        for (layer, parameter) in self.layers.iter().zip(self.optimizer.parameters()) {
            let part = (layer.up.forward(parameter.as_tensor())? * layer.gain)?;
            sum = Some(match sum {
                None => part,
                Some(sum) => (sum + part)?,
            });
        }
        match sum {
            Some(sum) => Ok(sum),
            None => bail!("a pyramid needs at least one layer"),
        }
    }

    /// Weighs each layer's gradient by its cells' area and scales all so that the picture's step has a root mean square of 1.
    fn normalized(&self, grads: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let pixels = (self.config.width * self.config.height) as f64;
        let mut weighted = Vec::with_capacity(grads.len());
        let mut change: Option<Tensor> = None;
        for (layer, grad) in self.layers.iter().zip(grads) {
            let (_, _, h, w) = grad.dims4()?;
            let grad = (grad * ((h * w) as f64 / pixels))?;
            let part = (layer.up.eval(&grad)? * layer.gain)?;
            change = Some(match change {
                None => part,
                Some(change) => (change + part)?,
            });
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

    fn share_done(&self) -> f64 {
        let last = self.config.steps.saturating_sub(1).max(1);
        (self.optimizer.steps() as f64 / last as f64).min(1.0)
    }
}

impl Generator for Pyramid {
    fn render(&mut self) -> Result<Tensor> {
        let sum = self.sum()?;
        match self.config.squash {
            // a sigmoid in terms of tanh, whose gradient candle has and which does not overflow
            Squash::Sigmoid => (sum * 0.5)?.tanh()?.affine(0.5, 0.5),
            Squash::Tanh => sum.tanh()?.affine(0.5, 0.5),
            Squash::Clamp => ClampWithGrad.forward(&(sum + 0.5)?),
        }
    }

    fn step(&mut self, image: Tensor, grad: &Tensor) -> Result<Progress> {
        if self.optimizer.steps() >= self.config.steps {
            return Ok(Progress::Finished);
        }
        let store = (image * grad.detach())?.sum_all()?.backward()?;
        let t = self.share_done();
        let count = self.layers.len() as f64;
        let mut grads = vec![];
        for (i, parameter) in self.optimizer.parameters().iter().enumerate() {
            let Some(grad) = store.get(parameter) else {
                bail!("layer {i} of the pyramid got no gradient");
            };
            let waits = t < self.config.progressive * i as f64 / count;
            grads.push(if waits {
                grad.zeros_like()?
            } else {
                grad.clone()
            });
        }
        if self.config.normalize {
            grads = self.normalized(grads)?;
        }
        self.optimizer.step(&grads, self.config.lr.at(t))?;
        Ok(if self.optimizer.steps() >= self.config.steps {
            Progress::Finished
        } else {
            Progress::Running
        })
    }

    fn save(&self) -> Result<State> {
        let mut state = State::default();
        self.optimizer.save(&mut state)?;
        if let Some(offset) = &self.offset {
            state.tensors.insert("offset".to_owned(), offset.clone());
        }
        Ok(state)
    }

    fn load(&mut self, state: &State) -> Result<()> {
        let shape = [1, 3, self.config.height, self.config.width];
        let offset = match state.tensors.contains_key("offset") {
            true => Some(state.tensor("offset", &shape)?.clone()),
            false => None,
        };
        self.optimizer.load(state)?;
        self.offset = offset;
        Ok(())
    }
}

/// `count` numbers of a normal distribution around 0.
fn normals(rng: &mut ChaCha8Rng, count: usize, deviation: f64) -> Vec<f32> {
    use rand::Rng;
    if deviation == 0.0 {
        return vec![0.0; count];
    }
    (0..count)
        .map(|_| {
            // Box and Muller 1958; 1 - u is never 0
            let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
            let angle = std::f64::consts::TAU * rng.random::<f64>();
            (radius * angle.cos() * deviation) as f32
        })
        .collect()
}
