//! The sides of a pyramid's layers.

use std::fmt;

use schemars::JsonSchema;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, Deserializer, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

/// The sides of a pyramid's layers.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Sides {
    /// These sides.
    List(#[schemars(inner(range(min = 1, max = 16384)))] Vec<usize>),
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
