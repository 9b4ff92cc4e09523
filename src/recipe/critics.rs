//! The models that judge a picture: the entries of `clip`, and the term `aesthetic`.

use std::fmt;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::clip::ClipActivation;
use crate::weights::ClipChoice;

use super::{Augment, Border, CutoutOptions, Number, defaults};

/// One entry of `clip`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClipOptions {
    /// `embedded`, a folder, or a known model's name.
    #[serde(default = "defaults::embedded")]
    pub model: String,
    /// How much it counts beside the others.
    #[serde(default = "defaults::one")]
    pub weight: Number,
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

/// How many digits the numbers of a model have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 24 bits.
    #[default]
    F32,
    /// 11 bits, and a narrow range: half the memory.
    F16,
    /// 8 bits, and the range of f32: half the memory.
    Bf16,
}

impl Precision {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// As recipes spell it.
impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

/// The values of [`CutoutOptions`] that one model has of its own; what is not given is as the recipe's `cutouts` say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CutoutChanges {
    /// How many a step and image tower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<Number>,
    /// Skews the sizes: above 1 towards `min`, below 1 towards `max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power: Option<Number>,
    /// The smallest side as a share of the picture's shorter one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<Number>,
    /// The largest side likewise; above 1 it reaches over the edge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<Number>,
    /// How far over the edge a cutout may lie, as a share of its side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<Number>,
    /// How many of `count` show the whole picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overview: Option<Number>,
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
    pub weight: Number,
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
            model: crate::aesthetic::HEAD.to_owned(),
            clip: crate::aesthetic::CLIP.to_owned(),
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
pub(super) fn aesthetic<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Box<AestheticOptions>>, D::Error> {
    struct AestheticVisitor;

    fn weighted<'de, E: de::Error, V: IntoDeserializer<'de, E>>(
        value: V,
    ) -> Result<Option<Box<AestheticOptions>>, E> {
        Ok(Some(Box::new(AestheticOptions {
            weight: Number::deserialize(value.into_deserializer())?,
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
