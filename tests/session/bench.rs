//! A render worker whose generator and term are stand-ins, so that a test decides what happens between which steps.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};
use generators::{Generator, Progress, State};
use phantasia::live::{Command, Event, Frame, Message, RenderOptions, RenderWorker};
use phantasia::objective::{Term, TermOutput};
use phantasia::recipe::{Edit, Prompt, Recipe, Restart};
use phantasia::run::{RECIPE, Run, RunFolder};
use phantasia::session::{Segment, Session, SessionBackend};
use phantasia_core::StepContext;

pub const STEPS: usize = 6;

/// A picture of one shade, which each step makes lighter.
pub struct Shade {
    pub level: f32,
    pub fixed_steps: bool,
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
pub struct Log(pub Arc<Mutex<Vec<String>>>);

impl Log {
    pub fn note(&self, what: impl Into<String>) {
        self.0.lock().expect("the log").push(what.into());
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.lock().expect("the log").clone()
    }

    pub fn wait_for(&self, what: &str) {
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
pub struct Lighter {
    pub log: Log,
    pub permits: Arc<AtomicUsize>,
    pub breaks_at: usize,
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
                bail!("the test never releases step {}", at.clock);
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
pub struct Mock {
    pub log: Log,
    pub permits: Arc<AtomicUsize>,
    pub breaks_at: usize,
    pub fixed_steps: bool,
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

    fn generator(
        &mut self,
        _: &Segment,
        init: Option<&Tensor>,
        _: bool,
    ) -> Result<Box<dyn Generator>> {
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

pub type Told = Arc<Mutex<Vec<Message>>>;

/// A worker with the mock's parts, and the folder that it fills.
pub struct Bench {
    pub worker: RenderWorker,
    pub log: Log,
    pub permits: Arc<AtomicUsize>,
    pub stop: Arc<AtomicBool>,
    pub out: tempfile::TempDir,
    /// The messages so far.
    pub told: Told,
}

impl Bench {
    pub fn new(permits: usize, hold: bool) -> Self {
        Self::with(permits, hold, usize::MAX, false)
    }

    pub fn breaking(permits: usize, hold: bool, breaks_at: usize) -> Self {
        Self::with(permits, hold, breaks_at, false)
    }

    pub fn with(permits: usize, hold: bool, breaks_at: usize, fixed_steps: bool) -> Self {
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

    pub fn commands(&self) -> SyncSender<Command> {
        self.worker.commands()
    }

    pub fn send(&self, command: Command) {
        self.commands().send(command).expect("a listener");
    }

    pub fn allow(&self, steps: usize) {
        self.permits.fetch_add(steps, Ordering::SeqCst);
    }

    pub fn run(&self) -> std::path::PathBuf {
        self.out.path().join("grey-001")
    }

    pub fn frame(&self, wanted: impl Fn(&Frame) -> bool) -> Frame {
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

pub fn prompts(text: &str) -> Command {
    Command::Edit(Edit {
        prompts: Some(vec![Prompt::new(text)]),
        ..Edit::default()
    })
}

pub fn learning_rate(factor: f64) -> Command {
    Command::Edit(Edit {
        lr: Some(factor),
        ..Edit::default()
    })
}

pub fn restart() -> Command {
    Command::Edit(Edit {
        restart: Some(Restart::Image),
        ..Edit::default()
    })
}

pub fn steps(count: usize) -> Command {
    Command::Edit(Edit {
        steps: Some(count),
        ..Edit::default()
    })
}

pub fn timeline(run: &Path) -> Vec<Edit> {
    let recipe = Recipe::load(&run.join(RECIPE)).expect("a recipe");
    recipe.timeline
}
