//! A thread that works step by step, carries out commands between steps, and shows frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Mailbox;

/// A waiting worker checks this often whether it should stop.
const CHECK_EVERY: Duration = Duration::from_millis(50);
/// Capacity of the channel of commands; a front end that sends more finds it full.
const MOST_COMMANDS: usize = 256;

/// What a worker does between commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next step, after this time at the latest.
    Step(Duration),
    /// Nothing, until a command comes.
    Wait,
    /// It ends.
    End,
}

/// The work of a [`Worker`].
pub trait Task: Sized + 'static {
    /// What front ends send.
    type Command: Send;
    /// What front ends show.
    type Frame: Send;
    /// What is left at the end.
    type Output: Send;

    /// What to do now.
    ///
    /// # Errors
    /// An error ends the worker, as in the other methods.
    fn next(&mut self) -> Result<Next>;

    /// One step.
    fn step(&mut self) -> Result<()>;

    /// Carries out commands, at least one, in their order.
    fn apply(&mut self, commands: Vec<Self::Command>) -> Result<()>;

    /// All senders of commands are gone. A task that waits must end or continue by itself now.
    fn disconnected(&mut self);

    /// Ends the work.
    fn finish(self) -> Result<Self::Output>;
}

/// A running task, seen from outside its thread.
pub struct Worker<T: Task> {
    commands: SyncSender<T::Command>,
    frames: Arc<Mailbox<T::Frame>>,
    thread: JoinHandle<Result<T::Output>>,
}

impl<T: Task> Worker<T> {
    /// Starts the thread, where `begin` makes the task. It ends when the task says so or fails, or when `stop` is set.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub(crate) fn start(
        name: &str,
        stop: Arc<AtomicBool>,
        begin: impl FnOnce(Arc<Mailbox<T::Frame>>) -> Result<T> + Send + 'static,
    ) -> Result<Self> {
        let (commands, receiver) = sync_channel(MOST_COMMANDS);
        let frames = Arc::new(Mailbox::default());
        let mailbox = Arc::clone(&frames);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(begin(mailbox)?, &receiver, &stop))
            .with_context(|| format!("cannot start the {name} thread"))?;
        Ok(Self {
            commands,
            frames,
            thread,
        })
    }

    /// A sender of commands. Sending waits while the channel is full; a front end that must not wait uses `try_send`.
    pub fn commands(&self) -> SyncSender<T::Command> {
        self.commands.clone()
    }

    /// Drops the worker's own sender of commands, so that a task that waits for commands ends once all other senders are gone. Senders
    /// that [`Worker::commands`] returns from here on have no receiver.
    pub fn hang_up(&mut self) {
        self.commands = sync_channel(0).0;
    }

    /// Where frames come from.
    pub fn frames(&self) -> Arc<Mailbox<T::Frame>> {
        Arc::clone(&self.frames)
    }

    /// Whether the thread has ended.
    pub fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// The error that ended the task.
    pub fn join(self) -> Result<T::Output> {
        drop(self.commands);
        (self.thread.join()).unwrap_or_else(|_| {
            bail!("the thread panicked; what was saved last is in the run's folder")
        })
    }
}

fn run<T: Task>(
    mut task: T,
    commands: &Receiver<T::Command>,
    stop: &AtomicBool,
) -> Result<T::Output> {
    while !stop.load(Ordering::Relaxed) {
        let wait = match task.next()? {
            Next::Step(wait) => wait,
            Next::Wait => CHECK_EVERY,
            Next::End => break,
        };
        let (batch, is_open) = receive(commands, wait);
        if !batch.is_empty() {
            task.apply(batch)?;
        }
        if !is_open {
            task.disconnected();
        }
        if matches!(task.next()?, Next::Step(_)) {
            task.step()?;
        }
    }
    task.finish()
}

/// The commands that have arrived; waits for the first one. Returns also whether any sender is left.
fn receive<C>(commands: &Receiver<C>, mut wait: Duration) -> (Vec<C>, bool) {
    let mut batch = vec![];
    while batch.len() < MOST_COMMANDS {
        match commands.recv_timeout(wait) {
            Ok(command) => batch.push(command),
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => return (batch, false),
        }
        wait = Duration::ZERO;
    }
    (batch, true)
}
