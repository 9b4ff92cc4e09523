//! The tree that a recipe is read into: values that know their location.

use std::sync::Arc;

use serde_json::Value;

use phantasia_core::diagnostic::Location;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub location: Location,
    pub content: Content,
}

/// What a [`Node`] holds.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// A scalar: its text as it was written, and what YAML makes of it.
    Scalar {
        text: Arc<str>,
        scalar: Scalar,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// Removed because of an error: lists and maps are read as if it were not there.
    Removed,
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub location: Location,
    pub name: String,
}

/// What a scalar is by the core schema of YAML 1.2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text,
}

impl Scalar {
    /// A whole number, if `text` is one in digits.
    pub fn whole(text: &str) -> Option<Self> {
        (text.parse().map(Self::Unsigned))
            .or_else(|_| text.parse().map(Self::Signed))
            .ok()
    }
}

impl Node {
    fn scalar(text: &str, scalar: Scalar, location: Location) -> Self {
        let text = text.into();
        let content = Content::Scalar { text, scalar };
        Self { location, content }
    }

    pub fn text(text: &str, location: Location) -> Self {
        Self::scalar(text, Scalar::Text, location)
    }

    pub fn null(location: Location) -> Self {
        Self::scalar("null", Scalar::Null, location)
    }

    pub fn map(location: Location) -> Self {
        let content = Content::Map(vec![]);
        Self { location, content }
    }

    /// A tree of values that all have the same location.
    pub fn from_value(value: &Value, location: &Location) -> Self {
        let scalar = |scalar| Self::scalar(&value.to_string(), scalar, location.clone());
        let content = match value {
            Value::String(text) => return Self::text(text, location.clone()),
            Value::Null => return scalar(Scalar::Null),
            Value::Bool(value) => return scalar(Scalar::Bool(*value)),
            Value::Number(number) => {
                return scalar(match (number.as_u64(), number.as_i64()) {
                    (Some(number), _) => Scalar::Unsigned(number),
                    (None, Some(number)) => Scalar::Signed(number),
                    (None, None) => Scalar::Float(number.as_f64().unwrap_or(f64::NAN)),
                });
            }
            Value::Array(items) => Content::List(
                (items.iter())
                    .map(|item| Self::from_value(item, location))
                    .collect(),
            ),
            Value::Object(entries) => Content::Map(
                (entries.iter())
                    .map(|(name, item)| {
                        (Key::new(name, location), Self::from_value(item, location))
                    })
                    .collect(),
            ),
        };
        let location = location.clone();
        Self { location, content }
    }

    pub fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar { scalar, .. } if *scalar == Scalar::Null)
    }

    pub fn is_removed(&self) -> bool {
        matches!(self.content, Content::Removed)
    }

    /// The child of a map or list by key or index.
    pub fn child(&self, segment: &str) -> Option<&Node> {
        match &self.content {
            Content::Map(entries) => {
                let mut entries = entries.iter();
                let found = entries.find(|(key, _)| key.name == segment);
                found.map(|(_, node)| node)
            }
            Content::List(items) => items.get(segment.parse::<usize>().ok()?),
            Content::Scalar { .. } | Content::Removed => None,
        }
    }

    /// The same, to change it.
    pub fn child_mut(&mut self, segment: &str) -> Option<&mut Node> {
        match &mut self.content {
            Content::Map(entries) => {
                let mut entries = entries.iter_mut();
                let found = entries.find(|(key, _)| key.name == segment);
                found.map(|(_, node)| node)
            }
            Content::List(items) => items.get_mut(segment.parse::<usize>().ok()?),
            Content::Scalar { .. } | Content::Removed => None,
        }
    }

    /// Replaces what is at `path`; returns whether there was anything that had not been removed.
    pub fn replace(&mut self, path: &[String], content: Content) -> bool {
        let mut segments = path.iter();
        let node = segments.try_fold(self, |node, segment| node.child_mut(segment));
        let Some(node) = node.filter(|node| !node.is_removed()) else {
            return false;
        };
        node.content = content;
        true
    }

    /// Gives the whole tree this location.
    pub fn relocate(&mut self, location: &Location) {
        self.location = location.clone();
        match &mut self.content {
            Content::Scalar { .. } | Content::Removed => {}
            Content::List(items) => items.iter_mut().for_each(|item| item.relocate(location)),
            Content::Map(entries) => {
                for (key, node) in entries {
                    key.location = location.clone();
                    node.relocate(location);
                }
            }
        }
    }
}

impl Key {
    pub fn new(name: &str, location: &Location) -> Self {
        let (name, location) = (name.to_owned(), location.clone());
        Self { location, name }
    }
}
