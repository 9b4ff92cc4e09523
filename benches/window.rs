//! What the preview window costs: the steps of one recipe with the window open and without, in turn, in one run.
//!
//! `cargo bench --bench window [-- RECIPE [STEPS [ROUNDS]]]` wants a display and prints one line of JSON. With a display server that
//! draws on the processor, such as Xvfb, the server's work is part of the window's cost.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::Result;
use candle_core::Device;
use phantasia::live::{Event, RenderOptions, RenderWorker};
use phantasia::recipe::Recipe;
use phantasia::run::{Run, RunFolder};
use phantasia::session::Session;
use phantasia::ui::RenderWindow;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The first steps of a run warm caches up, and the window's letters are drawn for the first time.
const WARM_UP: usize = 30;

/// The seconds of each step.
fn paint(recipe: &Recipe, shown: bool) -> Result<Vec<f64>> {
    let out = tempfile::tempdir()?;
    let session = Session::new(recipe, &Device::Cpu)?;
    let run = Run::new(session, RunFolder::create(out.path(), "window")?, recipe)?;
    let options = RenderOptions {
        device: "cpu".to_owned(),
        fade: 20,
        extend: 1,
        hold: false,
        frames: shown,
    };
    let window = shown.then(|| RenderWindow::open("Phantasia")).transpose()?;
    let ends = Arc::new(Mutex::new(vec![]));
    let times = Arc::clone(&ends);
    let stop = Arc::new(AtomicBool::new(false));
    let worker = RenderWorker::spawn(run, options, stop, move |event| {
        if matches!(event, Event::Message(_)) {
            return;
        }
        times.lock().expect("the times").push(Instant::now());
    })?;
    if let Some(window) = window {
        window.run(&worker)?;
    }
    worker.join()?;
    let ends = ends.lock().expect("the times");
    Ok(ends[WARM_UP..]
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs_f64())
        .collect())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let recipe = args.first().map_or("recipes/first-light.yaml", |path| path);
    let number = |i: usize, default: usize| match args.get(i) {
        Some(number) => number.parse(),
        None => Ok(default),
    };
    let (steps, rounds) = (number(1, 330)?, number(2, 8)?);
    let mut recipe = Recipe::load(Path::new(recipe))?;
    recipe.steps = steps.max(WARM_UP + 2);
    let (mut with, mut without) = (vec![], vec![]);
    let mut ratios = vec![];
    for round in 0..rounds {
        // which comes first takes turns too
        let mut means = [0.0; 2];
        for shown in [round % 2 == 0, round % 2 != 0] {
            let times = paint(&recipe, shown)?;
            means[usize::from(shown)] = mean(&times);
            match shown {
                true => with.extend(times),
                false => without.extend(times),
            }
        }
        ratios.push(means[1] / means[0]);
    }
    println!(
        "{}",
        serde_json::json!({
            "name": "window",
            "steps": with.len(),
            "mean_without": mean(&without),
            "mean_with": mean(&with),
            "median_without": middle(&mut without),
            "median_with": middle(&mut with),
            "fastest_without": without[0],
            "fastest_with": with[0],
            "ratio_of_means_median_over_rounds": middle(&mut ratios),
        })
    );
    Ok(())
}
