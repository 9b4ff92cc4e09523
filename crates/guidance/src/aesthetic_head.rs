//! Heads that score pictures: LAION's aesthetic predictors, linear layers on the image embeddings of one CLIP.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use weights::checkpoint::{Checkpoint, Scope};
use weights::models::{ModelKind, resolve_path};

/// LAION's head.
pub const HEAD: &str = "laion-aesthetic";
/// The CLIP that LAION's head was trained on.
pub const CLIP: &str = "openai/clip-vit-large-patch14";
/// The best score; heads are not limited to it.
pub const BEST: f64 = 10.0;

/// More layers, or numbers in one, has no head.
const MOST_LAYERS: usize = 32;
const MOST_NUMBERS: usize = 1 << 24;
/// How far apart the numbers of two layers may be: one dropout may lie between them.
const STEP: usize = 2;

/// A head: the score of an image embedding is linear in its direction.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    name: String,
    weight: Vec<f64>,
    bias: f64,
}

impl Head {
    /// Loads the head of that name: a file, or a known model that the Hugging Face cache holds.
    ///
    /// # Errors
    /// If it is not on this machine, and as [`Head::open`].
    pub fn by_name(name: &str) -> Result<Self> {
        let path = resolve_path(name, ModelKind::Aesthetic)?;
        Self::open(name, &path).with_context(|| format!("cannot load the aesthetic head `{name}`"))
    }

