//! Orders pictures by how well they fit a text, best first.
//!
//!     cargo run --release --example score_pictures -- "a red apple" docs tests/fixtures/rank

use std::path::PathBuf;

use anyhow::{Context, Result};
use candle_core::Device;
use phantasia::judge::{Query, Scorer, ScorerOptions};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let text = args.next().context("which text?")?;
    let paths: Vec<PathBuf> = args.map(PathBuf::from).collect();
    // on the embedded CLIP, if no other is named
    let options = ScorerOptions {
        queries: vec![Query::text(&text)],
        ..ScorerOptions::default()
    };
    let scorer = Scorer::load(&options, &Device::Cpu)?;
    let ranking = scorer.rank_files(&paths, |_, _| {})?;
    for picture in &ranking.pictures {
        println!(
            "{:.4}  {}",
            picture.result.score,
            picture.paths[0].display()
        );
    }
    for skipped in &ranking.skipped {
        eprintln!("{}: {}", skipped.path.display(), skipped.error);
    }
    Ok(())
}
