//! Diagnostics: what is wrong with what a user wrote, and where.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use strsim::damerau_levenshtein;
use thiserror::Error;

/// The file in a run folder that holds its recipe.
pub const RECIPE: &str = "recipe.yaml";

/// One thing that is wrong, and where.
#[derive(Debug)]
pub struct Diagnostic {
    /// Where it is.
    pub location: Location,
    /// The path of the value that it is about, as in `--set`: `generator.lr`. Empty for the recipe as a whole.
    pub path: String,
    /// What is wrong.
    pub kind: DiagnosticKind,
}

impl Diagnostic {
    /// A diagnostic about what stands at a location.
    pub fn new(location: Location, kind: DiagnosticKind) -> Self {
        Self {
            location,
            path: String::new(),
            kind,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.location != Location::File {
            write!(f, "{}: ", self.location)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&printable(&self.kind.to_string()))
    }
}

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In the recipe's text; both count from 1.
    Text {
        /// The line.
        line: usize,
        /// The character in the line.
        column: usize,
    },
    /// On the command line; the flag with its value.
    Flag(Arc<str>),
    /// The file as a whole.
    File,
}

impl Location {
    /// The first character.
    pub fn start() -> Self {
        Self::Text { line: 1, column: 1 }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { line, column } => write!(f, "{line}:{column}"),
            Self::Flag(flag) => f.write_str(&shown(flag)),
            Self::File => f.write_str("recipe"),
        }
    }
}

/// What is wrong.
#[derive(Debug, Error)]
pub enum DiagnosticKind {
    /// The text is not YAML.
    #[error("{0}")]
    Syntax(String),
    /// There is no value in the text.
    #[error("the recipe is empty; `phantasia recipe new pyramid` prints one to start from")]
    Empty,
    /// A key is given twice in the same map.
    #[error("the key `{key}` is given twice, first at {first}", key = shown(.key))]
    DuplicateKey {
        /// The key.
        key: String,
        /// Where it was given first.
        first: Location,
    },
    /// There is no such key.
    #[error("unknown key `{}`{}", shown(.key), suggestion(.key, .valid, "keys"))]
    UnknownKey {
        /// The key.
        key: String,
        /// The valid keys.
        valid: Vec<String>,
    },
    /// A word that is not one of the valid ones.
    #[error("unknown {} `{}`{}", .what, shown(.word), suggestion(.word, .valid, "choices"))]
    UnknownWord {
        /// What the word names: a kind, a value.
        what: &'static str,
        /// The word.
        word: String,
        /// The valid words.
        valid: Vec<String>,
    },
    /// A required key is missing.
    #[error("the key `{key}` is missing")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A value is of another type, or out of range.
    #[error("expected {expected}, found {}", shown(.found))]
    Unexpected {
        /// What is valid.
        expected: String,
        /// What was written.
        found: String,
    },
    /// A whole number that is written with a decimal point or an exponent.
    #[error("expected a whole number in digits, found `{}`: write {}", shown(.written), shown(.digits))]
    NotInDigits {
        /// As it was written.
        written: String,
        /// The same number in digits.
        digits: String,
    },
    /// A value that is invalid for the reason that the text gives.
    #[error("{0}")]
    Invalid(String),
    /// A file that the recipe names does not exist.
    #[error("there is no {what} `{resolved}`", resolved = .resolved.display())]
    MissingFile {
        /// What it should be: an image, a folder.
        what: &'static str,
        /// The path, resolved from the recipe's folder.
        resolved: PathBuf,
    },
    /// The recipe's file cannot be read.
    #[error("cannot read the recipe: {0}")]
    Unreadable(io::Error),
    /// The path is a folder.
    #[error("is a folder; a recipe is a .yaml file, or a .png that Phantasia wrote")]
    Folder,
    /// The path is the folder of a render.
    #[error(
        "is the folder of a render: `phantasia resume {run}` continues it, `phantasia render {recipe}` paints it again",
        run = .0.display(), recipe = .0.join(RECIPE).display()
    )]
    RunFolder(PathBuf),
    /// The file is too large for a recipe.
    #[error("is larger than {most} bytes; this is not a recipe")]
    TooLarge {
        /// The limit.
        most: u64,
    },
    /// The file is not text.
    #[error("is not UTF-8 text (byte {byte}): save it as UTF-8, if it is a recipe")]
    NotText {
        /// The first byte that is not, counted from 0.
        byte: usize,
    },
    /// A picture that contains no recipe.
    #[error("{0}")]
    NoRecipe(String),
}

