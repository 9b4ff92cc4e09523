//! Comparisons: recipes on the same prompts and seeds, judged by CLIPs that guided none of them.
//!
//! The score of a guide says nothing of a picture's quality, because the picture was made to please it. So the judge must have no image tower
//! in common with any of the recipes' models, and looks at six views of each picture: a protocol of pytti v2 (somnai-dreams/pytti-core,
//! `scripts/judge_stills.py`).
//!
//! The folder of a comparison holds its record `comparison.json`, `sheet.png`, and in `pictures/` a folder for each recipe with the recipe and its
//! pictures. The picture that is being painted has a run folder, which is removed when the picture is done. So a comparison can be stopped at any
//! step and resumed.

mod battery;
mod error;
pub(crate) mod panel;
mod record;
mod sheet;
mod standing;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use candle_core::Device;
use image::RgbImage;

use super::same_model::{guides_like, overlap};
use crate::clip::ClipActivation;
use crate::files::write_whole;
use crate::recipe::Recipe;
use crate::run::{
    CHECKPOINT, RECIPE, Resumption, Run, RunFolder, disk_full, run_name, without_number,
};
use crate::session::{Session, SessionOptions};
use crate::{metadata, picture};
pub(crate) use battery::main_text;
pub use battery::{PLACE, parse_prompts, read_prompts};
use battery::{has_place, obstacle, with_prompt};
pub use error::ComparisonError;
use panel::Panel;
pub use record::{Contestant, Cost, JudgeStanding, Picture, RECORD, Record, Summary};
use record::{PAINTING, PICTURES, unique_names};
pub use standing::{AgainstFirst, NOISE_FLOOR, Standing};

/// The contact sheet's file name in a comparison's folder.
pub const SHEET: &str = "sheet.png";
/// The name of a comparison's folder, before its number.
const NAME: &str = "compare";

/// The options of a comparison.
#[derive(Clone, Debug)]
pub struct ComparisonOptions {
    /// The texts that each recipe paints: each takes the place of [`PLACE`] in a recipe's texts, or of its first text of positive weight.
    /// Without any, each recipe paints its own prompts, and that text must be the same in all recipes.
    pub prompts: Vec<String>,
    /// The seeds with which each prompt is painted. Without any, each recipe has its own.
    pub seeds: Vec<u64>,
    /// The names of the CLIPs that judge.
    pub judges: Vec<String>,
    /// The nonlinearity of all of them except the embedded ones, overriding their files.
    pub activation: Option<ClipActivation>,
}

/// A recipe to compare, and the file that it was read from.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The file.
    pub path: PathBuf,
    /// The recipe.
    pub recipe: Recipe,
}

/// A comparison in its folder.
pub struct Comparison {
    folder: RunFolder,
    record: Record,
    /// In the order of the record's recipes.
    painters: Vec<Painter>,
    panel: Panel,
    warnings: Vec<String>,
    device: Device,
    options: SessionOptions,
}

/// A recipe with the folder of its pictures.
struct Painter {
    folder: RunFolder,
    recipe: Recipe,
    /// With paths that start from the folder.
    written: Recipe,
}

impl Painter {
    fn new(mut folder: RunFolder, recipe: Recipe) -> Result<Self> {
        let written = folder.write_recipe(&recipe)?;
        Ok(Self {
            folder,
            recipe,
            written,
        })
    }
}

impl ComparisonOptions {
    /// Checks that these recipes can be compared so, without loading a model. Returns the texts that their pictures are compared with.
    ///
    /// # Errors
    /// A [`ComparisonError`] when there are fewer than two recipes, one of the judges takes part in guiding one of them, or there is no text
    /// to compare with.
    pub fn check(&self, entries: &[Entry]) -> Result<Vec<String>> {
        if entries.len() < 2 {
            return Err(ComparisonError::TooFew(entries.len()).into());
        }
        let twice = |seed: &u64| self.seeds.iter().filter(|other| *other == seed).count() > 1;
        if let Some(seed) = self.seeds.iter().find(|seed| twice(seed)) {
            return Err(ComparisonError::SeedTwice(*seed).into());
        }
        self.check_judges(entries)?;
        self.texts(entries)
    }

