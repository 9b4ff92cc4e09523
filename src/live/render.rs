//! A render on a worker's thread: what its commands do, and what its frames hold.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use image::RgbImage;

use super::cutouts::sheet;
use super::worker::{Next, Task, Worker};
use super::{Command, Frame, Mailbox, Message, Plan, PromptStatus, Severity, View};
use crate::picture;
use crate::recipe::{Edit, Restart};
use crate::run::{Outcome, Run};
use crate::session::Tick;
use phantasia_core::unique_label;

/// The shortest time between two frames: more than a screen shows.
const FRAME_EVERY: Duration = Duration::from_millis(30);
/// The number of steps over which the speed is measured.
const SPEED_OVER: usize = 20;

/// How a live render behaves.
#[derive(Clone, Debug)]
pub struct RenderOptions {
    /// The name of the device, for frames.
    pub device: String,
    /// Over how many steps changes of prompts fade, until a command says otherwise.
    pub fade: usize,
    /// How many steps an edit adds once all steps are made, in addition to those of its fade; at least 1.
    pub extend: usize,
    /// Whether it waits for commands once all steps are made, rather than end.
    pub hold: bool,
    /// Whether frames are made.
    pub frames: bool,
}

/// What happens while a render runs.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A step was made.
    Step(&'a Tick),
    /// A message to the user; frames carry it, too.
    Message(&'a Message),
    /// A message that its sender has reported to standard error already.
    Report(&'a Message),
}

/// A render on a thread of its own.
pub type RenderWorker = Worker<Render>;

impl RenderWorker {
    /// Starts a render. It ends when all steps are made (unless it holds), on [`Command::Stop`], when `stop` is set, or with
    /// an error; what was painted is saved in every case. `watch` is called on the thread with each event.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn spawn(
        run: Run,
        options: RenderOptions,
        stop: Arc<AtomicBool>,
        watch: impl FnMut(Event<'_>) + Send + 'static,
    ) -> Result<Self> {
        Self::start("painter", stop, move |frames| {
            let mut render = Render {
                run,
                options,
                frames,
                watch: Box::new(watch),
                view: View::Image,
                is_paused: false,
                is_stopped: false,
                is_connected: true,
                message: None,
                last_frame: None,
                step_ends: VecDeque::new(),
                saved_at_end: None,
                plan: None,
            };
            render.frame(true);
            Ok(render)
        })
    }
}

/// The task of a [`RenderWorker`].
pub struct Render {
    run: Run,
    options: RenderOptions,
    frames: Arc<Mailbox<Frame>>,
    watch: Box<dyn FnMut(Event<'_>)>,
    view: View,
    is_paused: bool,
    /// By a command.
    is_stopped: bool,
    /// Whether any sender of commands is left.
    is_connected: bool,
    message: Option<Message>,
    last_frame: Option<Instant>,
    /// When the last steps ended, to measure the speed.
    step_ends: VecDeque<Instant>,
    /// The step and the number of edits at which the finished picture was saved.
    saved_at_end: Option<(usize, usize)>,
    /// For frames, with the session's revision that it is of.
    plan: Option<((usize, usize), Arc<Plan>)>,
}

impl Task for Render {
    type Command = Command;
    type Frame = Frame;
    type Output = Outcome;

    fn next(&mut self) -> Result<Next> {
        let is_finished = self.run.is_finished();
        let holds = self.options.hold && self.is_connected;
        if self.is_stopped || is_finished && !holds {
            return Ok(Next::End);
        }
        if is_finished {
            self.save_at_end()?;
        }
        if is_finished || self.is_paused {
            // time spent waiting says nothing about the speed
            self.step_ends.clear();
            return Ok(Next::Wait);
        }
        Ok(Next::Step(Duration::ZERO))
    }

    fn step(&mut self) -> Result<()> {
        if self.step_ends.is_empty() {
            self.step_ends.push_back(Instant::now());
        }
        (self.watch)(Event::Step(self.run.step()?));
        self.step_ends.push_back(Instant::now());
        if self.step_ends.len() > SPEED_OVER + 1 {
            self.step_ends.pop_front();
        }
        self.report_warnings();
        self.frame(false);
        Ok(())
    }

    fn apply(&mut self, commands: Vec<Command>) -> Result<()> {
        // of edits that replace each other, the last one that can be made
        let mut held = None;
        let mut commands = commands.into_iter().peekable();
        while let Some(command) = commands.next() {
            let is_replaced = commands.peek().is_some_and(|next| next.replaces(&command));
            if !is_replaced && held.is_none() {
                self.attempt(|render| render.carry_out(command));
                continue;
            }
            if self.attempt(|render| render.check(&command)) {
                held = Some(command);
            }
            if !is_replaced && let Some(command) = held.take() {
                self.attempt(|render| render.carry_out(command));
            }
        }
        // an edit at a stop replaces it, so that the timeline is as long as before
        self.plan = None;
        self.frame(true);
        Ok(())
    }

    fn disconnected(&mut self) {
        self.is_connected = false;
        // no command can end the pause
        self.is_paused = false;
    }

    fn finish(mut self) -> Result<Outcome> {
        self.frame(true);
        let mut outcome = self.run.finish()?;
        outcome.interrupted &= !self.is_stopped;
        Ok(outcome)
    }
}

impl Render {
    /// Runs an action, and reports its error and the session's warnings. Returns whether it succeeded.
    fn attempt(&mut self, what: impl FnOnce(&mut Self) -> Result<()>) -> bool {
        let result = what(self);
        if let Err(error) = &result {
            self.report(Severity::Error, format!("{error:#}"));
        }
        self.report_warnings();
        result.is_ok()
    }

    /// Checks whether an edit could be made now.
    fn check(&mut self, command: &Command) -> Result<()> {
        match command {
            Command::Edit(edit) => {
                let edit = self.completed(edit.clone())?;
                self.run.check_edit(edit)
            }
            Command::Located { origin, command } => {
                self.check(command).with_context(|| origin.clone())
            }
            _ => Ok(()),
        }
    }

    fn carry_out(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Edit(edit) => self.edit(edit)?,
            Command::Undo => {
                let session = self.run.session();
                // an edit can be undone even if the stage cannot be given more steps
                let steps = (session.is_exhausted())
                    .then(|| session.extended_by(self.more_steps()).ok())
                    .flatten();
                let length = session.segment().steps;
                let Some(edit) = self.run.undo(self.options.fade, steps)? else {
                    bail!("there is no edit to take back");
                };
                let after = self.run.session().segment().steps;
                self.inform(took_back(&edit, length, after));
            }
            Command::Fade(steps) => self.options.fade = steps,
            Command::Pause(is_paused) => self.is_paused = is_paused,
            Command::Snapshot => {
                let path = self.run.snapshot()?;
                self.inform(format!("saved {}", path.display()));
            }
            Command::Show(view) => self.view = view,
            Command::Report(severity, text) => {
                let message = self.show(severity, text);
                (self.watch)(Event::Report(&message));
            }
            Command::Stop => self.is_stopped = true,
            Command::Located { origin, command } => {
                self.carry_out(*command).with_context(|| origin)?;
            }
        }
        Ok(())
    }

    /// An edit as it is made at this step. Once all steps are made, it gives the stage more, so that the change shows.
    fn completed(&self, mut edit: Edit) -> Result<Edit> {
        let session = self.run.session();
        edit.step = session.step();
        if edit.prompts.as_deref() == Some(session.prompts()) {
            edit.prompts = None;
        }
        if edit.is_empty() {
            return Ok(edit);
        }
        if edit.prompts.is_some() {
            edit.fade.get_or_insert(self.options.fade);
        }
        if session.is_exhausted() && edit.steps.is_none() && edit.restart.is_none() {
            edit.steps = Some(session.extended_by(self.more_steps())?);
        }
        Ok(edit)
    }

    fn edit(&mut self, edit: Edit) -> Result<()> {
        let edit = self.completed(edit)?;
        if edit.is_empty() {
            return Ok(());
        }
        let (lr, restart) = (edit.lr, edit.restart);
        let length = self.run.session().segment().steps;
        self.run.edit(edit)?;
        if let Some(factor) = lr {
            // rounded, a very small one would be 0
            self.inform(if factor < 1e-3 {
                format!("learning rate x {factor:e}")
            } else {
                format!("learning rate x {factor:.3}")
            });
        }
        if let Some(restart) = restart {
            self.inform(match restart {
                Restart::Image => "begins again from this picture".to_owned(),
                Restart::Scratch => "begins again from scratch".to_owned(),
                Restart::Undo => {
                    let after = self.run.session().segment().steps;
                    let edit = Edit::with(|edit| edit.restart = Some(restart));
                    took_back(&edit, length, after)
                }
            });
        }
        Ok(())
    }

    /// How many steps an edit adds once all are made.
    fn more_steps(&self) -> usize {
        self.options.fade.saturating_add(self.options.extend)
    }

    /// For how many steps an edit at the end would continue the render. If the timeline stops the render before its last step, these are
    /// the remaining ones.
    fn extension(&self) -> Option<usize> {
        let (session, more) = (self.run.session(), self.more_steps());
        if session.is_exhausted() {
            session.extended_by(more).ok().map(|_| more)
        } else {
            (session.is_finished()).then(|| session.planned_steps() - session.step())
        }
    }

    /// Saves the finished picture, since a window may stay open for hours.
    fn save_at_end(&mut self) -> Result<()> {
        let session = self.run.session();
        let now = (session.step(), session.timeline().len());
        if self.saved_at_end == Some(now) {
            return Ok(());
        }
        let (path, _) = self.run.save()?;
        self.saved_at_end = Some(now);
        let more = (self.extension()).map_or_else(String::new, |steps| {
            format!("; an edit would continue painting for {steps} steps")
        });
        self.inform(format!("finished; saved {}{more}", path.display()));
        self.frame(true);
        Ok(())
    }

    /// Reports what the session has to say.
    fn report_warnings(&mut self) {
        for warning in self.run.session_mut().take_warnings() {
            self.report(Severity::Warning, warning);
        }
        for note in self.run.session_mut().take_notes() {
            self.inform(note);
        }
    }

    fn inform(&mut self, text: String) {
        self.report(Severity::Info, text);
    }

    /// Sends a message to front ends, with the next frame, and to the watcher of events.
    fn report(&mut self, severity: Severity, text: String) {
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

    /// Leaves a frame. It delays the next step; so unless it `must` arrive, it is left out if the last one is very recent or none has been
    /// requested since.
    fn frame(&mut self, must: bool) {
        let is_recent = (self.last_frame).is_some_and(|last| last.elapsed() < FRAME_EVERY);
        let is_wanted = must || !is_recent && self.frames.is_wanted();
        if !self.options.frames || !is_wanted {
            return;
        }
        match self.picture(must) {
            Ok(image) => {
                let frame = self.status(image);
                if must {
                    self.frames.put(frame);
                } else {
                    self.frames.offer(frame);
                }
                self.last_frame = Some(Instant::now());
            }
            // no reason to end the render; the next step tells if something is wrong
            Err(error) => {
                let text = format!("there is nothing to show: {error:#}");
                // once, not with every frame
                if (self.message.as_ref()).is_none_or(|message| message.text != text) {
                    self.report(Severity::Error, text);
                }
            }
        }
    }

    /// What the frame shows. Unless the `newest` is needed, the picture is the one that the last step judged: rendering it again may take as
    /// long as the step.
    fn picture(&mut self, newest: bool) -> Result<RgbImage> {
        if self.view == View::Cutouts
            && let Some(cutouts) = self.run.session_mut().cutouts()?
        {
            return Ok(picture::from_tensor(&sheet(&cutouts)?)?);
        }
        let image = match self.run.last().filter(|_| !newest) {
            Some(tick) => tick.image.clone(),
            None => self.run.session_mut().image()?,
        };
        Ok(picture::from_tensor(&image)?)
    }

    /// The plan as it is now; it is copied only when it has changed.
    fn plan(&mut self) -> Arc<Plan> {
        let session = self.run.session();
        let revision = session.revision();
        match &self.plan {
            Some((of, plan)) if *of == revision => Arc::clone(plan),
            _ => {
                let (terms, timeline) = (session.terms(), session.timeline());
                let plan = Arc::new(Plan { terms, timeline });
                self.plan = Some((revision, Arc::clone(&plan)));
                plan
            }
        }
    }

    fn status(&mut self, image: RgbImage) -> Frame {
        let plan = self.plan();
        let session = self.run.session();
        let last = self.run.last();
        let similarity = |label: &str| last?.similarity.get(label).copied();
        // as the metrics call them: the same text may stand in two regions
        let mut labels: Vec<String> = vec![];
        for prompt in session.prompts() {
            let label = unique_label(prompt.label(), |label| {
                labels.iter().any(|other| other == label)
            });
            labels.push(label);
        }
        let prompts = (session.prompts().iter().zip(session.weights()).zip(&labels))
            .map(|((prompt, weight), label)| PromptStatus {
                prompt: prompt.clone(),
                weight,
                similarity: similarity(label).unwrap_or(f64::NAN),
            })
            .collect();
        let ends = self.step_ends.front().zip(self.step_ends.back());
        let steps_per_second = ends.map_or(0.0, |(first, last)| {
            (self.step_ends.len() - 1) as f64 / (*last - *first).as_secs_f64().max(1e-9)
        });
        let (step, steps) = (session.step(), session.steps());
        let eta = if steps_per_second > 0.0 {
            steps.saturating_sub(step) as f64 / steps_per_second
        } else {
            f64::NAN
        };
        Frame {
            image,
            view: self.view,
            step,
            steps,
            loss: last.map_or(f64::NAN, |tick| tick.loss),
            prompts,
            plan,
            steps_per_second,
            eta,
            device: self.options.device.clone(),
            learning_rate: session.learning_rate_scale(),
            fade: self.options.fade,
            paused: self.is_paused,
            finished: session.is_finished(),
            extension: self.extension(),
            message: self.message.clone(),
        }
    }
}

/// Describes what an undo did; `before` and `after` are the stage's numbers of steps.
fn took_back(edit: &Edit, before: usize, after: usize) -> String {
    let changes = [
        ("prompts", edit.prompts.is_some()),
        ("terms", edit.terms.is_some()),
        ("the learning rate", edit.lr.is_some()),
    ];
    let changes = changes.iter().filter(|(_, is_changed)| *is_changed);
    let changes = Vec::from_iter(changes.map(|(name, _)| *name)).join(" and ");
    let mut parts = vec![];
    if edit.restart.is_some() {
        parts.push("the restart".to_owned());
    }
    if !changes.is_empty() {
        parts.push(format!("the change of {changes}"));
    }
    let length = if edit.restart.is_some() && before != after {
        // what was set after the restart went with it
        format!("; the stage has {after} steps again, instead of {before}")
    } else {
        String::new()
    };
    format!("took back {}{length}", parts.join(" and "))
}
