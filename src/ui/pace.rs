//! When pictures are drawn: the worker needs the machine's time.

use std::time::{Duration, Instant};

/// A picture is drawn at least this often, however long that takes.
const SLOWEST: Duration = Duration::from_secs(1);

/// How soon after the beginning of one drawing the next may begin.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    fastest: Duration,
    /// A drawing takes at most this share of one core's time.
    share: f64,
}

impl Pace {
    /// Drawing takes at most this share of the time of all cores, and comes around no sooner than `fastest`.
    pub(super) fn new(fastest: Duration, share: f64) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let share = share * cores as f64;
        Self { fastest, share }
    }

    /// From the beginning of a drawing that took so long to the beginning of the next.
    pub(super) fn interval(&self, took: Duration) -> Duration {
        took.mul_f64(1.0 / self.share)
            .clamp(self.fastest, SLOWEST.max(2 * took))
    }
}

/// What to do for a window at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Redraw {
    /// Paint it.
    Paint {
        /// With the newest picture; else with the one that is already there.
        picture: bool,
    },
    /// Put the last pixels on the screen again.
    Show,
    /// Nothing.
    Nothing,
}

/// Decides when a window is painted. It has no clock, so that it can be tested without waiting.
///
/// New pictures keep to a [`Pace`]. Everything else (keys, clicks, messages, a new size) is painted at once, and never delays the next
/// picture.
#[derive(Clone, Debug)]
pub(super) struct Redraws {
    pace: Pace,
    /// The pixels are shown again this often, because the screen loses them where another window covered this one.
    refresh: Duration,
    size: (usize, usize),
    touched: bool,
    newer: bool,
    next_picture: Instant,
    shown: Option<Instant>,
}

impl Redraws {
    /// A window that has not been painted yet.
    pub(super) fn new(pace: Pace, refresh: Duration, now: Instant) -> Self {
        Self {
            pace,
            refresh,
            size: (0, 0),
            touched: true,
            newer: false,
            next_picture: now,
            shown: None,
        }
    }

    /// Whether a newer picture may be drawn now. Frames cost the painting thread time, so none is requested earlier.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        now >= self.next_picture
    }

    /// A newer picture has come.
    pub(super) fn newer(&mut self) {
        self.newer = true;
    }

    /// Something other than the picture has changed.
    pub(super) fn touch(&mut self) {
        self.touched = true;
    }

    /// What to do now, in a window of this size. [`Redraws::done`] must be called afterwards.
    pub(super) fn decide(&mut self, size: (usize, usize), now: Instant) -> Redraw {
        self.touched |= size != self.size;
        self.size = size;
        let picture = self.newer && self.is_ready(now);
        if self.touched || picture {
            Redraw::Paint { picture }
        } else if (self.shown).is_none_or(|shown| now.duration_since(shown) > self.refresh) {
            Redraw::Show
        } else {
            Redraw::Nothing
        }
    }

    /// Records that what [`Redraws::decide`] returned was done: it began at `begin` and took `took`.
    pub(super) fn done(&mut self, redraw: Redraw, begin: Instant, took: Duration) {
        match redraw {
            Redraw::Paint { picture } => {
                self.touched = false;
                if picture {
                    self.newer = false;
                    self.next_picture = begin + self.pace.interval(took);
                }
            }
            Redraw::Show => {}
            Redraw::Nothing => return,
        }
        self.shown = Some(begin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Severity;
    use crate::ui::panel::Panel;
    use crate::ui::tests as sample;

    const POLL: Duration = Duration::from_millis(33);

    /// A window without input, with counts of what it did.
    struct Harness {
        panel: Panel,
        redraws: Redraws,
        now: Instant,
        size: (usize, usize),
        step: usize,
        pictures: usize,
        others: usize,
    }

    impl Harness {
        fn new() -> Self {
            let (pace, now) = (
                Pace {
                    fastest: POLL,
                    share: 0.1,
                },
                Instant::now(),
            );
            Self {
                panel: sample::panel(),
                redraws: Redraws::new(pace, Duration::from_millis(700), now),
                now,
                size: (800, 600),
                step: 57,
                pictures: 0,
                others: 0,
            }
        }

        /// Runs the window's loop for `time`, with a new step at every pass. Painting takes 10 ms.
        fn run(&mut self, time: Duration) {
            (self.pictures, self.others) = (0, 0);
            let end = self.now + time;
            while self.now < end {
                let begin = self.now;
                self.step += 1;
                if self.redraws.is_ready(begin) {
                    self.panel.show(sample::frame(self.step), begin);
                    self.redraws.newer();
                }
                if self
                    .panel
                    .next_change()
                    .is_some_and(|change| change <= begin)
                {
                    self.redraws.touch();
                }
                self.panel.tick(begin);
                let redraw = self.redraws.decide(self.size, begin);
                match redraw {
                    Redraw::Paint { picture: true } => self.pictures += 1,
                    Redraw::Paint { picture: false } => self.others += 1,
                    Redraw::Show | Redraw::Nothing => {}
                }
                self.redraws.done(redraw, begin, Duration::from_millis(10));
                self.now += POLL;
            }
        }
    }

    #[test]
    fn pictures_continue_after_a_message_has_gone() {
        let mut harness = Harness::new();
        harness.run(Duration::from_secs(20));
        let usual = harness.pictures;
        assert!(usual > 100, "{usual}");
        harness
            .panel
            .notify("saved it", Severity::Info, harness.now);
        harness.run(Duration::from_secs(20));
        assert!(
            harness.pictures.abs_diff(usual) <= 1,
            "{} and {usual}",
            harness.pictures
        );
        // the message goes away once, and nothing is painted again and again for it
        assert!(harness.others <= 1, "{}", harness.others);
        harness.run(Duration::from_secs(20));
        assert_eq!(
            (harness.pictures.abs_diff(usual) <= 1, harness.others),
            (true, 0)
        );
    }

    #[test]
    fn constant_changes_do_not_delay_pictures() {
        let mut harness = Harness::new();
        harness.run(Duration::from_secs(5));
        let usual = harness.pictures;
        let mut pictures = 0;
        for _ in 0..150 {
            // a window that is dragged larger
            harness.size.0 += 1;
            harness.run(POLL);
            pictures += harness.pictures;
        }
        assert!(pictures.abs_diff(usual) <= 2, "{pictures} and {usual}");
    }

    #[test]
    fn without_new_pictures_the_pixels_are_only_shown_again() {
        let mut harness = Harness::new();
        harness.run(POLL);
        let mut shown = 0;
        for _ in 0..300 {
            let redraw = harness.redraws.decide(harness.size, harness.now);
            assert!(!matches!(redraw, Redraw::Paint { .. }));
            shown += usize::from(redraw == Redraw::Show);
            harness
                .redraws
                .done(redraw, harness.now, Duration::from_millis(1));
            harness.now += POLL;
        }
        assert!((10..=15).contains(&shown), "{shown}");
    }

    #[test]
    fn drawings_are_rarer_the_longer_they_take_within_bounds() {
        let pace = Pace {
            fastest: Duration::from_millis(30),
            share: 0.02,
        };
        for (took, interval) in [(0, 30), (4, 200), (300, 1000), (900, 1800)] {
            let found = pace.interval(Duration::from_millis(took));
            assert_eq!(found.as_millis(), interval, "{took}");
        }
    }
}
