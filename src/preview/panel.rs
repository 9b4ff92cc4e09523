//! What the window knows, and what keys and clicks do to it. No pixels, no clock, no operating system.
//!
//! The worker's frames say how things stand. What a person changes shows at once and is sent to the worker; until a frame shows it
//! done, the change as it was asked for stays in view.

use std::time::{Duration, Instant};

use crate::live::{Command, Frame, View};
use crate::prompt::weighted;
use crate::recipe::{Number, Prompt};

use super::editor::Editor;

/// Changes of a number wait this long for the next, so that a run of key presses is one edit.
const SETTLE: Duration = Duration::from_millis(350);
/// A change that no frame shows after this time is given up: what the worker says holds.
const GIVE_UP: Duration = Duration::from_secs(30);
/// After so many steps as well.
const GIVE_UP_STEPS: usize = 3;
/// A message stays this long.
const MESSAGE: Duration = Duration::from_secs(8);
/// What one press does to a weight, and with shift.
const WEIGHT_STEPS: (f64, f64) = (0.1, 0.5);
/// Weights go this far.
const MOST_WEIGHT: f64 = 20.0;
/// What one press does to the learning rate.
const RATE_STEP: f64 = 1.25;
/// The learning rate goes so far up and down.
const RATES: (f64, f64) = (1.0 / 64.0, 64.0);
/// What the fade's key goes through.
const FADES: [usize; 8] = [0, 5, 10, 20, 40, 80, 160, 320];
/// Prompts, at most.
const MOST_PROMPTS: usize = 32;
/// Points of the loss that are kept; of older ones every other is dropped.
const LOSSES: usize = 512;

/// A key that is not a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Key {
    Enter,
    Escape,
    Tab,
    Backspace,
    Delete,
    Left,
    Right,
    Up,
    Down,
    Home,
    End,
}

/// Which keys are held with another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Shift.
    pub shift: bool,
    /// Control, or its like on a Mac: option for words.
    pub ctrl: bool,
}

/// What a key press with control means to a line of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortcut {
    /// Take the clipboard's text.
    Paste,
    /// Put the selected text into the clipboard.
    Copy,
    /// The same, and remove it.
    Cut,
    /// Select all.
    SelectAll,
    /// Remove what is before the caret.
    CutToStart,
    /// Remove what is after the caret.
    CutToEnd,
    /// Take the last change back.
    Undo,
}

/// Where a click went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A prompt, and the offset in its text in bytes.
    Prompt(usize, usize),
    /// The line that adds a prompt.
    Add,
    /// The button of the help.
    Help,
    /// The picture.
    Picture,
    /// Somewhere else.
    Elsewhere,
}

/// Something that a person does.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A character is typed.
    Char(char),
    /// Another key is pressed.
    Key(Key, Held),
    /// A key is pressed with control.
    Shortcut(Shortcut),
    /// The clipboard's text came.
    Pasted(String),
    /// A click; `double` if it is the second in a short time at the same place.
    Click {
        /// What is there.
        target: Target,
        /// With shift held.
        shift: bool,
        /// The second of two.
        double: bool,
    },
    /// The pointer is moved with its button held.
    Drag(Target),
}

/// Something that is to be done outside of the panel.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Tell the worker.
    Send(Command),
    /// Put a text into the clipboard.
    Copy(String),
    /// Ask the clipboard for its text, and hand it back as [`Input::Pasted`].
    Paste,
    /// Close the window.
    Close,
}

/// A value that was sent, until a frame shows it.
#[derive(Clone, Debug)]
struct Asked {
    when: Instant,
    step: usize,
}

impl Asked {
    fn is_given_up(&self, step: usize, now: Instant) -> bool {
        step >= self.step + GIVE_UP_STEPS || now.duration_since(self.when) > GIVE_UP
    }
}

/// A value that a person may change and that the worker's frames report.
#[derive(Clone, Debug)]
struct Wish<T> {
    value: T,
    /// Changed, but not sent yet: when it will be.
    due: Option<Instant>,
    /// Sent, but not seen in a frame yet.
    asked: Option<Asked>,
}

