//! How a render is kept company: progress on the terminal, commands from other programs, the recipe's file.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use phantasia::live::{
    self, Command, Event, Message, RecipeWatch, Severity, Worker, WorkerOptions,
};
use phantasia::preview::choose::{Preview, Surroundings};
use phantasia::preview::terminal;
use phantasia::preview::window::Window;
use phantasia::recipe::Recipe;
use phantasia::run::{Outcome, Run};
use phantasia::session::Tick;
use serde::Serialize;

use super::console::{Misuse, note, say, warn};
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
    contrast: f64,
    device: &'a str,
}

/// What goes on beside a render.
pub struct Company {
    /// What the command line says of it.
    pub args: CompanyArgs,
    /// Where the picture shows.
    pub preview: Preview,
    /// The window, if it shows there.
    pub window: Option<Window>,
    /// What the device is called.
    pub device: String,
    /// Set by Ctrl-C.
    pub stop: Arc<AtomicBool>,
}

impl Company {
    /// Lets the render paint to its end. What `beside` makes lives as long; it is given where commands go.
    pub fn keep<T>(
        self,
        render: Run,
        beside: impl FnOnce(SyncSender<Command>, Log) -> Result<T>,
    ) -> Result<ExitCode> {
        let run = render.folder().path().to_owned();
        let (steps, done) = (render.session().steps(), render.session().step());
        // the picture in the terminal has its own line of progress
        let quiet = self.args.quiet || self.preview == Preview::Terminal;
        let mut progress = Progress::new(steps, done, quiet);
        let log = Log {
            bar: progress.bar(),
            quiet: self.args.quiet,
            // other output would be written over the picture
            shown: self.preview == Preview::Terminal && std::io::stderr().is_terminal(),
        };
        let options = WorkerOptions {
            device: self.device.clone(),
            fade: self.args.fade,
            extend: self.args.extend,
            // a window stays until it is closed, and the render can begin again in it
            hold: self.args.hold || self.preview == Preview::Window,
            frames: self.preview != Preview::None,
        };
        let mut window = self.window;
        if let Some(window) = &mut window {
            window.set_title(&format!("Phantasia: {}", run.display()));
        }
        let (messages, stop) = (log.clone(), Arc::clone(&self.stop));
        let mut worker = Worker::spawn(render, options, stop, move |event| match event {
            Event::Step(tick) => progress.tick(tick),
            Event::Message(message) => messages.message(message),
        })?;
        let beside = beside(worker.commands(), log.clone())?;
        if self.args.control.is_some() {
            let (commands, log) = (worker.commands(), log.clone());
            // it ends with standard input, or with the program
            std::thread::Builder::new()
                .name("control".to_owned())
                .spawn(move || {
                    live::read_commands(std::io::stdin().lock(), &commands, |line| {
                        log.line(line);
                    });
                })
                .context("cannot listen to standard input")?;
        }
        let frames = worker.frames();
        let shown = match (window, self.preview) {
            (Some(window), _) => window.run(&frames, &worker.commands(), &|| worker.is_done()),
            (None, Preview::Terminal) => {
                // a render that holds ends once every sender of commands is gone, this one included
                worker.hang_up();
                terminal::run(&frames, &|| worker.is_done())
            }
            (None, _) => Ok(()),
        };
        // the render does not end for want of a preview
        if let Err(error) = shown {
            note(format_args!("{error:#}"));
        }
        let outcome = worker.join();
        drop(beside);
        if let Some(bar) = &log.bar {
            bar.finish_and_clear();
        }
        let outcome = outcome?;
        if outcome.stopped {
            let how = if outcome.interrupted {
                "interrupted"
            } else {
                "stopped"
            };
            note(format_args!(
                "{how} after step {} of {}; the picture so far is saved; `phantasia resume {}` continues",
                outcome.steps,
                outcome.planned,
                run.display()
            ));
        }
        if let Some(warning) = &outcome.warning {
            warn(warning);
        }
        report(self.args.json, &run, &outcome, &self.device)?;
        Ok(if outcome.interrupted {
            ExitCode::from(INTERRUPTED)
        } else {
            ExitCode::SUCCESS
        })
    }
}

/// Refuses `--hold` where no source of edits exists; called before work begins. `watched` is whether the recipe's file is watched.
pub fn check_hold(args: &CompanyArgs, preview: Preview, watched: bool) -> Result<()> {
    if args.hold && args.control.is_none() && !watched && preview != Preview::Window {
        return Err(Misuse(
            "--hold waits for edits after the last step, and nothing can send any here: add `--control -`, or `--watch` to `render`"
                .to_owned(),
        )
        .into());
    }
    Ok(())
}

/// Standard error while a render runs: lines are printed above the progress bar.
#[derive(Clone)]
pub struct Log {
    bar: Option<ProgressBar>,
    /// Whether messages of severity [`Severity::Info`] are left out.
    quiet: bool,
    /// Whether the preview in the terminal shows the render's messages.
    shown: bool,
}

