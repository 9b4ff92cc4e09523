//! A value that the user changes before the worker's frames show it changed.

use std::time::{Duration, Instant};

/// A change that no frame shows after this time is given up: the worker's value holds.
const GIVE_UP: Duration = Duration::from_secs(30);
/// The same, in steps of the render.
pub(super) const GIVE_UP_STEPS: usize = 3;

/// A value that the user may change and that the worker's frames report.
#[derive(Clone, Debug, Default)]
pub(in crate::ui) struct Pending<T> {
    pub(in crate::ui) value: T,
    /// When a change is to be sent that has not been sent yet.
    pub(super) due: Option<Instant>,
    /// When, and at which step, a change was sent that no frame has shown yet.
    pub(super) sent: Option<(Instant, usize)>,
}

impl<T: Clone + PartialEq> Pending<T> {
    /// Changes the value, to be sent at a time.
    pub(super) fn set(&mut self, value: T, due: Instant) {
        self.value = value;
        self.due = Some(due);
    }

    /// Takes the value of a frame, unless there is a change that the frame cannot know of yet.
    pub(super) fn reported(&mut self, value: &T, step: usize, now: Instant) {
        if self.due.is_some() {
            return;
        }
        let waits = (self.sent).is_some_and(|(sent, sent_step)| {
            step < sent_step + GIVE_UP_STEPS && now.duration_since(sent) <= GIVE_UP
        });
        if self.value == *value || !waits {
            self.sent = None;
            self.value = value.clone();
        }
    }

    /// The value, if it is to be sent now.
    pub(super) fn take_due(&mut self, step: usize, now: Instant, all: bool) -> Option<T> {
        self.due.take_if(|due| all || *due <= now)?;
        self.sent = Some((now, step));
        Some(self.value.clone())
    }
}
