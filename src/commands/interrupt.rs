//! Ctrl-C.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use phantasia::ui::terminal;

use super::progress::eprint_above;

/// The exit code after an interrupt: 128 + SIGINT.
pub const INTERRUPTED: u8 = 130;
/// The exit code of a command that did its work, or was interrupted and saved it.
pub fn exit_code(interrupted: bool) -> ExitCode {
    ExitCode::from(if interrupted { INTERRUPTED } else { 0 })
}

/// Signals within this time of the first one are the same Ctrl-C: some programs send it to a process and to its group. Work that goes on for
/// longer says so.
const SAME_INTERRUPT: Duration = Duration::from_secs(1);

/// A flag that the first Ctrl-C sets, so that the work stops after the present `unit` of it, such as a step, and is saved. The second, a second
/// later or more, ends the program at once.
pub fn interrupt(unit: &'static str) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let mut first: Option<Instant> = None;
    ctrlc::set_handler(move || {
        flag.store(true, Ordering::Relaxed);
        match first {
            None => {
                first = Some(Instant::now());
                announce(unit);
            }
            Some(first) if first.elapsed() > SAME_INTERRUPT => {
                terminal::restore();
                std::process::exit(INTERRUPTED.into());
            }
            Some(_) => {}
        }
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}

/// Says what happens, unless the program ends first.
fn announce(unit: &'static str) {
    let thread = std::thread::Builder::new().name("interrupt".to_owned());
    // without the thread, nothing is said
    let _ = thread.spawn(move || {
        std::thread::sleep(SAME_INTERRUPT);
        eprint_above(format_args!(
            "stopping after this {unit}; Ctrl-C again ends at once"
        ));
    });
}
