//! One cutout of a picture, with all that is random about it drawn, and the map from a picture to several cutouts.

pub(crate) mod color;
mod layers;
pub(crate) mod warp;

use std::ops::Range;

use candle_core::{Device, Result, Tensor};
use clip::Tower;
use frozen::{Border, Chain, Crop, Crops, Filter, Layer, Warp};
use phantasia_core::random::{self, Purpose};
use rayon::prelude::*;

use crate::region_mask::RegionMask;
use color::ColorMatrix;
use layers::{ColorAffine, MaskAdd};

/// Cutouts that count less for a region are not evaluated.
const LEAST_WEIGHT: f64 = 0.001;
/// What erased rectangles are filled with.
const GREY: f32 = 0.5;

/// One cutout.
#[derive(Clone, Debug)]
pub(crate) struct Cutout {
    /// Where it lies in the picture.
    pub crop: Crop,
    /// The map from its points to those of the crop; none where nothing is warped.
    pub warp: Option<[f64; 9]>,
    /// The map of its colours; none where they stay as they are.
    pub color: Option<ColorMatrix>,
    /// Top, left, bottom, right of the grey rectangle in pixels of the cutout.
    pub erased: Option<[usize; 4]>,
    /// Standard deviation of the noise, and the seed of its numbers.
    pub noise: Option<(f32, u64)>,
}

impl Cutout {
    /// A rectangle of the picture as it is.
    pub fn new(crop: Crop) -> Self {
        Self {
            crop,
            warp: None,
            color: None,
            erased: None,
            noise: None,
        }
    }

    /// Warps it after what was done before.
    pub fn warp(&mut self, matrix: [f64; 9]) {
        self.warp = Some(match &self.warp {
            None => matrix,
            Some(before) => warp::compose(before, &matrix),
        });
    }

    /// Changes its colours after what was done before.
    pub fn recolor(&mut self, matrix: ColorMatrix) {
        self.color = Some(match &self.color {
            None => matrix,
            Some(before) => before.then(&matrix),
        });
    }
}

/// The cutouts of one step for one image tower.
pub(crate) struct Cutouts {
    cutouts: Vec<Cutout>,
    weights: Vec<f64>,
    size: usize,
    border: Border,
    /// Along y and x, whether the picture continues at its opposite side.
    wrap: [bool; 2],
}

impl Cutouts {
    /// Cutouts of `size` x `size` pixels, each with its weight; `border` decides what they show beyond the picture's edge.
    pub fn new(cutouts: Vec<Cutout>, weights: Vec<f64>, size: usize, border: Border) -> Self {
        Self {
            cutouts,
            weights,
            size,
            border,
            wrap: [false; 2],
        }
    }

    /// The same, of a picture that continues at its opposite side along the axes that wrap, y and x.
    pub fn wrapping(self, wrap: [bool; 2]) -> Self {
        Self { wrap, ..self }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.cutouts.len()
    }

    /// Ranges of as many cutouts as a tower takes about `memory` bytes for.
    pub fn batches(&self, memory: usize, tower: &Tower) -> impl Iterator<Item = Range<usize>> {
        let all = self.len();
        let batch = (memory / tower.bytes_per_image().max(1)).clamp(1, all.max(1));
        (0..all)
            .step_by(batch)
            .map(move |start| start..(start + batch).min(all))
    }

    /// How much each counts in the mean over all of them.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Lets them count for a region by how much of it they show. Those that show nothing of it are left out.
    pub fn weigh_for(&mut self, region: &RegionMask) {
        let shown = region.weights(self.cutouts.iter().map(|cutout| &cutout.crop));
        let weighted = shown.iter().zip(&self.weights).map(|(a, b)| a * b);
        // what other weights there are does not change how much the prompts count
        let keep = shown.iter().sum::<f64>() / weighted.sum::<f64>().max(f64::MIN_POSITIVE);
        let counts = |weight: &f64| *weight >= LEAST_WEIGHT;
        let counting = shown.iter().filter(|weight| counts(weight)).count();
        if counting == 0 {
            self.cutouts.truncate(1);
            self.weights = vec![0.0];
            return;
        }
        // the mean is over all that were drawn
        let scale = keep * counting as f64 / shown.len() as f64;
        let all = self
            .cutouts
            .drain(..)
            .zip(self.weights.drain(..))
            .zip(&shown);
        let kept = all.filter(|(_, shown)| counts(shown));
        (self.cutouts, self.weights) = kept
            .map(|((cutout, weight), shown)| (cutout, weight * shown * scale))
            .collect();
    }

