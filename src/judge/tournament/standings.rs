//! Where a tournament stands: its rounds, and the scores of its candidates so far.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::super::unchanged::unchanged_recipe;
use crate::clip::ClipActivation;
use crate::recipe::Recipe;
use crate::run::RECIPE;

/// The standings' file name in a tournament's folder.
pub const STANDINGS: &str = "standings.json";

/// One round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// How many candidates are in it.
    pub candidates: usize,
    /// The step to which they are painted.
    pub until: usize,
}

/// One seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The seed.
    pub seed: u64,
    /// The name of its run folder in the tournament's, once it has started.
    pub run: Option<String>,
    /// Its score after each round that it was in.
    pub scores: Vec<f64>,
    /// The round after which it was dropped, from 0.
    pub dropped: Option<usize>,
    /// Why its painting failed.
    pub failed: Option<String>,
}

impl Candidate {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    pub(super) fn is_active(&self) -> bool {
        self.dropped.is_none() && self.failed.is_none()
    }

    /// Its last score; none before its first round is over.
    pub fn score(&self) -> Option<f64> {
        self.scores.last().copied()
    }
}

/// Where a tournament stands: all that is needed to resume it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standings {
    /// The CLIPs that judge.
    pub judge: Vec<String>,
    /// Their nonlinearity, as in [`TournamentOptions`](super::TournamentOptions).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<ClipActivation>,
    /// Whether one of them also guides the painting: then it judges its own work, and scores it higher than another would.
    pub judge_is_guide: bool,
    /// The rounds.
    pub rounds: Vec<Round>,
    /// The candidates, in the order of their seeds.
    pub candidates: Vec<Candidate>,
    /// The candidates' recipe, as it was written to the folder when the tournament began; standings of older versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
}

impl Standings {
    /// The standings in a tournament's folder.
    ///
    /// # Errors
    /// When there are none, or they are damaged.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(STANDINGS);
        let file = path.display();
        let text = fs::read(&path).with_context(|| format!("cannot read {file}"))?;
        let standings: Self =
            serde_json::from_slice(&text).with_context(|| format!("{file} is damaged"))?;
        let shrinks = |pair: &[Round]| {
            pair[0].candidates >= pair[1].candidates && pair[0].until < pair[1].until
        };
        let fits = standings.rounds.windows(2).all(shrinks)
            && (standings.candidates.iter())
                .all(|candidate| candidate.scores.len() <= standings.rounds.len())
            && standings.rounds.first().map(|first| first.candidates)
                == Some(standings.candidates.len());
        if !fits {
            bail!("{file} is damaged: its rounds do not fit its candidates");
        }
        Ok(standings)
    }

    /// The recipe in the tournament's folder, which must not have been changed, because candidates of different recipes cannot be compared.
    /// Once the tournament is finished, it is the winner's, with another seed.
    ///
    /// # Errors
    /// When it cannot be read, or was changed.
    pub fn recipe_in(&self, folder: &Path) -> Result<Recipe> {
        let Some(before) = &self.recipe else {
            return Ok(Recipe::load(&folder.join(RECIPE))?);
        };
        let allow = |before: &mut Recipe, now: &Recipe| {
            if self.is_finished() {
                before.seed = now.seed;
            }
        };
        let restart = "the tournament began: change it back, or begin another tournament with `phantasia render --candidates`";
        unchanged_recipe(folder, before, allow, restart)
    }

    /// The candidates from the best to the worst: by the number of rounds, then by the last score.
    pub fn order(&self) -> Vec<&Candidate> {
        let mut order: Vec<&Candidate> = self.candidates.iter().collect();
        let score = |candidate: &Candidate| candidate.score().unwrap_or(f64::NEG_INFINITY);
        order.sort_by(|a, b| {
            let rounds = b.scores.len().cmp(&a.scores.len());
            rounds.then(score(b).total_cmp(&score(a)))
        });
        order
    }

    /// Whether the last round is over.
    pub fn is_finished(&self) -> bool {
        (self.candidates.iter())
            .all(|candidate| !candidate.is_active() || candidate.scores.len() == self.rounds.len())
    }

    /// The steps of all rounds as a share of painting every candidate to the end.
    pub fn cost(&self) -> f64 {
        cost(&self.rounds)
    }
}

