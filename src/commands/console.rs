//! Words to the person or the script at the other end. A closed end is no error.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use phantasia::recipe::RecipeError;
use phantasia::run::disk_full;

/// Arguments that cannot be meant: the program ends with the exit code of bad usage.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(pub String);

/// Prints a line of result to standard output.
pub fn say(line: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) if error.kind() == ErrorKind::StorageFull => Err(io::Error::other(
            "no space left on the disk for standard output",
        )),
        result => result,
    }
}

/// Prints a line to standard error. Nothing could be done about a failure to do so.
pub fn note(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Prints a warning to standard error.
pub fn warn(message: impl Display) {
    note(format_args!("warning: {message}"));
}

/// Prints all that is wrong with a recipe to standard error, a line each.
pub fn problems(error: &RecipeError) {
    for line in error.to_string().lines() {
        note(format_args!("error: {line}"));
    }
}

/// Prints why a command failed to standard error.
pub fn failure(error: &anyhow::Error) {
    match disk_full(error) {
        Some(words) => note(format_args!("error: {words}")),
        None => note(format_args!("error: {error:#}")),
    }
}
