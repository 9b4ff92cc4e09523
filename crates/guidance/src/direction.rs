//! Directional prompts: the loss of how a picture changes from the one that it started from.
//!
//! StyleGAN-nada's loss (Gal et al. 2021, arXiv 2108.00946): the change of the picture's embedding should point where the change from the
//! source text to the prompt's text points. What both texts leave open may stay as it is in the picture.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Tensor;
use clip::dot;
use frozen::resize_to_fill;

use crate::distance::Distance;

/// Changes that are short beside this hardly have a direction: `cos * |change| / sqrt(|change|^2 + SHORT^2)` takes the place of the cosine.
/// Embeddings of a picture and of a clearly different one are some 0.5 apart. At a picture that has not changed yet the value is 0, and its
/// gradient is the wanted direction over `SHORT`; the cosine itself has no value there, and a gradient without bound around it.
const SHORT: f64 = 0.1;

/// Why a prompt with a `source` has no picture to begin with, and what to do about it.
pub const NO_BASE: &str = "a prompt with a `source` asks for a change of the picture that the render starts from, and it starts from none: give \
                           the recipe an `init`, use the prompt in a later stage, or begin again from the picture (`restart: image`, R in the window)";

/// A change that a prompt asks for, with its weight at the present step.
#[derive(Clone, Debug)]
pub struct Direction {
    /// From the embedding of the source to that of the text, of unit length.
    pub vector: Vec<f32>,
    /// How much it counts; below 0 it pushes the other way.
    pub weight: f64,
    /// Below this distance (times the sign of the weight) there is no gradient.
    pub stop: Option<f64>,
}

impl Direction {
    /// The direction between two embeddings of unit length; none if they are the same.
    pub fn between(source: &[f32], text: &[f32]) -> Option<Vec<f32>> {
        let change: Vec<f32> = text.iter().zip(source).map(|(a, b)| a - b).collect();
        (dot(&change, &change) > 1e-8).then(|| clip::unit(change))
    }
}

/// The loss of embeddings by the directions in which they differ from those of the same cutouts of another picture, `width` numbers each, of any
/// length but 0. Adds its gradient to `grads`. `weights` says how much each embedding counts.
pub fn direction_loss(
    embeddings: &[f32],
    bases: &[f32],
    width: usize,
    directions: &[Direction],
    weights: &[f64],
    distance: Distance,
    grads: &mut [f32],
) -> f64 {
    let mut loss = 0.0;
    let rows = (embeddings.chunks_exact(width)).zip(bases.chunks_exact(width));
    for (((x, base), weight), grads) in (rows.zip(weights)).zip(grads.chunks_exact_mut(width)) {
        let [length, base_length] = [x, base].map(|x| dot(x, x).sqrt().max(f64::MIN_POSITIVE));
        let change: Vec<f64> = (x.iter().zip(base))
            .map(|(x, base)| f64::from(*x) / length - f64::from(*base) / base_length)
            .collect();
        let square: f64 = change.iter().map(|change| change * change).sum();
        let size = (square + SHORT * SHORT).sqrt();
        for direction in directions {
            let weight = weight * direction.weight;
            if weight == 0.0 {
                continue;
            }
            let wanted = || direction.vector.iter().map(|value| f64::from(*value));
            let along: f64 = change.iter().zip(wanted()).map(|(a, b)| a * b).sum();
            let cosine = (along / size).clamp(-1.0, 1.0);
            let (d, slope) = distance.of_cosine(cosine);
            loss += weight * d;
            if (direction.stop).is_some_and(|stop| weight.signum() * d < stop) {
                continue;
            }
            // d(cos)/d(change), which is also that by the unit vector of x
            let by_unit: Vec<f64> = (change.iter().zip(wanted()))
                .map(|(change, wanted)| (wanted - cosine * change / size) / size)
                .collect();
            let radial: f64 = (by_unit.iter().zip(x))
                .map(|(by_unit, x)| by_unit * f64::from(*x) / length)
                .sum();
            for ((grad, by_unit), x) in grads.iter_mut().zip(&by_unit).zip(x) {
                let by_x = (by_unit - radial * f64::from(*x) / length) / length;
                *grad += (weight * slope * by_x) as f32;
            }
        }
    }
    loss
}

/// The picture that a segment of a render started from. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct BasePicture(Arc<Mutex<Option<Tensor>>>);

impl BasePicture {
    /// Replaces the base picture: `[1, 3, height, width]` in 0..=1 of any size.
    pub fn set(&self, picture: Option<Tensor>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = picture;
    }

