//! The thread that paints: between steps it does what front ends ask for, after them it leaves a frame.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use image::RgbImage;

use super::sheet::sheet;
use super::{Command, Frame, Mailbox, Message, PromptStatus, Severity, View};
use crate::picture;
use crate::recipe::{Edit, Restart};
use crate::run::{Outcome, Run};
use crate::session::Tick;

/// A frame is left at most so often: more than a screen shows.
const FRAME_EVERY: Duration = Duration::from_millis(30);
/// While it waits for commands, so often it looks whether it should stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// So many commands wait at most; a front end that sends more finds the channel full.
const MOST_COMMANDS: usize = 256;
/// Over so many steps the speed is measured.
const SPEED_OVER: usize = 20;

/// How a worker works.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// What frames call the device.
    pub device: String,
    /// Over how many steps changes of prompts fade, until a command says otherwise.
    pub fade: usize,
    /// How many steps an edit adds once all steps are made, in addition to those of its fade; at least 1.
    pub extend: usize,
    /// Whether it waits for commands once all steps are made, rather than end.
    pub hold: bool,
    /// Whether anybody takes frames.
    pub frames: bool,
}

/// What happens while a render runs.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A step was done.
    Step(&'a Tick),
    /// There is something that the user should know; frames carry it, too.
    Message(&'a Message),
}

/// The thread that paints, seen from the outside.
pub struct Worker {
    commands: SyncSender<Command>,
    frames: Arc<Mailbox<Frame>>,
    thread: JoinHandle<Result<Outcome>>,
}

impl Worker {
    /// Starts the thread. It ends when the run is finished (unless it holds), on [`Command::Stop`], when `stop` is set, or with
    /// an error; what was painted is saved in every case. `watch` is called on the thread with each event.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn(
        run: Run,
        options: WorkerOptions,
        stop: Arc<AtomicBool>,
        mut watch: impl FnMut(Event<'_>) + Send + 'static,
    ) -> Result<Self> {
        let (commands, receiver) = sync_channel(MOST_COMMANDS);
        let frames = Arc::new(Mailbox::default());
        let mailbox = Arc::clone(&frames);
        let thread = std::thread::Builder::new()
            .name("painter".to_owned())
            .spawn(move || drive(run, &options, &receiver, &mailbox, &stop, &mut watch))
            .context("cannot start the thread that paints")?;
        Ok(Self {
            commands,
            frames,
            thread,
        })
    }

    /// Where commands go. Sending waits while very many are waiting; a front end that must not wait tries.
    pub fn commands(&self) -> SyncSender<Command> {
        self.commands.clone()
    }

    /// Drops the worker's own sender of commands, so that a render that holds ends once all other senders are gone. Senders that
    /// [`Worker::commands`] returns from here on have no receiver.
    pub fn hang_up(&mut self) {
        self.commands = sync_channel(0).0;
    }

    /// Where frames come from.
    pub fn frames(&self) -> Arc<Mailbox<Frame>> {
        Arc::clone(&self.frames)
    }

    /// Whether the thread has ended.
    pub fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// What ended it, if that was an error.
    pub fn join(self) -> Result<Outcome> {
        drop(self.commands);
        (self.thread.join()).unwrap_or_else(|_| {
            Err(anyhow!(
                "the thread that paints broke down; its last checkpoint is in the run's folder"
            ))
        })
    }
}

/// Paints on this thread as [`Worker::spawn`] describes.
///
/// # Errors
/// When a step fails or a file cannot be written; the last picture that was good is saved before, if that can be.
pub fn drive(
    run: Run,
    options: &WorkerOptions,
    commands: &Receiver<Command>,
    frames: &Mailbox<Frame>,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome> {
    let mut driver = Driver {
        watch,
        fade: options.fade,
        run,
        options,
        frames,
        view: View::Image,
        paused: false,
        stopped: false,
        message: None,
        framed: None,
        speed: VecDeque::new(),
        saved_at_end: None,
    };
    driver.frame(true);
    let mut open = true;
    while !driver.stopped && !stop.load(Ordering::Relaxed) {
        let finished = driver.run.is_finished();
        if finished {
            if !options.hold || !open {
                break;
            }
            driver.save_at_end()?;
        }
        let idle = open && (finished || driver.paused);
        match driver.listen(commands, idle) {
            Some(true) => driver.frame(true),
            Some(false) => {}
            None => {
                // nobody can wake it any more
                open = false;
                driver.paused = false;
            }
        }
        if driver.stopped || driver.paused || driver.run.is_finished() {
            continue;
        }
        if let Err(error) = driver.step() {
            return Err(driver.run.abandon(error));
        }
    }
    let by_command = driver.stopped;
    driver.frame(true);
    let mut outcome = driver.run.finish()?;
    outcome.interrupted &= !by_command;
    Ok(outcome)
}

struct Driver<'a> {
    watch: &'a mut dyn FnMut(Event<'_>),
    run: Run,
    options: &'a WorkerOptions,
    frames: &'a Mailbox<Frame>,
    fade: usize,
    view: View,
    paused: bool,
    stopped: bool,
    message: Option<Message>,
    framed: Option<Instant>,
    /// When the last steps ended.
    speed: VecDeque<Instant>,
    /// The step and the number of edits at which the finished picture was saved.
    saved_at_end: Option<(usize, usize)>,
}

