//! The thread that paints, driven through its channel, with a generator and a critic that are none.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};
use generators::{Generator, Progress, State};
use phantasia::live::{Command, Event, Frame, Message, RenderOptions, RenderWorker, Severity};
use phantasia::objective::{Term, TermOutput};
use phantasia::prompt::StepContext;
use phantasia::recipe::{Edit, Prompt, Recipe, Restart};
use phantasia::run::{CHECKPOINT, IMAGE, METRICS, RECIPE, Run, RunFolder};
use phantasia::session::{Segment, Session, SessionBackend};

const STEPS: usize = 6;

/// A picture of one shade, which each step makes lighter.
struct Shade {
    level: f32,
    fixed_steps: bool,
}

impl Generator for Shade {
    fn render(&mut self) -> candle_core::Result<Tensor> {
        Tensor::full(self.level, (1, 3, 2, 2), &Device::Cpu)
    }

    fn step(&mut self, _: Tensor, grad: &Tensor) -> candle_core::Result<Progress> {
        self.level -= grad.mean_all()?.to_scalar::<f32>()?;
        Ok(Progress::Running)
    }

    fn has_fixed_steps(&self) -> bool {
        self.fixed_steps
    }

    fn save(&self) -> candle_core::Result<State> {
        let mut state = State::default();
        state.scalars.insert("shade".to_owned(), self.level.into());
        Ok(state)
    }

