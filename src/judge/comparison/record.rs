//! The record of a comparison: what is compared, and the results so far.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::super::unchanged::unchanged_recipe;
use super::standing::{Standing, mean};
use crate::clip::ClipActivation;
use crate::recipe::Recipe;
use crate::run::{file_name, without_number};
use crate::session::Tick;

/// The record's file name in a comparison's folder.
pub const RECORD: &str = "comparison.json";
/// The folder of pictures in a comparison's folder, with a folder for each recipe.
pub(super) const PICTURES: &str = "pictures";
/// The name of the run folder of the picture that is being painted, before its number.
pub(super) const PAINTING: &str = "painting";

/// What is compared, and the results so far: all that is needed to resume a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The CLIPs that judge.
    pub judges: Vec<String>,
    /// Their nonlinearity, as in [`ComparisonOptions`](super::ComparisonOptions).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<ClipActivation>,
    /// Whether the prompts take a place in the recipes; otherwise each recipe paints its own.
    pub battery: bool,
    /// The texts that pictures are compared with.
    pub prompts: Vec<String>,
    /// The seeds of each prompt; none where each recipe has its own.
    pub seeds: Option<Vec<u64>>,
    /// The recipes.
    pub recipes: Vec<Contestant>,
    /// The pictures: for each prompt, for each seed, one of each recipe.
    pub pictures: Vec<Picture>,
}

/// A recipe that takes part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contestant {
    /// Its name in results, which is that of its folder of pictures.
    pub name: String,
    /// The file that it was read from.
    pub path: String,
    /// The recipe, as it was written to its folder when the comparison began.
    pub recipe: String,
}

/// One picture.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// The name of its recipe.
    pub recipe: String,
    /// The text that it is compared with.
    pub prompt: String,
    /// Its seed.
    pub seed: u64,
    /// Its file in the comparison's folder.
    pub file: String,
    /// The name of its run folder in the comparison's, while it is being painted and where that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// What painting it took so far.
    pub cost: Cost,
    /// Its score by each judge, once it is painted.
    pub scores: Vec<f64>,
    /// Why its painting failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// What painting takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Steps.
    pub steps: usize,
    /// The time of the steps, without loading models and writing files.
    pub seconds: f64,
    /// How many cutouts image towers evaluated.
    pub cutouts: usize,
}

impl Cost {
    /// Adds the last step.
    pub(super) fn add(&mut self, tick: &Tick) {
        self.steps = tick.step;
        self.seconds += tick.seconds;
        self.cutouts += tick.cutouts;
    }
}

impl Picture {
    /// The mean of the judges' scores; none where it is not painted.
    pub fn score(&self) -> Option<f64> {
        mean(&self.scores)
    }
}

/// How a recipe does in a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Its name in results.
    pub name: String,
    /// The file that it was read from.
    pub path: String,
    /// How many of its pictures are painted.
    pub pictures: usize,
    /// How many of them failed.
    pub failed: usize,
    /// How it stands by the mean of all judges.
    #[serde(flatten)]
    pub standing: Standing,
    /// Seconds of painting, the mean of its pictures.
    pub seconds: Option<f64>,
    /// Cutouts that image towers evaluated, the mean of its pictures.
    pub cutouts: Option<f64>,
    /// How it stands by each judge.
    pub judges: Vec<JudgeStanding>,
}

/// How a recipe stands by one judge.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JudgeStanding {
    /// The judge.
    pub judge: String,
    /// The statistics of its scores.
    #[serde(flatten)]
    pub standing: Standing,
}

