//! Checkpoints: what PyTorch saved is read as it was, and what is hostile or broken is refused in words, in bounded memory.

mod float8;
mod hostile;
mod made;
mod model;
mod modules;
mod saved;

use std::path::{Path, PathBuf};

use phantasia_weights::checkpoint::Checkpoint;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/pickles")
        .join(name)
}

fn open(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hostile.pt");
    std::fs::write(&path, bytes).expect("written");
    match Checkpoint::open(&path) {
        Ok(_) => panic!("it was accepted"),
        Err(error) => {
            let message = error.to_string();
            assert!(message.contains("hostile.pt"), "names no file: {message}");
            assert!(message.len() < 1000, "too long: {message}");
            message
        }
    }
}

#[track_caller]
fn refused(bytes: &[u8], because: &str) {
    let message = open(bytes);
    assert!(message.contains(because), "no {because:?} in: {message}");
}

fn opened(bytes: &[u8]) -> Checkpoint {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("good.pt");
    std::fs::write(&path, bytes).expect("written");
    Checkpoint::open(&path).expect("a checkpoint")
}
