//! The models that judge a picture: the entries of `clip`, and the term `aesthetic`.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use clip::{ClipActivation, ClipChoice, EMBEDDED, Precision};
use phantasia_core::{Schedule, schema, shorthand};

/// One entry of `clip`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClipOptions {
    /// `embedded`, a folder, or a known model's name.
    #[serde(default = "defaults::embedded")]
    pub model: String,
    /// How much it counts beside the others.
    #[serde(default = "defaults::one")]
    pub weight: Schedule,
    /// How much of what all prompts have in common is taken off a text's embedding, 0..=1.
    #[serde(default)]
    pub center: Option<f64>,
    /// What a GPU keeps and computes it in. The processor rounds the weights to it, and keeps and computes them in f32, and so does a GPU those of a
    /// ResNet's image tower.
    #[serde(default, skip_serializing_if = "Precision::is_default")]
    pub precision: Precision,
    /// The nonlinearity of its transformers, overriding its files. Weights without a configuration often do not say which it is: GELU is then
    /// assumed, with a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<ClipActivation>,
    /// What of the recipe's `cutouts` is different for this model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cutouts: Option<CutoutChanges>,
}

impl ClipOptions {
    /// A model of weight 1.
    pub fn new(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            weight: defaults::one(),
            center: None,
            precision: Precision::default(),
            activation: None,
            cutouts: None,
        }
    }

    /// How the model is loaded.
    pub fn choice(&self) -> ClipChoice {
        ClipChoice {
            precision: self.precision,
            activation: self.activation,
        }
    }
}

/// The values of [`CutoutOptions`] that one model has of its own; what is not given is as the recipe's `cutouts` say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CutoutChanges {
    /// How many a step and image tower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<Schedule>,
    /// Skews the sizes: above 1 towards `min`, below 1 towards `max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power: Option<Schedule>,
    /// The smallest side as a share of the picture's shorter one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Schedule>,
    /// The largest side likewise; above 1 it reaches over the edge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Schedule>,
    /// How far over the edge a cutout may lie, as a share of its side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<Schedule>,
    /// How many of `count` show the whole picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overview: Option<Schedule>,
    /// What is seen beyond the edge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub border: Option<Border>,
    /// What is done to each cutout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augment: Option<Vec<Augment>>,
}

impl CutoutOptions {
    /// These, with one model's changes.
    pub fn with(&self, changes: Option<&CutoutChanges>) -> Self {
        let Some(changes) = changes.cloned() else {
            return self.clone();
        };
        let base = self.clone();
        Self {
            count: changes.count.or(base.count),
            power: changes.power.unwrap_or(base.power),
            min: changes.min.or(base.min),
            max: changes.max.unwrap_or(base.max),
            margin: changes.margin.unwrap_or(base.margin),
            overview: changes.overview.unwrap_or(base.overview),
            border: changes.border.unwrap_or(base.border),
            augment: changes.augment.unwrap_or(base.augment),
        }
    }
}

/// The term `aesthetic`: a head that scores a CLIP's image embeddings, about 1 to 10. A number alone is its weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AestheticOptions {
    /// How much it counts. Its loss is 1 - score / 10.
    pub weight: Schedule,
    /// The head: a file, or a known model's name.
    pub model: String,
    /// The CLIP whose embeddings the head was trained on.
    pub clip: String,
    /// What a GPU keeps and computes the CLIP in, as in the entries of `clip`.
    #[serde(skip_serializing_if = "Precision::is_default")]
    pub precision: Precision,
    /// The nonlinearity of the CLIP's transformers, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<ClipActivation>,
    /// What of the recipe's `cutouts` is different for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutouts: Option<CutoutChanges>,
}

/// LAION's head, and OpenAI's ViT-L/14 that it was trained on.
impl Default for AestheticOptions {
    fn default() -> Self {
        Self {
            weight: defaults::one(),
            model: crate::aesthetic_head::HEAD.to_owned(),
            clip: crate::aesthetic_head::CLIP.to_owned(),
            precision: Precision::default(),
            activation: None,
            cutouts: None,
        }
    }
}

impl AestheticOptions {
    /// How the CLIP is loaded.
    pub fn choice(&self) -> ClipChoice {
        ClipChoice {
            precision: self.precision,
            activation: self.activation,
        }
    }
}

