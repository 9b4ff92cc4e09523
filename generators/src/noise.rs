//! Noise optimisation: the noise that a one-step diffusion model makes a picture of is what is painted with (ReNO, Eyring et al. 2024, arXiv
//! 2406.04312).

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, Var, bail};
use frozen::Pullback;

use crate::diffusion::{Canvas, Denoise, Space, noise};
use crate::{
    Generator, LearningRate, Optimizer, OptimizerKind, Progress, State, check_gradient, share_done,
};

/// All that decides how [`Noise`] paints.
#[derive(Clone, Debug)]
pub struct NoiseConfig {
    /// Width of the picture in pixels.
    pub width: usize,
    /// Height of the picture in pixels.
    pub height: usize,
    /// Width and height that the network works at, resized to the picture's; `None` is the picture's. Sides that the network cannot
    /// work at are rounded up.
    pub inner: Option<[usize; 2]>,
    /// Where the network makes its picture.
    pub space: Space,
    /// The learning rate over the render, of gradient descent with Nesterov's momentum.
    pub lr: LearningRate,
    /// How much of the last direction goes on, 0..1.
    pub momentum: f64,
    /// The largest length of the gradient, above 0.
    pub clip: f64,
    /// The weight of `|e|^2 / 2 - (d - 1) log |e|`, with `d` numbers of noise `e`: up to a constant the negative log density of the length of
    /// normal noise, so that it stays one that the network knows.
    pub regularize: f64,
    /// Steps in all.
    pub steps: usize,
    /// Decides the noise of the start.
    pub seed: u64,
}

/// The picture of the noise as it is, and the way back from its gradient.
struct Sight {
    image: Tensor,
    pullback: Pullback,
}

/// A picture as the noise that a one-step model makes it of.
///
/// What is rendered is the picture of the noise as it is; the one to keep is that of the least loss that was seen ([`Generator::judged`]).
pub struct Noise {
    config: NoiseConfig,
    canvas: Canvas,
    model: Arc<dyn Denoise>,
    optimizer: Optimizer,
    sight: Option<Sight>,
    /// The picture of the least loss, and that loss.
    best: Option<(Tensor, f64)>,
}

impl Noise {
    /// A painting at its start.
    ///
    /// # Errors
    /// Where sizes are 0, or the gradient's largest length is not above 0.
    pub fn new(config: NoiseConfig, model: Arc<dyn Denoise>, device: &Device) -> Result<Self> {
        if config.clip.is_nan() || config.clip <= 0.0 {
            bail!(
                "a gradient of a length of at most {}: it must be above 0",
                config.clip
            );
        }
        let size = [config.width, config.height];
        let canvas = Canvas::new(config.space.clone(), size, config.inner, model.multiple())?;
        let start = noise(config.seed, 0, &canvas.shape(), device)?;
        let kind = OptimizerKind::Sgd {
            momentum: config.momentum,
            dampening: 0.0,
            nesterov: true,
            weight_decay: 0.0,
        };
        Ok(Self {
            config,
            canvas,
            model,
            optimizer: Optimizer::new(kind, vec![Var::from_tensor(&start)?])?,
            sight: None,
            best: None,
        })
    }

    /// Width and height that the network works at.
    pub fn inner_size(&self) -> [usize; 2] {
        self.canvas.inner()
    }

    /// The noise, of unit variance: `[1, channels, height, width]`.
    pub fn noise(&self) -> &Var {
        &self.optimizer.parameters()[0]
    }

    fn share_done(&self) -> f64 {
        share_done(self.optimizer.steps(), self.config.steps)
    }

    fn progress(&self) -> Progress {
        Progress::after(self.optimizer.steps(), self.config.steps)
    }

    fn look(&self) -> Result<Sight> {
        let sigma = self.model.levels().largest();
        // what the network sees is then the noise itself
        let scale = (1.0 + sigma * sigma).sqrt();
        let x = (self.noise().as_detached_tensor() * scale)?;
        let (clean, network) = self.model.vjp(&x, sigma)?;
        let (image, Some(decode)) = self.canvas.show(&clean, true)? else {
            bail!("a picture without a way back")
        };
        Ok(Sight {
            image,
            pullback: Box::new(move |grad| network(&decode(grad)?)? * scale),
        })
    }

    /// The gradient with that of the regulariser, held to its largest length.
    fn held(&self, grad: &Tensor) -> Result<Tensor> {
        let e = self.noise().as_detached_tensor();
        let square = f64::max(sum_of_squares(&e)?, f64::MIN_POSITIVE);
        let towards = 1.0 - (e.elem_count() as f64 - 1.0) / square;
        let grad = (grad + (e * (self.config.regularize * towards))?)?;
        let length = sum_of_squares(&grad)?.sqrt();
        match length > self.config.clip {
            true => grad * (self.config.clip / length),
            false => Ok(grad),
        }
    }
}

fn sum_of_squares(x: &Tensor) -> Result<f64> {
    x.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar()
}

impl Generator for Noise {
    fn render(&mut self) -> Result<Tensor> {
        let sight = match self.sight.take() {
            Some(sight) => sight,
            None => self.look()?,
        };
        let image = sight.image.clone();
        self.sight = Some(sight);
        Ok(image)
    }

    fn judged(&mut self, loss: f64) -> Result<()> {
        let Some(sight) = &self.sight else {
            bail!("a loss needs a render before it");
        };
        if (self.best.as_ref()).is_none_or(|(_, least)| loss < *least) {
            self.best = Some((sight.image.clone(), loss));
        }
        Ok(())
    }

    /// The best picture is the best under the current objective.
    fn aims_changed(&mut self) {
        self.best = None;
    }

    fn step(&mut self, _: Tensor, grad: &Tensor) -> Result<Progress> {
        if self.progress() == Progress::Finished {
            return Ok(Progress::Finished);
        }
        let Some(sight) = self.sight.take() else {
            bail!("a step needs a render before it");
        };
        check_gradient(grad, &sight.image)?;
        let grad = grad.detach().to_dtype(self.noise().dtype())?;
        let grad = self.held(&(sight.pullback)(&grad)?)?;
        let lr = self.config.lr.at(self.share_done());
        self.optimizer.step(&[grad], lr)?;
        Ok(self.progress())
    }

    fn picture(&mut self) -> Result<Tensor> {
        match &self.best {
            Some((image, _)) => Ok(image.clone()),
            None => self.render(),
        }
    }

    fn save(&self) -> Result<State> {
        let mut state = State::default();
        self.optimizer.save(&mut state)?;
        if let Some((image, loss)) = &self.best {
            state.tensors.insert("best".to_owned(), image.clone());
            state.scalars.insert("best.loss".to_owned(), *loss);
        }
        Ok(state)
    }

    fn load(&mut self, state: &State) -> Result<()> {
        let best = match state.tensors.contains_key("best") {
            false => None,
            true => {
                let shape = [1, 3, self.config.height, self.config.width];
                let image = state.tensor("best", &shape)?;
                let image = image.to_device(self.noise().device())?;
                Some((image, state.scalar("best.loss")?))
            }
        };
        self.optimizer.load(state)?;
        self.best = best;
        self.sight = None;
        Ok(())
    }
}
