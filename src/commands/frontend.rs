//! The loop around a render: progress, preview, commands from other programs.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use clap::{Args, ValueEnum};
use phantasia::live::{self, Command, Event, RenderOptions, RenderWorker, Severity};
use phantasia::picture;
use phantasia::protocol;
use phantasia::run::{Outcome, Run};
use phantasia::serve::{Hub, Listen, Listener, Relay, Server, Site, follow};
use phantasia::session::Tick;
use phantasia::ui::{Environment, Preview, RenderWindow, terminal};
use serde_json::json;

use super::arguments::{positive_steps, steps};
use super::console::{
    UsageError, counted, duration, eprint_line, print_json, print_line, warn_all,
};
use super::interrupt;
use super::progress::{Progress, eprint_above};

/// How a render is shown and controlled while it runs.
#[derive(Clone, Debug, Args)]
pub struct FrontendArgs {
    /// Where the picture is shown while it is painted [default: none]
    #[arg(long, value_name = "WHERE", value_parser = PreviewParser)]
    pub preview: Option<PreviewArg>,
    /// With `--preview web`: the address that the page is served at, instead of one that only this machine reaches
    #[arg(long, value_name = "ADDRESS[:PORT]", requires = "preview")]
    pub listen: Option<Listen>,
    /// The number of steps over which changed prompts fade in and the old ones fade out
    #[arg(long, value_name = "STEPS", default_value_t = 20, value_parser = steps, allow_negative_numbers = true)]
    pub fade: usize,
    /// After the last step, an edit continues painting for its fade plus this many steps
    #[arg(long, value_name = "STEPS", default_value_t = 50, value_parser = positive_steps, allow_negative_numbers = true)]
    pub extend: usize,
    /// Wait for edits after the last step, from --control (until its input ends) or from --watch; a window always waits, and a
    /// page while it is open. {"stop":true} and Ctrl-C end the wait
    #[arg(long)]
    pub hold: bool,
    /// Where commands come from during the render: `--control -` reads them from standard input, one JSON object per line, such as
    /// {"set_prompts":["a cat"]}, {"pause":true}, {"snapshot":true}, {"undo":true}, {"lr":0.5}, {"restart":"image"}, {"stop":true}
    #[arg(long, value_name = "SOURCE", value_parser = ["-"])]
    pub control: Option<String>,
    /// Print the render's events on standard output as they come, one JSON object a line: its state, measurements and messages; the last
    /// line is what `--json` prints
    #[arg(long)]
    pub events: bool,
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
    /// A page in the browser, at a link that is printed; `web:PORT` chooses its port
    Web,
    /// Nowhere
    None,
}

/// A choice of `--preview`.
#[derive(Clone, Copy, Debug)]
pub struct PreviewArg {
    /// Where.
    pub choice: PreviewChoice,
    /// The port of the page.
    port: Option<u16>,
}

/// Reads a [`PreviewArg`].
#[derive(Clone)]
struct PreviewParser;

impl TypedValueParser for PreviewParser {
    type Value = PreviewArg;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<PreviewArg, clap::Error> {
        if let Some(port) = value.to_str().and_then(|text| text.strip_prefix("web:")) {
            let port = clap::value_parser!(u16).parse_ref(command, arg, OsStr::new(port))?;
            let (choice, port) = (PreviewChoice::Web, Some(port));
            return Ok(PreviewArg { choice, port });
        }
        let choice = EnumValueParser::<PreviewChoice>::new().parse_ref(command, arg, value)?;
        Ok(PreviewArg { choice, port: None })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = PreviewChoice::value_variants().iter();
        Some(Box::new(values.filter_map(ValueEnum::to_possible_value)))
    }
}

/// How long a finished render waits for a page that is loaded anew.
const PATIENCE: Duration = Duration::from_secs(5);

/// Progress, preview and control of a render.
pub struct Frontend<'a> {
    args: &'a FrontendArgs,
    preview: Preview,
    /// The window, once it is open.
    window: Option<RenderWindow>,
    /// Where a page is served.
    listen: Option<Listen>,
    /// The page's address, once it is listened at.
    listener: Option<Listener>,
}