/// Nothing, a weight, or a map.
fn aesthetic<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Box<AestheticOptions>>, D::Error> {
    struct AestheticVisitor;

    fn weighted<'de, E: de::Error, V: IntoDeserializer<'de, E>>(
        value: V,
    ) -> Result<Option<Box<AestheticOptions>>, E> {
        Ok(Some(Box::new(AestheticOptions {
            weight: Schedule::deserialize(value.into_deserializer())?,
            ..AestheticOptions::default()
        })))
    }

    impl<'de> Visitor<'de> for AestheticVisitor {
        type Value = Option<Box<AestheticOptions>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a weight, or a map with keys such as `weight` and `model`")
        }

        fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_f64<E: de::Error>(self, weight: f64) -> Result<Self::Value, E> {
            weighted(weight)
        }

        fn visit_i64<E: de::Error>(self, weight: i64) -> Result<Self::Value, E> {
            weighted(weight)
        }

        fn visit_u64<E: de::Error>(self, weight: u64) -> Result<Self::Value, E> {
            weighted(weight)
        }

        fn visit_str<E: de::Error>(self, weight: &str) -> Result<Self::Value, E> {
            weighted(weight)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            Box::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    deserializer.deserialize_any(AestheticVisitor)
}

/// The views of the picture that CLIP is shown at every step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CutoutOptions {
    /// How many a step and image tower; null takes 16, and 2 for inputs under 128 pixels.
    pub count: Option<Schedule>,
    /// Skews the sizes: above 1 towards `min`, below 1 towards `max`.
    pub power: Schedule,
    /// The smallest side as a share of the picture's shorter one; null takes the CLIP's input size, and 0.75 for inputs under 128 pixels.
    pub min: Option<Schedule>,
    /// The largest side likewise; above 1 it reaches over the edge.
    pub max: Schedule,
    /// How far over the edge a cutout may lie, as a share of its side.
    pub margin: Schedule,
    /// How many of `count` show the whole picture.
    pub overview: Schedule,
    /// What is seen beyond the edge.
    pub border: Border,
    /// What is done to each cutout.
    pub augment: Vec<Augment>,
}

impl Default for CutoutOptions {
    fn default() -> Self {
        Self {
            count: None,
            power: Schedule::from(1.0),
            min: None,
            max: Schedule::from(1.05),
            margin: Schedule::from(0.05),
            overview: Schedule::from(0.0),
            border: Border::Reflect,
            augment: defaults::augment(),
        }
    }
}

/// What a cutout sees beyond the picture's edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Border {
    /// The nearest pixel of the edge.
    Edge,
    /// The picture, mirrored.
    Reflect,
    /// Black.
    Zero,
    /// The picture again, so that it tiles.
    Wrap,
}

/// What is done to a cutout; the bare word takes the defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(transform = schema::or_bare_words)]
pub enum Augment {
    /// Mirrored left to right with probability `p`.
    Flip {
        /// Probability, 0..=1.
        #[serde(default = "defaults::flip_p")]
        #[schemars(range(min = 0, max = 1))]
        p: f64,
    },
    /// Turned by up to `degrees` and shifted by up to `translate` of the side, with probability `p`.
    Affine {
        /// Largest angle.
        #[serde(default = "defaults::affine_degrees")]
        degrees: Schedule,
        /// Largest shift as a share of the side.
        #[serde(default = "defaults::affine_translate")]
        translate: Schedule,
        /// Probability, 0..=1.
        #[serde(default = "defaults::affine_p")]
        #[schemars(range(min = 0, max = 1))]
        p: f64,
    },
    /// Corners moved inwards by up to `strength` of half the side, with probability `p`.
    Perspective {
        /// 0..=1
        #[serde(default = "defaults::perspective_strength")]
        strength: Schedule,
        /// Probability, 0..=1.
        #[serde(default = "defaults::perspective_p")]
        #[schemars(range(min = 0, max = 1))]
        p: f64,
    },
    /// Hue and saturation (and brightness and contrast) changed at random, with probability `p`.
    Jitter {
        /// Largest turn of the hue as a share of the circle.
        #[serde(default = "defaults::jitter")]
        hue: Schedule,
        /// Largest change of the saturation, as a share of 1.
        #[serde(default = "defaults::jitter")]
        saturation: Schedule,
        /// Largest change of the brightness, as a share of 1.
        #[serde(default = "defaults::zero")]
        brightness: Schedule,
        /// Largest change of the contrast, as a share of 1.
        #[serde(default = "defaults::zero")]
        contrast: Schedule,
        /// Probability, 0..=1.
        #[serde(default = "defaults::jitter_p")]
        #[schemars(range(min = 0, max = 1))]
        p: f64,
    },
    /// A rectangle of up to `area` of the cutout made grey, with probability `p`.
    Erase {
        /// Largest share of the cutout.
        #[serde(default = "defaults::erase_area")]
        area: Schedule,
        /// Probability, 0..=1.
        #[serde(default = "defaults::erase_p")]
        #[schemars(range(min = 0, max = 1))]
        p: f64,
    },
    /// White noise, its standard deviation uniform in 0..=`strength` for each cutout.
    Noise {
        /// Largest standard deviation.
        #[serde(default = "defaults::noise_strength")]
        strength: Schedule,
    },
}

