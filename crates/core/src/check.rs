//! Checks of configurations.
//!
//! The range of a setting is an attribute of its field that becomes part of its schema: `#[schemars(range(min = 1, max = 16))]`, or
//! `extend("exclusiveMinimum" = 0)`. [`check_ranges`] compares every value of a configuration with its schema. What a range cannot express, such
//! as two settings that exclude each other, a configuration checks itself, with a [`Checker`].

use std::fmt::Display;
use std::path::Path;

use serde_json::Value;

use crate::diagnostic::number;
pub use crate::format::{
    IMAGE_FORMAT, INSTEAD_OF_IMAGE, MODEL_FORMAT, MODEL_KIND, SCHEDULE_FORMAT, format_of,
};
use crate::schema::{MAX_SIDE, walk};
use crate::{Diagnostic, DiagnosticKind, Location, Schedule};

/// Most pixels of a picture: 8192 x 8192.
pub const MAX_PIXELS: usize = 1 << 26;

/// Collects what is wrong with a configuration. Paths are relative to the section that is being checked.
#[derive(Debug, Default)]
pub struct Checker {
    section: String,
    diagnostics: Vec<Diagnostic>,
}

impl Checker {
    /// Checks the section at `path`, seen from the present one.
    pub fn section(&mut self, path: impl Display, check: impl FnOnce(&mut Self)) {
        let inner = self.path(&path.to_string());
        let outer = std::mem::replace(&mut self.section, inner);
        check(self);
        self.section = outer;
    }

    /// A value is invalid; the message says why, and what would be valid. An empty path is the section itself.
    pub fn invalid(&mut self, path: &str, message: impl Into<String>) {
        self.push(path, DiagnosticKind::Invalid(message.into()));
    }

    /// A value has the wrong type or is out of range.
    pub fn unexpected(&mut self, path: &str, expected: impl Into<String>, found: impl Display) {
        let (expected, found) = (expected.into(), found.to_string());
        self.push(path, DiagnosticKind::Unexpected { expected, found });
    }

    /// Refuses a picture of too many pixels. The range of each side is its field's.
    pub fn pixels(&mut self, path: &str, [width, height]: [usize; 2]) {
        let pixels = width.saturating_mul(height);
        if width.max(height) <= MAX_SIDE && pixels > MAX_PIXELS {
            let found = format_args!("{width} x {height} = {pixels}");
            self.unexpected(path, format!("at most {MAX_PIXELS} pixels"), found);
        }
    }

    /// Adds a diagnostic about the value at a path. Its location is for the caller to find.
    pub fn push(&mut self, path: &str, kind: DiagnosticKind) {
        let path = self.path(path);
        let location = Location::File;
        self.diagnostics.push(Diagnostic {
            location,
            path,
            kind,
        });
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// All diagnostics, in the order in which they were added.
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics
    }

    fn path(&self, path: &str) -> String {
        match (self.section.as_str(), path) {
            (section, "") => section.to_owned(),
            ("", path) => path.to_owned(),
            (section, path) => format!("{section}.{path}"),
        }
    }
}

/// Compares every value with the ranges of its schema, and checks that images exist.
pub fn check_ranges(schema: &Value, value: &Value, checker: &mut Checker) {
    walk(schema, value, &mut |path, schema, value| {
        check_range(path, schema, value, checker);
        if let (Some(IMAGE_FORMAT), Some(file)) = (format_of(schema), value.as_str()) {
            let instead = schema.get(INSTEAD_OF_IMAGE).and_then(Value::as_str);
            check_image(path, Path::new(file), instead, checker);
        }
    });
}

fn check_image(path: &str, file: &Path, instead: Option<&str>, checker: &mut Checker) {
    if !file.exists() {
        match instead {
            Some(instead) => {
                let message = format!("there is no image `{}`; {instead}", file.display());
                checker.invalid(path, message);
            }
            None => {
                let (what, resolved) = ("image", file.to_owned());
                checker.push(path, DiagnosticKind::MissingFile { what, resolved });
            }
        }
    } else if file.is_dir() {
        checker.invalid(
            path,
            format!("`{}` is a folder, not an image", file.display()),
        );
    }
}

