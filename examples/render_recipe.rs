//! Paints a recipe and saves the picture, with its recipe in it.
//!
//!     cargo run --release --example render_recipe -- recipes/first-light.yaml sunset.png [STEPS]

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::Device;
use phantasia::picture;
use phantasia::recipe::Recipe;
use phantasia::session::Session;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().context("which recipe?")?;
    let out = args.next().context("where to?")?;
    let mut recipe = Recipe::load(Path::new(&path))?;
    if let Some(steps) = args.next() {
        recipe.set(&format!("steps={steps}"))?;
    }
    let mut session = Session::new(&recipe, &Device::Cpu)?;
    for warning in session.take_warnings() {
        eprintln!("warning: {warning}");
    }
    loop {
        let tick = session.tick()?;
        println!("step {} of {}: {:.4}", tick.step, tick.steps, tick.loss);
        if tick.finished {
            break;
        }
    }
    picture::from_tensor(&session.image()?)?.save(out)?;
    Ok(())
}
