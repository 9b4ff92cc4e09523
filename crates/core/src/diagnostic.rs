//! What can be wrong with a recipe, and how it is said.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use strsim::damerau_levenshtein;
use thiserror::Error;

/// The file in a run folder that holds its recipe.
pub const RECIPE: &str = "recipe.yaml";

/// Why a recipe was refused: every fault that was found in it.
#[derive(Debug)]
pub struct RecipeError {
    /// The file, or what else the recipe came from.
    pub origin: String,
    /// At least one.
    pub problems: Vec<Diagnostic>,
}

impl RecipeError {
    /// An error with these faults, in what `origin` names.
    pub fn new(origin: &str, problems: Vec<Diagnostic>) -> Self {
        Self {
            origin: origin.to_owned(),
            problems,
        }
    }
}

/// A line a problem, each with the file, the line and the column.
impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match problem.place {
                Location::Text { .. } => write!(f, "{}:", self.origin)?,
                Location::File => write!(f, "{}: ", self.origin)?,
                Location::Flag(_) => {}
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for RecipeError {}

/// One thing that is wrong, and where.
#[derive(Debug)]
pub struct Diagnostic {
    /// Where it stands.
    pub place: Location,
    /// The value that it is about, as `--set` would name it: `generator.lr`. Empty for the recipe as a whole.
    pub path: String,
    /// What is wrong.
    pub fault: DiagnosticKind,
}

impl Diagnostic {
    /// About a place as a whole.
    pub fn new(place: Location, fault: DiagnosticKind) -> Self {
        Self {
            place,
            path: String::new(),
            fault,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place != Location::File {
            write!(f, "{}: ", self.place)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}", self.fault)
    }
}

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In the recipe's text; both count from 1.
    Text {
        /// The line.
        line: usize,
        /// The character in the line.
        column: usize,
    },
    /// On the command line: the flag with its value.
    Flag(Arc<str>),
    /// The file itself.
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
            Self::Flag(flag) => f.write_str(flag),
            Self::File => f.write_str("recipe"),
        }
    }
}

/// What is wrong with a recipe.
#[derive(Debug, Error)]
pub enum DiagnosticKind {
    /// The text is not YAML.
    #[error("{0}")]
    Syntax(String),
    /// The file holds nothing.
    #[error("the recipe is empty; `phantasia recipe new pyramid` prints one to start from")]
    Empty,
    /// A key stands twice in the same map.
    #[error("the key `{key}` is given twice, first at {first}")]
    DuplicateKey {
        /// The key.
        key: String,
        /// Where it stood before.
        first: Location,
    },
    /// There is no such key.
    #[error("unknown key `{key}`{}", suggestion(.key, .valid, "keys"))]
    UnknownKey {
        /// The key.
        key: String,
        /// The keys that there are.
        valid: Vec<String>,
    },
    /// A word that is none of those that may stand there.
    #[error("unknown {} `{word}`{}", .what, suggestion(.word, .valid, "choices"))]
    UnknownWord {
        /// What it should name: a kind, a value.
        what: &'static str,
        /// The word.
        word: String,
        /// The words that there are.
        valid: Vec<String>,
    },
    /// A key that must be there is not.
    #[error("the key `{key}` is missing")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A value is of another type, or out of range.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What should stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A whole number that is written with a fraction or an exponent.
    #[error("expected a whole number in digits, found `{written}`: write {digits}")]
    NotInDigits {
        /// As it is written.
        written: String,
        /// The same number in digits.
        digits: String,
    },
    /// A value that makes no sense; the text says why, and what would.
    #[error("{0}")]
    Invalid(String),
    /// A file that the recipe names is not there.
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
    /// The file is larger than any recipe.
    #[error("is larger than {most} bytes; this is not a recipe")]
    TooLarge {
        /// The limit.
        most: u64,
    },
    /// The file is not text.
    #[error("is not UTF-8 text (byte {byte}); this is not a recipe")]
    NotText {
        /// The first byte that is not, counted from 0.
        byte: usize,
    },
    /// A picture without a recipe in it.
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

/// The word that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, valid: &'a [String]) -> Option<&'a str> {
    let lower = word.to_lowercase().replace('-', "_");
    valid
        .iter()
        .map(|candidate| (damerau_levenshtein(candidate, &lower), candidate))
        .filter(|(distance, candidate)| {
            *distance <= 1 + candidate.len().min(word.len()) / 4
                // A plural, a beginning or an end of the right word.
                || (lower.len() >= 3 && (candidate.starts_with(&lower) || lower.starts_with(candidate.as_str())))
        })
        .min()
        .map(|(_, candidate)| candidate.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

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
