//! Soft classes: numbers that become weights of a BigGAN's classes.

use candle_core::{Result, Tensor, bail};
use frozen::Pullback;
use phantasia_core::random::normal;
use rand::Rng;

use super::{host, tensor};

/// How numbers become weights of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Classes {
    /// Each for itself, by a sigmoid: any mixture.
    Any,
    /// As many as this at most, by big-sleep's differentiable choice of the largest: each is the softmax among those not yet chosen.
    Top(usize),
}

/// What numbers are divided by in the softmax.
const TEMPERATURE: f64 = 2.0;
/// Mean and standard deviation of the numbers of classes that a start has not, and the number of the one that it has: weights of a sigmoid that add
/// up to about 1 over 1000 classes, and nearly 1 for the one.
const OTHERS: [f32; 2] = [-7.0, 0.3];
const CHOSEN: f32 = 4.0;
/// The same number for the softmax, of which a half stands against 1000 others.
const CHOSEN_AMONG: f32 = 14.0;

impl Classes {
    /// The numbers of a start with one class of so many.
    pub fn start(self, class: usize, count: usize, rng: &mut impl Rng) -> Vec<f32> {
        let [mean, deviation] = OTHERS;
        let others = normal(rng).map(|number| mean + deviation * number);
        let mut numbers: Vec<f32> = others.take(count).collect();
        if let Some(number) = numbers.get_mut(class) {
            *number = match self {
                Self::Any => CHOSEN,
                Self::Top(_) => CHOSEN_AMONG,
            };
        }
        numbers
    }

    /// The weights of classes for numbers [rows, classes], and the way back of their gradient.
    pub fn vjp(self, numbers: &Tensor) -> Result<(Tensor, Pullback)> {
        let numbers = numbers.detach();
        match self {
            Self::Any => {
                let weights = (numbers.neg()?.exp()? + 1.0)?.recip()?;
                let slope = (&weights * weights.affine(-1.0, 1.0)?)?;
                Ok((weights, Box::new(move |grad| grad * &slope)))
            }
            Self::Top(count) => {
                let (rows, choices) = (host(&numbers)?, count);
                let chosen: Vec<Chosen> =
                    rows.iter().map(|row| Chosen::new(row, choices)).collect();
                let weights = chosen.iter().map(Chosen::weights).collect();
                let like = numbers.clone();
                let pullback = move |grad: &Tensor| {
                    if grad.dims() != like.dims() {
                        bail!("the gradient of classes has shape {:?}", grad.shape());
                    }
                    let rows = host(grad)?;
                    let rows = chosen
                        .iter()
                        .zip(&rows)
                        .map(|(chosen, grad)| chosen.pull(grad));
                    tensor(rows.collect(), &like)
                };
                Ok((tensor(weights, &numbers)?, Box::new(pullback)))
            }
        }
    }
}

/// The classes chosen of a row.
struct Chosen {
    /// `exp(x / temperature)` of every class, of which the largest is 1.
    powers: Vec<f64>,
    /// The chosen classes in their order, each with the sum of the powers of those not chosen before.
    classes: Vec<(usize, f64)>,
}

impl Chosen {
    fn new(row: &[f64], count: usize) -> Self {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let powers: Vec<f64> = (row.iter())
            .map(|x| ((x - largest) / TEMPERATURE).exp())
            .collect();
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
        // summed from the smallest on, so that what is left of it is not a difference of large numbers
        let mut rest = 0.0;
        let mut sums = vec![0.0; order.len()];
        for (sum, &class) in sums.iter_mut().zip(&order).rev() {
            rest += powers[class];
            *sum = rest;
        }
        let classes = order.into_iter().zip(sums).take(count).collect();
        Self { powers, classes }
    }

    fn weights(&self) -> Vec<f64> {
        let mut weights = vec![0.0; self.powers.len()];
        for &(class, sum) in &self.classes {
            weights[class] = self.powers[class] / sum;
        }
        weights
    }

    /// A weight is `p_i / sum_j p_j` over the classes not chosen before it.
    fn pull(&self, grad: &[f64]) -> Vec<f64> {
        let mut result = vec![0.0; self.powers.len()];
        // of every class that is in the sum: all, less those chosen before
        let mut shared = 0.0;
        let mut before = vec![];
        for &(class, sum) in &self.classes {
            let weight = self.powers[class] / sum;
            result[class] += grad[class] * weight / TEMPERATURE;
            before.push((class, shared));
            shared += grad[class] * weight / sum / TEMPERATURE;
        }
        let mut parts = vec![shared; self.powers.len()];
        for (i, (class, _)) in before.iter().enumerate() {
            // its own sum, and those before it
            parts[*class] = before.get(i + 1).map_or(shared, |(_, shared)| *shared);
        }
        for ((result, power), part) in result.iter_mut().zip(&self.powers).zip(&parts) {
            *result -= power * part;
        }
        result
    }
}
