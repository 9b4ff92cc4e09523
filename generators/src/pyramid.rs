//! The image pyramid: layers of several sizes, each enlarged to the picture's size, summed and brought to 0..=1.
//!
//! One generator, two ancestors. imstack's image stack (johnowhitaker/imstack, core.py) has a few layers in geometric
//! steps, starts from noise that decays towards the fine layers, and follows Adam. Direct Ascent Synthesis (Fort and
//! Whitaker, arXiv 2502.07753) has a layer of every size, starts from zero, and follows plain gradient descent, which
//! amounts to a strong preference for coarse changes over fine ones.

use candle_core::{DType, Device, Result, Tensor, Var, bail};
use frozen::{Filter, Layer, Pullback, Resample};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::optimizer::{Optimizer, OptimizerKind};
use crate::{ClampWithGrad, Generator, LearningRate, Progress, State, share_done};

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
    pub lr: LearningRate,
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
    /// From the gradient of the last render to those of the layers.
    pullbacks: Option<Pullbacks>,
}

struct Pullbacks {
    squash: Pullback,
    layers: Vec<Pullback>,
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
            pullbacks: None,
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

    /// The sum of the layers, before squashing, and how each layer's gradient follows from its own.
    fn sum(&self) -> Result<(Tensor, Vec<Pullback>)> {
        let mut sum = self.offset.clone();
        let mut pullbacks = vec![];
        for (layer, parameter) in self.layers.iter().zip(self.optimizer.parameters()) {
            let (part, pullback) = layer.up.vjp(&parameter.as_detached_tensor())?;
            let part = scaled(part, layer.gain)?;
            pullbacks.push(pullback);
            sum = Some(match sum {
                None => part,
                Some(sum) => (sum + part)?,
            });
        }
        match sum {
            Some(sum) => Ok((sum, pullbacks)),
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
            let part = scaled(layer.up.eval(&grad)?, layer.gain)?;
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
        share_done(self.optimizer.steps(), self.config.steps)
    }
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
        Ok(image)
    }

