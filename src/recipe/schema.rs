//! The JSON Schema of recipes, for editors: derived from the types, with the short forms added.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::{AestheticOptions, ClipOptions, Moment, Number, Prompt, Recipe};

impl Recipe {
    /// The JSON Schema (2020-12) of recipe files.
    pub fn schema() -> Value {
        SchemaGenerator::default()
            .into_root_schema_for::<Self>()
            .to_value()
    }
}

impl JsonSchema for Number {
    fn schema_name() -> Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number, or an expression of t, the share of the render that is done (0..=1).",
            "type": ["number", "string"],
        })
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of steps, or a share of the render such as 60%.",
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": r"^\s*([0-9]+|[0-9]*\.?[0-9]*\s*%)\s*$" },
            ],
        })
    }
}

pub(super) fn prompts(generator: &mut SchemaGenerator) -> Schema {
    entries::<Prompt>(generator)
}

pub(super) fn clip(generator: &mut SchemaGenerator) -> Schema {
    entries::<ClipOptions>(generator)
}

pub(super) fn aesthetic(generator: &mut SchemaGenerator) -> Schema {
    let weight = generator.subschema_for::<Number>();
    let map = generator.subschema_for::<AestheticOptions>();
    json_schema!({ "anyOf": [weight, map, { "type": "null" }] })
}

/// A list of maps and plain scalars, or one of these.
fn entries<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
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

pub(super) fn size(_: &mut SchemaGenerator) -> Schema {
    let side = json!({ "type": "integer", "minimum": 1, "maximum": 16384 });
    json_schema!({
        "anyOf": [
            { "type": "array", "items": side, "minItems": 2, "maxItems": 2 },
            { "type": "string", "pattern": r"^\s*[0-9]+\s*[xX]\s*[0-9]+\s*$" },
        ],
    })
}

/// Adds the bare words to an enum of maps with one key each.
pub(super) fn or_bare_words(schema: &mut Schema) {
    let words = variants(schema)
        .iter()
        .filter_map(|variant| variant["required"][0].as_str())
        .map(|word| json!(word))
        .collect();
    or(schema, words);
}

/// Adds the kinds' bare names to an enum of maps with the key `kind`.
pub(super) fn or_bare_kinds(schema: &mut Schema) {
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
