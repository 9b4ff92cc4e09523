//! A pattern that grows while somebody tends it: the thread that grows it, wishes to that thread, pictures from it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use image::RgbImage;

use super::Growth;
use crate::live::Mailbox;

/// So many wishes wait at most.
const WISHES: usize = 64;
/// A pattern that rests looks this often whether it is to stop.
const REST: Duration = Duration::from_millis(50);

/// What can be done to a growing pattern.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Care {
    /// Wipe out a disc, in pixels of the pattern.
    Damage {
        /// Its middle, from the left.
        x: f64,
        /// Its middle, from the top.
        y: f64,
        /// Its radius.
        radius: f64,
    },
    /// Rest, or go on.
    Pause,
    /// Begin anew.
    Restart,
    /// Save the picture.
    Snapshot,
    /// End.
    Stop,
}

/// How the pattern stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Grown {
    /// The picture.
    pub image: RgbImage,
    /// Iterations since it began.
    pub steps: usize,
    /// Whether it rests.
    pub paused: bool,
    /// What there is to say.
    pub said: Option<String>,
}

/// The thread that grows a pattern.
#[derive(Debug)]
pub struct Garden {
    wishes: SyncSender<Care>,
    views: Arc<Mailbox<Grown>>,
    thread: JoinHandle<Result<Growth>>,
}

impl Garden {
    /// Lets a pattern grow, an iteration each `pace` at most, until it is told to stop or `stop` is set. `save` writes a snapshot, and
    /// gets the iterations done.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn plant(
        growth: Growth,
        pace: Duration,
        stop: Arc<AtomicBool>,
        save: impl FnMut(usize, &RgbImage) -> Result<PathBuf> + Send + 'static,
    ) -> Result<Self> {
        let (wishes, waiting) = mpsc::sync_channel(WISHES);
        let views = Arc::new(Mailbox::default());
        let mut gardener = Gardener {
            growth,
            views: Arc::clone(&views),
            paused: false,
            said: None,
            save: Box::new(save),
        };
        let thread = std::thread::Builder::new()
            .name("growth".to_owned())
            .spawn(move || {
                gardener.work(&waiting, pace, &stop)?;
                Ok(gardener.growth)
            })
            .context("cannot start the thread that grows")?;
        Ok(Self {
            wishes,
            views,
            thread,
        })
    }

    /// Where wishes go.
    pub fn wishes(&self) -> SyncSender<Care> {
        self.wishes.clone()
    }

    /// Where the newest picture is.
    pub fn views(&self) -> Arc<Mailbox<Grown>> {
        Arc::clone(&self.views)
    }

    /// Whether nothing grows any more.
    pub fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end; the pattern as it is then.
    ///
    /// # Errors
    /// What ended it, if it was a fault.
    pub fn join(self) -> Result<Growth> {
        self.thread
            .join()
            .map_err(|_| anyhow!("the thread that grows broke down"))?
    }
}

type Save = Box<dyn FnMut(usize, &RgbImage) -> Result<PathBuf> + Send>;

struct Gardener {
    growth: Growth,
    views: Arc<Mailbox<Grown>>,
    paused: bool,
    said: Option<String>,
    save: Save,
}

impl Gardener {
    fn work(&mut self, waiting: &Receiver<Care>, pace: Duration, stop: &AtomicBool) -> Result<()> {
        self.show()?;
        loop {
            let begin = Instant::now();
            let mut changed = false;
            loop {
                match waiting.try_recv() {
                    Ok(Care::Stop) | Err(TryRecvError::Disconnected) => return Ok(()),
                    Ok(care) => self.tend(care)?,
                    Err(TryRecvError::Empty) => break,
                }
                changed = true;
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            if !self.paused {
                self.growth.grow(1)?;
                changed = true;
            }
            if changed {
                self.show()?;
            }
            let rest = if self.paused { REST } else { pace };
            let rest = rest.saturating_sub(begin.elapsed());
            // a wish ends the rest
            match waiting.recv_timeout(rest) {
                Ok(Care::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(care) => {
                    self.tend(care)?;
                    self.show()?;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn tend(&mut self, care: Care) -> Result<()> {
        match care {
            Care::Damage { x, y, radius } => self.growth.damage(x, y, radius)?,
            Care::Pause => self.paused = !self.paused,
            Care::Restart => self.growth.restart()?,
            Care::Snapshot => {
                let saved = (self.save)(self.growth.steps(), &self.growth.image()?);
                // a full disk is no reason to lose what has grown
                self.said = Some(match saved {
                    Ok(path) => format!("Saved {}", path.display()),
                    Err(error) => format!("{error:#}"),
                });
            }
            Care::Stop => {}
        }
        Ok(())
    }

    fn show(&mut self) -> Result<()> {
        let view = Grown {
            image: self.growth.image()?,
            steps: self.growth.steps(),
            paused: self.paused,
            said: self.said.clone(),
        };
        self.views.put(view);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use candle_core::{Device, Tensor};
    use generators::cellular::{Padding, Rule, RuleConfig};

    use super::*;

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

    fn until(garden: &Garden, wanted: impl Fn(&Grown) -> bool) -> Grown {
        let begin = Instant::now();
        loop {
            if let Some(view) = garden.views().take()
                && wanted(&view)
            {
                return view;
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "it never came");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn it_grows_rests_heals_and_ends() {
        let saved = Arc::new(Mutex::new(vec![]));
        let keep = Arc::clone(&saved);
        let garden = Garden::plant(
            growth(),
            Duration::ZERO,
            Arc::new(AtomicBool::new(false)),
            move |steps, image| {
                keep.lock().expect("the lock").push((steps, image.clone()));
                Ok("there.png".into())
            },
        )
        .expect("a thread");
        let wish = garden.wishes();
        until(&garden, |view| view.steps > 3);
        wish.send(Care::Pause).expect("room");
        let rests = until(&garden, |view| view.paused);
        wish.send(Care::Snapshot).expect("room");
        let told = until(&garden, |view| view.said.is_some());
        assert_eq!(told.said.as_deref(), Some("Saved there.png"));
        assert_eq!(
            *saved.lock().expect("the lock"),
            [(rests.steps, rests.image)]
        );
        wish.send(Care::Damage {
            x: 12.0,
            y: 8.0,
            radius: 100.0,
        })
        .expect("room");
        let grey = growth().image().expect("a picture");
        until(&garden, |view| {
            view.image == grey && view.steps == rests.steps
        });
        wish.send(Care::Restart).expect("room");
        until(&garden, |view| view.steps == 0);
        wish.send(Care::Pause).expect("room");
        // what begins anew grows as it did
        until(&garden, |view| view.steps >= 4);
        wish.send(Care::Stop).expect("room");
        let grown = garden.join().expect("a pattern");
        let mut again = growth();
        again.grow(grown.steps()).expect("a step");
        assert_eq!(grown.image().expect("one"), again.image().expect("another"));
    }

    #[test]
    fn an_interrupt_ends_it() {
        let stop = Arc::new(AtomicBool::new(false));
        let garden = Garden::plant(growth(), Duration::ZERO, Arc::clone(&stop), |_, _| {
            Ok(PathBuf::new())
        })
        .expect("a thread");
        stop.store(true, Ordering::Relaxed);
        garden.join().expect("a pattern");
    }
}
