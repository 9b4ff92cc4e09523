//! Progress on standard error: a bar on a terminal, else a line now and then.

use std::fmt::Display;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle, WeakProgressBar};

use super::console::eprint_line;

/// Without a terminal, the time between two lines.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// The bar that was begun last.
static BAR: Mutex<Option<WeakProgressBar>> = Mutex::new(None);

/// Prints a line to standard error, above the bar if there is one.
pub fn eprint_above(line: impl Display) {
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner);
    match bar.as_ref().and_then(WeakProgressBar::upgrade) {
        Some(bar) => bar.suspend(|| eprint_line(line)),
        None => eprint_line(line),
    }
}

/// Progress of one piece of work.
pub struct Progress {
    /// Hidden without a terminal; it estimates the time that is left in any case.
    bar: ProgressBar,
    /// When the last line was printed, where lines are printed.
    last_line: Option<Instant>,
}

impl Progress {
    /// Of work that is counted in `unit`, such as `step`, of which `done` are done already.
    pub fn new(unit: &'static str, done: usize, quiet: bool) -> Self {
        let template = "{bar:30} {prefix} {pos}/{len}  {wide_msg}  {eta} left";
        let mut progress = Self::with_template(template, quiet);
        progress.bar.set_prefix(unit);
        progress.bar.set_position(done as u64);
        progress.bar.reset_eta();
        if !quiet && !std::io::stderr().is_terminal() {
            progress.last_line = Some(Instant::now());
        }
        progress
    }

    /// Of work that is counted in `unit`, as a callback that is given the numbers of what is done, and of all.
    pub fn callback(unit: &'static str, quiet: bool) -> impl FnMut(usize, usize) {
        let mut progress = Self::new(unit, 0, quiet);
        move |done, total| progress.update(done, total, "")
    }

    /// Of a download. Without a terminal, nothing is printed.
    pub fn of_download(quiet: bool) -> Self {
        let template = "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {msg}";
        let progress = Self::with_template(template, quiet);
        // a connection may stall
        progress.bar.enable_steady_tick(Duration::from_millis(200));
        progress
    }

    fn with_template(template: &str, quiet: bool) -> Self {
        // it is hidden where standard error is no terminal
        let bar = if quiet {
            ProgressBar::hidden()
        } else {
            ProgressBar::no_length()
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.downgrade());
        Self {
            bar,
            last_line: None,
        }
    }

    /// Shows that `done` of `total` are done, and a few words on the state of the work, which may be empty.
    pub fn update(&mut self, done: usize, total: usize, state: &str) {
        if self.bar.length() == Some(self.bar.position()) {
            // work that was complete goes on
            self.bar.reset_eta();
        }
        self.bar.set_length(total as u64);
        self.bar.set_message(state.to_owned());
        self.bar.set_position(done as u64);
        let Some(last_line) = &mut self.last_line else {
            return;
        };
        // the last line has the final state
        let is_last = done >= total && !state.is_empty();
        if is_last || last_line.elapsed() >= LINE_EVERY {
            *last_line = Instant::now();
            let (unit, left) = (self.bar.prefix(), self.bar.eta().as_secs());
            let separator = if state.is_empty() { "" } else { "  " };
            eprint_line(format_args!(
                "{unit} {done} of {total}{separator}{state}  {left} s left"
            ));
        }
    }
}

impl Drop for Progress {
    /// Removes the bar.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