    fn check_judges(&self, entries: &[Entry]) -> Result<()> {
        if self.judges.is_empty() {
            return Err(ComparisonError::NoJudge.into());
        }
        for (index, judge) in self.judges.iter().enumerate() {
            if let Some(other) = self.judges[..index]
                .iter()
                .find(|other| overlap(other, judge))
            {
                return Err(ComparisonError::SameJudge {
                    first: other.clone(),
                    second: judge.clone(),
                }
                .into());
            }
            for Entry { path, recipe } in entries {
                let guides = guides_like(recipe, judge)?;
                if !guides.is_empty() {
                    return Err(ComparisonError::Guide {
                        judge: judge.clone(),
                        recipe: path.clone(),
                        guides,
                    }
                    .into());
                }
            }
        }
        Ok(())
    }

    fn texts(&self, entries: &[Entry]) -> Result<Vec<String>> {
        if self.prompts.is_empty() {
            return Ok(vec![common_text(entries)?]);
        }
        for Entry { path, recipe } in entries {
            if let Some(why) = obstacle(recipe) {
                let recipe = path.clone();
                return Err(ComparisonError::NoPlace { recipe, why }.into());
            }
        }
        Ok(self.prompts.clone())
    }
}

/// The text that the pictures of recipes that paint their own prompts are compared with.
fn common_text(entries: &[Entry]) -> Result<String, ComparisonError> {
    let mut common: Option<(&Entry, &str)> = None;
    for entry in entries {
        let path = || entry.path.clone();
        if has_place(&entry.recipe) {
            return Err(ComparisonError::NoPrompts(path()));
        }
        let text = main_text(&entry.recipe).ok_or_else(|| ComparisonError::NoText(path()))?;
        let (first, first_text) = *common.get_or_insert((entry, text));
        if text != first_text {
            return Err(ComparisonError::Texts {
                first: (first.path.clone(), first_text.to_owned()),
                second: (path(), text.to_owned()),
            });
        }
    }
    let text = common.map(|(_, text)| text.to_owned());
    text.ok_or(ComparisonError::TooFew(entries.len()))
}

impl Comparison {
    /// Prepares a new comparison, in a new folder `out/compare-NNN`. Its renders leave no frames and videos.
    ///
    /// # Errors
    /// As [`ComparisonOptions::check`]; when a judge cannot be loaded, or the folder cannot be written to.
    pub fn new(
        out: &Path,
        entries: &[Entry],
        options: &ComparisonOptions,
        session: SessionOptions,
        device: &Device,
    ) -> Result<Self> {
        let prompts = options.check(entries)?;
        let panel = Panel::load(&options.judges, options.activation, &prompts, device)?;
        let mut record = Record {
            judges: options.judges.clone(),
            activation: options.activation,
            battery: !options.prompts.is_empty(),
            prompts,
            seeds: (!options.seeds.is_empty()).then(|| options.seeds.clone()),
            recipes: vec![],
            pictures: vec![],
        };
        // the folder is created last, so that a failure leaves none behind
        let folder = RunFolder::create(out, NAME)?;
        let mut painters = vec![];
        let names = unique_names(entries.iter().map(|entry| run_name(&entry.path)));
        for (name, entry) in names.into_iter().zip(entries) {
            let mut recipe = entry.recipe.clone();
            (recipe.output.video, recipe.output.every) = (None, 0);
            let painter = Painter::new(folder.inside(&Path::new(PICTURES).join(&name))?, recipe)?;
            record.recipes.push(Contestant {
                name,
                path: entry.path.display().to_string(),
                recipe: painter.written.to_yaml()?,
            });
            painters.push(painter);
        }
        let own_seeds: Vec<u64> = entries.iter().map(|entry| entry.recipe.seed).collect();
        record.pictures = record.unpainted(&own_seeds);
        let comparison = Self::of(folder, record, painters, panel, session, device);
        comparison.write_record()?;
        Ok(comparison)
    }

    fn of(
        folder: RunFolder,
        record: Record,
        painters: Vec<Painter>,
        panel: Panel,
        options: SessionOptions,
        device: &Device,
    ) -> Self {
        Self {
            folder,
            record,
            painters,
            panel,
            warnings: vec![],
            device: device.clone(),
            options,
        }
    }

