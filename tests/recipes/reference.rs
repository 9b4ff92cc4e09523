//! `docs/recipe.md`, the reference of all keys, is generated from the schema of recipes.
//!
//! To write it anew: `UPDATE_DOCS=1 cargo test --test recipes reference`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use phantasia::recipe::Recipe;
use serde_json::Value;

const INTRODUCTION: &str = "\
# Keys of recipes

<!-- Generated from the schema. To write it anew: UPDATE_DOCS=1 cargo test --test recipes reference -->

A recipe is a YAML file. Only `prompts` is required; every other key has a default. `phantasia recipe new KIND` prints a commented recipe to
start from, also of the presets `stack` and `ascent`; `phantasia recipe check FILE` reports all errors in one, and `phantasia recipe schema`
prints the schema for editors.

- Where a number changes over a render, an expression of `t` may stand: `t` is the share of the render that is done, from 0 to 1, as in
  `lr: \"0.05 * (1 - 0.9 * t^4)\"`. Expressions have `+ - * / ^`, parentheses, `pi`, `tau`, `e` and the functions `abs`, `ceil`, `clamp`, `cos`,
  `exp`, `floor`, `ln`, `max`, `min`, `mix`, `mod`, `pow`, `round`, `sin`, `smoothstep`, `sqrt`, `step`, `tan` and `tanh`.
- `generator` is a kind's name, or a map with the key `kind` and that kind's settings; without it, the kind is `pyramid`.
- Relative paths start from the recipe's folder; `~/` is your home folder.
- `--set PATH=VALUE` sets one value on the command line: `--set generator.lr=0.1 --set prompts.0.weight=2`.
";

#[test]
fn the_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipe.md");
    let schema = Recipe::schema();
    let current = Reference::new(&schema).write();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &current).expect("docs/recipe.md");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == current,
        "docs/recipe.md is out of date: UPDATE_DOCS=1 cargo test --test recipes reference"
    );
}

struct Reference<'s> {
    schema: &'s Value,
    text: String,
    /// Sections to be written: their paths and schemas.
    sections: Vec<(String, &'s Value)>,
    seen: BTreeSet<String>,
}

impl<'s> Reference<'s> {
    fn new(schema: &'s Value) -> Self {
        Self {
            schema,
            text: INTRODUCTION.to_owned(),
            sections: vec![],
            seen: BTreeSet::new(),
        }
    }

    fn write(mut self) -> String {
        self.table(self.schema, "");
        while !self.sections.is_empty() {
            let (path, section) = self.sections.remove(0);
            write!(self.text, "\n## {path}\n").expect("text");
            self.section(section, &path);
        }
        self.text
    }

    /// A map, or the alternatives of one.
    fn section(&mut self, section: &'s Value, path: &str) {
        self.about(section);
        if section.get("properties").is_some() {
            self.table(section, path);
        }
        for variant in alternatives(section) {
            if let Some(kind) = variant["properties"]["kind"]["const"].as_str() {
                write!(self.text, "\n### {path}: {kind}\n").expect("text");
                self.section(variant, path);
            } else if let Some(name) = variant["required"][0].as_str()
                && variant["properties"]
                    .as_object()
                    .is_some_and(|keys| keys.len() == 1)
            {
                write!(self.text, "\n### {path}: {name}\n").expect("text");
                let settings = self.target(&variant["properties"][name]);
                self.about(settings);
                self.table(settings, &format!("{path}.{name}"));
            } else if let Some(items) = variant.get("items") {
                // the keys that a kind has in the list, and not on its own
                let alone = alternatives(section).next().map(|one| self.target(one));
                let kind = alone.and_then(|alone| alternatives(alone).next());
                let entry = alternatives(items).next().unwrap_or(items);
                let own: Vec<_> = keys(entry)
                    .filter(|(key, _)| {
                        kind.is_some_and(|kind| kind["properties"].get(key).is_none())
                    })
                    .collect();
                let heading = "In a list of generators, each may also have:";
                write!(self.text, "\n### Stages\n\n{heading}\n").expect("text");
                self.rows(own, &Value::Null, path);
            } else if variant.get("properties").is_some() {
                self.table(variant, path);
            } else if let Some(name) = reference(variant) {
                let target = self.target(variant);
                if self.seen.insert(name.to_owned()) {
                    self.section(target, path);
                }
            }
        }
    }

