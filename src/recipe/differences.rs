//! The differences between two recipes.

use serde_json::Value;

use super::Recipe;

/// The number of characters after which values are cut.
const LONGEST: usize = 60;

/// A value that differs between two recipes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its path, as in `--set`: `generator.lr`.
    pub path: String,
    /// The first recipe's value, for messages.
    pub before: String,
    /// The second recipe's value.
    pub now: String,
}

impl Recipe {
    /// The differences of `other`, in the order of the keys. If the kind of a generator or the length of a list differs, only that is
    /// reported.
    ///
    /// # Errors
    /// When they differ and one of them has a path that is not UTF-8, which JSON cannot hold.
    pub fn differences(&self, other: &Self) -> serde_json::Result<Vec<Difference>> {
        let mut found = vec![];
        if self != other {
            let (before, now) = (serde_json::to_value(self)?, serde_json::to_value(other)?);
            compare("", &before, &now, &mut found);
        }
        Ok(found)
    }
}

fn compare(path: &str, before: &Value, now: &Value, found: &mut Vec<Difference>) {
    let inner = |key: &str| match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    };
    match (before, now) {
        (Value::Object(before), Value::Object(now)) => {
            let kind = |map: &serde_json::Map<String, Value>| map.get("kind").cloned();
            let same_kind = kind(before) == kind(now);
            let added = now.keys().filter(|key| !before.contains_key(*key));
            for key in before.keys().chain(added) {
                if same_kind || key == "kind" {
                    let [before, now] =
                        [before, now].map(|map| map.get(key).unwrap_or(&Value::Null));
                    compare(&inner(key), before, now, found);
                }
            }
        }
        (Value::Array(before), Value::Array(now)) if before.len() == now.len() => {
            for (index, (before, now)) in before.iter().zip(now).enumerate() {
                compare(&inner(&index.to_string()), before, now, found);
            }
        }
        _ if before == now => {}
        _ => found.push(Difference {
            path: path.to_owned(),
            before: shown(before),
            now: shown(now),
        }),
    }
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "not given".to_owned(),
        value => value.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn recipe(text: &str) -> Recipe {
        Recipe::parse(text, "a test", Path::new("")).expect("a recipe")
    }

    fn differences(a: &str, b: &str) -> Vec<(String, String, String)> {
        let found = recipe(a).differences(&recipe(b)).expect("paths in UTF-8");
        (found.into_iter())
            .map(|found| (found.path, found.before, found.now))
            .collect()
    }

    #[track_caller]
    fn assert_one(a: &str, b: &str, path: &str, before: &str, now: &str) {
        let expected = (path.to_owned(), before.to_owned(), now.to_owned());
        assert_eq!(differences(a, b), [expected]);
    }

    #[test]
    fn each_difference_is_named_by_its_path() {
        let fox = "prompts: a fox\n";
        assert_eq!(differences(fox, fox), []);
        let lr = |lr: &str| format!("{fox}generator: {{ kind: pyramid, lr: {lr} }}\n");
        assert_eq!(differences(&lr("1"), &lr("1.0")), []);
        assert_one(&lr("1"), &lr("0.5"), "generator.lr", "1.0", "0.5");
        let other = |rest: &str| format!("{fox}{rest}");
        assert_one(fox, &other("seed: 9\n"), "seed", "0", "9");
        let layers = other("generator: { kind: pyramid, layers: 3 }\n");
        assert_one(fox, &layers, "generator.layers", "5", "3");
        let fft = other("generator: fft\n");
        assert_one(fox, &fft, "generator.kind", "\"pyramid\"", "\"fft\"");
        assert_one(
            fox,
            "prompts: a cat\n",
            "prompts.0.text",
            "\"a fox\"",
            "\"a cat\"",
        );
        assert_one(
            fox,
            &other("terms: { mean: 0.5 }\n"),
            "terms.mean",
            "not given",
            "0.5",
        );
    }
}