impl<T: Clone + PartialEq> Wish<T> {
    fn new(value: T) -> Self {
        Self {
            value,
            due: None,
            asked: None,
        }
    }

    /// Takes what a frame says, unless there is a change that it cannot know of yet.
    fn reported(&mut self, value: &T, step: usize, now: Instant) {
        if self.due.is_some() {
            return;
        }
        if self.value == *value {
            self.asked = None;
        } else if (self.asked.as_ref()).is_none_or(|asked| asked.is_given_up(step, now)) {
            self.asked = None;
            self.value = value.clone();
        }
    }

    /// The value, if it is time to send it.
    fn take_due(&mut self, step: usize, now: Instant, all: bool) -> Option<T> {
        self.due.filter(|due| all || *due <= now)?;
        self.due = None;
        self.asked = Some(Asked { when: now, step });
        Some(self.value.clone())
    }
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
    message: Option<(String, Instant)>,
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
            message: None,
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

    /// What the person should know at this moment.
    pub fn message(&self, now: Instant) -> Option<&str> {
        (self.message.as_ref())
            .filter(|(_, since)| now.saturating_duration_since(*since) < MESSAGE)
            .map(|(text, _)| text.as_str())
    }

    /// Says something.
    pub fn say(&mut self, text: &str, now: Instant) {
        self.message = Some((text.to_owned(), now));
    }

