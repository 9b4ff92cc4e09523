//! From a tree of nodes to the recipe's types, through serde, so that each key is declared once, in the type.
//!
//! The deserializer attaches to every error the location of the innermost node that it is about. It differs from other deserializers in three
//! ways: a map's `kind` comes first, wherever it stands; a bare word where a tagged map is expected is that tag with all its defaults; and a
//! section whose keys are all commented out is an empty map.

use std::fmt::Display;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};

use super::node::{Content, Key, Node, Scalar};
use phantasia_core::diagnostic::{Diagnostic, DiagnosticKind, Location, number};

/// The key that names a map's kind.
const KIND: &str = "kind";

/// Reads a tree.
pub(super) fn decode<T: DeserializeOwned>(root: &Node) -> Result<T, DecodeError> {
    T::deserialize(Decoder { node: root })
}

/// What is wrong, with its location once that is known.
#[derive(Debug)]
pub(super) struct DecodeError {
    kind: Box<DiagnosticKind>,
    location: Option<Location>,
    /// Keys and indices, the innermost first.
    path: Vec<String>,
}

impl DecodeError {
    /// The keys and indices from the root to what is wrong: a value, or a key that should not be there.
    pub fn path(&self) -> Vec<String> {
        self.path.iter().rev().cloned().collect()
    }

    /// The diagnostic about the value; where a key is wrong, about the map that it is in.
    pub fn into_diagnostic(self) -> Diagnostic {
        let mut path = self.path();
        if matches!(*self.kind, DiagnosticKind::UnknownKey { .. }) {
            path.pop();
        }
        Diagnostic {
            location: self.location.unwrap_or(Location::start()),
            path: path.join("."),
            kind: *self.kind,
        }
    }

    fn at(mut self, location: &Location) -> Self {
        self.location.get_or_insert_with(|| location.clone());
        self
    }

    fn under(mut self, segment: impl Into<String>) -> Self {
        self.path.push(segment.into());
        self
    }
}

impl From<DiagnosticKind> for DecodeError {
    fn from(kind: DiagnosticKind) -> Self {
        Self {
            kind: Box::new(kind),
            location: None,
            path: vec![],
        }
    }
}

impl Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: Display>(message: T) -> Self {
        DiagnosticKind::Invalid(message.to_string()).into()
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        DiagnosticKind::Unexpected {
            expected: plain_words(&expected.to_string()),
            found: described(found),
        }
        .into()
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        DiagnosticKind::Unexpected {
            expected: plain_words(&expected.to_string()),
            found: format!("{length} entries"),
        }
        .into()
    }

    fn unknown_variant(word: &str, valid: &'static [&'static str]) -> Self {
        DiagnosticKind::UnknownWord {
            what: "value",
            word: word.to_owned(),
            valid: valid.iter().map(ToString::to_string).collect(),
        }
        .into()
    }

    fn unknown_field(key: &str, valid: &'static [&'static str]) -> Self {
        DiagnosticKind::UnknownKey {
            key: key.to_owned(),
            valid: valid.iter().map(ToString::to_string).collect(),
        }
        .into()
    }

    fn missing_field(key: &'static str) -> Self {
        DiagnosticKind::MissingKey {
            key: key.to_owned(),
        }
        .into()
    }
}

/// What serde's derived visitors expect, in words for the author of a recipe.
fn plain_words(expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "path string" => "a text",
        "a sequence" => "a list",
        _ if expected.starts_with("struct ") => "a map of keys and values",
        _ if expected.starts_with("enum ") || expected.starts_with("variant ") => "a word",
        _ => expected,
    }
    .to_owned()
}

fn described(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("{value}"),
        Unexpected::Signed(value) => format!("{value}"),
        Unexpected::Float(value) => number(value),
        Unexpected::Str(text) => {
            let shown: String = text.chars().take(40).collect();
            let rest = if shown.len() < text.len() { "..." } else { "" };
            format!("the text `{}{rest}`", shown.escape_debug())
        }
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a map".to_owned(),
        other => other.to_string(),
    }
}

/// Reads whole numbers; `1e2` and `3.0` are refused, with a hint to write the number in digits.
macro_rules! whole_numbers {
    ($($method:ident)*) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
                match self.scalar() {
                    Some(Scalar::Float(value)) if is_whole(value) => {
                        Err(self.not_in_digits(value))
                    }
                    _ => self.deserialize_any(visitor),
                }
            }
        )*
    };
}

/// Whether it is a whole number that f64 holds exactly.
fn is_whole(value: f64) -> bool {
    const EXACT: f64 = (1u64 << f64::MANTISSA_DIGITS) as f64;
    value.fract() == 0.0 && value.abs() <= EXACT
}

#[derive(Clone, Copy)]
struct Decoder<'a> {
    node: &'a Node,
}

impl<'a> Decoder<'a> {
    fn scalar(self) -> Option<Scalar> {
        match self.node.content {
            Content::Scalar { scalar, .. } => Some(scalar),
            _ => None,
        }
    }

    fn not_in_digits(self, value: f64) -> DecodeError {
        let written = match &self.node.content {
            Content::Scalar { text, .. } => text.to_string(),
            _ => String::new(),
        };
        let digits = format!("{value:.0}");
        DecodeError::from(DiagnosticKind::NotInDigits { written, digits }).at(&self.node.location)
    }

