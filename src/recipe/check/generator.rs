//! Ranges of the generators' own keys.

use std::path::Path;

use super::{Checker, LONGEST_SIDE, looks_like_path};
use crate::models::{ModelError, Reference};
use crate::recipe::{
    CellularOptions, DiffusionOptions, DiffusionSampler, FftOptions, GeneratorOptions,
    LatentOptions, NoiseOptions, Palette, PixelsOptions, PyramidOptions, Schedule, Sides,
    StepOrPercent, VqganOptions,
};

const MOST_LAYERS: usize = 64;
/// Most noise levels that a walk may skip.
const MOST_LEVELS: usize = 100_000;
const MOST_SKIPPED: f64 = 0.99;
const MOST_CFG: f64 = 100.0;
const MOST_CHANNELS: usize = 256;
const MOST_HIDDEN: usize = 4096;
const MOST_ITERATIONS: usize = 4096;
const MOST_COLORS: usize = 256;
const MOST_STATES: usize = 4096;

impl Checker {
    /// A generator's own keys; `path` leads to its section.
    pub(super) fn generator(&mut self, path: &str, options: &GeneratorOptions) {
        match options {
            GeneratorOptions::Pyramid(options) => self.pyramid(path, options),
            GeneratorOptions::Diffusion(options) => self.diffusion(path, options),
            GeneratorOptions::Noise(options) => self.noise(path, options),
            GeneratorOptions::Vqgan(options) => self.vqgan(path, options),
            GeneratorOptions::Latent(options) => self.latent(path, options),
            GeneratorOptions::Cellular(options) => self.cellular(path, options),
            GeneratorOptions::Pixels(options) => self.pixels(path, options),
            GeneratorOptions::Fft(options) => self.fft(path, options),
        }
    }

    /// A learning rate: never below 0, and not 0 throughout.
    fn learning_rate(&mut self, path: &str, lr: &Schedule) {
        if self.number(path, lr, 0.0, f64::MAX) && lr.bounds().1 == 0.0 {
            self.invalid(path, "it is 0 throughout, so that nothing would change");
        }
    }

    /// The model that a generator is to load.
    pub(super) fn model(&mut self, path: &str, model: &str) {
        let name = model.trim();
        if name.is_empty() {
            self.invalid(
                path,
                "there is no model: give a folder, or a repository's name",
            );
        } else if looks_like_path(name) && !Path::new(name).exists() {
            self.missing(path, "model", Path::new(name));
        } else if let Err(error @ ModelError::Revision { .. }) = Reference::parse(name)
            && !Path::new(name).exists()
        {
            self.invalid(path, &error.to_string());
        }
    }

    /// A diffusion model, and another autoencoder than its own.
    fn pipeline(&mut self, path: &str, model: &str, vae: Option<&str>) {
        self.model(&format!("{path}.model"), model);
        if let Some(vae) = vae {
            self.model(&format!("{path}.vae"), vae);
        }
    }

    fn diffusion(&mut self, path: &str, options: &DiffusionOptions) {
        let DiffusionOptions {
            model,
            prompt: _,
            negative_prompt: _,
            cfg,
            vae,
            sampler,
            spacing: _,
            eta,
            skip,
            guidance: _,
            scale,
            clamp,
            blend: _,
            clip_sample: _,
            resolution,
            gradient_checkpointing: _,
        } = options;
        self.pipeline(path, model, vae.as_deref());
        if let Some(cfg) = cfg {
            self.range(&format!("{path}.cfg"), *cfg, 0.0, MOST_CFG);
        }
        if let Some(eta) = eta {
            let path = format!("{path}.eta");
            self.range(&path, *eta, 0.0, 1.0);
            if !matches!(
                sampler,
                DiffusionSampler::Ddim | DiffusionSampler::EulerAncestral
            ) {
                self.invalid(
                    &path,
                    "only `ddim` and `euler_ancestral` bring new noise: leave it out",
                );
            }
        }
        match skip {
            Some(StepOrPercent::Steps(steps)) => {
                self.count(&format!("{path}.skip"), *steps, 0, MOST_LEVELS);
            }
            Some(StepOrPercent::Share(share)) if *share > MOST_SKIPPED => self.unexpected(
                &format!("{path}.skip"),
                "at most 99 %",
                StepOrPercent::Share(*share),
            ),
            _ => {}
        }
        self.number(&format!("{path}.scale"), scale, 0.0, f64::MAX);
        if let Some(clamp) = clamp
            && !(clamp.is_finite() && *clamp > 0.0)
        {
            self.unexpected(&format!("{path}.clamp"), "a number above 0, or null", clamp);
        }
        if let Some(size) = resolution {
            self.size(&format!("{path}.resolution"), *size);
        }
    }

    fn noise(&mut self, path: &str, options: &NoiseOptions) {
        let NoiseOptions {
            model,
            prompt: _,
            negative_prompt: _,
            cfg,
            vae,
            lr,
            momentum,
            clip,
            regularize,
            resolution,
            gradient_checkpointing: _,
        } = options;
        self.pipeline(path, model, vae.as_deref());
        self.range(&format!("{path}.cfg"), *cfg, 0.0, MOST_CFG);
        self.learning_rate(&format!("{path}.lr"), lr);
        self.range(&format!("{path}.momentum"), *momentum, 0.0, 1.0);
        if !(clip.is_finite() && *clip > 0.0) {
            self.unexpected(&format!("{path}.clip"), "a number above 0", clip);
        }
        self.range(&format!("{path}.regularize"), *regularize, 0.0, 1e6);
        if let Some(size) = resolution {
            self.size(&format!("{path}.resolution"), *size);
        }
    }