impl<'a> Frontend<'a> {
    /// Chooses where the picture is shown; `preview` is the choice if the arguments have none. `watched` is whether the recipe's file is watched
    /// for edits.
    ///
    /// # Errors
    /// When it cannot be shown there, or when edits are to be waited for and nothing can send any.
    pub fn new(args: &'a FrontendArgs, preview: PreviewChoice, watched: bool) -> Result<Self> {
        let environment = Environment::current();
        let choice = args.preview.map_or(preview, |preview| preview.choice);
        let listen = (choice == PreviewChoice::Web).then(|| {
            let mut listen = args.listen.unwrap_or_default();
            listen.port = args
                .preview
                .and_then(|preview| preview.port)
                .or(listen.port);
            listen
        });
        if args.listen.is_some() && listen.is_none() {
            bail!(UsageError(
                "--listen is for the page of `--preview web`".to_owned()
            ));
        }
        let preview = match choice {
            PreviewChoice::Window => Preview::Window,
            PreviewChoice::Terminal => Preview::Terminal,
            PreviewChoice::None | PreviewChoice::Web => Preview::None,
            PreviewChoice::Auto => {
                let (best, reason) = environment.best();
                if let Some(reason) = reason {
                    eprint_line(reason);
                }
                best
            }
        };
        if args.events && preview != Preview::None {
            bail!(UsageError(
                "--events cannot go with a window or the terminal's preview: leave out --preview, or take `--preview web`"
                    .to_owned(),
            ));
        }
        environment.check(preview)?;
        let is_steered = preview == Preview::Window || listen.is_some();
        if args.hold && args.control.is_none() && !watched && !is_steered {
            bail!(UsageError(
                "--hold waits for edits after the last step, and nothing can send any here: add `--control -`, or `--watch` to `render`"
                    .to_owned(),
            ));
        }
        Ok(Self {
            args,
            preview,
            window: None,
            listen,
            listener: None,
        })
    }

    /// Opens the window, or listens for the page, if the picture is shown there. This comes before the run folder is created, so that a failure leaves no empty
    /// folder behind.
    pub fn open_window(&mut self) -> Result<()> {
        if self.preview == Preview::Window {
            self.window = Some(RenderWindow::open("Phantasia")?);
        }
        self.listener = self.listen.map(Listener::bind).transpose()?;
        Ok(())
    }

