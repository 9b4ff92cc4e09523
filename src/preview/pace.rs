//! How often pictures are drawn: the machine's time is wanted for painting.

use std::time::Duration;

/// A picture is drawn so often at least, however long that takes.
const SLOWEST: Duration = Duration::from_secs(1);

/// How soon after the beginning of one drawing the next may begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    fastest: Duration,
    /// A drawing takes at most this share of one core's time.
    share: f64,
}

impl Pace {
    /// Drawing takes at most this share of the time of all cores, and comes around no sooner than `fastest`.
    pub(super) fn new(fastest: Duration, share: f64) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            fastest,
            share: share * cores as f64,
        }
    }

    /// From the beginning of a drawing that took so long to the beginning of the next.
    pub(super) fn interval(&self, took: Duration) -> Duration {
        took.mul_f64(1.0 / self.share)
            .clamp(self.fastest, SLOWEST.max(2 * took))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
