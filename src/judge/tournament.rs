//! Tournaments: the same recipe with several seeds, of which a scorer keeps the best.
//!
//! Successive halving (Jamieson and Talwalkar 2016): all candidates are painted for a share of the steps, the worse half is
//! dropped, and so on, until as many are left as are wanted; these are painted to the end. Before a quarter of the steps, scores
//! hardly predict the final picture, so no candidate is dropped earlier; the last choice, between two good ones, is made late, where
//! it costs least. Eight candidates to one cost 44 % of eight renders.
//!
//! The folder of a tournament is the winner's run folder, with `standings.json`, `bracket.png`, the pictures of each
//! round in `rounds/`, and a run folder for each candidate. Only one candidate is in memory at a time; the others are checkpoints.
//! So a tournament can be stopped at any step and resumed.

mod bracket;
mod standings;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use candle_core::Device;
use image::RgbImage;

use super::ensemble::Ensemble;
use super::query::Query;
use super::same_model::guides_like;
use super::score::{Combine, Scorer};
use crate::clip::{ClipActivation, ClipChoice, LongText, is_embedded};
use crate::files::write_whole;
use crate::recipe::{Prompt, Recipe, clip_guide};
use crate::run::{CHECKPOINT, RECIPE, Resumption, Run, RunFolder};
use crate::session::{Session, SessionOptions};
use crate::{metadata, picture};
use phantasia_core::{PromptSchedule, StepContext};
pub use standings::{Candidate, Round, STANDINGS, Standings};
use standings::{rounds, total_steps};

/// The bracket's file name in a tournament's folder.
pub const BRACKET: &str = "bracket.png";
/// The folder of each round's pictures in a tournament's folder.
const ROUNDS: &str = "rounds";

/// The options of a tournament.
#[derive(Clone, Debug)]
pub struct TournamentOptions {
    /// How many seeds take part, from the recipe's own on.
    pub candidates: usize,
    /// How many are painted to the end.
    pub keep: usize,
    /// The names of the CLIPs that judge.
    pub judge: Vec<String>,
    /// The nonlinearity of all of them except the embedded ones, overriding their files.
    pub activation: Option<ClipActivation>,
}

/// A tournament in its folder.
pub struct Tournament {
    folder: RunFolder,
    recipe: Recipe,
    standings: Standings,
    scorer: Scorer,
    device: Device,
    options: SessionOptions,
}

