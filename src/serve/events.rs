//! What a reader is told, whichever way it is told.

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};

use super::hub::{Hub, Snapshot};
use crate::protocol::{Event, Metrics, State};

/// What a reader has been told.
#[derive(Default)]
pub(super) struct Told {
    render: u64,
    state: u64,
    timeline: u64,
    metrics: u64,
    message: u64,
    runs: u64,
}

impl Told {
    /// What a new reader need not be told: all messages but the last one.
    pub fn at(snapshot: &Snapshot) -> Self {
        Self {
            runs: snapshot.runs,
            message: snapshot.message.saturating_sub(1),
            ..Self::default()
        }
    }

    /// What has changed since the reader was told, but for pictures.
    pub fn news(&mut self, hub: &Hub, snapshot: &Snapshot) -> Vec<Event> {
        let mut news = vec![];
        if self.render != snapshot.state.render {
            (self.render, self.metrics) = (snapshot.state.render, 0);
        }
        if self.state != snapshot.state_number {
            self.state = snapshot.state_number;
            let state = if self.timeline == snapshot.timeline {
                State::clone(&snapshot.state)
            } else {
                self.timeline = snapshot.timeline;
                snapshot.whole_state()
            };
            news.push(Event::State(Box::new(state)));
        }
        if self.metrics < snapshot.metrics || self.message < snapshot.message {
            let (steps, last, messages) = hub.since(self.metrics, self.message);
            (self.metrics, self.message) = (snapshot.metrics.max(last), snapshot.message);
            if !steps.is_empty() {
                let render = self.render;
                news.push(Event::Metrics(Metrics { render, steps }));
            }
            for message in messages {
                self.message = self.message.max(message.number);
                news.push(Event::Message(message));
            }
        }
        if self.runs != snapshot.runs {
            self.runs = snapshot.runs;
            news.push(Event::Runs);
        }
        news
    }
}

/// Calls `tell` with every event of a hub's next render but pictures, on a thread of its own, until the render has ended. It may be slow:
/// what has changed meanwhile is told as one event.
///
/// # Errors
/// When the system cannot start a thread.
pub fn follow(
    hub: &Arc<Hub>,
    mut tell: impl FnMut(&Event) + Send + 'static,
) -> Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .context("cannot follow the render")?;
    let hub = Arc::clone(hub);
    let mut newest = hub.subscribe();
    let mut told = Told::at(&newest.borrow());
    std::thread::Builder::new()
        .name("events".to_owned())
        .spawn(move || {
            loop {
                hub.demand();
                let snapshot = newest.borrow_and_update().clone();
                if snapshot.state.render > 0 {
                    for event in told.news(&hub, &snapshot) {
                        // nothing is queued here
                        if !matches!(event, Event::Runs) {
                            tell(&event);
                        }
                    }
                }
                if snapshot.state.ended || runtime.block_on(newest.changed()).is_err() {
                    return;
                }
            }
        })
        .context("cannot start a thread that follows the render")
}

#[cfg(test)]
mod tests {
    use super::super::hub::Picture;
    use super::*;
    use crate::live::{Plan, View};
    use crate::recipe::Edit;
    use std::sync::mpsc::sync_channel;

    fn timelines(events: &[Event]) -> Vec<Option<usize>> {
        let of = |event: &Event| match event {
            Event::State(state) => Some(state.timeline.as_ref().map(Vec::len)),
            _ => None,
        };
        events.iter().filter_map(of).collect()
    }

    #[test]
    fn a_timeline_is_told_when_it_has_changed() {
        let hub = Hub::new("cpu", &[], false);
        hub.begin("a-001", sync_channel(1).0);
        let show = |step, edits: usize| {
            let mut state = State::clone(&hub.snapshot().state);
            state.step = step;
            let timeline = vec![Edit::with(|edit| edit.lr = Some(0.5)); edits];
            let plan = Plan {
                timeline,
                ..Plan::default()
            };
            let picture = Picture::new(1, step, View::Image, false, Default::default());
            hub.show(state, Arc::new(plan), picture);
        };
        let mut told = Told::at(&hub.snapshot());
        let mut news = || timelines(&told.news(&hub, &hub.snapshot()));
        assert_eq!(news(), [Some(0)]);
        show(1, 0);
        assert_eq!(news(), [None]);
        assert_eq!(news(), []);
        show(1, 1);
        assert_eq!(news(), [Some(1)]);
        show(2, 1);
        assert_eq!(news(), [None]);
        // one who comes later is told all of it, and so is who asks for the state
        let mut later = Told::at(&hub.snapshot());
        assert_eq!(timelines(&later.news(&hub, &hub.snapshot())), [Some(1)]);
        assert_eq!(
            hub.snapshot().whole_state().timeline.map(|all| all.len()),
            Some(1)
        );
        hub.begin("b-001", sync_channel(1).0);
        assert_eq!(news(), [Some(0)]);
    }
}
