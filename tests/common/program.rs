//! The program as tests run it.

use std::path::Path;
use std::process::{Child, Command, Output};

use serde_json::Value;

/// The program in a folder, with a cache of its own there.
pub fn program(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phantasia"));
    command
        .current_dir(folder)
        .args(args)
        .env("XDG_CACHE_HOME", folder.join("cache"));
    command
}

pub fn run(folder: &Path, args: &[&str]) -> Output {
    program(folder, args).output().expect("the program")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What `--json` printed.
#[track_caller]
pub fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    serde_json::from_str(stdout.lines().last().expect("a line")).expect("JSON in the last line")
}

#[track_caller]
pub fn assert_refused(output: &Output, code: i32, message: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(message), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[track_caller]
pub fn assert_done(output: &Output) {
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// Sends what Ctrl-C sends.
#[cfg(unix)]
pub fn interrupt(child: &Child) {
    let status = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(status.expect("kill").success());
}
