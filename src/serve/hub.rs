//! What readers see of the present render, and how they reach it.

use std::collections::VecDeque;
use std::io::Cursor;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ImageEncoder, ImageError, RgbImage};
use tokio::sync::watch;

use crate::live::Plan;
use crate::live::{Command, Message, View};
use crate::protocol::{State, StepMetrics};

/// The quality of large pictures while they are painted; those at rest are exact.
const QUALITY: u8 = 90;
/// Pictures of up to so many pixels are always exact: a PNG of them is short enough to send, and takes a third of the time of a JPEG.
const SMALL: u32 = 320 * 320;
/// At most this many steps are kept for plots: then every second one is dropped.
const MOST_STEPS: usize = 4096;
/// At most this many messages are kept.
const MOST_MESSAGES: usize = 64;
/// A request for a picture counts as a reader for this long.
const DEMAND: Duration = Duration::from_secs(3);

/// Joins the server and the [`Relay`](super::Relay) of the present render. Its locks are held for moves and copies alone, and the painter's
/// thread takes none of them.
pub struct Hub {
    /// The name of the device that paints.
    device: String,
    newest: watch::Sender<Snapshot>,
    record: Mutex<Record>,
    commands: Mutex<Option<SyncSender<Command>>>,
    readers: AtomicUsize,
    demanded: Mutex<Option<Instant>>,
    /// About how long a picture takes to encode, in microseconds.
    encoding: AtomicU64,
}

/// The newest of everything; it is cheap to copy.
#[derive(Clone, Default)]
pub(super) struct Snapshot {
    /// Without the timeline, which is long and seldom changes.
    pub state: Arc<State>,
    pub plan: Arc<Plan>,
    /// A number that grows with every change of the timeline.
    pub timeline: u64,
    /// A number that grows with every change of the state.
    pub state_number: u64,
    pub picture: Option<Arc<Picture>>,
    /// How many measurements the present render has had.
    pub metrics: u64,
    /// The number of the last message.
    pub message: u64,
    /// A number that grows with every change of the queue or the folder.
    pub runs: u64,
}

impl Snapshot {
    /// The state with its timeline.
    pub fn whole_state(&self) -> State {
        State {
            timeline: Some(self.plan.timeline.clone()),
            ..State::clone(&self.state)
        }
    }
}

/// What readers who come later are told as well.
#[derive(Default)]
struct Record {
    /// Each with its number.
    steps: VecDeque<(u64, StepMetrics)>,
    messages: VecDeque<Message>,
}

/// A picture, and its bytes once a reader has asked for them.
pub(super) struct Picture {
    pub render: u64,
    pub step: usize,
    pub view: View,
    /// Whether it is shown exactly.
    pub is_exact: bool,
    pub image: RgbImage,
    bytes: OnceLock<Result<Arc<Vec<u8>>, String>>,
}

impl Picture {
    /// A picture; `is_at_rest` is whether no other comes soon.
    pub fn new(render: u64, step: usize, view: View, is_at_rest: bool, image: RgbImage) -> Self {
        let is_exact = is_at_rest || image.width() * image.height() <= SMALL;
        Self {
            render,
            step,
            view,
            is_exact,
            image,
            bytes: OnceLock::new(),
        }
    }

    pub fn media_type(&self) -> &'static str {
        if self.is_exact {
            "image/png"
        } else {
            "image/jpeg"
        }
    }

    /// The bytes, encoded by the first reader who asks; slow.
    pub fn bytes(&self, hub: &Hub) -> Result<Arc<Vec<u8>>, String> {
        let encoded = self.bytes.get_or_init(|| {
            let begin = Instant::now();
            let bytes = if self.is_exact {
                self.png()
            } else {
                self.jpeg()
            };
            let micros = begin.elapsed().as_micros().try_into().unwrap_or(u64::MAX);
            // the machine is busy, and most of the time may be spent waiting: the shorter ones are nearer to the work
            let before = hub.encoding.load(Ordering::Relaxed);
            let slowly = before.saturating_add(before / 8).max(1);
            let estimate = if before == 0 {
                micros
            } else {
                micros.min(slowly)
            };
            hub.encoding.store(estimate, Ordering::Relaxed);
            bytes.map(Arc::new).map_err(|error| error.to_string())
        });
        encoded.clone()
    }

    pub fn png(&self) -> Result<Vec<u8>, ImageError> {
        self.encode(|out, raw, (width, height)| {
            PngEncoder::new(out).write_image(raw, width, height, image::ExtendedColorType::Rgb8)
        })
    }

    pub fn jpeg(&self) -> Result<Vec<u8>, ImageError> {
        self.encode(|out, raw, (width, height)| {
            JpegEncoder::new_with_quality(out, QUALITY).encode(
                raw,
                width,
                height,
                image::ExtendedColorType::Rgb8,
            )
        })
    }

    fn encode(
        &self,
        with: impl FnOnce(&mut Cursor<Vec<u8>>, &[u8], (u32, u32)) -> Result<(), ImageError>,
    ) -> Result<Vec<u8>, ImageError> {
        let mut out = Cursor::new(vec![]);
        with(&mut out, self.image.as_raw(), self.image.dimensions())?;
        Ok(out.into_inner())
    }
}