    fn about(&mut self, section: &Value) {
        let about = about(section);
        if !about.is_empty() {
            write!(self.text, "\n{about}\n").expect("text");
        }
    }

    /// A line for each key, and below it the choices that have a meaning of their own.
    fn table(&mut self, map: &'s Value, path: &str) {
        self.rows(keys(map).collect(), &map["required"], path);
    }

    fn rows(&mut self, entries: Vec<(&'s String, &'s Value)>, required: &Value, path: &str) {
        let (mut choices, mut defaults) = (vec![], vec![]);
        self.text
            .push_str("\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
        for (key, value) in entries {
            if key == "kind" {
                continue;
            }
            let below = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            self.enqueue(value, &below);
            let is_required = (required.as_array().into_iter().flatten())
                .any(|required| required == key.as_str());
            let default = match value.get("default") {
                _ if is_required => "required".to_owned(),
                None | Some(Value::Null) => String::new(),
                Some(Value::Object(_)) => "see below".to_owned(),
                Some(Value::String(text)) if text.is_empty() => String::new(),
                Some(Value::Array(items)) if items.iter().any(Value::is_object) => {
                    "see below".to_owned()
                }
                Some(Value::String(text)) => format!("`{text}`"),
                Some(other) => format!("`{other}`"),
            };
            let type_name = self.type_name(value);
            writeln!(
                self.text,
                "| `{key}` | {} | {default} | {} |",
                cell(&type_name),
                cell(&self.meaning(value))
            )
            .expect("text");
            if let Some(Value::Array(items)) = value.get("default")
                && items.len() > 1
                && items.iter().all(Value::is_object)
            {
                defaults.push((key, items));
            }
            for target in self.targets(value) {
                let words: Vec<_> = (alternatives(target))
                    .filter_map(|one| Some((one["const"].as_str()?, about(one))))
                    .collect();
                if words.len() > 1 {
                    choices.push((key, words));
                }
            }
        }
        for (key, words) in choices {
            write!(self.text, "\n`{key}`:\n\n").expect("text");
            for (word, about) in words {
                writeln!(self.text, "- `{word}`: {about}").expect("text");
            }
        }
        for (key, items) in defaults {
            write!(self.text, "\nThe default of `{key}`:\n\n").expect("text");
            for item in items {
                writeln!(self.text, "- `{}`", flow(item)).expect("text");
            }
        }
    }

    /// What is said of a key, or of what it holds.
    fn meaning(&self, value: &Value) -> String {
        let mut all = std::iter::once(value).chain(self.targets(value));
        all.find_map(|one| Some(about(one)).filter(|about| !about.is_empty()))
            .unwrap_or_default()
    }

    /// Remembers the maps in a value for sections of their own.
    fn enqueue(&mut self, value: &'s Value, path: &str) {
        let name = reference(value);
        let target = self.target(value);
        let is_section = target.get("properties").is_some()
            || alternatives(target)
                .any(|one| one["properties"].is_object() || one["items"]["oneOf"].is_array())
                && name.is_some();
        if let Some(name) = name.filter(|_| is_section) {
            if self.seen.insert(name.to_owned()) {
                self.sections.push((path.to_owned(), target));
            }
            return;
        }
        for one in alternatives(target) {
            self.enqueue(one, path);
        }
        if let Some(items) = target.get("items") {
            self.enqueue(items, path);
        }
    }

    /// The schemas that a value's schema refers to, and itself.
    fn targets(&self, value: &'s Value) -> Vec<&'s Value> {
        let target = self.target(value);
        let inner = alternatives(value).chain(value.get("items"));
        let mut all = vec![target];
        all.extend(inner.flat_map(|one| self.targets(one)));
        all
    }

    fn target(&self, value: &'s Value) -> &'s Value {
        let name = reference(value);
        name.map_or(value, |name| &self.schema["$defs"][name])
    }

    fn type_name(&self, value: &Value) -> String {
        if let Some(name) = reference(value) {
            return self.type_name_of(&self.schema["$defs"][name]);
        }
        self.type_name_of(value)
    }

    fn type_name_of(&self, value: &Value) -> String {
        let mut words: Vec<_> = (alternatives(value))
            .filter_map(|one| one["const"].as_str())
            .map(|word| format!("`{word}`"))
            .collect();
        if !words.is_empty() {
            if alternatives(value).any(|one| one["type"] == "boolean") {
                words.splice(0..0, ["`true`".to_owned(), "`false`".to_owned()]);
            }
            return words.join(", ");
        }
        if let Some([word]) = value["enum"].as_array().map(Vec::as_slice) {
            return format!("`{}`", word.as_str().unwrap_or_default());
        }
        if value.get("properties").is_some() {
            return "map".to_owned();
        }
        if let Some(name) = named_format(value) {
            return format!("{name}{}", range(value));
        }
        if alternatives(value).next().is_some() {
            let mut names: Vec<String> = vec![];
            for one in alternatives(value) {
                let name = if one.get("pattern").is_some() {
                    example(one).to_owned()
                } else {
                    self.type_name(one)
                };
                if one["type"] == "array" && name == format!("list of {}", names.join(" or ")) {
                    names.push("list of these".to_owned());
                } else if name != "null" && !name.is_empty() && !names.contains(&name) {
                    names.push(name);
                }
            }
            let separator = if names.iter().any(|name| name.contains(", ")) {
                "; or "
            } else {
                " or "
            };
            return names.join(separator);
        }
        if let Some(items) = value.get("items") {
            let count = value["maxItems"]
                .as_u64()
                .filter(|_| value.get("minItems") == value.get("maxItems"));
            let count = count.map_or(String::new(), |count| format!("{count} "));
            let name = self.type_name(items);
            return format!(
                "list of {count}{}",
                if name.contains(" or ") {
                    name
                } else {
                    plural(&name)
                }
            );
        }
        let types = match &value["type"] {
            Value::String(only) => vec![only.as_str()],
            Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
            _ => vec![],
        };
        let names = types.iter().filter_map(|name| match *name {
            "integer" => Some("whole number"),
            "number" => Some("number"),
            "string" => Some("text"),
            "boolean" => Some("`true` or `false`"),
            "object" => Some("map"),
            _ => None,
        });
        let names: Vec<_> = names.collect();
        let name = match names.as_slice() {
            ["text", "number", ..] => "text".to_owned(),
            names => names.join(" or "),
        };
        format!("{name}{}", range(value))
    }
}

fn keys(map: &Value) -> impl Iterator<Item = (&String, &Value)> {
    map["properties"].as_object().into_iter().flatten()
}

fn reference(value: &Value) -> Option<&str> {
    value["$ref"].as_str()?.strip_prefix("#/$defs/")
}

fn alternatives(value: &Value) -> impl Iterator<Item = &Value> {
    ["anyOf", "oneOf"]
        .into_iter()
        .filter_map(|key| value[key].as_array())
        .flatten()
}

fn named_format(value: &Value) -> Option<&'static str> {
    match value["format"].as_str()? {
        "schedule" => Some("number or expression of `t`"),
        "image" => Some("path of an image"),
        "model" => Some("model"),
        _ => None,
    }
}

/// How a text of a pattern looks.
fn example(value: &Value) -> &'static str {
    let pattern = value["pattern"].as_str().unwrap_or_default();
    if pattern.contains('%') {
        "percentage"
    } else if pattern.contains('x') {
        "`WIDTHxHEIGHT`"
    } else {
        "text"
    }
}

fn range(value: &Value) -> String {
    let bound = |key: &str| value.get(key).and_then(Value::as_f64);
    match (
        bound("minimum"),
        bound("exclusiveMinimum"),
        bound("maximum"),
    ) {
        (Some(least), _, Some(most)) => format!(", {least} to {most}"),
        (Some(least), _, None) => format!(", {least} or more"),
        (None, Some(above), Some(most)) => format!(", above {above}, at most {most}"),
        (None, Some(above), None) => format!(", above {above}"),
        (None, None, Some(most)) => format!(", at most {most}"),
        (None, None, None) => String::new(),
    }
}

/// The first paragraph of a description, in one line.
fn about(value: &Value) -> String {
    let about = value["description"].as_str().unwrap_or_default();
    let first = about.split("\n\n").next().unwrap_or_default();
    first.replace('\n', " ")
}

fn plural(name: &str) -> String {
    match name.split_once(',') {
        Some((name, range)) => format!("{name}s,{range}"),
        None => format!("{name}s"),
    }
}

/// A value as YAML on one line.
fn flow(value: &Value) -> String {
    let Value::Object(entries) = value else {
        return value.to_string();
    };
    let entries = entries.iter();
    let entries = entries.map(|(key, value)| format!("{key}: {}", flow(value)));
    format!("{{ {} }}", Vec::from_iter(entries).join(", "))
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
