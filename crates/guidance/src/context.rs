//! What terms are built from.

use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyhow::Result;
use candle_core::Device;
use clip::{Clip, ClipChoice, Library};
use phantasia_core::check::Checker;
use phantasia_core::{Prompt, PromptSchedule, Seamless};

use crate::cutouts::{self, CutoutSampler};
use crate::direction::BasePicture;
use crate::term::Term;

/// The configuration of a term, as it stands under its key of `terms`.
pub trait TermConfig {
    /// Builds the term, and loads the models that it names. None where it never counts.
    ///
    /// # Errors
    /// When a model cannot be used.
    fn build(&self, context: &mut TermContext) -> Result<Option<Box<dyn Term>>>;

    /// Checks what ranges cannot say. `cutouts` are the recipe's.
    fn check(&self, _cutouts: &cutouts::Config, _checker: &mut Checker) {}
}

/// A term that may be left out.
impl<T: TermConfig> TermConfig for Option<T> {
    fn build(&self, context: &mut TermContext) -> Result<Option<Box<dyn Term>>> {
        self.as_ref()
            .map_or(Ok(None), |config| config.build(context))
    }

    fn check(&self, cutouts: &cutouts::Config, checker: &mut Checker) {
        self.iter()
            .for_each(|config| config.check(cutouts, checker));
    }
}

impl<T: TermConfig> TermConfig for Box<T> {
    fn build(&self, context: &mut TermContext) -> Result<Option<Box<dyn Term>>> {
        (**self).build(context)
    }

    fn check(&self, cutouts: &cutouts::Config, checker: &mut Checker) {
        (**self).check(cutouts, checker);
    }
}

/// What a render is guided to by its CLIPs, for terms that follow the prompts too.
#[derive(Clone, Debug, Default)]
pub struct Guides {
    /// The prompts, those that fade out among them, each with when and how much it counts.
    pub prompts: Vec<(Prompt, PromptSchedule)>,
    /// Whether the embedded CLIP guides.
    pub is_embedded: bool,
}

/// What the terms of a render share: settings of the recipe, and the models that were loaded.
pub struct TermContext {
    cutouts: cutouts::Config,
    seed: u64,
    memory: usize,
    library: Library,
    models: HashMap<(TypeId, String), Arc<dyn Any + Send + Sync>>,
    /// What the CLIP term guides to.
    pub guides: Guides,
    /// The picture that the present stage started from, for prompts with a `source` and terms that compare with it. Its clones share it.
    pub base: BasePicture,
    /// The axes along which the picture repeats without a seam.
    pub seamless: Seamless,
    /// Where the terms compute.
    pub device: Device,
    /// Warnings for the user about models and prompts.
    pub warnings: Vec<String>,
    /// Information for the user.
    pub notes: Vec<String>,
    /// All notes so far.
    noted: HashSet<String>,
}

/// The default cutouts, on the CPU.
impl Default for TermContext {
    fn default() -> Self {
        let (cutouts, library) = (cutouts::Config::default(), Library::default());
        Self::new(cutouts, 0, 256 << 20, library, &Device::Cpu)
    }
}

impl TermContext {
    /// A context without models. `cutouts` are those of terms that do not change them, and `seed` decides them; a micro-batch of cutouts may
    /// take about `memory` bytes. CLIPs are taken from `library`.
    pub fn new(
        cutouts: cutouts::Config,
        seed: u64,
        memory: usize,
        library: Library,
        device: &Device,
    ) -> Self {
        Self {
            cutouts,
            seed,
            memory,
            library,
            models: HashMap::new(),
            guides: Guides::default(),
            base: BasePicture::default(),
            seamless: Seamless::No,
            device: device.clone(),
            warnings: vec![],
            notes: vec![],
            noted: HashSet::new(),
        }
    }

    /// The model of that type and name. The first call loads it.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn model<T: Any + Send + Sync>(
        &mut self,
        name: &str,
        load: impl FnOnce(&mut Self) -> Result<Arc<T>>,
    ) -> Result<Arc<T>> {
        let key = (TypeId::of::<T>(), name.to_owned());
        let loaded = (self.models.get(&key)).and_then(|model| model.clone().downcast().ok());
        if let Some(model) = loaded {
            return Ok(model);
        }
        let model = load(self)?;
        self.models.insert(key, model.clone());
        Ok(model)
    }

    /// The CLIP of that name. The first call loads it and adds its warnings.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn clip(&mut self, name: &str, choice: ClipChoice) -> Result<Arc<Clip>> {
        self.model(&format!("{name} {choice:?}"), |context| {
            let clip = context.library.clip(name, choice, &context.device)?;
            context.warnings.extend(clip.warnings().iter().cloned());
            Ok(clip)
        })
    }

    /// Adds a note for the user, unless it was made before.
    pub fn note(&mut self, note: String) {
        if self.noted.insert(note.clone()) {
            self.notes.push(note);
        }
    }

    /// The recipe's seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Draws a term's cutouts, which may differ from the recipe's.
    pub fn sampler(&self, changes: Option<&cutouts::Changes>) -> CutoutSampler {
        CutoutSampler {
            config: self.cutouts.with(changes),
            seed: self.seed,
            seamless: self.seamless,
            memory: self.memory,
        }
    }
}
