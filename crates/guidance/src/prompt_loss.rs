//! The loss of embeddings by their distance to prompts, and its gradient: plain numbers, exact, the same on every device.

use clip::dot;

use crate::distance::Distance;
use crate::select::Select;

/// The embedding of a prompt, with its weight at the present step.
#[derive(Clone, Debug)]
pub struct Target {
    /// Of unit length.
    pub vector: Vec<f32>,
    /// How much it counts; below 0 it pushes away.
    pub weight: f64,
    /// Below this distance (times the sign of the weight) there is no gradient.
    pub stop: Option<f64>,
}

/// The result of [`prompt_loss`].
#[derive(Clone, Debug)]
pub struct PromptLoss {
    /// The loss, summed over the embeddings and not yet divided by their number.
    pub loss: f64,
    /// d(loss)/d(embedding), for each embedding.
    pub grads: Vec<f32>,
}

/// Compares embeddings, `width` numbers each, of any length but 0, with the targets. `weights` says how much each embedding counts for each
/// target, `[embeddings, targets]` row by row; an empty one is 1 throughout.
///
/// The loss of an embedding x and a target y of weight w is `|w| * (sign(w) * d(x, y))`, d being 1 - cos or half the squared
/// angle between them (Crowson's squared spherical distance, `2 * asin(|x - y| / 2)^2`). With [`Select::Mix`] there is one target,
/// the weighted mean; with [`Select::Best`] and [`Select::Worst`] each embedding uses one of the positive targets, and every
/// negative one.
pub fn prompt_loss(
    embeddings: &[f32],
    width: usize,
    targets: &[Target],
    weights: &[f64],
    distance: Distance,
    select: Select,
) -> PromptLoss {
    let mut result = PromptLoss {
        loss: 0.0,
        grads: vec![0.0; embeddings.len()],
    };
    let rows = embeddings.chunks_exact(width);
    for (row, (x, grad)) in rows.zip(result.grads.chunks_exact_mut(width)).enumerate() {
        let length = length(x);
        let mut add = |target: &Target, weight: f64, cosine: f64| {
            let (d, slope) = distance.of_cosine(cosine);
            result.loss += weight * d;
            let is_near = (target.stop).is_some_and(|stop| weight.signum() * d < stop);
            let slope = if is_near { 0.0 } else { weight * slope };
            // d(cos)/dx = (y - cos * x / |x|) / |x|
            for ((grad, x), y) in grad.iter_mut().zip(x).zip(&target.vector) {
                let direction = (f64::from(*y) - cosine * f64::from(*x) / length) / length;
                *grad += (slope * direction) as f32;
            }
        };
        // of each target for this embedding
        let own: Vec<f64> = (targets.iter().enumerate())
            .map(|(i, target)| match weights.get(row * targets.len() + i) {
                Some(weight) => target.weight * weight,
                None => target.weight,
            })
            .collect();
        if select == Select::Mix {
            let target = mix(targets, &own, width);
            add(&target, target.weight, cosine(x, length, &target.vector));
            continue;
        }
        let cosines: Vec<f64> = (targets.iter())
            .map(|target| cosine(x, length, &target.vector))
            .collect();
        let only = selected(&own, &cosines, select);
        for (i, target) in targets.iter().enumerate() {
            let counts = own[i] < 0.0 || only.is_none_or(|only| only == i);
            if counts && own[i] != 0.0 {
                add(target, own[i], cosines[i]);
            }
        }
    }
    result
}

/// The sum of the cosines of embeddings, `width` numbers each, to a vector of unit length.
pub(crate) fn sum_of_cosines(embeddings: &[f32], width: usize, vector: &[f32]) -> f64 {
    let embeddings = embeddings.chunks_exact(width);
    embeddings.map(|x| cosine(x, length(x), vector)).sum()
}

fn length(x: &[f32]) -> f64 {
    dot(x, x).sqrt().max(f64::MIN_POSITIVE)
}

/// The cosine of a vector of that length to one of unit length.
fn cosine(x: &[f32], length: f64, unit: &[f32]) -> f64 {
    (dot(x, unit) / length).clamp(-1.0, 1.0)
}

/// The only target of positive weight that an embedding with these cosines uses; none where it uses all.
fn selected(weights: &[f64], cosines: &[f64], select: Select) -> Option<usize> {
    let positive = (0..weights.len()).filter(|i| weights[*i] > 0.0);
    let by_cosine = |a: &usize, b: &usize| cosines[*a].total_cmp(&cosines[*b]);
    match select {
        Select::All | Select::Mix => None,
        Select::Best => positive.max_by(by_cosine),
        Select::Worst => positive.min_by(by_cosine),
    }
}

