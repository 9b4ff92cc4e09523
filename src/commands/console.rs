//! Standard output and standard error. A closed pipe is no error.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anyhow::Result;
use phantasia::recipe::RecipeError;
use phantasia::run::disk_full;
use phantasia_core::diagnostic::printable;
use serde::Serialize;

/// The exit code for bad usage and bad recipes.
pub const USAGE: u8 = 2;

/// Arguments that cannot be used, or not together. The program ends with [`USAGE`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Prints a line of result to standard output.
pub fn print_line(line: impl Display) -> io::Result<()> {
    print_bytes(format!("{line}\n").as_bytes())
}

/// Prints a result to standard output as it is.
pub fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) if error.kind() == ErrorKind::StorageFull => Err(io::Error::other(
            "no space left on the disk for standard output",
        )),
        result => result,
    }
}

/// Prints a result to standard output as JSON on one line.
pub fn print_json(result: &impl Serialize) -> Result<()> {
    Ok(print_line(serde_json::to_string(result)?)?)
}

/// Prints a line to standard error, without characters that a terminal would obey. A failure to do so could not be reported, and is ignored.
pub fn eprint_line(line: impl Display) {
    let line = line.to_string();
    let _ = writeln!(io::stderr().lock(), "{}", printable(&line));
}

/// A time as people say it: `12.3 s`, `2 min 5 s`, `3 h 4 min`.
pub fn duration(seconds: f64) -> String {
    // what is rounded to a minute is one
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let seconds = seconds.round() as u64;
    match seconds / 60 {
        minutes @ 0..60 => format!("{minutes} min {} s", seconds % 60),
        minutes => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

/// So many of a thing: `1 step`, `2 steps`.
pub fn counted(count: usize, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// Prints a warning to standard error.
pub fn warn(message: impl Display) {
    eprint_line(format_args!("warning: {message}"));
}

/// Prints warnings to standard error.
pub fn warn_all(messages: impl IntoIterator<Item = impl Display>) {
    messages.into_iter().for_each(warn);
}

/// Prints all errors in a recipe to standard error, a line each.
pub fn eprint_diagnostics(error: &RecipeError) {
    for line in error.to_string().lines() {
        eprint_line(format_args!("error: {line}"));
    }
}

/// Prints why a command failed to standard error.
pub fn eprint_error(error: &anyhow::Error) {
    let message = disk_full(error).unwrap_or_else(|| format!("{error:#}"));
    eprint_line(format_args!("error: {message}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_two_units_at_most() {
        for (seconds, said) in [
            (0.04, "0.0 s"),
            (12.34, "12.3 s"),
            (59.97, "1 min 0 s"),
            (125.4, "2 min 5 s"),
            (3600.0, "1 h 0 min"),
            (100_000.0, "27 h 46 min"),
        ] {
            assert_eq!(duration(seconds), said);
        }
    }
}