    /// Whether there is no base picture.
    pub fn is_none(&self) -> bool {
        (self.0.lock().unwrap_or_else(PoisonError::into_inner)).is_none()
    }

    /// The base picture, resized to fill a picture; `None` if there is none.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn fit(&self, picture: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let (_, _, height, width) = picture.dims4()?;
        let mut base = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(own) = base.as_ref() else {
            return Ok(None);
        };
        // kept at that size: within a segment it does not change
        let fitted = resize_to_fill(own, [width, height])?.to_dtype(picture.dtype())?;
        *base = Some(fitted.clone());
        Ok(Some(fitted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directions() -> Vec<Direction> {
        let direction = |vector: [f32; 4], weight| Direction {
            vector: clip::unit(vector.to_vec()),
            weight,
            stop: None,
        };
        vec![
            direction([0.3, -1.0, 0.2, 0.4], 1.0),
            direction([-0.5, 0.1, 0.9, 0.0], -0.4),
        ]
    }

    fn run(x: &[f32], base: &[f32], distance: Distance) -> (f64, Vec<f32>) {
        let mut grads = vec![0.0; x.len()];
        let weights = [1.5, 0.7];
        let weights = &weights[..x.len() / 4];
        let loss = direction_loss(x, base, 4, &directions(), weights, distance, &mut grads);
        (loss, grads)
    }

    #[test]
    fn gradients_match_finite_differences() {
        let x = [0.3f32, -1.2, 0.7, 2.0, 1.0, 0.2, -0.3, 0.1];
        let far = [1.0f32, 0.4, 0.1, 0.9, 0.1, 0.2, -0.3, 0.8];
        let near = x.map(|x| x + 0.01);
        for base in [far, near, x] {
            for distance in [Distance::Cosine, Distance::Spherical] {
                let (_, grads) = run(&x, &base, distance);
                for i in 0..x.len() {
                    let at = |h: f32| {
                        let mut x = x;
                        x[i] += h;
                        run(&x, &base, distance).0
                    };
                    let slope = (at(1e-3) - at(-1e-3)) / 2e-3;
                    let error = (slope - f64::from(grads[i])).abs();
                    assert!(
                        error < 2e-3 * slope.abs().max(1.0),
                        "{distance:?} {i}: {slope} {}",
                        grads[i]
                    );
                }
            }
        }
    }

    #[test]
    fn a_picture_that_has_not_changed_moves_along_the_direction() {
        let x = clip::unit(vec![0.3f32, -1.2, 0.7, 2.0]);
        let mut grads = vec![0.0; 4];
        let wanted = &directions()[..1];
        let loss = direction_loss(&x, &x, 4, wanted, &[1.0], Distance::Cosine, &mut grads);
        assert_eq!(loss, 1.0);
        // along what of the direction does not only change the length of x
        let radial = dot(&wanted[0].vector, &x) as f32;
        for ((grad, wanted), x) in grads.iter().zip(&wanted[0].vector).zip(&x) {
            let expected = -(wanted - radial * x) / SHORT as f32;
            assert!((grad - expected).abs() < 1e-4, "{grad} {expected}");
        }
    }

    #[test]
    fn a_change_in_the_direction_has_a_small_loss_and_the_opposite_a_large_one() {
        let base = [1.0f32, 0.0, 0.0, 0.0];
        let wanted = [Direction {
            vector: vec![0.0, 1.0, 0.0, 0.0],
            weight: 1.0,
            stop: Some(0.5),
        }];
        let loss = |x: [f32; 4]| {
            let mut grads = vec![0.0; 4];
            let loss = direction_loss(&x, &base, 4, &wanted, &[1.0], Distance::Cosine, &mut grads);
            (loss, grads)
        };
        let (along, at_stop) = loss([1.0, 0.6, 0.0, 0.0]);
        assert!(along < 0.2, "{along}");
        assert_eq!(at_stop, [0.0; 4]);
        assert!(loss([1.0, -0.6, 0.0, 0.0]).0 > 1.8);
        assert!((loss([1.0, 0.0, 0.6, 0.0]).0 - 1.0).abs() < 1e-6);
    }

    #[test]
    fn equal_embeddings_have_no_direction() {
        let a = clip::unit(vec![0.3f32, -1.2, 0.7, 2.0]);
        assert_eq!(Direction::between(&a, &a), None);
        let b = clip::unit(vec![0.3f32, -1.2, 0.7, 2.1]);
        let between = Direction::between(&a, &b).expect("a direction");
        assert!((dot(&between, &between) - 1.0).abs() < 1e-6);
    }
}
