//! The configuration of guided diffusion.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use phantasia_core::check::Checker;
use phantasia_core::{Schedule, Seamless, StepOrPercent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weights::models::EMBEDDED;

use super::texts::check_vae;
use super::{ASYMMETRIC, load};
use super::{Denoiser, Diffusion, LoadOptions, Pipeline, Sampler, Space, Spacing, TextGuidance};
use crate::starts::Starts;
use crate::{Build, BuildContext, Generator};

phantasia_core::config! {
    /// Guided diffusion: a sampler denoises noise to a picture, guided by the prompts. One step of the render is one step of the sampler.
    #[schemars(rename = "DiffusionConfig")]
    pub struct Config {
        /// `embedded`, or a model of diffusers, unconditional or a Stable Diffusion: a folder, or a repository's name.
        #[schemars(extend("format" = "model", "x-kind" = "diffusion"))]
        pub model: String = EMBEDDED.into(),
        /// The text that the embedded model or a Stable Diffusion is conditioned on; null takes the texts of the prompts without a region whose weight is above 0, as they are when it begins.
        pub prompt: Option<String> = None,
        /// The text that it is guided away from; null takes the texts of the prompts without a region whose weight is below 0.
        pub negative_prompt: Option<String> = None,
        /// The scale of classifier-free guidance from the negative text to the wanted one: 1 uses the wanted text alone and takes half the
        /// time, null is 7.5, and 3 for `embedded`.
        #[schemars(range(min = 0, max = 100))]
        pub cfg: Option<f64> = None,
        /// The autoencoder of a Stable Diffusion instead of its own: a folder, a file, or the name of a known model such as `madebyollin/taesd`.
        #[schemars(extend("format" = "model", "x-kind" = "latent"))]
        pub vae: Option<String> = None,
        /// The rule of a step.
        pub sampler: Sampler = Sampler::Ddim,
        /// Which noise levels are used; null takes the model's own where that is `trailing` (SD-Turbo), else the sampler's:
        /// `leading` for `ddim`, `linspace` for the others.
        pub spacing: Option<Spacing> = None,
        /// How much new noise a step adds (`ddim`, 0 where it is null, and `euler_ancestral`, 1 where it is null).
        #[schemars(range(min = 0, max = 1))]
        pub eta: Option<f64> = None,
        /// How many noise levels are left out at the noisy end, beside the steps that are made: a number, or a share of all levels. Null leaves
        /// out none, and half of them where there is a picture to start from, so that something of it is kept.
        pub skip: Option<StepOrPercent> = None,
        /// Whether the gradient goes through the network.
        pub guidance: GuidanceMode = GuidanceMode::Through,
        /// The factor of the gradient.
        #[schemars(range(min = 0))]
        // Disco Diffusion's
        pub scale: Schedule = 5000.0.into(),
        /// The largest root mean square of the gradient after that; null has no bound.
        #[schemars(extend("exclusiveMinimum" = 0))]
        pub clamp: Option<f64> = Some(0.05),
        /// How many samples of noise to choose from. Each is first denoised in six quick steps without guidance; the render begins with the one that gave the
        /// picture of the least loss.
        pub starts: Starts = Starts::default(),
        /// Show CLIP a mixture of the clean and the noisy picture, from mostly clean to mostly noisy as the noise falls.
        pub blend: bool = false,
        /// Clamp what the network predicts to the range of a picture; null takes the setting of the model's scheduler.
        pub clip_sample: Option<bool> = None,
        /// Width and height that the network works at; null is the picture's size, or for `embedded` that with a shorter side of 96 pixels. Models work
        /// best at the size that they were trained at.
        #[schemars(inner(range(min = 1, max = 16384)))]
        pub resolution: Option<[usize; 2]> = None,
        /// Keep less in memory for the gradient through the network and recompute it: about a third slower.
        pub gradient_checkpointing: bool = false,
    }
}

/// Whether guidance goes through the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuidanceMode {
    /// The predicted picture's own gradient: no backward pass through the network.
    ///
    /// The clean image is taken to follow the noisy one by the factor `1 / (1 + sigma^2)`, as it does for data of unit variance
    /// (Song et al. 2023, pseudoinverse guidance).
    Around,
    /// The gradient of the noisy picture, through the network.
    Through,
}

/// How much is skipped where there is an image to start from.
const SKIP_FROM_IMAGE: StepOrPercent = StepOrPercent::Share(0.5);
const MOST_SKIPPED_LEVELS: usize = 100_000;
const MOST_SKIPPED_SHARE: f64 = 0.99;

