//! The cutouts of one tower at one step.

use frozen::Crop;
use phantasia_core::{Schedule, random};
use rand::Rng;

use super::config::{Config, LARGEST, SMALL_INPUT, Sampler};
use super::strata::{self, Stratum};

use crate::cutout_layer::Cutout;
use crate::cutout_layer::color::ColorMatrix;
use crate::frame::Frame;

/// The smallest cutout of CLIPs of small input, as a share of the picture's shorter side.
const SMALL_INPUT_SHARE: f64 = 0.75;
/// The smallest and the largest stratified cutout, and the skew of their sizes (pytti v2).
const STRATIFIED: ([f64; 2], f64) = ([0.2, 0.55], 1.5);

/// What the cutouts of one step have in common.
pub(super) struct Draw<'a> {
    pub config: &'a Config,
    pub sampler: Sampler,
    pub frame: Frame,
    /// Side of the tower's input.
    pub size: usize,
    pub t: f64,
}

impl Draw<'_> {
    /// Where so many squares may lie.
    pub fn strata(&self, count: usize, rng: &mut impl Rng) -> Vec<Stratum> {
        strata::strata(
            self.sampler,
            count,
            [self.frame.width, self.frame.height],
            rng,
        )
    }

    /// The smallest and the largest side of squares in pixels, at least one.
    fn sides(&self) -> [f64; 2] {
        let short = self.frame.short();
        let given = |side: &Option<Schedule>| side.as_ref().map(|side| side.at(self.t));
        let is_small = self.size < SMALL_INPUT;
        let input = if is_small {
            SMALL_INPUT_SHARE
        } else {
            (self.size as f64).min(short) / short
        };
        let [least, most] = match self.sampler {
            Sampler::Stratified if is_small => [0.0, 1.0],
            Sampler::Stratified => STRATIFIED.0,
            Sampler::Random | Sampler::Full => [0.0, LARGEST],
        };
        let min = given(&self.config.min).unwrap_or(input.max(least));
        let max = given(&self.config.max).unwrap_or(most.max(min));
        [min.min(max), max].map(|share| (share * short).max(1.0))
    }

    /// How much sizes are skewed towards the smallest.
    fn power(&self) -> f64 {
        match (&self.config.power, self.sampler) {
            (Some(power), _) => power.at(self.t),
            (None, Sampler::Stratified) => STRATIFIED.1,
            (None, Sampler::Random | Sampler::Full) => 1.0,
        }
    }

    /// A rectangle of that size around the frame's middle.
    fn around_middle(&self, width: f64, height: f64) -> Crop {
        Crop {
            top: self.frame.top + (self.frame.height - height) / 2.0,
            left: self.frame.left + (self.frame.width - width) / 2.0,
            height,
            width,
            flip: false,
        }
    }

    /// The whole frame, its longer side filling the cutout (disco-diffusion's overview cuts: every second one grey, two of four mirrored).
    pub fn overview(&self, index: usize, rng: &mut impl Rng) -> Cutout {
        let side = self.frame.width.max(self.frame.height);
        let crop = Crop {
            flip: index % 4 >= 2,
            ..self.around_middle(side, side)
        };
        let mut cutout = self.augmented(crop, rng);
        if index % 2 == 1 {
            cutout.recolor(ColorMatrix::saturation(0.0));
        }
        cutout
    }

    /// A square of random size and place within its stratum.
    pub fn square(&self, stratum: Stratum, rng: &mut impl Rng) -> Cutout {
        let mut within = |[low, high]: [f64; 2]| random::uniform(rng, low, high);
        let side = match stratum.size {
            None => self.frame.short(),
            Some(size) => {
                let [min, max] = self.sides();
                within(size).powf(self.power()) * (max - min) + min
            }
        };
        let over = self.config.margin.at(self.t) * side;
        let mut place = |length: f64, share: [f64; 2]| {
            let (a, b) = (-over, length - side + over);
            a.min(b) + (a.max(b) - a.min(b)) * within(share)
        };
        let crop = Crop {
            top: self.frame.top + place(self.frame.height, stratum.top),
            left: self.frame.left + place(self.frame.width, stratum.left),
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

#[cfg(test)]
mod tests {
    use phantasia_core::random::{self, Purpose};

    use super::*;

    /// The squares that are drawn for a tower of that input in a picture of that size.
    fn squares(
        config: &Config,
        sampler: Sampler,
        [width, height]: [usize; 2],
        size: usize,
    ) -> Vec<Crop> {
        let draw = Draw {
            config,
            sampler,
            frame: Frame::whole(width, height),
            size,
            t: 0.0,
        };
        let rng = &mut random::rng(1, Purpose::Cutouts, 0, 0);
        let strata = draw.strata(16, rng);
        (strata.into_iter())
            .map(|stratum| draw.square(stratum, rng).crop)
            .collect()
    }

    fn shares(crops: &[Crop], short: f64) -> [f64; 2] {
        crops.iter().fold([f64::MAX, 0.0], |[min, max], crop| {
            let share = crop.width / short;
            [min.min(share), max.max(share)]
        })
    }

    #[test]
    fn without_a_margin_squares_lie_inside_of_pictures_of_any_aspect() {
        let config = Config {
            margin: 0.0.into(),
            max: Some(1.0.into()),
            ..Config::default()
        };
        for (width, height) in [(256, 256), (640, 96), (31, 500), (1, 1), (3, 1)] {
            for sampler in [Sampler::Stratified, Sampler::Random] {
                for size in [64, 224] {
                    for crop in squares(&config, sampler, [width, height], size) {
                        let [right, bottom] = [crop.left + crop.width, crop.top + crop.height];
                        assert!(
                            crop.top >= -1e-9
                                && crop.left >= -1e-9
                                && right <= width as f64 + 1e-9
                                && bottom <= height as f64 + 1e-9,
                            "{sampler:?} {width}x{height}: {crop:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn sizes_are_the_samplers_own_unless_they_are_given() {
        let config = Config::default();
        let drawn = |config: &Config, side, size| {
            let crops = squares(config, Sampler::Stratified, [side, side], size);
            // the first four are as large as the picture allows
            assert_eq!(shares(&crops[..4], side as f64), [1.0, 1.0]);
            shares(&crops[4..], side as f64)
        };
        let [min, max] = drawn(&config, 2048, 224);
        assert!(
            (0.2..0.23).contains(&min) && (0.45..=0.55).contains(&max),
            "{min} {max}"
        );
        // never below the CLIP's input
        let [min, max] = drawn(&config, 512, 224);
        assert!(min >= 0.4375 && max <= 0.55, "{min} {max}");
        assert_eq!(drawn(&config, 224, 224), [1.0, 1.0]);
        // a CLIP of small input needs most of the picture
        let [min, max] = drawn(&config, 256, 64);
        assert!(min >= 0.75 && max > 0.9 && max <= 1.0, "{min} {max}");
        let given = Config {
            min: Some(0.1.into()),
            max: Some(0.3.into()),
            power: Some(0.01.into()),
            ..config.clone()
        };
        let [min, max] = drawn(&given, 512, 224);
        assert!(min >= 0.29 && max <= 0.3, "{min} {max}");
        let full = squares(&config, Sampler::Full, [512, 300], 224);
        assert_eq!(shares(&full, 300.0), [1.0, 1.0]);
    }
}
