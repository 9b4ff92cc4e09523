//! The cutouts of a picture that a CLIP is shown at one step: how many are drawn, where and how large.

use anyhow::Result;
use candle_core::Tensor;
use clip::{Shown, Tower};
use frozen::Crop;
use phantasia_core::check::Checker;
use phantasia_core::random::{self, Purpose};
use phantasia_core::{Schedule, StepContext, config};
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::augment::{Augment, affine, jitter, noise};
use crate::cutout_layer::color::ColorMatrix;
use crate::cutout_layer::{Cutout, Cutouts};

/// CLIPs with a smaller input than this recognise too little in a small cutout.
const SMALL_INPUT: usize = 128;
/// The smallest cutout of such CLIPs, as a share of the picture's shorter side.
const SMALL_INPUT_SHARE: f64 = 0.75;
/// The number of cutouts for a CLIP of small input, and for any other, where a recipe does not say.
const COUNTS: (usize, usize) = (2, 16);

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
    /// Skews the sizes: above 1 towards `min`, below 1 towards `max`.
    #[schemars(extend("exclusiveMinimum" = 0))]
    power: Schedule = 1.0.into(),
    /// The smallest side as a share of the picture's shorter one; null takes the CLIP's input size, and 0.75 for inputs under 128 pixels.
    #[schemars(extend("exclusiveMinimum" = 0))]
    min: Option<Schedule> = None,
    /// The largest side likewise; above 1 it reaches over the edge.
    #[schemars(extend("exclusiveMinimum" = 0))]
    max: Schedule = 1.05.into(),
    /// How far over the edge a cutout may lie, as a share of its side.
    #[schemars(range(min = 0, max = 16))]
    margin: Schedule = 0.05.into(),
    /// How many of `count` show the whole picture.
    #[schemars(range(min = 0, max = 65536))]
    overview: Schedule = 0.0.into(),
    /// What is seen beyond the edge.
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
    /// Checks what ranges cannot say.
    pub fn check(&self, checker: &mut Checker) {
        let min = self.min.as_ref().and_then(Schedule::constant);
        if let (Some(min), Some(max)) = (min, self.max.constant())
            && min > max
        {
            checker.unexpected("min", format!("at most `max`, which is {max}"), min);
        }
    }

    /// Checks the cutouts of a model with these changes, unless the recipe's own are already wrong.
    pub(crate) fn check_changes(&self, changes: Option<&Changes>, checker: &mut Checker) {
        let mut own = Checker::default();
        self.check(&mut own);
        if own.is_empty() {
            checker.section("cutouts", |checker| self.with(changes).check(checker));
        }
    }
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
    /// About how many bytes the cutouts of a micro-batch may take.
    pub memory: usize,
}

impl CutoutSampler {
    /// Draws the cutouts of an image `[1, 3, height, width]` that a tower is shown at a step. Towers with different numbers see different
    /// cutouts.
    pub(crate) fn draw(
        &self,
        image: &Tensor,
        tower: &Tower,
        number: usize,
        at: StepContext,
    ) -> Result<Cutouts> {
        let (_, _, height, width) = image.dims4()?;
        let (t, size) = (at.t(), tower.size());
        let count = match &self.config.count {
            // where a cutout is always the same, more of them tell nothing more
            _ if tower.shown() != Shown::Cutouts => 1,
            Some(count) => (count.at(t).round() as usize).max(1),
            None if size < SMALL_INPUT => COUNTS.0,
            None => COUNTS.1,
        };
        let overview = (self.config.overview.at(t).round().max(0.0) as usize).min(count);
        let draw = Draw {
            config: &self.config,
            width: width as f64,
            height: height as f64,
            size,
            t,
        };
        let cutouts = (0..count)
            .map(|index| {
                // towers use different ranges of indices
                let key = number * 0x1_0000 + index;
                let rng = &mut random::rng(self.seed, Purpose::Cutouts, at.clock, key);
                match tower.shown() {
                    Shown::Cutouts if index < overview => draw.overview(index, rng),
                    Shown::Cutouts => draw.inner(rng),
                    Shown::Middle => draw.in_place(draw.short(), draw.short(), rng),
                    Shown::All => draw.in_place(draw.width, draw.height, rng),
                }
            })
            .collect();
        Ok(Cutouts::new(cutouts, size, self.config.border.into()))
    }
}

/// What the cutouts of one step have in common.
struct Draw<'a> {
    config: &'a Config,
    /// Of the picture.
    width: f64,
    height: f64,
    /// Side of the tower's input.
    size: usize,
    t: f64,
}

impl Draw<'_> {
    /// The picture's shorter side.
    fn short(&self) -> f64 {
        self.width.min(self.height)
    }

    /// The smallest and the largest side of cutouts, at least one pixel.
    fn sides(&self) -> [f64; 2] {
        let max = self.config.max.at(self.t);
        let min = match &self.config.min {
            Some(min) => min.at(self.t),
            None if self.size < SMALL_INPUT => SMALL_INPUT_SHARE,
            None => (self.size as f64).min(self.short()) / self.short(),
        };
        [min.min(max), max].map(|share| (share * self.short()).max(1.0))
    }

    /// A rectangle of that size around the picture's middle.
    fn middle(&self, width: f64, height: f64) -> Crop {
        Crop {
            top: (self.height - height) / 2.0,
            left: (self.width - width) / 2.0,
            height,
            width,
            flip: false,
        }
    }

    /// The whole picture, its longer side filling the cutout (disco-diffusion's overview cuts: every second one grey, two of four mirrored).
    fn overview(&self, index: usize, rng: &mut impl Rng) -> Cutout {
        let side = self.width.max(self.height);
        let crop = Crop {
            flip: index % 4 >= 2,
            ..self.middle(side, side)
        };
        let mut cutout = self.augmented(crop, rng);
        if index % 2 == 1 {
            cutout.recolor(ColorMatrix::saturation(0.0));
        }
        cutout
    }

    /// The middle of the picture, of that size, with its colours alone changed: for towers that know where things are in a picture.
    fn in_place(&self, width: f64, height: f64, rng: &mut impl Rng) -> Cutout {
        let crop = self.middle(width, height);
        Cutout {
            crop,
            warp: None,
            erased: None,
            ..self.augmented(crop, rng)
        }
    }

    /// A square of random size somewhere in the picture.
    fn inner(&self, rng: &mut impl Rng) -> Cutout {
        let [min, max] = self.sides();
        let side = rng.random::<f64>().powf(self.config.power.at(self.t)) * (max - min) + min;
        let over = self.config.margin.at(self.t) * side;
        let mut place = |length: f64| {
            let (a, b) = (-over, length - side + over);
            random::uniform(rng, a.min(b), a.max(b))
        };
        let crop = Crop {
            top: place(self.height),
            left: place(self.width),
            height: side,
            width: side,
            flip: false,
        };
        self.augmented(crop, rng)
    }

    fn augmented(&self, crop: Crop, rng: &mut impl Rng) -> Cutout {
        let mut cutout = Cutout::new(crop);
        for augment in &self.config.augment {
            augment.apply(&mut cutout, self.size, self.t, rng);
        }
        cutout
    }
}
