//! What the window knows, and what keys and clicks do to it. No pixels, no clock, no operating system.
//!
//! The worker's frames say how things stand. What a person changes shows at once and is sent to the worker; until a frame shows it
//! done, the change as it was asked for stays in view.

mod input;
mod keys;
mod prompts;
mod wish;

use std::time::{Duration, Instant};

use crate::live::{Command, Frame, Severity, View};
use crate::recipe::Prompt;

use super::editor::Editor;

pub use input::{Action, Held, Input, Key, Shortcut, Target};
use wish::Wish;

/// Changes of a number wait this long for the next, so that a run of key presses is one edit.
const SETTLE: Duration = Duration::from_millis(350);
/// A message is shown this long.
const MESSAGE: Duration = Duration::from_secs(8);
/// A warning or an error is shown longer, because it may need an action.
const PROBLEM: Duration = Duration::from_secs(16);
/// Messages that are kept at once.
const MOST_MESSAGES: usize = 3;
/// What one press does to the learning rate.
const RATE_STEP: f64 = 1.25;
/// The learning rate goes so far up and down.
const RATES: (f64, f64) = (1.0 / 64.0, 64.0);
/// What the fade's key goes through.
const FADES: [usize; 8] = [0, 5, 10, 20, 40, 80, 160, 320];
/// Points of the loss that are kept; of older ones every other is dropped.
const LOSSES: usize = 512;

/// A message that is shown for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What it says.
    pub text: String,
    /// How severe it is.
    pub severity: Severity,
    /// When it disappears.
    until: Instant,
}

/// A prompt that is being edited.
#[derive(Clone, Debug)]
pub struct Editing {
    /// The prompt's index.
    pub row: usize,
    /// Its text so far.
    pub line: Editor,
    /// How far the text is moved to the left so that the caret shows, in pixels.
    pub scroll: f32,
    /// Whether the prompt was added for this edit, and goes away if it is cancelled.
    fresh: bool,
}

/// What is known of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The prompt.
    pub prompt: Prompt,
    /// The mean cosine to it, if there is one yet.
    pub similarity: Option<f64>,
}

/// All that the window shows, but for its size.
#[derive(Debug)]
pub struct Panel {
    frame: Option<Frame>,
    prompts: Wish<Vec<Prompt>>,
    rate: Wish<f64>,
    fade: Wish<usize>,
    paused: Wish<bool>,
    view: Wish<View>,
    selected: usize,
    editing: Option<Editing>,
    help: bool,
    said: u64,
    /// Oldest first.
    messages: Vec<Said>,
    losses: Vec<(usize, f64)>,
    stopped: bool,
}

impl Default for Panel {
    fn default() -> Self {
        Self::new()
    }
}

impl Panel {
    /// A panel that knows nothing yet.
    pub fn new() -> Self {
        Self {
            frame: None,
            prompts: Wish::new(vec![]),
            rate: Wish::new(1.0),
            fade: Wish::new(0),
            paused: Wish::new(false),
            view: Wish::new(View::Image),
            selected: 0,
            editing: None,
            help: false,
            said: 0,
            messages: vec![],
            losses: vec![],
            stopped: false,
        }
    }

    /// The newest frame.
    pub fn frame(&self) -> Option<&Frame> {
        self.frame.as_ref()
    }

    /// The prompts, as they were asked for last.
    pub fn rows(&self) -> Vec<Row> {
        let known = self.frame.as_ref().map_or(&[][..], |frame| &frame.prompts);
        (self.prompts.value.iter().enumerate())
            .map(|(index, prompt)| {
                // the same place, or the same words at another
                let status = (known.get(index).into_iter().chain(known))
                    .find(|status| same_words(&status.prompt, prompt));
                Row {
                    prompt: prompt.clone(),
                    similarity: (status.map(|status| status.similarity))
                        .filter(|similarity| similarity.is_finite()),
                }
            })
            .collect()
    }

    /// What a prompt counts, at this step of the render.
    pub fn weight(&self, prompt: &Prompt) -> f64 {
        prompt.weight.at(self.share())
    }

    /// The share of the render that is done.
    fn share(&self) -> f64 {
        self.frame.as_ref().map_or(0.0, |frame| {
            let last = frame.steps.saturating_sub(1).max(1);
            (frame.step as f64 / last as f64).min(1.0)
        })
    }

    /// The index of the selected prompt.
    pub fn selected(&self) -> usize {
        self.selected
    }

    /// The prompt that is being edited.
    pub fn editing(&self) -> Option<&Editing> {
        self.editing.as_ref()
    }

    /// Where the painter keeps how far the text is moved.
    pub fn editing_mut(&mut self) -> Option<&mut Editing> {
        self.editing.as_mut()
    }

    /// Whether the keys are shown.
    pub fn help(&self) -> bool {
        self.help
    }

    /// What the learning rate is multiplied by.
    pub fn rate(&self) -> f64 {
        self.rate.value
    }

    /// Over how many steps a change of prompts fades.
    pub fn fade(&self) -> usize {
        self.fade.value
    }

    /// Whether the render waits.
    pub fn paused(&self) -> bool {
        self.paused.value
    }

    /// What the picture shows.
    pub fn view(&self) -> View {
        self.view.value
    }

    /// The loss so far: step and value, oldest first.
    pub fn losses(&self) -> &[(usize, f64)] {
        &self.losses
    }

    /// The messages to show at this moment, the newest first.
    pub fn messages(&self, now: Instant) -> impl Iterator<Item = &Said> {
        (self.messages.iter().rev()).filter(move |message| now < message.until)
    }

