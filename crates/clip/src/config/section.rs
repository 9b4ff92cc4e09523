//! Reads a configuration key by key, so that unknown keys are noticed.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::ConfigError;

/// One object of a JSON file. Keys that are left at the end are unknown.
pub(super) struct Section {
    /// The object's path in the file, such as `model_cfg.vision_cfg`; empty for the root.
    path: String,
    entries: Map<String, Value>,
}

impl Section {
    /// The root object of a file.
    pub(super) fn root(json: &str) -> Result<Self, ConfigError> {
        let entries =
            serde_json::from_str(json).map_err(|error| format!("cannot be read: {error}"))?;
        Ok(Self {
            path: String::new(),
            entries,
        })
    }

    /// A key as messages name it, with its path in the file.
    pub(super) fn name(&self, key: &str) -> String {
        if self.path.is_empty() {
            format!("`{key}`")
        } else {
            format!("`{}.{key}`", self.path)
        }
    }

    /// Takes a key's value; `None` if it is missing or null.
    pub(super) fn take<T: DeserializeOwned>(
        &mut self,
        key: &str,
    ) -> Result<Option<T>, ConfigError> {
        let value = self.entries.remove(key).unwrap_or(Value::Null);
        serde_json::from_value(value)
            .map_err(|error| format!("has an unusable {}: {error}", self.name(key)))
    }

    /// Takes a key's value, or the default if it is missing or null.
    pub(super) fn take_or<T: DeserializeOwned>(
        &mut self,
        key: &str,
        default: T,
    ) -> Result<T, ConfigError> {
        Ok(self.take(key)?.unwrap_or(default))
    }

    /// Takes a name with few supported values, or the default if it is missing or null.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &str,
        default: T,
        choices: &[(&str, T)],
    ) -> Result<T, ConfigError> {
        let Some(found) = self.take::<String>(key)? else {
            return Ok(default);
        };
        let known = choices.iter().find(|(name, _)| *name == found);
        known.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let names = names.join(", ");
            format!("has {} = `{found}`; supported: {names}", self.name(key))
        })
    }

    /// Takes a nested object.
    pub(super) fn section(&mut self, key: &str) -> Result<Option<Self>, ConfigError> {
        let path = self.name(key).replace('`', "");
        let entries = self.take(key)?;
        Ok(entries.map(|entries| Self { path, entries }))
    }

    /// Whether the key is present and not null.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|value| !value.is_null())
    }

    /// Whether the key is present and null.
    pub(super) fn is_null(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(Value::is_null)
    }

    /// Takes keys that do not change the result here.
    pub(super) fn ignore(&mut self, keys: &[&str]) {
        for key in keys {
            self.entries.remove(*key);
        }
    }

    /// Takes a key with only one supported value, which is also its default.
    pub(super) fn only(&mut self, key: &str, built: Value) -> Result<(), ConfigError> {
        match self.entries.remove(key) {
            Some(value) if !value.is_null() && value != built => Err(format!(
                "has {} = {value}, which is not supported; only {built}, the default, is",
                self.name(key)
            )),
            _ => Ok(()),
        }
    }

    /// Refuses keys that have not been taken.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        let unknown: Vec<String> = self.entries.keys().map(|key| self.name(key)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(format!(
            "has {}, which is unknown and would be ignored",
            unknown.join(" and ")
        ))
    }

    /// The keys that have not been taken, with their values.
    pub(super) fn entries(&self) -> &Map<String, Value> {
        &self.entries
    }
}

/// A side in pixels: a number, or a pair of equal numbers.
pub(super) fn square(
    section: &mut Section,
    key: &str,
    default: usize,
) -> Result<usize, ConfigError> {
    let name = section.name(key);
    let Some(value) = section.take::<Value>(key)? else {
        return Ok(default);
    };
    let sides = match &value {
        Value::Array(sides) => sides.iter().map(Value::as_u64).collect(),
        side => vec![side.as_u64()],
    };
    match sides.as_slice() {
        [Some(side)] => Ok(*side as usize),
        [Some(height), Some(width)] if height == width => Ok(*height as usize),
        [Some(_), Some(_)] => Err(format!("has {name} = {value}; only squares are supported")),
        _ => Err(format!(
            "has an unusable {name}: expected a whole number or a pair of them, found {value}"
        )),
    }
}

/// Three numbers, or one for all three channels.
pub(super) fn channels<T: DeserializeOwned + Copy>(
    section: &mut Section,
    key: &str,
    default: [T; 3],
) -> Result<[T; 3], ConfigError> {
    if section.entries.get(key).is_some_and(Value::is_number) {
        let value = section.take(key)?;
        return Ok(value.map_or(default, |value| [value; 3]));
    }
    section.take_or(key, default)
}