    /// When something is to be sent, or a message goes away: until then nothing changes by itself.
    pub fn next_change(&self) -> Option<Instant> {
        let due = [self.prompts.due, self.rate.due, self.fade.due];
        let message = self.message.as_ref().map(|(_, since)| *since + MESSAGE);
        due.into_iter().flatten().chain(message).min()
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
        if let Some(message) = &frame.message
            && message.number > self.said
        {
            self.said = message.number;
            self.message = Some((message.text.clone(), now));
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

    /// What is due by now.
    pub fn tick(&mut self, now: Instant) -> Vec<Action> {
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

    fn edit(&mut self, act: impl FnOnce(&mut Editor)) {
        if let Some(editing) = &mut self.editing {
            act(&mut editing.line);
        }
    }

    /// A character, where no prompt is being edited.
    fn command(&mut self, c: char, now: Instant, actions: &mut Vec<Action>) {
        let send = |actions: &mut Vec<Action>, command| actions.push(Action::Send(command));
        match c {
            ' ' => {
                self.paused.value = !self.paused.value;
                self.paused.due = Some(now);
            }
            'v' | 'V' => {
                self.view.value = match self.view.value {
                    View::Image => View::Cutouts,
                    View::Cutouts => View::Image,
                };
                self.view.due = Some(now);
            }
            's' | 'S' => send(actions, Command::Snapshot),
            'r' | 'R' => {
                actions.extend(self.settled(now, true));
                send(
                    actions,
                    Command::Restart {
                        from_image: c == 'r',
                    },
                );
            }
            'z' | 'Z' => {
                // an edit that was not sent yet is sent, and then taken back with the rest
                actions.extend(self.settled(now, true));
                // whatever the worker goes back to is what holds
                self.prompts.asked = None;
                self.rate.asked = None;
                self.fade.asked = None;
                send(actions, Command::Undo);
            }
            '+' | '=' => self.change_rate(RATE_STEP, now),
            '-' | '_' | '\u{2212}' => self.change_rate(1.0 / RATE_STEP, now),
            'f' | 'F' => self.change_fade(c == 'f', now),
            'n' | 'N' => self.add(now),
            'x' | 'X' => self.remove(now),
            'h' | 'H' | '?' => self.help = true,
            'q' | 'Q' => actions.extend(self.close(now)),
            _ => {}
        }
        actions.extend(self.settled(now, false));
    }

    /// Another key, where no prompt is being edited.
    fn key(&mut self, key: Key, held: Held, now: Instant, actions: &mut Vec<Action>) {
        match key {
            Key::Enter => self.begin(self.selected, None, now),
            Key::Tab => self.select_next(held.shift),
            Key::Up | Key::Down => self.change_weight(key == Key::Up, held.shift, now),
            Key::Delete | Key::Backspace => {
                self.remove(now);
                actions.extend(self.settled(now, false));
            }
            Key::Home => self.selected = 0,
            Key::End => self.selected = self.prompts.value.len().saturating_sub(1),
            Key::Escape | Key::Left | Key::Right => {}
        }
    }

    /// Another key, in a prompt's text.
    fn editing_key(&mut self, key: Key, held: Held, now: Instant, actions: &mut Vec<Action>) {
        let Held { shift, ctrl } = held;
        match key {
            Key::Enter => match self
                .editing
                .as_ref()
                .map(|editing| weighted(editing.line.text()))
            {
                // there is something to put right
                Some(Err(why)) => self.say(&why, now),
                _ => self.commit(now),
            },
            Key::Escape => self.cancel(),
            Key::Tab => {
                self.commit(now);
                self.select_next(shift);
                self.begin(self.selected, None, now);
            }
            Key::Up | Key::Down => self.change_weight(key == Key::Up, shift, now),
            Key::Backspace if ctrl => self.edit(Editor::delete_word_left),
            Key::Backspace => self.edit(Editor::backspace),
            Key::Delete if ctrl => self.edit(Editor::delete_word_right),
            Key::Delete => self.edit(Editor::delete),
            Key::Left if ctrl => self.edit(|line| line.word_left(shift)),
            Key::Left => self.edit(|line| line.left(shift)),
            Key::Right if ctrl => self.edit(|line| line.word_right(shift)),
            Key::Right => self.edit(|line| line.right(shift)),
            Key::Home => self.edit(|line| line.home(shift)),
            Key::End => self.edit(|line| line.end(shift)),
        }
        actions.extend(self.settled(now, false));
    }

    fn shortcut(&mut self, shortcut: Shortcut, now: Instant, actions: &mut Vec<Action>) {
        match shortcut {
            Shortcut::Paste => actions.push(Action::Paste),
            Shortcut::Copy | Shortcut::Cut => {
                let text = match &self.editing {
                    Some(editing) => editing.line.selected(),
                    None => self.text(self.selected),
                };
                if !text.is_empty() {
                    actions.push(Action::Copy(text.to_owned()));
                }
                if shortcut == Shortcut::Cut {
                    self.edit(|line| {
                        if !line.selection().is_empty() {
                            line.backspace();
                        }
                    });
                }
            }
            Shortcut::SelectAll => self.edit(Editor::select_all),
            Shortcut::CutToStart => self.edit(Editor::delete_to_start),
            Shortcut::CutToEnd => self.edit(Editor::delete_to_end),
            Shortcut::Undo if self.editing.is_some() => self.edit(Editor::undo),
            Shortcut::Undo => self.command('z', now, actions),
        }
    }

    fn click(
        &mut self,
        target: Target,
        shift: bool,
        double: bool,
        now: Instant,
        actions: &mut Vec<Action>,
    ) {
        match target {
            Target::Prompt(row, offset) => {
                if self
                    .editing
                    .as_ref()
                    .is_some_and(|editing| editing.row == row)
                {
                    self.edit(|line| line.place(offset, shift));
                } else {
                    // a prompt that was emptied goes away, and those below it move up
                    let before = self.prompts.value.len();
                    let above = self
                        .editing
                        .as_ref()
                        .is_some_and(|editing| editing.row < row);
                    self.commit(now);
                    let gone = before - self.prompts.value.len();
                    self.begin(
                        row - if above { gone.min(row) } else { 0 },
                        Some(offset),
                        now,
                    );
                }
                if double {
                    self.edit(|line| line.select_word(offset));
                }
            }
            Target::Add => {
                self.commit(now);
                self.add(now);
            }
            Target::Help => self.help = true,
            Target::Picture | Target::Elsewhere => self.commit(now),
        }
        actions.extend(self.settled(now, false));
    }

    /// The text of a prompt; empty for an image.
    fn text(&self, row: usize) -> &str {
        (self
            .prompts
            .value
            .get(row)
            .and_then(|prompt| prompt.text.as_deref()))
        .unwrap_or_default()
    }

    fn select_next(&mut self, back: bool) {
        let count = self.prompts.value.len().max(1);
        self.selected = (self.selected + if back { count - 1 } else { 1 }) % count;
    }

    /// Begins to edit a prompt, with the caret at an offset or at its end.
    fn begin(&mut self, row: usize, offset: Option<usize>, now: Instant) {
        let Some(prompt) = self.prompts.value.get(row) else {
            if self.prompts.value.is_empty() {
                self.add(now);
            }
            return;
        };
        self.selected = row;
        let Some(text) = &prompt.text else {
            self.say(
                "This prompt is an image: its weight can be changed here, not what it shows",
                now,
            );
            return;
        };
        let mut line = Editor::new(text);
        if let Some(offset) = offset {
            line.place(offset, false);
        }
        self.editing = Some(Editing {
            row,
            line,
            scroll: 0.0,
            fresh: false,
        });
    }

    /// Adds a prompt, and begins to edit it.
    fn add(&mut self, now: Instant) {
        if self.prompts.value.len() >= MOST_PROMPTS {
            self.say("There is no room for more prompts", now);
            return;
        }
        self.prompts.value.push(Prompt::new(""));
        let row = self.prompts.value.len() - 1;
        self.selected = row;
        self.editing = Some(Editing {
            row,
            line: Editor::default(),
            scroll: 0.0,
            fresh: true,
        });
    }

    /// Removes the selected prompt.
    fn remove(&mut self, now: Instant) {
        if self.prompts.value.len() < 2 {
            self.say("The last prompt stays: a picture is of something", now);
        } else if self.selected < self.prompts.value.len() {
            self.prompts.value.remove(self.selected);
            self.prompts.due = Some(now);
        }
        self.keep_in_range();
    }

    /// Puts the edited text into its prompt, and the weight that may stand behind it. One whose weight is no number is left as it was.
    fn commit(&mut self, now: Instant) {
        let Some(editing) = self.editing.take() else {
            return;
        };
        let text = editing.line.text().trim();
        if text.is_empty() {
            if editing.fresh {
                self.prompts.value.remove(editing.row);
            } else {
                self.selected = editing.row;
                self.remove(now);
            }
        } else if let Some(prompt) = self.prompts.value.get_mut(editing.row)
            && prompt.text.as_deref() != Some(text)
        {
            match weighted(text) {
                Ok((words, weight)) => {
                    // one that is typed without a weight keeps its own
                    if words != text {
                        prompt.weight = Number::from(weight);
                    }
                    prompt.text = Some(words.to_owned());
                    self.prompts.due = Some(now);
                }
                Err(why) => {
                    if editing.fresh {
                        self.prompts.value.remove(editing.row);
                    }
                    self.say(&why, now);
                }
            }
        }
        self.keep_in_range();
    }

    /// Leaves the prompt as it was before it was edited.
    fn cancel(&mut self) {
        if let Some(editing) = self.editing.take()
            && editing.fresh
        {
            self.prompts.value.remove(editing.row);
        }
        self.keep_in_range();
    }

    fn keep_in_range(&mut self) {
        let count = self.prompts.value.len();
        self.selected = self.selected.min(count.saturating_sub(1));
        // the prompt that was being edited is gone: what was typed becomes a new one
        if let Some(editing) = &mut self.editing
            && editing.row >= count
        {
            editing.row = count;
            editing.fresh = true;
            self.selected = count;
            self.prompts.value.push(Prompt::new(""));
        }
    }

    fn change_weight(&mut self, up: bool, far: bool, now: Instant) {
        let t = self.share();
        let step = if far { WEIGHT_STEPS.1 } else { WEIGHT_STEPS.0 };
        let Some(prompt) = self.prompts.value.get_mut(self.selected) else {
            return;
        };
        let weight = prompt.weight.at(t) + if up { step } else { -step };
        // tenths, without what rounding leaves
        let weight = (weight * 10.0).round() / 10.0 + 0.0;
        prompt.weight = Number::from(weight.clamp(-MOST_WEIGHT, MOST_WEIGHT));
        self.prompts.due = Some(now + SETTLE);
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

fn same_words(a: &Prompt, b: &Prompt) -> bool {
    (&a.text, &a.image) == (&b.text, &b.image)
}

#[cfg(test)]
mod tests;
