//! Scores: how well each picture fits the queries, by one or several CLIPs.

use anyhow::{Result, bail};

use rayon::prelude::*;

use super::eye::dot;
use super::query::Queries;

/// How the opinions of several CLIPs become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Combine {
    /// The mean of their scores. CLIPs whose scores differ more from picture to picture count more.
    #[default]
    Score,
    /// The mean of their rankings (Borda 1781), 1 for the best picture and 0 for the worst, so that each CLIP counts as much as the
    /// others. A picture's score depends on which others it is among.
    Rank,
}

/// A picture's scores.
#[derive(Clone, Debug, PartialEq)]
pub struct Rated {
    /// What counts: greater is better.
    pub score: f64,
    /// The cosine to each query, the mean over the CLIPs.
    pub similarity: Vec<f64>,
    /// Each CLIP's score: the weighted mean of its cosines, `sum(w * cos) / sum(|w|)`.
    pub by_eye: Vec<f64>,
}

/// The scores of pictures, in their order. Each picture comes as its vectors, `[eye][width]`.
///
/// # Errors
/// When a score is not a number.
pub fn rate(pictures: &[&[Vec<f32>]], queries: &Queries, combine: Combine) -> Result<Vec<Rated>> {
    let total: f64 = queries.weights.iter().map(|weight| weight.abs()).sum();
    let mut rated: Vec<Rated> = pictures
        .iter()
        .map(|vectors| {
            let eyes = vectors.len().max(1) as f64;
            let mut similarity = vec![0.0; queries.labels.len()];
            let mut by_eye = vec![];
            for (vector, queries_of_eye) in vectors.iter().zip(&queries.vectors) {
                let mut score = 0.0;
                let each = similarity.iter_mut().zip(&queries.weights);
                for ((mean, weight), query) in each.zip(queries_of_eye) {
                    let cosine = dot(vector, query);
                    *mean += cosine / eyes;
                    score += weight * cosine / total;
                }
                by_eye.push(score);
            }
            Rated {
                score: by_eye.iter().sum::<f64>() / eyes,
                similarity,
                by_eye,
            }
        })
        .collect();
    if rated.iter().any(|rated| !rated.score.is_finite()) {
        bail!("a score is not a number: the weights of a CLIP are damaged");
    }
    if combine == Combine::Rank {
        let eyes = queries.vectors.len().max(1) as f64;
        let mut means = vec![0.0; rated.len()];
        for eye in 0..queries.vectors.len() {
            let scores: Vec<f64> = rated.iter().map(|rated| rated.by_eye[eye]).collect();
            for (mean, share) in means.iter_mut().zip(shares(&scores)) {
                *mean += share / eyes;
            }
        }
        for (rated, mean) in rated.iter_mut().zip(means) {
            rated.score = mean;
        }
    }
    Ok(rated)
}

/// The scores of many pictures by one CLIP, each a vector `[width]` of unit length: the weighted mean of the cosines to the queries. Works
/// on all cores.
pub fn by_one(pictures: &[&[f32]], queries: &Queries) -> Vec<f64> {
    let total: f64 = queries.weights.iter().map(|weight| weight.abs()).sum();
    // the mean of cosines to several vectors is one product with their mean
    let mut mean = vec![0.0f32; queries.vectors[0].first().map_or(0, Vec::len)];
    for (vector, weight) in queries.vectors[0].iter().zip(&queries.weights) {
        for (mean, value) in mean.iter_mut().zip(vector) {
            *mean += (weight / total) as f32 * value;
        }
    }
    pictures
        .par_iter()
        .map(|picture| dot(picture, &mean))
        .collect()
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

/// The places of pictures from the best to the worst; what is equally good stays in its order.
pub fn best_first(scores: impl IntoIterator<Item = f64>) -> Vec<usize> {
    let scores: Vec<f64> = scores.into_iter().collect();
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queries(weights: &[f64], vectors: Vec<Vec<Vec<f32>>>) -> Queries {
        Queries {
            labels: weights.iter().map(f64::to_string).collect(),
            weights: weights.to_vec(),
            vectors,
            warnings: vec![],
        }
    }

    fn scores(pictures: &[Vec<Vec<f32>>], queries: &Queries, combine: Combine) -> Vec<f64> {
        let pictures: Vec<&[Vec<f32>]> = pictures.iter().map(Vec::as_slice).collect();
        let rated = rate(&pictures, queries, combine).expect("scores");
        rated.iter().map(|rated| rated.score).collect()
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
        // the first CLIP shouts for the second picture, the other two whisper for the first
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
    fn ties_share_their_places() {
        assert_eq!(shares(&[1.0, 2.0, 2.0, 3.0]), [0.0, 0.5, 0.5, 1.0]);
        assert_eq!(shares(&[1.0]), [0.0]);
    }

    #[test]
    fn what_is_equally_good_stays_in_order() {
        assert_eq!(best_first([0.1, 0.5, 0.5, 0.7]), [3, 1, 2, 0]);
    }

    #[test]
    fn a_score_that_is_not_a_number_is_an_error() {
        let queries = queries(&[1.0], vec![vec![vec![f32::NAN]]]);
        assert!(rate(&[&[vec![1.0]]], &queries, Combine::Score).is_err());
    }
}
