mod prompts;
mod regions;
mod state;

use super::super::tests as sample;
use super::pending::GIVE_UP_STEPS;
use super::*;
use crate::live::{Message, PromptStatus};
use crate::recipe::{Restart, Schedule};

const NO: Modifiers = Modifiers {
    shift: false,
    ctrl: false,
};

/// A panel, a clock that stands still until it is told to go on, and all that was sent.
struct Harness {
    panel: Panel,
    now: Instant,
    sent: Vec<Command>,
    other: Vec<Action>,
}

impl Harness {
    fn new() -> Self {
        Self {
            panel: sample::panel(),
            now: Instant::now(),
            sent: vec![],
            other: vec![],
        }
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(command) => self.sent.push(command),
                other => self.other.push(other),
            }
        }
    }

    fn input(&mut self, input: Input) -> &mut Self {
        let actions = self.panel.input(&input, self.now);
        self.take(actions);
        self
    }

    fn key(&mut self, key: Key) -> &mut Self {
        self.input(Input::Key(key, NO))
    }

    fn typed(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            self.input(Input::Char(c));
        }
        self
    }

    fn click(&mut self, target: Target) -> &mut Self {
        self.input(Input::Click {
            target,
            shift: false,
            double: false,
        })
    }

    fn wait(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        let actions = self.panel.tick(self.now);
        self.take(actions);
        self
    }

    fn show(&mut self, frame: Frame) -> &mut Self {
        self.panel.show(frame, self.now);
        self
    }

    /// The texts of the messages, the newest first.
    fn messages(&self) -> Vec<&str> {
        let messages = self.panel.messages(self.now);
        messages.map(|message| message.text.as_str()).collect()
    }

    fn texts(&self) -> Vec<String> {
        texts(self.panel.rows().into_iter().map(|row| row.prompt))
    }

    /// The texts of the prompts that were sent last.
    fn sent_texts(&self) -> Vec<String> {
        texts(self.sent_prompts())
    }

    fn sent_weights(&self) -> Vec<f64> {
        let weights = self.sent_prompts().into_iter();
        weights.map(|prompt| prompt.weight.at(0.0)).collect()
    }

    fn sent_prompts(&self) -> Vec<Prompt> {
        let prompts = self.sent.last().and_then(prompts);
        prompts.expect("an edit of prompts was sent")
    }
}

/// The prompts of a command that changes them.
fn prompts(command: &Command) -> Option<Vec<Prompt>> {
    match command {
        Command::Edit(edit) => edit.prompts.clone(),
        _ => None,
    }
}

fn restart(restart: Restart) -> Command {
    Command::Edit(Edit {
        restart: Some(restart),
        ..Edit::default()
    })
}

fn learning_rate(factor: f64) -> Command {
    Command::Edit(Edit {
        lr: Some(factor),
        ..Edit::default()
    })
}

fn texts(prompts: impl IntoIterator<Item = Prompt>) -> Vec<String> {
    (prompts.into_iter())
        .map(|prompt| prompt.text.unwrap_or_default())
        .collect()
}

const FIRST: &str = "an oil painting of a sunset over wheat fields";
const SECOND: &str = "ein schöner Abend – вечер";
const THIRD: &str = "text, watermark, blurry";