impl Record {
    /// The record in a comparison's folder.
    ///
    /// # Errors
    /// When there is none, or it is damaged.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(RECORD);
        let file = path.display();
        let text = fs::read(&path).with_context(|| format!("cannot read {file}"))?;
        let record: Self =
            serde_json::from_slice(&text).with_context(|| format!("{file} is damaged"))?;
        if !record.is_consistent() {
            bail!("{file} is damaged: its pictures do not fit its recipes, prompts and seeds");
        }
        Ok(record)
    }

    /// The recipes in the comparison's folder, which must not have been changed.
    ///
    /// # Errors
    /// When one of them cannot be read, or was changed.
    pub fn recipes_in(&self, folder: &Path) -> Result<Vec<Recipe>> {
        let restart =
            "the comparison began: change it back, or begin another one with `phantasia compare`";
        (self.recipes.iter())
            .map(|own| {
                let folder = folder.join(PICTURES).join(&own.name);
                unchanged_recipe(&folder, &own.recipe, |_, _| {}, restart)
            })
            .collect()
    }

    /// How many pictures each recipe paints.
    pub fn rows(&self) -> usize {
        self.prompts.len() * self.seeds_per_prompt()
    }

    fn seeds_per_prompt(&self) -> usize {
        self.seeds.as_ref().map_or(1, Vec::len)
    }

    /// Which of the recipes a picture is of.
    pub(super) fn recipe_of(&self, picture: usize) -> usize {
        picture % self.recipes.len()
    }

    /// Which of the prompts a picture is compared with.
    pub(super) fn prompt_of(&self, picture: usize) -> usize {
        picture / self.recipes.len() / self.seeds_per_prompt()
    }

    /// The pictures of all rows, unpainted. `own_seeds` are the recipes'.
    pub(super) fn unpainted(&self, own_seeds: &[u64]) -> Vec<Picture> {
        let stems = unique_names(self.prompts.iter().map(|prompt| prompt.to_lowercase()));
        let mut pictures = vec![];
        for row in 0..self.rows() {
            let prompt = row / self.seeds_per_prompt();
            for (own, own_seed) in self.recipes.iter().zip(own_seeds) {
                let listed = |seeds: &Vec<u64>| seeds[row % seeds.len()];
                let seed = self.seeds.as_ref().map_or(*own_seed, listed);
                let (name, stem) = (&own.name, &stems[prompt]);
                pictures.push(Picture {
                    recipe: name.clone(),
                    prompt: self.prompts[prompt].clone(),
                    seed,
                    file: format!("{PICTURES}/{name}/{stem}-seed-{seed}.png"),
                    ..Picture::default()
                });
            }
        }
        pictures
    }

    /// Whether it is a record that this program may have written: nothing in it leads out of the comparison's folder.
    fn is_consistent(&self) -> bool {
        let names = || self.recipes.iter().map(|own| own.name.clone());
        let first = self.pictures.iter().take(self.recipes.len());
        let own_seeds: Vec<u64> = first.map(|picture| picture.seed).collect();
        let is_plan = |(planned, picture): (Picture, &Picture)| {
            let bare = Picture {
                run: None,
                cost: Cost::default(),
                scores: vec![],
                failed: None,
                ..picture.clone()
            };
            let judges = picture.scores.len();
            let mut runs = picture.run.iter();
            planned == bare
                && (judges == 0 || judges == self.judges.len())
                && runs.all(|run| run != PAINTING && without_number(run) == PAINTING)
        };
        !self.judges.is_empty()
            && self.recipes.len() > 1
            && self.rows() > 0
            && self.pictures.len() == self.rows() * self.recipes.len()
            && unique_names(names()).into_iter().eq(names())
            && (self.unpainted(&own_seeds).into_iter().zip(&self.pictures)).all(is_plan)
    }

    /// How each recipe does.
    pub fn summaries(&self) -> Vec<Summary> {
        (self.recipes.iter().enumerate())
            .map(|(column, own)| {
                let pictures = || {
                    self.pictures
                        .iter()
                        .skip(column)
                        .step_by(self.recipes.len())
                };
                let painted: Vec<&Picture> =
                    pictures().filter(|one| !one.scores.is_empty()).collect();
                let cost = |of: fn(&Cost) -> f64| {
                    mean(&Vec::from_iter(
                        painted.iter().map(|picture| of(&picture.cost)),
                    ))
                };
                let judges = self.judges.iter().enumerate();
                Summary {
                    name: own.name.clone(),
                    path: own.path.clone(),
                    pictures: painted.len(),
                    failed: pictures().filter(|one| one.failed.is_some()).count(),
                    standing: self.standing(column, Picture::score),
                    seconds: cost(|cost| cost.seconds),
                    cutouts: cost(|cost| cost.cutouts as f64),
                    judges: (judges.map(|(index, judge)| JudgeStanding {
                        judge: judge.clone(),
                        standing: self.standing(column, |one| one.scores.get(index).copied()),
                    }))
                    .collect(),
                }
            })
            .collect()
    }

    /// How a recipe stands by a score.
    fn standing(&self, column: usize, score: impl Fn(&Picture) -> Option<f64>) -> Standing {
        let scores = |column: usize| -> Vec<Option<f64>> {
            let pictures = self.pictures.iter().skip(column);
            pictures.step_by(self.recipes.len()).map(&score).collect()
        };
        let first = (column > 0).then(|| scores(0));
        Standing::new(&scores(column), first.as_deref())
    }
}

