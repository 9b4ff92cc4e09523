//! Along which axes a picture repeats without a seam.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};
use serde::{Serialize, Serializer};

/// The axes along which a picture repeats without a seam: side by side with itself, no edge shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seamless {
    /// Neither.
    #[default]
    No,
    /// Both.
    Both,
    /// From left to right.
    X,
    /// From top to bottom.
    Y,
}

impl Seamless {
    /// Whether it repeats at all.
    pub fn any(self) -> bool {
        self != Self::No
    }

    /// Whether it repeats along y and along x, in the order of an image's dimensions.
    pub fn axes(self) -> [bool; 2] {
        match self {
            Self::No => [false, false],
            Self::Both => [true, true],
            Self::X => [false, true],
            Self::Y => [true, false],
        }
    }
}

impl Serialize for Seamless {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::No => serializer.serialize_bool(false),
            Self::Both => serializer.serialize_bool(true),
            Self::X => serializer.serialize_str("x"),
            Self::Y => serializer.serialize_str("y"),
        }
    }
}

/// `true`, `false`, `x` or `y`.
impl<'de> Deserialize<'de> for Seamless {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SeamlessVisitor;

        impl Visitor<'_> for SeamlessVisitor {
            type Value = Seamless;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, `x` or `y`")
            }

            fn visit_bool<E: de::Error>(self, both: bool) -> Result<Seamless, E> {
                Ok(if both { Seamless::Both } else { Seamless::No })
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Seamless, E> {
                match word {
                    "x" => Ok(Seamless::X),
                    "y" => Ok(Seamless::Y),
                    _ => Err(E::invalid_value(Unexpected::Str(word), &self)),
                }
            }
        }

        deserializer.deserialize_any(SeamlessVisitor)
    }
}

impl JsonSchema for Seamless {
    fn schema_name() -> Cow<'static, str> {
        "Seamless".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "boolean" },
                { "const": "x", "description": "Along x: from left to right." },
                { "const": "y", "description": "Along y: from top to bottom." },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_and_written_as_a_word_or_a_boolean() -> serde_json::Result<()> {
        for (text, expected, axes) in [
            ("false", Seamless::No, [false, false]),
            ("true", Seamless::Both, [true, true]),
            ("\"x\"", Seamless::X, [false, true]),
            ("\"y\"", Seamless::Y, [true, false]),
        ] {
            let found: Seamless = serde_json::from_str(text)?;
            assert_eq!((found, found.axes()), (expected, axes));
            assert_eq!(serde_json::to_string(&found)?, text);
        }
        for wrong in ["\"z\"", "\"true\"", "1", "null", "[\"x\"]"] {
            assert!(serde_json::from_str::<Seamless>(wrong).is_err(), "{wrong}");
        }
        Ok(())
    }
}
