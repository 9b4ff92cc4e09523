//! What tests share. Each binary uses a part of it.
#![allow(dead_code)]

pub mod ball;
pub mod clips;
pub mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use phantasia::recipe::{Recipe, RecipeError};
use tempfile::TempDir;

/// A file or folder of `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// A file or folder of the fixtures of the generators' crate.
pub fn generator_fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("generators/tests/fixtures")
        .join(name)
}

/// A folder with copies of files, each under another name.
pub fn copies(files: &[(PathBuf, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (from, name) in files {
        fs::copy(from, folder.path().join(name)).expect("a copy");
    }
    folder
}

/// A recipe without a file.
pub fn parse(text: &str) -> Recipe {
    Recipe::parse(text, "r.yaml", Path::new("")).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// Why a recipe is refused.
#[track_caller]
pub fn refusal(text: &str) -> RecipeError {
    match Recipe::parse(text, "r.yaml", Path::new("")) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(error) => error,
    }
}

pub fn bytes(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Waits for something that another thread or process does.
#[track_caller]
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(300), "no {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
