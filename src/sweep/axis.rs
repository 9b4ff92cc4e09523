//! An axis of a sweep: values that take the place of one another, of one path or of several together.

use std::sync::Arc;

use rand::Rng;

use crate::recipe::node::{Content, Node, Scalar};
use crate::recipe::wildcard::{Template, escape, is_marked};
use phantasia_core::Location;

/// A value of one path, and where it was given.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub path: String,
    pub node: Node,
    /// For messages: `sweep.yaml:4:9`.
    pub origin: String,
}

/// One choice on an axis.
#[derive(Clone, Debug)]
pub(super) enum Choice {
    /// Values of paths.
    Set(Vec<Setting>),
    /// An alternative of a wildcard.
    Word(String),
}

impl Choice {
    /// What the table shows for each of the axis's columns.
    pub fn shown(&self) -> Vec<String> {
        match self {
            Self::Set(settings) => settings
                .iter()
                .map(|setting| shown(&setting.node))
                .collect(),
            Self::Word(word) => vec![word.clone()],
        }
    }
}

/// The choices of an axis.
#[derive(Clone, Debug)]
pub(super) enum Choices {
    /// Those of a list.
    Listed(Vec<Choice>),
    /// The numbers of a range, which may be too many to be listed.
    Range {
        path: String,
        range: Range,
        origin: String,
    },
    /// Any number between two, drawn uniformly, or uniformly in its logarithm.
    Between {
        path: String,
        low: f64,
        high: f64,
        is_log: bool,
        origin: String,
    },
}

/// An axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// The paths that it sets, or the wildcard.
    pub columns: Vec<String>,
    pub choices: Choices,
    /// For a wildcard: the index of its text among the plan's.
    pub text: Option<usize>,
}

impl Axis {
    /// An axis of one path.
    pub fn of_path(path: &str, choices: Choices) -> Self {
        let columns = vec![path.to_owned()];
        Self {
            columns,
            choices,
            text: None,
        }
    }

    /// How many choices there are; none for numbers between two.
    pub fn len(&self) -> Option<u64> {
        match &self.choices {
            Choices::Listed(choices) => Some(choices.len() as u64),
            Choices::Range { range, .. } => Some(range.count),
            Choices::Between { .. } => None,
        }
    }

    /// The choice of that index.
    pub fn choice(&self, index: u64) -> Choice {
        match &self.choices {
            Choices::Listed(choices) => choices[index as usize].clone(),
            Choices::Range {
                path,
                range,
                origin,
            } => number(path, &range.value(index), origin),
            Choices::Between {
                path, low, origin, ..
            } => number(path, &low.to_string(), origin),
        }
    }

    /// A random choice of numbers between two.
    pub fn draw(&self, random: &mut impl Rng) -> Option<Choice> {
        let Choices::Between {
            path,
            low,
            high,
            is_log,
            origin,
        } = &self.choices
        else {
            return None;
        };
        let at = random.random::<f64>();
        let drawn = if *is_log {
            low * (high / low).powf(at)
        } else {
            low + (high - low) * at
        };
        // six digits are easily read, and repeat the run
        let digits = format!("{drawn:.5e}").parse::<f64>().unwrap_or(drawn);
        Some(number(path, &digits.clamp(*low, *high).to_string(), origin))
    }
}

fn number(path: &str, text: &str, origin: &str) -> Choice {
    let (path, origin) = (path.to_owned(), origin.to_owned());
    let node = scalar(text);
    Choice::Set(vec![Setting { path, node, origin }])
}

/// A node of a text as YAML reads it where it has no other meaning: a number, true or false, or the text itself.
pub(super) fn scalar(text: &str) -> Node {
    let float = || {
        text.parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .map(Scalar::Float)
    };
    let read = match text {
        "true" => Scalar::Bool(true),
        "false" => Scalar::Bool(false),
        _ => Scalar::whole(text).or_else(float).unwrap_or(Scalar::Text),
    };
    let content = Content::Scalar {
        text: Arc::from(text),
        scalar: read,
    };
    Node {
        location: Location::File,
        content,
    }
}

/// A range of numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Range {
    start: Number,
    step: Number,
    /// How many there are.
    pub count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Whole(i128),
    /// With so many decimals.
    Decimal(f64, usize),
}

