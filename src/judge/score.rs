//! Scores: how well each picture fits the queries, by one or several CLIPs.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use image::RgbImage;
use rayon::prelude::*;
use serde::Serialize;

use super::ensemble::Ensemble;
use super::pictures::{Digest, EmbeddedFiles, PictureResult, Results, by_content};
use super::query::{EncodedQueries, Query};
use crate::aesthetic::Head;
use crate::clip::{ClipActivation, EMBEDDED, LongText, fast_dot};

/// How the scores of several CLIPs become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// Their mean. CLIPs whose scores differ more from picture to picture count more.
    #[default]
    Score,
    /// The mean of their rankings (Borda 1781), 1 for the best picture and 0 for the worst, so that each CLIP counts as much as the
    /// others. A picture's score depends on which others it is among.
    Rank,
}

/// An aesthetic head, and the CLIP that it was trained on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AestheticOptions {
    /// The head: a file, or a known model.
    pub head: String,
    /// The CLIP whose embeddings it takes.
    pub clip: String,
}

/// What pictures are scored by.
#[derive(Clone, Debug)]
pub struct ScorerOptions {
    /// What they are compared with. With an aesthetic head it may be empty; then the head's score is the score.
    pub queries: Vec<Query>,
    /// The CLIPs that compare them.
    pub clips: Vec<String>,
    /// The nonlinearity of every CLIP except the embedded ones, overriding its files.
    pub activation: Option<ClipActivation>,
    /// What happens to texts that are longer than the context of a CLIP.
    pub long_text: LongText,
    /// How the scores of several CLIPs become one.
    pub combine: Combine,
    /// The aesthetic head, if there is one.
    pub aesthetic: Option<AestheticOptions>,
}

impl Default for ScorerOptions {
    /// The embedded CLIP, without queries.
    fn default() -> Self {
        Self {
            queries: vec![],
            clips: vec![EMBEDDED.to_owned()],
            activation: None,
            long_text: LongText::default(),
            combine: Combine::default(),
            aesthetic: None,
        }
    }
}

impl ScorerOptions {
    /// The names of all CLIPs that are loaded: first those that compare, then the head's. Without queries only the head's is needed.
    pub fn all_clips(&self) -> Vec<String> {
        let mut clips = vec![];
        if !self.queries.is_empty() {
            clips.clone_from(&self.clips);
        }
        if let Some(aesthetic) = &self.aesthetic
            && !clips.contains(&aesthetic.clip)
        {
            clips.push(aesthetic.clip.clone());
        }
        clips
    }
}

/// The score of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// The score that counts: greater is better.
    pub score: f64,
    /// The cosine to each query, the mean over the CLIPs.
    pub similarity: Vec<f64>,
    /// Each CLIP's score: the weighted mean of its cosines, `sum(w * cos) / sum(|w|)`.
    pub by_encoder: Vec<f64>,
    /// The score of the aesthetic head, about 1 to 10, if there is one.
    pub aesthetic: Option<f64>,
}

/// Scores pictures by queries, an aesthetic head, or both.
pub struct Scorer {
    ensemble: Ensemble,
    queries: EncodedQueries,
    combine: Combine,
    /// The head, and which of the ensemble's CLIPs it takes the embeddings of.
    aesthetic: Option<(Head, usize)>,
}

impl Scorer {
    /// Loads the models and encodes the queries.
    ///
    /// # Errors
    /// When there is neither a query nor a head, a model cannot be loaded, the head does not fit its CLIP, or a query cannot be encoded.
    pub fn load(options: &ScorerOptions, device: &Device) -> Result<Self> {
        let clips = options.all_clips();
        let aesthetic = match &options.aesthetic {
            None => None,
            Some(AestheticOptions { head, clip }) => {
                let index = clips.iter().position(|name| name == clip);
                Some(Head::by_name(head)?).zip(index)
            }
        };
        let ensemble = Ensemble::load(&clips, options.activation, device)?
            .with_long_text(|_| options.long_text);
        if let Some((head, index)) = &aesthetic {
            let encoder = &ensemble.encoders()[*index];
            head.fits(encoder.name(), encoder.width())?;
        }
        let mut queries = EncodedQueries::default();
        if !options.queries.is_empty() || aesthetic.is_none() {
            queries = EncodedQueries::new(&ensemble, &options.queries)?;
            // the head's CLIP does not compare pictures with the queries
            queries.vectors.truncate(options.clips.len());
        }
        Ok(Self {
            ensemble,
            queries,
            combine: options.combine,
            aesthetic,
        })
    }

    /// A scorer of loaded CLIPs, all of which compare pictures with the queries.
    ///
    /// # Errors
    /// When there is no query, all weights are 0, or a query cannot be encoded.
    pub fn new(ensemble: Ensemble, queries: &[Query], combine: Combine) -> Result<Self> {
        Ok(Self {
            queries: EncodedQueries::new(&ensemble, queries)?,
            combine,
            ensemble,
            aesthetic: None,
        })
    }