    /// Reads a head: `weight` and `bias` of a single layer, or a stack of layers `layers.N.weight` and `layers.N.bias` with at most a dropout
    /// between two of them. There is no activation between the layers, so that they are one: it is computed here, in f64.
    /// `name` is what messages call it.
    ///
    /// # Errors
    /// Where the file cannot be read, holds no such layers, or layers that do not fit each other.
    pub fn open(name: &str, path: &Path) -> Result<Self> {
        let mut checkpoint = Checkpoint::open(path)?;
        if !checkpoint.locate(&["layers.0.weight"])? && !checkpoint.has("weight") {
            // a single layer under a prefix; with several candidates it stays unknown, which is reported below
            let _ = checkpoint.locate(&["weight"]);
        }
        let fail = |what: String| {
            anyhow!(
                "{} is no head that can be read: {what}; it holds `weight` [1, width] and `bias` [1], or a stack of linear layers \
                 `layers.0.weight`, `layers.0.bias`, ... that ends in one number",
                path.display()
            )
        };
        let mut layers = BTreeMap::new();
        for key in checkpoint.keys() {
            let number = (key.strip_prefix("layers."))
                .and_then(|rest| rest.strip_suffix(".weight")?.parse::<usize>().ok());
            if let Some(number) = number {
                layers.insert(number, format!("layers.{number}."));
            }
        }
        if layers.is_empty() {
            if checkpoint.shape("weight").is_none() {
                return Err(fail("it has neither".to_owned()));
            }
            layers.insert(0, String::new());
        }
        if layers.len() > MOST_LAYERS {
            return Err(fail(format!("it has {} layers", layers.len())));
        }
        // a rectifier has no numbers of its own, and shows in those of the layers around it alone
        let numbers: Vec<usize> = layers.keys().copied().collect();
        if let Some(pair) = numbers.windows(2).find(|pair| pair[1] - pair[0] > STEP) {
            return Err(fail(format!(
                "between `layers.{}` and `layers.{}` something else is computed, such as a rectifier",
                pair[0], pair[1]
            )));
        }
        // from the last layer to the first: a row of numbers times a matrix
        let mut row = vec![1.0];
        let mut bias = 0.0;
        for prefix in layers.values().rev() {
            let key = format!("{prefix}weight");
            let shape = checkpoint.shape(&key).unwrap_or_default().to_vec();
            let &[outputs, inputs] = shape.as_slice() else {
                return Err(fail(format!("`{key}` has shape {shape:?}")));
            };
            if outputs != row.len() || inputs == 0 || outputs.saturating_mul(inputs) > MOST_NUMBERS
            {
                return Err(fail(format!(
                    "`{key}` has shape {shape:?}, and {} numbers should come out of it",
                    row.len()
                )));
            }
            let values = |key: &str, shape: &[usize]| -> Result<Vec<f32>> {
                let tensor = checkpoint.tensor(key, shape)?;
                let flat = tensor.flatten_all().and_then(|x| x.to_vec1());
                Ok(flat?)
            };
            let shift = values(&format!("{prefix}bias"), &[outputs])?;
            bias += (row.iter().zip(shift))
                .map(|(a, b)| a * f64::from(b))
                .sum::<f64>();
            let matrix = values(&key, &shape)?;
            let mut next = vec![0.0; inputs];
            for (factor, line) in row.iter().zip(matrix.chunks_exact(inputs)) {
                for (sum, value) in next.iter_mut().zip(line) {
                    *sum += factor * f64::from(*value);
                }
            }
            row = next;
        }
        // a head is all of its file, so unused tensors mean another kind of head
        if let Some(beside) = checkpoint.finish(Scope::All, &[])?.into_iter().next() {
            return Err(fail(beside));
        }
        if !bias.is_finite() || row.iter().any(|value| !value.is_finite()) {
            return Err(fail("its numbers are not finite".to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            weight: row,
            bias,
        })
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many numbers an embedding has that it scores.
    pub fn width(&self) -> usize {
        self.weight.len()
    }

    /// Whether it fits a CLIP of that width of the joint space.
    ///
    /// # Errors
    /// Where it does not.
    pub fn fits(&self, clip: &str, projection: usize) -> Result<()> {
        let (head, wanted) = (&self.name, self.width());
        let other = format!("name the CLIP that it was trained on; LAION's is {CLIP}");
        if projection != wanted {
            bail!(
                "the head `{head}` takes embeddings of {wanted} numbers, and the CLIP `{clip}` gives {projection}: {other}"
            );
        }
        Ok(())
    }

    /// The score of an embedding `[width]` of any length but 0, about 1 to 10, and its gradient.
    pub fn score_with_gradient(&self, embedding: &[f32]) -> (f64, Vec<f64>) {
        let square: f64 = embedding.iter().map(|x| f64::from(*x).powi(2)).sum();
        let norm = square.sqrt().max(f64::MIN_POSITIVE);
        let along = self.along(embedding) / norm;
        // what lies along the embedding only changes its length, which does not count
        let grad = (self.weight.iter().zip(embedding))
            .map(|(weight, x)| (weight - along * f64::from(*x) / norm) / norm)
            .collect();
        (along + self.bias, grad)
    }

    /// The score of an embedding `[width]` of length 1, about 1 to 10.
    pub fn score(&self, unit: &[f32]) -> f64 {
        self.along(unit) + self.bias
    }

    fn along(&self, x: &[f32]) -> f64 {
        (self.weight.iter().zip(x))
            .map(|(w, x)| w * f64::from(*x))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_match_finite_differences() {
        let head = Head {
            name: "tiny".to_owned(),
            weight: vec![0.7, -1.3, 0.2, 2.0],
            bias: 4.0,
        };
        let x = [0.3f32, -1.2, 0.7, 2.0];
        let (score, grad) = head.score_with_gradient(&x);
        let length = x.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!((head.score(&x.map(|x| x / length)) - score).abs() < 1e-6);
        for i in 0..x.len() {
            let at = |h: f32| {
                let mut x = x;
                x[i] += h;
                head.score_with_gradient(&x).0
            };
            let slope = (at(1e-3) - at(-1e-3)) / 2e-3;
            assert!((slope - grad[i]).abs() < 2e-4, "{i}: {slope} {}", grad[i]);
        }
    }

    #[test]
    fn a_head_of_another_width_is_refused() {
        let head = Head {
            name: "tiny".to_owned(),
            weight: vec![0.0; 768],
            bias: 0.0,
        };
        assert!(head.fits(CLIP, 768).is_ok());
        let error = head.fits("ViT-B/32", 512).expect_err("refused").to_string();
        assert!(
            error.contains("768") && error.contains("512") && error.contains(CLIP),
            "{error}"
        );
    }
}
