//! The rule that every cell follows, which is trained, saved and grown.

use std::collections::BTreeMap;
use std::str::FromStr;

use candle_core::{DType, Device, Result, Tensor, bail};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fire::mix;
use super::kernel::SENSES;
use crate::{Artifact, ClampWithGrad};
use frozen::{Layer, Pullback};

/// The cells beyond the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// The opposite edge, so that the picture tiles.
    Circular,
    /// Nothing: cells of zeros.
    Zero,
}

impl Padding {
    fn name(self) -> &'static str {
        match self {
            Self::Circular => "circular",
            Self::Zero => "zero",
        }
    }
}

/// The sizes and settings of a [`Rule`].
#[derive(Clone, Debug, PartialEq)]
pub struct RuleConfig {
    /// Numbers a cell; the first three are its colour. At least 3.
    pub channels: usize,
    /// Hidden values between what a cell sees and how it changes.
    pub hidden: usize,
    /// The probability, 0..=1, with which a cell changes in an iteration.
    pub fire_rate: f64,
    /// The cells beyond the edge.
    pub padding: Padding,
}

/// The names of the kind and the settings in an artifact.
const KIND: &str = "kind";
const CELLULAR: &str = "cellular";
const MOST_CHANNELS: usize = 1024;
const MOST_HIDDEN: usize = 1 << 16;

/// How a cell changes by what it sees: `x + fires * w2 . relu(w1 . senses + b1)`, where the senses are each channel, its Sobel slopes along x
/// and y, and its Laplacian (Niklasson, Mordvintsev, Randazzo and Levin, *Self-Organising Textures*, Distill 2021).
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) config: RuleConfig,
    pub(super) w1: Tensor,
    pub(super) b1: Tensor,
    pub(super) w2: Tensor,
}

impl Rule {
    /// A rule that changes nothing yet: the last layer is zero, the first drawn as PyTorch does, uniform within
    /// `1 / sqrt(4 * channels)`.
    ///
    /// # Errors
    /// When there are fewer than 3 channels or no hidden value, or the fire rate is not in 0..=1.
    pub fn new(config: RuleConfig, seed: u64, device: &Device) -> Result<Self> {
        let (channels, hidden) = (config.channels, config.hidden);
        let senses = SENSES * channels;
        let bound = 1.0 / (senses as f32).sqrt();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |count: usize| -> Vec<f32> {
            (0..count)
                .map(|_| rng.random_range(-bound..bound))
                .collect()
        };
        check(&config)?;
        let w1 = Tensor::from_vec(draw(hidden * senses), (hidden, senses), device)?;
        let b1 = Tensor::from_vec(draw(hidden), hidden, device)?;
        let w2 = Tensor::zeros((channels, hidden), DType::F32, device)?;
        Self::from_parts(config, w1, b1, w2)
    }

    /// A rule of these weights: `[hidden, 4 * channels]`, `[hidden]` and `[channels, hidden]`, all of one type. The senses of a channel follow
    /// one another.
    ///
    /// # Errors
    /// When the configuration is out of range, or a shape does not fit it.
    pub fn from_parts(config: RuleConfig, w1: Tensor, b1: Tensor, w2: Tensor) -> Result<Self> {
        check(&config)?;
        let (channels, hidden) = (config.channels, config.hidden);
        let shapes: [(&str, &Tensor, &[usize]); 3] = [
            ("w1.weight", &w1, &[hidden, SENSES * channels]),
            ("w1.bias", &b1, &[hidden]),
            ("w2.weight", &w2, &[channels, hidden]),
        ];
        for (name, tensor, expected) in shapes {
            if tensor.dims() != expected {
                bail!(
                    "`{name}` of the rule has shape {:?}, and its settings ask for {expected:?}",
                    tensor.dims()
                );
            }
        }
        Ok(Self {
            config,
            w1: w1.contiguous()?,
            b1: b1.contiguous()?,
            w2: w2.contiguous()?,
        })
    }

    /// The sizes and settings.
    pub fn config(&self) -> &RuleConfig {
        &self.config
    }

    /// The weights: of the first layer, `[hidden, 4 * channels]`, its bias, `[hidden]`, and of the last layer, which has no bias,
    /// `[channels, hidden]`.
    pub fn weights(&self) -> [&Tensor; 3] {
        [&self.w1, &self.b1, &self.w2]
    }

    /// A copy in memory of its own, without a graph.
    pub(super) fn copy(&self) -> Result<Self> {
        let [w1, b1, w2] = self.weights().map(|tensor| tensor.detach().copy());
        Self::from_parts(self.config.clone(), w1?, b1?, w2?)
    }

    /// States to grow from: `[batch, channels, height, width]` of zeros, which show mid-grey.
    ///
    /// # Errors
    /// When the device has no room for them.
    pub fn start(&self, batch: usize, height: usize, width: usize) -> Result<Tensor> {
        let shape = (batch, self.config.channels, height, width);
        Tensor::zeros(shape, self.w1.dtype(), self.w1.device())
    }

    /// The image of states: `[batch, 3, height, width]` in 0..=1, with the pullback to the first three channels.
    ///
    /// # Errors
    /// When the states have fewer than three channels.
    pub fn show(state: &Tensor) -> Result<(Tensor, Pullback)> {
        ClampWithGrad.vjp(&(state.narrow(1, 0, 3)? + 0.5)?)
    }

