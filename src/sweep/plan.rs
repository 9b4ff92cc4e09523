//! The plan of a sweep: its runs, each with its number, its name and its recipe.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use phantasia_core::unique_label;
use rand::Rng;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::axis::{Axis, Choice, Choices, Setting};
use super::file::{self, Sample, SweepFile};
use crate::judge::comparison::main_text;
use crate::random::{Purpose, rng};
use crate::recipe::node::Node;
use crate::recipe::wildcard::{Template, escape, has_wildcards};
use crate::recipe::{FileKind, PartialRecipe, Recipe, RecipeError, VideoKind};
use phantasia_core::Location;

/// The most runs of one sweep.
pub const MOST_RUNS: usize = 100_000;
/// Digits of the hash in a run's name.
const DIGITS: usize = 12;

/// A sweep: what is painted.
pub struct Plan {
    base: PartialRecipe,
    folder: PathBuf,
    axes: Vec<Axis>,
    /// The recipe's texts with wildcards, each with its path.
    texts: Vec<(String, Template)>,
    columns: Vec<String>,
    runs: Vec<PlannedRun>,
    sample: Option<Sample>,
}

/// One run of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRun {
    /// From 1.
    pub number: usize,
    /// The name of its folder: the number, and a hash of its recipe and of the images that it names.
    pub name: String,
    /// Its values, one for each of the plan's columns.
    pub values: Vec<String>,
    /// The models that it names.
    pub models: Vec<String>,
    /// The kind of its video, if it makes one.
    pub video: Option<VideoKind>,
    /// How many steps it has.
    pub steps: usize,
    /// The text that a judge compares it with: the first of positive weight, if there is one.
    pub text: Option<String>,
    /// The index of its choice on each axis.
    pub(super) choices: Vec<u64>,
}

impl PlannedRun {
    /// The hash in its name.
    pub fn hash(&self) -> &str {
        hash_of(&self.name)
    }
}

/// The hash in a run's name.
pub(super) fn hash_of(name: &str) -> &str {
    name.rsplit_once('-').map_or("", |(_, hash)| hash)
}

impl Plan {
    /// Reads a sweep's file and makes its plan: every recipe is checked.
    ///
    /// # Errors
    /// When a file cannot be read, the sweep has too many runs or two of the same recipe, or a recipe is refused. What is about the content of a
    /// file is a [`RecipeError`].
    pub fn load(path: &Path) -> Result<Self> {
        let SweepFile { base, axes, sample } = file::read(path)?;
        let mut plan = Self {
            base,
            folder: file::folder_of(path),
            axes,
            texts: vec![],
            columns: vec![],
            runs: vec![],
            sample,
        };
        plan.find_wildcards()?;
        plan.columns = plan
            .axes
            .iter()
            .flat_map(|axis| axis.columns.clone())
            .collect();
        let combinations = plan.combinations()?;
        plan.runs = plan.numbered(&combinations)?;
        Ok(plan)
    }

    /// The paths and wildcards that have values.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The runs, by number.
    pub fn runs(&self) -> &[PlannedRun] {
        &self.runs
    }

    /// Whether its runs are samples, so that they do not fill a grid.
    pub fn is_sampled(&self) -> bool {
        self.sample.is_some()
    }

    /// Its axes: the paths that each sets, and how many choices it has; none for numbers between two.
    pub fn axes(&self) -> impl Iterator<Item = (&[String], Option<u64>)> {
        self.axes
            .iter()
            .map(|axis| (axis.columns.as_slice(), axis.len()))
    }

    /// Warnings about the recipe's file.
    pub fn warnings(&self) -> &[String] {
        self.base.warnings()
    }

    /// A run's recipe, and what it was read from.
    ///
    /// # Errors
    /// When it is refused, which a change of a file that it names since the plan was made may cause.
    pub fn recipe(&self, run: &PlannedRun) -> Result<(PartialRecipe, Recipe)> {
        let choices = self.choices_of(run.number, &run.choices);
        let partial = self.partial(&choices)?;
        let recipe = partial.finish()?;
        Ok((partial, recipe))
    }

    /// The choices of the runs on one axis, in words, by number.
    pub fn values_of(&self, axis: usize) -> impl Iterator<Item = String> {
        self.runs.iter().map(move |run| self.shown(run, axis))
    }

    /// A run's choice on one axis, in words.
    pub(super) fn shown(&self, run: &PlannedRun, axis: usize) -> String {
        let before: usize = self.axes[..axis]
            .iter()
            .map(|axis| axis.columns.len())
            .sum();
        run.values[before..before + self.axes[axis].columns.len()].join(", ")
    }