    fn tile(&mut self, path: &str, tile: Option<usize>) {
        if let Some(tile) = tile {
            self.count(path, tile, 1, LONGEST_SIDE);
        }
    }

    fn vqgan(&mut self, path: &str, options: &VqganOptions) {
        let VqganOptions {
            model,
            start: _,
            lr,
            tile,
        } = options;
        self.model(&format!("{path}.model"), model);
        self.learning_rate(&format!("{path}.lr"), lr);
        self.tile(&format!("{path}.tile"), *tile);
    }

    fn latent(&mut self, path: &str, options: &LatentOptions) {
        let LatentOptions {
            model,
            noise,
            lr,
            weight_decay,
            tile,
        } = options;
        self.model(&format!("{path}.model"), model);
        self.range(&format!("{path}.noise"), *noise, 0.0, 1e6);
        self.learning_rate(&format!("{path}.lr"), lr);
        self.range(&format!("{path}.weight_decay"), *weight_decay, 0.0, 1e6);
        self.tile(&format!("{path}.tile"), *tile);
    }

    fn pixels(&mut self, path: &str, options: &PixelsOptions) {
        let PixelsOptions { palette, noise, lr } = options;
        let colors = match palette {
            None => 1,
            Some(Palette::Learned(count)) => *count,
            Some(Palette::Fixed(colors)) => colors.len(),
        };
        match (palette, colors) {
            (Some(Palette::Fixed(_)), 0) => self.invalid(
                &format!("{path}.palette"),
                "there is no colour: give one, or a number of colours to learn",
            ),
            _ => drop(self.count(&format!("{path}.palette"), colors, 1, MOST_COLORS)),
        }
        self.range(&format!("{path}.noise"), *noise, 0.0, 1e6);
        self.learning_rate(&format!("{path}.lr"), lr);
    }

    fn fft(&mut self, path: &str, options: &FftOptions) {
        let FftOptions {
            decay,
            contrast,
            colors,
            lr,
        } = options;
        self.range(&format!("{path}.decay"), *decay, 0.0, 8.0);
        self.range(&format!("{path}.contrast"), *contrast, 0.01, 100.0);
        self.range(&format!("{path}.colors"), *colors, 0.01, 100.0);
        self.learning_rate(&format!("{path}.lr"), lr);
    }

    fn cellular(&mut self, path: &str, options: &CellularOptions) {
        let CellularOptions {
            channels,
            hidden,
            iterations: [least, most],
            fire_rate,
            pool,
            batch,
            reseed,
            damage,
            padding: _,
            overflow,
            lr,
        } = options;
        self.count(&format!("{path}.channels"), *channels, 3, MOST_CHANNELS);
        self.count(&format!("{path}.hidden"), *hidden, 1, MOST_HIDDEN);
        self.count(&format!("{path}.iterations.0"), *least, 1, MOST_ITERATIONS);
        if self.count(&format!("{path}.iterations.1"), *most, 1, MOST_ITERATIONS) && least > most {
            self.invalid(
                &format!("{path}.iterations"),
                "the fewest are more than the most: write the smaller number first",
            );
        }
        self.range(&format!("{path}.fire_rate"), *fire_rate, 0.0, 1.0);
        if *fire_rate == 0.0 {
            self.invalid(
                &format!("{path}.fire_rate"),
                "it is 0, so that no cell would ever change",
            );
        }
        self.count(&format!("{path}.pool"), *pool, 1, MOST_STATES);
        self.count(&format!("{path}.batch"), *batch, 1, MOST_STATES);
        self.count(&format!("{path}.reseed"), *reseed, 0, MOST_STATES);
        self.range(&format!("{path}.damage"), *damage, 0.0, 1.0);
        self.range(&format!("{path}.overflow"), *overflow, 0.0, 1e6);
        self.learning_rate(&format!("{path}.lr"), lr);
    }

    fn pyramid(&mut self, path: &str, options: &PyramidOptions) {
        let PyramidOptions {
            layers,
            base,
            scale,
            decay,
            gain,
            sides,
            squash: _,
            filter: _,
            optimizer: _,
            lr,
            momentum,
            normalize: _,
            weight_decay,
            noise,
            progressive,
        } = options;
        self.count(&format!("{path}.layers"), *layers, 1, MOST_LAYERS);
        self.count(&format!("{path}.base"), *base, 1, LONGEST_SIDE);
        self.range(&format!("{path}.scale"), *scale, 1.0, 1024.0);
        self.range(&format!("{path}.decay"), *decay, 0.0, 1e6);
        self.range(&format!("{path}.gain"), *gain, 0.0, 1e6);
        if let Some(Sides::List(sides)) = sides {
            if sides.is_empty() {
                self.invalid(
                    &format!("{path}.sides"),
                    "there is no side: give one, or the word `all`",
                );
            }
            for (index, side) in sides.iter().enumerate() {
                self.count(&format!("{path}.sides.{index}"), *side, 1, LONGEST_SIDE);
            }
        }
        self.learning_rate(&format!("{path}.lr"), lr);
        self.range(&format!("{path}.momentum"), *momentum, 0.0, 1.0);
        self.range(&format!("{path}.weight_decay"), *weight_decay, 0.0, 1e6);
        self.range(&format!("{path}.noise"), *noise, 0.0, 1e6);
        self.range(&format!("{path}.progressive"), *progressive, 0.0, 1.0);
    }
}
