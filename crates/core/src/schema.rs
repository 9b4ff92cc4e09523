//! Parts of JSON Schemas: the shorthand that configurations may be written in.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::Schedule;
use crate::format::IMAGE_FORMAT;

/// The longest side of a picture or of a layer.
pub const MAX_SIDE: usize = 16_384;

/// A list of maps and plain scalars, or one of these.
pub fn entries<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let map = generator.subschema_for::<T>();
    let word = json!({ "type": ["string", "number", "boolean"] });
    json_schema!({
        "anyOf": [
            word,
            map,
            { "type": "array", "items": { "anyOf": [word, map] }, "minItems": 1 },
        ],
    })
}

/// Width and height: a list of two, or `WIDTHxHEIGHT`.
pub fn size(_: &mut SchemaGenerator) -> Schema {
    let side = json!({ "type": "integer", "minimum": 1, "maximum": MAX_SIDE });
    json_schema!({
        "anyOf": [
            { "type": "array", "items": side, "minItems": 2, "maxItems": 2 },
            { "type": "string", "pattern": r"^\s*[0-9]+\s*[xX]\s*[0-9]+\s*$" },
        ],
    })
}

/// Adds the bare words to an enum of maps with one key each.
pub fn or_bare_words(schema: &mut Schema) {
    let words = variants(schema)
        .iter()
        .filter_map(|variant| variant["required"][0].as_str())
        .map(|word| json!(word))
        .collect();
    or(schema, words);
}

/// Adds the kinds' bare names to an enum of maps with the key `kind`.
pub fn or_bare_kinds(schema: &mut Schema) {
    let words = variants(schema)
        .iter()
        .map(|variant| variant["properties"]["kind"]["const"].clone())
        .collect();
    or(schema, words);
}

/// Adds a number or an expression of `t` alone to a map.
pub fn or_schedule(schema: &mut Schema) {
    or_alone(
        schema,
        Schedule::json_schema(&mut SchemaGenerator::default()),
    );
}

/// Adds the path of an image alone to a map.
pub fn or_image(schema: &mut Schema) {
    let image = json_schema!({ "type": "string", "format": IMAGE_FORMAT });
    or_alone(schema, image);
}

fn or_alone(schema: &mut Schema, alone: Schema) {
    let description = schema.remove("description");
    *schema = json_schema!({ "description": description, "anyOf": [alone, schema] });
}

fn variants(schema: &Schema) -> &[Value] {
    schema
        .get("oneOf")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn or(schema: &mut Schema, words: Vec<Value>) {
    if let Some(Value::Array(variants)) = schema.get_mut("oneOf") {
        variants.push(json!({ "type": "string", "enum": words }));
    }
}

/// Visits a value and all values in it, each with its path (`generator.lr`) and every schema that describes it: the one that its field has, and
/// those that this one refers to. Of several alternatives only the first that fits the value is visited.
pub fn walk(root: &Value, value: &Value, visit: &mut impl FnMut(&str, &Value, &Value)) {
    walk_at(root, root, value, "", visit);
}

fn walk_at(
    root: &Value,
    schema: &Value,
    value: &Value,
    path: &str,
    visit: &mut impl FnMut(&str, &Value, &Value),
) {
    visit(path, schema, value);
    if let Some(target) = target(root, schema) {
        walk_at(root, target, value, path, visit);
    }
    let alternatives = ["anyOf", "oneOf"].map(|key| schema[key].as_array());
    for alternatives in alternatives.into_iter().flatten() {
        if let Some(fitting) = alternatives.iter().find(|one| fits(root, one, value)) {
            walk_at(root, fitting, value, path, visit);
        }
    }
    let below = |key: &str| match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    };
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                if let Some(schema) = schema["properties"].get(key) {
                    walk_at(root, schema, value, &below(key), visit);
                }
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                let schema = (schema["prefixItems"].get(index)).or_else(|| schema.get("items"));
                if let Some(schema) = schema {
                    walk_at(root, schema, value, &below(&index.to_string()), visit);
                }
            }
        }
        _ => {}
    }
}

/// What a schema refers to.
fn target<'s>(root: &'s Value, schema: &Value) -> Option<&'s Value> {
    let reference = schema.get("$ref")?.as_str()?;
    root.pointer(reference.strip_prefix('#')?)
}

/// Whether a schema is the one for a value, as far as its types, its words and its required keys tell.
fn fits(root: &Value, schema: &Value, value: &Value) -> bool {
    if let Some(target) = target(root, schema)
        && !fits(root, target, value)
    {
        return false;
    }
    let typed = |name: &Value| match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    };
    let type_fits = match &schema["type"] {
        Value::Null => true,
        Value::Array(types) => types.iter().any(typed),
        only => typed(only),
    };
    let word_fits = schema.get("const").is_none_or(|only| only == value)
        && (schema["enum"].as_array()).is_none_or(|words| words.contains(value));
    let required = schema["required"].as_array().into_iter().flatten();
    let keys_fit = required
        .filter_map(Value::as_str)
        .all(|key| match value.get(key) {
            None => false,
            Some(inner) => (schema["properties"].get(key))
                .and_then(|schema| schema.get("const"))
                .is_none_or(|only| only == inner),
        });
    let alternatives = ["anyOf", "oneOf"].map(|key| schema[key].as_array());
    let one_fits = (alternatives.into_iter().flatten())
        .all(|alternatives| alternatives.iter().any(|one| fits(root, one, value)));
    type_fits && word_fits && keys_fit && one_fits
}