impl Driver<'_> {
    fn step(&mut self) -> Result<()> {
        if self.speed.is_empty() {
            self.speed.push_back(Instant::now());
        }
        (self.watch)(Event::Step(self.run.step()?));
        self.speed.push_back(Instant::now());
        if self.speed.len() > SPEED_OVER + 1 {
            self.speed.pop_front();
        }
        self.warn();
        self.frame(false);
        Ok(())
    }

    /// Reports new warnings of the session.
    fn warn(&mut self) {
        for warning in self.run.session_mut().take_warnings() {
            self.say(Severity::Warning, warning);
        }
    }

    /// Carries out the commands that have arrived; if idle, waits a moment for one. Returns whether there was one, and `None` once all
    /// senders are gone.
    fn listen(&mut self, commands: &Receiver<Command>, idle: bool) -> Option<bool> {
        let mut batch = vec![];
        if idle {
            // time that was spent waiting says nothing of the speed
            self.speed.clear();
            match commands.recv_timeout(LOOK_EVERY) {
                Ok(command) => batch.push(command),
                Err(RecvTimeoutError::Timeout) => return Some(false),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        let mut open = true;
        while batch.len() < MOST_COMMANDS {
            match commands.try_recv() {
                Ok(command) => batch.push(command),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    open = false;
                    break;
                }
            }
        }
        let some = !batch.is_empty();
        for command in coalesced(batch) {
            if let Err(error) = self.obey(command) {
                self.say(Severity::Error, format!("{error:#}"));
            }
            self.warn();
        }
        (open || some).then_some(some)
    }

    fn obey(&mut self, command: Command) -> Result<()> {
        let edit = Edit::default();
        match command {
            Command::SetPrompts(prompts) => {
                if self.run.session().prompts() != prompts {
                    self.edit(Edit {
                        prompts: Some(prompts),
                        fade: Some(self.fade),
                        ..edit
                    })?;
                }
            }
            Command::SetTerms(terms) => self.edit(Edit {
                terms: Some(terms),
                ..edit
            })?,
            Command::Fade(steps) => self.fade = steps,
            Command::LearningRate(factor) => {
                self.edit(Edit {
                    lr: Some(factor),
                    ..edit
                })?;
                self.inform(format!("learning rate x {factor:.3}"));
            }
            Command::Restart { from_image } => {
                let (restart, from) = if from_image {
                    (Restart::Image, "this picture")
                } else {
                    (Restart::Scratch, "scratch")
                };
                self.run.edit(Edit {
                    restart: Some(restart),
                    ..edit
                })?;
                self.inform(format!("begins again from {from}"));
            }
            Command::Steps(steps) => self.run.edit(Edit {
                steps: Some(steps),
                ..edit
            })?,
            Command::Undo => {
                let session = self.run.session();
                // a stage that cannot be given more steps does not keep the edit from being undone
                let steps = (session.is_exhausted())
                    .then(|| session.extended_by(self.more()).ok())
                    .flatten();
                if self.run.undo(self.fade, steps)?.is_none() {
                    bail!("there is no edit to take back");
                }
                self.inform("took the last edit back".to_owned());
            }
            Command::Pause(paused) => self.paused = paused,
            Command::Snapshot => {
                let path = self.run.snapshot()?;
                self.inform(format!("saved {}", path.display()));
            }
            Command::Show(view) => self.view = view,
            Command::Say(severity, text) => _ = self.show(severity, text),
            Command::Stop => self.stopped = true,
        }
        Ok(())
    }

    /// Changes the render. Once all steps are made, the stage is given more, so that the change shows.
    fn edit(&mut self, mut edit: Edit) -> Result<()> {
        let session = self.run.session();
        if session.is_exhausted() {
            edit.steps = Some(session.extended_by(self.more())?);
        }
        self.run.edit(edit)
    }

    /// How many steps an edit adds once all are made.
    fn more(&self) -> usize {
        self.fade.saturating_add(self.options.extend)
    }

    /// How many steps an edit at the end would continue painting. If the timeline stops the render before its last step, these are the
    /// remaining ones.
    fn extension(&self) -> Option<usize> {
        let session = self.run.session();
        if session.is_exhausted() {
            session.extended_by(self.more()).ok().map(|_| self.more())
        } else {
            (session.is_finished()).then(|| session.planned_steps() - session.step())
        }
    }

    /// Reports something that was carried out.
    fn inform(&mut self, text: String) {
        self.say(Severity::Info, text);
    }

    /// Reports something to front ends, through the next frame, and to the watcher of events.
    fn say(&mut self, severity: Severity, text: String) {
        let message = self.show(severity, text);
        (self.watch)(Event::Message(&message));
    }

    /// Puts a message into the frames from here on.
    fn show(&mut self, severity: Severity, text: String) -> Message {
        let number = self.message.as_ref().map_or(0, |message| message.number) + 1;
        let message = Message {
            number,
            severity,
            text,
        };
        self.message.insert(message).clone()
    }

    /// The finished picture is on the disk even if the window stays open for hours.
    fn save_at_end(&mut self) -> Result<()> {
        let now = (
            self.run.session().step(),
            self.run.session().timeline().len(),
        );
        if self.saved_at_end != Some(now) {
            let (path, _) = self.run.save()?;
            self.saved_at_end = Some(now);
            let more = match self.extension() {
                Some(steps) => format!("; an edit would continue painting for {steps} steps"),
                None => String::new(),
            };
            self.inform(format!("finished; saved {}{more}", path.display()));
            self.frame(true);
        }
        Ok(())
    }

    /// Leaves a frame. One that need not arrive is left out where the last one is very young, or nobody looks for another: a frame takes
    /// time from the next step.
    fn frame(&mut self, must: bool) {
        let young = (self.framed).is_some_and(|framed| framed.elapsed() < FRAME_EVERY);
        let idle = young || !self.frames.is_wanted();
        if !self.options.frames || (idle && !must) {
            return;
        }
        match self.picture(must) {
            Ok(image) => {
                let frame = self.status(image);
                match must {
                    true => self.frames.put(frame),
                    false => _ = self.frames.offer(frame),
                }
                self.framed = Some(Instant::now());
            }
            // a frame is not worth a render; the next step will tell if something is wrong
            Err(error) => {
                let text = format!("there is nothing to show: {error:#}");
                // once, not with every frame
                if (self.message.as_ref()).is_none_or(|message| message.text != text) {
                    self.say(Severity::Error, text);
                }
            }
        }
    }

    /// What the frame shows. Right after a step that is the picture which it judged, where nothing calls for the very newest: rendering
    /// it again may cost as much as the step.
    fn picture(&mut self, newest: bool) -> Result<RgbImage> {
        let judged = match newest {
            true => None,
            false => self.run.last().map(|tick| tick.image.clone()),
        };
        let cutouts = match self.view {
            View::Image => None,
            View::Cutouts => self.run.session_mut().cutouts()?,
        };
        let image = match (cutouts, judged) {
            (Some(views), _) => sheet(&views)?,
            (None, Some(image)) => image,
            (None, None) => self.run.session_mut().image()?,
        };
        Ok(picture::from_tensor(&image)?)
    }

    fn status(&self, image: RgbImage) -> Frame {
        let session = self.run.session();
        let last = self.run.last();
        let prompts = (session.prompts().iter().zip(session.weights()))
            .map(|(prompt, weight)| {
                let label = match (&prompt.text, &prompt.image) {
                    (Some(text), _) => text.clone(),
                    (None, Some(path)) => path.display().to_string(),
                    (None, None) => String::new(),
                };
                let similarity = last.and_then(|tick| tick.similarity.get(&label).copied());
                PromptStatus {
                    prompt: prompt.clone(),
                    weight,
                    similarity: similarity.unwrap_or(f64::NAN),
                }
            })
            .collect();
        let speed = match (self.speed.front(), self.speed.back()) {
            (Some(first), Some(last)) if self.speed.len() > 1 => {
                (self.speed.len() - 1) as f64 / (*last - *first).as_secs_f64().max(1e-9)
            }
            _ => 0.0,
        };
        let (step, steps) = (session.step(), session.steps());
        Frame {
            image,
            view: self.view,
            step,
            steps,
            loss: last.map_or(f64::NAN, |tick| tick.loss),
            prompts,
            steps_per_second: speed,
            eta: match speed > 0.0 {
                true => steps.saturating_sub(step) as f64 / speed,
                false => f64::NAN,
            },
            device: self.options.device.clone(),
            learning_rate: session.learning_rate_scale(),
            fade: self.fade,
            paused: self.paused,
            finished: session.is_finished(),
            extension: self.extension(),
            message: self.message.clone(),
        }
    }
}

/// Of commands of one kind that follow each other directly and replace each other, only the last counts.
fn coalesced(batch: Vec<Command>) -> Vec<Command> {
    let mut kept: Vec<Command> = Vec::with_capacity(batch.len());
    for command in batch {
        let replaces = matches!(
            (kept.last(), &command),
            (Some(Command::SetPrompts(_)), Command::SetPrompts(_))
                | (Some(Command::SetTerms(_)), Command::SetTerms(_))
                | (Some(Command::LearningRate(_)), Command::LearningRate(_))
                | (Some(Command::Show(_)), Command::Show(_))
        );
        if replaces {
            kept.pop();
        }
        kept.push(command);
    }
    kept
}