impl Tournament {
    /// Prepares a new tournament, in a new folder `out/name-NNN`.
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
        let candidates = (0..options.candidates)
            .map(|number| recipe.seed.checked_add(number as u64).map(Candidate::new))
            .collect::<Option<Vec<_>>>()
            .context("the candidates' seeds would exceed the largest seed: take a smaller seed")?;
        let mut recipe = recipe.clone();
        // videos of pictures that may be dropped are not needed
        recipe.output.video = None;
        // a stop in the timeline is the end of every candidate
        let steps = recipe.total_steps();
        let mut judge_is_guide = false;
        for judge in &options.judge {
            judge_is_guide |= !guides_like(&recipe, judge)?.is_empty();
        }
        let mut standings = Standings {
            judge: options.judge.clone(),
            activation: options.activation,
            judge_is_guide,
            rounds: rounds(options.candidates, options.keep, steps),
            candidates,
            recipe: None,
        };
        let scorer = scorer(&standings, &recipe, &session, device)?;
        // the folder is created last, so that a failure leaves none behind
        let mut folder = RunFolder::create(out, name)?;
        standings.recipe = Some(folder.write_recipe(&recipe)?.to_yaml()?);
        let tournament = Self {
            folder,
            recipe,
            standings,
            scorer,
            device: device.clone(),
            options: session,
        };
        tournament.write_standings()?;
        Ok(tournament)
    }

    /// Prepares to resume a tournament that was stopped.
    ///
    /// # Errors
    /// When the folder is no tournament's, damaged, or in use; when its recipe was changed since it began, or a model cannot be loaded.
    pub fn resume(path: &Path, session: SessionOptions, device: &Device) -> Result<Self> {
        let folder = RunFolder::open(path)?;
        let standings = Standings::load(path)?;
        let recipe = standings.recipe_in(path)?;
        Ok(Self {
            folder,
            scorer: scorer(&standings, &recipe, &session, device)?,
            recipe,
            standings,
            device: device.clone(),
            options: session,
        })
    }

    /// Whether a folder is a tournament's.
    pub fn is_at(path: &Path) -> bool {
        path.join(STANDINGS).is_file()
    }

    /// The rounds, the candidates and their scores.
    pub fn standings(&self) -> &Standings {
        &self.standings
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Warnings about the CLIPs that judge, see [`Scorer::warnings`].
    pub fn warnings(&self) -> impl Iterator<Item = &String> {
        self.scorer.warnings()
    }

    /// Plays to the end, or until `stop` is set; true where it came to the end. After every step, `progress` is called with the number of steps
    /// of all candidates that are done, and of the whole tournament. The same recipe, options and device give the same standings and the
    /// same pictures, with or without a stop.
    ///
    /// # Errors
    /// When no candidate can be painted, or a file cannot be written. A single candidate that fails is dropped.
    pub fn play(
        &mut self,
        stop: &AtomicBool,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<bool> {
        for round in 0..self.standings.rounds.len() {
            for index in 0..self.standings.candidates.len() {
                let candidate = &self.standings.candidates[index];
                if !candidate.is_active() || candidate.scores.len() > round {
                    continue;
                }
                match self.paint(index, round, stop, &mut progress) {
                    Ok(true) => {}
                    Ok(false) => {
                        self.write_standings()?;
                        self.write_bracket()?;
                        return Ok(false);
                    }
                    Err(error) => {
                        self.standings.candidates[index].failed = Some(format!("{error:#}"));
                    }
                }
                self.write_standings()?;
            }
            self.drop_worst(round)?;
            self.write_standings()?;
            self.write_bracket()?;
        }
        self.write_winner()?;
        Ok(true)
    }

    /// Paints one candidate to the end of a round and scores it. False where it was stopped.
    fn paint(
        &mut self,
        index: usize,
        round: usize,
        stop: &AtomicBool,
        progress: &mut impl FnMut(usize, usize),
    ) -> Result<bool> {
        let (earlier, rounds) = (&self.standings.rounds[..round], &self.standings.rounds);
        let seed = self.standings.candidates[index].seed;
        let from = earlier.last().map_or(0, |round| round.until);
        let until = rounds[round].until;
        let is_last = round + 1 == rounds.len();
        let others = (self.standings.candidates.iter())
            .filter(|candidate| candidate.scores.len() > round)
            .count();
        let before = total_steps(earlier) + others * (until - from);
        let total = total_steps(rounds);
        let mut run = self.run(index)?;
        while !run.is_finished() && (is_last || run.session().step() < until) {
            if stop.load(Ordering::Relaxed) {
                run.stop()?;
                return Ok(false);
            }
            let step = run.step()?.step;
            progress(before + step.saturating_sub(from), total);
        }
        // the recipe of a dropped candidate ends here; when the others are resumed, the stop is removed again
        let (_, image) = run.stop()?;
        drop(run);
        let score = self.scorer.score_picture(&image)?.score;
        self.write_picture(seed, round, &image)?;
        self.standings.candidates[index].scores.push(score);
        Ok(true)
    }

    /// A candidate where it was stopped, or at its start.
    fn run(&mut self, index: usize) -> Result<Run> {
        if let Some(run) = &self.standings.candidates[index].run {
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
        let seed = self.standings.candidates[index].seed;
        let mut recipe = self.recipe.clone();
        recipe.seed = seed;
        let folder = RunFolder::create(self.folder.path(), &format!("seed-{seed}"))?;
        let name = folder.path().file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let run = self.begin(&recipe, folder)?;
        self.standings.candidates[index].run = Some(name);
        self.write_standings()?;
        Ok(run)
    }

    fn begin(&self, recipe: &Recipe, folder: RunFolder) -> Result<Run> {
        let session = Session::with_options(recipe, &self.device, &self.options)?;
        Run::new(session, folder, recipe)
    }

    /// Drops the worst, so that as many are left as are in the next round.
    fn drop_worst(&mut self, round: usize) -> Result<()> {
        let mut active: Vec<usize> = (0..self.standings.candidates.len())
            .filter(|index| self.standings.candidates[*index].is_active())
            .collect();
        if active.is_empty() {
            let why = (self.standings.candidates.iter()).find_map(|c| c.failed.as_deref());
            let why = why.unwrap_or("there is none");
            bail!("no candidate could be painted: {why}");
        }
        let Some(next) = self.standings.rounds.get(round + 1) else {
            return Ok(());
        };
        let score = |index: &usize| self.standings.candidates[*index].scores[round];
        // of equals the smaller seed is kept
        active.sort_by(|a, b| score(b).total_cmp(&score(a)));
        for index in active.into_iter().skip(next.candidates) {
            // a resumed tournament comes through here again for rounds that are over
            let candidate = &mut self.standings.candidates[index];
            if candidate.scores.len() == round + 1 {
                candidate.dropped = Some(round);
            }
        }
        Ok(())
    }

    fn write_standings(&self) -> Result<()> {
        let path = self.folder.path().join(STANDINGS);
        let text = serde_json::to_vec_pretty(&self.standings)?;
        Ok(write_whole(&path, true, |file| file.write_all(&text))?)
    }

    fn picture_path(&self, seed: u64, round: usize) -> PathBuf {
        let name = format!("round-{}-seed-{seed}.png", round + 1);
        self.folder.path().join(ROUNDS).join(name)
    }

    fn write_picture(&self, seed: u64, round: usize, image: &RgbImage) -> Result<()> {
        let path = self.picture_path(seed, round);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create the folder {}", folder.display()))?;
        }
        write_whole(&path, false, |file| metadata::write(file, image, &[]))?;
        Ok(())
    }

    /// Draws the bracket.
    fn write_bracket(&self) -> Result<()> {
        let pictures =
            |seed: u64, round: usize| picture::load_rgb(&self.picture_path(seed, round)).ok();
        let sheet = bracket::draw(&self.standings, &self.scorer.queries().labels, pictures)?;
        let path = self.folder.path().join(BRACKET);
        write_whole(&path, true, |file| metadata::write(file, &sheet, &[]))?;
        Ok(())
    }

    /// Writes the winner's picture and recipe to the tournament's folder.
    fn write_winner(&mut self) -> Result<()> {
        let order = self.standings.order();
        let winner = order
            .first()
            .context("a tournament without candidates has no winner")?;
        let seed = winner.seed;
        let image = picture::load_rgb(&self.picture_path(seed, self.standings.rounds.len() - 1))?;
        let mut recipe = self.recipe.clone();
        recipe.seed = seed;
        let written = self.folder.write_recipe(&recipe)?;
        self.folder.write_image(&image, Some(&written))?;
        Ok(())
    }
}

/// The scorer of a tournament. A judge that also guides is loaded once.
fn scorer(
    standings: &Standings,
    recipe: &Recipe,
    options: &SessionOptions,
    device: &Device,
) -> Result<Scorer> {
    let choice = |name: &str| {
        let guide = recipe.clip.iter().find(|clip| clip.model == name);
        let mut choice = guide.map_or_else(ClipChoice::default, clip_guide::Config::choice);
        if !is_embedded(name) {
            choice.activation = standings.activation.or(choice.activation);
        }
        choice
    };
    let clips = (standings.judge.iter())
        .map(|name| options.library.clip(name, choice(name), device))
        .collect::<Result<Vec<Arc<_>>>>()?;
    let long_text = |name: &str| {
        let guide = recipe.clip.iter().find(|clip| clip.model == name);
        guide.map_or_else(LongText::default, |guide| guide.long_text)
    };
    let ensemble = Ensemble::new(clips, device)?.with_long_text(long_text);
    Scorer::new(ensemble, &final_queries(recipe), Combine::Score)
}

/// What candidates are judged by: the last prompts of the recipe, at their weights in the last step.
fn final_queries(recipe: &Recipe) -> Vec<Query> {
    let by_edit = (recipe.timeline.iter().rev()).find_map(|edit| edit.prompts.as_deref());
    let by_stage = (recipe.generator.0.iter().rev()).find_map(|stage| stage.prompts.as_deref());
    let prompts: &[Prompt] = by_edit.or(by_stage).unwrap_or(&recipe.prompts);
    let steps = recipe.steps.max(1);
    let at = StepContext::new(steps - 1, steps);
    let mut queries: Vec<Query> = (prompts.iter())
        .filter_map(|prompt| {
            let query = match (prompt.text_at(at), &prompt.image) {
                (Some(text), _) => Query::text(text),
                (None, Some(path)) => Query::picture(path),
                (None, None) => return None,
            };
            Some(query.weighing(PromptSchedule::of(prompt).at(at)))
        })
        .collect();
    if queries.iter().all(|query| query.weight == 0.0) {
        // all prompts have ended before the last step: then each of them counts
        (queries.iter_mut()).for_each(|query| query.weight = 1.0);
    }
    queries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompts_of_the_last_step_are_judged_by() {
        let mut gone = Prompt::new("gone");
        gone.until = Some(crate::recipe::StepOrPercent::Steps(3));
        let mut recipe = Recipe::new(vec![Prompt::new("stays"), gone]);
        recipe.steps = 10;
        let weights: Vec<f64> = final_queries(&recipe)
            .iter()
            .map(|query| query.weight)
            .collect();
        assert_eq!(weights, [1.0, 0.0]);
    }
}
