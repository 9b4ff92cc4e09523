//! Noise optimisation: the noise that a one-step diffusion model turns into a picture is optimised (ReNO, Eyring et al. 2024, arXiv
//! 2406.04312).

use std::sync::Arc;

use anyhow::Context as _;
use candle_core::{DType, Result, Tensor, Var, bail};
use frozen::Pullback;
use phantasia_core::check::Checker;
use phantasia_core::{Schedule, Seamless};
use weights::models::EMBEDDED;

use crate::build::check_learning_rate;
use crate::diffusion::{
    ASYMMETRIC, Canvas, Denoiser, LoadOptions, Pipeline, Space, TextGuidance, check_vae, noise,
};
use crate::starts::Starts;
use crate::{
    Build, BuildContext, Generator, Optimizer, OptimizerConfig, OptimizerKind, Progress, State,
    check_gradient,
};

phantasia_core::config! {
    /// Noise optimisation (ReNO): the noise that a one-step Stable Diffusion turns into a picture is optimised, and the best picture is kept.
    #[schemars(rename = "NoiseConfig")]
    pub struct Config {
        /// A Stable Diffusion that needs one step, such as `stabilityai/sd-turbo`: a folder, or a repository's name.
        #[schemars(extend("format" = "model", "x-kind" = "diffusion"))]
        pub model: String = "stabilityai/sd-turbo".into(),
        /// The text that it is conditioned on; null takes the texts of the prompts without a region whose weight is above 0, as they are when it begins.
        pub prompt: Option<String> = None,
        /// The text that it is guided away from; null takes the texts of the prompts without a region whose weight is below 0. Read where `cfg` is not 1.
        pub negative_prompt: Option<String> = None,
        /// The scale of classifier-free guidance from the negative text to the wanted one: models of one step are made for 1.
        #[schemars(range(min = 0, max = 100))]
        pub cfg: f64 = 1.0,
        /// The autoencoder instead of its own: a folder, a file, or the name of a known model such as `madebyollin/taesd`.
        #[schemars(extend("format" = "model", "x-kind" = "latent"))]
        pub vae: Option<String> = None,
        /// The learning rate, of gradient descent with Nesterov's momentum.
        #[schemars(range(min = 0))]
        pub lr: Schedule = 5.0.into(),
        /// The share of the last step that is kept.
        #[schemars(range(min = 0, max = 1))]
        pub momentum: f64 = 0.9,
        /// The largest length of the gradient.
        #[schemars(extend("exclusiveMinimum" = 0))]
        pub clip: f64 = 0.1,
        /// How strongly the noise is kept at the length of normal noise.
        ///
        /// The weight of `|e|^2 / 2 - (d - 1) log |e|`, with `d` numbers of noise `e`: up to a constant the negative log density of the length
        /// of normal noise.
        #[schemars(range(min = 0, max = 1e6))]
        pub regularize: f64 = 0.01,
        /// Width and height that the network works at; null is the picture's size. Models work best at the size that they were trained at.
        #[schemars(inner(range(min = 1, max = 16384)))]
        pub resolution: Option<[usize; 2]> = None,
        /// Keep less in memory for the gradient through the network and recompute it: about a third slower.
        pub gradient_checkpointing: bool = true,
        #[expect(missing_docs, reason = "the type's docs say it")]
        pub starts: Starts = Starts::default(),
    }
}

/// What `embedded` is, in messages.
const EMBEDDED_MODEL: &str = "the embedded model";

impl Build for Config {
    fn build(&self, context: &mut BuildContext<'_>) -> anyhow::Result<Box<dyn Generator>> {
        let pipeline = context.diffusion(&self.model)?;
        let failure = || format!("cannot load the diffusion model `{}`", self.model);
        let what = match pipeline {
            Pipeline::Embedded => Some(EMBEDDED_MODEL),
            _ if !pipeline.is_conditional().with_context(failure)? => {
                Some("an unconditional model")
            }
            _ => None,
        };
        if let Some(what) = what {
            anyhow::bail!(self.needs_many_steps(what));
        }
        let loading = LoadOptions {
            recompute: self.gradient_checkpointing,
            clip: None,
            seamless: context.seamless,
        };
        let texts = TextGuidance {
            prompt: self.prompt.as_deref(),
            negative_prompt: self.negative_prompt.as_deref(),
            cfg: self.cfg,
            vae: self.vae.as_deref(),
        };
        let (model, space) = (texts.load(&pipeline, loading, context)).with_context(failure)?;
        if context.init.is_some() {
            let warning = "`kind: noise` starts from noise: the picture to start from is not read";
            context.warnings.push(warning.to_owned());
        }
        let noise = self.starts.best(false, context, |context| {
            Ok(Noise::new(
                self,
                Arc::clone(&model),
                space.clone(),
                context,
            )?)
        })?;
        Ok(Box::new(noise))
    }

    fn check(&self, checker: &mut Checker) {
        check_learning_rate(checker, "lr", &self.lr);
        if self.model == EMBEDDED {
            checker.invalid("model", self.needs_many_steps(EMBEDDED_MODEL));
        } else {
            check_vae(&self.model, self.vae.as_deref(), checker);
        }
        if let Some(size) = self.resolution {
            checker.pixels("resolution", size);
        }
    }

    fn check_seamless(&self, _: Seamless, _: &mut Checker) {}

    fn check_symmetry(&self, checker: &mut Checker) {
        checker.invalid("kind", ASYMMETRIC);
    }

    fn remedies_for_flatness(&self, _: usize, key: &dyn Fn(&str) -> String) -> Vec<String> {
        vec![format!("a lower {}", key("lr")), "fewer `steps`".to_owned()]
    }

