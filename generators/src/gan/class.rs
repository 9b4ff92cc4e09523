//! The classes of a GAN, by number or by name.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{self, Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

/// How many names an error lists.
const LISTED: usize = 8;
/// Shorter words than this are no reason to list a name.
const WORD: usize = 3;

/// A class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "GanClass")]
pub enum Class {
    /// Its number, from 0 on.
    Number(usize),
    /// Its name in ImageNet.
    Name(String),
}

impl Class {
    /// The number among so many classes, whose names are known or not.
    ///
    /// # Errors
    /// In words, if there is none of that number or name.
    pub(super) fn number(&self, count: usize, names: Option<&[&str]>) -> Result<usize, String> {
        match (self, names) {
            (&Self::Number(number), _) if number < count => Ok(number),
            (Self::Number(number), _) => Err(format!(
                "there is no class {number}: the model has {count}, from 0 to {}",
                count.saturating_sub(1)
            )),
            (Self::Name(name), None) => Err(format!(
                "its classes have no names, such as `{name}`: give the number of one of its {count}, from 0 on"
            )),
            (Self::Name(name), Some(names)) => {
                let wanted = plain(name);
                let found = names.iter().position(|name| plain(name) == wanted);
                found.ok_or_else(|| unknown(name, names))
            }
        }
    }
}

/// A name in small letters, without what is explained in brackets.
fn plain(name: &str) -> String {
    let name = name.split(" (").next().unwrap_or_default();
    name.trim().to_lowercase()
}

fn unknown(name: &str, names: &[&str]) -> String {
    let wanted = plain(name);
    let shares = |other: &&&str| {
        let other = plain(other);
        (wanted.split_whitespace())
            .any(|word| word.len() >= WORD && other.split_whitespace().any(|part| part == word))
    };
    let near: Vec<String> = (names.iter().filter(shares).take(LISTED))
        .map(|name| format!("`{name}`"))
        .collect();
    if near.is_empty() {
        format!("ImageNet has no class `{name}`")
    } else {
        format!("ImageNet has no class `{name}`, but {}", near.join(", "))
    }
}

/// A number or a name.
impl<'de> Deserialize<'de> for Class {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ClassVisitor;

        impl Visitor<'_> for ClassVisitor {
            type Value = Class;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the number of a class, a whole number from 0 on (ImageNet has 0 to 999), or its name")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Class, E> {
                let large = |_| E::invalid_value(Unexpected::Unsigned(number), &self);
                number.try_into().map(Class::Number).map_err(large)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Class, E> {
                let negative = |_| E::invalid_value(Unexpected::Signed(number), &self);
                number.try_into().map(Class::Number).map_err(negative)
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Class, E> {
                Ok(Class::Name(name.to_owned()))
            }
        }

        deserializer.deserialize_any(ClassVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_found_by_number_and_name() {
        let names = ["red fox", "kite (bird of prey)", "Arctic fox"];
        let number = |class: &str| {
            let class: Class = serde_json::from_str(class).expect("a class");
            class.number(3, Some(&names))
        };
        assert_eq!(number("2"), Ok(2));
        assert_eq!(number("\"arctic Fox\""), Ok(2));
        assert_eq!(number("\"Kite\""), Ok(1));
        let error = number("\"fox\"").expect_err("no class");
        assert!(error.contains("`red fox`, `Arctic fox`"), "{error}");
        assert!(
            number("3")
                .expect_err("no class")
                .contains("no class 3: the model has 3, from 0 to 2")
        );
        let error = Class::Name("fox".to_owned()).number(3, None);
        assert!(error.expect_err("no names").contains("give the number"));
        for wrong in ["-1", "1.5", "null", "[1]"] {
            assert!(serde_json::from_str::<Class>(wrong).is_err(), "{wrong}");
        }
    }
}