/// Why commands did not reach a render.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undelivered {
    /// Nothing is rendered.
    NoRender,
    /// More came than it has carried out.
    Full,
}

impl Hub {
    /// A hub of a device, without a render. `devices` are all that paint here, and `queue` is whether runs can be queued.
    pub fn new(device: &str, devices: &[String], queue: bool) -> Arc<Self> {
        let state = Arc::new(State {
            queue,
            devices: devices.to_vec(),
            device: device.to_owned(),
            ..State::default()
        });
        let snapshot = Snapshot {
            state,
            state_number: 1,
            timeline: 1,
            ..Snapshot::default()
        };
        Arc::new(Self {
            device: device.to_owned(),
            newest: watch::Sender::new(snapshot),
            record: Mutex::default(),
            commands: Mutex::default(),
            readers: AtomicUsize::new(0),
            demanded: Mutex::default(),
            encoding: AtomicU64::new(0),
        })
    }

    /// A render begins: commands go to it, and the plots begin anew. Returns its number.
    pub(super) fn begin(&self, run: &str, commands: SyncSender<Command>) -> u64 {
        *lock(&self.commands) = Some(commands);
        let mut record = lock(&self.record);
        record.steps.clear();
        let mut render = 0;
        self.newest.send_modify(|newest| {
            render = newest.state.render + 1;
            newest.state = Arc::new(State {
                render,
                run: Some(run.to_owned()),
                queue: newest.state.queue,
                devices: newest.state.devices.clone(),
                device: newest.state.device.clone(),
                ..State::default()
            });
            newest.state_number += 1;
            newest.plan = Arc::default();
            newest.timeline += 1;
            newest.metrics = 0;
            newest.picture = None;
            newest.runs += 1;
        });
        render
    }

    /// The render is over; its last state and picture stay.
    pub(super) fn end(&self) {
        *lock(&self.commands) = None;
        self.newest.send_modify(|newest| {
            let mut state = State::clone(&newest.state);
            (state.ended, state.paused) = (true, false);
            newest.state = Arc::new(state);
            newest.state_number += 1;
            newest.runs += 1;
        });
    }

    /// Shows a frame; `state` is without the timeline, which `plan` has.
    pub(super) fn show(&self, state: State, plan: Arc<Plan>, picture: Picture) {
        self.newest.send_modify(|newest| {
            let is_changed = newest.plan.timeline != plan.timeline;
            newest.plan = plan;
            newest.timeline += u64::from(is_changed);
            if is_changed || *newest.state != state {
                newest.state = Arc::new(state);
                newest.state_number += 1;
            }
            newest.picture = Some(Arc::new(picture));
        });
    }

    /// Notes measurements and messages, and tells readers of them.
    pub(super) fn note(&self, steps: Vec<StepMetrics>, messages: Vec<Message>) {
        if steps.is_empty() && messages.is_empty() {
            return;
        }
        let mut record = lock(&self.record);
        self.newest.send_modify(|newest| {
            for step in steps {
                newest.metrics += 1;
                record.steps.push_back((newest.metrics, step));
            }
            if record.steps.len() > MOST_STEPS {
                let mut index = 0;
                record.steps.retain(|_| {
                    index += 1;
                    index % 2 == 0
                });
            }
            for mut message in messages {
                // a render's own numbers begin anew with each
                newest.message += 1;
                message.number = newest.message;
                record.messages.push_back(message);
            }
            while record.messages.len() > MOST_MESSAGES {
                record.messages.pop_front();
            }
        });
    }

    /// The name of its device.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Tells readers that the queue or the folder has changed.
    pub(super) fn runs_changed(&self) {
        self.newest.send_modify(|newest| newest.runs += 1);
    }

    /// Sends commands to the render without waiting, up to the first one that it does not take.
    pub(super) fn send(&self, commands: Vec<Command>) -> Result<(), Undelivered> {
        let guard = lock(&self.commands);
        let sender = guard.as_ref().ok_or(Undelivered::NoRender)?;
        for command in commands {
            sender.try_send(command).map_err(|error| match error {
                TrySendError::Full(_) => Undelivered::Full,
                TrySendError::Disconnected(_) => Undelivered::NoRender,
            })?;
        }
        Ok(())
    }

    /// The newest of everything, from here on.
    pub(super) fn subscribe(&self) -> watch::Receiver<Snapshot> {
        self.newest.subscribe()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.newest.borrow().clone()
    }