/// The mean of the targets with these weights, at unit length, with the sum of the weights' sizes as its weight.
fn mix(targets: &[Target], weights: &[f64], width: usize) -> Target {
    let mut sum = vec![0.0; width];
    for (target, weight) in targets.iter().zip(weights) {
        for (sum, value) in sum.iter_mut().zip(&target.vector) {
            *sum += (weight * f64::from(*value)) as f32;
        }
    }
    Target {
        vector: clip::unit(sum),
        weight: weights.iter().map(|weight| weight.abs()).sum(),
        stop: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(weights: &[f64]) -> Vec<Target> {
        let vectors = [
            [0.6f32, 0.8, 0.0, 0.0],
            [0.0, 0.6, -0.8, 0.0],
            [0.5, 0.5, 0.5, 0.5],
        ];
        weights
            .iter()
            .zip(vectors)
            .map(|(weight, vector)| Target {
                vector: vector.to_vec(),
                weight: *weight,
                stop: None,
            })
            .collect()
    }

    #[test]
    fn gradients_match_finite_differences() {
        let x = [0.3f32, -1.2, 0.7, 2.0, 1.0, 0.2, -0.3, 0.1];
        // none, and one for each embedding and target
        for weights in [&[][..], &[1.5, 0.2, 0.7, 0.0, 2.0, 1.0]] {
            for distance in [Distance::Cosine, Distance::Spherical] {
                for select in [Select::All, Select::Mix, Select::Best, Select::Worst] {
                    let targets = targets(&[1.0, -0.4, 2.0]);
                    let loss = |x: &[f32]| prompt_loss(x, 4, &targets, weights, distance, select);
                    let found = loss(&x);
                    for i in 0..x.len() {
                        let at = |h: f32| {
                            let mut x = x;
                            x[i] += h;
                            loss(&x).loss
                        };
                        let step = 1e-3f32;
                        let slope = (at(step) - at(-step)) / (2.0 * f64::from(step));
                        let error = (slope - f64::from(found.grads[i])).abs();
                        assert!(
                            error < 2e-4,
                            "{weights:?} {distance:?} {select:?} {i}: {slope} {}",
                            found.grads[i]
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn each_embedding_counts_for_each_target_by_its_weight() {
        let all = targets(&[1.0, -0.5]);
        let x = [0.3f32, -1.2, 0.7, 2.0, 1.0, 0.2, -0.3, 0.1];
        let one = |row: usize, target: usize| {
            let x = &x[4 * row..][..4];
            let target = [all[target].clone()];
            prompt_loss(x, 4, &target, &[], Distance::Spherical, Select::All).loss
        };
        let weights = [2.0, 0.0, 0.5, 3.0];
        let found = prompt_loss(&x, 4, &all, &weights, Distance::Spherical, Select::All);
        let expected = 2.0 * one(0, 0) + 0.5 * one(1, 0) + 3.0 * one(1, 1);
        assert!((found.loss - expected).abs() < 1e-12);
        // weights that are the same for all targets leave a mean where it was
        let weights = [2.0, 2.0, 0.5, 0.5];
        let mixed = |x: &[f32], weights: &[f64]| {
            prompt_loss(x, 4, &all, weights, Distance::Cosine, Select::Mix).loss
        };
        let expected = 2.0 * mixed(&x[..4], &[]) + 0.5 * mixed(&x[4..], &[]);
        assert!((mixed(&x, &weights) - expected).abs() < 1e-6);
    }

    #[test]
    fn the_spherical_distance_is_half_the_squared_angle() {
        let x = [1.0f32, 0.0];
        let y = Target {
            vector: vec![0.0, 1.0],
            weight: 1.0,
            stop: None,
        };
        let found = prompt_loss(&x, 2, &[y], &[], Distance::Spherical, Select::All);
        let right_angle = std::f64::consts::FRAC_PI_2;
        assert!((found.loss - right_angle * right_angle / 2.0).abs() < 1e-9);
    }

    #[test]
    fn at_the_target_the_gradient_is_finite() {
        let mut targets = targets(&[1.0]);
        let x = targets[0].vector.clone();
        let found = prompt_loss(&x, 4, &targets, &[], Distance::Spherical, Select::All);
        assert!(found.grads.iter().all(|g| g.is_finite()));
        targets[0].vector = x.iter().map(|v| -v).collect();
        let found = prompt_loss(&x, 4, &targets, &[], Distance::Spherical, Select::All);
        assert!(found.grads.iter().all(|g| g.is_finite()));
    }

    #[test]
    fn a_prompt_within_its_stop_has_a_loss_but_no_gradient() {
        let mut targets = targets(&[1.0]);
        targets[0].stop = Some(10.0);
        let found = prompt_loss(
            &[1.0, 0.0, 0.0, 0.0],
            4,
            &targets,
            &[],
            Distance::Cosine,
            Select::All,
        );
        assert!(found.loss > 0.0);
        assert!(found.grads.iter().all(|g| *g == 0.0));
    }

    #[test]
    fn best_uses_the_closest_positive_target_and_every_negative_one() {
        let all = targets(&[1.0, 1.0, -1.0]);
        let x = [0.6f32, 0.8, 0.0, 0.1];
        let best = prompt_loss(&x, 4, &all, &[], Distance::Cosine, Select::Best);
        let pair = [all[0].clone(), all[2].clone()];
        let expected = prompt_loss(&x, 4, &pair, &[], Distance::Cosine, Select::All);
        assert_eq!(best.grads, expected.grads);
    }
}
