//! The trait of all generators' configurations, and the other inputs that generators are built from.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use candle_core::{DType, Device, Result, Tensor, bail};
use phantasia_core::check::Checker;
use phantasia_core::{Prompt, Schedule, Seamless};
use weights::models::EMBEDDED;

use crate::diffusion::Pipeline;
use crate::{Autoencoder, Generator, Guide, Progress};

/// The configuration of a kind of generator. The ranges of its settings stand on its fields, as attributes of their schema.
pub trait Build {
    /// Builds the generator at its start.
    ///
    /// # Errors
    /// When a model cannot be loaded, or the size or the image to start from does not fit.
    fn build(&self, context: &mut BuildContext<'_>) -> anyhow::Result<Box<dyn Generator>>;

    /// Reports what the ranges of single settings cannot express.
    fn check(&self, _checker: &mut Checker) {}

    /// Whether a render of no steps makes sense: its picture is the image to start from, as the generator represents it.
    fn allows_zero_steps(&self) -> bool {
        false
    }

    /// The setting that requires an image to start from, if one does.
    fn needs_init(&self) -> Option<&'static str> {
        None
    }

    /// Reports why pictures of this configuration cannot be seamless along these axes. By default no picture of the kind can.
    fn check_seamless(&self, _axes: Seamless, checker: &mut Checker) {
        let message = "its pictures have edges, and cannot be `seamless`: choose another kind, or leave `seamless` out";
        checker.invalid("kind", message);
    }

    /// Reports why pictures of this configuration cannot be symmetric. By default they can: a generator that follows a gradient also follows that
    /// of a mean of copies.
    fn check_symmetry(&self, _checker: &mut Checker) {}

    /// Whether it paints pictures of any width and height as they are. For pixel art such a generator paints a pixel for each block; of the others'
    /// pictures the blocks are averaged.
    fn paints_any_size(&self) -> bool {
        true
    }

    /// Whether its pictures are of one colour by configuration.
    fn is_one_color(&self) -> bool {
        false
    }

    /// What to change where `steps` steps have led to nearly one even colour; `key` returns the full name of a setting.
    fn remedies_for_flatness(&self, _steps: usize, key: &dyn Fn(&str) -> String) -> Vec<String> {
        vec!["more `steps`".to_owned(), format!("a higher {}", key("lr"))]
    }

    /// A commented recipe to start from, if there is one.
    fn template(&self) -> Option<&'static str> {
        None
    }
}

/// The inputs of a generator other than its configuration.
pub struct BuildContext<'a> {
    /// Width and height of the picture in pixels.
    pub size: [usize; 2],
    /// How many steps it will make.
    pub steps: usize,
    /// Decides its random numbers.
    pub seed: u64,
    /// The prompts at its start.
    pub prompts: &'a [Prompt],
    /// The image to start from: `[1, 3, height, width]` of that size, in 0..=1.
    pub init: Option<&'a Tensor>,
    /// The axes along which the picture repeats without a seam.
    pub seamless: Seamless,
    /// Where it computes.
    pub device: &'a Device,
    /// The factor of its learning rate.
    pub learning_rate_scale: LearningRateScale,
    /// The source of its models.
    pub models: Option<&'a dyn ModelSource>,
    /// Answers questions about the objective; `None` outside of a session.
    pub guide: Option<&'a mut dyn Guide>,
    /// Whether a saved state is loaded into it next, so that its start does not matter.
    pub is_restored: bool,
    /// The name of its picture in the warning that the model cannot paint the size that was asked for. `None` means no warning: the size was not
    /// set by the user, and the next stage resizes the picture anyway.
    pub picture: Option<String>,
    /// Sentences for the user, such as about a size that had to be changed. Building adds to them.
    pub warnings: Vec<String>,
    /// Information for the user, such as which start was chosen.
    pub notes: Vec<String>,
}

impl<'a> BuildContext<'a> {
    /// A context without prompts, an image to start from, models and a guide.
    pub fn new(size: [usize; 2], steps: usize, seed: u64, device: &'a Device) -> Self {
        Self {
            size,
            steps,
            seed,
            prompts: &[],
            init: None,
            seamless: Seamless::No,
            device,
            learning_rate_scale: LearningRateScale::default(),
            models: None,
            guide: None,
            is_restored: false,
            picture: Some("the picture".to_owned()),
            warnings: vec![],
            notes: vec![],
        }
    }

    /// Width and height.
    ///
    /// # Errors
    /// When one of them is 0.
    pub fn sides(&self) -> Result<(usize, usize)> {
        let [width, height] = self.size;
        if width == 0 || height == 0 {
            bail!("a picture of {width}x{height} has no pixels");
        }
        Ok((width, height))
    }

    /// Warns if the picture has another size than it was asked for. `why` is a clause.
    pub(crate) fn warn_of_size(&mut self, [width, height]: [usize; 2], why: &str) {
        let [asked_width, asked_height] = self.size;
        if let Some(picture) = &self.picture
            && [width, height] != self.size
        {
            self.warnings.push(format!(
                "{picture} is {width} x {height} instead of {asked_width} x {asked_height}: {why}"
            ));
        }
    }

