//! How a render is kept company: progress on the terminal, commands from other programs, the recipe's file.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use phantasia::live::{self, Command, RecipeWatch, Worker, WorkerOptions};
use phantasia::paint::{Outcome, Painter};
use phantasia::preview::choose::{Preview, Surroundings};
use phantasia::preview::terminal;
use phantasia::preview::window::Window;
use phantasia::recipe::Recipe;
use phantasia::session::Tick;
use serde::Serialize;

use super::console::{note, say};
use super::render;
use crate::cli::{CompanyArgs, PreviewChoice, RenderArgs};

/// Exit code after an interrupt: 128 + SIGINT.
pub const INTERRUPTED: u8 = 130;
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

/// What goes on beside a render.
pub struct Company {
    /// What the command line says of it.
    pub args: CompanyArgs,
    /// Where the picture shows.
    pub preview: Preview,
    /// What the device is called.
    pub device: String,
    /// Set by Ctrl-C.
    pub stop: Arc<AtomicBool>,
}

impl Company {
    /// Lets the painter paint to its end. What `beside` makes lives as long; it is given where commands go.
    pub fn keep<T>(
        self,
        painter: Painter,
        beside: impl FnOnce(SyncSender<Command>) -> Result<T>,
    ) -> Result<ExitCode> {
        let run = painter.folder().path().to_owned();
        let (steps, done) = (painter.session().steps(), painter.session().step());
        // the picture in the terminal has its own line of progress
        let quiet = self.args.quiet || self.preview == Preview::Terminal;
        let mut progress = Progress::new(steps, done, quiet);
        let options = WorkerOptions {
            device: self.device.clone(),
            fade: self.args.fade,
            // a window stays until it is closed, and the render can begin again in it
            hold: self.preview == Preview::Window,
            frames: self.preview != Preview::None,
        };
        // before the painting begins: without a window it should not
        let window = match self.preview {
            Preview::Window => Some(Window::open(&format!("Phantasia: {}", run.display()))?),
            Preview::Terminal | Preview::None => None,
        };
        let bar = progress.clone();
        let stop = Arc::clone(&self.stop);
        let worker = Worker::spawn(painter, options, stop, move |tick| progress.tick(tick))?;
        let beside = beside(worker.commands())?;
        if self.args.control.is_some() {
            let commands = worker.commands();
            // it ends with standard input, or with the program
            std::thread::Builder::new()
                .name("control".to_owned())
                .spawn(move || {
                    live::read_commands(std::io::stdin().lock(), &commands, |line| note(line));
                })
                .context("cannot listen to standard input")?;
        }
        let (frames, is_over) = (worker.frames(), || worker.is_done());
        let shown = match (window, self.preview) {
            (Some(window), _) => window.run(&frames, &worker.commands(), &is_over),
            (None, Preview::Terminal) => terminal::run(&frames, &is_over),
            (None, _) => Ok(()),
        };
        // the render does not end for want of a preview
        if let Err(error) = shown {
            note(format_args!("{error:#}"));
        }
        let outcome = worker.join();
        drop(beside);
        bar.clear();
        let outcome = outcome?;
        if outcome.interrupted {
            note(format_args!(
                "interrupted after step {} of {steps}; the picture so far is saved; \
                 `phantasia resume {}` goes on",
                outcome.steps,
                run.display()
            ));
        }
        report(self.args.json, &run, &outcome, &self.device)?;
        Ok(if outcome.interrupted {
            ExitCode::from(INTERRUPTED)
        } else {
            ExitCode::SUCCESS
        })
    }
}

/// Where the picture shows: what was asked for, if it can be.
pub fn choose(choice: PreviewChoice) -> Result<Preview> {
    let around = Surroundings::now();
    let wanted = match choice {
        PreviewChoice::Window => Preview::Window,
        PreviewChoice::Terminal => Preview::Terminal,
        PreviewChoice::None => Preview::None,
        PreviewChoice::Auto => {
            let (best, words) = around.best();
            if let Some(words) = words {
                note(words);
            }
            best
        }
    };
    around.check(wanted)?;
    Ok(wanted)
}

/// Lets what changes in the recipe's file take effect.
pub fn watch(
    args: &RenderArgs,
    recipe: Recipe,
    commands: SyncSender<Command>,
) -> Result<RecipeWatch> {
    let path = args.recipe.clone();
    let args = args.clone();
    let read = move || render::recipe(&args);
    RecipeWatch::start(&path, recipe, commands, read, |line| note(line))
}

/// A flag that the first Ctrl-C sets. The second ends the program at once.
pub fn interrupt() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            terminal::restore();
            std::process::exit(INTERRUPTED.into());
        }
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}

fn report(json: bool, run: &Path, outcome: &Outcome, device: &str) -> Result<()> {
    if !json {
        return Ok(say(outcome.image.display())?);
    }
    let report = Report {
        run: run.display().to_string(),
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

/// Progress on standard error: a bar on a terminal, else a line now and then. Clones share the bar.
#[derive(Clone)]
enum Progress {
    Hidden,
    Bar(ProgressBar),
    Lines {
        start: Instant,
        last: Instant,
        done: usize,
        steps: usize,
    },
}

impl Progress {
    fn new(steps: usize, done: usize, quiet: bool) -> Self {
        if quiet {
            return Self::Hidden;
        }
        let now = Instant::now();
        if !std::io::stderr().is_terminal() {
            return Self::Lines {
                start: now,
                last: now,
                done,
                steps,
            };
        }
        let bar = ProgressBar::new(steps as u64).with_position(done as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {wide_msg}  {eta}") {
            bar.set_style(style);
        }
        bar.reset_eta();
        Self::Bar(bar)
    }

    fn tick(&mut self, tick: &Tick) {
        match self {
            Self::Hidden => {}
            Self::Bar(bar) => {
                bar.set_position(tick.step as u64);
                bar.set_message(words(tick));
            }
            Self::Lines {
                start,
                last,
                done,
                steps,
            } => {
                if last.elapsed() >= LINE_EVERY || tick.finished {
                    *last = Instant::now();
                    let made = tick.step.saturating_sub(*done).max(1);
                    let left = start.elapsed().as_secs_f64() / made as f64
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
