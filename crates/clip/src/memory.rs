//! A memory of pictures: an image tower that is built of what things look like instead of trained.
//!
//! An associative memory (Ramsauer et al. 2020, "Hopfield Networks is All You Need"). It answers a picture with one number for each
//! prototype that it holds, which is the larger the more alike they are, and a text is where the prototypes are that its words may
//! mean. The gradient of their cosine leads to the nearest of those, which is a whole shape, from an empty canvas on.

use std::sync::Arc;

use candle_core::{D, Device, Result, Tensor};
use frozen::{Layer, Linear, Pullback};
use serde::Deserialize;
use weights::checkpoint::{Branch, Checkpoint};

use crate::aim::{Aim, Shown};
use crate::error::ClipError;
use crate::vector::{dot, unit};

/// The file that comes with the weights.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryConfig {
    /// Side of the pictures in pixels.
    pub image_size: usize,
    /// What every channel of an empty picture has, 0..=255.
    pub grey: u8,
    /// What colours count beside lightness, 0..=1: it is a memory of shapes, and colours are better known to other towers.
    pub chroma: f64,
    /// What a picture's distance from grey is taken together with, so that a nearly empty one is not taken for a full one.
    pub floor: f64,
    /// How much more a prototype counts the nearer it is.
    pub steepness: f64,
    /// Of the softmax over names.
    pub temperature: f64,
}

/// Two kinds of prototype, which make a tower each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// One thing in the middle of the picture.
    Things,
    /// All of the picture.
    Places,
}

impl Part {
    /// What the weights' names begin with.
    fn label(self) -> &'static str {
        match self {
            Self::Things => "things",
            Self::Places => "places",
        }
    }
}

/// `[batch, 3, size, size]` in 0..=1 to `[batch, prototypes + 1]`: `exp(steepness (cos - 1))` for each prototype, and 1, beside
/// which the answers to a picture like none of them are nothing.
pub struct Memory {
    /// Rows of unit length: how the prototypes differ from grey.
    keys: Linear,
    grey: f64,
    chroma: f64,
    floor: f64,
    steepness: f64,
}

impl Memory {
    /// `pictures` are the prototypes, `[prototypes, 3, size, size]` in 0..=1.
    ///
    /// # Errors
    /// If the shapes do not fit.
    pub fn new(pictures: &Tensor, config: &MemoryConfig) -> Result<Self> {
        let (grey, chroma) = (f64::from(config.grey) / 255.0, config.chroma);
        let from_grey = difference(pictures, grey, chroma)?;
        let length = from_grey.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?;
        Ok(Self {
            keys: Linear::new(from_grey.broadcast_div(&length)?, None)?,
            grey,
            chroma,
            floor: config.floor,
            steepness: config.steepness,
        })
    }

    /// How long a picture's vector is taken to be: `[batch, 1]`.
    fn length(&self, e: &Tensor) -> Result<Tensor> {
        (e.sqr()?.sum_keepdim(D::Minus1)? + self.floor * self.floor)?.sqrt()
    }

    fn answers(&self, cosines: &Tensor) -> Result<Tensor> {
        ((cosines - 1.0)? * self.steepness)?.exp()
    }

    /// Their answers beside the 1.
    fn beside_one(answers: &Tensor) -> Result<Tensor> {
        let (batch, _) = answers.dims2()?;
        let one = Tensor::ones((batch, 1), answers.dtype(), answers.device())?;
        Tensor::cat(&[answers, &one], 1)
    }
}

impl Layer for Memory {
    fn eval(&self, x: &Tensor) -> Result<Tensor> {
        let e = difference(x, self.grey, self.chroma)?;
        let u = e.broadcast_div(&self.length(&e)?)?;
        Self::beside_one(&self.answers(&self.keys.eval(&u)?)?)
    }

    fn vjp(&self, x: &Tensor) -> Result<(Tensor, Pullback)> {
        let shape = x.shape().clone();
        let e = difference(x, self.grey, self.chroma)?;
        let length = self.length(&e)?;
        let u = e.broadcast_div(&length)?;
        let (cosines, back_to_u) = self.keys.vjp(&u)?;
        let answers = self.answers(&cosines)?;
        let y = Self::beside_one(&answers)?;
        let (steepness, chroma) = (self.steepness, self.chroma);
        let prototypes = self.keys.output_size();
        let pullback = move |grad: &Tensor| {
            let grad = grad.narrow(1, 0, prototypes)?;
            let grad = back_to_u(&((grad * &answers)? * steepness)?)?;
            // du/de = (1 - u u^T) / length
            let along = (&grad * &u)?.sum_keepdim(D::Minus1)?;
            let grad = (grad - u.broadcast_mul(&along)?)?;
            desaturate(&grad.broadcast_div(&length)?.reshape(&shape)?, chroma)
        };
        Ok((y, Box::new(pullback)))
    }
}

/// How pictures `[batch, 3, height, width]` differ from grey, as vectors.
fn difference(x: &Tensor, grey: f64, chroma: f64) -> Result<Tensor> {
    desaturate(&(x - grey)?, chroma)?.flatten_from(1)
}

