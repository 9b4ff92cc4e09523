//! The backend of a session: loads models, encodes prompts, reads pictures, builds generators.

use anyhow::Result;
use candle_core::{Device, Tensor};
use frozen::resize_to_fill;
use generators::blocks::Blocks;
use generators::{BuildContext, Generator, LearningRateScale};
use rand::RngCore;

use super::Segment;
use super::guide::{SegmentGuide, all_terms};
use super::models::LocalModels;
use super::seams::{blend_edges, resize_seamless};
use crate::clip::Library;
use crate::objective::{ClipTerm, Term, TermContext};
use crate::picture;
use crate::random::{self, Purpose};
use crate::recipe::{Edit, Recipe, Terms};
use phantasia_core::Fade;

/// What a session needs beside its recipe.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// About how many bytes a micro-batch of cutouts may take; it bounds memory and changes the picture only by rounding.
    pub memory: usize,
    /// Where its models come from.
    pub library: Library,
}

impl Default for SessionOptions {
    fn default() -> Self {
        let (memory, library) = (256 << 20, Library::default());
        Self { memory, library }
    }
}

/// Makes the parts of a session when it begins, begins its next stage, or is edited.
pub trait SessionBackend: Send {
    /// How many stages the render has.
    fn stages(&self) -> usize;

    /// The steps of a stage.
    fn steps(&self, stage: usize) -> usize;

    /// The prompts and terms that a stage begins with, as an edit; its step does not count.
    fn stage_edit(&self, stage: usize) -> Edit;

    /// The generator of a segment at its start, when prompts and terms are applied; `init` is an image `[1, 3, h, w]` in 0..=1 of any size to
    /// start from. If `is_restored`, a saved state is loaded into it next, so that its start does not matter.
    fn generator(
        &mut self,
        segment: &Segment,
        init: Option<&Tensor>,
        is_restored: bool,
    ) -> Result<Box<dyn Generator>>;

    /// Loads and encodes what an edit's prompts and terms need, without applying them.
    ///
    /// # Errors
    /// When a prompt cannot be encoded, or a model that the terms name cannot be used.
    fn prepare(&mut self, edit: &Edit) -> Result<()>;

    /// Replaces prompts, terms and the learning rate's scale by those of the edit, where it has any. Prompts fade from the edit's step on.
    ///
    /// # Errors
    /// As [`SessionBackend::prepare`].
    fn apply(&mut self, edit: &Edit) -> Result<()>;

    /// The terms of the objective, as they were last applied.
    ///
    /// # Errors
    /// When a term cannot be built.
    fn terms(&mut self) -> Result<Vec<Box<dyn Term>>>;

    /// Where the picture may change, if not everywhere: `[1, 1, h, w]` in 0..=1 of any size.
    fn mask(&self) -> Result<Option<Tensor>>;

    /// The picture that the first stage starts from, if there is one.
    fn init(&self) -> Result<Option<Tensor>>;

    /// A picture `[1, 3, h, w]` or a mask `[1, 1, h, w]` brought to the width and height of a stage, by default as [`resize_to_fill`] does.
    fn resize(&self, image: &Tensor, size: [usize; 2]) -> Result<Tensor> {
        Ok(resize_to_fill(image, size)?)
    }

    /// Names the picture that the present segment started from, `[1, 3, h, w]` in 0..=1 of any size, which prompts with a `source` ask for a
    /// change of. Prompts of earlier segments see the new one.
    fn set_base(&mut self, _base: Option<&Tensor>) {}

    /// Warnings added since the last call.
    fn warnings(&mut self) -> Vec<String>;

    /// Information for the user since the last call.
    fn notes(&mut self) -> Vec<String> {
        vec![]
    }
}

/// Makes the parts that a recipe describes.
pub(super) struct RecipeBackend {
    recipe: Recipe,
    learning_rate_scale: LearningRateScale,
    /// What its terms are built from.
    context: TermContext,
    clip_term: ClipTerm,
    terms: Terms,
    notes: Vec<String>,
}

impl RecipeBackend {
    /// Loads a recipe's models, also those that its later stages and edits need.
    pub fn new(recipe: &Recipe, device: &Device, options: &SessionOptions) -> Result<Self> {
        let (cutouts, library) = (recipe.cutouts.clone(), options.library.clone());
        let mut context = TermContext::new(cutouts, recipe.seed, options.memory, library, device);
        context.seamless = recipe.seamless;
        let clip_term = ClipTerm::new(&recipe.clip, recipe.distance, recipe.select, &mut context)?;
        let stages = recipe.generator.0.iter().map(|stage| &stage.terms);
        let edits = recipe.timeline.iter().map(|edit| &edit.terms);
        for terms in (stages.chain(edits).flatten()).chain([&recipe.terms]) {
            terms.build(&mut context)?;
        }
        Ok(Self {
            recipe: recipe.clone(),
            learning_rate_scale: LearningRateScale::default(),
            context,
            clip_term,
            terms: recipe.terms.clone(),
            notes: vec![],
        })
    }
}

