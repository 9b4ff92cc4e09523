//! Parts of JSON Schemas: the shorthand that configurations may be written in.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

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
    let side = json!({ "type": "integer", "minimum": 1, "maximum": 16384 });
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
