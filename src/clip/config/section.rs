//! Taking the keys out of a configuration one by one, so that none is passed over unnoticed.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::ConfigError;

/// One object of a JSON file. What nobody has taken when it is finished is a key that is not known.
pub(super) struct Section {
    /// The object's place in the file, such as `model_cfg.vision_cfg`; empty for the file's own.
    path: String,
    entries: Map<String, Value>,
}

impl Section {
    /// The object that a file holds.
    pub(super) fn root(json: &str) -> Result<Self, ConfigError> {
        let entries =
            serde_json::from_str(json).map_err(|error| format!("cannot be read: {error}"))?;
        Ok(Self {
            path: String::new(),
            entries,
        })
    }

    /// A key as messages name it, with its place in the file.
    pub(super) fn name(&self, key: &str) -> String {
        if self.path.is_empty() {
            format!("`{key}`")
        } else {
            format!("`{}.{key}`", self.path)
        }
    }

    /// Takes a key's value; null is none.
    pub(super) fn take<T: DeserializeOwned>(
        &mut self,
        key: &str,
    ) -> Result<Option<T>, ConfigError> {
        let value = self.entries.remove(key).unwrap_or(Value::Null);
        serde_json::from_value(value)
            .map_err(|error| format!("has an unusable {}: {error}", self.name(key)))
    }

    /// Takes a key's value, or the default where it is not given.
    pub(super) fn take_or<T: DeserializeOwned>(
        &mut self,
        key: &str,
        default: T,
    ) -> Result<T, ConfigError> {
        Ok(self.take(key)?.unwrap_or(default))
    }

    /// Takes an object.
    pub(super) fn section(&mut self, key: &str) -> Result<Option<Self>, ConfigError> {
        let path = self.name(key).replace('`', "");
        let entries = self.take(key)?;
        Ok(entries.map(|entries| Self { path, entries }))
    }

    /// Whether the key is there, and not null.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| !value.is_null())
    }

    /// Takes keys that change nothing here.
    pub(super) fn ignore(&mut self, keys: &[&str]) {
        for key in keys {
            self.entries.remove(*key);
        }
    }

    /// Takes a key of which one value alone is built: null and that value pass.
    pub(super) fn only(&mut self, key: &str, built: Value) -> Result<(), ConfigError> {
        match self.entries.remove(key) {
            Some(value) if !value.is_null() && value != built => Err(format!(
                "has {} = {value}, which is not built; it can be read without that key, or with {built}",
                self.name(key)
            )),
            _ => Ok(()),
        }
    }

    /// Refuses keys that nobody has taken.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        let unknown: Vec<String> = self.entries.keys().map(|key| self.name(key)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(format!(
            "has {}, which is not known here: what it changes would be lost",
            unknown.join(" and ")
        ))
    }

    /// The keys that nobody has taken, with their values.
    pub(super) fn rest(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }
}

/// A number, or one for each of two sides that have to be equal.
pub(super) fn square(
    section: &mut Section,
    key: &str,
    default: usize,
) -> Result<usize, ConfigError> {
    let name = section.name(key);
    match section.take::<Value>(key)? {
        None => Ok(default),
        Some(value) => {
            let sides = match &value {
                Value::Array(sides) => sides.iter().map(Value::as_u64).collect(),
                side => vec![side.as_u64()],
            };
            match sides.as_slice() {
                [Some(side)] => Ok(*side as usize),
                [Some(height), Some(width)] if height == width => Ok(*height as usize),
                [Some(_), Some(_)] => Err(format!(
                    "has {name} = {value}: only squares can be shown to a CLIP here"
                )),
                _ => Err(format!(
                    "has an unusable {name}: expected a whole number or a pair of them, found {value}"
                )),
            }
        }
    }
}

/// Three numbers, or one for all three channels.
pub(super) fn channels(
    section: &mut Section,
    key: &str,
    default: [f64; 3],
) -> Result<[f64; 3], ConfigError> {
    if section.entries.get(key).is_some_and(Value::is_number) {
        return Ok([section.take_or(key, 0.0)?; 3]);
    }
    section.take_or(key, default)
}