/// Brings the channels of `[batch, 3, height, width]` nearer to their mean, `chroma` of the way being left. Its own transpose.
fn desaturate(x: &Tensor, chroma: f64) -> Result<Tensor> {
    let mean = (x.mean_keepdim(1)? * (1.0 - chroma))?;
    (x * chroma)?.broadcast_add(&mean)
}

/// The names of both parts' prototypes in the joint space of the texts.
#[derive(Clone, Debug)]
pub struct Names {
    /// Of unit length, without what captions say beside the thing.
    things: Vec<Vec<f32>>,
    /// Of unit length.
    places: Vec<Vec<f32>>,
    /// Orthonormal directions in which captions differ from the thing that they name: colours, places, styles.
    beside: Vec<Vec<f32>>,
}

/// The cosine to the best name at which a text begins to mean something to a part, and how much more makes it sure.
const MEANS: (f64, f64) = (0.45, 0.2);
/// How much nearer the other part's best name may be before this one gives way, and over how much more it does.
const YIELDS: (f64, f64) = (0.15, 0.2);

impl Names {
    fn read(weights: &Branch) -> std::result::Result<Self, ClipError> {
        let rows = |key: &str| -> std::result::Result<Vec<Vec<f32>>, ClipError> {
            let shape = weights.checkpoint().shape(key).unwrap_or_default().to_vec();
            Ok(weights.get(key, &shape)?.to_vec2()?)
        };
        Ok(Self {
            things: rows("things.names")?,
            places: rows("places.names")?,
            beside: rows("beside")?,
        })
    }

    /// How like a text, of unit length, each of a part's names is.
    fn likeness(&self, text: &[f32], part: Part) -> Vec<f64> {
        let (names, text) = match part {
            Part::Places => (&self.places, text.to_vec()),
            Part::Things => {
                let mut rest = text.to_vec();
                for direction in &self.beside {
                    let along = dot(text, direction) as f32;
                    for (value, step) in rest.iter_mut().zip(direction) {
                        *value -= along * step;
                    }
                }
                (&self.things, unit(rest))
            }
        };
        names.iter().map(|name| dot(name, &text)).collect()
    }
}

/// How one part's tower understands texts and pictures.
pub struct Reading {
    names: Arc<Names>,
    part: Part,
    /// Which name each prototype has.
    name: Vec<usize>,
    temperature: f64,
}

impl Reading {
    /// Prototypes have their place in the picture.
    pub(super) fn shown(&self) -> Shown {
        match self.part {
            Part::Things => Shown::Middle,
            Part::Places => Shown::All,
        }
    }

    /// Where a text, of unit length in the joint space, is among the prototypes: a softmax over names.
    pub fn text(&self, text: &[f32]) -> Aim {
        let own = self.names.likeness(text, self.part);
        let best = largest(&own);
        let other = match self.part {
            Part::Things => Part::Places,
            Part::Places => Part::Things,
        };
        let ahead = best - largest(&self.names.likeness(text, other));
        let ramp = |x: f64, (from, over): (f64, f64)| ((x - from) / over).clamp(0.0, 1.0);
        let sure = ramp(best, MEANS) * ramp(ahead, (-YIELDS.0 - YIELDS.1, YIELDS.1));
        let weights = (self.name.iter())
            .map(|&name| ((own[name] - best) / self.temperature).exp() as f32)
            .chain([0.0])
            .collect();
        Aim {
            vector: unit(weights),
            sure,
        }
    }

    /// What a picture is like among the prototypes, given the tower's answer to it.
    pub fn picture(&self, answer: &[f32]) -> Aim {
        let mut vector = unit(answer.to_vec());
        // the 1 says that it is like none of them
        let none = std::mem::take(&mut vector[self.name.len()]);
        Aim {
            vector: unit(vector),
            sure: 1.0 - f64::from(none).powi(2),
        }
    }
}

/// The towers of both parts, with how they read.
pub(super) fn load(
    config: &MemoryConfig,
    checkpoint: &Checkpoint,
    device: &Device,
) -> std::result::Result<Vec<(Memory, Reading)>, ClipError> {
    let names = Arc::new(Names::read(&Branch::root(checkpoint, &Device::Cpu))?);
    let weights = Branch::root(checkpoint, device);
    let side = config.image_size;
    [Part::Things, Part::Places]
        .into_iter()
        .map(|part| {
            let key = |what: &str| format!("{}.{what}", part.label());
            let count = checkpoint.shape(&key("name")).map_or(0, |shape| shape[0]);
            let of_names = checkpoint.tensor(&key("name"), &[count])?;
            let name: Vec<usize> = (of_names.to_vec1::<f32>()?.into_iter())
                .map(|name| name as usize)
                .collect();
            let pictures = weights.get(&key("pictures"), &[count, 3, side, side])?;
            let memory = Memory::new(&(pictures / 255.0)?, config)?;
            let reading = Reading {
                names: names.clone(),
                part,
                name,
                temperature: config.temperature,
            };
            Ok((memory, reading))
        })
        .collect()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}