    /// The measurements after a number, and the number of the last one; the messages after another.
    pub(super) fn since(
        &self,
        metrics: u64,
        message: u64,
    ) -> (Vec<StepMetrics>, u64, Vec<Message>) {
        let record = lock(&self.record);
        let steps = record.steps.iter().filter(|(number, _)| *number > metrics);
        let messages = (record.messages.iter()).filter(|other| other.number > message);
        (
            steps.map(|(_, step)| step.clone()).collect(),
            record.steps.back().map_or(metrics, |(number, _)| *number),
            messages.cloned().collect(),
        )
    }

    /// A reader that stays: it counts until what is returned is dropped.
    pub(super) fn join(self: &Arc<Self>) -> Reader {
        self.readers.fetch_add(1, Ordering::Relaxed);
        Reader(Arc::clone(self))
    }

    /// A single request for the newest state or picture.
    pub(super) fn demand(&self) {
        *lock(&self.demanded) = Some(Instant::now());
    }

    /// How many readers stay connected.
    pub fn readers(&self) -> usize {
        self.readers.load(Ordering::Relaxed)
    }

    /// Whether anybody looks.
    pub(super) fn is_watched(&self) -> bool {
        let recently = || lock(&self.demanded).is_some_and(|last| last.elapsed() < DEMAND);
        self.readers() > 0 || recently()
    }

    pub(super) fn encoding_time(&self) -> Duration {
        Duration::from_micros(self.encoding.load(Ordering::Relaxed))
    }
}

/// A connected reader.
pub(super) struct Reader(Arc<Hub>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Severity;
    use std::sync::mpsc::sync_channel;

    fn step(step: usize) -> StepMetrics {
        StepMetrics {
            step,
            loss: Some(1.0),
            terms: Default::default(),
            similarity: Default::default(),
            seconds: 0.1,
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_begins_anew_with_a_render() {
        let hub = Hub::new("cpu", &[], false);
        let (commands, _receiver) = sync_channel(1);
        assert_eq!(hub.begin("a-001", commands.clone()), 1);
        for number in 0..3 * MOST_STEPS {
            let message = Message {
                number: 1,
                severity: Severity::Info,
                text: String::new(),
            };
            hub.note(vec![step(number)], vec![message]);
        }
        let (steps, last, messages) = hub.since(0, 0);
        assert!(steps.len() <= MOST_STEPS && steps.len() >= MOST_STEPS / 2);
        assert_eq!(last, 3 * MOST_STEPS as u64);
        assert!(steps.is_sorted_by_key(|step| step.step));
        assert_eq!(messages.len(), MOST_MESSAGES);
        assert!(messages.is_sorted_by_key(|message| message.number));
        let (newer, _, _) = hub.since(last - 1, 0);
        assert_eq!(newer.len(), 1);
        assert_eq!(hub.begin("b-001", commands), 2);
        assert!(hub.since(0, 0).0.is_empty());
    }

    #[test]
    fn commands_are_not_waited_for() {
        let hub = Hub::new("cpu", &[], false);
        assert_eq!(hub.send(vec![Command::Stop]), Err(Undelivered::NoRender));
        let (commands, receiver) = sync_channel(1);
        hub.begin("a-001", commands);
        assert_eq!(hub.send(vec![Command::Undo]), Ok(()));
        assert_eq!(hub.send(vec![Command::Undo]), Err(Undelivered::Full));
        drop(receiver);
        assert_eq!(hub.send(vec![Command::Undo]), Err(Undelivered::NoRender));
        hub.end();
        assert!(hub.snapshot().state.ended);
    }

    #[test]
    fn readers_count_while_they_are_there() {
        let hub = Hub::new("cpu", &[], false);
        assert!(!hub.is_watched());
        let reader = hub.join();
        assert_eq!((hub.readers(), hub.is_watched()), (1, true));
        drop(reader);
        assert!(!hub.is_watched());
        hub.demand();
        assert!(hub.is_watched());
    }

    #[test]
    fn a_picture_is_exact_at_rest_or_small() {
        let hub = Hub::new("cpu", &[], false);
        let of = |width, height| {
            RgbImage::from_fn(width, height, |x, y| {
                image::Rgb([(x * 20) as u8, (y * 40) as u8, 7])
            })
        };
        for (image, at_rest, is_exact) in [
            (of(9, 5), true, true),
            (of(9, 5), false, true),
            (of(400, 300), true, true),
            (of(400, 300), false, false),
        ] {
            let picture = Picture::new(1, 3, View::Image, at_rest, image.clone());
            let bytes = picture.bytes(&hub).expect("bytes");
            let read = image::load_from_memory(&bytes)
                .expect("a picture")
                .to_rgb8();
            assert_eq!(read.dimensions(), image.dimensions());
            assert_eq!(read == image, is_exact);
        }
    }
}
