//! A value that a person changes before the worker's frames show it changed.

use std::time::{Duration, Instant};

/// A change that no frame shows after this time is given up: what the worker says holds.
const GIVE_UP: Duration = Duration::from_secs(30);
/// After so many steps as well.
pub(super) const GIVE_UP_STEPS: usize = 3;

/// When a value was sent that no frame has shown yet.
#[derive(Clone, Debug)]
pub(super) struct Asked {
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
pub(super) struct Wish<T> {
    pub(super) value: T,
    /// Changed, but not sent yet: when it will be.
    pub(super) due: Option<Instant>,
    /// Sent, but not seen in a frame yet.
    pub(super) asked: Option<Asked>,
}

impl<T: Clone + PartialEq> Wish<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            value,
            due: None,
            asked: None,
        }
    }

    /// Takes what a frame says, unless there is a change that it cannot know of yet.
    pub(super) fn reported(&mut self, value: &T, step: usize, now: Instant) {
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
    pub(super) fn take_due(&mut self, step: usize, now: Instant, all: bool) -> Option<T> {
        self.due.filter(|due| all || *due <= now)?;
        self.due = None;
        self.asked = Some(Asked { when: now, step });
        Some(self.value.clone())
    }
}
