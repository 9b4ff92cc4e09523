//! A render from its first step to its last: a session is driven, and its run folder kept.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use image::RgbImage;
use serde::Serialize;

use crate::frames::FrameSink;
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
    /// The video's file, if the recipe asks for one.
    pub video: Option<PathBuf>,
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
    let (steps, done) = (session.steps(), session.step());
    // of the last stage's size, to which the frames of others are brought
    let size = recipe.stage_size(recipe.generator.0.len().saturating_sub(1));
    let mut frames = FrameSink::open(folder, &recipe.output, size, steps, done)?;
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
            if frames.wants(tick.step) {
                let image = picture::from_tensor(&session.image()?)?;
                frames.take(folder, tick.step, &image)?;
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
                    Ok((path, image)) => match frames.finish(&image) {
                        Ok(_) => format!("the picture so far is {}", path.display()),
                        Err(error) => {
                            format!("the picture so far is {}; {error:#}", path.display())
                        }
                    },
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
    let (image, shown) = save(session, folder, recipe)?;
    let video = (frames.finish(&shown))
        .with_context(|| format!("there is no video; the picture is {}", image.display()))?;
    let (loss, similarity, finished) = match last {
        Some(tick) => (tick.loss, tick.similarity, tick.finished),
        None => (0.0, BTreeMap::new(), false),
    };
    Ok(Outcome {
        image,
        video,
        steps: session.step(),
        seconds: start.elapsed().as_secs_f64(),
        loss,
        similarity,
        interrupted: !finished,
    })
}

fn save(session: &mut Session, folder: &RunFolder, recipe: &Recipe) -> Result<(PathBuf, RgbImage)> {
    let image = session.image().context("there is no picture to save")?;
    let image = picture::from_tensor(&image)?;
    Ok((folder.write_image(&image, recipe)?, image))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::{Objective, Term, Verdict};
    use crate::output::METRICS;
    use crate::prompt::At;
    use crate::recipe::Prompt;
    use candle_core::{Device, Tensor};
    use generators::{Generator, Progress, State};
    use std::fs;

    /// A grey picture that stays as it is.
    struct Grey;

    impl Generator for Grey {
        fn render(&mut self) -> candle_core::Result<Tensor> {
            Tensor::full(0.5f32, (1, 3, 2, 2), &Device::Cpu)
        }

        fn step(&mut self, _: Tensor, _: &Tensor) -> candle_core::Result<Progress> {
            Ok(Progress::Running)
        }

        fn save(&self) -> candle_core::Result<State> {
            Ok(State::default())
        }

        fn load(&mut self, _: &State) -> candle_core::Result<()> {
            Ok(())
        }
    }

    /// Content, until a step at which its loss is not a number.
    struct Content {
        until: usize,
    }

    impl Term for Content {
        fn name(&self) -> &str {
            "content"
        }

        fn judge(&mut self, image: &Tensor, at: At) -> Result<Verdict> {
            Ok(Verdict {
                loss: if at.step < self.until { 0.25 } else { f64::NAN },
                grad: image.zeros_like()?,
                similarity: BTreeMap::new(),
                parts: BTreeMap::new(),
            })
        }
    }

    fn painted(
        until: usize,
        stop_after: usize,
        every: usize,
    ) -> (tempfile::TempDir, Result<Outcome>) {
        let out = tempfile::tempdir().expect("a folder");
        let mut folder = RunFolder::create(out.path(), "grey").expect("a run");
        let mut recipe = Recipe::new(vec![Prompt::new("grey")]);
        recipe.output.every = every;
        let objective = Objective::new(vec![Box::new(Content { until })]);
        let mut session = Session::from_parts(Box::new(Grey), objective, 5);
        let stop = AtomicBool::new(stop_after == 0);
        let outcome = paint(&mut session, &mut folder, &recipe, &stop, |tick| {
            stop.store(tick.step >= stop_after, Ordering::Relaxed);
        });
        (out, outcome)
    }

    fn grey_picture(out: &tempfile::TempDir) -> bool {
        let image = picture::load_rgb(&out.path().join("grey-001/image.png")).expect("a picture");
        image.pixels().all(|pixel| pixel.0 == [128; 3])
    }

    #[test]
    fn a_whole_render_leaves_all_its_files() {
        let (out, outcome) = painted(usize::MAX, usize::MAX, 2);
        let outcome = outcome.expect("a picture");
        assert_eq!(
            (outcome.steps, outcome.interrupted, outcome.loss),
            (5, false, 0.25)
        );
        assert!(grey_picture(&out));
        let run = out.path().join("grey-001");
        let metrics = fs::read_to_string(run.join(METRICS)).expect("metrics");
        assert_eq!(metrics.lines().count(), 5);
        assert_eq!(fs::read_dir(run.join("frames")).expect("frames").count(), 2);
    }

    #[test]
    fn a_stop_saves_the_picture() {
        for after in [0, 2] {
            let (out, outcome) = painted(usize::MAX, after, 0);
            let outcome = outcome.expect("a picture");
            assert_eq!((outcome.steps, outcome.interrupted), (after, true));
            assert!(grey_picture(&out));
        }
    }

    #[test]
    fn a_loss_that_is_not_a_number_saves_the_picture_and_names_the_term() {
        let (out, outcome) = painted(2, usize::MAX, 0);
        let error = format!("{:#}", outcome.expect_err("a broken loss"));
        assert!(
            error.starts_with("the render stopped; the picture so far is "),
            "{error}"
        );
        assert!(error.contains("content"), "{error}");
        assert!(grey_picture(&out));
    }
}
