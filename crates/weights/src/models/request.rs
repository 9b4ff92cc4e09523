//! What is downloaded for a name.

use super::model_ref::{HubModel, ResolveError};
use super::table::{self, FileSet, ModelKind, STANDARD_CLIP};

/// A download: a repository, and which of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// The repository.
    pub repository: String,
    /// The revisions in which the files are looked for, in order.
    pub revisions: Vec<String>,
    /// The possible layouts: the first one that the repository has is fetched.
    pub layouts: Vec<FileSet>,
    /// Whether the repository may lack the tokenizer, which is then that of the standard CLIP.
    pub shared_tokenizer: bool,
    /// What the model is for, if it is a known one.
    pub kind: Option<ModelKind>,
}

impl FetchRequest {
    /// The files of a known model, or of a repository in any supported layout.
    ///
    /// # Errors
    /// If the name is neither.
    pub fn parse(name: &str) -> Result<Self, ResolveError> {
        let hub = HubModel::parse(name)?;
        Ok(Self {
            revisions: (hub.revisions().into_iter()).map(str::to_owned).collect(),
            layouts: hub.layouts().into_iter().cloned().collect(),
            shared_tokenizer: hub.model.is_some_and(|model| model.shared_tokenizer),
            kind: hub.model.map(|model| model.kind),
            repository: hub.repository,
        })
    }

    /// The tokenizer that CLIPs share, without the model that it comes with.
    pub fn standard_tokenizer() -> Self {
        Self {
            repository: STANDARD_CLIP.to_owned(),
            revisions: (table::known(STANDARD_CLIP))
                .map_or_else(Vec::new, |model| model.revisions.clone()),
            layouts: vec![table::tokenizer_files().clone()],
            shared_tokenizer: false,
            kind: None,
        }
    }
}