impl Log {
    /// Prints a message of the render.
    fn message(&self, message: &Message) {
        let is_quiet = self.quiet && message.severity == Severity::Info;
        if !self.shown && !is_quiet {
            self.line(message);
        }
    }

    /// Prints a line.
    pub fn line(&self, line: impl Display) {
        match &self.bar {
            Some(bar) => bar.suspend(|| note(line)),
            None => note(line),
        }
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

/// The window, if the picture is to be shown in one. It is opened before the run folder is created, so that a failure leaves no empty
/// folder behind.
pub fn window(preview: Preview) -> Result<Option<Window>> {
    match preview {
        Preview::Window => Ok(Some(Window::open("Phantasia")?)),
        Preview::Terminal | Preview::None => Ok(None),
    }
}

/// Lets what changes in the recipe's file take effect.
pub fn watch(
    args: &RenderArgs,
    recipe: Recipe,
    commands: SyncSender<Command>,
    log: Log,
) -> Result<RecipeWatch> {
    let path = args.recipe.clone();
    let args = args.clone();
    let read = move || render::recipe(&args);
    RecipeWatch::start(&path, recipe, commands, read, move |line| log.line(line))
}

/// Signals within this time of the first one are the same Ctrl-C: some programs send it to a process and to its group.
const SAME_INTERRUPT: Duration = Duration::from_secs(1);

/// A flag that the first Ctrl-C sets, so that the render stops and is saved. The second, a second later or more, ends the program at once.
pub fn interrupt() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let mut first: Option<Instant> = None;
    ctrlc::set_handler(move || {
        flag.store(true, Ordering::Relaxed);
        if first.get_or_insert_with(Instant::now).elapsed() > SAME_INTERRUPT {
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
        contrast: outcome.contrast,
        device,
    };
    Ok(say(serde_json::to_string(&report)?)?)
}

/// Progress on standard error: a bar on a terminal, else a line now and then.
enum Progress {
    Hidden,
    Bar(ProgressBar),
    Lines(Lines),
}

/// Lines of progress.
struct Lines {
    /// When the last line was written.
    last: Instant,
    /// When painting began or resumed after the last step, and how many steps were done by then.
    start: (Instant, usize),
    /// Whether the last step was the render's last.
    finished: bool,
}

impl Progress {
    fn new(steps: usize, done: usize, quiet: bool) -> Self {
        if quiet {
            return Self::Hidden;
        }
        let now = Instant::now();
        if !std::io::stderr().is_terminal() {
            return Self::Lines(Lines {
                last: now,
                start: (now, done),
                finished: false,
            });
        }
        let bar = ProgressBar::new(steps as u64).with_position(done as u64);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {wide_msg}  {eta}") {
            bar.set_style(style);
        }
        bar.reset_eta();
        Self::Bar(bar)
    }

    /// The bar, where there is one. Clones share it.
    fn bar(&self) -> Option<ProgressBar> {
        match self {
            Self::Bar(bar) => Some(bar.clone()),
            Self::Hidden | Self::Lines(_) => None,
        }
    }

    fn tick(&mut self, tick: &Tick) {
        match self {
            Self::Hidden => {}
            Self::Bar(bar) => {
                // an edit may have changed it
                bar.set_length(tick.steps as u64);
                bar.set_position(tick.step as u64);
                bar.set_message(words(tick));
            }
            Self::Lines(lines) => lines.tick(tick),
        }
    }
}

impl Lines {
    fn tick(&mut self, tick: &Tick) {
        if self.finished {
            // the render waited for an edit and has resumed
            let begin = Duration::try_from_secs_f64(tick.seconds).unwrap_or_default();
            let now = Instant::now();
            self.start = (now.checked_sub(begin).unwrap_or(now), tick.step - 1);
        }
        self.finished = tick.finished;
        if self.last.elapsed() < LINE_EVERY && !tick.finished {
            return;
        }
        self.last = Instant::now();
        let (start, done) = self.start;
        let made = tick.step.saturating_sub(done).max(1);
        let left = start.elapsed().as_secs_f64() / made as f64
            * tick.steps.saturating_sub(tick.step) as f64;
        note(format_args!(
            "step {} of {}  {}  {left:.0} s left",
            tick.step,
            tick.steps,
            words(tick)
        ));
    }
}

/// The loss, and how close the picture is to the first prompts.
fn words(tick: &Tick) -> String {
    const PROMPTS: usize = 3;
    const LONGEST: usize = 24;
    let mut words = format!("loss {:.4}", tick.loss);
    for (label, cosine) in tick.similarity.iter().take(PROMPTS) {
        let label = terminal::shortened(label, LONGEST);
        words.push_str(&format!("  {cosine:.3} {}", label.escape_debug()));
    }
    words
}