    /// Prepares to resume a comparison that was stopped. Pictures that failed, or whose files are gone, are painted again.
    ///
    /// # Errors
    /// When the folder is no comparison's, damaged, or in use; when a recipe was changed since it began, or a judge cannot be loaded.
    pub fn resume(path: &Path, session: SessionOptions, device: &Device) -> Result<Self> {
        let folder = RunFolder::open_with(path, RECORD, "it is not the folder of a comparison")?;
        let mut record = Record::load(path)?;
        let mut painters = vec![];
        for (own, recipe) in record.recipes.iter().zip(record.recipes_in(path)?) {
            let folder = folder.inside(&Path::new(PICTURES).join(&own.name))?;
            painters.push(Painter::new(folder, recipe)?);
        }
        let panel = Panel::load(&record.judges, record.activation, &record.prompts, device)?;
        for picture in &mut record.pictures {
            picture.failed = None;
            if !path.join(&picture.file).is_file() {
                picture.scores.clear();
            }
        }
        Ok(Self::of(folder, record, painters, panel, session, device))
    }

    /// Whether a folder is a comparison's.
    pub fn is_at(path: &Path) -> bool {
        path.join(RECORD).is_file()
    }

    /// Whether a folder looks like a comparison's whose record is gone.
    pub fn has_lost_record(path: &Path) -> bool {
        let is_there = |name: &str| path.join(name).exists();
        is_there(PICTURES) && !is_there(RECORD) && !is_there(RECIPE)
    }

    /// What is compared, and the results so far.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Warnings of the judges and, once they paint, of the recipes.
    pub fn warnings(&self) -> impl Iterator<Item = &String> {
        self.panel.warnings().chain(&self.warnings)
    }

