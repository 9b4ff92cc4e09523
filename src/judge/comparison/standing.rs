//! The statistics of a comparison.

use serde::Serialize;

/// Two scores that differ by no more than this are a draw. The judge of pytti v2 states this noise of its scores, mean cosines over six views
/// by CLIP ViT-L/14 (somnai-dreams/pytti-core).
pub const NOISE_FLOOR: f64 = 0.004;

/// How a recipe stands by one judge, or by the mean of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Standing {
    /// The mean score of its pictures.
    pub score: Option<f64>,
    /// The standard error of that mean.
    pub standard_error: Option<f64>,
    /// The standard deviation of the scores.
    pub spread: Option<f64>,
    /// How it does against the first recipe; none for the first itself.
    #[serde(flatten)]
    pub against_first: Option<AgainstFirst>,
}

/// How a recipe does against the first one, picture by picture of the same prompt and seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AgainstFirst {
    /// Pictures whose score is greater by more than [`NOISE_FLOOR`].
    pub wins: usize,
    /// Pictures whose score is less by more than that.
    pub losses: usize,
    /// The other pictures of which both have one.
    pub draws: usize,
    /// The mean of the differences.
    pub difference: Option<f64>,
    /// The standard error of that mean. It is smaller than those of the scores, because some prompts score higher than others with every
    /// recipe.
    pub difference_error: Option<f64>,
}

impl Standing {
    /// By the scores of a recipe's pictures, and those of the first recipe's for the same prompts and seeds. `None` stands for a
    /// picture that failed or is not painted yet.
    pub(super) fn new(scores: &[Option<f64>], first: Option<&[Option<f64>]>) -> Self {
        let own: Vec<f64> = scores.iter().copied().flatten().collect();
        Self {
            score: mean(&own),
            standard_error: standard_error(&own),
            spread: deviation(&own),
            against_first: first.map(|first| AgainstFirst::new(scores, first)),
        }
    }
}

impl AgainstFirst {
    fn new(scores: &[Option<f64>], first: &[Option<f64>]) -> Self {
        let differences: Vec<f64> = (scores.iter().zip(first))
            .filter_map(|(score, first)| Some((*score)? - (*first)?))
            .collect();
        let count = |is_so: fn(f64) -> bool| differences.iter().filter(|d| is_so(**d)).count();
        let (wins, losses) = (count(|d| d > NOISE_FLOOR), count(|d| d < -NOISE_FLOOR));
        Self {
            wins,
            losses,
            draws: differences.len() - wins - losses,
            difference: mean(&differences),
            difference_error: standard_error(&differences),
        }
    }
}

/// The mean; `None` for no values.
pub(super) fn mean(values: &[f64]) -> Option<f64> {
    let count = values.len() as f64;
    (count > 0.0).then(|| values.iter().sum::<f64>() / count)
}

/// The sample's standard deviation; `None` for fewer than two values.
fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

fn standard_error(values: &[f64]) -> Option<f64> {
    deviation(values).map(|deviation| deviation / (values.len() as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: Option<f64>, expected: f64) {
        assert!(
            found.is_some_and(|found| (found - expected).abs() < 1e-12),
            "{found:?} {expected}"
        );
    }

    #[test]
    fn a_difference_within_the_noise_is_a_draw() {
        let first = [0.30, 0.30, 0.30, 0.30, 0.30].map(Some);
        let other = [0.31, 0.3035, 0.2965, 0.29, 0.305].map(Some);
        let against = Standing::new(&other, Some(&first)).against_first;
        let against = against.expect("the first");
        assert_eq!((against.wins, against.losses, against.draws), (2, 1, 2));
        close(against.difference, 0.001);
    }

    #[test]
    fn pictures_that_one_lacks_do_not_count_against_the_other() {
        let first = [Some(0.3), None, Some(0.3), Some(0.3)];
        let other = [Some(0.4), Some(0.9), None, Some(0.3)];
        let standing = Standing::new(&other, Some(&first));
        close(standing.score, 1.6 / 3.0);
        let against = standing.against_first.expect("the first");
        assert_eq!((against.wins, against.losses, against.draws), (1, 0, 1));
        close(against.difference, 0.05);
    }

    #[test]
    fn the_spread_is_that_of_a_sample() {
        let standing = Standing::new(&[0.1, 0.2, 0.3].map(Some), None);
        close(standing.score, 0.2);
        close(standing.spread, 0.1);
        close(standing.standard_error, 0.1 / 3f64.sqrt());
        assert_eq!(standing.against_first, None);
    }

    #[test]
    fn one_picture_has_no_spread_and_none_no_score() {
        let one = Standing::new(&[Some(0.5)], None);
        assert_eq!((one.score, one.spread), (Some(0.5), None));
        assert_eq!(one.standard_error, None);
        assert_eq!(Standing::new(&[None], None), Standing::default());
    }
}