    /// The image to start from, as f32 and without a graph.
    ///
    /// # Errors
    /// When it has another size than the picture.
    pub fn init(&self) -> Result<Option<Tensor>> {
        let Some(init) = self.init else {
            return Ok(None);
        };
        let [width, height] = self.size;
        let expected = [1, 3, height, width];
        if init.dims() != expected {
            bail!(
                "the init image has shape {:?}, and {expected:?} is expected",
                init.dims()
            );
        }
        init.detach().to_dtype(DType::F32).map(Some)
    }

    /// A schedule over the steps of the generator, multiplied by the scale.
    pub fn learning_rate(&self, schedule: &Schedule) -> LearningRate {
        LearningRate {
            schedule: schedule.clone(),
            scale: self.learning_rate_scale.clone(),
            steps: self.steps,
        }
    }

    /// A schedule over the steps of the generator that the scale of learning rates does not change.
    pub fn unscaled(&self, schedule: &Schedule) -> LearningRate {
        LearningRate {
            schedule: schedule.clone(),
            scale: LearningRateScale::default(),
            steps: self.steps,
        }
    }

    /// The source of models.
    ///
    /// # Errors
    /// When there is none.
    pub fn models(&self) -> anyhow::Result<&'a dyn ModelSource> {
        self.models.context("models cannot be loaded here")
    }

    /// Finds a diffusion model by its name, or takes the embedded one.
    ///
    /// # Errors
    /// When it is not on this machine.
    pub fn diffusion(&self, name: &str) -> anyhow::Result<Pipeline> {
        if name == EMBEDDED {
            return Ok(Pipeline::Embedded);
        }
        Ok(Pipeline::Folder(self.models()?.diffusion(name)?))
    }

    /// Loads an autoencoder by its name, or the embedded one. Its pictures are seamless as the context's.
    ///
    /// # Errors
    /// When it is not on this machine, or cannot be read.
    pub fn autoencoder(&mut self, name: &str) -> anyhow::Result<Arc<Autoencoder>> {
        let autoencoder = if name == EMBEDDED {
            Autoencoder::embedded(self.seamless, self.device)?
        } else {
            let path = self.models()?.autoencoder(name)?;
            Autoencoder::open_seamless(&path, self.seamless, self.device)
                .with_context(|| format!("cannot load the autoencoder in {}", path.display()))?
        };
        self.warnings.extend_from_slice(autoencoder.warnings());
        Ok(Arc::new(autoencoder))
    }
}

/// Finds models, and encodes the texts of diffusion models, which generators cannot.
pub trait ModelSource {
    /// The folder of a diffusion model.
    ///
    /// # Errors
    /// When it is not on this machine.
    fn diffusion(&self, name: &str) -> anyhow::Result<PathBuf>;

    /// The file or folder of an autoencoder.
    ///
    /// # Errors
    /// When it is not on this machine.
    fn autoencoder(&self, name: &str) -> anyhow::Result<PathBuf>;

    /// The file or folder of a GAN.
    ///
    /// # Errors
    /// When it is not on this machine.
    fn gan(&self, name: &str) -> anyhow::Result<PathBuf>;

    /// Encodes texts with the text encoder of a model that is conditioned on them, `[1, tokens, channels]` each.
    ///
    /// # Errors
    /// When the text encoder cannot be loaded.
    fn encode_texts(
        &self,
        pipeline: &Pipeline,
        texts: &[&str],
        device: &Device,
        warnings: &mut Vec<String>,
    ) -> anyhow::Result<Vec<Tensor>>;
}

/// The factor of learning rates. Clones share the number, so that it can be changed during a render.
#[derive(Clone, Debug)]
pub struct LearningRateScale(Arc<AtomicU64>);

impl Default for LearningRateScale {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(1f64.to_bits())))
    }
}

impl LearningRateScale {
    /// The number, 1 at first.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// Changes the number, for all clones.
    pub fn set(&self, scale: f64) {
        self.0.store(scale.to_bits(), Ordering::Relaxed);
    }
}

/// A schedule over the steps of a generator, multiplied by a [`LearningRateScale`].
#[derive(Clone, Debug)]
pub struct LearningRate {
    schedule: Schedule,
    scale: LearningRateScale,
    steps: usize,
}

impl LearningRate {
    /// The value after `done` steps.
    pub fn at(&self, done: usize) -> f64 {
        self.schedule.at(self.t(done)) * self.scale.get()
    }

    /// The share of the steps that is done, 0 at the first and 1 at the last.
    pub fn t(&self, done: usize) -> f64 {
        let last = self.steps.saturating_sub(1).max(1);
        (done as f64 / last as f64).min(1.0)
    }

    /// Whether all steps are done.
    pub fn progress(&self, done: usize) -> Progress {
        if done >= self.steps {
            Progress::Finished
        } else {
            Progress::Running
        }
    }
}

/// Refuses a learning rate at which nothing would ever change.
pub(crate) fn check_learning_rate(checker: &mut Checker, path: &str, lr: &Schedule) {
    if lr.bounds() == (0.0, 0.0) {
        checker.invalid(path, "it is 0 throughout, so that nothing would change");
    }
}
