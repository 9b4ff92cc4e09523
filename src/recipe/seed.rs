//! The key `seed`: a number, or `random`, for which one is drawn when the recipe is read.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Unexpected, Visitor};

/// The word for a seed that is drawn.
pub(super) const RANDOM: &str = "random";

/// Draws a seed of 32 bits, which are easily typed and exact in every program that reads JSON.
fn draw() -> u64 {
    // the hasher's keys are random numbers of the system
    RandomState::new().hash_one(RANDOM) >> 32
}

/// Reads a seed.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct SeedVisitor;

    impl Visitor<'_> for SeedVisitor {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number, 0 or more, or `random`")
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
            let negative = |_| E::invalid_value(Unexpected::Signed(number), &self);
            number.try_into().map_err(negative)
        }

        fn visit_str<E: de::Error>(self, word: &str) -> Result<u64, E> {
            if word == RANDOM {
                Ok(draw())
            } else {
                Err(E::invalid_value(Unexpected::Str(word), &self))
            }
        }
    }

    deserializer.deserialize_u64(SeedVisitor)
}

/// The schema of a seed.
pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "integer", "minimum": 0, "format": "uint64" },
            { "type": "string", "enum": [RANDOM] },
        ],
    })
}