    /// The queries.
    pub fn queries(&self) -> &EncodedQueries {
        &self.queries
    }

    /// Warnings: properties of the CLIPs that their files do not state, and words of queries that a CLIP does not read.
    pub fn warnings(&self) -> impl Iterator<Item = &String> {
        self.ensemble.warnings().chain(&self.queries.warnings)
    }

    /// The score of one picture. [`Combine::Rank`] says nothing of a single picture.
    ///
    /// # Errors
    /// When the picture is empty, a model fails, or the score is not a number.
    pub fn score_picture(&self, picture: &RgbImage) -> Result<Score> {
        let scores = self.score(&[&self.ensemble.embed_picture(picture)?])?;
        (scores.into_iter().next()).context("there is no picture")
    }

    /// The scores of picture files, in the order in which they are given; folders are searched for pictures. `progress` is called with the
    /// number of files that are done, and of all.
    ///
    /// # Errors
    /// When a model fails, or a score is not a number. Files that cannot be read are no error; they are listed.
    pub fn score_files(
        &self,
        paths: &[PathBuf],
        progress: impl FnMut(usize, usize),
    ) -> Result<Results<Score>> {
        let embedded = self.ensemble.embed_paths(paths, progress)?;
        let files = (embedded.files.iter()).map(|(path, digest)| (*digest, vec![path.clone()]));
        self.score_groups(files.collect(), embedded)
    }

    /// The scores of pictures as of [`Scorer::score_files`], from the best to the worst. Files of the same content are one picture.
    ///
    /// # Errors
    /// As [`Scorer::score_files`].
    pub fn rank_files(
        &self,
        paths: &[PathBuf],
        progress: impl FnMut(usize, usize),
    ) -> Result<Results<Score>> {
        let embedded = self.ensemble.embed_paths(paths, progress)?;
        let mut scored = self.score_groups(by_content(&embedded.files), embedded)?;
        // equal scores keep the order of the files
        (scored.pictures).sort_by(|a, b| b.result.score.total_cmp(&a.result.score));
        Ok(scored)
    }

    fn score_groups(
        &self,
        groups: Vec<(Digest, Vec<PathBuf>)>,
        embedded: EmbeddedFiles,
    ) -> Result<Results<Score>> {
        let vectors: Vec<&[Vec<f32>]> = (groups.iter())
            .map(|(digest, _)| embedded.vectors[digest].as_slice())
            .collect();
        let scores = self.score(&vectors)?;
        let pictures = (groups.into_iter().zip(scores))
            .map(|((_, paths), result)| PictureResult { paths, result })
            .collect();
        let skipped = embedded.skipped;
        Ok(Results { pictures, skipped })
    }

    /// The scores of pictures by their vectors, `[encoder][width]`.
    fn score(&self, pictures: &[&[Vec<f32>]]) -> Result<Vec<Score>> {
        let mut scores = combine_scores(pictures, &self.queries, self.combine)?;
        if let Some((head, index)) = &self.aesthetic {
            for (score, vectors) in scores.iter_mut().zip(pictures) {
                let aesthetic = head.score(&vectors[*index]);
                score.aesthetic = Some(aesthetic);
                if self.queries.labels.is_empty() {
                    score.score = aesthetic;
                }
            }
        }
        Ok(scores)
    }
}

/// The scores of pictures, in their order, by the CLIPs that encoded the queries. Each picture comes as its vectors, `[encoder][width]`.
///
/// # Errors
/// When a score is not a number.
pub fn combine_scores(
    pictures: &[&[Vec<f32>]],
    queries: &EncodedQueries,
    combine: Combine,
) -> Result<Vec<Score>> {
    let total = total_weight(queries);
    let encoders = queries.vectors.len().max(1) as f64;
    let mut scores: Vec<Score> = (pictures.iter())
        .map(|vectors| {
            let mut similarity = vec![0.0; queries.labels.len()];
            let mut by_encoder = vec![];
            for (vector, of_encoder) in vectors.iter().zip(&queries.vectors) {
                let mut score = 0.0;
                let each = similarity.iter_mut().zip(&queries.weights);
                for ((mean, weight), query) in each.zip(of_encoder) {
                    let cosine = fast_dot(vector, query);
                    *mean += cosine / encoders;
                    score += weight * cosine / total;
                }
                by_encoder.push(score);
            }
            Score {
                score: by_encoder.iter().sum::<f64>() / encoders,
                similarity,
                by_encoder,
                aesthetic: None,
            }
        })
        .collect();
    if scores.iter().any(|score| !score.score.is_finite()) {
        bail!("a score is not a number: the weights of a CLIP are damaged");
    }
    if combine == Combine::Rank {
        let rankings: Vec<Vec<f64>> = (0..queries.vectors.len())
            .map(|encoder| {
                let of_encoder = scores.iter().map(|score| score.by_encoder[encoder]);
                shares(&of_encoder.collect::<Vec<_>>())
            })
            .collect();
        for (picture, score) in scores.iter_mut().enumerate() {
            let each = rankings.iter().map(|shares| shares[picture] / encoders);
            score.score = each.sum();
        }
    }
    Ok(scores)
}

