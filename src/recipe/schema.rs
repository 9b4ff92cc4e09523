//! The JSON Schema of recipes, for editors: derived from the types, with the shorthand added.

use schemars::SchemaGenerator;
use serde_json::Value;

use super::Recipe;

impl Recipe {
    /// The JSON Schema (2020-12) of recipe files.
    pub fn schema() -> Value {
        SchemaGenerator::default()
            .into_root_schema_for::<Self>()
            .to_value()
    }
}