    fn paints_any_size(&self) -> bool {
        false
    }

    fn template(&self) -> Option<&'static str> {
        Some(include_str!("../recipes/noise.yaml"))
    }
}

impl Config {
    /// Why a model of that sort is refused.
    fn needs_many_steps(&self, what: &str) -> String {
        format!(
            "`{}` is {what}, which needs many steps: `kind: noise` takes a Stable Diffusion that needs one, such as `stabilityai/sd-turbo`",
            self.model
        )
    }
}

/// The picture of the present noise, with its pullback.
struct Rendered {
    image: Tensor,
    pullback: Pullback,
}

/// A picture as the noise that a one-step model makes it of.
///
/// It renders the picture of the present noise, and keeps the picture of the least loss so far ([`Generator::observe_loss`]).
pub struct Noise {
    config: Config,
    canvas: Canvas,
    model: Arc<dyn Denoiser>,
    optimizer: Optimizer,
    rendered: Option<Rendered>,
    /// The picture of the least loss, and that loss.
    best: Option<(Tensor, f64)>,
}

impl Noise {
    /// The noise at its start.
    ///
    /// # Errors
    /// Where sizes are 0.
    pub fn new(
        config: &Config,
        model: Arc<dyn Denoiser>,
        space: Space,
        context: &mut BuildContext<'_>,
    ) -> Result<Self> {
        let inner = config.resolution.unwrap_or(context.size);
        let canvas = Canvas::new(&config.model, space, inner, model.multiple(), context)?;
        let start = noise(context.seed, 0, &canvas.shape(), context.device)?;
        let optimizer = OptimizerConfig {
            momentum: config.momentum,
            nesterov: true,
            ..OptimizerConfig::new(OptimizerKind::Sgd)
        };
        let lr = context.learning_rate(&config.lr);
        Ok(Self {
            optimizer: Optimizer::new(optimizer, lr, vec![Var::from_tensor(&start)?])?,
            config: config.clone(),
            canvas,
            model,
            rendered: None,
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

    fn render_noise(&self) -> Result<Rendered> {
        let sigma = self.model.levels().largest();
        // what the network sees is then the noise itself
        let scale = (1.0 + sigma * sigma).sqrt();
        let x = (self.noise().as_detached_tensor() * scale)?;
        let (clean, network) = self.model.vjp(&x, sigma)?;
        let (image, Some(decode)) = self.canvas.show(&clean, true)? else {
            bail!("a picture without a pullback")
        };
        Ok(Rendered {
            image,
            pullback: Box::new(move |grad| network(&decode(grad)?)? * scale),
        })
    }

    /// The gradient with that of the regulariser, clipped to its largest length.
    fn clipped(&self, grad: &Tensor) -> Result<Tensor> {
        let e = self.noise().as_detached_tensor();
        let square = f64::max(sum_of_squares(&e)?, f64::MIN_POSITIVE);
        let factor = 1.0 - (e.elem_count() as f64 - 1.0) / square;
        let grad = (grad + (e * (self.config.regularize * factor))?)?;
        let length = sum_of_squares(&grad)?.sqrt();
        if length > self.config.clip {
            grad * (self.config.clip / length)
        } else {
            Ok(grad)
        }
    }
}

fn sum_of_squares(x: &Tensor) -> Result<f64> {
    x.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar()
}

impl Generator for Noise {
    fn render(&mut self) -> Result<Tensor> {
        let rendered = match self.rendered.take() {
            Some(rendered) => rendered,
            None => self.render_noise()?,
        };
        let image = rendered.image.clone();
        self.rendered = Some(rendered);
        Ok(image)
    }

    fn observe_loss(&mut self, loss: f64) -> Result<()> {
        let Some(rendered) = &self.rendered else {
            bail!("a loss needs a render before it");
        };
        if (self.best.as_ref()).is_none_or(|(_, least)| loss < *least) {
            self.best = Some((rendered.image.clone(), loss));
        }
        Ok(())
    }

    /// The best picture is the best under the current objective.
    fn objective_changed(&mut self) {
        self.best = None;
    }

    fn step(&mut self, _: Tensor, grad: &Tensor) -> Result<Progress> {
        if self.optimizer.progress() == Progress::Finished {
            return Ok(Progress::Finished);
        }
        let Some(rendered) = self.rendered.take() else {
            bail!("a step needs a render before it");
        };
        check_gradient(grad, &rendered.image)?;
        let grad = grad.detach().to_dtype(self.noise().dtype())?;
        let grad = self.clipped(&(rendered.pullback)(&grad)?)?;
        self.optimizer.step(&[grad])
    }

    fn picture(&mut self) -> Result<Tensor> {
        match &self.best {
            Some((image, _)) => Ok(image.clone()),
            None => self.render(),
        }
    }

    fn save(&self) -> Result<State> {
        let mut state = self.optimizer.save()?;
        if let Some((image, loss)) = &self.best {
            state.tensors.insert("best".to_owned(), image.clone());
            state.scalars.insert("best.loss".to_owned(), *loss);
        }
        Ok(state)
    }

    fn load(&mut self, state: &State) -> Result<()> {
        let [width, height] = self.canvas.size();
        let best = match state.optional("best", &[1, 3, height, width])? {
            None => None,
            Some(image) => {
                let image = image.to_device(self.noise().device())?;
                Some((image, state.scalar("best.loss")?))
            }
        };
        self.optimizer.load(state)?;
        self.best = best;
        self.rendered = None;
        Ok(())
    }
}