impl Range {
    /// Reads `1..3`, both ends included, or `0.1..0.5 step 0.1`; none for a text that is no range.
    ///
    /// # Errors
    /// When it has no number, or needs a step.
    pub fn read(text: &str) -> Option<Result<Self, String>> {
        let (first, rest) = text.split_once("..")?;
        let (last, step) = match rest.split_once("step") {
            Some((last, step)) => (last, Some(step)),
            None => (rest, None),
        };
        let first = Number::read(first)?;
        let last = Number::read(last)?;
        Some(Self::of(first, last, step))
    }

    fn of(first: Number, last: Number, step: Option<&str>) -> Result<Self, String> {
        let step = match (step, first, last) {
            (Some(step), ..) => Number::read(step).ok_or_else(|| {
                format!(
                    "`{}` is no step: a number is, as in 0..1 step 0.25",
                    step.trim()
                )
            })?,
            (None, Number::Whole(_), Number::Whole(_)) => Number::Whole(1),
            (None, ..) => {
                return Err("a range of fractions needs a step, as in 0.1..0.5 step 0.1".to_owned());
            }
        };
        let (low, high, by) = (first.value(), last.value(), step.value());
        if ![low, high, by].iter().all(|number| number.is_finite()) {
            return Err("the numbers of a range are finite".to_owned());
        }
        if low > high {
            return Err("the range has no number: write the smaller number first".to_owned());
        }
        if by <= 0.0 {
            return Err("the step of a range is above 0".to_owned());
        }
        let (start, step, count) = match (first, last, step) {
            (Number::Whole(low), Number::Whole(high), Number::Whole(by)) => {
                (first, step, u64::try_from((high - low) / by + 1).ok())
            }
            _ => {
                let decimals = first.decimals().max(step.decimals());
                // a last number that rounding has put a little before the end
                let count = ((high - low) / by + 1e-9).floor() + 1.0;
                let count = (count < 1e18).then_some(count as u64);
                (
                    Number::Decimal(low, decimals),
                    Number::Decimal(by, decimals),
                    count,
                )
            }
        };
        let count = count.ok_or_else(|| "the range has too many numbers".to_owned())?;
        Ok(Self { start, step, count })
    }

    fn value(&self, index: u64) -> String {
        match (self.start, self.step) {
            (Number::Whole(start), Number::Whole(step)) => {
                (start + step * i128::from(index)).to_string()
            }
            (start, step) => {
                let decimals = start.decimals();
                format!("{:.decimals$}", start.value() + step.value() * index as f64)
            }
        }
    }
}

impl Number {
    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        // -1e30 would overflow
        let whole = text
            .parse::<i128>()
            .ok()
            .filter(|number| number.unsigned_abs() <= u128::from(u64::MAX));
        if let Some(whole) = whole {
            return Some(Self::Whole(whole));
        }
        let is_number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
        let value = text.parse::<f64>().ok().filter(|_| is_number)?;
        let decimals = match text.split_once(['e', 'E']) {
            None => text.split_once('.').map_or(0, |(_, digits)| digits.len()),
            Some((digits, power)) => {
                let digits = digits
                    .split_once('.')
                    .map_or(0, |(_, digits)| digits.len() as i64);
                (digits - power.parse::<i64>().ok()?).clamp(0, 17) as usize
            }
        };
        Some(Self::Decimal(value, decimals.min(17)))
    }

    fn value(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Decimal(number, _) => number,
        }
    }

    fn decimals(self) -> usize {
        match self {
            Self::Whole(_) => 0,
            Self::Decimal(_, decimals) => decimals,
        }
    }
}

/// A value in one line, as a person would name it: `0.6`, `a red apple`, `kind: fft, lr: 0.1`.
pub(super) fn shown(node: &Node) -> String {
    let inner = |node: &Node| match &node.content {
        Content::List(_) => format!("[{}]", shown(node)),
        Content::Map(_) => format!("{{{}}}", shown(node)),
        Content::Scalar { .. } | Content::Removed => shown(node),
    };
    match &node.content {
        Content::Scalar { text, .. } => text.to_string(),
        Content::Removed => String::new(),
        Content::List(items) => match items.as_slice() {
            [only] => shown(only),
            items => items.iter().map(inner).collect::<Vec<_>>().join(", "),
        },
        Content::Map(entries) => {
            let entry = |(key, node): &(_, Node)| {
                let key: &crate::recipe::node::Key = key;
                format!("{}: {}", key.name, inner(node))
            };
            entries.iter().map(entry).collect::<Vec<_>>().join(", ")
        }
    }
}