    /// Paints to the end, or until `stop` is set. `attach` is given the sender of commands to the render; what it returns is kept until the
    /// end.
    pub fn run<T>(
        self,
        render: Run,
        device: &str,
        stop: Arc<AtomicBool>,
        attach: impl FnOnce(SyncSender<Command>) -> Result<T>,
    ) -> Result<ExitCode> {
        let run = render.folder().path().to_owned();
        let (quiet, in_terminal) = (self.args.quiet, self.preview == Preview::Terminal);
        let begun = render.session().step();
        // the picture in the terminal has its own line of progress
        let mut progress = Progress::new("step", begun, quiet || in_terminal);
        // it shows messages, too: they would be written over it
        let shown = in_terminal && std::io::stderr().is_terminal();
        let options = RenderOptions {
            device: device.to_owned(),
            fade: self.args.fade,
            extend: self.args.extend,
            // a window stays until it is closed, and the render can begin again in it; the same goes for a page
            hold: self.args.hold || self.preview == Preview::Window || self.listener.is_some(),
            frames: self.preview != Preview::None || self.listener.is_some() || self.args.events,
        };
        let holds = options.hold;
        let mut window = self.window;
        if let Some(window) = &mut window {
            window.set_title(&format!("Phantasia: {}", run.display()));
        }
        // a page and events are told by the same hub
        let relay = (self.listener.is_some() || self.args.events)
            .then(|| Relay::new(&Hub::new(device, &[device.to_owned()], false)));
        let server = (self.listener.zip(relay.as_ref()))
            .map(|(listener, relay)| serve(listener, relay, &run))
            .transpose()?;
        let mut listener = relay.as_ref().map(Relay::listener);
        let mut worker = RenderWorker::spawn(render, options, stop, move |event| {
            if let Some(listener) = &mut listener {
                listener(event);
            }
            match event {
                Event::Step(tick) => progress.update(tick.step, tick.steps, &state(tick)),
                Event::Message(message) if shown || quiet && message.severity == Severity::Info => {
                }
                Event::Message(message) => eprint_above(message),
                Event::Report(_) => {}
            }
        })?;
        let attached = attach(worker.commands())?;
        if self.args.control.is_some() {
            let commands = worker.commands();
            // it ends with standard input, or with the program
            std::thread::Builder::new()
                .name("control".to_owned())
                .spawn(move || {
                    live::read_commands(std::io::stdin().lock(), &commands, |line| {
                        eprint_above(line);
                        // a page and a program that follows the events are told, too
                        let _ = commands.send(Command::Report(Severity::Error, line.to_owned()));
                    });
                })
                .context("cannot listen to standard input")?;
        }
        let events = (relay.as_ref().filter(|_| self.args.events))
            .map(|relay| follow(&relay.hub(), print_event))
            .transpose()?;
        if let Some(relay) = relay {
            let name = run.file_name().unwrap_or_default().to_string_lossy();
            let (hub, waits) = (relay.hub(), server.is_none() || self.args.hold);
            if server.is_none() {
                // as without events, a render that holds ends once every sender of commands is gone
                worker.hang_up();
            }
            relay.run(&worker, &name, || {
                (!waits && hub.readers() == 0).then_some(PATIENCE)
            });
        }
        if let Some(events) = events {
            let _ = events.join();
        }
        let shown = match (window, self.preview) {
            (Some(window), _) => window.run(&worker),
            (None, Preview::Terminal) => {
                // a render that holds ends once every sender of commands is gone, this one included
                worker.hang_up();
                terminal::run(&worker)
            }
            (None, _) => Ok(()),
        };
        // a failed preview does not end the render
        if let Err(error) = shown {
            eprint_line(format_args!("{error:#}"));
        }
        let outcome = worker.join();
        drop((attached, server));
        let outcome = outcome?;
        if in_terminal && let Ok(picture) = picture::load_rgb(&outcome.image) {
            // the path below it tells where the picture is, even if it cannot be drawn
            let _ = terminal::leave_picture(&picture);
        }
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
        let made = outcome.steps.saturating_sub(begun);
        // the time of a render that waits for edits is mostly waiting
        if made > 0 && !outcome.stopped && !holds && !quiet {
            let (steps, time) = (counted(made, "step"), duration(outcome.seconds));
            eprint_line(format_args!("{steps} in {time}"));
        }
        warn_all(&outcome.warning);
        report(self.args, &run, &outcome, device)?;
        Ok(interrupt::exit_code(outcome.interrupted))
    }
}

/// Serves the page of a run, and prints its link.
fn serve(listener: Listener, relay: &Relay, run: &Path) -> Result<Server> {
    let server = listener.serve(Site {
        hubs: vec![relay.hub()],
        dir: run.parent().unwrap_or(Path::new("")).to_owned(),
        queue: None,
    })?;
    warn_all(server.warning());
    eprint_line(server.link());
    Ok(server)
}

/// A line on standard output. Whether anybody reads it changes nothing for the render.
fn print_event(event: &protocol::Event) {
    let _ = print_json(event);
}

fn report(args: &FrontendArgs, run: &Path, outcome: &Outcome, device: &str) -> Result<()> {
    let image = outcome.image.display();
    if !args.json && !args.events {
        return Ok(print_line(image)?);
    }
    let mut report = json!({});
    if args.events {
        report["event"] = json!("report");
    }
    report["run"] = json!(run.display().to_string());
    report["image"] = json!(image.to_string());
    if let Some(video) = &outcome.video {
        report["video"] = json!(video.display().to_string());
    }
    report["seed"] = json!(outcome.seed);
    report["steps"] = json!(outcome.steps);
    report["seconds"] = json!(outcome.seconds);
    report["loss"] = json!(outcome.loss);
    report["similarity"] = json!(outcome.similarity);
    report["contrast"] = json!(outcome.contrast);
    report["device"] = json!(device);
    print_json(&report)
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
