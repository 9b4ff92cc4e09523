//! A render from its first step to its last: a session is driven, and its run folder kept.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::output::RunFolder;
use crate::picture;
use crate::recipe::Recipe;
use crate::session::{Session, Tick};

/// So often the picture is saved while it is painted, so that whatever ends the program leaves one.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// What a render came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The picture's file.
    pub image: PathBuf,
    /// Steps done.
    pub steps: usize,
    /// How long it took, from the first step on.
    pub seconds: f64,
    /// The loss at the last step.
    pub loss: f64,
    /// The mean cosine of the cutouts to each prompt at the last step, by the prompt's label.
    pub similarity: BTreeMap<String, f64>,
    /// Whether it was stopped before its last step.
    pub interrupted: bool,
}

/// A line of `metrics.jsonl`.
#[derive(Serialize)]
struct Metrics<'a> {
    step: usize,
    loss: f64,
    terms: &'a BTreeMap<String, f64>,
    similarity: &'a BTreeMap<String, f64>,
    seconds: f64,
}

/// Paints until the session is finished or `stop` is set, and leaves picture, metrics and frames in the folder.
///
/// `recipe` is the recipe as [`RunFolder::write_recipe`] returned it: it goes into the picture's metadata. `watch` is
/// called after every step.
///
/// # Errors
/// When a step fails or a file cannot be written; the last picture that was good is saved before, if that can be.
pub fn paint(
    session: &mut Session,
    folder: &mut RunFolder,
    recipe: &Recipe,
    stop: &AtomicBool,
    mut watch: impl FnMut(&Tick),
) -> Result<Outcome> {
    let start = Instant::now();
    let mut saved: Option<Instant> = None;
    let mut last: Option<Tick> = None;
    let every = recipe.output.every;
    loop {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let result = session.tick().and_then(|tick| {
            folder.append_metrics(&Metrics {
                step: tick.step,
                loss: tick.loss,
                terms: &tick.terms,
                similarity: &tick.similarity,
                seconds: tick.seconds,
            })?;
            if every > 0 && tick.step % every == 0 {
                folder.write_frame(tick.step, &picture::from_tensor(&session.image()?)?)?;
            }
            if !tick.finished && saved.is_none_or(|saved| saved.elapsed() >= SAVE_EVERY) {
                folder.write_image(&picture::from_tensor(&tick.image)?, recipe)?;
                saved = Some(Instant::now());
            }
            Ok(tick)
        });
        let tick = match result {
            Ok(tick) => tick,
            Err(error) => {
                let kept = match save(session, folder, recipe) {
                    Ok(path) => format!("the picture so far is {}", path.display()),
                    Err(error) => format!("the picture so far could not be saved ({error:#})"),
                };
                return Err(error.context(format!("the render stopped; {kept}")));
            }
        };
        watch(&tick);
        let finished = tick.finished;
        last = Some(tick);
        if finished {
            break;
        }
    }
    let image = save(session, folder, recipe)?;
    let (loss, similarity, finished) = match last {
        Some(tick) => (tick.loss, tick.similarity, tick.finished),
        None => (0.0, BTreeMap::new(), false),
    };
    Ok(Outcome {
        image,
        steps: session.step(),
        seconds: start.elapsed().as_secs_f64(),
        loss,
        similarity,
        interrupted: !finished,
    })
}

fn save(session: &mut Session, folder: &RunFolder, recipe: &Recipe) -> Result<PathBuf> {
    let image = session.image().context("there is no picture to save")?;
    Ok(folder.write_image(&picture::from_tensor(&image)?, recipe)?)
}