/// The name of a stage's picture in warnings about its size, see [`BuildContext::picture`].
fn picture_of(recipe: &Recipe, stage: usize) -> Option<String> {
    let stages = &recipe.generator.0;
    if stage + 1 == stages.len() {
        return Some("the picture".to_owned());
    }
    (stages[stage].size).map(|_| format!("the picture of stage {}", stage + 1))
}

impl SessionBackend for RecipeBackend {
    fn stages(&self) -> usize {
        self.recipe.generator.0.len()
    }

    fn steps(&self, stage: usize) -> usize {
        self.recipe.stage_steps(stage)
    }

    fn stage_edit(&self, stage: usize) -> Edit {
        let own = &self.recipe.generator.0[stage];
        let mut edit = Edit {
            prompts: own.prompts.clone(),
            terms: own.terms.clone(),
            ..Edit::default()
        };
        if stage == 0 {
            // the recipe's own are the first stage's
            (edit.prompts).get_or_insert_with(|| self.recipe.prompts.clone());
            (edit.terms).get_or_insert_with(|| self.recipe.terms.clone());
        }
        edit
    }

    fn generator(
        &mut self,
        segment: &Segment,
        init: Option<&Tensor>,
        is_restored: bool,
    ) -> Result<Box<dyn Generator>> {
        let size = self.recipe.stage_size(segment.stage);
        let init = init.map(|image| self.resize(image, size)).transpose()?;
        let config = &self.recipe.generator.0[segment.stage].config;
        let blocks = (self.recipe.output.pixel_size > 1).then(|| {
            let is_small = config.settings().paints_any_size();
            Blocks::new(self.recipe.output.pixel_size, is_small)
        });
        let (size, init) = match blocks {
            None => (size, init),
            Some(blocks) => {
                let init = init.map(|image| blocks.painted(&image)).transpose()?;
                (blocks.painted_size(size), init)
            }
        };
        let seed = random::rng(self.recipe.seed, Purpose::Start, segment.began, 0).next_u64();
        let device = self.context.device.clone();
        let mut guide = SegmentGuide::new(segment, &self.clip_term, &self.terms, &mut self.context)
            .symmetric(self.recipe.symmetry.as_ref())
            .in_blocks(blocks);
        let mut context = BuildContext {
            prompts: self.recipe.stage_prompts(segment.stage),
            init: init.as_ref(),
            seamless: self.recipe.seamless,
            learning_rate_scale: self.learning_rate_scale.clone(),
            models: Some(&LocalModels),
            guide: Some(&mut guide),
            is_restored,
            picture: picture_of(&self.recipe, segment.stage),
            ..BuildContext::new(size, segment.steps, seed, &device)
        };
        let mut generator = config.settings().build(&mut context)?;
        let (warnings, notes) = (context.warnings, context.notes);
        self.context.warnings.extend(warnings);
        self.notes.extend(notes);
        if let Some(symmetry) = &self.recipe.symmetry {
            generator = symmetry.apply(generator);
        }
        if let Some(blocks) = blocks {
            generator = blocks.apply(generator);
        }
        Ok(generator)
    }

    fn prepare(&mut self, edit: &Edit) -> Result<()> {
        if let Some(prompts) = &edit.prompts {
            self.clip_term.prepare(prompts, &mut self.context)?;
        }
        if let Some(terms) = &edit.terms {
            terms.build(&mut self.context)?;
        }
        Ok(())
    }

    fn apply(&mut self, edit: &Edit) -> Result<()> {
        // all that can fail comes before any change
        self.prepare(edit)?;
        if let Some(prompts) = &edit.prompts {
            let (start, steps) = (edit.step, edit.fade.unwrap_or(0));
            let fade = Fade { start, steps };
            (self.clip_term).set_prompts(prompts, fade, &mut self.context)?;
        }
        if let Some(terms) = &edit.terms {
            self.terms = terms.clone();
        }
        if let Some(factor) = edit.lr {
            self.learning_rate_scale.set(factor);
        }
        Ok(())
    }

    fn terms(&mut self) -> Result<Vec<Box<dyn Term>>> {
        all_terms(&self.clip_term, &self.terms, &mut self.context)
    }

    fn mask(&self) -> Result<Option<Tensor>> {
        let mask = self.recipe.mask.as_deref();
        mask.map(|path| Ok(picture::load_tensor(path, &self.context.device)?.mean_keepdim(1)?))
            .transpose()
    }

    fn init(&self) -> Result<Option<Tensor>> {
        let init = self.recipe.init.as_deref();
        let init = init.map(|path| picture::load_tensor(path, &self.context.device));
        let axes = self.recipe.seamless.axes();
        init.map(|image| Ok(blend_edges(&image?, axes)?))
            .transpose()
    }

    fn resize(&self, image: &Tensor, size: [usize; 2]) -> Result<Tensor> {
        Ok(resize_seamless(image, size, self.recipe.seamless.axes())?)
    }

    fn set_base(&mut self, base: Option<&Tensor>) {
        self.context.base.set(base.cloned());
    }

    fn warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.context.warnings)
    }

    fn notes(&mut self) -> Vec<String> {
        let mut notes = std::mem::take(&mut self.notes);
        notes.append(&mut self.context.notes);
        notes
    }
}
