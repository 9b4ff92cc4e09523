//! The cutouts of a picture that a CLIP is shown at one step: how many are drawn, where and how large.

mod coherence;
mod draw;
mod strata;

use anyhow::Result;
use candle_core::Tensor;
use clip::{Shown, Tower};
use phantasia_core::check::Checker;
use phantasia_core::random::{self, Purpose};
use phantasia_core::{Schedule, Seamless, StepContext, config};
use rand::Rng as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::augment::{Augment, affine, jitter, noise};
use crate::cutout_layer::Cutouts;
use crate::region_mask::RegionMask;
use draw::Draw;
pub(crate) use draw::Frame;

/// CLIPs with a smaller input than this recognise too little in a small cutout.
const SMALL_INPUT: usize = 128;
/// The number of cutouts for a CLIP of small input, and for any other, where a recipe does not say.
const COUNTS: (usize, usize) = (2, 16);
/// A region has at least so many cutouts, if the picture has.
const LEAST_OF_REGION: usize = 4;

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
    fn sampler_for(&self, size: usize) -> Sampler {
        let default = if size < SMALL_INPUT {
            Sampler::Random
        } else {
            Sampler::Stratified
        };
        self.sampler.unwrap_or(default)
    }

    /// The strength of coherence for a tower of that input size.
    fn coherence_for(&self, size: usize, t: f64) -> f64 {
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
        let max = (self.max.as_ref()).map_or(Some(draw::LARGEST), Schedule::constant);
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

/// Draws the cutouts of a term.
#[derive(Clone, Debug)]
pub struct CutoutSampler {
    /// How they are drawn.
    pub config: Config,
    /// Decides the random numbers.
    pub seed: u64,
    /// The axes along which the picture repeats without a seam: cutouts lie across its edges there.
    pub seamless: Seamless,
    /// About how many bytes the cutouts of a micro-batch may take.
    pub memory: usize,
}

impl CutoutSampler {
    /// Draws the cutouts of an image `[1, 3, height, width]` that a tower is shown at a step. Towers with different numbers see different
    /// cutouts. Those of a region are drawn in its frame instead of the whole picture, and count by how much of it they show.
    pub(crate) fn draw(
        &self,
        image: &Tensor,
        tower: &Tower,
        number: usize,
        region: Option<&RegionMask>,
        at: StepContext,
    ) -> Result<Cutouts> {
        let (_, _, height, width) = image.dims4()?;
        let (config, t, size) = (&self.config, at.t(), tower.size());
        let frame = region.map_or_else(|| Frame::whole(width, height), RegionMask::frame);
        let draw = Draw {
            config,
            sampler: config.sampler_for(size),
            frame,
            size,
            t,
        };
        // towers use different ranges of indices
        let rng = |index| {
            let key = number * 0x1_0000 + index;
            random::rng(self.seed, Purpose::Cutouts, at.clock, key)
        };
        let mut cutouts = match tower.shown() {
            // where a cutout is always the same, more of them tell nothing more
            Shown::Middle => vec![draw.middle(&mut rng(0))],
            Shown::All => vec![draw.all(&mut rng(0))],
            Shown::Cutouts => {
                let count = self.count(size, region, t);
                let overviews = (config.overview.at(t).round().max(0.0) as usize).min(count);
                let order = &mut random::rng(self.seed, Purpose::CutoutSizes, at.clock, number);
                let strata = draw.strata(count - overviews, order);
                let overviews = (0..overviews).map(|index| draw.overview(index, &mut rng(index)));
                let mut cutouts: Vec<_> = overviews.collect();
                for stratum in strata {
                    let index = cutouts.len();
                    cutouts.push(draw.square(stratum, &mut rng(index)));
                }
                cutouts
            }
        };
        if region.is_none() {
            let [rows, columns] = self.moved([height, width], tower.shown(), at);
            for cutout in &mut cutouts {
                cutout.crop.top += rows;
                cutout.crop.left += columns;
            }
        }
        let coherence = coherence::weights(&cutouts, &frame, config.coherence_for(size, t));
        let border = config.border.into();
        let mut cutouts =
            Cutouts::new(cutouts, coherence, size, border).wrapping(self.seamless.axes());
        if let Some(region) = region {
            cutouts.weigh_for(region);
        }
        Ok(cutouts)
    }

    /// By how many rows and columns the cutouts of a step are moved around a seamless picture of this height and width.
    ///
    /// Cutouts move by any number, so that no place is the picture's edge or its middle. A tower that knows single things would smear them:
    /// it sees two places in turn, in opposite quarters of the picture, as in a half-drop repeat.
    fn moved(&self, sides: [usize; 2], shown: Shown, at: StepContext) -> [f64; 2] {
        let rng = &mut random::rng(self.seed, Purpose::Roll, at.clock, 0);
        let [y, x] = self.seamless.axes();
        let mut moved = |side: usize, moves: bool| match shown {
            _ if !moves => 0.0,
            Shown::Middle => (at.clock % 2 * (side / 2)) as f64 - (side / 4) as f64,
            Shown::Cutouts | Shown::All => rng.random_range(0..side.max(1)) as f64,
        };
        [moved(sides[0], y), moved(sides[1], x)]
    }

    /// How many cutouts a tower of that input size is shown: in a region fewer, but not so few that they say little.
    fn count(&self, size: usize, region: Option<&RegionMask>, t: f64) -> usize {
        let count = match &self.config.count {
            Some(count) => (count.at(t).round() as usize).max(1),
            None if size < SMALL_INPUT => COUNTS.0,
            None => COUNTS.1,
        };
        let share = region.map_or(1.0, RegionMask::share);
        ((count as f64 * share).ceil() as usize).clamp(count.min(LEAST_OF_REGION), count)
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

    fn sampler(seamless: Seamless) -> CutoutSampler {
        CutoutSampler {
            config: Config::default(),
            seed: 3,
            seamless,
            memory: 0,
        }
    }

    #[test]
    fn cutouts_move_along_seamless_axes_alone_and_together() {
        let moved = |seamless, shown, clock| {
            let at = StepContext {
                step: 0,
                steps: 9,
                clock,
            };
            sampler(seamless).moved([60, 90], shown, at)
        };
        for shown in [Shown::Cutouts, Shown::Middle, Shown::All] {
            assert_eq!(moved(Seamless::No, shown, 1), [0.0, 0.0]);
            for clock in 0..20 {
                let [rows, columns] = moved(Seamless::Both, shown, clock);
                assert!(rows.abs() < 60.0 && columns.abs() < 90.0);
                assert_eq!(moved(Seamless::X, shown, clock)[0], 0.0);
                assert_eq!(moved(Seamless::Y, shown, clock)[1], 0.0);
            }
        }
        let at = |clock| moved(Seamless::Both, Shown::Cutouts, clock);
        assert_eq!(at(4), moved(Seamless::Both, Shown::All, 4));
        assert!(at(4) == at(4) && at(4) != at(5));
        let thing = |clock| moved(Seamless::Both, Shown::Middle, clock);
        assert_eq!((thing(6), thing(7)), ([-15.0, -22.0], [15.0, 23.0]));
    }
}
