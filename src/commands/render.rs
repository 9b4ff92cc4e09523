//! `phantasia render`

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use phantasia::output::{self, RunFolder};
use phantasia::paint::{self, Outcome};
use phantasia::recipe::{Draft, Recipe, RecipeError};
use phantasia::session::{Session, Tick};
use phantasia::video;
use serde::Serialize;

use super::console::{note, say};
use super::device;
use crate::cli::RenderArgs;

/// Exit code after an interrupt: 128 + SIGINT.
const INTERRUPTED: u8 = 130;
/// Without a terminal, a line of progress every so often.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    run: String,
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    video: Option<String>,
    steps: usize,
    seconds: f64,
    loss: f64,
    similarity: &'a BTreeMap<String, f64>,
    device: &'a str,
}

/// Paints a picture.
pub fn run(args: &RenderArgs) -> Result<ExitCode> {
    let recipe = recipe(args)?;
    if let Some(kind) = recipe.output.video {
        video::available(kind)?;
    }
    let stop = interrupt()?;
    let (device, device_name) = device::open(args.device)?;
    let mut session = Session::new(&recipe, &device)?;
    for warning in session.take_warnings() {
        note(format_args!("warning: {warning}"));
    }
    let mut folder = RunFolder::create(&args.out, &output::run_name(&args.recipe))?;
    let written = folder.write_recipe(&recipe)?;
    let mut progress = Progress::new(session.steps(), args.quiet);
    let outcome = paint::paint(&mut session, &mut folder, &written, &stop, |tick| {
        progress.tick(tick)
    });
    progress.clear();
    let outcome = outcome?;
    if outcome.interrupted {
        note(format_args!(
            "interrupted after step {} of {}; the picture so far is saved",
            outcome.steps,
            session.steps()
        ));
    }
    report(args, &folder, &outcome, &device_name)?;
    Ok(if outcome.interrupted {
        ExitCode::from(INTERRUPTED)
    } else {
        ExitCode::SUCCESS
    })
}

/// The recipe, with what the flags change in it.
fn recipe(args: &RenderArgs) -> Result<Recipe, RecipeError> {
    let mut draft = Draft::load(&args.recipe)?;
    for assignment in &args.set {
        draft.set(assignment)?;
    }
    if !args.prompt.is_empty() {
        let flag = format!("--prompt {}", args.prompt.join(" --prompt "));
        draft.replace("prompts", &args.prompt.clone().into(), &flag)?;
    }
    if let Some(seed) = args.seed {
        draft.replace("seed", &seed.into(), &format!("--seed {seed}"))?;
    }
    if let Some(steps) = args.steps {
        draft.replace("steps", &steps.into(), &format!("--steps {steps}"))?;
    }
    if let Some(size) = &args.size {
        draft.replace("size", &size.clone().into(), &format!("--size {size}"))?;
    }
    draft.finish()
}

/// A flag that the first Ctrl-C sets. The second ends the program at once.
fn interrupt() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}

fn report(args: &RenderArgs, folder: &RunFolder, outcome: &Outcome, device: &str) -> Result<()> {
    if !args.json {
        return Ok(say(outcome.image.display())?);
    }
    let report = Report {
        run: folder.path().display().to_string(),
        image: outcome.image.display().to_string(),
        video: (outcome.video.as_ref()).map(|path| path.display().to_string()),
        steps: outcome.steps,
        seconds: outcome.seconds,
        loss: outcome.loss,
        similarity: &outcome.similarity,
        device,
    };
    Ok(say(serde_json::to_string(&report)?)?)
}

/// Progress on standard error: a bar on a terminal, else a line now and then.
enum Progress {
    Hidden,
    Bar(ProgressBar),
    Lines {
        start: Instant,
        last: Instant,
        steps: usize,
    },
}

impl Progress {
    fn new(steps: usize, quiet: bool) -> Self {
        if quiet {
            return Self::Hidden;
        }
        let now = Instant::now();
        if !std::io::stderr().is_terminal() {
            return Self::Lines {
                start: now,
                last: now,
                steps,
            };
        }
        let bar = ProgressBar::new(steps as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {wide_msg}  {eta}") {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    fn tick(&mut self, tick: &Tick) {
        match self {
            Self::Hidden => {}
            Self::Bar(bar) => {
                bar.set_position(tick.step as u64);
                bar.set_message(words(tick));
            }
            Self::Lines { start, last, steps } => {
                if last.elapsed() >= LINE_EVERY || tick.finished {
                    *last = Instant::now();
                    let left = start.elapsed().as_secs_f64() / tick.step as f64
                        * steps.saturating_sub(tick.step) as f64;
                    note(format_args!(
                        "step {} of {steps}  {}  {left:.0} s left",
                        tick.step,
                        words(tick)
                    ));
                }
            }
        }
    }

    fn clear(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// The loss, and how close the picture is to the first prompts.
fn words(tick: &Tick) -> String {
    const PROMPTS: usize = 3;
    const LONGEST: usize = 24;
    let mut words = format!("loss {:.4}", tick.loss);
    for (label, cosine) in tick.similarity.iter().take(PROMPTS) {
        let short: String = label.chars().take(LONGEST).collect();
        let rest = if short.len() < label.len() { "..." } else { "" };
        words.push_str(&format!("  {cosine:.3} {}{rest}", short.escape_debug()));
    }
    words
}
