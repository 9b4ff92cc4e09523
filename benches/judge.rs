//! Judging pictures: how many a second an index takes in, and how long a search among ten thousand takes.
//! `benches/peers/judge.py` makes a model and pictures, and does the same work with open_clip in PyTorch beside it.
//!
//! `cargo bench --bench judge [-- MODEL PICTURES [REPEATS]]` prints a line of JSON for each. Without a model, the search alone.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;
use phantasia::clip::{Clip, unit};
use phantasia::judge::{EncodedQueries, Ensemble, best_first, find_pictures, search_scores};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PICTURES: usize = 10_000;
const WIDTH: usize = 512;

fn index(model: &Path, pictures: &Path, repeats: usize) -> anyhow::Result<()> {
    let clip = Clip::from_folder("model", model, &Device::Cpu)?;
    let ensemble = Ensemble::new(vec![Arc::new(clip)], &Device::Cpu)?;
    let (files, _) = find_pictures(&[pictures.to_owned()]);
    let mut best = f64::INFINITY;
    for _ in 0..repeats {
        let start = Instant::now();
        let embedded = ensemble.embed_files(&files, |_| false, |_| ControlFlow::Continue(()))?;
        anyhow::ensure!(
            embedded.vectors.len() == files.len(),
            "pictures are missing"
        );
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!(
        "{}",
        serde_json::json!({
            "name": "index",
            "pictures": files.len(),
            "seconds_min": best,
            "pictures_per_second": files.len() as f64 / best,
        })
    );
    Ok(())
}

fn search() {
    let vector = |seed: usize| {
        let value = |i: usize| ((seed * WIDTH + i) as f32 * 0.618).sin();
        unit((0..WIDTH).map(value).collect())
    };
    let rows: Vec<Vec<f32>> = (0..PICTURES).map(vector).collect();
    let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    let queries = EncodedQueries {
        labels: vec!["a query".to_owned()],
        weights: vec![1.0],
        vectors: vec![vec![vector(PICTURES)]],
        warnings: vec![],
    };
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let start = Instant::now();
        let order = best_first(search_scores(&rows, &queries));
        best = best.min(start.elapsed().as_secs_f64());
        assert_eq!(order.len(), PICTURES);
    }
    println!(
        "{}",
        serde_json::json!({ "name": "search", "pictures": PICTURES, "seconds_min": best })
    );
}

fn main() -> anyhow::Result<()> {
    // cargo adds flags of its own
    let given: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    search();
    if let [model, pictures, rest @ ..] = given.as_slice() {
        let repeats = rest.first().and_then(|text| text.parse().ok()).unwrap_or(3);
        index(&PathBuf::from(model), &PathBuf::from(pictures), repeats)?;
    }
    Ok(())
}
