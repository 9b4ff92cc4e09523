//! The generators that a recipe can name, and what each of them may be told.

use std::fmt;

use schemars::JsonSchema;
use serde::de::value::{
    MapAccessDeserializer, MapDeserializer, SeqAccessDeserializer, StrDeserializer,
};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

use super::{
    CellularOptions, DiffusionOptions, FftOptions, NoiseOptions, PixelsOptions, Schedule, defaults,
};

/// What is optimised, by kind.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schemars(transform = phantasia_core::schema::or_bare_kinds)]
pub enum GeneratorOptions {
    /// Layers of several sizes, each enlarged to the picture's and summed.
    Pyramid(PyramidOptions),
    /// A diffusion model, guided.
    Diffusion(DiffusionOptions),
    /// The noise that a one-step diffusion model makes a picture of.
    Noise(NoiseOptions),
    /// The latents of a VQGAN, each replaced by the nearest code of its codebook.
    Vqgan(VqganOptions),
    /// The latents of an autoencoder as they are.
    Latent(LatentOptions),
    /// A neural cellular automaton.
    Cellular(CellularOptions),
    /// Pixels, of any colour or of a palette's.
    Pixels(PixelsOptions),
    /// The picture's spectrum.
    Fft(FftOptions),
}

impl GeneratorOptions {
    /// The models that it paints with, by key.
    pub(super) fn models_mut(&mut self) -> Vec<(&'static str, &mut String)> {
        let (model, vae) = match self {
            Self::Pyramid(_) | Self::Cellular(_) | Self::Pixels(_) | Self::Fft(_) => return vec![],
            Self::Diffusion(options) => (&mut options.model, options.vae.as_mut()),
            Self::Noise(options) => (&mut options.model, options.vae.as_mut()),
            Self::Vqgan(options) => (&mut options.model, None),
            Self::Latent(options) => (&mut options.model, None),
        };
        let mut models = vec![("model", model)];
        models.extend(vae.map(|vae| ("vae", vae)));
        models
    }

    /// Whether a render of no step makes sense: it shows what the generator makes of the init image.
    pub(super) fn may_rest(&self) -> bool {
        matches!(self, Self::Vqgan(_) | Self::Latent(_))
    }
}

impl Default for GeneratorOptions {
    fn default() -> Self {
        Self::Pyramid(PyramidOptions::default())
    }
}

/// An image pyramid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PyramidOptions {
    /// How many layers, each `scale` times the size of the one before it.
    #[schemars(range(min = 1))]
    pub layers: usize,
    /// The shorter side of the smallest layer in cells.
    #[schemars(range(min = 1))]
    pub base: usize,
    /// The ratio of one layer's side to that of the one before it.
    pub scale: f64,
    /// The ratio of one layer's noise at the start to that of the one before it.
    pub decay: f64,
    /// The ratio of one layer's influence on the picture to that of the one before it.
    pub gain: f64,
    /// Instead of `layers`, `base` and `scale`: the shorter side of each layer in cells.
    pub sides: Option<Sides>,
    /// What brings the sum of the layers to 0..=1.
    pub squash: Squash,
    /// How layers are enlarged.
    pub filter: Filter,
    /// How a gradient becomes a step.
    pub optimizer: Optimizer,
    /// The learning rate.
    pub lr: Schedule,
    /// The share of the last step that goes on (`sgd`).
    pub momentum: f64,
    /// Scale the picture's gradient to a root mean square of 1 before the step.
    pub normalize: bool,
    /// Decay of the layers towards 0, times the learning rate (AdamW's).
    pub weight_decay: f64,
    /// Standard deviation of the noise that the layers start with.
    pub noise: f64,
    /// The share of the render over which ever finer layers join in; 0 is all from the start.
    pub progressive: f64,
}

/// The sides of a pyramid's layers.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Sides {
    /// These sides.
    List(#[schemars(inner(range(min = 1)))] Vec<usize>),
    /// `all`: every side from 1 to the picture's.
    Word(AllSides),
}

/// The word `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AllSides {
    /// Every side from 1 to the picture's shorter one, thinned to a geometric series where there are many.
    All,
}

/// What brings a sum of layers to 0..=1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Squash {
    /// 1 / (1 + exp(-x))
    Sigmoid,
    /// (tanh(x) + 1) / 2
    Tanh,
    /// x + 1/2, clamped, with a gradient that leads back from outside.
    Clamp,
}

/// How layers are enlarged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Linear in both directions.
    Bilinear,
    /// Cubic in both directions.
    Bicubic,
}

/// How a gradient becomes a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// Adam, with decoupled weight decay.
    Adam,
    /// Gradient descent, with momentum.
    Sgd,
    /// A step of the learning rate against the sign of the gradient.
    Sign,
}