impl Build for Config {
    fn build(&self, context: &mut BuildContext<'_>) -> anyhow::Result<Box<dyn Generator>> {
        let pipeline = context.diffusion(&self.model)?;
        let loading = LoadOptions {
            recompute: self.gradient_checkpointing,
            clip: self.clip_sample,
            seamless: context.seamless,
        };
        let failure = || format!("cannot load the diffusion model `{}`", self.model);
        let is_conditional = pipeline.is_conditional().with_context(failure)?;
        let (model, space) = match &pipeline {
            Pipeline::Folder(folder) if !is_conditional => {
                self.refuse_texts()?;
                let model = load(folder, loading, context.device).with_context(failure)?;
                context.warnings.extend_from_slice(model.network.warnings());
                (Arc::new(model) as Arc<dyn Denoiser>, Space::Pixels)
            }
            _ => {
                let texts = TextGuidance {
                    prompt: self.prompt.as_deref(),
                    negative_prompt: self.negative_prompt.as_deref(),
                    cfg: (self.cfg).unwrap_or_else(|| pipeline.default_cfg()),
                    vae: self.vae.as_deref(),
                };
                (texts.load(&pipeline, loading, context)).with_context(failure)?
            }
        };
        let config = Self {
            resolution: Some(
                (self.resolution).unwrap_or_else(|| pipeline.default_resolution(context.size)),
            ),
            ..self.clone()
        };
        let make = |context: &mut BuildContext<'_>| {
            let model = Arc::clone(&model);
            Ok(Diffusion::new(&config, model, space.clone(), context)?)
        };
        let from_picture = context.init.is_some();
        let diffusion = (self.starts).best_by(from_picture, context, make, Diffusion::foreseen)?;
        Ok(Box::new(diffusion))
    }

    fn check(&self, checker: &mut Checker) {
        if self.eta.is_some() && self.sampler.default_eta().is_none() {
            checker.invalid(
                "eta",
                "only `ddim` and `euler_ancestral` add new noise: leave it out",
            );
        }
        if self.starts != Starts::default() && self.sampler.eta(self.eta) > 0.0 {
            let message = "the sampler adds new noise in every step, so that what becomes of a start cannot be foreseen: choose `dpmpp_2m`, \
                `euler`, or `ddim` with `eta: 0`, or write `starts: 1`";
            checker.invalid("starts", message);
        }
        check_vae(&self.model, self.vae.as_deref(), checker);
        match self.skip {
            Some(StepOrPercent::Steps(steps)) if steps > MOST_SKIPPED_LEVELS => checker.unexpected(
                "skip",
                format!("a whole number from 0 to {MOST_SKIPPED_LEVELS}"),
                steps,
            ),
            Some(share @ StepOrPercent::Share(number)) if number > MOST_SKIPPED_SHARE => {
                checker.unexpected("skip", "at most 99 %", share);
            }
            _ => {}
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
        vec![
            format!("a lower {}", key("scale")),
            "more `steps`".to_owned(),
        ]
    }

    fn paints_any_size(&self) -> bool {
        false
    }

    fn template(&self) -> Option<&'static str> {
        Some(include_str!("../../recipes/diffusion.yaml"))
    }
}

impl Config {
    /// How many noise levels are skipped in a render of `steps` steps.
    pub(super) fn skipped(&self, steps: usize, from_image: bool) -> usize {
        match (self.skip, from_image) {
            (None, false) => 0,
            (None, true) => levels(steps, SKIP_FROM_IMAGE),
            (Some(skip), _) => levels(steps, skip),
        }
    }

    /// The spacing of noise levels; `own` is the model's.
    pub(super) fn spacing(&self, own: Option<Spacing>) -> Spacing {
        match (self.spacing, own) {
            (Some(spacing), _) => spacing,
            // distilled models depend on the noisiest level above all, and do badly where it is left out
            (None, Some(Spacing::Trailing)) => Spacing::Trailing,
            (None, _) if self.sampler == Sampler::Ddim => Spacing::Leading,
            (None, _) => Spacing::Linspace,
        }
    }

    /// An unconditional model reads no texts.
    fn refuse_texts(&self) -> anyhow::Result<()> {
        let given = [
            ("prompt", self.prompt.is_some()),
            ("negative_prompt", self.negative_prompt.is_some()),
            ("cfg", self.cfg.is_some()),
            ("vae", self.vae.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((key, _)) => bail!(
                "`{}` is an unconditional model, which takes no text and has no autoencoder: leave `{key}` out of its generator, or name a Stable Diffusion",
                self.model
            ),
        }
    }
}

/// How many levels are skipped before `steps` others: a number, or a share of all levels.
fn levels(steps: usize, skip: StepOrPercent) -> usize {
    match skip {
        StepOrPercent::Steps(skipped) => skipped,
        StepOrPercent::Share(share) => (steps as f64 / (1.0 - share)).round() as usize - steps,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_skipped_beside_the_steps_that_are_made() {
        assert_eq!(levels(40, StepOrPercent::Steps(0)), 0);
        assert_eq!(levels(40, StepOrPercent::Steps(10)), 10);
        assert_eq!(levels(30, StepOrPercent::Share(0.4)), 20);
        assert_eq!(levels(1, StepOrPercent::Share(0.99)), 99);
    }
}