    /// The map from a picture `[1, 3, height, width]` to the cutouts of `range`, `[cutouts, 3, size, size]`.
    pub fn layer(&self, range: Range<usize>, device: &Device) -> Result<Chain> {
        let (cutouts, size) = (&self.cutouts[range], self.size);
        let crops = cutouts.iter().map(|cutout| cutout.crop).collect();
        let crops =
            Crops::new(crops, size, size, Filter::Bicubic, self.border)?.wrapping(self.wrap);
        let mut layers: Vec<Box<dyn Layer>> = vec![Box::new(crops)];
        if cutouts.iter().any(|cutout| cutout.warp.is_some()) {
            let matrices = cutouts
                .iter()
                .map(|cutout| cutout.warp.unwrap_or(warp::IDENTITY));
            layers.push(Box::new(Warp::new(matrices.collect(), self.border)?));
        }
        if cutouts.iter().any(|cutout| cutout.color.is_some()) {
            let matrices = cutouts
                .iter()
                .map(|cutout| cutout.color.unwrap_or(ColorMatrix::IDENTITY));
            layers.push(Box::new(ColorAffine::new(matrices, device)?));
        }
        if (cutouts.iter()).any(|cutout| cutout.erased.is_some() || cutout.noise.is_some()) {
            layers.push(Box::new(mask_add(cutouts, size, device)?));
        }
        Ok(Chain::new(layers))
    }
}

/// Erased rectangles and noise.
fn mask_add(cutouts: &[Cutout], size: usize, device: &Device) -> Result<MaskAdd> {
    let (n, pixels) = (cutouts.len(), size * size);
    let mut added = vec![0f32; n * 3 * pixels];
    (added.par_chunks_exact_mut(3 * pixels).zip(cutouts)).for_each(|(added, cutout)| {
        if let Some((deviation, seed)) = cutout.noise {
            let mut rng = random::rng(seed, Purpose::Cutouts, 0, 0);
            for (value, normal) in added.iter_mut().zip(random::normal(&mut rng)) {
                *value = deviation * normal;
            }
        }
        if let Some(rectangle) = cutout.erased {
            for channel in added.chunks_exact_mut(pixels) {
                fill(channel, size, rectangle, GREY);
            }
        }
    });
    let mut kept = None;
    if cutouts.iter().any(|cutout| cutout.erased.is_some()) {
        let mut mask = vec![1f32; n * pixels];
        for (mask, cutout) in mask.chunks_exact_mut(pixels).zip(cutouts) {
            if let Some(rectangle) = cutout.erased {
                fill(mask, size, rectangle, 0.0);
            }
        }
        kept = Some(Tensor::from_vec(mask, (n, 1, size, size), device)?);
    }
    let added = Tensor::from_vec(added, (n, 3, size, size), device)?;
    Ok(MaskAdd { kept, added })
}

fn fill(plane: &mut [f32], size: usize, [top, left, bottom, right]: [usize; 4], value: f32) {
    for row in plane.chunks_exact_mut(size).take(bottom).skip(top) {
        row[left..right].fill(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first value of what a cutout beyond an edge of a 4 x 4 picture shows, whose rows and columns are numbered.
    fn beyond(top: f64, left: f64, border: Border, wrap: [bool; 2]) -> Result<f32> {
        let crop = Crop {
            top,
            left,
            height: 1.0,
            width: 1.0,
            flip: false,
        };
        let values = (0..3 * 16).map(|i| (i % 16) as f32 + 1.0);
        let image = Tensor::from_iter(values, &Device::Cpu)?.reshape((1, 3, 4, 4))?;
        let cutouts = Cutouts::new(vec![Cutout::new(crop)], vec![1.0], 1, border).wrapping(wrap);
        let shown = cutouts.layer(0..1, &Device::Cpu)?.eval(&image)?;
        Ok(shown.flatten_all()?.to_vec1::<f32>()?[0].round())
    }

    #[test]
    fn a_border_keeps_its_meaning_along_axes_that_do_not_wrap() -> Result<()> {
        let (above, left) = ((-1.0, 2.0), (2.0, -1.0));
        for (wrap, expected) in [
            ([false, false], [0.0, 0.0]),
            ([false, true], [0.0, 12.0]),
            ([true, false], [15.0, 0.0]),
            ([true, true], [15.0, 12.0]),
        ] {
            let shown = [above, left].map(|(top, left)| beyond(top, left, Border::Zero, wrap));
            let [above, left] = shown;
            assert_eq!([above?, left?], expected, "{wrap:?}");
        }
        assert_eq!(beyond(-1.0, 2.0, Border::Edge, [false, true])?, 3.0);
        Ok(())
    }
}
