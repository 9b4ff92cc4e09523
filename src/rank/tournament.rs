//! Candidates: the same recipe with several seeds, of which a judge keeps the best.
//!
//! Successive halving (Jamieson and Talwalkar 2016): all candidates are painted for a share of the steps, the worse half is
//! dropped, the rest goes on, until as many are left as are wanted; these are painted to the end. Before a quarter of the steps scores
//! say next to nothing of the end, so nobody is dropped earlier; the last choice, between two that are both good, is made late, where
//! it costs least. Eight candidates to one cost 44 % of eight renders.
//!
//! The folder of a tournament is a run folder like any other, of the winner, with `standings.json`, `bracket.png`, the pictures of each
//! round in `rounds/`, and a run folder for each candidate. Only one candidate is in memory at a time; the others wait as
//! checkpoints. So a tournament can be stopped at any step, and goes on where it was.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use candle_core::Device;
use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::bracket;
use super::eye::Panel;
use super::query::{Queries, Query};
use super::score::{Combine, rate};
use crate::clip::ClipActivation;
use crate::clip::{ClipChoice, EMBEDDED};
use crate::files::write_whole;
use crate::metadata;
use crate::picture;
use crate::prompt::{PromptSchedule, StepContext};
use crate::recipe::{ClipOptions, PartialRecipe, Prompt, Recipe};
use crate::run::{CHECKPOINT, RECIPE, Resumption, Run, RunFolder};
use crate::session::{Session, SessionOptions, Tick};

/// The standings' file name in a tournament's folder.
pub const STANDINGS: &str = "standings.json";
/// The bracket's file name in a tournament's folder.
pub const BRACKET: &str = "bracket.png";
/// The folder of each round's pictures in a tournament's folder.
const ROUNDS: &str = "rounds";

/// How a tournament is played.
#[derive(Clone, Debug)]
pub struct TournamentOptions {
    /// How many seeds take part, from the recipe's own on.
    pub candidates: usize,
    /// How many are painted to the end.
    pub keep: usize,
    /// The CLIPs that judge.
    pub judge: Vec<String>,
    /// The nonlinearity of all of them except the embedded one, overriding their files.
    pub activation: Option<ClipActivation>,
}

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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The seed.
    pub seed: u64,
    /// Its run folder in the tournament's, once it is begun.
    pub run: Option<String>,
    /// Its score after each round that it was in.
    pub scores: Vec<f64>,
    /// The round after which it was dropped, from 0.
    pub dropped: Option<usize>,
    /// Why it could not be painted on.
    pub failed: Option<String>,
}

impl Candidate {
    fn plays(&self) -> bool {
        self.dropped.is_none() && self.failed.is_none()
    }

    /// Its last score; none before its first round is over.
    pub fn score(&self) -> Option<f64> {
        self.scores.last().copied()
    }
}

