//! The progress of a sweep on the terminal.

use std::collections::HashMap;

use phantasia::sweep::PlannedRun;

use crate::commands::progress::Progress;

/// Where the work of this process stands. What was finished before does not count, or the time that is left would be wrong.
pub struct SweepProgress {
    bar: Progress,
    /// The steps of runs that are done, of those that were begun.
    done: usize,
    /// How many runs that is.
    ended: usize,
    /// The steps of runs that are being painted, by their numbers.
    current: HashMap<usize, usize>,
    /// The steps to do.
    total: usize,
    /// The runs to paint.
    runs: usize,
}

impl SweepProgress {
    /// Of a process that paints these runs.
    pub fn new<'r>(runs: impl Iterator<Item = &'r PlannedRun> + Clone, quiet: bool) -> Self {
        Self {
            bar: Progress::new("step", 0, quiet),
            done: 0,
            ended: 0,
            current: HashMap::new(),
            total: runs.clone().map(|run| run.steps).sum(),
            runs: runs.count(),
        }
    }

    /// A run has made so many steps.
    pub fn step(&mut self, run: &PlannedRun, step: usize) {
        self.current.insert(run.number, step);
        self.update();
    }

    /// A run is whole.
    pub fn done(&mut self, run: &PlannedRun) {
        if self.current.remove(&run.number).is_some() {
            self.done += run.steps;
            self.ended += 1;
        } else {
            // another process painted it
            self.total -= run.steps;
            self.runs -= 1;
        }
    }

    /// A run failed.
    pub fn failed(&mut self, run: &PlannedRun) {
        let steps = self.current.remove(&run.number).unwrap_or(0);
        self.done += steps;
        self.ended += 1;
        self.total -= run.steps.saturating_sub(steps);
    }

    fn update(&mut self) {
        let done = self.done + self.current.values().sum::<usize>();
        let run = self.ended + self.current.len();
        let state = format!("run {run} of {}", self.runs);
        self.bar.update(done, self.total, &state);
    }
}
