//! The state of the window, and what keys and clicks do to it. No pixels, no clock, no operating system.
//!
//! The worker's frames report the state of the render. A change that the user makes shows at once and is sent to the worker; until a
//! frame reports it, it stays in view.

mod input;
mod keys;
mod pending;
mod prompts;
mod region;

use std::time::{Duration, Instant};

use crate::live::{Command, Frame, Severity, View};
use crate::recipe::{Edit, Prompt};
use phantasia_core::StepContext;

use super::editor::Editor;

pub use input::{Action, Input, Key, Modifiers, Shortcut, Target};
use pending::Pending;
use region::Drag;

/// Changes of a number wait this long for the next, so that a run of key presses is one edit.
const SETTLE: Duration = Duration::from_millis(350);
/// A message is shown this long.
const MESSAGE: Duration = Duration::from_secs(8);
/// A warning or an error is shown longer, because it may need an action.
const PROBLEM: Duration = Duration::from_secs(16);
/// At most this many messages are kept.
const MOST_MESSAGES: usize = 3;
/// What one press multiplies the learning rate by.
const RATE_STEP: f64 = 1.25;
/// The smallest and the largest factor of the learning rate.
const RATES: (f64, f64) = (1.0 / 64.0, 64.0);
/// The fades that its key goes through.
const FADES: [usize; 8] = [0, 5, 10, 20, 40, 80, 160, 320];
/// Points of the loss that are kept; of older ones every other is dropped.
const LOSSES: usize = 512;

/// A message that is shown for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) text: String,
    pub(super) severity: Severity,
    /// When it disappears.
    until: Instant,
}

/// A prompt that is being edited.
#[derive(Clone, Debug)]
pub(super) struct Editing {
    /// The prompt's index.
    pub(super) row: usize,
    /// Its text so far.
    pub(super) line: Editor,
    /// How far the text is moved to the left so that the caret shows, in pixels.
    pub(super) scroll: f32,
    /// Whether the prompt was added for this edit, and goes away if it is cancelled.
    fresh: bool,
}

/// A prompt as it is listed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) prompt: Prompt,
    /// The text that it asks for at this step, with its number where it goes through several.
    pub(super) text: Option<String>,
    /// The mean cosine of the cutouts to it, if there is one yet.
    pub(super) similarity: Option<f64>,
}

/// The text that a prompt asks for at a step: its own, or the nearest of several, as in `a sprout (2 of 3)`.
fn shown_text(prompt: &Prompt, at: StepContext) -> Option<String> {
    let text = prompt.text_at(at)?;
    let count = prompt.texts().count();
    if count < 2 {
        return Some(text.to_owned());
    }
    let (index, share) = prompt.text_position(at);
    let number = index + usize::from(share >= 0.5) + 1;
    Some(format!("{text} ({number} of {count})"))
}

/// All that the window shows, except for its size.
#[derive(Debug, Default)]
pub(super) struct Panel {
    /// The newest frame.
    pub(super) frame: Option<Frame>,
    prompts: Pending<Vec<Prompt>>,
    /// The factor of the recipe's learning rate.
    pub(super) rate: Pending<f64>,
    /// Over how many steps a change of prompts fades.
    pub(super) fade: Pending<usize>,
    pub(super) paused: Pending<bool>,
    view: Pending<View>,
    /// The index of the selected prompt.
    pub(super) selected: usize,
    pub(super) editing: Option<Editing>,
    /// Whether the next drag over the picture draws the region of the selected prompt.
    pub(super) is_drawing: bool,
    /// A drag that began on the picture.
    drag: Option<Drag>,
    /// Whether the keys are shown.
    pub(super) help: bool,
    /// The number of the worker's last message that was shown.
    last_message: u64,
    /// Oldest first.
    messages: Vec<Notice>,
    /// The loss so far: step and value, oldest first.
    pub(super) losses: Vec<(usize, f64)>,
    actions: Vec<Action>,
    stopped: bool,
}

impl Panel {
    /// A panel without a frame.
    pub(super) fn new() -> Self {
        let mut panel = Self::default();
        panel.rate.value = 1.0;
        panel
    }

