//! `ball.yaml`, a recipe in a folder of its own, and what becomes of it.

use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::Result;
use candle_core::{Device, Tensor};
use phantasia::picture;
use phantasia::recipe::Recipe;
use phantasia::run::METRICS;
use phantasia::session::Session;
use tempfile::TempDir;

use super::program::run;

/// A folder with this recipe as `ball.yaml`.
pub fn folder(recipe: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("ball.yaml"), recipe).expect("a file");
    folder
}

/// How many steps a run has written down.
pub fn lines(run: &Path) -> usize {
    fs::read_to_string(run.join(METRICS)).map_or(0, |text| text.lines().count())
}

pub fn render(folder: &TempDir) -> Output {
    run(folder.path(), &["render", "ball.yaml", "--json"])
}

/// The pixels of the picture of that run.
pub fn pixels(folder: &TempDir, run: &str) -> Vec<u8> {
    let path = folder.path().join("outputs").join(run).join("image.png");
    picture::load_rgb(&path).expect("a picture").into_raw()
}

pub fn session(folder: &TempDir) -> Result<Session> {
    let recipe = Recipe::load(&folder.path().join("ball.yaml"))?;
    Session::new(&recipe, &Device::Cpu)
}

pub fn values(image: &Tensor) -> Vec<f32> {
    let values = image.flatten_all().and_then(|image| image.to_vec1());
    values.expect("values")
}
