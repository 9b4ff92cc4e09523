//! One cutout of a picture, with all that is random about it drawn, and the map from a picture to several cutouts.

pub(crate) mod color;
mod layers;
pub(crate) mod warp;

use std::ops::Range;

use candle_core::{Device, Result, Tensor};
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
}

impl Cutouts {
    /// Cutouts of `size` x `size` pixels, each with its weight; `border` decides what they show beyond the picture's edge.
    pub fn new(cutouts: Vec<Cutout>, weights: Vec<f64>, size: usize, border: Border) -> Self {
        Self {
            cutouts,
            weights,
            size,
            border,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.cutouts.len()
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
        let crops = Crops::new(crops, size, size, Filter::Bicubic, self.border)?;
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
