//! Points in a render: a step, or a percentage of all steps.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A point in a render.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepContext {
    /// Steps done since the schedule began: with the render, with its present stage, or with a restart.
    pub step: usize,
    /// Steps of the schedule in all.
    pub steps: usize,
    /// Steps done since the render began. It decides random numbers, and when a change of prompts has faded.
    pub clock: usize,
}

impl StepContext {
    /// A point in a render of one stage that was never restarted.
    pub fn new(step: usize, steps: usize) -> Self {
        Self {
            step,
            steps,
            clock: step,
        }
    }

    /// The share of the schedule that is done, 0 at the first step and 1 at the last.
    pub fn t(&self) -> f64 {
        let last = self.steps.saturating_sub(1).max(1);
        (self.step as f64 / last as f64).min(1.0)
    }
}

/// A step, or a share of the render (`60%`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StepOrPercent {
    /// A number of steps.
    Steps(usize),
    /// A share of the render, 0..=1.
    Share(f64),
}

impl StepOrPercent {
    /// How many steps it is of a render of `total` steps.
    pub fn step(&self, total: usize) -> f64 {
        match self {
            Self::Steps(steps) => *steps as f64,
            Self::Share(share) => share * total as f64,
        }
    }

    fn parse(source: &str) -> Option<Self> {
        let text = source.trim();
        if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.trim_end();
            if !percent.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
                return None;
            }
            let share: f64 = format!("{percent}e-2").parse().ok()?;
            return (0.0..=1.0).contains(&share).then_some(Self::Share(share));
        }
        text.parse().ok().map(Self::Steps)
    }
}

/// As it is written in a recipe: `40` or `60%`.
impl fmt::Display for StepOrPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => write!(f, "{steps}"),
            Self::Share(share) => {
                // The decimal point moves by two places: multiplying would round, and not read back.
                let text = share.to_string();
                let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
                let rest = format!("{rest:0<2}");
                let percent = format!("{whole}{}", &rest[..2]);
                match (percent.trim_start_matches('0'), &rest[2..]) {
                    ("", "") => f.write_str("0%"),
                    ("", part) => write!(f, "0.{part}%"),
                    (percent, "") => write!(f, "{percent}%"),
                    (percent, part) => write!(f, "{percent}.{part}%"),
                }
            }
        }
    }
}

impl Serialize for StepOrPercent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Steps(steps) => serializer.serialize_u64(*steps as u64),
            Self::Share(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for StepOrPercent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StepOrPercentVisitor;

        impl Visitor<'_> for StepOrPercentVisitor {
            type Value = StepOrPercent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of steps or a percentage from 0% to 100%")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<StepOrPercent, E> {
                usize::try_from(value)
                    .map(StepOrPercent::Steps)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<StepOrPercent, E> {
                usize::try_from(value)
                    .map(StepOrPercent::Steps)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
            }

            fn visit_str<E: de::Error>(self, source: &str) -> Result<StepOrPercent, E> {
                StepOrPercent::parse(source)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(source), &self))
            }
        }

        deserializer.deserialize_any(StepOrPercentVisitor)
    }
}

impl JsonSchema for StepOrPercent {
    fn schema_name() -> Cow<'static, str> {
        "StepOrPercent".into()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_percentages_are_read() {
        let read = |text: &str| serde_json::from_str::<StepOrPercent>(text);
        assert_eq!(read("40").unwrap().step(200), 40.0);
        assert_eq!(read("\"60%\"").unwrap().step(200), 120.0);
        assert_eq!(read("\" 12.5 % \"").unwrap().step(200), 25.0);
        for wrong in ["-1", "\"101%\"", "\"-1%\"", "\"soon\"", "0.5", "\"NaN%\""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_share_is_written_as_a_short_percentage_and_reads_back() {
        for (share, text) in [
            (0.6, "60%"),
            (0.07, "7%"),
            (0.0, "0%"),
            (1.0, "100%"),
            (0.125, "12.5%"),
            (0.001, "0.1%"),
        ] {
            assert_eq!(StepOrPercent::Share(share).to_string(), text);
        }
        let odd = StepOrPercent::Share(0.1 / 3.0);
        assert_eq!(StepOrPercent::parse(&odd.to_string()), Some(odd));
    }
}
