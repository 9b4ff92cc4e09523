//! From a recipe's `diffusion` or `noise` section to the generator.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use generators::diffusion::{
    Denoise, Diffusion, DiffusionConfig, GuidanceMode, LoadOptions, Sampler, Space, Spacing,
    StableDiffusion, is_conditional, load,
};
use generators::{Noise, NoiseConfig};

use super::generator::Order;
use crate::clip::TextEncoder;
use crate::load;
use crate::recipe::{
    DiffusionGuidance, DiffusionOptions, DiffusionSampler, DiffusionSpacing, NoiseOptions, Prompt,
    StepOrPercent,
};

/// How much is skipped of a walk that starts from a picture.
const SKIP_FROM_PICTURE: StepOrPercent = StepOrPercent::Share(0.5);

/// Classifier-free guidance where the recipe does not say.
const CFG: f64 = 7.5;

/// How many noise levels a walk of that many steps has in all, and how many of them are skipped.
fn levels(steps: usize, skip: StepOrPercent) -> (usize, usize) {
    let all = match skip {
        StepOrPercent::Steps(skipped) => steps.saturating_add(skipped),
        StepOrPercent::Share(share) => (steps as f64 / (1.0 - share)).round() as usize,
    };
    (all, all - steps)
}

pub(super) fn diffusion(
    options: &DiffusionOptions,
    order: &Order<'_>,
    warnings: &mut Vec<String>,
) -> Result<Diffusion> {
    let folder = load::diffusion(&options.model)?;
    let loading = LoadOptions {
        recompute: options.gradient_checkpointing,
        clip: options.clip_sample,
    };
    let context = || format!("cannot load the diffusion model `{}`", options.model);
    let (model, space) = match is_conditional(&folder).with_context(context)? {
        true => {
            let texts = Texts {
                prompt: options.prompt.as_deref(),
                negative_prompt: options.negative_prompt.as_deref(),
                cfg: options.cfg.unwrap_or(CFG),
                vae: options.vae.as_deref(),
            };
            stable_diffusion(&folder, &texts, loading, order, warnings).with_context(context)?
        }
        false => {
            refuse_texts(options)?;
            let model = load(&folder, loading, order.device).with_context(context)?;
            warnings.extend(model.network.warnings().iter().cloned());
            (Arc::new(model) as Arc<dyn Denoise>, Space::Pixels)
        }
    };
    let [width, height] = order.size;
    let none = match order.init {
        None => StepOrPercent::Steps(0),
        Some(_) => SKIP_FROM_PICTURE,
    };
    let (steps, skip) = levels(order.steps, options.skip.unwrap_or(none));
    let config = DiffusionConfig {
        width,
        height,
        inner: options.resolution,
        space,
        sampler: match options.sampler {
            DiffusionSampler::Ddim => Sampler::Ancestral {
                eta: options.eta.unwrap_or(0.0),
            },
            DiffusionSampler::Euler => Sampler::Euler,
            DiffusionSampler::EulerAncestral => Sampler::Ancestral {
                eta: options.eta.unwrap_or(1.0),
            },
            DiffusionSampler::DpmPlusPlus2M => Sampler::DpmPlusPlus2M,
        },
        spacing: match (options.spacing, model.levels().spacing()) {
            (Some(DiffusionSpacing::Leading), _) => Spacing::Leading,
            (Some(DiffusionSpacing::Trailing), _) => Spacing::Trailing,
            (Some(DiffusionSpacing::Linspace), _) => Spacing::Linspace,
            (Some(DiffusionSpacing::Karras), _) => Spacing::Karras,
            // distilled models know the noisiest level above all, and do badly where it is left out
            (None, Some(Spacing::Trailing)) => Spacing::Trailing,
            (None, _) if options.sampler == DiffusionSampler::Ddim => Spacing::Leading,
            (None, _) => Spacing::Linspace,
        },
        steps,
        skip,
        mode: match options.guidance {
            DiffusionGuidance::Around => GuidanceMode::Around,
            DiffusionGuidance::Through => GuidanceMode::Through,
        },
        scale: order.learning_rate(&options.scale),
        clamp: options.clamp,
        blend: options.blend,
        seed: order.seed,
    };
    let asked = options.resolution.unwrap_or(order.size);
    let diffusion = Diffusion::new(config, model, order.init, order.device)?;
    warnings.extend(rounded(
        &options.model,
        asked,
        diffusion.inner_size(),
        order.size,
    ));
    Ok(diffusion)
}

/// What is to be said where a network cannot work at the size that it was asked to.
fn rounded(model: &str, asked: [usize; 2], inner: [usize; 2], size: [usize; 2]) -> Option<String> {
    (inner != asked).then(|| {
        format!(
            "`{model}` cannot work at {}x{}: it works at {}x{}, and the picture is resized to {}x{}",
            asked[0], asked[1], inner[0], inner[1], size[0], size[1]
        )
    })
}