/// `; did you mean ...?`, or all that is valid.
fn suggestion(word: &str, valid: &[String], what: &str) -> String {
    if let Some(nearest) = nearest(word, valid) {
        return format!("; did you mean `{nearest}`?");
    }
    let hint = if word.contains(char::is_whitespace) {
        " (a text with `: ` in it needs quotes)"
    } else {
        ""
    };
    match valid {
        [] => format!("; there are no {what} here{hint}"),
        _ => format!("; the {what} here are {}{hint}", valid.join(", ")),
    }
}

/// A value that a user wrote, as a message shows it: on one line, without control characters, and without its middle if it is very long.
pub fn shown(value: &str) -> String {
    const MOST: usize = 200;
    const HALF: usize = (MOST - 3) / 2;
    let count = value.chars().count();
    if count <= MOST {
        return escaped(value, |_| false).into_owned();
    }
    let head: String = value.chars().take(HALF).collect();
    let tail: String = value.chars().skip(count - HALF).collect();
    escaped(&format!("{head}...{tail}"), |_| false).into_owned()
}

/// A number in few characters: with an exponent where its digits would fill the line.
pub fn number(value: f64) -> String {
    let is_long = value != 0.0 && !(1e-6..1e21).contains(&value.abs());
    if is_long && value.is_finite() {
        format!("{value:e}")
    } else {
        format!("{value}")
    }
}

/// A message without characters that move a terminal's cursor, change its colours, or hide what follows. Line breaks stay.
pub fn printable(message: &str) -> Cow<'_, str> {
    escaped(message, |c| matches!(c, '\n' | '\t'))
}

/// A text with an escape sequence for each hidden character, except those that are `allowed`.
fn escaped(text: &str, allowed: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_shown = |c: char| allowed(c) || !is_hidden(c);
    if text.chars().all(is_shown) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_shown(c) {
            escaped.push(c);
        } else {
            escaped.extend(c.escape_default());
        }
    }
    Cow::Owned(escaped)
}

/// Whether a character breaks a line or hides what follows: control characters, line separators, bidirectional controls.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// The valid word that `word` was probably meant to be.
pub fn nearest<'a, S: AsRef<str>>(word: &str, valid: &'a [S]) -> Option<&'a str> {
    let lower = word.to_lowercase().replace('-', "_");
    (valid.iter().map(AsRef::as_ref))
        .map(|candidate| (damerau_levenshtein(candidate, &lower), candidate))
        .filter(|(distance, candidate)| {
            *distance <= 1 + candidate.len().min(word.len()) / 4
                // a plural or a prefix of the right word
                || (lower.len() >= 3 && (candidate.starts_with(&lower) || lower.starts_with(candidate)))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_on_one_line_of_bounded_length() {
        assert_eq!(shown("a fox – ein Fuchs 狐"), "a fox – ein Fuchs 狐");
        assert_eq!(
            shown("red\u{1b}[31m\nnext\t\u{202e}x"),
            "red\\u{1b}[31m\\nnext\\t\\u{202e}x"
        );
        let long = format!("begin{}end", "ü".repeat(5000));
        let cut = shown(&long);
        assert!(cut.starts_with("beginü") && cut.ends_with("üend") && cut.contains("ü...ü"));
        assert!(cut.chars().count() <= 200);
        assert_eq!(printable("a\nb\u{7}"), "a\nb\\u{7}");
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [1e308, -2.5e-300, 1e6, 0.25, 0.0, f64::INFINITY];
        let expected = ["1e308", "-2.5e-300", "1000000", "0.25", "0", "inf"];
        assert_eq!(numbers.map(number), expected);
    }

    #[test]
    fn a_diagnostic_shows_values_so() {
        let kind = DiagnosticKind::UnknownKey {
            key: format!("a\u{1b}[2J{}", "b".repeat(900)),
            valid: vec!["lr".to_owned()],
        };
        let message = Diagnostic::new(Location::start(), kind).to_string();
        assert!(
            message.starts_with("1:1: unknown key `a\\u{1b}[2Jbbb"),
            "{message}"
        );
        assert!(message.len() < 400, "{message}");
    }

    #[test]
    fn the_nearest_word_is_near() {
        let valid = ["lr", "layers", "total_variation", "cutouts"].map(String::from);
        assert_eq!(nearest("layer", &valid), Some("layers"));
        assert_eq!(nearest("LR", &valid), Some("lr"));
        assert_eq!(nearest("lrr", &valid), Some("lr"));
        assert_eq!(nearest("total-variation", &valid), Some("total_variation"));
        assert_eq!(nearest("cut", &valid), Some("cutouts"));
        assert_eq!(nearest("banana", &valid), None);
    }
}
