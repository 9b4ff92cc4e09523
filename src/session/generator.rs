//! From a recipe's generator section to a generator.

use anyhow::Result;
use candle_core::{Device, Tensor};
use frozen::Filter;
use generators::{Generator, OptimizerKind, Pyramid, PyramidConfig, Schedule, pyramid};
use rand::RngCore;

use crate::random::{self, Purpose};
use crate::recipe::{self, GeneratorOptions, Number, PyramidOptions, Recipe};

fn schedule(number: &Number) -> Schedule {
    let number = number.clone();
    Schedule::new(move |t| number.at(t))
}

/// The generator that a recipe asks for, at its start or at `init`.
pub(super) fn generator(
    recipe: &Recipe,
    init: Option<&Tensor>,
    device: &Device,
) -> Result<Box<dyn Generator>> {
    Ok(match &recipe.generator {
        GeneratorOptions::Pyramid(options) => {
            let config = pyramid_config(options, recipe);
            Box::new(Pyramid::new(config, init, device)?)
        }
    })
}

fn pyramid_config(options: &PyramidOptions, recipe: &Recipe) -> PyramidConfig {
    let [width, height] = recipe.size;
    PyramidConfig {
        width,
        height,
        sides: match &options.sides {
            None => pyramid::Sides::Geometric {
                base: options.base,
                scale: options.scale,
                layers: options.layers,
            },
            Some(recipe::Sides::List(sides)) => pyramid::Sides::List(sides.clone()),
            Some(recipe::Sides::Word(recipe::AllSides::All)) => pyramid::Sides::All,
        },
        decay: options.decay,
        gain: options.gain,
        noise: options.noise,
        squash: match options.squash {
            recipe::Squash::Sigmoid => pyramid::Squash::Sigmoid,
            recipe::Squash::Tanh => pyramid::Squash::Tanh,
            recipe::Squash::Clamp => pyramid::Squash::Clamp,
        },
        filter: match options.filter {
            recipe::Filter::Bilinear => Filter::Bilinear,
            recipe::Filter::Bicubic => Filter::Bicubic,
        },
        optimizer: match options.optimizer {
            recipe::Optimizer::Adam => OptimizerKind::Adam {
                weight_decay: options.weight_decay,
            },
            recipe::Optimizer::Sgd => OptimizerKind::Sgd {
                momentum: options.momentum,
                dampening: options.momentum,
                weight_decay: options.weight_decay,
            },
            recipe::Optimizer::Sign => OptimizerKind::Sign,
        },
        lr: schedule(&options.lr),
        normalize: options.normalize,
        progressive: options.progressive,
        steps: recipe.steps,
        seed: random::rng(recipe.seed, Purpose::Start, 0, 0).next_u64(),
    }
}
