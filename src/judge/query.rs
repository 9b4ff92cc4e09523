//! What pictures are compared with: texts and pictures with weights.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::ensemble::Ensemble;
use crate::picture;
use phantasia_core::{unique_label, weighted};

/// A text or a picture that pictures are compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The text or picture.
    pub content: QueryContent,
    /// How much it counts; below 0, being unlike it is good.
    pub weight: f64,
}

/// A text or a picture.
#[derive(Clone, Debug, PartialEq)]
pub enum QueryContent {
    /// A text.
    Text(String),
    /// A picture's file.
    Picture(PathBuf),
}

impl Query {
    /// A text, of weight 1.
    pub fn text(text: &str) -> Self {
        let (content, weight) = (QueryContent::Text(text.to_owned()), 1.0);
        Self { content, weight }
    }

    /// A picture, of weight 1.
    pub fn picture(path: &Path) -> Self {
        let (content, weight) = (QueryContent::Picture(path.to_owned()), 1.0);
        Self { content, weight }
    }

    /// The same with another weight.
    pub fn weighing(self, weight: f64) -> Self {
        Self { weight, ..self }
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
        Ok(Self::text(text.trim_end()).weighing(weight))
    }

    /// From `FILE` or `FILE::WEIGHT`. The name of an existing file may contain two colons.
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
        Ok(Self::picture(Path::new(path)).weighing(weight))
    }
}

/// Queries as vectors of an ensemble's CLIPs.
#[derive(Clone, Debug, Default)]
pub struct EncodedQueries {
    /// What results call each, all different.
    pub labels: Vec<String>,
    /// How much each counts.
    pub weights: Vec<f64>,
    /// The vectors, of unit length: `[encoder][query][width]`.
    pub vectors: Vec<Vec<Vec<f32>>>,
    /// Warnings about words that a model does not read.
    pub warnings: Vec<String>,
}

impl EncodedQueries {
    /// Embeds the queries with each CLIP of the ensemble.
    ///
    /// # Errors
    /// When there is no query, all weights are 0, a picture cannot be read, or a model fails.
    pub fn new(ensemble: &Ensemble, queries: &[Query]) -> Result<Self> {
        if queries.is_empty() {
            bail!("there is no prompt to judge by");
        }
        if queries.iter().all(|query| query.weight == 0.0) {
            bail!("all prompts have a weight of 0");
        }
        let mut labels: Vec<String> = vec![];
        let mut vectors = vec![vec![]; ensemble.encoders().len()];
        let mut warnings = vec![];
        for query in queries {
            let (label, embeddings) = match &query.content {
                QueryContent::Text(text) => {
                    let embeddings = (ensemble.encoders().iter())
                        .map(|encoder| {
                            let (vector, unread) = encoder.embed_text(text)?;
                            warnings.extend(unread.of_model(encoder.name(), "a prompt"));
                            Ok(vector)
                        })
                        .collect::<Result<_>>()?;
                    (text.clone(), embeddings)
                }
                QueryContent::Picture(path) => {
                    let embeddings = ensemble.embed_picture(&picture::load_rgb(path)?)?;
                    (path.display().to_string(), embeddings)
                }
            };
            labels.push(unique_label(label, |label| {
                labels.iter().any(|other| other == label)
            }));
            for (vectors, vector) in vectors.iter_mut().zip(embeddings) {
                vectors.push(vector);
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
            assert_eq!(query, Query::text(text).weighing(weight));
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
}
