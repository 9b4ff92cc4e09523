//! How good, how fast and how large CLIPs are: zero-shot accuracy on pictures whose labels are known, as Radford et al. (2021, section 3.1) measure it,
//! beside the time and the memory that it takes.
//!
//! Pictures are embedded once: their embeddings are kept in the [`Index`] of their folder, which recognises pictures by their content and CLIPs by
//! their answers, and is saved while it grows. What was stopped is resumed by doing it again.

mod chart;
mod memory;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::slice;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use candle_core::Device;
use serde::Serialize;
use walkdir::WalkDir;

use super::classify::{Accuracy, Classifier};
use super::ensemble::Ensemble;
use super::index::Index;
use super::labels::{Folders, Label};
use super::pictures::{Skipped, no_pictures};
use crate::clip::{ClipActivation, LongText};
use crate::picture;

pub use chart::{count, write as write_chart};

/// The speed is measured on about so much work after the first picture.
const MEASURED: Duration = Duration::from_secs(1);
/// And on no more pictures than this, the largest batch of a tower.
const BATCH: usize = 32;
/// And no more often, where the work takes less time.
const PASSES: usize = 3;

/// What CLIPs are evaluated on.
#[derive(Clone, Debug)]
pub struct Evaluator {
    /// The labels. A picture's label is the innermost folder that it lies in and that is called like one.
    pub labels: Vec<Label>,
    /// The sentences that labels are put into, each with `{}`.
    pub templates: Vec<String>,
    /// The folder with the pictures.
    pub folder: PathBuf,
    /// The folder that keeps embeddings; without it, they are kept where [`Index::open`] keeps them.
    pub cache: Option<PathBuf>,
    /// The nonlinearity of every CLIP except the embedded ones, whatever its files say.
    pub activation: Option<ClipActivation>,
    /// How sentences that are longer than a CLIP's context are read.
    pub long_text: LongText,
}

/// What was found about one CLIP.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClipEvaluation {
    /// Its name.
    pub clip: String,
    /// How often it is right.
    #[serde(flatten)]
    pub accuracy: Accuracy,
    /// Pictures that its image tower embeds in a second, in batches, once they are read, decoded and resized.
    pub images_per_second: f64,
    /// How many parameters the two towers have.
    pub parameters: u64,
    /// The size of these weights in their file, in bytes.
    pub bytes: u64,
    /// How long it took to load, in seconds. The first time after a start of the machine, most of it is reading the disk.
    pub load_seconds: f64,
    /// The most memory that the program held while it was loaded and used, in bytes, where the system tells (Linux).
    pub peak_memory: Option<u64>,
    /// How many pictures were embedded; the embeddings of the others were known.
    pub embedded: usize,
    /// Pictures that lie in no folder of a label.
    pub unknown: usize,
    /// What the user should know: assumptions about its files, words that it does not read.
    pub warnings: Vec<String>,
}

/// The result of evaluating one CLIP.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is done. Files that could not be read are listed.
    Done(Box<ClipEvaluation>, Vec<Skipped>),
    /// It was stopped; the embeddings so far are kept.
    Interrupted,
}

impl Evaluator {
    /// Checks that the labels and the pictures of the folder belong together, which is known before any of them is embedded.
    ///
    /// # Errors
    /// If none of these pictures lies in a folder of a label.
    pub fn check_truth(&self, pictures: &[PathBuf]) -> Result<()> {
        let folders = Folders::new(&self.labels);
        if !(pictures.iter()).any(|path| folders.label_of(path).is_some()) {
            bail!(self.no_truth());
        }
        Ok(())
    }

