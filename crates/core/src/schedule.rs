//! Numbers that may change over a render.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::diagnostic::shown;
use crate::expression::Expression;

/// At how many values of `t` an expression is tried when it is read.
const SAMPLES: usize = 101;

/// A number, or an expression of `t`, the share of the render that is done (0..=1).
///
/// It is finite: a number that is not, and an expression that is not at any of a hundred and one values of `t`, is
/// refused when it is read.
#[derive(Clone, PartialEq)]
pub struct Schedule(Form);

#[derive(Clone, PartialEq)]
enum Form {
    Constant(f64),
    Expression {
        source: Arc<str>,
        expression: Arc<Expression>,
    },
}

impl Schedule {
    /// Reads a number or an expression of `t`.
    ///
    /// # Errors
    /// When `source` is neither, or is not finite for some `t`; the message says why.
    pub fn parse(source: &str) -> Result<Self, InvalidSchedule> {
        let refuse = |reason| InvalidSchedule {
            text: source.to_owned(),
            reason,
        };
        let expression = Expression::parse(source).map_err(refuse)?;
        for sample in 0..SAMPLES {
            let t = sample as f64 / (SAMPLES - 1) as f64;
            let value = expression.at(t);
            if !value.is_finite() {
                return Err(refuse(format!("it is {} at t = {t}", spelled(value))));
            }
            if !expression.changes() {
                break;
            }
        }
        Ok(Self(Form::Expression {
            source: source.into(),
            expression: Arc::new(expression),
        }))
    }

    /// The value at `t`, the share of the render that is done.
    pub fn at(&self, t: f64) -> f64 {
        match &self.0 {
            Form::Constant(value) => *value,
            Form::Expression { expression, .. } => expression.at(t),
        }
    }

    /// The value, if it is the same at every `t`.
    pub fn constant(&self) -> Option<f64> {
        match &self.0 {
            Form::Constant(value) => Some(*value),
            Form::Expression { expression, .. } if !expression.changes() => {
                Some(expression.at(0.0))
            }
            Form::Expression { .. } => None,
        }
    }

    /// The least and the greatest of its values over a render, as far as a hundred and one samples tell.
    pub fn bounds(&self) -> (f64, f64) {
        if let Some(value) = self.constant() {
            return (value, value);
        }
        (0..SAMPLES)
            .map(|sample| self.at(sample as f64 / (SAMPLES - 1) as f64))
            .fold(
                (f64::INFINITY, f64::NEG_INFINITY),
                |(least, greatest), value| (least.min(value), greatest.max(value)),
            )
    }
}

/// 0, throughout.
impl Default for Schedule {
    fn default() -> Self {
        Self::from(0.0)
    }
}

impl From<f64> for Schedule {
    fn from(value: f64) -> Self {
        Self(Form::Constant(value))
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As it was written.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Constant(value) => write!(f, "{value}"),
            Form::Expression { source, .. } => f.write_str(source),
        }
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Form::Constant(value) => serializer.serialize_f64(*value),
            Form::Expression { source, .. } => serializer.serialize_str(source),
        }
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScheduleVisitor;

        impl Visitor<'_> for ScheduleVisitor {
            type Value = Schedule;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or an expression of t")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Schedule, E> {
                if value.is_finite() {
                    Ok(Schedule::from(value))
                } else {
                    Err(E::custom(format_args!(
                        "expected a finite number, found {}",
                        spelled(value)
                    )))
                }
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Schedule, E> {
                Ok(Schedule::from(value as f64))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Schedule, E> {
                Ok(Schedule::from(value as f64))
            }

            fn visit_str<E: de::Error>(self, source: &str) -> Result<Schedule, E> {
                Schedule::parse(source).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(ScheduleVisitor)
    }
}

/// Why a text is not a [`Schedule`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{}` is not a number or an expression of t: {reason}", shown(.text))]
pub struct InvalidSchedule {
    text: String,
    reason: String,
}

fn spelled(value: f64) -> &'static str {
    if value.is_nan() {
        "not a number"
    } else {
        "infinite"
    }
}

impl JsonSchema for Schedule {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number, or an expression of t, the share of the render that is done (0..=1).",
            "type": ["number", "string"],
            "format": crate::check::SCHEDULE_FORMAT,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_is_the_same_at_every_t() {
        assert_eq!(Schedule::from(0.5).constant(), Some(0.5));
        assert_eq!(Schedule::parse("1 / 4").unwrap().constant(), Some(0.25));
        assert_eq!(Schedule::parse("t").unwrap().constant(), None);
        assert_eq!(Schedule::parse("1 - t").unwrap().at(0.25), 0.75);
    }

    #[test]
    fn bounds_hold_over_the_render() {
        assert_eq!(Schedule::parse("2 * t - 1").unwrap().bounds(), (-1.0, 1.0));
        assert_eq!(Schedule::from(3.0).bounds(), (3.0, 3.0));
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        let refused = |source| Schedule::parse(source).unwrap_err().to_string();
        assert!(refused("1 / t").ends_with("it is infinite at t = 0"));
        assert!(refused("sqrt(0.5 - t)").contains("it is not a number at t = 0.51"));
        assert!(refused("1e999").contains("infinite"));
    }

    #[test]
    fn a_number_is_written_as_it_was_read() {
        for text in ["0.1", "\"0.05 * (1 - 0.9 * t^4)\"", "\"2\""] {
            let number: Schedule = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&number).unwrap(), text);
        }
    }
}