/// Where a tournament stands: all that is needed to go on with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standings {
    /// The CLIPs that judge.
    pub judge: Vec<String>,
    /// Their nonlinearity, as in [`TournamentOptions`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<ClipActivation>,
    /// Whether one of them guides the painting too: then it judges its own work, and likes it better than another would.
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
    /// Those of a tournament's folder.
    ///
    /// # Errors
    /// When there are none, or they are damaged.
    pub fn load(folder: &Path) -> Result<Self> {
        let file = folder.join(STANDINGS);
        let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let standings: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged", file.display()))?;
        let shrinks = |pair: &[Round]| {
            pair[0].candidates >= pair[1].candidates && pair[0].until < pair[1].until
        };
        let fits = standings.rounds.windows(2).all(shrinks)
            && (standings.candidates.iter())
                .all(|candidate| candidate.scores.len() <= standings.rounds.len())
            && standings.rounds.first().map(|first| first.candidates)
                == Some(standings.candidates.len());
        if !fits {
            bail!(
                "{} is damaged: its rounds do not fit its candidates",
                file.display()
            );
        }
        Ok(standings)
    }

    /// The recipe in the tournament's folder, which must not have been changed, because candidates of different recipes cannot be compared.
    /// Once the tournament is finished, it is the winner's, with another seed.
    ///
    /// # Errors
    /// When it cannot be read, or was changed.
    pub fn recipe_in(&self, folder: &Path) -> Result<Recipe> {
        let draft = PartialRecipe::load(&folder.join(RECIPE))?;
        let now = draft.finish()?;
        let Some(text) = &self.recipe else {
            return Ok(now);
        };
        let mut before =
            PartialRecipe::parse(text, "the recipe in the standings", folder)?.unchecked()?;
        if self.is_finished() {
            before.seed = now.seed;
        }
        let differences = before.differences(&now);
        let differences = differences.context("cannot compare the recipe with the standings'")?;
        let refused: Vec<_> = (differences.into_iter())
            .map(|difference| {
                let why = format!(
                    "it is {} here, and was {} when the tournament began: change it back, or begin another tournament with `phantasia render --candidates`",
                    difference.now, difference.before
                );
                (difference.path, why)
            })
            .collect();
        if refused.is_empty() {
            Ok(now)
        } else {
            Err(draft.refusal(refused).into())
        }
    }

    /// The candidates from the best to the worst: who came further, then who scored better.
    pub fn order(&self) -> Vec<&Candidate> {
        let mut order: Vec<&Candidate> = self.candidates.iter().collect();
        order.sort_by(|a, b| {
            let rank = |candidate: &Candidate| {
                (
                    candidate.scores.len(),
                    candidate.score().unwrap_or(f64::NEG_INFINITY),
                )
            };
            let ((rounds_a, score_a), (rounds_b, score_b)) = (rank(a), rank(b));
            rounds_b.cmp(&rounds_a).then(score_b.total_cmp(&score_a))
        });
        order
    }

    /// Whether the last round is over.
    pub fn is_finished(&self) -> bool {
        (self.candidates.iter())
            .all(|candidate| !candidate.plays() || candidate.scores.len() == self.rounds.len())
    }

    /// Steps that it takes in all, as a share of painting every candidate to the end.
    pub fn cost(&self) -> f64 {
        cost(&self.rounds)
    }
}

fn cost(rounds: &[Round]) -> f64 {
    let mut before = 0;
    let mut steps = 0;
    for round in rounds {
        steps += round.candidates * (round.until - before);
        before = round.until;
    }
    let all = rounds.first().map_or(1, |first| first.candidates) * before;
    steps as f64 / all.max(1) as f64
}

/// The rounds of a tournament of so many candidates, of whom `keep` are painted to the end of so many steps.
pub fn rounds(candidates: usize, keep: usize, steps: usize) -> Vec<Round> {
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
        // rounded down: early steps are the dear ones
        let until = ((share * steps as f64) as usize).clamp(1, steps.max(1));
        match rounds.last_mut() {
            // with fewer steps than rounds, several are one
            Some(last) if last.until >= until => {}
            _ => rounds.push(Round { candidates, until }),
        }
    }
    if let Some(last) = rounds.last_mut() {
        last.until = steps;
    }
    rounds
}

/// The share of the steps after which the worse half is dropped for the time `number` of `cuts`, from 0.
///
/// Found by trying schedules of one cost on sixteen renders each of three recipes on the embedded CLIP: the winner of eight was at least the
/// median of the eight in 98 of 100 draws, against 84 with shares that grow evenly.
fn cut(number: usize, cuts: usize) -> f64 {
    match cuts {
        1 => 0.5,
        _ => 0.25 + 0.55 * (number as f64 / (cuts - 1) as f64).powf(2.5),
    }
}

/// What is going on.
pub struct Event<'a> {
    /// The seed that is painted.
    pub seed: u64,
    /// The round, from 0.
    pub round: usize,
    /// What its step found.
    pub tick: &'a Tick,
    /// Steps of all candidates that are done.
    pub done: usize,
    /// Steps that the whole tournament takes.
    pub total: usize,
}

/// A tournament in its folder.
pub struct Tournament {
    folder: RunFolder,
    recipe: Recipe,
    standings: Standings,
    panel: Panel,
    queries: Queries,
    device: Device,
    options: SessionOptions,
}