    fn load(&mut self, state: &State) -> candle_core::Result<()> {
        self.level = state.scalar("shade")? as f32;
        Ok(())
    }
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().expect("the log").push(what.into());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().expect("the log").clone()
    }

    fn wait_for(&self, what: &str) {
        let start = Instant::now();
        while !self.lines().iter().any(|line| line == what) {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "no `{what}` in {:?}",
                self.lines()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Wants every picture a little lighter. It judges a step only while there are permits, so that a test decides what comes between which
/// steps.
struct Lighter {
    log: Log,
    permits: Arc<AtomicUsize>,
    breaks_at: usize,
}

impl Term for Lighter {
    fn name(&self) -> &str {
        "lighter"
    }

    fn evaluate(&mut self, image: &Tensor, at: StepContext) -> Result<TermOutput> {
        // whatever a test sends from here on comes after this step
        self.log.note(format!("asked {}", at.clock));
        let start = Instant::now();
        let take = |permits: usize| permits.checked_sub(1);
        while (self.permits)
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
            .is_err()
        {
            if start.elapsed() > Duration::from_secs(60) {
                bail!("nobody lets step {} happen", at.clock);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        if at.clock >= self.breaks_at {
            bail!("the critic is gone");
        }
        self.log.note(format!("step {}", at.clock));
        Ok(TermOutput::new(
            1.0,
            Tensor::full(-0.0625f32, image.shape(), image.device())?,
        ))
    }
}

/// Writes down what it is asked for.
struct Mock {
    log: Log,
    permits: Arc<AtomicUsize>,
    breaks_at: usize,
    fixed_steps: bool,
}

impl SessionBackend for Mock {
    fn stages(&self) -> usize {
        1
    }

    fn steps(&self, _: usize) -> usize {
        STEPS
    }

    fn stage_edit(&self, _: usize) -> Edit {
        Edit {
            prompts: Some(vec![Prompt::new("grey")]),
            ..Edit::default()
        }
    }

    fn generator(&mut self, _: &Segment, init: Option<&Tensor>) -> Result<Box<dyn Generator>> {
        Ok(Box::new(Shade {
            level: match init {
                Some(init) => init.mean_all()?.to_scalar()?,
                None => 0.25,
            },
            fixed_steps: self.fixed_steps,
        }))
    }

    fn prepare(&mut self, edit: &Edit) -> Result<()> {
        let mut texts = edit.prompts.iter().flatten().map(|p| p.text.as_deref());
        if texts.any(|text| text == Some("unspeakable")) {
            bail!("that cannot be encoded");
        }
        Ok(())
    }

    fn apply(&mut self, edit: &Edit) -> Result<()> {
        if let Some(prompts) = &edit.prompts {
            let texts: Vec<_> = prompts.iter().filter_map(|p| p.text.as_deref()).collect();
            let fade = edit.fade.unwrap_or(0);
            self.log
                .note(format!("prompts {} over {fade}", texts.join("+")));
        }
        if edit.terms.is_some() {
            self.log.note("terms");
        }
        if let Some(factor) = edit.lr {
            self.log.note(format!("rate {factor}"));
        }
        Ok(())
    }

    fn terms(&mut self) -> Result<Vec<Box<dyn Term>>> {
        Ok(vec![Box::new(Lighter {
            log: self.log.clone(),
            permits: Arc::clone(&self.permits),
            breaks_at: self.breaks_at,
        })])
    }

    fn mask(&self) -> Result<Option<Tensor>> {
        Ok(None)
    }

    fn init(&self) -> Result<Option<Tensor>> {
        Ok(None)
    }

    fn warnings(&mut self) -> Vec<String> {
        vec![]
    }
}

type Told = Arc<Mutex<Vec<Message>>>;

/// A worker with the mock's parts, and the folder that it fills.
struct Bench {
    worker: RenderWorker,
    log: Log,
    permits: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    out: tempfile::TempDir,
    /// The messages so far.
    told: Told,
}

impl Bench {
    fn new(permits: usize, hold: bool) -> Self {
        Self::with(permits, hold, usize::MAX, false)
    }

    fn breaking(permits: usize, hold: bool, breaks_at: usize) -> Self {
        Self::with(permits, hold, breaks_at, false)
    }

    fn with(permits: usize, hold: bool, breaks_at: usize, fixed_steps: bool) -> Self {
        let out = tempfile::tempdir().expect("a folder");
        let log = Log::default();
        let permits = Arc::new(AtomicUsize::new(permits));
        let backend = Mock {
            log: log.clone(),
            permits: Arc::clone(&permits),
            breaks_at,
            fixed_steps,
        };
        let session = Session::from_backend(Box::new(backend), vec![]).expect("a session");
        let folder = RunFolder::create(out.path(), "grey").expect("a run");
        let mut recipe = Recipe::new(vec![Prompt::new("grey")]);
        recipe.steps = STEPS;
        let run = Run::new(session, folder, &recipe).expect("a run");
        let options = RenderOptions {
            device: "none".to_owned(),
            fade: 3,
            extend: 2,
            hold,
            frames: true,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let told = Told::default();
        let sink = Arc::clone(&told);
        let worker = RenderWorker::spawn(run, options, Arc::clone(&stop), move |event| {
            if let Event::Message(message) = event {
                sink.lock().expect("the messages").push(message.clone());
            }
        });
        Self {
            worker: worker.expect("a thread"),
            log,
            permits,
            stop,
            told,
            out,
        }
    }

    fn commands(&self) -> SyncSender<Command> {
        self.worker.commands()
    }

    fn send(&self, command: Command) {
        self.commands().send(command).expect("a listener");
    }

    fn allow(&self, steps: usize) {
        self.permits.fetch_add(steps, Ordering::SeqCst);
    }

    fn run(&self) -> std::path::PathBuf {
        self.out.path().join("grey-001")
    }

    fn frame(&self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        let start = Instant::now();
        let frames = self.worker.frames();
        loop {
            if let Some(frame) = frames.take().filter(|frame| wanted(frame)) {
                return frame;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "no such frame");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn prompts(text: &str) -> Command {
    Command::Edit(Edit {
        prompts: Some(vec![Prompt::new(text)]),
        ..Edit::default()
    })
}

fn learning_rate(factor: f64) -> Command {
    Command::Edit(Edit {
        lr: Some(factor),
        ..Edit::default()
    })
}

fn restart() -> Command {
    Command::Edit(Edit {
        restart: Some(Restart::Image),
        ..Edit::default()
    })
}

fn steps(count: usize) -> Command {
    Command::Edit(Edit {
        steps: Some(count),
        ..Edit::default()
    })
}

fn timeline(run: &Path) -> Vec<Edit> {
    let recipe = Recipe::load(&run.join(RECIPE)).expect("a recipe");
    recipe.timeline
}

#[test]
fn commands_take_effect_between_steps_in_their_order() {
    let bench = Bench::new(2, false);
    bench.log.wait_for("asked 2");
    // the third step waits for its permit: these come before the fourth
    bench.send(learning_rate(0.5));
    bench.send(Command::Fade(0));
    bench.send(prompts("a cat"));
    bench.allow(STEPS);
    let run = bench.run();
    let outcome = bench.worker.join().expect("a picture");
    assert_eq!((outcome.steps, outcome.interrupted), (STEPS, false));
    let mut lines = bench.log.lines();
    lines.retain(|line| !line.starts_with("asked"));
    assert_eq!(
        lines,
        [
            "prompts grey over 0",
            "step 0",
            "step 1",
            "step 2",
            "rate 0.5",
            "prompts a cat over 0",
            "step 3",
            "step 4",
            "step 5"
        ]
    );
    let edits = timeline(&run);
    assert_eq!(edits.len(), 2);
    assert_eq!((edits[0].step, edits[0].lr), (3, Some(0.5)));
    assert_eq!((edits[1].step, edits[1].fade), (3, Some(0)));
    assert_eq!(edits[1].prompts, Some(vec![Prompt::new("a cat")]));
}

#[test]
fn edits_that_replace_each_other_are_one() {
    let bench = Bench::new(1, false);
    bench.log.wait_for("asked 1");
    for text in ["a", "a c", "a ca", "a cat"] {
        bench.send(prompts(text));
    }
    bench.allow(STEPS);
    let run = bench.run();
    bench.worker.join().expect("a picture");
    assert!(
        bench
            .log
            .lines()
            .contains(&"prompts a cat over 3".to_owned())
    );
    assert_eq!(timeline(&run).len(), 1);
}

#[test]
fn a_full_channel_does_not_hold_the_front_end_up() {
    let bench = Bench::new(1, false);
    bench.log.wait_for("asked 1");
    let commands = bench.commands();
    let full = (0..10_000).any(|_| {
        matches!(
            commands.try_send(Command::Snapshot),
            Err(TrySendError::Full(_))
        )
    });
    assert!(full);
    bench.stop.store(true, Ordering::SeqCst);
    bench.allow(STEPS);
    bench.worker.join().expect("a picture");
}

#[test]
fn frames_that_nobody_takes_hold_nothing_up() {
    let bench = Bench::new(STEPS, false);
    let frames = bench.worker.frames();
    bench.worker.join().expect("a picture");
    let last = frames.take().expect("the last frame");
    assert_eq!((last.step, last.finished), (STEPS, true));
    assert!(frames.take().is_none());
}

#[test]
fn a_paused_render_waits_and_listens() {
    let bench = Bench::new(1, false);
    bench.log.wait_for("asked 1");
    bench.send(Command::Pause(true));
    bench.allow(1);
    let frame = bench.frame(|frame| frame.paused);
    bench.allow(STEPS);
    bench.send(prompts("a cat"));
    bench.log.wait_for("prompts a cat over 3");
    std::thread::sleep(Duration::from_millis(100));
    let steps = bench
        .log
        .lines()
        .iter()
        .filter(|line| line.starts_with("step"))
        .count();
    assert_eq!((frame.step, steps), (2, 2));
    bench.send(Command::Pause(false));
    assert_eq!(bench.worker.join().expect("a picture").steps, STEPS);
}

#[test]
fn what_cannot_be_done_is_said_and_changes_nothing() {
    let bench = Bench::new(1, false);
    bench.log.wait_for("asked 1");
    bench.send(prompts("unspeakable"));
    bench.allow(1);
    let frame = bench.frame(|frame| frame.message.is_some());
    let message = frame.message.expect("a message");
    assert!(message.text.contains("cannot be encoded"), "{message:?}");
    assert_eq!(message.severity, Severity::Error);
    assert_eq!(frame.prompts[0].prompt, Prompt::new("grey"));
    bench.allow(STEPS);
    let run = bench.run();
    bench.worker.join().expect("a picture");
    assert_eq!(timeline(&run), []);
}

#[test]
fn an_error_comes_back_and_the_picture_is_saved() {
    let bench = Bench::breaking(STEPS, false, 2);
    let run = bench.run();
    let error = format!("{:#}", bench.worker.join().expect_err("a broken critic"));
    assert!(error.contains("the critic is gone"), "{error}");
    assert!(error.contains(IMAGE), "{error}");
    assert!(run.join(IMAGE).is_file());
    let metrics = fs::read_to_string(run.join(METRICS)).expect("metrics");
    assert_eq!(metrics.lines().count(), 2);
}

#[test]
fn a_stop_is_no_interrupt_and_saves() {
    let bench = Bench::new(2, true);
    bench.log.wait_for("asked 2");
    bench.send(Command::Stop);
    bench.allow(1);
    let run = bench.run();
    let outcome = bench.worker.join().expect("a picture");
    assert_eq!((outcome.steps, outcome.interrupted), (3, false));
    for file in [IMAGE, CHECKPOINT, RECIPE] {
        assert!(run.join(file).is_file(), "{file}");
    }
}

#[test]
fn a_finished_render_that_is_held_can_begin_again() {
    let bench = Bench::new(2 * STEPS, true);
    let frame = bench.frame(|frame| frame.finished);
    assert_eq!(frame.step, STEPS);
    bench.log.wait_for("step 5");
    bench.send(restart());
    let frame = bench.frame(|frame| frame.finished && frame.step > STEPS);
    assert_eq!((frame.step, frame.steps), (2 * STEPS, 2 * STEPS));
    bench.send(Command::Stop);
    let run = bench.run();
    bench.worker.join().expect("a picture");
    assert_eq!(timeline(&run)[0].restart, Some(Restart::Image));
}

#[test]
fn an_edit_at_the_end_continues_painting() {
    let bench = Bench::new(100, true);
    // a fade of 3, and 2 steps more
    let frame = bench.frame(|frame| frame.finished);
    assert_eq!((frame.step, frame.extension), (STEPS, Some(5)));
    bench.send(prompts("a cat"));
    let frame = bench.frame(|frame| frame.finished && frame.step > STEPS);
    assert_eq!((frame.step, frame.steps), (STEPS + 5, STEPS + 5));
    bench.send(learning_rate(2.0));
    bench.frame(|frame| frame.finished && frame.step == STEPS + 10);
    bench.send(Command::Undo);
    bench.frame(|frame| frame.finished && frame.step == STEPS + 15);
    // an edit without an effect adds no steps
    bench.send(prompts("a cat"));
    bench.send(Command::Fade(1));
    let frame = bench.frame(|frame| frame.fade == 1);
    assert_eq!((frame.step, frame.extension), (STEPS + 15, Some(3)));
    bench.send(Command::Stop);
    let run = bench.run();
    let told = Arc::clone(&bench.told);
    let outcome = bench.worker.join().expect("a picture");
    assert_eq!((outcome.steps, outcome.stopped), (STEPS + 15, false));
    let edits: Vec<_> = (timeline(&run).iter())
        .map(|edit| (edit.step, edit.steps))
        .collect();
    assert_eq!(edits, [(6, Some(11)), (11, Some(16)), (16, Some(21))]);
    let told = told.lock().expect("the messages");
    let finished = (told.iter()).filter(|message| message.text.starts_with("finished; saved"));
    assert_eq!(finished.count(), 4, "{told:?}");
}

#[test]
fn a_stage_of_fixed_steps_cannot_be_extended_and_says_what_can_be_done() {
    let bench = Bench::with(100, true, usize::MAX, true);
    let frame = bench.frame(|frame| frame.finished);
    assert_eq!(frame.extension, None);
    for command in [prompts("a cat"), steps(20)] {
        bench.send(command);
        let frame = bench.frame(|frame| {
            (frame.message.as_ref()).is_some_and(|message| message.severity == Severity::Error)
        });
        let text = frame.message.expect("a message").text;
        assert!(
            text.contains("diffusion") && text.contains("R in the window"),
            "{text}"
        );
        assert_eq!(
            (frame.step, &frame.prompts[0].prompt),
            (STEPS, &Prompt::new("grey"))
        );
        // another message in between
        bench.send(Command::Snapshot);
        bench.frame(|frame| {
            (frame.message.as_ref()).is_some_and(|message| message.severity == Severity::Info)
        });
    }
    bench.send(restart());
    bench.send(prompts("a cat"));
    bench.frame(|frame| frame.finished && frame.step == 2 * STEPS);
    bench.send(Command::Stop);
    bench.worker.join().expect("a picture");
}

#[test]
fn a_held_render_waits_only_while_there_is_a_sender() {
    let mut bench = Bench::new(STEPS, true);
    let commands = bench.commands();
    bench.worker.hang_up();
    bench.frame(|frame| frame.finished);
    std::thread::sleep(Duration::from_millis(150));
    assert!(!bench.worker.is_done());
    drop(commands);
    assert_eq!(bench.worker.join().expect("a picture").steps, STEPS);
}

#[test]
fn a_stop_is_the_last_entry_of_the_timeline() {
    let bench = Bench::new(2, true);
    bench.log.wait_for("asked 2");
    bench.send(learning_rate(2.0));
    bench.send(Command::Pause(true));
    bench.send(Command::Stop);
    bench.allow(1);
    let run = bench.run();
    let outcome = bench.worker.join().expect("a picture");
    assert_eq!(
        (outcome.steps, outcome.planned, outcome.stopped),
        (3, STEPS, true)
    );
    let edits = timeline(&run);
    assert_eq!(edits.len(), 2);
    assert_eq!((edits[1].step, edits[1].stop), (3, true));
}

#[test]
fn messages_are_events_too() {
    let bench = Bench::new(1, false);
    bench.log.wait_for("asked 1");
    bench.send(Command::Undo);
    bench.send(prompts("unspeakable"));
    bench.send(learning_rate(2.0));
    bench.allow(STEPS);
    let told = Arc::clone(&bench.told);
    bench.worker.join().expect("a picture");
    let told = told.lock().expect("the messages");
    let told: Vec<_> = (told.iter())
        .map(|message| (message.severity, message.text.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (Severity::Error, "there is no edit to take back"),
            (Severity::Error, "that cannot be encoded"),
            (Severity::Info, "learning rate x 2.000"),
        ]
    );
}

#[test]
fn edits_are_taken_back_one_by_one() {
    let bench = Bench::new(1, false);
    bench.log.wait_for("asked 1");
    bench.send(prompts("a cat"));
    bench.send(learning_rate(2.0));
    bench.send(Command::Undo);
    bench.send(Command::Undo);
    bench.send(Command::Undo);
    bench.allow(STEPS);
    let run = bench.run();
    bench.worker.join().expect("a picture");
    let edits = timeline(&run);
    assert_eq!(edits.len(), 4);
    assert_eq!(edits[2].lr, Some(1.0));
    assert_eq!(edits[3].prompts, Some(vec![Prompt::new("grey")]));
}