/// A value of `path` with each alternative of the wildcards in its prompts, as values of their own; their texts are read as they are.
///
/// # Errors
/// When a text with wildcards cannot be read, or stands for too many.
pub(super) fn alternatives(path: &str, node: &Node) -> Result<Vec<Node>, String> {
    let mut keys = path.split('.').skip_while(|key| *key != "prompts").skip(1);
    let is_prompts = path.split('.').any(|key| key == "prompts");
    let key = keys.find(|key| key.parse::<usize>().is_err());
    spread(node, is_prompts && key.is_none_or(is_text))
}

/// Whether a key of a prompt holds texts.
fn is_text(key: &str) -> bool {
    ["text", "source", "keyframes"].contains(&key)
}

fn spread(node: &Node, is_prompt: bool) -> Result<Vec<Node>, String> {
    let with = |content: Content| Node {
        location: node.location.clone(),
        content,
    };
    match &node.content {
        Content::Scalar {
            text,
            scalar: Scalar::Text,
        } if is_prompt && is_marked(text) => {
            let texts = Template::read(text)?.texts()?;
            Ok(texts
                .iter()
                .map(|text| Node::text(&escape(text), node.location.clone()))
                .collect())
        }
        Content::Scalar { .. } | Content::Removed => Ok(vec![node.clone()]),
        Content::List(items) => {
            let each = items
                .iter()
                .map(|item| spread(item, is_prompt))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(crossed(each)?
                .into_iter()
                .map(|items| with(Content::List(items)))
                .collect())
        }
        Content::Map(entries) => {
            let each = entries.iter().map(|(key, value)| {
                let inside = key.name == "prompts" || is_prompt && is_text(&key.name);
                spread(value, inside)
            });
            let each = each.collect::<Result<Vec<_>, _>>()?;
            let keys = || entries.iter().map(|(key, _)| key.clone());
            let maps = crossed(each)?.into_iter();
            Ok(maps
                .map(|values| with(Content::Map(keys().zip(values).collect())))
                .collect())
        }
    }
}

/// One of each list, in all combinations, the last varying fastest.
fn crossed(lists: Vec<Vec<Node>>) -> Result<Vec<Vec<Node>>, String> {
    let mut all = vec![vec![]];
    for list in lists {
        if all.len().saturating_mul(list.len()) > 10_000 {
            return Err("the wildcards of one value stand for more than 10000 texts".to_owned());
        }
        all = (all.iter())
            .flat_map(|before| {
                list.iter()
                    .map(|node| [before.as_slice(), std::slice::from_ref(node)].concat())
            })
            .collect();
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<String> {
        let range = Range::read(text).expect("a range").expect("numbers");
        (0..range.count).map(|index| range.value(index)).collect()
    }

    #[test]
    fn ranges_have_both_ends() {
        assert_eq!(values("1..3"), ["1", "2", "3"]);
        assert_eq!(values("-2 .. 2 step 2"), ["-2", "0", "2"]);
        assert_eq!(
            values("0.1..0.5 step 0.1"),
            ["0.1", "0.2", "0.3", "0.4", "0.5"]
        );
        assert_eq!(
            values("0..1 step 0.25"),
            ["0.00", "0.25", "0.50", "0.75", "1.00"]
        );
        assert_eq!(values("1e-3..3e-3 step 1e-3"), ["0.001", "0.002", "0.003"]);
        assert_eq!(
            values("18446744073709551615..18446744073709551615"),
            ["18446744073709551615"]
        );
        assert_eq!(
            Range::read("0..18446744073709551614")
                .and_then(Result::ok)
                .map(|range| range.count),
            Some(u64::MAX)
        );
    }

    #[test]
    fn ranges_of_nothing_are_refused() {
        for wrong in [
            "3..1",
            "0.1..0.5",
            "1..3 step 0",
            "1..3 step -1",
            "1..3 step x",
            "0..1e400 step 1",
            "0..1 step 1e-300",
            "-1..18446744073709551615",
        ] {
            assert!(
                Range::read(wrong).is_some_and(|read| read.is_err()),
                "{wrong}"
            );
        }
        for other in ["a..b", "..", "1..", "1.5", "nan..1", "inf..inf"] {
            assert_eq!(Range::read(other), None, "{other}");
        }
    }
}
