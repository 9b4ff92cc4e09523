//! The settings of cutouts.

use phantasia_core::check::Checker;
use phantasia_core::{Schedule, config};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::augment::{Augment, affine, jitter, noise};

/// CLIPs with a smaller input than this recognise too little in a small cutout.
pub(super) const SMALL_INPUT: usize = 128;
/// The largest random cutout, as a share of the picture's shorter side.
pub(super) const LARGEST: f64 = 1.05;

/// Declares the settings, and the changes of single ones that a model may have.
macro_rules! settings {
    ($($(#[$about:meta])* $key:ident: $type:ty = $default:expr,)*) => {
        config! {
            /// The cutouts of the picture that CLIP is shown at every step.
            #[schemars(rename = "Cutouts")]
            pub struct Config {
                $($(#[$about])* pub $key: $type = $default,)*
            }
        }

        config! {
            /// The settings of one model's cutouts; those that are not given are as the recipe's `cutouts` say.
            #[schemars(rename = "CutoutChanges")]
            pub struct Changes {
                $($(#[$about])* #[serde(skip_serializing_if = "Option::is_none")] pub $key: Option<$type> = None,)*
            }
        }

        impl Config {
            /// These settings with the changes of one model.
            pub fn with(&self, changes: Option<&Changes>) -> Self {
                let changes = changes.cloned().unwrap_or_default();
                Self { $($key: changes.$key.unwrap_or_else(|| self.$key.clone()),)* }
            }
        }
    };
}

settings! {
    /// How many a step and image tower; null takes 16, and 2 for inputs under 128 pixels.
    #[schemars(range(min = 1, max = 65536))]
    count: Option<Schedule> = None,
    /// How they are spread over the picture; null takes `stratified`, and `random` for inputs under 128 pixels.
    sampler: Option<Sampler> = None,
    /// Skews the sizes: above 1 towards `min`, below 1 towards `max`; null takes 1, and 1.5 with `stratified`.
    #[schemars(extend("exclusiveMinimum" = 0))]
    power: Option<Schedule> = None,
    /// The smallest side as a share of the picture's shorter one; null takes the CLIP's input size (with `stratified` at least 0.2), and 0.75
    /// for inputs under 128 pixels.
    #[schemars(extend("exclusiveMinimum" = 0))]
    min: Option<Schedule> = None,
    /// The largest side likewise; above 1 it reaches over the edge. Null takes 1.05; with `stratified` 0.55, and 1 for inputs under 128 pixels.
    #[schemars(extend("exclusiveMinimum" = 0))]
    max: Option<Schedule> = None,
    /// How far over the edge a cutout may lie, as a share of its side.
    #[schemars(range(min = 0, max = 16))]
    margin: Schedule = 0.05.into(),
    /// How many of `count` show the whole picture.
    #[schemars(range(min = 0, max = 65536))]
    overview: Schedule = 0.0.into(),
    /// How much a cutout's size counts, 0 to 1: at 1 its weight is its side as a share of the picture's shorter one, times 3 if it is as large as
    /// that, relative to the mean over the cutouts; at 0 all weigh the same. Null takes 1, and 0 for inputs under 128 pixels.
    #[schemars(range(min = 0, max = 1))]
    coherence: Option<Schedule> = None,
    /// What is seen beyond the edge; along the axes of a `seamless` picture, its opposite side.
    border: Border = Border::Reflect,
    /// What is done to each cutout.
    augment: Vec<Augment> = default_augment(),
}

fn default_augment() -> Vec<Augment> {
    vec![
        Augment::Affine(affine::Config {
            degrees: 5.0.into(),
            translate: 0.02.into(),
            p: 1.0,
        }),
        Augment::Jitter(jitter::Config {
            p: 1.0,
            ..jitter::Config::default()
        }),
        Augment::Noise(noise::Config::default()),
    ]
}

impl Config {
    /// The sampler for a tower of that input size. The default for CLIPs of usual size is what pytti v2 measured with them: 16 stratified cutouts,
    /// weighted by coherence, scored no worse than 40 random ones (held-out ViT-L/14: 0.375 against 0.366, at 2.3 times less work of the tower; with
    /// coherence 0.306 against 0.296). No such measurement holds for small inputs.
    pub(super) fn sampler_for(&self, size: usize) -> Sampler {
        let default = if size < SMALL_INPUT {
            Sampler::Random
        } else {
            Sampler::Stratified
        };
        self.sampler.unwrap_or(default)
    }

    /// The strength of coherence for a tower of that input size.
    pub(super) fn coherence_for(&self, size: usize, t: f64) -> f64 {
        match &self.coherence {
            Some(strength) => strength.at(t),
            None if size < SMALL_INPUT => 0.0,
            None => 1.0,
        }
    }

    /// Checks what ranges cannot say.
    pub fn check(&self, checker: &mut Checker) {
        self.check_sides(checker);
        let sizes = [&self.min, &self.max, &self.power].map(Option::is_some);
        self.check_sampler(sizes, checker);
    }

    /// Checks the cutouts of a model with these changes, unless the recipe's own are already wrong.
    pub(crate) fn check_changes(&self, changes: Option<&Changes>, checker: &mut Checker) {
        let mut own = Checker::default();
        self.check(&mut own);
        if let Some(changes) = changes
            && own.is_empty()
        {
            let changed = self.with(Some(changes));
            // what the recipe says for other models' samplers is no mistake
            let sizes = [&changes.min, &changes.max, &changes.power].map(Option::is_some);
            checker.section("cutouts", |checker| {
                changed.check_sides(checker);
                changed.check_sampler(sizes, checker);
            });
        }
    }

    fn check_sides(&self, checker: &mut Checker) {
        let min = self.min.as_ref().and_then(Schedule::constant);
        let max = (self.max.as_ref()).map_or(Some(LARGEST), Schedule::constant);
        if let (Some(min), Some(max)) = (min, max)
            && min > max
        {
            checker.unexpected("min", format!("at most `max`, which is {max}"), min);
        }
    }

    /// `sizes` are whether `min`, `max` and `power` are given.
    fn check_sampler(&self, sizes: [bool; 3], checker: &mut Checker) {
        if self.sampler != Some(Sampler::Full) {
            return;
        }
        for (key, is_given) in ["min", "max", "power"].into_iter().zip(sizes) {
            if is_given {
                let message = "with `sampler: full` all cutouts are as large as the picture allows: leave it out, or take another sampler";
                checker.invalid(key, message);
            }
        }
    }
}

/// How cutouts are spread over the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// A quarter of them, at least two, are as large as the picture allows, side by side along its longer side. The others are smaller, one in
    /// each cell of a grid, so that every step sees all of the picture, in all sizes (pytti v2's "smart" cutouts).
    Stratified,
    /// Each anywhere, of any size, independently of the others.
    Random,
    /// All as large as the picture allows, side by side along its longer side.
    Full,
}

/// What a cutout shows beyond the picture's edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Border {
    /// The nearest pixel of the edge.
    Edge,
    /// The picture, mirrored.
    Reflect,
    /// Black.
    Zero,
    /// The picture again, so that it tiles.
    Wrap,
}

impl From<Border> for frozen::Border {
    fn from(border: Border) -> Self {
        match border {
            Border::Edge => Self::Edge,
            Border::Reflect => Self::Reflect,
            Border::Zero => Self::Zero,
            Border::Wrap => Self::Wrap,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_towers_and_what_is_given_holds_for_all() {
        let config = Config::default();
        let of =
            |config: &Config, size| (config.sampler_for(size), config.coherence_for(size, 0.5));
        assert_eq!(of(&config, 64), (Sampler::Random, 0.0));
        assert_eq!(of(&config, 128), (Sampler::Stratified, 1.0));
        assert_eq!(of(&config, 224), (Sampler::Stratified, 1.0));
        let given = Config {
            sampler: Some(Sampler::Full),
            coherence: Some(0.5.into()),
            ..config
        };
        assert_eq!(of(&given, 64), (Sampler::Full, 0.5));
        assert_eq!(of(&given, 224), (Sampler::Full, 0.5));
    }
}
