//! Numbers that may change over a render, and moments of a render.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::expression::Expression;

/// At how many values of `t` an expression is tried when it is read.
const SAMPLES: usize = 101;

/// A number, or an expression of `t`, the share of the render that is done (0..=1).
///
/// It is finite: a number that is not, and an expression that is not at any of a hundred and one values of `t`, is
/// refused when it is read.
#[derive(Clone, PartialEq)]
pub struct Number(Form);

#[derive(Clone, PartialEq)]
enum Form {
    Constant(f64),
    Expression {
        source: Arc<str>,
        expression: Arc<Expression>,
    },
}

impl Number {
    /// Reads a number or an expression of `t`.
    ///
    /// # Errors
    /// When `source` is neither, or is not finite for some `t`; the message says why.
    pub fn parse(source: &str) -> Result<Self, InvalidNumber> {
        let refuse = |reason| InvalidNumber {
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

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self(Form::Constant(value))
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As it was written.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Constant(value) => write!(f, "{value}"),
            Form::Expression { source, .. } => f.write_str(source),
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Form::Constant(value) => serializer.serialize_f64(*value),
            Form::Expression { source, .. } => serializer.serialize_str(source),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;

        impl Visitor<'_> for NumberVisitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or an expression of t")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Number, E> {
                if value.is_finite() {
                    Ok(Number::from(value))
                } else {
                    Err(E::custom(format_args!(
                        "expected a finite number, found {}",
                        spelled(value)
                    )))
                }
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Number, E> {
                Ok(Number::from(value as f64))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Number, E> {
                Ok(Number::from(value as f64))
            }

            fn visit_str<E: de::Error>(self, source: &str) -> Result<Number, E> {
                Number::parse(source).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(NumberVisitor)
    }
}

/// Why a text is not a [`Number`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{text}` is not a number or an expression of t: {reason}")]
pub struct InvalidNumber {
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

/// A step, or a share of the render (`60%`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moment {
    /// So many steps.
    Steps(usize),
    /// So much of the render, 0..=1.
    Share(f64),
}

impl Moment {
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
impl fmt::Display for Moment {
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

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Steps(steps) => serializer.serialize_u64(*steps as u64),
            Self::Share(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MomentVisitor;

        impl Visitor<'_> for MomentVisitor {
            type Value = Moment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of steps or a percentage from 0% to 100%")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Moment, E> {
                usize::try_from(value)
                    .map(Moment::Steps)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Moment, E> {
                usize::try_from(value)
                    .map(Moment::Steps)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
            }

            fn visit_str<E: de::Error>(self, source: &str) -> Result<Moment, E> {
                Moment::parse(source)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(source), &self))
            }
        }

        deserializer.deserialize_any(MomentVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_is_the_same_at_every_t() {
        assert_eq!(Number::from(0.5).constant(), Some(0.5));
        assert_eq!(Number::parse("1 / 4").unwrap().constant(), Some(0.25));
        assert_eq!(Number::parse("t").unwrap().constant(), None);
        assert_eq!(Number::parse("1 - t").unwrap().at(0.25), 0.75);
    }

    #[test]
    fn bounds_hold_over_the_render() {
        assert_eq!(Number::parse("2 * t - 1").unwrap().bounds(), (-1.0, 1.0));
        assert_eq!(Number::from(3.0).bounds(), (3.0, 3.0));
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        let refused = |source| Number::parse(source).unwrap_err().to_string();
        assert!(refused("1 / t").ends_with("it is infinite at t = 0"));
        assert!(refused("sqrt(0.5 - t)").contains("it is not a number at t = 0.51"));
        assert!(refused("1e999").contains("infinite"));
    }

    #[test]
    fn a_number_is_written_as_it_was_read() {
        for text in ["0.1", "\"0.05 * (1 - 0.9 * t^4)\"", "\"2\""] {
            let number: Number = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&number).unwrap(), text);
        }
    }

    #[test]
    fn a_moment_is_steps_or_a_share() {
        let read = |text: &str| serde_json::from_str::<Moment>(text);
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
            assert_eq!(Moment::Share(share).to_string(), text);
        }
        let odd = Moment::Share(0.1 / 3.0);
        assert_eq!(Moment::parse(&odd.to_string()), Some(odd));
    }
}