/// An unconditional model has no use for what a Stable Diffusion is told.
fn refuse_texts(options: &DiffusionOptions) -> Result<()> {
    let given = [
        ("prompt", options.prompt.is_some()),
        ("negative_prompt", options.negative_prompt.is_some()),
        ("cfg", options.cfg.is_some()),
        ("vae", options.vae.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((key, _)) => bail!(
            "`{}` is an unconditional model, which looks at no text and has no autoencoder: leave `{key}` out of its generator, or name a Stable Diffusion",
            options.model
        ),
    }
}

pub(super) fn noise(
    options: &NoiseOptions,
    order: &Order<'_>,
    warnings: &mut Vec<String>,
) -> Result<Noise> {
    let folder = load::diffusion(&options.model)?;
    let context = || format!("cannot load the diffusion model `{}`", options.model);
    if !is_conditional(&folder).with_context(context)? {
        bail!(
            "`{}` is an unconditional model, which needs many steps: `kind: noise` takes a Stable Diffusion that needs one, such as `stabilityai/sd-turbo`",
            options.model
        );
    }
    let loading = LoadOptions {
        recompute: options.gradient_checkpointing,
        clip: None,
    };
    let texts = Texts {
        prompt: options.prompt.as_deref(),
        negative_prompt: options.negative_prompt.as_deref(),
        cfg: options.cfg,
        vae: options.vae.as_deref(),
    };
    let (model, space) =
        stable_diffusion(&folder, &texts, loading, order, warnings).with_context(context)?;
    if order.init.is_some() {
        warnings.push(
            "`kind: noise` starts from noise: the picture to start from is not read".to_owned(),
        );
    }
    let [width, height] = order.size;
    let config = NoiseConfig {
        width,
        height,
        inner: options.resolution,
        space,
        lr: order.learning_rate(&options.lr),
        momentum: options.momentum,
        clip: options.clip,
        regularize: options.regularize,
        steps: order.steps,
        seed: order.seed,
    };
    let asked = options.resolution.unwrap_or(order.size);
    let noise = Noise::new(config, model, order.device)?;
    warnings.extend(rounded(
        &options.model,
        asked,
        noise.inner_size(),
        order.size,
    ));
    Ok(noise)
}

/// What a Stable Diffusion is told.
struct Texts<'a> {
    prompt: Option<&'a str>,
    negative_prompt: Option<&'a str>,
    cfg: f64,
    vae: Option<&'a str>,
}

/// A Stable Diffusion that looks at its texts, and where it walks. Its text encoder is given back as soon as it has done its work.
fn stable_diffusion(
    folder: &Path,
    texts: &Texts<'_>,
    loading: LoadOptions,
    order: &Order<'_>,
    warnings: &mut Vec<String>,
) -> Result<(Arc<dyn Denoise>, Space)> {
    let said = |given: Option<&str>, wanted: fn(f64) -> bool| match given {
        Some(text) => text.to_owned(),
        None => joined(order.prompts, wanted),
    };
    let prompt = said(texts.prompt, |weight| weight > 0.0);
    let negative_prompt = said(texts.negative_prompt, |weight| weight < 0.0);
    let encoder = TextEncoder::from_pipeline(folder, order.device)?;
    warnings.extend(encoder.warnings().iter().cloned());
    let mut encode = |text: &str| -> Result<Tensor> {
        let encoded = encoder.encode(text)?;
        let unread = &encoded.unread;
        warnings.extend(unread.warnings("the diffusion model", "its prompt"));
        Ok(encoded.hidden)
    };
    let wanted = encode(&prompt)?;
    let unwanted = match texts.cfg == 1.0 {
        // not looked at
        true => wanted.clone(),
        false => encode(&negative_prompt)?,
    };
    drop(encoder);
    let vae = texts.vae.map(load::autoencoder_path).transpose()?;
    let pipeline = StableDiffusion::load(folder, vae.as_deref(), loading, order.device)?;
    warnings.extend(pipeline.warnings().cloned());
    let model = pipeline.guided(wanted, unwanted, texts.cfg)?;
    Ok((model, pipeline.space()))
}

/// The texts of the prompts whose weight at the start is as wanted.
fn joined(prompts: &[Prompt], wanted: fn(f64) -> bool) -> String {
    let texts: Vec<&str> = (prompts.iter())
        .filter(|prompt| wanted(prompt.weight.at(0.0)))
        .filter_map(|prompt| prompt.text.as_deref())
        .collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Schedule;

    #[test]
    fn the_texts_of_the_prompts_are_told_by_their_weight() {
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
    fn the_steps_that_are_made_are_those_asked_for() {
        assert_eq!(levels(40, StepOrPercent::Steps(0)), (40, 0));
        assert_eq!(levels(40, StepOrPercent::Steps(10)), (50, 10));
        assert_eq!(levels(30, StepOrPercent::Share(0.4)), (50, 20));
        assert_eq!(levels(1, StepOrPercent::Share(0.99)), (100, 99));
    }
}