fn total_weight(queries: &EncodedQueries) -> f64 {
    queries.weights.iter().map(|weight| weight.abs()).sum()
}

/// The scores of many pictures by one CLIP, each a vector `[width]` of unit length: the weighted mean of the cosines to the queries. One
/// product a picture, whatever the number of queries, on all cores.
pub fn search_scores(pictures: &[&[f32]], queries: &EncodedQueries) -> Vec<f64> {
    let mean = mean_query(queries);
    let score = |picture: &&[f32]| fast_dot(picture, &mean);
    pictures.par_iter().map(score).collect()
}

/// The weighted mean of the queries' vectors by the first CLIP: the mean of cosines to several vectors is one product with it.
pub(crate) fn mean_query(queries: &EncodedQueries) -> Vec<f32> {
    let total = total_weight(queries);
    let mut mean = vec![0.0f32; queries.vectors[0].first().map_or(0, Vec::len)];
    for (vector, weight) in queries.vectors[0].iter().zip(&queries.weights) {
        for (mean, value) in mean.iter_mut().zip(vector) {
            *mean += (weight / total) as f32 * value;
        }
    }
    mean
}

/// The share of the others that each is better than; a tie counts as half.
fn shares(scores: &[f64]) -> Vec<f64> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    let others = scores.len().saturating_sub(1).max(1) as f64;
    (scores.iter())
        .map(|score| {
            let worse = sorted.partition_point(|other| other < score);
            let not_better = sorted.partition_point(|other| other <= score);
            (worse as f64 + (not_better - worse - 1) as f64 / 2.0) / others
        })
        .collect()
}

/// The indices of scores from the greatest to the least; equal ones stay in their order.
pub fn best_first(scores: impl IntoIterator<Item = f64>) -> Vec<usize> {
    let scores: Vec<f64> = scores.into_iter().collect();
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queries(weights: &[f64], vectors: Vec<Vec<Vec<f32>>>) -> EncodedQueries {
        EncodedQueries {
            labels: weights.iter().map(f64::to_string).collect(),
            weights: weights.to_vec(),
            vectors,
            warnings: vec![],
        }
    }

    fn scores(pictures: &[Vec<Vec<f32>>], queries: &EncodedQueries, combine: Combine) -> Vec<f64> {
        let pictures: Vec<&[Vec<f32>]> = pictures.iter().map(Vec::as_slice).collect();
        let scores = combine_scores(&pictures, queries, combine).expect("scores");
        scores.iter().map(|score| score.score).collect()
    }

    #[test]
    fn a_negative_prompt_takes_away() {
        let queries = queries(&[1.0, -3.0], vec![vec![vec![1.0, 0.0], vec![0.0, 1.0]]]);
        let found = scores(
            &[vec![vec![1.0, 0.0]], vec![vec![0.6, 0.8]]],
            &queries,
            Combine::Score,
        );
        assert_eq!(found[0], 0.25);
        assert!((found[1] - (0.6 - 2.4) / 4.0).abs() < 1e-6);
    }

    #[test]
    fn by_rank_a_clip_with_large_differences_counts_no_more() {
        let queries = queries(
            &[1.0],
            vec![vec![vec![1.0]], vec![vec![1.0]], vec![vec![1.0]]],
        );
        // the first CLIP strongly prefers the second picture, the other two slightly prefer the first
        let pictures = [
            vec![vec![0.1], vec![0.31], vec![0.21]],
            vec![vec![0.9], vec![0.30], vec![0.20]],
        ];
        let by_score = scores(&pictures, &queries, Combine::Score);
        let by_rank = scores(&pictures, &queries, Combine::Rank);
        assert!(by_score[1] > by_score[0]);
        assert!(by_rank[0] > by_rank[1], "{by_rank:?}");
    }

    #[test]
    fn ties_share_their_ranks() {
        assert_eq!(shares(&[1.0, 2.0, 2.0, 3.0]), [0.0, 0.5, 0.5, 1.0]);
        assert_eq!(shares(&[1.0]), [0.0]);
    }

    #[test]
    fn equal_scores_stay_in_order() {
        assert_eq!(best_first([0.1, 0.5, 0.5, 0.7]), [3, 1, 2, 0]);
    }

    #[test]
    fn a_score_that_is_not_a_number_is_an_error() {
        let queries = queries(&[1.0], vec![vec![vec![f32::NAN]]]);
        assert!(combine_scores(&[&[vec![1.0]]], &queries, Combine::Score).is_err());
    }
}
