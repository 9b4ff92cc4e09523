//! A pattern that grows on a worker's thread.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Result;
use image::RgbImage;

use super::Growth;
use crate::live::{Mailbox, Next, Task, Worker};
use crate::run::RunFolder;

/// What a front end sends to a growing pattern.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Command {
    /// Resets a disc of cells.
    Damage {
        /// Its centre in pixels of the pattern, from the left.
        x: f64,
        /// Its centre in pixels, from the top.
        y: f64,
        /// Its radius in pixels.
        radius: f64,
    },
    /// Pauses, or continues.
    Pause,
    /// Begins again.
    Restart,
    /// Saves the picture.
    Snapshot,
    /// Ends.
    Stop,
}

/// The state of a growing pattern between two iterations.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The picture.
    pub image: RgbImage,
    /// Iterations since it began.
    pub steps: usize,
    /// Whether it is paused.
    pub paused: bool,
    /// What became of the last snapshot.
    pub message: Option<String>,
}

/// A pattern that grows on a thread of its own.
pub type GrowWorker = Worker<Grow>;

impl GrowWorker {
    /// Lets a pattern grow, with at least `pace` from one iteration to the next, until a command stops it or `stop` is set. Snapshots go
    /// to the run folder.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn spawn(
        growth: Growth,
        pace: Duration,
        stop: Arc<AtomicBool>,
        folder: Arc<RunFolder>,
    ) -> Result<Self> {
        Self::start("growth", stop, move |frames| {
            let grow = Grow {
                growth,
                pace,
                folder,
                frames,
                is_paused: false,
                is_stopped: false,
                message: None,
                last_step: Instant::now(),
            };
            grow.show()?;
            Ok(grow)
        })
    }
}

/// The task of a [`GrowWorker`].
pub struct Grow {
    growth: Growth,
    pace: Duration,
    folder: Arc<RunFolder>,
    frames: Arc<Mailbox<Frame>>,
    is_paused: bool,
    is_stopped: bool,
    message: Option<String>,
    last_step: Instant,
}

impl Task for Grow {
    type Command = Command;
    type Frame = Frame;
    type Output = Growth;

    fn next(&mut self) -> Result<Next> {
        Ok(if self.is_stopped {
            Next::End
        } else if self.is_paused {
            Next::Wait
        } else {
            Next::Step(self.pace.saturating_sub(self.last_step.elapsed()))
        })
    }

    fn step(&mut self) -> Result<()> {
        self.last_step = Instant::now();
        self.growth.grow(1)?;
        self.show()
    }

    fn apply(&mut self, commands: Vec<Command>) -> Result<()> {
        for command in commands {
            match command {
                Command::Damage { x, y, radius } => self.growth.damage(x, y, radius)?,
                Command::Pause => self.is_paused = !self.is_paused,
                Command::Restart => self.growth.restart()?,
                Command::Snapshot => {
                    let (steps, image) = (self.growth.steps(), self.growth.image()?);
                    let saved = self.folder.write_snapshot(steps, &image, None);
                    // a full disk is no reason to lose what has grown
                    self.message = Some(match saved {
                        Ok(path) => format!("Saved {}", path.display()),
                        Err(error) => format!("{:#}", anyhow::Error::from(error)),
                    });
                }
                Command::Stop => self.is_stopped = true,
            }
        }
        self.show()
    }

    fn disconnected(&mut self) {
        self.is_stopped = true;
    }

    fn finish(self) -> Result<Growth> {
        Ok(self.growth)
    }
}

impl Grow {
    fn show(&self) -> Result<()> {
        self.frames.put(Frame {
            image: self.growth.image()?,
            steps: self.growth.steps(),
            paused: self.is_paused,
            message: self.message.clone(),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use candle_core::{Device, Tensor};
    use generators::cellular::{Padding, Rule, RuleConfig};

    use super::*;
    use crate::picture;

    fn growth() -> Growth {
        let config = RuleConfig {
            channels: 5,
            hidden: 7,
            fire_rate: 0.5,
            padding: Padding::Circular,
        };
        let numbers = |shape: (usize, usize), scale: f64| {
            let wave = |i| (i as f64 * 0.7).sin() * scale;
            let values: Vec<f32> = (0..shape.0 * shape.1).map(|i| wave(i) as f32).collect();
            Tensor::from_vec(values, shape, &Device::Cpu).expect("numbers")
        };
        let b1 = numbers((1, 7), 0.5).squeeze(0).expect("numbers");
        let rule = Rule::from_parts(config, numbers((7, 20), 0.2), b1, numbers((5, 7), 0.05));
        let rule = rule.expect("a rule");
        Growth::new(rule, [24, 16], 5).expect("room")
    }

    fn until(worker: &GrowWorker, wanted: impl Fn(&Frame) -> bool) -> Frame {
        let begin = Instant::now();
        loop {
            if let Some(frame) = worker.frames().take()
                && wanted(&frame)
            {
                return frame;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "it never came");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn worker(stop: &Arc<AtomicBool>) -> (GrowWorker, tempfile::TempDir) {
        let out = tempfile::tempdir().expect("a folder");
        let folder = Arc::new(RunFolder::create(out.path(), "growth").expect("a run"));
        let worker = GrowWorker::spawn(growth(), Duration::ZERO, Arc::clone(stop), folder);
        (worker.expect("a thread"), out)
    }

    #[test]
    fn it_grows_pauses_heals_and_ends() {
        let (worker, out) = worker(&Arc::default());
        let commands = worker.commands();
        until(&worker, |frame| frame.steps > 3);
        commands.send(Command::Pause).expect("room");
        let paused = until(&worker, |frame| frame.paused);
        commands.send(Command::Snapshot).expect("room");
        let saved = until(&worker, |frame| frame.message.is_some());
        let name = format!("growth-001/snapshots/step-{:05}.png", paused.steps);
        let path = out.path().join(name);
        let message = format!("Saved {}", path.display());
        assert_eq!(saved.message, Some(message));
        let snapshot = picture::load_rgb(&path).expect("a picture");
        assert_eq!(snapshot, paused.image);
        commands
            .send(Command::Damage {
                x: 12.0,
                y: 8.0,
                radius: 100.0,
            })
            .expect("room");
        let grey = growth().image().expect("a picture");
        until(&worker, |frame| {
            frame.image == grey && frame.steps == paused.steps
        });
        commands.send(Command::Restart).expect("room");
        until(&worker, |frame| frame.steps == 0);
        commands.send(Command::Pause).expect("room");
        // what begins anew grows as it did
        until(&worker, |frame| frame.steps >= 4);
        commands.send(Command::Stop).expect("room");
        let grown = worker.join().expect("a pattern");
        let mut again = growth();
        again.grow(grown.steps()).expect("a step");
        assert_eq!(grown.image().expect("one"), again.image().expect("another"));
    }

    #[test]
    fn an_interrupt_ends_it() {
        let stop = Arc::new(AtomicBool::new(false));
        let (worker, _out) = worker(&stop);
        stop.store(true, Ordering::Relaxed);
        worker.join().expect("a pattern");
    }
}