/// Steps of all candidates in these rounds.
pub(super) fn total_steps(rounds: &[Round]) -> usize {
    let before = std::iter::once(0).chain(rounds.iter().map(|round| round.until));
    (rounds.iter().zip(before))
        .map(|(round, before)| round.candidates * (round.until - before))
        .sum()
}

/// The steps as a share of painting all candidates to the end.
fn cost(rounds: &[Round]) -> f64 {
    let ends = rounds.first().zip(rounds.last());
    let all = ends.map_or(1, |(first, last)| first.candidates * last.until);
    total_steps(rounds) as f64 / all.max(1) as f64
}

/// The rounds of a tournament of so many candidates, `keep` of which are painted to the end of so many steps.
pub(super) fn rounds(candidates: usize, keep: usize, steps: usize) -> Vec<Round> {
    let keep = keep.clamp(1, candidates.max(1));
    let mut sizes = vec![candidates];
    let mut left = candidates;
    while left > keep {
        left = left.div_ceil(2).max(keep);
        sizes.push(left);
    }
    let cuts = sizes.len() - 1;
    let mut rounds: Vec<Round> = vec![];
    for (round, candidates) in sizes.into_iter().enumerate() {
        let share = if round == cuts { 1.0 } else { cut(round, cuts) };
        // rounded down, because all candidates are painted in the early rounds
        let until = ((share * steps as f64) as usize).clamp(1, steps.max(1));
        match rounds.last_mut() {
            // with fewer steps than rounds, several rounds are merged
            Some(last) if last.until >= until => {}
            _ => rounds.push(Round { candidates, until }),
        }
    }
    if let Some(last) = rounds.last_mut() {
        last.until = steps;
    }
    rounds
}

/// The share of the steps after which the worse half is dropped, for drop `number` of `cuts`, from 0.
///
/// Found by comparing schedules of equal cost on sixteen renders each of three recipes on the embedded CLIP: the winner of eight was at least the
/// median of the eight in 98 of 100 draws, against 84 with shares that grow evenly.
fn cut(number: usize, cuts: usize) -> f64 {
    match cuts {
        1 => 0.5,
        _ => 0.25 + 0.55 * (number as f64 / (cuts - 1) as f64).powf(2.5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(candidates: usize, keep: usize, steps: usize) -> Vec<(usize, usize)> {
        let rounds = rounds(candidates, keep, steps);
        rounds
            .iter()
            .map(|round| (round.candidates, round.until))
            .collect()
    }

    #[test]
    fn each_round_has_half_of_the_candidates() {
        assert_eq!(plan(8, 1, 100), [(8, 25), (4, 34), (2, 80), (1, 100)]);
        assert_eq!(plan(6, 2, 100), [(6, 25), (3, 80), (2, 100)]);
        assert_eq!(plan(2, 1, 100), [(2, 50), (1, 100)]);
        assert_eq!(plan(5, 5, 100), [(5, 100)]);
    }

    #[test]
    fn eight_to_one_cost_less_than_half() {
        for steps in 8..600 {
            let cost = cost(&rounds(8, 1, steps));
            assert!(cost <= 0.45, "{steps}: {cost}");
        }
    }

    #[test]
    fn rounds_are_merged_where_steps_are_few() {
        for steps in 1..5 {
            let plan = plan(8, 1, steps);
            assert_eq!(plan.last().map(|last| last.1), Some(steps));
            assert!(
                plan.windows(2).all(|pair| pair[0].1 < pair[1].1),
                "{plan:?}"
            );
        }
    }

    #[test]
    fn a_candidate_of_more_rounds_is_better() {
        let candidate = |seed, scores: &[f64]| Candidate {
            scores: scores.to_vec(),
            ..Candidate::new(seed)
        };
        let standings = Standings {
            judge: vec![],
            activation: None,
            judge_is_guide: false,
            rounds: rounds(3, 1, 10),
            candidates: vec![
                candidate(1, &[0.9]),
                candidate(2, &[0.3, 0.2]),
                candidate(3, &[0.4, 0.5]),
            ],
            recipe: None,
        };
        let order: Vec<u64> = standings
            .order()
            .iter()
            .map(|candidate| candidate.seed)
            .collect();
        assert_eq!(order, [3, 2, 1]);
    }
}