    /// The states with a disc of cells set back to where they grew from. `x` and `y` are its middle and `radius` its radius, in cells; where
    /// the edge is circular the disc reaches around it.
    ///
    /// # Errors
    /// When `state` is not `[batch, channels, height, width]`.
    pub fn damage(&self, state: &Tensor, x: f64, y: f64, radius: f64) -> Result<Tensor> {
        let (_, _, height, width) = state.dims4()?;
        let circular = self.config.padding == Padding::Circular;
        let distance = |a: f64, b: f64, side: usize| {
            let straight = (a - b).abs();
            if !circular {
                return straight;
            }
            let around = straight.rem_euclid(side as f64);
            around.min(side as f64 - around)
        };
        let mut kept = Vec::with_capacity(height * width);
        for row in 0..height {
            for column in 0..width {
                let dx = distance(column as f64 + 0.5, x, width);
                let dy = distance(row as f64 + 0.5, y, height);
                kept.push(if dx * dx + dy * dy <= radius * radius {
                    0f32
                } else {
                    1.0
                });
            }
        }
        let kept = Tensor::from_vec(kept, (1, 1, height, width), &Device::Cpu)?;
        state.broadcast_mul(&kept.to_dtype(state.dtype())?.to_device(state.device())?)
    }

    /// The rule as a file holds it: its weights as a 1 x 1 convolution's, its settings as texts.
    ///
    /// # Errors
    /// When the device fails.
    pub fn artifact(&self) -> Result<Artifact> {
        let (channels, hidden) = (self.config.channels, self.config.hidden);
        let w1 = self.w1.reshape((hidden, SENSES * channels, 1, 1))?;
        let w2 = self.w2.reshape((channels, hidden, 1, 1))?;
        let tensors = [
            ("w1.weight", w1),
            ("w1.bias", self.b1.clone()),
            ("w2.weight", w2),
        ];
        let settings = [
            (KIND, CELLULAR.to_owned()),
            ("channels", channels.to_string()),
            ("hidden", hidden.to_string()),
            ("fire_rate", self.config.fire_rate.to_string()),
            ("padding", self.config.padding.name().to_owned()),
        ];
        Ok(Artifact {
            name: "rule",
            tensors: tensors
                .into_iter()
                .map(|(name, tensor)| Ok((name.to_owned(), tensor.detach().copy()?)))
                .collect::<Result<_>>()?,
            settings: (settings.into_iter())
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        })
    }

    /// The rule that [`Rule::artifact`] gave.
    ///
    /// # Errors
    /// When a setting or a tensor is missing, is out of range or has another shape; the message names it.
    pub fn from_artifact(
        tensors: &BTreeMap<String, Tensor>,
        settings: &BTreeMap<String, String>,
        device: &Device,
    ) -> Result<Self> {
        let config = RuleConfig {
            channels: setting(settings, "channels")?,
            hidden: setting(settings, "hidden")?,
            fire_rate: setting(settings, "fire_rate")?,
            padding: match text(settings, "padding")? {
                "circular" => Padding::Circular,
                "zero" => Padding::Zero,
                other => bail!(
                    "the rule's setting `padding` is `{other}`, and circular or zero is expected"
                ),
            },
        };
        let kind = text(settings, KIND)?;
        if kind != CELLULAR {
            bail!("it holds a `{kind}`, and a `{CELLULAR}` is expected");
        }
        check(&config)?;
        let senses = SENSES * config.channels;
        let load = |name: &str, shape: &[usize]| match tensors.get(name) {
            None => bail!(
                "the rule has no `{name}`; it has {}",
                tensors
                    .keys()
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            Some(tensor) => {
                let ones = shape.iter().copied().chain([1, 1]).collect::<Vec<_>>();
                if tensor.dims() != shape && tensor.dims() != ones {
                    bail!(
                        "`{name}` of the rule has shape {:?}, and its settings ask for {ones:?}",
                        tensor.dims()
                    );
                }
                tensor
                    .to_dtype(DType::F32)?
                    .to_device(device)?
                    .reshape(shape)
            }
        };
        let others: Vec<&str> = (tensors.keys().map(String::as_str))
            .filter(|name| !["w1.weight", "w1.bias", "w2.weight"].contains(name))
            .collect();
        if !others.is_empty() {
            bail!(
                "the rule has unused tensors: {}; it belongs to another kind of automaton",
                others.join(", ")
            );
        }
        let w1 = load("w1.weight", &[config.hidden, senses])?;
        let b1 = load("w1.bias", &[config.hidden])?;
        let w2 = load("w2.weight", &[config.channels, config.hidden])?;
        Self::from_parts(config, w1, b1, w2)
    }
}

/// A key for the cells that fire, of several numbers.
pub fn key(numbers: &[u64]) -> u64 {
    numbers
        .iter()
        .fold(0, |key, &number| mix(key ^ mix(number)))
}

fn text<'a>(settings: &'a BTreeMap<String, String>, name: &str) -> Result<&'a str> {
    match settings.get(name) {
        Some(text) => Ok(text),
        None => bail!("it is no rule of a cellular automaton: the setting `{name}` is missing"),
    }
}

fn setting<T: FromStr>(settings: &BTreeMap<String, String>, name: &str) -> Result<T> {
    let text = text(settings, name)?;
    match text.parse() {
        Ok(value) => Ok(value),
        Err(_) => bail!("the rule's setting `{name}` is `{text}`, which is no number of that kind"),
    }
}

fn check(config: &RuleConfig) -> Result<()> {
    let counts = [
        ("channels", config.channels, 3, MOST_CHANNELS),
        ("hidden", config.hidden, 1, MOST_HIDDEN),
    ];
    for (name, value, least, most) in counts {
        if !(least..=most).contains(&value) {
            bail!("a rule's `{name}` is a whole number from {least} to {most}, not {value}");
        }
    }
    if !(0.0..=1.0).contains(&config.fire_rate) {
        bail!(
            "a rule's `fire_rate` is a number from 0 to 1, not {}",
            config.fire_rate
        );
    }
    Ok(())
}
