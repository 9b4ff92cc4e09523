//! Regions: the part of a picture that a prompt is about.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::check::{Checker, IMAGE_FORMAT, INSTEAD_OF_IMAGE};
use crate::diagnostic::number;

/// What may stand for a region.
const EXPECTED: &str = "a region is `left`, `right`, `top`, `bottom`, `center`, a rectangle [left, top, width, height] in shares of the picture, \
                        or the path of an image";

/// The shortest side of a rectangle, as a share of the picture's.
const SHORTEST: f64 = 0.001;

/// A part of a picture. In a recipe it is a word (`left`), a rectangle, or the path of an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Region {
    /// A half, or the middle.
    Named(NamedRegion),
    /// Left, top, width and height as shares of the picture's width and height.
    Rectangle([f64; 4]),
    /// An image that is resized to fill the picture: white is inside of the region, black outside.
    Image(PathBuf),
}

/// The regions that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedRegion {
    /// The left half.
    Left,
    /// The right half.
    Right,
    /// The upper half.
    Top,
    /// The lower half.
    Bottom,
    /// The middle, half as wide and half as high as the picture.
    Center,
}

impl NamedRegion {
    /// All of them, each with its name.
    pub const ALL: [(&str, Self); 5] = [
        ("left", Self::Left),
        ("right", Self::Right),
        ("top", Self::Top),
        ("bottom", Self::Bottom),
        ("center", Self::Center),
    ];

    /// Left, top, width and height as shares of the picture's.
    pub fn rectangle(self) -> [f64; 4] {
        match self {
            Self::Left => [0.0, 0.0, 0.5, 1.0],
            Self::Right => [0.5, 0.0, 0.5, 1.0],
            Self::Top => [0.0, 0.0, 1.0, 0.5],
            Self::Bottom => [0.0, 0.5, 1.0, 0.5],
            Self::Center => [0.25, 0.25, 0.5, 0.5],
        }
    }
}

impl Region {
    /// Left, top, width and height as shares of the picture's; none for an image.
    pub fn rectangle(&self) -> Option<[f64; 4]> {
        match self {
            Self::Named(name) => Some(name.rectangle()),
            Self::Rectangle(rectangle) => Some(*rectangle),
            Self::Image(_) => None,
        }
    }

    /// Reports what the schema cannot express.
    pub fn check(&self, path: &str, checker: &mut Checker) {
        let Self::Rectangle([left, top, width, height]) = *self else {
            return;
        };
        // a rectangle that was drawn may end a rounding error beyond the edge
        let fits = |start: f64, length: f64| {
            start >= 0.0 && length >= SHORTEST && start + length <= 1.0 + 1e-6
        };
        if !fits(left, width) || !fits(top, height) {
            checker.unexpected(
                path,
                format!(
                    "a rectangle [left, top, width, height] inside of the picture, in shares of it from 0 to 1, its sides at least {SHORTEST}"
                ),
                self,
            );
        }
    }
}

/// As it is written in a recipe.
impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(named) => {
                let name = NamedRegion::ALL.iter().find(|(_, one)| one == named);
                f.write_str(name.map_or("", |(name, _)| name))
            }
            Self::Rectangle(rectangle) => {
                let [left, top, width, height] = rectangle.map(number);
                write!(f, "[{left}, {top}, {width}, {height}]")
            }
            Self::Image(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Reads a name, a path, or a list of four numbers.
impl<'de> Deserialize<'de> for Region {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RegionVisitor;

        impl<'de> Visitor<'de> for RegionVisitor {
            type Value = Region;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED.trim_start_matches("a region is "))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Region, E> {
                let named = NamedRegion::ALL.iter().find(|(name, _)| *name == text);
                Ok(match named {
                    Some((_, named)) => Region::Named(*named),
                    None => Region::Image(text.into()),
                })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Region, A::Error> {
                let mut numbers = vec![];
                while let Some(number) = list.next_element()? {
                    numbers.push(number);
                }
                <[f64; 4]>::try_from(numbers)
                    .map(Region::Rectangle)
                    .map_err(|numbers| de::Error::invalid_length(numbers.len(), &self))
            }
        }

        deserializer.deserialize_any(RegionVisitor)
    }
}

impl JsonSchema for Region {
    fn schema_name() -> Cow<'static, str> {
        "Region".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names = NamedRegion::ALL.map(|(name, _)| json!(name));
        json_schema!({
            "anyOf": [
                { "type": "string", "enum": names },
                { "type": "array", "items": { "type": "number" }, "minItems": 4, "maxItems": 4 },
                { "type": "string", "format": IMAGE_FORMAT, INSTEAD_OF_IMAGE: EXPECTED },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_read_back_as_they_were_written() {
        for written in [
            json!("left"),
            json!([0.1, 0.2, 0.3, 0.4]),
            json!("a/lake.png"),
        ] {
            let region: Region = serde_json::from_value(written.clone()).expect("a region");
            assert_eq!(serde_json::to_value(&region).expect("a value"), written);
        }
    }

    #[test]
    fn numbers_are_short() {
        let region = Region::Rectangle([1e-30, 0.0, 0.25, 1e30]);
        assert_eq!(region.to_string(), "[1e-30, 0, 0.25, 1e30]");
    }

    #[test]
    fn a_rectangle_beyond_the_edge_is_refused() {
        let is_wrong = |rectangle| {
            let mut checker = Checker::default();
            Region::Rectangle(rectangle).check("region", &mut checker);
            !checker.is_empty()
        };
        assert!(!is_wrong([0.5, 0.0, 0.5, 1.0]));
        for wrong in [
            [0.5, 0.0, 0.6, 1.0],
            [-0.1, 0.0, 0.5, 1.0],
            [0.0, 0.0, 0.5, 0.0],
            [1e-30, 0.0, 1e-30, 1e-30],
            [f64::NAN, 0.0, 0.5, 1.0],
        ] {
            assert!(is_wrong(wrong), "{wrong:?}");
        }
    }
}