impl Default for PyramidOptions {
    fn default() -> Self {
        Self {
            layers: 5,
            base: 4,
            scale: 2.0,
            decay: 0.7,
            gain: 0.8,
            sides: None,
            squash: Squash::Clamp,
            filter: Filter::Bicubic,
            optimizer: Optimizer::Sgd,
            lr: defaults::lr(),
            momentum: 0.8,
            normalize: true,
            weight_decay: 0.0,
            noise: 0.0,
            progressive: 0.0,
        }
    }
}

/// The latents of a VQGAN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VqganOptions {
    /// A folder, a file, or the name of a known model.
    pub model: String,
    /// What the latents are at first: `codes` drawn for each place, `noise`, or `init`, the init image's; null takes `init` where
    /// there is an image to start from, else `codes`.
    pub start: Option<VqganStart>,
    /// The learning rate, in units of the codes.
    pub lr: Schedule,
    /// Decode in tiles of so many pixels a side, which bounds memory; null does where the whole picture would take several
    /// gigabytes.
    #[schemars(range(min = 1))]
    pub tile: Option<usize>,
}

/// What the latents of a VQGAN are at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VqganStart {
    /// A code drawn for each place.
    Codes,
    /// Noise with the mean and deviation of the codes.
    Noise,
    /// What the encoder makes of the image to start from.
    Init,
}

impl Default for VqganOptions {
    fn default() -> Self {
        Self {
            model: "vqgan-imagenet-f16-16384".to_owned(),
            start: None,
            lr: Schedule::from(0.1),
            tile: None,
        }
    }
}

/// The latents of an autoencoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LatentOptions {
    /// A folder, a file, or the name of a known model.
    pub model: String,
    /// Standard deviation of the noise that the latents start with where there is no image to start from; 1 is about what pictures
    /// have.
    pub noise: f64,
    /// The learning rate.
    pub lr: Schedule,
    /// Decay of the latents towards 0, times the learning rate (AdamW's).
    pub weight_decay: f64,
    /// Decode in tiles of so many pixels a side, which bounds memory; null does where the whole picture would take several
    /// gigabytes.
    #[schemars(range(min = 1))]
    pub tile: Option<usize>,
}

impl Default for LatentOptions {
    fn default() -> Self {
        Self {
            model: "madebyollin/taesd".to_owned(),
            noise: 1.0,
            lr: Schedule::from(0.05),
            weight_decay: 0.0,
            tile: None,
        }
    }
}

/// What a generator is, before its own keys are read.
#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Pyramid,
    Diffusion,
    Noise,
    Vqgan,
    Latent,
    Cellular,
    Pixels,
    Fft,
}

impl Kind {
    /// The kind's own keys.
    pub(super) fn options<'de, D: Deserializer<'de>>(
        self,
        rest: D,
    ) -> Result<GeneratorOptions, D::Error> {
        match self {
            Self::Pyramid => PyramidOptions::deserialize(rest).map(GeneratorOptions::Pyramid),
            Self::Diffusion => DiffusionOptions::deserialize(rest).map(GeneratorOptions::Diffusion),
            Self::Noise => NoiseOptions::deserialize(rest).map(GeneratorOptions::Noise),
            Self::Vqgan => VqganOptions::deserialize(rest).map(GeneratorOptions::Vqgan),
            Self::Latent => LatentOptions::deserialize(rest).map(GeneratorOptions::Latent),
            Self::Cellular => CellularOptions::deserialize(rest).map(GeneratorOptions::Cellular),
            Self::Pixels => PixelsOptions::deserialize(rest).map(GeneratorOptions::Pixels),
            Self::Fft => FftOptions::deserialize(rest).map(GeneratorOptions::Fft),
        }
    }
}

/// A map whose first key is `kind` (as the recipe reader hands it out, wherever it stands), or a kind's bare name.
impl<'de> Deserialize<'de> for GeneratorOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct GeneratorVisitor;

        impl<'de> Visitor<'de> for GeneratorVisitor {
            type Value = GeneratorOptions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map with the key `kind`, or a kind's name")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<GeneratorOptions, E> {
                let kind = Kind::deserialize(StrDeserializer::new(word))?;
                let none = std::iter::empty::<(&str, &str)>();
                kind.options(MapDeserializer::new(none))
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<GeneratorOptions, A::Error> {
                match map.next_key::<String>()?.as_deref() {
                    Some("kind") => {
                        let kind: Kind = map.next_value()?;
                        kind.options(MapAccessDeserializer::new(map))
                    }
                    _ => Err(de::Error::missing_field("kind")),
                }
            }
        }

        deserializer.deserialize_any(GeneratorVisitor)
    }
}

/// A list of sides, or `all`.
impl<'de> Deserialize<'de> for Sides {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SidesVisitor;

        impl<'de> Visitor<'de> for SidesVisitor {
            type Value = Sides;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of whole numbers, or the word `all`")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Sides, E> {
                match word {
                    "all" => Ok(Sides::Word(AllSides::All)),
                    _ => Err(E::invalid_value(Unexpected::Str(word), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Sides, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Sides::List)
            }
        }

        deserializer.deserialize_any(SidesVisitor)
    }
}
