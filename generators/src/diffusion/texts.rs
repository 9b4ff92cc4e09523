//! The texts that a Stable Diffusion is conditioned on.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use phantasia_core::Prompt;
use phantasia_core::check::Checker;
use weights::models::EMBEDDED;

use super::{Denoiser, LoadOptions, Pipeline, Space, StableDiffusion};
use crate::BuildContext;

/// Why the embedded model takes no other autoencoder.
const EMBEDDED_VAE: &str = "the embedded model works in the latents of the embedded VQGAN: leave `vae` out of its generator";

/// Refuses an autoencoder that cannot be the model's.
pub(crate) fn check_vae(model: &str, vae: Option<&str>, checker: &mut Checker) {
    match vae {
        Some(_) if model == EMBEDDED => checker.invalid("vae", EMBEDDED_VAE),
        Some(EMBEDDED) => checker.invalid(
            "vae",
            "the embedded VQGAN has the latents of the embedded model alone: leave `vae` out, or name an autoencoder such as \
             `madebyollin/taesd`",
        ),
        _ => {}
    }
}

/// The texts of classifier-free guidance, and the autoencoder.
pub(crate) struct TextGuidance<'a> {
    /// The prompt; `None` takes the prompts of positive weight.
    pub prompt: Option<&'a str>,
    /// The negative prompt; `None` takes the prompts of negative weight.
    pub negative_prompt: Option<&'a str>,
    /// The scale of classifier-free guidance; 1 uses the prompt alone.
    pub cfg: f64,
    /// The autoencoder instead of the model's own.
    pub vae: Option<&'a str>,
}

impl TextGuidance<'_> {
    /// Loads a Stable Diffusion conditioned on these texts, and the space it works in.
    pub fn load(
        &self,
        pipeline: &Pipeline,
        loading: LoadOptions,
        context: &mut BuildContext<'_>,
    ) -> Result<(Arc<dyn Denoiser>, Space)> {
        if *pipeline == Pipeline::Embedded && self.vae.is_some() {
            bail!(EMBEDDED_VAE);
        }
        let prompts = context.prompts;
        if self.prompt.is_none() || (self.negative_prompt.is_none() && self.cfg != 1.0) {
            context.warnings.extend(regional(prompts));
            context.warnings.extend(changing(prompts));
        }
        let positive = (self.prompt.map(str::to_owned))
            .unwrap_or_else(|| joined(prompts, |weight| weight > 0.0));
        let negative = (self.negative_prompt.map(str::to_owned))
            .unwrap_or_else(|| joined(prompts, |weight| weight < 0.0));
        let mut texts = vec![positive.as_str()];
        if self.cfg != 1.0 {
            texts.push(&negative);
        }
        let models = context.models()?;
        let encoded =
            models.encode_texts(pipeline, &texts, context.device, &mut context.warnings)?;
        let mut encoded = encoded.into_iter();
        let positive = encoded.next().context("the text was not encoded")?;
        // with a cfg of 1 it is not used
        let negative = encoded.next().unwrap_or_else(|| positive.clone());
        let device = context.device;
        let pipeline = match pipeline {
            Pipeline::Embedded => StableDiffusion::embedded(loading, device)?,
            Pipeline::Folder(folder) => {
                let vae = self.vae.map(|name| models.autoencoder(name)).transpose()?;
                StableDiffusion::load(folder, vae.as_deref(), loading, device)?
            }
        };
        context.warnings.extend(pipeline.warnings().cloned());
        Ok((
            pipeline.guided(positive, negative, self.cfg)?,
            pipeline.space(),
        ))
    }
}

/// The warning about prompts with a region, if there are any: a text that the model is conditioned on is painted everywhere.
fn regional(prompts: &[Prompt]) -> Option<String> {
    let mut regional = prompts.iter().filter(|prompt| prompt.region.is_some());
    let label = regional.next()?.label();
    let others = match regional.count() {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    Some(format!(
        "a diffusion model's own text holds for the whole picture: prompts with a `region` (`{label}`{others}) are left out of it, and paint \
         through CLIP alone; the generator's `prompt` can say more"
    ))
}

/// The warning about prompts that go through several texts, if there are any: a model is conditioned on one text for all of its steps.
fn changing(prompts: &[Prompt]) -> Option<String> {
    let changing =
        (prompts.iter()).find(|prompt| prompt.region.is_none() && prompt.keyframes.is_some())?;
    let first = changing.texts().next()?;
    Some(format!(
        "a diffusion model's own text stays the same: of `keyframes` it takes the first (`{first}`), and the others paint through CLIP alone; the \
         generator's `prompt` can say more"
    ))
}

/// The texts of the prompts without a region (the first of several that a prompt goes through) whose weight at the start passes `select`.
fn joined(prompts: &[Prompt], select: fn(f64) -> bool) -> String {
    let texts: Vec<&str> = (prompts.iter())
        .filter(|prompt| prompt.region.is_none())
        .filter(|prompt| select(prompt.weight.at(0.0)))
        .filter_map(|prompt| prompt.texts().next())
        .collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use phantasia_core::{NamedRegion, Region, Schedule};

    use super::*;

    #[test]
    fn the_texts_of_the_prompts_are_chosen_by_their_weight() {
        let weighted = |text: &str, weight: f64| Prompt {
            weight: Schedule::from(weight),
            ..Prompt::new(text)
        };
        let prompts = [
            weighted("a cat", 1.0),
            weighted("blurry", -0.3),
            weighted("oil", 0.5),
            weighted("nothing", 0.0),
        ];
        assert_eq!(joined(&prompts, |weight| weight > 0.0), "a cat, oil");
        assert_eq!(joined(&prompts, |weight| weight < 0.0), "blurry");
        assert_eq!(joined(&[], |weight| weight < 0.0), "");
    }

    #[test]
    fn what_is_asked_for_in_a_region_is_not_asked_for_everywhere() {
        let left = Prompt {
            region: Some(Region::Named(NamedRegion::Left)),
            ..Prompt::new("a barn")
        };
        let prompts = [Prompt::new("a field"), left.clone(), left];
        assert_eq!(joined(&prompts, |weight| weight > 0.0), "a field");
        let warning = regional(&prompts).expect("a warning");
        assert!(warning.contains("`a barn` and 1 more"), "{warning}");
        assert_eq!(regional(&prompts[..1]), None);
    }

    #[test]
    fn of_texts_that_follow_one_another_the_first_is_taken() {
        let keyframes = Prompt {
            text: None,
            keyframes: Some(vec!["a seed".into(), "a tree".into()]),
            ..Prompt::new("")
        };
        let prompts = [Prompt::new("oil"), keyframes];
        assert_eq!(joined(&prompts, |weight| weight > 0.0), "oil, a seed");
        let warning = changing(&prompts).expect("a warning");
        assert!(warning.contains("`a seed`"), "{warning}");
        assert_eq!(changing(&prompts[..1]), None);
    }
}
