//! Takes a render's frames, measurements and messages to the hub.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::hub::{Hub, Picture};
use crate::live::{Command, Event, Frame, Message, RenderWorker};
use crate::protocol::{State, StepMetrics};

/// How often it looks for what is new.
const POLL: Duration = Duration::from_millis(25);
/// The shortest time between two pictures while there are readers, and while there are none.
const FASTEST: Duration = Duration::from_millis(100);
const UNWATCHED: Duration = Duration::from_secs(1);
/// Encoding takes at most one part in so many of the time, up to the longest pause between two pictures: on the processor it takes that from
/// the render, elsewhere only from other programs.
const SHARE_OF_CPU: u32 = 100;
const SHARE: u32 = 10;
const SLOWEST: Duration = Duration::from_secs(1);

enum Update {
    Step(StepMetrics),
    Message(Message),
}

/// The way from a render to a [`Hub`].
pub struct Relay {
    hub: Arc<Hub>,
    sender: Sender<Update>,
    updates: Receiver<Update>,
}

impl Relay {
    /// A relay to a hub.
    pub fn new(hub: &Arc<Hub>) -> Self {
        let (sender, updates) = channel();
        Self {
            hub: Arc::clone(hub),
            sender,
            updates,
        }
    }

    /// Its hub.
    pub fn hub(&self) -> Arc<Hub> {
        Arc::clone(&self.hub)
    }

    /// Takes events of the render: for [`RenderWorker::spawn`]. It never waits.
    pub fn listener(&self) -> impl FnMut(Event<'_>) + Send + 'static {
        let sender = self.sender.clone();
        move |event| {
            let update = match event {
                Event::Step(tick) => Update::Step(tick.into()),
                Event::Message(message) | Event::Report(message) => {
                    Update::Message(message.clone())
                }
            };
            // a relay that is gone shows nothing any more
            let _ = sender.send(update);
        }
    }

    /// Relays until the render ends. Once its last step is made, it is told to end when `patience` has given no longer time than has gone by
    /// since it last gave none.
    pub fn run(self, worker: &RenderWorker, run: &str, patience: impl Fn() -> Option<Duration>) {
        let (frames, commands) = (worker.frames(), worker.commands());
        let share = match self.hub.device() {
            "cpu" => SHARE_OF_CPU,
            _ => SHARE,
        };
        self.hub.begin(run, commands.clone());
        let mut last: Option<Instant> = None;
        let mut idle: Option<Instant> = None;
        loop {
            let is_over = worker.is_done();
            self.note();
            let pause = if self.hub.is_watched() {
                (self.hub.encoding_time() * share).clamp(FASTEST, SLOWEST)
            } else {
                UNWATCHED
            };
            if (is_over || last.is_none_or(|last| last.elapsed() >= pause))
                && let Some(frame) = frames.take()
            {
                last = Some(Instant::now());
                idle = if frame.finished { idle.or(last) } else { None };
                self.show(frame);
            }
            if is_over {
                self.note();
                return self.hub.end();
            }
            match (idle, patience()) {
                (Some(since), Some(most)) if since.elapsed() >= most => {
                    // a full channel has commands that come first
                    let _ = commands.try_send(Command::Stop);
                }
                (Some(_), None) => idle = Some(Instant::now()),
                _ => {}
            }
            std::thread::sleep(POLL);
        }
    }

    fn note(&self) {
        let (mut steps, mut messages) = (vec![], vec![]);
        for update in self.updates.try_iter() {
            match update {
                Update::Step(step) => steps.push(step),
                Update::Message(message) => messages.push(message),
            }
        }
        self.hub.note(steps, messages);
    }

    fn show(&self, frame: Frame) {
        let state = State::of(&frame, &self.hub.snapshot().state);
        let is_at_rest = frame.paused || frame.finished;
        let picture = Picture::new(
            state.render,
            frame.step,
            frame.view,
            is_at_rest,
            frame.image,
        );
        self.hub.show(state, frame.plan, picture);
    }
}
