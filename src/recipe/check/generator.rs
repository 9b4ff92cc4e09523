//! Ranges of the generators' own keys.

use super::{Checker, LONGEST_SIDE};
use crate::recipe::{GeneratorOptions, Number, PyramidOptions, Sides};

const MOST_LAYERS: usize = 64;

impl Checker {
    /// A generator's own keys; `path` leads to its section.
    pub(super) fn generator(&mut self, path: &str, options: &GeneratorOptions) {
        match options {
            GeneratorOptions::Pyramid(options) => self.pyramid(path, options),
        }
    }

    /// A learning rate: never below 0, and not 0 throughout.
    fn learning_rate(&mut self, path: &str, lr: &Number) {
        if self.number(path, lr, 0.0, f64::MAX) && lr.bounds().1 == 0.0 {
            self.invalid(path, "it is 0 throughout, so that nothing would change");
        }
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