    /// Loads a CLIP, embeds the pictures that it has not embedded before, and classifies all of them. `progress` is called with the number of
    /// pictures that are done, and of all, and may stop it.
    ///
    /// # Errors
    /// If the CLIP cannot be loaded or fails, if no picture can be read, or none lies in a folder of a label.
    pub fn evaluate(
        &self,
        clip: &str,
        device: &Device,
        progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Outcome> {
        memory::reset_peak();
        let started = Instant::now();
        let name = clip.to_owned();
        let ensemble = Ensemble::load(slice::from_ref(&name), self.activation, device)?
            .with_long_text(|_| self.long_text);
        let load_seconds = started.elapsed().as_secs_f64();
        let mut warnings: Vec<String> = ensemble.warnings().cloned().collect();

        let mut index = match &self.cache {
            Some(cache) => Index::open_in(&self.folder, cache),
            None => Index::open(&self.folder),
        };
        warnings.extend(index.warning.clone());
        let update = index.update(&ensemble, progress)?;
        if update.interrupted {
            return Ok(Outcome::Interrupted);
        }
        if update.files.is_empty() {
            bail!(no_pictures(slice::from_ref(&self.folder), &update.skipped));
        }
        warnings.extend((update.unsaved.iter()).map(|why| {
            format!("the embeddings could not be kept, so that the next time these pictures are embedded again: {why}")
        }));
        let images_per_second = speed(&ensemble, update.files.iter().map(|(path, _)| &**path))?;

        let size = ensemble.encoders()[0].size();
        let labels = self.labels.clone();
        let classifier = Classifier::new(ensemble.clone(), labels, &self.templates, |_, _| {})?;
        warnings.extend(classifier.warnings().iter().cloned());
        let vectors = index.vectors(&ensemble)?;
        let files = (update.files.into_iter()).map(|(path, digest)| (path, &vectors[&digest]));
        let evaluation = (classifier.evaluate(&classifier.classify_vectors(files)))
            .with_context(|| self.no_truth())?;
        Ok(Outcome::Done(
            Box::new(ClipEvaluation {
                clip: name,
                accuracy: evaluation.together,
                images_per_second,
                parameters: size.parameters,
                bytes: size.bytes,
                load_seconds,
                peak_memory: memory::peak(),
                embedded: update.embedded,
                unknown: evaluation.unknown,
                warnings,
            }),
            update.skipped,
        ))
    }

    fn no_truth(&self) -> String {
        let label = self.labels.first().map_or("", |label| {
            label.folder.as_deref().unwrap_or(label.name.as_str())
        });
        format!(
            "no picture in {} lies in a folder that is called like a label, such as `{label}`",
            self.folder.display()
        )
    }
}

/// Pictures that the image tower embeds in a second.
fn speed<'p>(ensemble: &Ensemble, paths: impl Iterator<Item = &'p Path>) -> Result<f64> {
    let mut shown = paths.filter_map(|path| {
        let picture = picture::load_rgb(path).ok()?;
        ensemble.preprocess(&picture).ok()
    });
    let first = (shown.next()).context("no picture can be read any more")?;
    let batch = slice::from_ref(&first);
    // the first time, memory is taken and caches are cold
    ensemble.embed(batch)?;
    let started = Instant::now();
    ensemble.embed(batch)?;
    let one = started.elapsed().as_secs_f64().max(1e-6);
    let count = ((MEASURED.as_secs_f64() / one) as usize).clamp(1, BATCH);
    let mut pictures = vec![first];
    pictures.extend(shown.take(count - 1));
    // a small folder is shown several times
    let pictures: Vec<_> = pictures.iter().cycle().take(count).cloned().collect();
    // the fastest of a few: other programs can only make it slower
    let started = Instant::now();
    let mut fastest = f64::INFINITY;
    for _ in 0..PASSES {
        let began = Instant::now();
        ensemble.embed(&pictures)?;
        fastest = fastest.min(began.elapsed().as_secs_f64());
        if started.elapsed() > MEASURED {
            break;
        }
    }
    Ok(count as f64 / fastest.max(1e-6))
}

/// The names of the folders in a folder, as labels; a `_` in them stands for a space. They are the folders that [`find_pictures`] enters: links are
/// followed, but not in circles.
///
/// # Errors
/// If the folder cannot be read, or has fewer than two folders in it.
///
/// [`find_pictures`]: super::find_pictures
pub fn labels_of_folders(folder: &Path) -> Result<Vec<Label>> {
    fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let entries = (WalkDir::new(folder).follow_links(true))
        .min_depth(1)
        .max_depth(1);
    // a link back to the folder is an error, which is reported where pictures are looked for; so is a folder that cannot be read
    let mut names: Vec<String> = (entries.into_iter().flatten())
        .filter(|entry| entry.file_type().is_dir() && fs::read_dir(entry.path()).is_ok())
        .filter_map(|entry| entry.file_name().to_str().map(str::to_owned))
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    if names.len() < 2 {
        bail!(
            "{} has no two folders whose names could be labels",
            folder.display()
        );
    }
    let is_number = |name: &String| {
        (name.strip_prefix('n'))
            .is_some_and(|rest| rest.len() == 8 && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if names.iter().any(is_number) {
        bail!(
            "folders in {} are called by numbers of WordNet, such as `{}`, which are no labels: `--labels imagenette` or `imagewoof` knows those of these data sets, and a file with lines of `n01440764 = tench` any others",
            folder.display(),
            names
                .iter()
                .find(|name| is_number(name))
                .expect("one of them")
        );
    }
    let label = |name: String| Label {
        folder: Some(name.clone()),
        name: name.replace('_', " ").trim().to_owned(),
    };
    Ok(names.into_iter().map(label).collect())
}