impl Tournament {
    /// Makes ready for a new tournament, in a new folder `out/name-NNN`.
    ///
    /// # Errors
    /// When the options do not fit each other, a model cannot be loaded, or the folder cannot be written to.
    pub fn new(
        out: &Path,
        name: &str,
        recipe: &Recipe,
        options: &TournamentOptions,
        session: SessionOptions,
        device: &Device,
    ) -> Result<Self> {
        if options.candidates == 0 || options.keep == 0 || options.keep > options.candidates {
            bail!(
                "a tournament keeps from 1 to all of its candidates, not {} of {}",
                options.keep,
                options.candidates
            );
        }
        let seeds = (0..options.candidates)
            .map(|number| recipe.seed.checked_add(number as u64))
            .collect::<Option<Vec<u64>>>()
            .context("the seeds of the candidates end before the last: take a smaller seed")?;
        let mut recipe = recipe.clone();
        // pictures that may be dropped leave no videos
        recipe.output.video = None;
        let planned = (0..recipe.generator.0.len())
            .map(|stage| recipe.stage_steps(stage))
            .sum();
        // a stop in the timeline is the end of every candidate
        let steps = recipe.stops_at().map_or(planned, |stop| stop.min(planned));
        let standings = Standings {
            judge: options.judge.clone(),
            activation: options.activation,
            judge_is_guide: (recipe.clip.iter()).any(|clip| options.judge.contains(&clip.model)),
            rounds: rounds(options.candidates, options.keep, steps),
            candidates: (seeds.into_iter())
                .map(|seed| Candidate {
                    seed,
                    run: None,
                    scores: vec![],
                    dropped: None,
                    failed: None,
                })
                .collect(),
            recipe: None,
        };
        let mut written = None;
        let mut tournament = Self::ready(recipe, standings, session, device, |recipe| {
            let mut folder = RunFolder::create(out, name)?;
            written = Some(folder.write_recipe(recipe)?.to_yaml());
            Ok(folder)
        })?;
        tournament.standings.recipe = written;
        tournament.keep_standings()?;
        Ok(tournament)
    }

    /// Makes ready to go on with a tournament that was stopped.
    ///
    /// # Errors
    /// When the folder is no tournament's, damaged, or in use; when its recipe was changed since it began, or a model cannot be loaded.
    pub fn resume(path: &Path, session: SessionOptions, device: &Device) -> Result<Self> {
        let folder = RunFolder::open(path)?;
        let standings = Standings::load(path)?;
        let recipe = standings.recipe_in(path)?;
        Self::ready(recipe, standings, session, device, |_| Ok(folder))
    }

    /// A folder is the last that is made: there is none of a tournament that cannot be played.
    fn ready(
        recipe: Recipe,
        standings: Standings,
        options: SessionOptions,
        device: &Device,
        folder: impl FnOnce(&Recipe) -> Result<RunFolder>,
    ) -> Result<Self> {
        let panel = judges(&standings, &recipe, &options, device)?;
        let mut queries = Queries::encode(&panel, &aims(&recipe))?;
        queries.warnings.extend(panel.warnings().cloned());
        Ok(Self {
            folder: folder(&recipe)?,
            recipe,
            standings,
            panel,
            queries,
            device: device.clone(),
            options,
        })
    }

    /// Whether a folder is a tournament's.
    pub fn is_at(path: &Path) -> bool {
        path.join(STANDINGS).is_file()
    }

