//! Models by name: the table of known ones, the Hugging Face cache, downloads.
//!
//! A recipe names a model ([`ModelRef`]): the embedded CLIP, a folder or file, a known model, or a repository with an optional revision. [`resolve`]
//! finds its files on this machine, once; what loads it takes the [`ResolvedModel`]. [`Hub::fetch`] downloads what a [`FetchRequest`] asks for.

mod cache;
mod embedded;
mod files;
mod hub;
mod manual_download;
mod model_ref;
mod names;
mod request;
mod resolve;
mod table;

pub use cache::{Cache, Snapshot};
pub use embedded::{EMBEDDED, EmbeddedModel, embedded_models, is_embedded};
pub use files::{file_in, only_weights};
pub use hub::{DownloadProgress, FetchError, Fetched, Hub};
pub use model_ref::{HubModel, ModelRef, ResolveError};
pub use request::FetchRequest;
pub use resolve::{ResolvedModel, resolve, resolve_path};
pub use table::{FileSet, Model, ModelKind, WeightsNames, all, families};
