//! From a recipe's generator section to a generator.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use candle_core::{Device, Tensor};
use frozen::Filter;
use generators::{
    Fft, FftConfig, Generator, LearningRate, OptimizerKind, Pixels, PixelsConfig, Pyramid,
    PyramidConfig, pixels, pyramid,
};

use super::cellular::cellular;
use super::diffusion::{diffusion, noise};
use super::latent::{latent, vqgan};
use crate::recipe::{
    self, FftOptions, GeneratorOptions, PixelsOptions, Prompt, PyramidOptions, Schedule,
};

/// What the recipe's learning rates are multiplied by while a render runs. Clones share the number.
#[derive(Clone, Debug)]
pub(super) struct LearningRateScale(Arc<AtomicU64>);

impl Default for LearningRateScale {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(1f64.to_bits())))
    }
}

impl LearningRateScale {
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    pub fn set(&self, factor: f64) {
        self.0.store(factor.to_bits(), Ordering::Relaxed);
    }
}

/// All that a generator is made from.
pub(super) struct Order<'a> {
    /// What the recipe says of it.
    pub options: &'a GeneratorOptions,
    /// Width and height of the picture in pixels.
    pub size: [usize; 2],
    /// How many steps it will make.
    pub steps: usize,
    /// Decides its random numbers; differs from one restart to the next.
    pub seed: u64,
    /// What is asked for when it begins.
    pub prompts: &'a [Prompt],
    /// The picture to start from: `[1, 3, height, width]` in 0..=1.
    pub init: Option<&'a Tensor>,
    /// Where it computes.
    pub device: &'a Device,
    /// What its learning rate is multiplied by.
    pub learning_rate_scale: &'a LearningRateScale,
}

impl Order<'_> {
    /// A learning rate, as a function of the share of the stage that is done.
    pub(super) fn learning_rate(&self, number: &Schedule) -> LearningRate {
        let (number, rate) = (number.clone(), self.learning_rate_scale.clone());
        LearningRate::new(move |t| number.at(t) * rate.get())
    }
}

/// The generator that a stage asks for, at its start or at the picture to start from. What the person should know of it, such as a
/// size that had to be changed, is added to `warnings`.
pub(super) fn generator(
    order: &Order<'_>,
    warnings: &mut Vec<String>,
) -> Result<Box<dyn Generator>> {
    Ok(match order.options {
        GeneratorOptions::Pyramid(options) => {
            let config = pyramid_config(options, order);
            Box::new(Pyramid::new(config, order.init, order.device)?)
        }
        GeneratorOptions::Cellular(options) => Box::new(cellular(options, order)?),
        GeneratorOptions::Pixels(options) => {
            let config = pixels_config(options, order);
            Box::new(Pixels::new(config, order.init, order.device)?)
        }
        GeneratorOptions::Fft(options) => {
            let config = fft_config(options, order);
            Box::new(Fft::new(config, order.init, order.device)?)
        }
        GeneratorOptions::Diffusion(options) => Box::new(diffusion(options, order, warnings)?),
        GeneratorOptions::Noise(options) => Box::new(noise(options, order, warnings)?),
        GeneratorOptions::Vqgan(options) => Box::new(vqgan(options, order, warnings)?),
        GeneratorOptions::Latent(options) => Box::new(latent(options, order, warnings)?),
    })
}

fn pixels_config(options: &PixelsOptions, order: &Order<'_>) -> PixelsConfig {
    let [width, height] = order.size;
    let level = |level: u8| f32::from(level) / 255.0;
    PixelsConfig {
        width,
        height,
        palette: match &options.palette {
            None => pixels::Palette::Any,
            Some(recipe::Palette::Learned(count)) => pixels::Palette::Learned(*count),
            Some(recipe::Palette::Fixed(colors)) => {
                pixels::Palette::Fixed(colors.iter().map(|color| color.0.map(level)).collect())
            }
        },
        noise: options.noise,
        lr: order.learning_rate(&options.lr),
        steps: order.steps,
        seed: order.seed,
    }
}

fn fft_config(options: &FftOptions, order: &Order<'_>) -> FftConfig {
    let [width, height] = order.size;
    FftConfig {
        width,
        height,
        decay: options.decay,
        contrast: options.contrast,
        colors: options.colors,
        lr: order.learning_rate(&options.lr),
        steps: order.steps,
        seed: order.seed,
    }
}

fn pyramid_config(options: &PyramidOptions, order: &Order<'_>) -> PyramidConfig {
    let [width, height] = order.size;
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
                nesterov: false,
                weight_decay: options.weight_decay,
            },
            recipe::Optimizer::Sign => OptimizerKind::Sign,
        },
        lr: order.learning_rate(&options.lr),
        normalize: options.normalize,
        progressive: options.progressive,
        steps: order.steps,
        seed: order.seed,
    }
}