    /// Makes axes of the wildcards in the recipe's own texts.
    fn find_wildcards(&mut self) -> Result<()> {
        // texts that are replaced do not count, so they are looked for in the first run
        let first: Vec<Choice> = self.axes.iter().map(|axis| axis.choice(0)).collect();
        let partial = self.partial(&first)?;
        let swept: Vec<String> = self
            .axes
            .iter()
            .flat_map(|axis| axis.columns.clone())
            .collect();
        let is_swept = |path: &str| {
            swept.iter().any(|above| {
                path.strip_prefix(above.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        };
        let mut names: Vec<String> = swept.clone();
        for (path, text) in partial.written_texts() {
            if is_swept(&path) || !has_wildcards(&text) {
                continue;
            }
            let wrong = |why: String| partial.refusal(vec![(path.clone(), why)]);
            let template = Template::read(&text).map_err(wrong)?;
            for (name, words) in template.wildcards().map_err(wrong)? {
                let distinct: BTreeSet<&String> = words.iter().collect();
                if distinct.len() < words.len() {
                    return Err(wrong(format!(
                        "the wildcard `{name}` has an alternative twice: leave one out"
                    ))
                    .into());
                }
                let name = unique_label(name, |name| names.iter().any(|known| known == name));
                names.push(name.clone());
                let mut axis = Axis::of_path(
                    &name,
                    Choices::Listed(words.into_iter().map(Choice::Word).collect()),
                );
                axis.text = Some(self.texts.len());
                self.axes.push(axis);
            }
            self.texts.push((path, template));
        }
        Ok(())
    }

    /// The choices of each run: all combinations, the last axis varying fastest, or samples.
    fn combinations(&self) -> Result<Vec<Vec<u64>>> {
        let lengths: Vec<Option<u64>> = self.axes.iter().map(Axis::len).collect();
        // numbers between two have no end
        let total = lengths.iter().try_fold(1u128, |total, length| {
            total.checked_mul(u128::from(length.unwrap_or(1)))
        });
        let is_endless = lengths.contains(&None);
        let Some(Sample { count, seed }) = self.sample else {
            if let Some(axis) = self.axes.iter().find(|axis| axis.len().is_none()) {
                bail!(
                    "{} has numbers between two, of which only samples can be painted: add `sample: 20`",
                    axis.columns.join(", ")
                );
            }
            let total = total.filter(|total| *total <= MOST_RUNS as u128);
            let total = total.with_context(|| {
                let sizes: Vec<String> = (self.axes.iter())
                    .map(|axis| format!("{} of {}", axis.len().unwrap_or(0), axis.columns.join(", ")))
                    .collect();
                format!(
                    "the sweep has too many runs: {}, crossed, are more than {MOST_RUNS}. Leave out values, `zip` what belongs together, or paint \
                     some of them with `sample: 100`",
                    sizes.join(" x ")
                )
            })?;
            return Ok((0..total as u64)
                .map(|index| indices(index, &lengths))
                .collect());
        };
        let total = total.and_then(|total| u64::try_from(total).ok());
        let total = total
            .context("the sweep has more combinations than can be counted: leave out values")?;
        if is_endless {
            // the numbers differ, so that the other choices may come again
            return Ok((0..count)
                .map(|number| {
                    indices(
                        rng(seed, Purpose::Samples, number, 1).random_range(0..total),
                        &lengths,
                    )
                })
                .collect());
        }
        if count as u64 > total {
            bail!("`sample` asks for {count} of {total} combinations: leave it out to paint all");
        }
        // a shuffle of which only what is drawn is kept, so that a larger sample begins with the smaller one
        let mut moved: HashMap<u64, u64> = HashMap::new();
        Ok((0..count as u64)
            .map(|place| {
                let other =
                    rng(seed, Purpose::Samples, place as usize, 0).random_range(place..total);
                let drawn = *moved.get(&other).unwrap_or(&other);
                let here = *moved.get(&place).unwrap_or(&place);
                moved.insert(other, here);
                indices(drawn, &lengths)
            })
            .collect())
    }

    /// The choices at these indices. Numbers between two are drawn for the run of that number.
    fn choices_of(&self, number: usize, indices: &[u64]) -> Vec<Choice> {
        let axes = self.axes.iter().zip(indices).enumerate();
        axes.map(|(position, (axis, index))| {
            let seed = self.sample.map_or(0, |sample| sample.seed);
            let mut random = rng(seed, Purpose::Samples, number, position + 2);
            let drawn = axis.draw(&mut random);
            drawn.unwrap_or_else(|| axis.choice(*index))
        })
        .collect()
    }

    /// A recipe with these choices.
    fn partial(&self, choices: &[Choice]) -> Result<PartialRecipe, RecipeError> {
        let mut partial = self.base.clone();
        for choice in choices {
            let Choice::Set(settings) = choice else {
                continue;
            };
            for Setting { path, node, origin } in settings {
                partial.set_value(path, node.clone(), origin, &self.folder)?;
            }
        }
        for (index, (path, template)) in self.texts.iter().enumerate() {
            let words = (self.axes.iter().zip(choices)).filter_map(|(axis, choice)| match choice {
                Choice::Word(word) if axis.text == Some(index) => Some(word.as_str()),
                _ => None,
            });
            let words: Vec<&str> = words.collect();
            let text = Node::text(&escape(&template.fill(&words)), Location::File);
            partial.set_value(path, text, path, &self.folder)?;
        }
        Ok(partial)
    }

    /// Checks every recipe, and names the runs.
    fn numbered(&self, combinations: &[Vec<u64>]) -> Result<Vec<PlannedRun>> {
        let digests = Digests::default();
        let runs = (combinations.par_iter().enumerate())
            .map(|(index, indices)| {
                let number = index + 1;
                let choices = self.choices_of(number, indices);
                let values: Vec<String> = choices.iter().flat_map(Choice::shown).collect();
                let refused = |error: anyhow::Error| {
                    let columns = self.columns.iter().zip(&values);
                    let columns: Vec<String> = columns.map(|(path, value)| format!("{path} {value}")).collect();
                    error.context(format!("run {number} of the sweep cannot be painted ({})", columns.join(", ")))
                };
                let named = || -> Result<PlannedRun> {
                    let partial = self.partial(&choices)?;
                    if partial.has_random_seed() {
                        bail!("its seed is `random`, so that it could not be found again: give the recipe a number, or sweep `seed: 1..8`");
                    }
                    let recipe = partial.finish()?;
                    let hash = digests.of_recipe(&recipe, &self.folder)?;
                    Ok(PlannedRun {
                        number,
                        name: format!("{number:04}-{hash}"),
                        values: values.clone(),
                        models: models_of(&recipe)?,
                        video: recipe.output.video,
                        steps: recipe.total_steps(),
                        text: main_text(&recipe).map(str::to_owned),
                        choices: indices.clone(),
                    })
                };
                named().map_err(refused)
            })
            .collect::<Vec<Result<PlannedRun>>>();
        // the first that is refused is told, whichever was checked first
        let runs = runs.into_iter().collect::<Result<Vec<PlannedRun>>>()?;
        let mut known: HashMap<&str, &PlannedRun> = HashMap::new();
        for run in &runs {
            if let Some(first) = known.insert(run.hash(), run) {
                bail!(
                    "the runs {} ({}) and {} ({}) have the same recipe: leave out one of the values that make no difference",
                    first.number,
                    first.values.join(", "),
                    run.number,
                    run.values.join(", ")
                );
            }
        }
        Ok(runs)
    }
}

/// The names of the models of a recipe, each once.
fn models_of(recipe: &Recipe) -> Result<Vec<String>, RecipeError> {
    let models = (recipe.files()?.into_iter()).filter(|file| file.kind == FileKind::Model);
    let models: BTreeSet<String> = models.map(|file| file.name).collect();
    Ok(models.into_iter().collect())
}

/// The index on each axis of a combination, the last axis varying fastest.
fn indices(mut combination: u64, lengths: &[Option<u64>]) -> Vec<u64> {
    let mut indices = vec![0; lengths.len()];
    for (index, length) in indices.iter_mut().zip(lengths).rev() {
        let length = length.unwrap_or(1);
        *index = combination % length;
        combination /= length;
    }
    indices
}

/// Hashes of recipes, and of the images that they name.
#[derive(Default)]
struct Digests(Mutex<HashMap<String, String>>);

impl Digests {
    /// A hash of a recipe that does not depend on where the sweep's folder is: images count by their content, and the paths of models as they are
    /// from that folder.
    fn of_recipe(&self, recipe: &Recipe, folder: &Path) -> Result<String> {
        let mut files = recipe.files()?;
        let mut is_changed = false;
        for file in &mut files {
            let name = match file.kind {
                FileKind::Image => self.of_image(&file.name)?,
                FileKind::Model => match Path::new(&file.name).strip_prefix(folder) {
                    Ok(inside) => {
                        let parts = inside
                            .components()
                            .filter(|part| *part != Component::CurDir);
                        parts.collect::<PathBuf>().to_string_lossy().into_owned()
                    }
                    Err(_) => continue,
                },
            };
            is_changed |= name != file.name;
            file.name = name;
        }
        let text = if is_changed {
            recipe.with_files(files)?.to_yaml()?
        } else {
            recipe.to_yaml()?
        };
        Ok(hex(&Sha256::digest(text))[..DIGITS].to_owned())
    }

    fn of_image(&self, path: &str) -> Result<String> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(path) {
            return Ok(known.clone());
        }
        let bytes = fs::read(path).with_context(|| format!("cannot read {path}"))?;
        let digest = hex(&Sha256::digest(bytes));
        lock().insert(path.to_owned(), digest.clone());
        Ok(digest)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