    /// Shows a message. It replaces earlier ones, except errors and warnings, which stay for their whole time.
    pub fn say(&mut self, text: &str, severity: Severity, now: Instant) {
        (self.messages).retain(|said| said.severity > Severity::Info && said.text != text);
        if self.messages.len() == MOST_MESSAGES {
            self.messages.remove(0);
        }
        self.messages.push(Said {
            text: text.to_owned(),
            severity,
            until: now + stays(severity),
        });
    }

    /// When the next command is due or the next message disappears: until then nothing changes by itself. After [`Panel::tick`] this is in
    /// the future.
    pub fn next_change(&self) -> Option<Instant> {
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
    pub fn show(&mut self, frame: Frame, now: Instant) {
        let step = frame.step;
        if self.frame.as_ref().is_some_and(|before| before.step > step) {
            // begun again
            self.losses.clear();
        }
        if frame.loss.is_finite() && step > 0 && self.losses.last().is_none_or(|last| last.0 < step)
        {
            if self.losses.len() >= LOSSES {
                let mut odd = false;
                self.losses.retain(|_| {
                    odd = !odd;
                    odd
                });
            }
            self.losses.push((step, frame.loss));
        }
        if self.frame.as_ref().is_some_and(|before| before.finished) && !frame.finished {
            // messages about the end no longer apply
            (self.messages).retain(|said| said.severity > Severity::Info);
        }
        if let Some(message) = &frame.message
            && message.number > self.said
        {
            self.said = message.number;
            self.say(&message.text, message.severity, now);
            if message.severity == Severity::Error {
                // a request was refused: the worker's state holds
                self.forget_requests();
            }
        }
        // a prompt that is being added is not the worker's business yet
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
    pub fn tick(&mut self, now: Instant) -> Vec<Action> {
        self.messages.retain(|message| now < message.until);
        self.settled(now, false)
    }

    /// Takes what a person did, and says what is to be done about it.
    pub fn input(&mut self, input: &Input, now: Instant) -> Vec<Action> {
        let mut actions = vec![];
        if self.stopped {
            return actions;
        }
        if self.help && !matches!(input, Input::Drag(_)) {
            // whatever is pressed puts the help away; what closes the window does so all the same
            self.help = false;
            if !matches!(input, Input::Char('q' | 'Q')) {
                return actions;
            }
        }
        match input {
            Input::Char(c) if self.editing.is_some() => self.edit(|line| {
                line.insert(c.encode_utf8(&mut [0; 4]));
            }),
            Input::Char(c) => self.command(*c, now, &mut actions),
            Input::Key(key, held) if self.editing.is_some() => {
                self.editing_key(*key, *held, now, &mut actions);
            }
            Input::Key(key, held) => self.key(*key, *held, now, &mut actions),
            Input::Shortcut(shortcut) => self.shortcut(*shortcut, now, &mut actions),
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
            } => self.click(*target, *shift, *double, now, &mut actions),
            Input::Drag(Target::Prompt(row, offset)) => {
                if let Some(editing) = &mut self.editing
                    && editing.row == *row
                {
                    editing.line.place(*offset, true);
                }
            }
            Input::Drag(_) => {}
        }
        actions
    }

    /// The window is being closed: what waits to be sent, and the end.
    pub fn close(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = self.settled(now, true);
        if !self.stopped {
            self.stopped = true;
            actions.extend([Action::Send(Command::Stop), Action::Close]);
        }
        actions
    }

    /// Lets the next frame decide about prompts, learning rate and fade, whatever was sent.
    fn forget_requests(&mut self) {
        self.prompts.asked = None;
        self.rate.asked = None;
        self.fade.asked = None;
    }

    fn change_rate(&mut self, factor: f64, now: Instant) {
        let rate = (self.rate.value * factor).clamp(RATES.0, RATES.1);
        // back at one after as many steps down as up
        self.rate.value = (rate * 1e6).round() / 1e6;
        self.rate.due = Some(now + SETTLE);
    }

    fn change_fade(&mut self, longer: bool, now: Instant) {
        let fade = self.fade.value;
        let next = if longer {
            FADES.iter().find(|other| **other > fade)
        } else {
            FADES.iter().rev().find(|other| **other < fade)
        };
        if let Some(next) = next {
            self.fade.value = *next;
            self.fade.due = Some(now + SETTLE);
        }
    }

    /// What is due, or all that waits.
    fn settled(&mut self, now: Instant, all: bool) -> Vec<Action> {
        let step = self.frame.as_ref().map_or(0, |frame| frame.step);
        let mut actions = vec![];
        let mut send = |command| actions.push(Action::Send(command));
        // the fade that was chosen before an edit holds for it
        if let Some(fade) = self
            .fade
            .take_due(step, now, all || self.prompts.due.is_some())
        {
            send(Command::Fade(fade));
        }
        let fresh = (self.editing.as_ref()).filter(|editing| editing.fresh);
        if let Some(mut prompts) = self.prompts.take_due(step, now, all) {
            if let Some(editing) = fresh
                && editing.row < prompts.len()
            {
                prompts.remove(editing.row);
            }
            if !prompts.is_empty() {
                send(Command::SetPrompts(prompts));
            }
        }
        if let Some(rate) = self.rate.take_due(step, now, all) {
            send(Command::LearningRate(rate));
        }
        if let Some(paused) = self.paused.take_due(step, now, all) {
            send(Command::Pause(paused));
        }
        if let Some(view) = self.view.take_due(step, now, all) {
            send(Command::Show(view));
        }
        actions
    }
}

/// How long a message is shown.
pub(super) fn stays(severity: Severity) -> Duration {
    match severity {
        Severity::Info => MESSAGE,
        Severity::Warning | Severity::Error => PROBLEM,
    }
}

fn same_words(a: &Prompt, b: &Prompt) -> bool {
    (&a.text, &a.image) == (&b.text, &b.image)
}

#[cfg(test)]
mod tests;
