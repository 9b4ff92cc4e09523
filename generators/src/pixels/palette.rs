//! The colours of pixels.

use std::fmt;

use schemars::JsonSchema;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, Deserializer, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// The colours that a picture may have.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Palette {
    /// So many colours, learned.
    Learned(#[schemars(range(min = 1, max = 256))] usize),
    /// These colours.
    Fixed(Vec<Color>),
}

/// A colour, written `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct Color(pub [u8; 3]);

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl Serialize for Color {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Color {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ColorVisitor;

        impl Visitor<'_> for ColorVisitor {
            type Value = Color;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a colour such as \"#ff8800\", in quotes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Color, E> {
                let refuse = || E::invalid_value(Unexpected::Str(text), &self);
                let digits = text.strip_prefix('#').unwrap_or(text);
                if digits.len() != 6 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(refuse());
                }
                let value = u32::from_str_radix(digits, 16).map_err(|_| refuse())?;
                let [_, red, green, blue] = value.to_be_bytes();
                Ok(Color([red, green, blue]))
            }
        }

        deserializer.deserialize_str(ColorVisitor)
    }
}

impl<'de> Deserialize<'de> for Palette {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PaletteVisitor;

        impl<'de> Visitor<'de> for PaletteVisitor {
            type Value = Palette;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of colours, or a list of colours")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Palette, E> {
                Ok(Palette::Learned(
                    usize::try_from(count).unwrap_or(usize::MAX),
                ))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Palette, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Palette::Fixed)
            }
        }

        deserializer.deserialize_any(PaletteVisitor)
    }
}
