//! Shorthand: the shorter ways in which parts of a configuration may be written.
//!
//! Hand-written visitors read it, because serde's tagged and untagged enums buffer a value before they look at it, and so lose its location in
//! the file.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Unexpected, Visitor};

/// Reads a list, or its only entry; an entry is a map or a text.
pub fn entries<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + for<'a> From<&'a str>,
{
    struct Entries<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de> + for<'a> From<&'a str>> Visitor<'de> for Entries<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of texts and maps")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            Ok(vec![T::from(text)])
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(|entry| vec![entry])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<T>, A::Error> {
            let entries = Vec::<Entry<T>>::deserialize(SeqAccessDeserializer::new(list))?;
            Ok(entries.into_iter().map(|entry| entry.0).collect())
        }
    }

    deserializer.deserialize_str(Entries(PhantomData))
}

/// [`entries`] of an optional value.
pub fn some_entries<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + for<'a> From<&'a str>,
{
    entries(deserializer).map(Some)
}

struct Entry<T>(T);

impl<'de, T: Deserialize<'de> + for<'a> From<&'a str>> Deserialize<'de> for Entry<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + for<'a> From<&'a str>> Visitor<'de> for EntryVisitor<T> {
            type Value = Entry<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a map")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Entry<T>, E> {
                Ok(Entry(T::from(text)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Entry)
            }
        }

        deserializer.deserialize_str(EntryVisitor(PhantomData))
    }
}

/// Implements serde's traits for a configuration that may be written as its `weight` alone, a number or an expression of `t`. It derives them with
/// `#[serde(remote = "Self")]`; the second argument says what is expected, for messages.
#[macro_export]
macro_rules! or_weight {
    ($config:ty, $expected:literal) => {
        impl $config {
            fn weighted(weight: $crate::Schedule) -> Self {
                let mut config = <$config>::default();
                config.weight = weight;
                config
            }
        }

        $crate::or_scalar!($config, $expected, deserialize_any, |weight| {
            let weight = ::serde::de::IntoDeserializer::into_deserializer(weight);
            ::serde::Deserialize::deserialize(weight).map(<$config>::weighted)
        }, visit_f64: f64, visit_i64: i64, visit_u64: u64, visit_str: &str);
    };
}

/// Implements serde's traits for a configuration that may be written as a text alone, which `From<&str>` turns into the whole. It derives them
/// with `#[serde(remote = "Self")]`; the second argument says what is expected, for messages.
#[macro_export]
macro_rules! or_text {
    ($config:ty, $expected:literal) => {
        $crate::or_scalar!($config, $expected, deserialize_str, |text| { Ok(text.into()) }, visit_str: &str);
    };
}

/// What [`or_weight`](crate::or_weight) and [`or_text`](crate::or_text) share: a visitor that takes a map, or one of the types that are listed.
#[doc(hidden)]
#[macro_export]
macro_rules! or_scalar {
    ($config:ty, $expected:literal, $hint:ident, |$value:ident| $body:block, $($visit:ident: $type:ty),*) => {
        impl ::serde::Serialize for $config {
            fn serialize<S: ::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::std::result::Result<S::Ok, S::Error> {
                <$config>::serialize(self, serializer)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $config {
            fn deserialize<D: ::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::std::result::Result<Self, D::Error> {
                struct ConfigVisitor;

                impl<'de> ::serde::de::Visitor<'de> for ConfigVisitor {
                    type Value = $config;

                    fn expecting(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                        f.write_str($expected)
                    }

                    $(fn $visit<E: ::serde::de::Error>(
                        self,
                        $value: $type,
                    ) -> ::std::result::Result<$config, E> {
                        $body
                    })*

                    fn visit_map<A: ::serde::de::MapAccess<'de>>(
                        self,
                        map: A,
                    ) -> ::std::result::Result<$config, A::Error> {
                        let map = ::serde::de::value::MapAccessDeserializer::new(map);
                        <$config>::deserialize(map)
                    }
                }

                deserializer.$hint(ConfigVisitor)
            }
        }
    };
}

/// Reads `[width, height]` or `WIDTHxHEIGHT`.
pub fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[usize; 2], D::Error> {
    struct Size;

    impl<'de> Visitor<'de> for Size {
        type Value = [usize; 2];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("width and height in pixels, such as [256, 256] or 256x256")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<[usize; 2], E> {
            text.split_once(['x', 'X'])
                .and_then(|(width, height)| Some([digits(width)?, digits(height)?]))
                .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<[usize; 2], A::Error> {
            let mut sides = vec![];
            while let Some(side) = list.next_element()? {
                sides.push(side);
            }
            <[usize; 2]>::try_from(sides)
                .map_err(|sides| de::Error::invalid_length(sides.len(), &self))
        }
    }

    deserializer.deserialize_any(Size)
}

/// A whole number without a sign; white space around it is ignored.
fn digits(text: &str) -> Option<usize> {
    let text = text.trim();
    if text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}
