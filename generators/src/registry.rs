//! The registry of kinds: the enum of their configurations, by the lines in `lib.rs`, and how it is read.

use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, MapDeserializer, StrDeserializer};
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::{GeneratorConfig, Kind, pyramid};

/// Defines the enum of all kinds. A kind is named as its module, which has a type `Config`.
macro_rules! registry {
    ($(#[doc = $about:literal] $Kind:ident($module:ident)),* $(,)?) => {
        /// The configuration of a generator: its kind, and the settings of that kind.
        #[derive(Clone, Debug, PartialEq, serde::Serialize, schemars::JsonSchema)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        #[schemars(transform = phantasia_core::schema::or_bare_kinds)]
        pub enum GeneratorConfig {
            $(#[doc = $about] $Kind($module::Config),)*
        }

        #[derive(Clone, Copy, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Kind {
            $($Kind,)*
        }

        impl Kind {
            fn read<'de, D: serde::Deserializer<'de>>(
                self,
                rest: D,
            ) -> std::result::Result<GeneratorConfig, D::Error> {
                match self {
                    $(Self::$Kind => {
                        serde::Deserialize::deserialize(rest).map(GeneratorConfig::$Kind)
                    })*
                }
            }
        }

        impl GeneratorConfig {
            /// The name of each kind, and a sentence about it.
            pub const KINDS: &[(&str, &str)] = &[$((stringify!($module), $about.trim_ascii())),*];

            /// The settings of the kind, with what is built from them.
            pub fn settings(&self) -> &dyn Build {
                match self {
                    $(Self::$Kind(config) => config,)*
                }
            }
        }

        $(
            impl From<$module::Config> for GeneratorConfig {
                fn from(config: $module::Config) -> Self {
                    Self::$Kind(config)
                }
            }
        )*
    };
}
pub(crate) use registry;

/// Names under which people look for settings of a kind that are well known: the name, the kind, and a phrase about it. A recipe for each comes
/// with the program.
pub const PRESETS: &[(&str, &str, &str)] = &[
    (
        "stack",
        "pyramid",
        "A pyramid as imstack's image stack: Adam on a few layers of noise",
    ),
    (
        "ascent",
        "pyramid",
        "A pyramid as in Direct Ascent Synthesis: layers of nearly every size, from zero, by gradient descent",
    ),
];

/// A kind by its name. That of a preset gets an error that says how to use it.
struct NamedKind(Kind);

impl<'de> Deserialize<'de> for NamedKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KindVisitor;

        impl Visitor<'_> for KindVisitor {
            type Value = NamedKind;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let kinds = GeneratorConfig::KINDS.iter().map(|(name, _)| *name);
                write!(f, "one of {}", Vec::from_iter(kinds).join(", "))
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<NamedKind, E> {
                if let Some((name, kind, _)) = PRESETS.iter().find(|(name, ..)| *name == word) {
                    return Err(E::custom(format_args!(
                        "`{name}` is not a kind but settings of the kind `{kind}`: `phantasia recipe new {name}` prints a recipe with them"
                    )));
                }
                Kind::deserialize(StrDeserializer::new(word)).map(NamedKind)
            }
        }

        deserializer.deserialize_str(KindVisitor)
    }
}

impl GeneratorConfig {
    /// A kind with its default settings.
    pub fn of_kind(name: &str) -> Option<Self> {
        let name = StrDeserializer::<de::value::Error>::new(name);
        Self::deserialize(name).ok()
    }
}

impl Default for GeneratorConfig {
    fn default() -> Self {
        pyramid::Config::default().into()
    }
}

/// Reads a map whose first key is `kind`, or a kind's bare name.
impl<'de> Deserialize<'de> for GeneratorConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct GeneratorVisitor;

        impl<'de> Visitor<'de> for GeneratorVisitor {
            type Value = GeneratorConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map with the key `kind`, or a kind's name")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<GeneratorConfig, E> {
                let NamedKind(kind) = NamedKind::deserialize(StrDeserializer::new(word))?;
                let none = std::iter::empty::<(&str, &str)>();
                kind.read(MapDeserializer::new(none))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<GeneratorConfig, A::Error> {
                if map.next_key::<String>()?.as_deref() != Some("kind") {
                    return Err(de::Error::missing_field("kind"));
                }
                let NamedKind(kind) = map.next_value()?;
                kind.read(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_any(GeneratorVisitor)
    }
}
