//! Formats: what the texts of a configuration stand for, as their schemas say it.

use serde_json::Value;

/// The schema format of texts that are the path of an image.
pub const IMAGE_FORMAT: &str = "image";
/// The key of such a schema for what else may stand there, as the message about an image that does not exist says it.
pub const INSTEAD_OF_IMAGE: &str = "x-instead";
/// The schema format of texts that name a model.
pub const MODEL_FORMAT: &str = "model";
/// The schema key, beside [`MODEL_FORMAT`], that says which kind of model a setting takes: `clip`, `vqgan`, `latent`, `gan`, `diffusion` or
/// `aesthetic`.
pub const MODEL_KIND: &str = "x-kind";
/// The schema format of numbers that may be an expression of `t`.
pub const SCHEDULE_FORMAT: &str = "schedule";

/// The format that a schema gives to texts.
pub fn format_of(schema: &Value) -> Option<&str> {
    schema.get("format").and_then(Value::as_str)
}
