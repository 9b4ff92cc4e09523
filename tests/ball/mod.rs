//! `ball.yaml`, a recipe in a folder of its own, and what becomes of it.

// no test file uses all of it
#![allow(dead_code)]

use std::process::Output;

use anyhow::Result;
use candle_core::{Device, Tensor};
use phantasia::picture;
use phantasia::recipe::Recipe;
use phantasia::session::Session;
use tempfile::TempDir;

use crate::program::run;

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
