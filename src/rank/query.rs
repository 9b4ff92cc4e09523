//! What pictures are judged by: texts and pictures with weights.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::eye::Panel;
use crate::picture;
use crate::prompt::weighted;

/// One thing that pictures are compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// What results call it.
    pub label: String,
    /// What it is.
    pub what: What,
    /// How much it counts; below 0, being far from it is good.
    pub weight: f64,
}

/// A text or a picture.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A text.
    Text(String),
    /// A picture's file.
    Picture(PathBuf),
}

impl Query {
    /// A text, as it is.
    pub fn text(text: &str) -> Self {
        Self {
            label: text.to_owned(),
            what: What::Text(text.to_owned()),
            weight: 1.0,
        }
    }

    /// A picture.
    pub fn picture(path: &Path) -> Self {
        Self {
            label: path.display().to_string(),
            what: What::Picture(path.to_owned()),
            weight: 1.0,
        }
    }

    /// From `TEXT` or `TEXT::WEIGHT`, see [`weighted`].
    ///
    /// # Errors
    /// When the text is empty, or the weight is not a number.
    pub fn parse_text(written: &str) -> Result<Self, String> {
        let (text, weight) = weighted(written)?;
        if text.trim().is_empty() {
            return Err("the text is empty".to_owned());
        }
        Ok(Self {
            weight,
            ..Self::text(text.trim_end())
        })
    }

    /// From `FILE` or `FILE::WEIGHT`, likewise. The name of an existing file may contain two colons.
    ///
    /// # Errors
    /// When the file's name is empty, or the weight is not a number.
    pub fn parse_picture(written: &str) -> Result<Self, String> {
        let (path, weight) = match weighted(written) {
            Err(_) if Path::new(written).exists() => (written, 1.0),
            parsed => parsed?,
        };
        if path.is_empty() {
            return Err("the file's name is empty".to_owned());
        }
        Ok(Self {
            weight,
            ..Self::picture(Path::new(path))
        })
    }
}

/// Queries as a panel understands them.
#[derive(Clone, Debug, Default)]
pub struct Queries {
    /// What results call each, all different.
    pub labels: Vec<String>,
    /// How much each counts.
    pub weights: Vec<f64>,
    /// The vectors, of unit length: `[eye][query][width]`.
    pub vectors: Vec<Vec<Vec<f32>>>,
    /// What the person should know: words that a model does not read.
    pub warnings: Vec<String>,
}

impl Queries {
    /// Asks each CLIP of the panel what it reads in the queries.
    ///
    /// # Errors
    /// When there is no query, all weights are 0, a picture cannot be read, or a model fails.
    pub fn encode(panel: &Panel, queries: &[Query]) -> Result<Self> {
        if queries.is_empty() {
            bail!("there is no prompt to judge by");
        }
        if queries.iter().all(|query| query.weight == 0.0) {
            bail!("all prompts have a weight of 0");
        }
        let mut labels: Vec<String> = vec![];
        let mut vectors = vec![vec![]; panel.eyes().len()];
        let mut warnings = vec![];
        for query in queries {
            labels.push(unused(&query.label, &labels));
            match &query.what {
                What::Text(text) => {
                    for (eye, vectors) in panel.eyes().iter().zip(&mut vectors) {
                        let (vector, unread) = eye.read(text)?;
                        warnings.extend(unread.of_model(eye.name(), "a prompt"));
                        vectors.push(vector);
                    }
                }
                What::Picture(path) => {
                    let shown = panel.show(&picture::load_rgb(path)?)?;
                    let seen = panel.see(std::slice::from_ref(&shown))?;
                    let seen = seen.into_iter().next().context("the CLIPs saw nothing")?;
                    for (vector, vectors) in seen.into_iter().zip(&mut vectors) {
                        vectors.push(vector);
                    }
                }
            }
        }
        Ok(Self {
            labels,
            weights: queries.iter().map(|query| query.weight).collect(),
            vectors,
            warnings,
        })
    }
}

/// The label, with a number where another query has it already.
fn unused(label: &str, taken: &[String]) -> String {
    let free = |label: &String| !taken.contains(label);
    std::iter::once(label.to_owned())
        .chain((2..).map(|n| format!("{label} ({n})")))
        .find(free)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_stands_behind_two_colons() {
        for (written, text, weight) in [
            ("a cat", "a cat", 1.0),
            ("blurry::-0.3", "blurry", -0.3),
            ("a cat :: 2", "a cat", 2.0),
            ("ratio 16:9", "ratio 16:9", 1.0),
            ("std::vec::1", "std::vec", 1.0),
            ("a::b::.5", "a::b", 0.5),
            ("version::2::1", "version::2", 1.0),
        ] {
            let query = Query::parse_text(written).expect("a query");
            assert_eq!(
                (query.what, query.weight),
                (What::Text(text.to_owned()), weight)
            );
        }
    }

    #[test]
    fn a_weight_that_is_not_a_number_is_refused() {
        for written in [
            "a cat::heavy",
            "std::vec",
            "a::inf",
            "a::nan",
            "a cat::",
            "a cat::1,5",
        ] {
            let error = Query::parse_text(written).expect_err(written);
            assert!(
                error.contains("is not a weight") && error.contains("::1`"),
                "{error}"
            );
            assert!(Query::parse_picture(written).is_err(), "{written}");
        }
    }

    #[test]
    fn an_empty_query_is_refused() {
        assert!(Query::parse_text(" ::2").is_err());
        assert!(Query::parse_picture("").is_err());
    }

    #[test]
    fn labels_that_are_the_same_get_numbers() {
        assert_eq!(unused("a", &["a".to_owned(), "a (2)".to_owned()]), "a (3)");
    }
}
