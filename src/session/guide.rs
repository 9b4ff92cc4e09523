//! What a generator may ask about the objective at the start of its segment.

use anyhow::{Context, Result};
use candle_core::Tensor;
use frozen::Layer;
use generators::Guide;
use generators::blocks::Blocks;
use generators::symmetry::MeanOfCopies;
use phantasia_core::{EmbeddedPrompt, StepContext};

use super::Segment;
use crate::objective::{ClipTerm, Objective, Term, TermContext};
use crate::recipe::{Symmetry, Terms};

/// The terms of an objective: that of the prompts, and the others that count.
///
/// # Errors
/// When a term cannot be built.
pub(super) fn all_terms(
    clip_term: &ClipTerm,
    terms: &Terms,
    context: &mut TermContext,
) -> Result<Vec<Box<dyn Term>>> {
    context.guides = clip_term.guides();
    let mut all: Vec<Box<dyn Term>> = vec![Box::new(clip_term.clone())];
    all.extend(terms.build(context)?);
    Ok(all)
}

/// The objective of a segment at its start. It is built when it is asked for the first time.
pub(super) struct SegmentGuide<'a> {
    at: StepContext,
    clip_term: &'a ClipTerm,
    terms: &'a Terms,
    context: &'a mut TermContext,
    objective: Option<Objective>,
    /// The picture that is judged is this of a generator's.
    symmetry: Option<MeanOfCopies>,
    /// In these blocks.
    blocks: Option<Blocks>,
}

impl<'a> SegmentGuide<'a> {
    pub fn new(
        segment: &Segment,
        clip_term: &'a ClipTerm,
        terms: &'a Terms,
        context: &'a mut TermContext,
    ) -> Self {
        let at = StepContext {
            step: 0,
            steps: segment.steps,
            clock: segment.began,
        };
        Self {
            at,
            clip_term,
            terms,
            context,
            objective: None,
            symmetry: None,
            blocks: None,
        }
    }

    /// The same, for pictures that are made symmetric before they are judged.
    pub fn symmetric(mut self, symmetry: Option<&Symmetry>) -> Self {
        self.symmetry = symmetry.map(MeanOfCopies::new);
        self
    }

    /// The same, for pictures that are divided into blocks before they are judged.
    pub fn in_blocks(mut self, blocks: Option<Blocks>) -> Self {
        self.blocks = blocks;
        self
    }

    /// What is judged of a generator's picture.
    fn judged(&self, picture: &Tensor) -> candle_core::Result<Tensor> {
        let symmetric = match &self.symmetry {
            None => picture.clone(),
            Some(symmetry) => symmetry.eval(picture)?,
        };
        match &self.blocks {
            None => Ok(symmetric),
            Some(blocks) => blocks.eval(&symmetric),
        }
    }
}

impl Guide for SegmentGuide<'_> {
    fn losses(&mut self, pictures: &[Tensor]) -> Result<Vec<f64>> {
        let judged = pictures.iter().map(|image| self.judged(image));
        let judged = judged.collect::<candle_core::Result<Vec<_>>>()?;
        let objective = match &mut self.objective {
            Some(objective) => objective,
            none => {
                let terms = all_terms(self.clip_term, self.terms, self.context)?;
                none.insert(Objective::new(terms))
            }
        };
        let losses = judged.iter().map(|image| objective.loss(image, self.at));
        losses.collect()
    }

    fn prompt_embeddings(&mut self) -> Result<Vec<EmbeddedPrompt>> {
        (self.clip_term.prompts(self.at)).context("the recipe names no CLIP")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Prompt, Recipe, Schedule};
    use candle_core::Device;
    use phantasia_core::Fade;

    #[test]
    fn it_knows_the_losses_of_pictures_and_the_prompts() -> Result<()> {
        let mut blurry = Prompt::new("blurry");
        blurry.weight = Schedule::from(-0.5);
        let prompts = [Prompt::new("a red ball"), blurry];
        let recipe = Recipe::new(prompts.to_vec());
        let mut context = TermContext::default();
        let (distance, select) = (recipe.distance, recipe.select);
        let mut clip_term = ClipTerm::new(&recipe.clip, distance, select, &mut context)?;
        clip_term.set_prompts(&prompts, Fade { start: 3, steps: 0 }, &mut context)?;
        let segment = Segment::new(0, 3, 9, false);
        let mut guide = SegmentGuide::new(&segment, &clip_term, &recipe.terms, &mut context);
        let grey = |level: f32| Tensor::full(level, (1, 3, 32, 32), &Device::Cpu);
        let pictures = [grey(0.2)?, grey(0.8)?];
        let losses = guide.losses(&pictures)?;
        assert_eq!(guide.losses(&pictures)?, losses, "the same cutouts");
        let embedded = guide.prompt_embeddings()?;
        let known = (embedded.iter()).map(|prompt| (prompt.text.as_deref(), prompt.weight));
        let expected = [(Some("a red ball"), 1.0), (Some("blurry"), -0.5)];
        assert_eq!(Vec::from_iter(known), expected);
        for prompt in &embedded {
            let length: f32 = prompt.vector.iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-4, "{length}");
        }
        // what the first step will see
        let mut objective = Objective::new(vec![Box::new(clip_term)]);
        let at = StepContext {
            step: 0,
            steps: 9,
            clock: 3,
        };
        assert_eq!(objective.guide(&pictures[1], at)?.loss, losses[1]);
        Ok(())
    }
}