    /// Paints and judges all pictures, or until `stop` is set; true where it came to the end. After every step, `progress` is called with the
    /// number of steps of all pictures that are done, and of the whole comparison. The same recipes, options and device give the same pictures
    /// and scores, with or without a stop.
    ///
    /// # Errors
    /// When a file cannot be written. A single picture that fails is recorded, and the others are painted.
    pub fn run(
        &mut self,
        stop: &AtomicBool,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<bool> {
        for index in 0..self.record.pictures.len() {
            if !self.record.pictures[index].scores.is_empty() {
                continue;
            }
            match self.paint(index, stop, &mut progress) {
                Ok(true) => {}
                Ok(false) => {
                    self.write_record()?;
                    self.write_sheet()?;
                    return Ok(false);
                }
                // the next picture would fail as well
                Err(error) if disk_full(&error).is_some() => return Err(error),
                Err(error) => self.record.pictures[index].failed = Some(format!("{error:#}")),
            }
            self.write_record()?;
            self.remove_finished_runs();
        }
        self.write_sheet()?;
        Ok(true)
    }

    /// Paints one picture and judges it. False where it was stopped.
    fn paint(
        &mut self,
        index: usize,
        stop: &AtomicBool,
        progress: &mut impl FnMut(usize, usize),
    ) -> Result<bool> {
        if stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let (before, own, total) = self.steps(index);
        let every = self.painters[self.record.recipe_of(index)]
            .recipe
            .output
            .checkpoint;
        let mut run = self.run_of(index)?;
        let name = &self.record.pictures[index].recipe;
        for warning in run.session_mut().take_warnings() {
            let warning = format!("{name}: {warning}");
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
        while !run.is_finished() {
            if stop.load(Ordering::Relaxed) {
                run.stop()?;
                return Ok(false);
            }
            let tick = run.step()?;
            progress(before + tick.step.min(own), total);
            let (step, finished) = (tick.step, tick.finished);
            self.record.pictures[index].cost.add(tick);
            if every > 0 && step.is_multiple_of(every) && !finished {
                // the cost at the checkpoint that the run has just written
                self.write_record()?;
            }
        }
        let image = picture::from_tensor(&run.session_mut().image()?)?;
        drop(run);
        let scores = self.panel.score(&image, self.record.prompt_of(index))?;
        self.write_picture(index, &image)?;
        let done = &mut self.record.pictures[index];
        (done.scores, done.run) = (scores, None);
        Ok(true)
    }

    /// The planned steps of all pictures before one, its own, and those of the whole comparison.
    fn steps(&self, index: usize) -> (usize, usize, usize) {
        let of_recipes = self.painters.iter().map(|own| own.recipe.total_steps());
        let of_recipes: Vec<usize> = of_recipes.collect();
        let steps = |picture: usize| of_recipes[self.record.recipe_of(picture)];
        let before = (0..index).map(steps).sum();
        let total = (0..self.record.pictures.len()).map(steps).sum();
        (before, steps(index), total)
    }

    /// The run of a picture where it was stopped, or at its start.
    fn run_of(&mut self, index: usize) -> Result<Run> {
        if let Some(name) = &self.record.pictures[index].run {
            let path = self.folder.path().join(name);
            if path.join(CHECKPOINT).is_file()
                && let Some(run) = self.resumed(index, RunFolder::open(&path)?)
            {
                return Ok(run);
            }
        }
        let own = &mut self.record.pictures[index];
        (own.run, own.cost) = (None, Cost::default());
        self.remove_finished_runs();
        let recipe = self.recipe_for(index, |painter| &painter.recipe);
        let session = Session::with_options(&recipe, &self.device, &self.options)?;
        let folder = RunFolder::create(self.folder.path(), PAINTING)?;
        let name = folder.path().file_name().unwrap_or_default();
        self.record.pictures[index].run = Some(name.to_string_lossy().into_owned());
        let run = Run::new(session, folder, &recipe)?;
        self.write_record()?;
        Ok(run)
    }

    /// The run in a folder at its last checkpoint; none where that cannot be used, or its cost is not known: then the picture is painted again.
    fn resumed(&self, index: usize, folder: RunFolder) -> Option<Run> {
        let resumption = Resumption::read(folder, false, &self.device).ok()?;
        let (run, changes) = resumption.into_run(&self.options).ok()?;
        let is_known = run.session().step() == self.record.pictures[index].cost.steps;
        (is_known && changes.is_empty()).then_some(run)
    }

    /// A painter's recipe with the prompt and the seed of a picture.
    fn recipe_for(&self, index: usize, of: impl Fn(&Painter) -> &Recipe) -> Recipe {
        let own = &self.record.pictures[index];
        let recipe = of(&self.painters[self.record.recipe_of(index)]);
        let mut recipe = if self.record.battery {
            with_prompt(recipe, &own.prompt)
        } else {
            recipe.clone()
        };
        recipe.seed = own.seed;
        recipe
    }

    /// Removes the run folders of pictures that are done, and those that a killed program left.
    fn remove_finished_runs(&self) {
        let Ok(entries) = fs::read_dir(self.folder.path()) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_run = name != PAINTING && without_number(&name) == PAINTING;
            let is_named = |own: &Picture| own.run.as_deref() == Some(&*name);
            if is_run && !self.record.pictures.iter().any(is_named) {
                // one that stays does no harm
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn write_record(&self) -> Result<()> {
        let path = self.folder.path().join(RECORD);
        let text = serde_json::to_vec_pretty(&self.record)?;
        Ok(write_whole(&path, true, |file| file.write_all(&text))?)
    }

    /// Writes a picture with the recipe that paints it.
    fn write_picture(&self, index: usize, image: &RgbImage) -> Result<()> {
        let recipe = self.recipe_for(index, |painter| &painter.written);
        let file = Path::new(&self.record.pictures[index].file);
        let name = file.file_name().context("a picture has no name")?;
        let painter = &self.painters[self.record.recipe_of(index)];
        (painter.folder).write_picture(&name.to_string_lossy(), image, &recipe)?;
        Ok(())
    }

    /// Draws the sheet.
    fn write_sheet(&self) -> Result<()> {
        let sheet = sheet::draw(&self.record, self.folder.path())?;
        let path = self.folder.path().join(SHEET);
        write_whole(&path, true, |file| metadata::write(file, &sheet, &[]))?;
        Ok(())
    }
}
