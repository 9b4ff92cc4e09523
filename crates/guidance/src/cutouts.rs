//! The cutouts of a picture that a CLIP is shown at one step: how many are drawn, where and how large.

mod coherence;
mod config;
mod draw;
mod strata;

use anyhow::Result;
use candle_core::Tensor;
use clip::Tower;
use phantasia_core::random::{self, Purpose};
use phantasia_core::{Seamless, StepContext};
use rand::Rng as _;

pub use self::config::{Border, Changes, Config, Sampler};
use crate::cutout_layer::Cutouts;
use crate::frame::Frame;
use crate::region_mask::RegionMask;
use config::SMALL_INPUT;
use draw::Draw;

/// The number of cutouts for a CLIP of small input, and for any other, where a recipe does not say.
const COUNTS: (usize, usize) = (2, 16);
/// A region has at least so many cutouts, if the picture has.
const LEAST_OF_REGION: usize = 4;

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
        if region.is_none() {
            let [rows, columns] = self.moved([height, width], at);
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
    /// By any number, so that no place is the picture's edge or its middle.
    fn moved(&self, sides: [usize; 2], at: StepContext) -> [f64; 2] {
        let rng = &mut random::rng(self.seed, Purpose::Roll, at.clock, 0);
        let [y, x] = self.seamless.axes();
        let mut moved = |side: usize, moves: bool| {
            if moves {
                rng.random_range(0..side.max(1)) as f64
            } else {
                0.0
            }
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
        let moved = |seamless, clock| {
            let at = StepContext {
                step: 0,
                steps: 9,
                clock,
            };
            sampler(seamless).moved([60, 90], at)
        };
        assert_eq!(moved(Seamless::No, 1), [0.0, 0.0]);
        for clock in 0..20 {
            let [rows, columns] = moved(Seamless::Both, clock);
            assert!(rows.abs() < 60.0 && columns.abs() < 90.0);
            assert_eq!(moved(Seamless::X, clock)[0], 0.0);
            assert_eq!(moved(Seamless::Y, clock)[1], 0.0);
        }
        let at = |clock| moved(Seamless::Both, clock);
        assert!(at(4) == at(4) && at(4) != at(5));
    }
}
