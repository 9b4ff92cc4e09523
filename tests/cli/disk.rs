//! A full disk gives one clear error and leaves whole files. Each render has a small file system of its own, mounted in a user namespace
//! of Linux; where that is not allowed, the test is skipped.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::program;
use crate::common::program::text;

const RECIPE: &str = "prompts: a red ball\nsize: [32, 32]\nsteps: 4\ncutouts: { count: 1 }\n\
                      output: { every: 1, checkpoint: 1, video: webp }\n";

/// Renders to `out/` on a disk of so many KiB; what is left there goes to `left/`. `None` where no disk can be mounted.
fn render(folder: &Path, kib: usize) -> Option<Output> {
    fs::create_dir_all(folder.join("out")).expect("a folder");
    let script = "mount -t tmpfs -o size=$1k tmpfs out || exit 99; \
                  \"$2\" render ball.yaml --quiet --out out; code=$?; cp -r out left; exit $code";
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script, "sh"])
        .args([&kib.to_string(), env!("CARGO_BIN_EXE_phantasia")])
        .current_dir(folder)
        .output()
        .ok()?;
    let mounted = output.status.code() != Some(99) && !text(&output.stderr).contains("unshare:");
    mounted.then_some(output)
}

#[test]
fn a_full_disk_is_reported_first_and_once_and_leaves_whole_files() {
    let mut named = vec![];
    for kib in [4, 8, 12, 16, 24, 56] {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("ball.yaml"), RECIPE).expect("a file");
        let Some(output) = render(folder.path(), kib) else {
            return;
        };
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{kib} KiB: {stderr}");
        let told = stderr.to_lowercase().matches("no space left").count();
        assert_eq!(told, 1, "{kib} KiB: {stderr}");
        let rest = stderr
            .trim()
            .strip_prefix("error: no space left on the disk for `out/ball-001/")
            .unwrap_or_else(|| panic!("{kib} KiB: {stderr}"));
        let (file, _) = rest.split_once('`').expect("a file's name");
        named.push(file.to_owned());
        let run = folder.path().join("left/ball-001");
        let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
        assert!(metrics.is_empty() || metrics.ends_with('\n'), "{metrics}");
        if run.join("image.png").exists() {
            image::open(run.join("image.png")).expect("a whole picture");
            assert!(stderr.contains("image.png"), "{stderr}");
        }
        let partial = (fs::read_dir(&run).expect("a run").flatten())
            .any(|entry| entry.file_name().to_string_lossy().ends_with(".partial"));
        assert!(!partial, "half a file is left");
    }
    for file in ["metrics.jsonl", "image.png", "checkpoint.safetensors"] {
        assert!(named.iter().any(|name| name == file), "{file}: {named:?}");
    }
    assert!(
        named.iter().any(|name| name.starts_with("frames/")),
        "{named:?}"
    );
}

#[test]
fn a_list_that_cannot_be_printed_is_an_error() {
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("a device");
    let output = program::program(Path::new("."), &["models", "list"])
        .stdout(full)
        .output()
        .expect("the program");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "error: no space left on the disk for standard output\n"
    );
}
