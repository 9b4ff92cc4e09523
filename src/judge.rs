//! CLIP as a judge of pictures: scores, rankings, zero-shot labels, search in a folder, contact sheets, tournaments of seeds, comparisons of
//! recipes.
//!
//! An [`Ensemble`] of one or several CLIPs embeds picture files. A [`Scorer`] compares the embeddings with texts, pictures and an aesthetic
//! head, a [`Classifier`] with labels, and an [`Index`] keeps them, so that a folder can be searched. In a [`tournament`], a scorer
//! picks the best of several seeds; an [`Evaluator`](evaluate::Evaluator) tells how good, how fast and how large CLIPs are; a [`comparison`] tells which of several recipes paints a set of prompts best. Pictures go through CLIP's own preprocessing ([`crate::clip::preprocess`]), so that scores agree with
//! those of other programs.
//!
//! ```no_run
//! use phantasia::judge::{Query, Scorer, ScorerOptions};
//!
//! # fn main() -> anyhow::Result<()> {
//! let options = ScorerOptions {
//!     queries: vec![Query::text("a red ball")],
//!     ..ScorerOptions::default()
//! };
//! let scorer = Scorer::load(&options, &candle_core::Device::Cpu)?;
//! let ranking = scorer.rank_files(&["pictures".into()], |_, _| {})?;
//! for picture in &ranking.pictures {
//!     println!("{:.4}  {}", picture.result.score, picture.paths[0].display());
//! }
//! # Ok(())
//! # }
//! ```

mod classify;
pub mod comparison;
mod ensemble;
pub mod evaluate;
mod index;
pub mod labels;
mod pictures;
mod query;
mod same_model;
mod score;
pub mod sheet;
pub(crate) mod text_file;
pub mod tournament;
mod unchanged;

pub use classify::{Accuracy, Classification, Classifier, ClipAccuracy, Evaluation};
pub use ensemble::{Encoder, Ensemble, Preprocessed};
pub(crate) use index::is_same_model;
pub use index::{INDEX_FILE, Index, Update};
pub use labels::Label;
pub use pictures::{
    Digest, EmbeddedFiles, PictureResult, Results, Skipped, find_pictures, no_pictures, unsupported,
};
pub use query::{EncodedQueries, Query, QueryContent};
pub(crate) use score::mean_query;
pub use score::{
    AestheticOptions, Combine, Score, Scorer, ScorerOptions, best_first, combine_scores,
    search_scores,
};