    /// Where it stands.
    pub fn standings(&self) -> &Standings {
        &self.standings
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Warnings: words of a prompt that a judge does not read, and what was assumed of a judge.
    pub fn warnings(&self) -> &[String] {
        &self.queries.warnings
    }

    /// Plays to the end, or until `stop` is set; true where it came to the end. `watch` is called after every step. The same recipe,
    /// options and device give the same standings and the same pictures, with or without a stop.
    ///
    /// # Errors
    /// When no candidate can be painted, or a file cannot be written. A single candidate that fails is dropped.
    pub fn play(&mut self, stop: &AtomicBool, mut watch: impl FnMut(&Event<'_>)) -> Result<bool> {
        let total = self.steps_until(self.standings.rounds.len());
        for round in 0..self.standings.rounds.len() {
            for place in 0..self.standings.candidates.len() {
                let candidate = &self.standings.candidates[place];
                if !candidate.plays() || candidate.scores.len() > round {
                    continue;
                }
                match self.turn(place, round, stop, total, &mut watch) {
                    Ok(true) => {}
                    Ok(false) => {
                        self.keep_standings()?;
                        self.show()?;
                        return Ok(false);
                    }
                    Err(error) => {
                        self.standings.candidates[place].failed = Some(format!("{error:#}"));
                    }
                }
                self.keep_standings()?;
            }
            self.drop_the_worse(round)?;
            self.keep_standings()?;
            self.show()?;
        }
        self.crown()?;
        Ok(true)
    }

    /// Steps of all candidates up to the beginning of a round.
    fn steps_until(&self, round: usize) -> usize {
        let mut before = 0;
        let rounds = self.standings.rounds.iter().take(round);
        rounds
            .map(|round| {
                let steps = round.candidates * (round.until - before);
                before = round.until;
                steps
            })
            .sum()
    }

    /// Paints one candidate to the end of a round and judges it. False where it was stopped.
    fn turn(
        &mut self,
        place: usize,
        round: usize,
        stop: &AtomicBool,
        total: usize,
        watch: &mut impl FnMut(&Event<'_>),
    ) -> Result<bool> {
        let seed = self.standings.candidates[place].seed;
        let until = self.standings.rounds[round].until;
        let last = round + 1 == self.standings.rounds.len();
        let from = match round {
            0 => 0,
            _ => self.standings.rounds[round - 1].until,
        };
        let others = (self.standings.candidates.iter())
            .filter(|candidate| candidate.scores.len() > round)
            .count();
        let before = self.steps_until(round) + others * (until - from);
        let mut run = self.run(place)?;
        while !run.is_finished() && (last || run.session().step() < until) {
            if stop.load(Ordering::Relaxed) {
                run.stop()?;
                return Ok(false);
            }
            let tick = run.step()?;
            watch(&Event {
                seed,
                round,
                tick,
                done: before + tick.step.saturating_sub(from),
                total,
            });
        }
        // the recipe of a dropped candidate ends here; when the others are resumed, the stop is removed again
        let (_, image) = run.stop()?;
        drop(run);
        let seen = self.panel.see(&[self.panel.show(&image)?])?;
        let score = rate(&[&seen[0]], &self.queries, Combine::Score)?[0].score;
        self.keep_picture(seed, round, &image)?;
        self.standings.candidates[place].scores.push(score);
        Ok(true)
    }

    /// A candidate as it was left, or at its start.
    fn run(&mut self, place: usize) -> Result<Run> {
        if let Some(run) = &self.standings.candidates[place].run {
            let path = self.folder.path().join(run);
            let mut folder = RunFolder::open(&path)?;
            // it may have been killed before its first checkpoint
            if path.join(CHECKPOINT).is_file() || folder.has_previous() {
                let resumption = Resumption::read(folder, false, &self.device)?;
                let (run, changes) = resumption.into_run(&self.options)?;
                if !changes.is_empty() {
                    bail!(
                        "the recipe in {} was changed: candidates of different recipes cannot be compared; change it back",
                        path.display()
                    );
                }
                return Ok(run);
            }
            folder.cut_metrics(0)?;
            let recipe = Recipe::load(&path.join(RECIPE))?;
            return self.begin(&recipe, folder);
        }
        let seed = self.standings.candidates[place].seed;
        let recipe = Recipe {
            seed,
            ..self.recipe.clone()
        };
        let folder = RunFolder::create(self.folder.path(), &format!("seed-{seed}"))?;
        let name = folder.path().file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let run = self.begin(&recipe, folder)?;
        self.standings.candidates[place].run = Some(name);
        self.keep_standings()?;
        Ok(run)
    }

    fn begin(&self, recipe: &Recipe, folder: RunFolder) -> Result<Run> {
        let session = Session::with_options(recipe, &self.device, &self.options)?;
        Run::new(session, folder, recipe)
    }

    /// Lets as many go on as the next round has room for.
    fn drop_the_worse(&mut self, round: usize) -> Result<()> {
        let mut playing: Vec<usize> = (0..self.standings.candidates.len())
            .filter(|place| self.standings.candidates[*place].plays())
            .collect();
        if playing.is_empty() {
            let why = (self.standings.candidates.iter()).find_map(|c| c.failed.as_deref());
            bail!(
                "no candidate could be painted: {}",
                why.unwrap_or("there is none")
            );
        }
        let Some(next) = self.standings.rounds.get(round + 1) else {
            return Ok(());
        };
        let score = |place: &usize| self.standings.candidates[*place].scores[round];
        // of equals the smaller seed goes on
        playing.sort_by(|a, b| score(b).total_cmp(&score(a)));
        for place in playing.into_iter().skip(next.candidates) {
            // when a tournament goes on, rounds that are over are gone through again
            let candidate = &mut self.standings.candidates[place];
            if candidate.scores.len() == round + 1 {
                candidate.dropped = Some(round);
            }
        }
        Ok(())
    }

    fn keep_standings(&self) -> Result<()> {
        let path = self.folder.path().join(STANDINGS);
        let text = serde_json::to_vec_pretty(&self.standings)?;
        Ok(write_whole(&path, true, |file| file.write_all(&text))?)
    }

    fn picture_of(&self, seed: u64, round: usize) -> PathBuf {
        let name = format!("round-{}-seed-{seed}.png", round + 1);
        self.folder.path().join(ROUNDS).join(name)
    }

    fn keep_picture(&self, seed: u64, round: usize, image: &RgbImage) -> Result<()> {
        let path = self.picture_of(seed, round);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create the folder {}", folder.display()))?;
        }
        Ok(write_whole(&path, false, |file| {
            metadata::write(file, image, &[])
        })?)
    }

    /// Draws the bracket.
    fn show(&self) -> Result<()> {
        let pictures =
            |seed: u64, round: usize| picture::load_rgb(&self.picture_of(seed, round)).ok();
        let sheet = bracket::draw(&self.standings, &self.queries.labels, pictures)?;
        Ok(write_whole(
            &self.folder.path().join(BRACKET),
            true,
            |file| metadata::write(file, &sheet, &[]),
        )?)
    }

    /// Makes the winner's picture and recipe the tournament's.
    fn crown(&mut self) -> Result<()> {
        let seed = match self.standings.order().first() {
            Some(winner) => winner.seed,
            None => bail!("a tournament without candidates has no winner"),
        };
        let image = picture::load_rgb(&self.picture_of(seed, self.standings.rounds.len() - 1))?;
        let recipe = Recipe {
            seed,
            ..self.recipe.clone()
        };
        let written = self.folder.write_recipe(&recipe)?;
        self.folder.write_image(&image, Some(&written))?;
        Ok(())
    }
}

fn judges(
    standings: &Standings,
    recipe: &Recipe,
    options: &SessionOptions,
    device: &Device,
) -> Result<Panel> {
    // a judge that also guides is loaded once
    let choice = |name: &str| {
        let guide = recipe.clip.iter().find(|clip| clip.model == name);
        let mut choice = guide.map_or_else(ClipChoice::default, ClipOptions::choice);
        if name != EMBEDDED {
            choice.activation = standings.activation.or(choice.activation);
        }
        choice
    };
    let clips = (standings.judge.iter())
        .map(|name| options.library.clip(name, choice(name), device))
        .collect::<Result<Vec<Arc<_>>>>()?;
    Panel::new(clips, device)
}

/// What the picture should be in the end: the last prompts that the recipe asks for, at their weights in the last step.
fn aims(recipe: &Recipe) -> Vec<Query> {
    let by_edit = (recipe.timeline.iter().rev()).find_map(|edit| edit.prompts.as_deref());
    let by_stage = (recipe.generator.0.iter().rev()).find_map(|stage| stage.prompts.as_deref());
    let prompts: &[Prompt] = by_edit.or(by_stage).unwrap_or(&recipe.prompts);
    let steps = recipe.steps.max(1);
    let at = StepContext {
        step: steps - 1,
        steps,
        clock: steps - 1,
    };
    let mut queries: Vec<Query> = (prompts.iter())
        .filter_map(|prompt| {
            let query = match (&prompt.text, &prompt.image) {
                (Some(text), _) => Query::text(text),
                (None, Some(path)) => Query::picture(path),
                (None, None) => return None,
            };
            let weight = PromptSchedule::of(prompt).at(at);
            Some(Query { weight, ..query })
        })
        .collect();
    if queries.iter().all(|query| query.weight == 0.0) {
        // nothing is asked for any more in the last step: what was asked for before counts
        for query in &mut queries {
            query.weight = 1.0;
        }
    }
    queries
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
    fn fewer_steps_than_rounds_are_rounds_still() {
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
    fn who_came_further_is_better() {
        let candidate = |seed, scores: &[f64]| Candidate {
            seed,
            run: None,
            scores: scores.to_vec(),
            dropped: None,
            failed: None,
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

    #[test]
    fn the_judge_aims_at_what_the_recipe_asks_for_in_the_end() {
        let mut gone = Prompt::new("gone");
        gone.until = Some(crate::recipe::StepOrPercent::Steps(3));
        let mut recipe = Recipe::new(vec![Prompt::new("stays"), gone]);
        recipe.steps = 10;
        let weights: Vec<f64> = aims(&recipe).iter().map(|query| query.weight).collect();
        assert_eq!(weights, [1.0, 0.0]);
    }
}
