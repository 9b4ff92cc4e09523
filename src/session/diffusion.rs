//! From a recipe's `diffusion` section to the generator.

use std::sync::Arc;

use anyhow::{Context, Result};
use generators::diffusion::{
    Diffusion, DiffusionConfig, GuidanceMode, LoadOptions, Sampler, Space, Spacing, load,
};

use super::generator::Order;
use crate::recipe::{
    DiffusionGuidance, DiffusionOptions, DiffusionSampler, DiffusionSpacing, Moment,
};
use crate::weights;

/// How much is skipped of a walk that starts from a picture.
const SKIP_FROM_PICTURE: Moment = Moment::Share(0.5);

/// How many noise levels a walk of that many steps has in all, and how many of them are skipped.
fn levels(steps: usize, skip: Moment) -> (usize, usize) {
    let all = match skip {
        Moment::Steps(skipped) => steps.saturating_add(skipped),
        Moment::Share(share) => (steps as f64 / (1.0 - share)).round() as usize,
    };
    (all, all - steps)
}

pub(super) fn diffusion(
    options: &DiffusionOptions,
    order: &Order<'_>,
    warnings: &mut Vec<String>,
) -> Result<Diffusion> {
    let folder = weights::diffusion(&options.model)?;
    let loading = LoadOptions {
        recompute: options.gradient_checkpointing,
        clip: options.clip_sample,
    };
    let model = load(&folder, loading, order.device)
        .with_context(|| format!("cannot load the diffusion model `{}`", options.model))?;
    let [width, height] = order.size;
    let none = match order.init {
        None => Moment::Steps(0),
        Some(_) => SKIP_FROM_PICTURE,
    };
    let (steps, skip) = levels(order.steps, options.skip.unwrap_or(none));
    let config = DiffusionConfig {
        width,
        height,
        inner: options.resolution,
        space: Space::Pixels,
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
        spacing: match (options.spacing, options.sampler) {
            (Some(DiffusionSpacing::Leading), _) => Spacing::Leading,
            (Some(DiffusionSpacing::Trailing), _) => Spacing::Trailing,
            (Some(DiffusionSpacing::Linspace), _) => Spacing::Linspace,
            (Some(DiffusionSpacing::Karras), _) => Spacing::Karras,
            (None, DiffusionSampler::Ddim) => Spacing::Leading,
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
    let diffusion = Diffusion::new(config, Arc::new(model), order.init, order.device)?;
    let [inner_width, inner_height] = diffusion.inner_size();
    if [inner_width, inner_height] != asked {
        warnings.push(format!(
            "`{}` cannot work at {}x{}: it works at {inner_width}x{inner_height}, and the picture is resized to {width}x{height}",
            options.model, asked[0], asked[1]
        ));
    }
    Ok(diffusion)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_that_are_made_are_those_asked_for() {
        assert_eq!(levels(40, Moment::Steps(0)), (40, 0));
        assert_eq!(levels(40, Moment::Steps(10)), (50, 10));
        assert_eq!(levels(30, Moment::Share(0.4)), (50, 20));
        assert_eq!(levels(1, Moment::Share(0.99)), (100, 99));
    }
}
