//! The loop around a render: progress, preview, commands from other programs.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::SyncSender;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use phantasia::live::{self, Command, Event, Message, RenderOptions, RenderWorker, Severity};
use phantasia::run::{Outcome, Run};
use phantasia::session::Tick;
use phantasia::ui::{Environment, Preview, RenderWindow, terminal};
use serde::Serialize;

use super::arguments::{positive_steps, steps};
use super::console::{UsageError, eprint_line, print_json, print_line, warn_all};
use super::interrupt::INTERRUPTED;
use super::progress::Progress;

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

/// How a render is shown and controlled while it runs.
#[derive(Clone, Debug, Args)]
pub struct FrontendArgs {
    /// Where the picture is shown while it is painted [default: window for `live`, else none]
    #[arg(long, value_enum, value_name = "WHERE")]
    pub preview: Option<PreviewChoice>,
    /// The number of steps over which changed prompts fade in and the old ones fade out
    #[arg(long, value_name = "STEPS", default_value_t = 20, value_parser = steps, allow_negative_numbers = true)]
    pub fade: usize,
    /// After the last step, an edit continues painting for its fade plus this many steps
    #[arg(long, value_name = "STEPS", default_value_t = 50, value_parser = positive_steps, allow_negative_numbers = true)]
    pub extend: usize,
    /// Wait for edits after the last step, from --control (until its input ends) or from --watch; a window always waits.
    /// {"stop":true} and Ctrl-C end the wait
    #[arg(long)]
    pub hold: bool,
    /// `-` reads commands from standard input during the render, one JSON object per line, such as {"set_prompts":["a cat"]},
    /// {"pause":true}, {"snapshot":true}, {"undo":true}, {"lr":0.5}, {"restart":"image"}, {"stop":true}
    #[arg(long, value_name = "-", value_parser = ["-"])]
    pub control: Option<String>,
    /// Print one JSON object about the run on standard output
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(long)]
    pub quiet: bool,
}

/// Where the picture is shown while it is painted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PreviewChoice {
    /// A window where there is a display, else the terminal
    Auto,
    /// A window
    Window,
    /// The terminal
    Terminal,
    /// Nowhere
    None,
}

/// Progress, preview and control of a render.
pub struct Frontend {
    /// The arguments.
    pub args: FrontendArgs,
    /// Where the picture is shown.
    pub preview: Preview,
    /// The window, if it is shown there.
    pub window: Option<RenderWindow>,
    /// The device's name.
    pub device: String,
    /// Set by Ctrl-C.
    pub stop: Arc<AtomicBool>,
}

impl Frontend {
    /// Paints to the end. `attach` is given the sender of commands to the render; what it returns is kept until the end.
    pub fn run<T>(
        self,
        render: Run,
        attach: impl FnOnce(SyncSender<Command>, Log) -> Result<T>,
    ) -> Result<ExitCode> {
        let run = render.folder().path().to_owned();
        // the picture in the terminal has its own line of progress
        let quiet = self.args.quiet || self.preview == Preview::Terminal;
        let mut progress = Progress::new("step", render.session().step(), quiet);
        let log = Log {
            bar: progress.bar().clone(),
            quiet: self.args.quiet,
            // other output would be written over the picture
            shown: self.preview == Preview::Terminal && std::io::stderr().is_terminal(),
        };
        let options = RenderOptions {
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
        let mut worker = RenderWorker::spawn(render, options, stop, move |event| match event {
            Event::Step(tick) => progress.update(tick.step, tick.steps, &state(tick)),
            Event::Message(message) => messages.message(message),
        })?;
        let attached = attach(worker.commands(), log.clone())?;
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
        // a failed preview does not end the render
        if let Err(error) = shown {
            eprint_line(format_args!("{error:#}"));
        }
        let outcome = worker.join();
        drop(attached);
        let outcome = outcome?;
        if outcome.stopped {
            let how = if outcome.interrupted {
                "interrupted"
            } else {
                "stopped"
            };
            eprint_line(format_args!(
                "{how} after step {} of {}; the picture so far is saved; `phantasia resume {}` continues",
                outcome.steps,
                outcome.planned,
                run.display()
            ));
        }
        warn_all(&outcome.warning);
        report(self.args.json, &run, &outcome, &self.device)?;
        Ok(if outcome.interrupted {
            ExitCode::from(INTERRUPTED)
        } else {
            ExitCode::SUCCESS
        })
    }
}

/// Refuses `--hold` where no source of edits exists; called before work begins. `watched` is whether the recipe's file is watched.
pub fn check_hold(args: &FrontendArgs, preview: Preview, watched: bool) -> Result<()> {
    if args.hold && args.control.is_none() && !watched && preview != Preview::Window {
        bail!(UsageError(
            "--hold waits for edits after the last step, and nothing can send any here: add `--control -`, or `--watch` to `render`"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Standard error while a render runs: lines are printed above the progress bar.
#[derive(Clone)]
pub struct Log {
    bar: ProgressBar,
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
        self.bar.suspend(|| eprint_line(line));
    }
}

/// Where the picture is shown.
///
/// # Errors
/// When it cannot be shown there.
pub fn choose(choice: PreviewChoice) -> Result<Preview> {
    let around = Environment::current();
    let wanted = match choice {
        PreviewChoice::Window => Preview::Window,
        PreviewChoice::Terminal => Preview::Terminal,
        PreviewChoice::None => Preview::None,
        PreviewChoice::Auto => {
            let (best, reason) = around.best();
            if let Some(reason) = reason {
                eprint_line(reason);
            }
            best
        }
    };
    around.check(wanted)?;
    Ok(wanted)
}

/// The window, if the picture is to be shown in one. It is opened before the run folder is created, so that a failure leaves no empty
/// folder behind.
pub fn window(preview: Preview) -> Result<Option<RenderWindow>> {
    match preview {
        Preview::Window => Ok(Some(RenderWindow::open("Phantasia")?)),
        Preview::Terminal | Preview::None => Ok(None),
    }
}

fn report(json: bool, run: &Path, outcome: &Outcome, device: &str) -> Result<()> {
    if !json {
        return Ok(print_line(outcome.image.display())?);
    }
    print_json(&Report {
        run: run.display().to_string(),
        image: outcome.image.display().to_string(),
        video: (outcome.video.as_ref()).map(|path| path.display().to_string()),
        steps: outcome.steps,
        seconds: outcome.seconds,
        loss: outcome.loss,
        similarity: &outcome.similarity,
        contrast: outcome.contrast,
        device,
    })
}

/// The loss, and the similarity of the picture to the first prompts.
fn state(tick: &Tick) -> String {
    const PROMPTS: usize = 3;
    const LONGEST: usize = 24;
    let mut state = format!("loss {:.4}", tick.loss);
    for (label, cosine) in tick.similarity.iter().take(PROMPTS) {
        let label = terminal::shortened(label, LONGEST);
        state.push_str(&format!("  {cosine:.3} {}", label.escape_debug()));
    }
    state
}