    /// The prompts, with the user's changes.
    pub(super) fn rows(&self) -> Vec<Row> {
        let known = self.frame.as_ref().map_or(&[][..], |frame| &frame.prompts);
        let at = (self.frame.as_ref()).map_or(StepContext::new(0, 1), |frame| {
            StepContext::new(frame.step, frame.steps)
        });
        (self.prompts.value.iter().enumerate())
            .map(|(index, prompt)| {
                // the same place, or the same words at another
                let status = (known.get(index).into_iter().chain(known))
                    .find(|status| same_words(&status.prompt, prompt));
                Row {
                    prompt: prompt.clone(),
                    text: shown_text(prompt, at),
                    similarity: (status.map(|status| status.similarity))
                        .filter(|similarity| similarity.is_finite()),
                }
            })
            .collect()
    }

    /// The weight of a prompt at this step of the render.
    pub(super) fn weight(&self, prompt: &Prompt) -> f64 {
        let t = self.frame.as_ref().map_or(0.0, |frame| {
            let last = frame.steps.saturating_sub(1).max(1);
            (frame.step as f64 / last as f64).min(1.0)
        });
        prompt.weight.at(t)
    }

    /// The messages to show at this moment, the newest first.
    pub(super) fn messages(&self, now: Instant) -> impl Iterator<Item = &Notice> {
        (self.messages.iter().rev()).filter(move |message| now < message.until)
    }

    /// Shows a message. It replaces earlier ones, except errors and warnings, which stay for their whole time.
    pub(super) fn notify(&mut self, text: &str, severity: Severity, now: Instant) {
        (self.messages).retain(|message| message.severity > Severity::Info && message.text != text);
        if self.messages.len() == MOST_MESSAGES {
            self.messages.remove(0);
        }
        self.messages.push(Notice {
            text: text.to_owned(),
            severity,
            until: now + display_time(severity),
        });
    }

    /// When the next command is due or the next message disappears: until then nothing changes by itself. After [`Panel::tick`] this is in
    /// the future.
    pub(super) fn next_change(&self) -> Option<Instant> {
        let due = [
            self.prompts.due,
            self.rate.due,
            self.fade.due,
            self.paused.due,
            self.view.due,
        ];
        let messages = self.messages.iter().map(|message| message.until);
        due.into_iter().flatten().chain(messages).min()
    }

    /// Takes a newer frame.
    pub(super) fn show(&mut self, frame: Frame, now: Instant) {
        let step = frame.step;
        let before = self.frame.as_ref();
        if before.is_some_and(|before| before.finished) && !frame.finished {
            // messages about the end no longer apply
            (self.messages).retain(|message| message.severity > Severity::Info);
        }
        if before.is_some_and(|before| before.step > step) {
            // begun again
            self.losses.clear();
        }
        if frame.loss.is_finite() && step > 0 && self.losses.last().is_none_or(|last| last.0 < step)
        {
            if self.losses.len() >= LOSSES {
                self.losses = self.losses.iter().copied().step_by(2).collect();
            }
            self.losses.push((step, frame.loss));
        }
        if let Some(message) = &frame.message
            && message.number > self.last_message
        {
            self.last_message = message.number;
            self.notify(&message.text, message.severity, now);
            if message.severity == Severity::Error {
                // a request was refused: the worker's state holds
                self.forget_requests();
            }
        }
        // a prompt that is being added is not known to the worker yet
        if self.editing.as_ref().is_none_or(|editing| !editing.fresh) {
            let prompts: Vec<Prompt> = (frame.prompts.iter())
                .map(|status| status.prompt.clone())
                .collect();
            self.prompts.reported(&prompts, step, now);
        }
        self.rate.reported(&frame.learning_rate, step, now);
        self.fade.reported(&frame.fade, step, now);
        self.paused.reported(&frame.paused, step, now);
        self.view.reported(&frame.view, step, now);
        self.frame = Some(frame);
        self.keep_in_range();
    }