    fn step(&mut self, _: Tensor, grad: &Tensor) -> Result<Progress> {
        if self.optimizer.steps() >= self.config.steps {
            return Ok(Progress::Finished);
        }
        let Some(pullbacks) = self.pullbacks.take() else {
            bail!("a step needs a render before it");
        };
        let grad = (pullbacks.squash)(&grad.detach())?;
        let t = self.share_done();
        let count = self.layers.len() as f64;
        let mut grads = vec![];
        for (i, (layer, pullback)) in self.layers.iter().zip(&pullbacks.layers).enumerate() {
            let waits = t < self.config.progressive * i as f64 / count;
            grads.push(match waits {
                true => self.parameters()[i].zeros_like()?,
                false => scaled(pullback(&grad)?, layer.gain)?,
            });
        }
        if self.config.normalize {
            grads = self.normalized(grads)?;
        }
        self.optimizer.step(&grads, self.config.lr.at(t))?;
        Ok(Progress::after(self.optimizer.steps(), self.config.steps))
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
pub(crate) fn normals(rng: &mut ChaCha8Rng, count: usize, deviation: f64) -> Vec<f32> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config(optimizer: OptimizerKind) -> PyramidConfig {
        PyramidConfig {
            width: 13,
            height: 9,
            sides: Sides::List(vec![1, 3, 6]),
            decay: 0.7,
            gain: 1.3,
            noise: 0.5,
            squash: Squash::Sigmoid,
            filter: Filter::Bicubic,
            optimizer,
            lr: LearningRate::from(0.1),
            normalize: false,
            progressive: 0.0,
            steps: 10,
            seed: 3,
        }
    }

    const SGD: OptimizerKind = OptimizerKind::Sgd {
        momentum: 0.0,
        dampening: 0.0,
        nesterov: false,
        weight_decay: 0.0,
    };
    const ADAM: OptimizerKind = OptimizerKind::Adam { weight_decay: 0.0 };

    fn grad(pyramid: &Pyramid) -> Result<Tensor> {
        let (h, w) = (pyramid.config.height, pyramid.config.width);
        let values: Vec<f32> = (0..3 * h * w).map(|i| (1.3 * i as f32).sin()).collect();
        Tensor::from_vec(values, (1, 3, h, w), &Device::Cpu)
    }

    fn loss(pyramid: &mut Pyramid) -> Result<f64> {
        let image = pyramid.render()?;
        let sum = (image * grad(pyramid)?)?.sum_all()?;
        Ok(f64::from(sum.to_scalar::<f32>()?))
    }

    #[test]
    fn the_gradient_of_every_layer_matches_finite_differences() -> Result<()> {
        for squash in [Squash::Sigmoid, Squash::Tanh, Squash::Clamp] {
            let mut config = config(SGD);
            config.squash = squash;
            config.noise = 0.1;
            config.lr = LearningRate::from(1.0);
            let mut pyramid = Pyramid::new(config, None, &Device::Cpu)?;
            let before: Vec<Tensor> = (pyramid.parameters().iter())
                .map(|p| p.as_detached_tensor().copy())
                .collect::<Result<_>>()?;
            let image = pyramid.render()?;
            let upstream = grad(&pyramid)?;
            pyramid.step(image, &upstream)?;
            // with a learning rate of 1 the step is the gradient
            let found: Vec<Tensor> = (pyramid.parameters().iter().zip(&before))
                .map(|(p, before)| before - p.as_detached_tensor())
                .collect::<Result<_>>()?;
            for (layer, before_all) in before.iter().enumerate() {
                for (p, before) in pyramid.parameters().iter().zip(&before) {
                    p.set(before)?;
                }
                let values = before_all.flatten_all()?.to_vec1::<f32>()?;
                let found = found[layer].flatten_all()?.to_vec1::<f32>()?;
                for i in (0..values.len()).step_by(5) {
                    let mut at = |h: f32| -> Result<f64> {
                        let mut moved = values.clone();
                        moved[i] += h;
                        let moved = Tensor::from_vec(moved, before_all.shape(), &Device::Cpu)?;
                        pyramid.parameters()[layer].set(&moved)?;
                        loss(&mut pyramid)
                    };
                    let slope = (at(1e-2)? - at(-1e-2)?) / 2e-2;
                    let error = (slope - f64::from(found[i])).abs();
                    assert!(error < 5e-3, "{squash:?} {layer} {i}: {slope} {}", found[i]);
                }
            }
        }
        Ok(())
    }

    #[test]
    fn an_init_image_is_the_first_render() -> Result<()> {
        for squash in [Squash::Sigmoid, Squash::Tanh, Squash::Clamp] {
            let mut config = config(SGD);
            config.squash = squash;
            let values: Vec<f32> = (0..3 * 9 * 13)
                .map(|i| 0.5 + 0.45 * (0.7 * i as f32).sin())
                .collect();
            let init = Tensor::from_vec(values, (1, 3, 9, 13), &Device::Cpu)?;
            let mut pyramid = Pyramid::new(config, Some(&init), &Device::Cpu)?;
            let off = (pyramid.render()? - &init)?.abs()?.max_all()?;
            assert!(off.to_scalar::<f32>()? < 1e-5, "{squash:?}");
        }
        Ok(())
    }

    #[test]
    fn a_saved_pyramid_goes_on_to_the_same_bytes() -> Result<()> {
        for kind in [SGD, ADAM] {
            let mut whole = Pyramid::new(config(kind), None, &Device::Cpu)?;
            let upstream = grad(&whole)?;
            let run = |pyramid: &mut Pyramid, steps: usize| -> Result<()> {
                for _ in 0..steps {
                    let image = pyramid.render()?;
                    pyramid.step(image, &upstream)?;
                }
                Ok(())
            };
            run(&mut whole, 2)?;
            let saved = whole.save()?;
            run(&mut whole, 3)?;
            let mut other = config(kind);
            other.seed = 99;
            let mut resumed = Pyramid::new(other, None, &Device::Cpu)?;
            resumed.load(&saved)?;
            run(&mut resumed, 3)?;
            let values = |p: &mut Pyramid| p.render()?.flatten_all()?.to_vec1::<f32>();
            assert_eq!(values(&mut whole)?, values(&mut resumed)?);
        }
        Ok(())
    }

    #[test]
    fn a_state_of_another_size_is_refused_and_changes_nothing() -> Result<()> {
        let mut small = config(ADAM);
        small.sides = Sides::List(vec![2, 4, 5]);
        let saved = Pyramid::new(small, None, &Device::Cpu)?.save()?;
        let mut pyramid = Pyramid::new(config(ADAM), None, &Device::Cpu)?;
        let before = pyramid.render()?.flatten_all()?.to_vec1::<f32>()?;
        let error = pyramid.load(&saved).expect_err("another size").to_string();
        assert!(error.contains("another size"), "{error}");
        assert_eq!(before, pyramid.render()?.flatten_all()?.to_vec1::<f32>()?);
        Ok(())
    }

    #[test]
    fn a_normalized_step_has_the_learning_rate_as_its_root_mean_square() -> Result<()> {
        let mut config = config(SGD);
        config.normalize = true;
        config.squash = Squash::Clamp;
        config.noise = 0.0;
        config.lr = LearningRate::from(0.03);
        let mut pyramid = Pyramid::new(config, None, &Device::Cpu)?;
        let before = pyramid.render()?;
        let upstream = grad(&pyramid)?;
        pyramid.step(before.clone(), &upstream)?;
        let rms = (pyramid.render()? - before)?.sqr()?.mean_all()?.sqrt()?;
        assert!((rms.to_scalar::<f32>()? - 0.03).abs() < 1e-4);
        Ok(())
    }

    #[test]
    fn progressive_layers_wait() -> Result<()> {
        let mut config = config(SGD);
        config.progressive = 1.0;
        let mut pyramid = Pyramid::new(config, None, &Device::Cpu)?;
        let before: Vec<Vec<f32>> = (pyramid.parameters().iter())
            .map(|p| p.as_detached_tensor().copy()?.flatten_all()?.to_vec1())
            .collect::<Result<_>>()?;
        let image = pyramid.render()?;
        let upstream = grad(&pyramid)?;
        pyramid.step(image, &upstream)?;
        let same = |i: usize| -> Result<bool> {
            Ok(pyramid.parameters()[i].flatten_all()?.to_vec1::<f32>()? == before[i])
        };
        assert!(!same(0)? && same(1)? && same(2)?);
        Ok(())
    }

    #[test]
    fn all_sides_are_thinned_to_a_geometric_series() {
        assert_eq!(Sides::All.resolve(5), [1, 2, 3, 4, 5]);
        let many = Sides::All.resolve(512);
        assert!(many.len() <= Sides::DENSE && many.len() > 20);
        assert_eq!((many[0], many[many.len() - 1]), (1, 512));
        assert!(many.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