/// Names for files, all different, also where a file system does not distinguish case.
pub(super) fn unique_names(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut unique: Vec<String> = vec![];
    for name in names {
        let name = file_name(&name);
        let is_taken = |free: &String| {
            let mut others = unique.iter();
            others.any(|other| other.to_lowercase() == free.to_lowercase())
        };
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone())
            .chain(numbered)
            .find(|free| !is_taken(free));
        unique.extend(free);
    }
    unique
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let own = |name: &str| Contestant {
            name: name.to_owned(),
            path: format!("{name}.yaml"),
            recipe: String::new(),
        };
        let mut record = Record {
            judges: vec!["x".to_owned(), "y".to_owned()],
            activation: None,
            battery: true,
            prompts: vec!["A cat!".to_owned(), "a cat?".to_owned()],
            seeds: Some(vec![1, 2]),
            recipes: vec![own("one"), own("two")],
            pictures: vec![],
        };
        record.pictures = record.unpainted(&[7, 8]);
        record
    }

    #[test]
    fn a_row_has_a_picture_of_each_recipe() {
        let record = record();
        let files: Vec<&str> = record
            .pictures
            .iter()
            .map(|one| one.file.as_str())
            .collect();
        assert_eq!(
            files,
            [
                "pictures/one/a-cat-seed-1.png",
                "pictures/two/a-cat-seed-1.png",
                "pictures/one/a-cat-seed-2.png",
                "pictures/two/a-cat-seed-2.png",
                "pictures/one/a-cat-2-seed-1.png",
                "pictures/two/a-cat-2-seed-1.png",
                "pictures/one/a-cat-2-seed-2.png",
                "pictures/two/a-cat-2-seed-2.png",
            ]
        );
        let prompts: Vec<usize> = (0..8).map(|picture| record.prompt_of(picture)).collect();
        assert_eq!(prompts, [0, 0, 0, 0, 1, 1, 1, 1]);
        let own = Record {
            seeds: None,
            ..record
        };
        let seeds: Vec<u64> = own.unpainted(&[7, 8]).iter().map(|one| one.seed).collect();
        assert_eq!(seeds, [7, 8, 7, 8]);
    }

    #[test]
    fn names_differ_by_more_than_case() {
        let names = ["a", "A", "a/b", "a b", "a-2"].map(str::to_owned);
        assert_eq!(unique_names(names), ["a", "A-2", "a-b", "a-b-2", "a-2-2"]);
    }

    #[test]
    fn a_summary_is_by_the_mean_of_the_judges_and_by_each() {
        let mut record = record();
        for (picture, scores) in [(0, [0.2, 0.4]), (1, [0.3, 0.4]), (2, [0.2, 0.2])] {
            record.pictures[picture].scores = scores.to_vec();
            record.pictures[picture].cost.cutouts = 10 * (picture + 1);
        }
        record.pictures[3].failed = Some("it failed".to_owned());
        assert!(record.is_consistent());
        let [one, two] = &record.summaries()[..] else {
            panic!("two recipes");
        };
        assert_eq!(
            (one.pictures, one.failed, two.pictures, two.failed),
            (2, 0, 1, 1)
        );
        assert!((one.standing.score.expect("a score") - 0.25).abs() < 1e-12);
        assert_eq!(one.cutouts, Some(20.0));
        let wins = |standing: &Standing| {
            let against = standing.against_first.as_ref().expect("the first");
            (against.wins, against.losses, against.draws)
        };
        assert_eq!(wins(&two.standing), (1, 0, 0));
        assert_eq!(wins(&two.judges[0].standing), (1, 0, 0));
        assert_eq!(wins(&two.judges[1].standing), (0, 0, 1));
    }

    #[test]
    fn a_record_that_leads_elsewhere_is_damaged() {
        let damages: [fn(&mut Record); 9] = [
            |record| record.judges.clear(),
            |record| record.pictures.truncate(7),
            |record| record.pictures[1].file = "../x.png".to_owned(),
            |record| record.pictures[1].run = Some("../painting-001".to_owned()),
            |record| record.pictures[1].run = Some("painting".to_owned()),
            |record| record.pictures[1].scores = vec![0.1],
            |record| record.recipes[1].name = "../two".to_owned(),
            |record| record.seeds = Some(vec![]),
            |record| record.recipes.truncate(1),
        ];
        assert!(record().is_consistent());
        for (number, damage) in damages.iter().enumerate() {
            let mut record = record();
            damage(&mut record);
            assert!(!record.is_consistent(), "{number}");
        }
    }
}
