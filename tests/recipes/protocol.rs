//! The types in `docs/protocol.md` are generated from the schema of the protocol.
//!
//! To write them anew: `UPDATE_DOCS=1 cargo test --test recipes protocol`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

const MARK: &str = "UPDATE_DOCS=1 cargo test --test recipes protocol -->\n";
/// The types that are described, in this order; what they hold of recipes is described in `docs/recipe.md`.
const TYPES: [&str; 14] = [
    "Request",
    "Event",
    "State",
    "PromptState",
    "Metrics",
    "StepMetrics",
    "Message",
    "PictureHead",
    "Order",
    "Job",
    "JobState",
    "View",
    "Severity",
    "Restart",
];

#[test]
fn the_protocol_is_described() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md");
    let written = fs::read_to_string(&path).expect("docs/protocol.md");
    let (head, _) = written.split_once(MARK).expect("the mark");
    let mut current = format!("{head}{MARK}");
    let schema = phantasia::protocol::schema();
    for name in TYPES {
        describe(name, &schema["$defs"][name], &mut current);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &current).expect("docs/protocol.md");
        return;
    }
    assert!(
        written == current,
        "docs/protocol.md is out of date: UPDATE_DOCS=1 cargo test --test recipes protocol"
    );
}

fn describe(name: &str, schema: &Value, text: &mut String) {
    assert!(schema.is_object(), "no {name}");
    let _ = writeln!(text, "\n### {name}\n\n{}", prose(schema));
    if let Some(properties) = schema["properties"].as_object() {
        table(
            "key",
            properties
                .iter()
                .map(|(key, value)| (key.clone(), kind(value), prose(value))),
            text,
        );
    } else if let Some(variants) = schema["oneOf"].as_array() {
        let rows = variants.iter().map(|variant| {
            let tag = &variant["properties"]["event"]["const"];
            let value = if tag.is_null() {
                &variant["const"]
            } else {
                tag
            };
            let held = reference(variant).map_or_else(String::new, link);
            (
                value.as_str().unwrap_or_default().to_owned(),
                held,
                prose(variant),
            )
        });
        let heading = if name == "Event" { "event" } else { "value" };
        table(heading, rows, text);
    }
}

fn table(heading: &str, rows: impl Iterator<Item = (String, String, String)>, text: &mut String) {
    let rows: Vec<_> = rows.collect();
    let has_types = rows.iter().any(|(_, kind, _)| !kind.is_empty());
    let (title, rule) = if has_types {
        (" type |", " --- |")
    } else {
        ("", "")
    };
    let _ = writeln!(
        text,
        "\n| {heading} |{title} meaning |\n| --- |{rule} --- |"
    );
    for (name, kind, prose) in rows {
        let kind = if has_types {
            format!(" {kind} |")
        } else {
            String::new()
        };
        let _ = writeln!(text, "| `{name}` |{kind} {prose} |");
    }
}

fn prose(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.replace('\n', " ").replace('|', "\\|")
}

fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/$defs/")
}

fn link(name: &str) -> String {
    if TYPES.contains(&name) {
        format!("[{name}](#{})", name.to_lowercase())
    } else {
        // as in recipes
        format!("[{name}](recipe.md)")
    }
}

/// The type of a value in a few words.
fn kind(schema: &Value) -> String {
    let empty = Map::new();
    let schema = schema.as_object().unwrap_or(&empty);
    let whole = Value::Object(schema.clone());
    if let Some(name) = reference(&whole) {
        return link(name);
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = schema.get(key).and_then(Value::as_array) {
            let mut kinds: Vec<_> = choices.iter().map(kind).collect();
            kinds.dedup();
            return kinds.join(" or ");
        }
    }
    let names: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let described = names.iter().map(|name| match *name {
        "array" => {
            let items = schema.get("items").map_or_else(String::new, kind);
            format!("list of {items}")
        }
        "object" => {
            let values = schema
                .get("additionalProperties")
                .map_or_else(String::new, kind);
            format!("{values} by name")
        }
        name => name.to_owned(),
    });
    Vec::from_iter(described).join(" or ")
}