/// How far an image embedding is from a prompt's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// 1 - cos
    Cosine,
    /// 2 asin(|x - y| / 2)^2, that is half the squared angle.
    #[default]
    Spherical,
}

/// How several prompts count together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// All, each with its weight.
    #[default]
    All,
    /// The weighted mean of their embeddings, compared once.
    Mix,
    /// Each cutout heeds the prompt that it is closest to.
    Best,
    /// Each cutout heeds the prompt that it is farthest from.
    Worst,
}

/// What is asked of the picture beside its prompts. A weight of 0 leaves the term out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TermOptions {
    /// Weight of the mean absolute difference of neighbouring pixels.
    pub total_variation: Schedule,
    /// Weight of the mean squared distance by which values leave 0..=1.
    pub range: Schedule,
    /// Weight of the mean distance of a pixel's channels from their mean.
    pub saturation: Schedule,
    /// The mean that the picture should have, 0..=1.
    pub mean: Option<Schedule>,
    /// The standard deviation that each channel of the picture should have over all pixels, about its own mean; an even colour has 0.
    pub contrast: Option<Schedule>,
    /// How beautiful the picture should be, by a head on a CLIP's embeddings.
    #[serde(deserialize_with = "aesthetic")]
    #[schemars(schema_with = "aesthetic_schema")]
    pub aesthetic: Option<Box<AestheticOptions>>,
}

impl Default for TermOptions {
    fn default() -> Self {
        Self {
            total_variation: Schedule::from(0.0),
            range: Schedule::from(0.0),
            saturation: Schedule::from(0.0),
            mean: None,
            contrast: None,
            aesthetic: None,
        }
    }
}

fn aesthetic_schema(generator: &mut SchemaGenerator) -> Schema {
    let weight = generator.subschema_for::<Schedule>();
    let map = generator.subschema_for::<AestheticOptions>();
    json_schema!({ "anyOf": [weight, map, { "type": "null" }] })
}

impl shorthand::Word for ClipOptions {
    fn word(text: &str) -> Self {
        Self::new(text)
    }
}

mod defaults {
    use super::*;

    pub fn embedded() -> String {
        EMBEDDED.to_owned()
    }

    pub fn augment() -> Vec<Augment> {
        vec![
            Augment::Affine {
                degrees: Schedule::from(5.0),
                translate: Schedule::from(0.02),
                p: 1.0,
            },
            Augment::Jitter {
                hue: jitter(),
                saturation: jitter(),
                brightness: zero(),
                contrast: zero(),
                p: 1.0,
            },
            Augment::Noise {
                strength: Schedule::from(0.1),
            },
        ]
    }

    pub fn one() -> Schedule {
        Schedule::from(1.0)
    }

    pub fn zero() -> Schedule {
        Schedule::from(0.0)
    }

    pub fn flip_p() -> f64 {
        0.5
    }

    pub fn affine_degrees() -> Schedule {
        Schedule::from(30.0)
    }

    pub fn affine_translate() -> Schedule {
        Schedule::from(0.1)
    }

    pub fn affine_p() -> f64 {
        0.8
    }

    pub fn perspective_strength() -> Schedule {
        Schedule::from(0.2)
    }

    pub fn perspective_p() -> f64 {
        0.4
    }

    pub fn jitter() -> Schedule {
        Schedule::from(0.01)
    }

    pub fn jitter_p() -> f64 {
        0.7
    }

    pub fn erase_area() -> Schedule {
        Schedule::from(0.33)
    }

    pub fn erase_p() -> f64 {
        0.7
    }

    pub fn noise_strength() -> Schedule {
        Schedule::from(0.1)
    }
}