/// Compares a number, or the values of an expression, with the range of its schema.
fn check_range(path: &str, schema: &Value, value: &Value, checker: &mut Checker) {
    let bounds = ["minimum", "exclusiveMinimum", "maximum"]
        .map(|key| schema.get(key).and_then(Value::as_f64));
    if bounds == [None; 3] {
        return;
    }
    let [least, above, most] = bounds;
    let whole = value.is_u64() || value.is_i64();
    let is_count = whole && !has_type(schema, "number");
    let schedule = match value {
        Value::Number(number) => number.as_f64().map(Schedule::from),
        Value::String(text) if has_type(schema, "number") => Schedule::parse(text).ok(),
        _ => None,
    };
    let Some(schedule) = schedule else { return };
    let (lowest, highest) = schedule.bounds();
    let too_low =
        least.is_some_and(|least| lowest < least) || above.is_some_and(|above| lowest <= above);
    let too_high = most.is_some_and(|most| highest > most);
    if !too_low && !too_high {
        return;
    }
    let worst = number(if too_low { lowest } else { highest });
    let expected = expected(bounds, is_count);
    if schedule.constant().is_some() {
        checker.unexpected(path, expected, worst);
    } else {
        checker.unexpected(
            path,
            expected,
            format_args!("`{schedule}`, which comes to {worst}"),
        );
    }
}

fn expected(bounds: [Option<f64>; 3], is_count: bool) -> String {
    let number = if is_count {
        "a whole number"
    } else {
        "a number"
    };
    match bounds {
        [Some(least), _, Some(most)] => format!("{number} from {least} to {most}"),
        [Some(least), _, None] => format!("{number} of {least} or more"),
        [None, Some(above), Some(most)] => {
            format!("{number} above {above} and at most {most}")
        }
        [None, Some(above), None] => format!("{number} above {above}"),
        [None, None, most] => format!("{number} of at most {}", most.unwrap_or(f64::MAX)),
    }
}

fn has_type(schema: &Value, name: &str) -> bool {
    match &schema["type"] {
        Value::String(only) => only == name,
        Value::Array(types) => types.iter().any(|one| one == name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Serialize;

    use super::*;

    #[derive(Serialize, JsonSchema)]
    struct Config {
        #[schemars(range(min = 1, max = 16))]
        layers: usize,
        #[schemars(range(min = 0, max = 1))]
        decay: Option<f64>,
        #[schemars(extend("exclusiveMinimum" = 0))]
        lr: Schedule,
        #[schemars(range(min = 0))]
        weight: Option<Schedule>,
        #[schemars(inner(range(min = 1)))]
        sides: Vec<usize>,
        image: Option<Image>,
        augment: Vec<Augment>,
    }

    #[derive(Serialize, JsonSchema)]
    struct Image(#[schemars(extend("format" = IMAGE_FORMAT))] String);

    #[derive(Serialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Augment {
        Flip {
            #[schemars(range(min = 0, max = 1))]
            p: f64,
        },
        Noise {
            #[schemars(range(min = 0, max = 10))]
            strength: f64,
        },
    }

    fn messages(config: &Config) -> Vec<String> {
        let schema = schemars::schema_for!(Config).to_value();
        let value = serde_json::to_value(config).expect("a value");
        let mut checker = Checker::default();
        check_ranges(&schema, &value, &mut checker);
        (checker.into_diagnostics().iter())
            .map(|diagnostic| format!("{}: {}", diagnostic.path, diagnostic.kind))
            .collect()
    }

    #[test]
    fn values_in_range_pass() {
        let config = Config {
            layers: 16,
            decay: None,
            lr: Schedule::parse("0.1 * (1.1 - t)").expect("an expression"),
            weight: Some(Schedule::from(0.0)),
            sides: vec![1, 2],
            image: None,
            augment: vec![Augment::Flip { p: 1.0 }, Augment::Noise { strength: 5.0 }],
        };
        assert_eq!(messages(&config), Vec::<String>::new());
    }

    #[test]
    fn values_out_of_range_are_found_with_their_paths() {
        let config = Config {
            layers: 17,
            decay: Some(1.5),
            lr: Schedule::parse("1 - t").expect("an expression"),
            weight: Some(Schedule::from(-1.0)),
            sides: vec![3, 0],
            image: Some(Image("nowhere.png".to_owned())),
            augment: vec![Augment::Flip { p: 2.0 }, Augment::Noise { strength: 50.0 }],
        };
        assert_eq!(
            messages(&config),
            [
                "layers: expected a whole number from 1 to 16, found 17",
                "decay: expected a number from 0 to 1, found 1.5",
                "lr: expected a number above 0, found `1 - t`, which comes to 0",
                "weight: expected a number of 0 or more, found -1",
                "sides.1: expected a whole number of 1 or more, found 0",
                "image: there is no image `nowhere.png`",
                "augment.0.flip.p: expected a number from 0 to 1, found 2",
                "augment.1.noise.strength: expected a number from 0 to 10, found 50",
            ]
        );
    }
}
