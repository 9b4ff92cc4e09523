//! CLIP: how well an image matches a text, and the gradient by which the image would match it better.
//!
//! A [`Clip`] has one text tower and one or more image towers that share its joint space. The towers are built on
//! [`frozen`], so that their gradient with respect to the image is exact and nothing is computed for their weights. A [`Library`] loads CLIPs by
//! name.
//!
//! ```
//! use candle_core::Device;
//! use phantasia_clip::{Clip, ClipError};
//!
//! let clip = Clip::embedded(&Device::Cpu)?;
//! let text = clip.embed_text("a red ball")?;
//! assert_eq!(text.vector.len(), clip.projection());
//! # Ok::<(), ClipError>(())
//! ```

mod activation;
mod clean;
mod coca;
pub mod config;
mod derive;
mod dtype;
mod embedded;
mod encoder;
mod error;
pub mod files;
mod library;
mod map_head;
mod memory;
mod model;
mod names;
mod options;
pub mod preprocess;
mod resnet;
mod text;
mod text_hf;
mod timm;
mod token_rules;
mod token_table;
mod tokenizer;
mod tower;
mod transformer;
mod trunk;
mod unsupported;
mod vector;
mod vision;

pub use activation::ClipActivation;
pub use dtype::DTypePolicy;
pub use embedded::EMBEDDED_ACTIVATION;
pub use encoder::{EncodedText, TextEncoder};
pub use error::ClipError;
pub use library::Library;
pub use model::{Clip, TextEmbedding};
pub use options::{ClipChoice, LongText, Precision};
pub use tokenizer::{ReadText, TextPart, Tokenizer, Tokens, Unread};
pub use tower::Tower;
pub use trunk::{LayerKind, Tap};
pub use vector::{dot, fast_dot, slerp, unit};
pub use weights::models::{EMBEDDED, is_embedded};