    fn any<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.content {
            Content::List(items) => {
                let mut list = List {
                    items: items.iter().enumerate(),
                };
                visitor.visit_seq(&mut list)
            }
            Content::Map(entries) => visitor.visit_map(Map::new(entries)),
            Content::Removed => visitor.visit_unit(),
            Content::Scalar { text, scalar } => match *scalar {
                Scalar::Null => visitor.visit_unit(),
                Scalar::Bool(value) => visitor.visit_bool(value),
                Scalar::Unsigned(value) => visitor.visit_u64(value),
                Scalar::Signed(value) => visitor.visit_i64(value),
                Scalar::Float(value) if !value.is_finite() => Err(DiagnosticKind::Unexpected {
                    expected: "a finite number".to_owned(),
                    found: text.to_string(),
                }
                .into()),
                Scalar::Float(value) => visitor.visit_f64(value),
                Scalar::Text => visitor.visit_str(text),
            },
        }
    }
}

impl<'de> Deserializer<'de> for Decoder<'_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.any(visitor)
            .map_err(|error| error.at(&self.node.location))
    }

    /// Where a text is expected, a plain `1984` is one.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.content {
            Content::Scalar { text, .. } if !self.node.is_null() => visitor
                .visit_str(text)
                .map_err(|error: DecodeError| error.at(&self.node.location)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.node.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if self.node.is_null() {
            return visitor
                .visit_map(Map::new(&[]))
                .map_err(|error| error.at(&self.node.location));
        }
        if let Content::List(_) = self.node.content {
            // derived visitors would take the items for the fields, in their order
            let error: DecodeError = de::Error::invalid_type(Unexpected::Seq, &"struct ");
            return Err(error.at(&self.node.location));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let tagged = match &self.node.content {
            Content::Scalar { text, .. } if !self.node.is_null() => Tagged {
                word: text,
                location: &self.node.location,
                content: None,
            },
            Content::Map(entries) if entries.len() == 1 => Tagged {
                word: &entries[0].0.name,
                location: &entries[0].0.location,
                content: Some(&entries[0].1),
            },
            content => {
                let found = match content {
                    Content::Scalar { .. } | Content::Removed => "nothing".to_owned(),
                    Content::List(_) => "a list".to_owned(),
                    Content::Map(entries) => format!("a map of {} keys", entries.len()),
                };
                let expected = format!("one of {}", variants.join(", "));
                let error = DecodeError::from(DiagnosticKind::Unexpected { expected, found });
                return Err(error.at(&self.node.location));
            }
        };
        visitor
            .visit_enum(tagged)
            .map_err(|error| error.at(&self.node.location))
    }

    whole_numbers! {
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
    }

    serde::forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct List<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> SeqAccess<'de> for &mut List<'_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let next = self.items.find(|(_, node)| !node.is_removed());
        let Some((index, node)) = next else {
            return Ok(None);
        };
        seed.deserialize(Decoder { node })
            .map(Some)
            .map_err(|error| error.under(index.to_string()))
    }
}

/// The entries of a map, `kind` first.
struct Map<'a> {
    entries: Vec<&'a (Key, Node)>,
    value: Option<&'a (Key, Node)>,
}

impl<'a> Map<'a> {
    fn new(entries: &'a [(Key, Node)]) -> Self {
        let mut entries: Vec<_> = entries
            .iter()
            .rev()
            .filter(|(_, node)| !node.is_removed())
            .collect();
        if let Some(kind) = entries.iter().position(|(key, _)| key.name == KIND) {
            let kind = entries.remove(kind);
            entries.push(kind);
        }
        Self {
            entries,
            value: None,
        }
    }
}

impl<'de> MapAccess<'de> for Map<'_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        let Some(entry) = self.entries.pop() else {
            return Ok(None);
        };
        self.value = Some(entry);
        let key: StrDeserializer<'_, DecodeError> = entry.0.name.as_str().into_deserializer();
        seed.deserialize(key)
            .map(Some)
            .map_err(|error| error.at(&entry.0.location).under(&entry.0.name))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        let Some((key, node)) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(Decoder { node })
            .map_err(|error| error.under(&key.name))
    }
}

/// A variant by its name, with its content.
struct Tagged<'a> {
    word: &'a str,
    location: &'a Location,
    content: Option<&'a Node>,
}

impl<'de> EnumAccess<'de> for Tagged<'_> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), DecodeError> {
        let word: StrDeserializer<'_, DecodeError> = self.word.into_deserializer();
        let variant = seed
            .deserialize(word)
            .map_err(|error| error.at(self.location))?;
        Ok((variant, self))
    }
}

impl Tagged<'_> {
    /// Passes the variant's content to `read`; an empty map where there is none.
    fn read<T>(
        self,
        read: impl FnOnce(Decoder<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        match self.content {
            Some(node) => read(Decoder { node }).map_err(|error| error.under(self.word)),
            None => read(Decoder {
                node: &Node::map(self.location.clone()),
            }),
        }
    }
}

impl<'de> VariantAccess<'de> for Tagged<'_> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        match self.content {
            None => Ok(()),
            Some(node) => {
                let kind = DiagnosticKind::Unexpected {
                    expected: format!("the bare word `{}`", self.word),
                    found: "a map".to_owned(),
                };
                Err(DecodeError::from(kind).at(&node.location))
            }
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, DecodeError> {
        self.read(|decoder| seed.deserialize(decoder))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.read(|decoder| decoder.deserialize_seq(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.read(|decoder| decoder.deserialize_struct("", fields, visitor))
    }
}