    /// Sends what is due by now, and removes messages whose time is over.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Action> {
        self.messages.retain(|message| now < message.until);
        self.send_due(now, false);
        std::mem::take(&mut self.actions)
    }

    /// Takes what the user did, and returns what is to be done about it.
    pub(super) fn input(&mut self, input: &Input, now: Instant) -> Vec<Action> {
        if self.stopped {
            return vec![];
        }
        if self.help && !matches!(input, Input::Drag(_) | Input::Release) {
            // any key closes the help; the one that closes the window does that as well
            self.help = false;
            if !matches!(input, Input::Char('q' | 'Q')) {
                return vec![];
            }
        }
        match input {
            Input::Char(c) if self.editing.is_some() => self.edit(|line| {
                line.insert(c.encode_utf8(&mut [0; 4]));
            }),
            Input::Char(c) => self.command(*c, now),
            Input::Key(key, held) if self.editing.is_some() => self.editing_key(*key, *held, now),
            Input::Key(key, held) => self.key(*key, *held, now),
            Input::Shortcut(shortcut) => self.shortcut(*shortcut, now),
            Input::Pasted(text) => {
                if self.editing.is_none() {
                    self.add(now);
                }
                self.edit(|line| line.insert(text));
            }
            Input::Click {
                target,
                shift,
                double,
            } => self.click(*target, *shift, *double, now),
            Input::Drag(Target::Prompt(row, offset)) => {
                if let Some(editing) = &mut self.editing
                    && editing.row == *row
                {
                    editing.line.place(*offset, true);
                }
            }
            Input::Drag(Target::Picture(at)) => self.drag_to(*at),
            Input::Release => self.end_drag(now),
            Input::Drag(_) | Input::Zoom(_) => {}
        }
        self.send_due(now, false);
        std::mem::take(&mut self.actions)
    }

    /// The window is being closed: sends what is waiting, and the end.
    pub(super) fn close(&mut self, now: Instant) -> Vec<Action> {
        self.send_due(now, true);
        if !self.stopped {
            self.stopped = true;
            self.send(Command::Stop);
            self.actions.push(Action::Close);
        }
        std::mem::take(&mut self.actions)
    }

    fn send(&mut self, command: Command) {
        self.actions.push(Action::Send(command));
    }

    /// Lets the next frame decide about prompts, learning rate and fade, whatever was sent.
    fn forget_requests(&mut self) {
        self.prompts.sent = None;
        self.rate.sent = None;
        self.fade.sent = None;
    }

    fn change_rate(&mut self, factor: f64, now: Instant) {
        let rate = (self.rate.value * factor).clamp(RATES.0, RATES.1);
        // back at one after as many steps down as up
        self.rate.set((rate * 1e6).round() / 1e6, now + SETTLE);
    }

    fn change_fade(&mut self, longer: bool, now: Instant) {
        let fade = self.fade.value;
        let next = if longer {
            FADES.iter().find(|other| **other > fade)
        } else {
            FADES.iter().rev().find(|other| **other < fade)
        };
        if let Some(next) = next {
            self.fade.set(*next, now + SETTLE);
        }
    }

    /// Sends the changes that are due, or all that are waiting.
    fn send_due(&mut self, now: Instant, all: bool) {
        let step = self.frame.as_ref().map_or(0, |frame| frame.step);
        // the fade that was chosen before an edit holds for it
        let with_edit = all || self.prompts.due.is_some();
        let fade = self.fade.take_due(step, now, with_edit);
        let prompts = (self.prompts.take_due(step, now, all))
            .map(|prompts| self.without_fresh(prompts))
            .filter(|prompts| !prompts.is_empty());
        let lr = self.rate.take_due(step, now, all);
        let paused = self.paused.take_due(step, now, all);
        let view = self.view.take_due(step, now, all);
        let edit = |edit: Edit| (!edit.is_empty()).then(|| edit.into());
        let commands = [
            fade.map(Command::Fade),
            edit(Edit::with(|edit| edit.prompts = prompts)),
            edit(Edit::with(|edit| edit.lr = lr)),
            paused.map(Command::Pause),
            view.map(Command::Show),
        ];
        (self.actions).extend(commands.into_iter().flatten().map(Action::Send));
    }

    /// The prompts without one that is being added.
    fn without_fresh(&self, mut prompts: Vec<Prompt>) -> Vec<Prompt> {
        if let Some(editing) = self.editing.as_ref().filter(|editing| editing.fresh)
            && editing.row < prompts.len()
        {
            prompts.remove(editing.row);
        }
        prompts
    }
}

/// How long a message is shown.
pub(super) fn display_time(severity: Severity) -> Duration {
    match severity {
        Severity::Info => MESSAGE,
        Severity::Warning | Severity::Error => PROBLEM,
    }
}

fn same_words(a: &Prompt, b: &Prompt) -> bool {
    let words = |prompt: &Prompt| (prompt.source.clone(), prompt.label());
    words(a) == words(b)
}

#[cfg(test)]
mod tests;
