//! What is downloaded for a name.

use super::model_ref::{HubModel, ResolveError};
use super::table::{self, FileSet, Model, ModelKind};

/// A download: a repository, and which of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    /// The repository.
    pub repository: String,
    /// The revisions in which the files are looked for, in order.
    pub revisions: Vec<String>,
    /// The possible layouts: the first one that the repository has is fetched.
    pub layouts: Vec<FileSet>,
    /// The repository whose tokenizer is used if this one lacks one.
    pub shared_tokenizer: Option<String>,
    /// What the model is for, if it is a known one.
    pub kind: Option<ModelKind>,
}

impl FetchRequest {
    /// The files of a known model, or of a repository in any supported layout.
    ///
    /// # Errors
    /// If the name is neither, or the known model is of an unsupported family.
    pub fn parse(name: &str) -> Result<Self, ResolveError> {
        let hub = HubModel::parse(name)?;
        hub.check_supported(name)?;
        Ok(Self {
            revisions: (hub.revisions().into_iter()).map(str::to_owned).collect(),
            layouts: hub.layouts().into_iter().cloned().collect(),
            shared_tokenizer: hub
                .model
                .and_then(Model::tokenizer_repository)
                .map(str::to_owned),
            kind: hub.model.map(|model| model.kind),
            repository: hub.repository,
        })
    }

    /// The tokenizer of a repository, without the model that it comes with.
    pub fn tokenizer(repository: &str) -> Self {
        Self {
            repository: repository.to_owned(),
            revisions: match table::known(repository) {
                Some(model) => model.revisions.clone(),
                None => vec!["main".to_owned()],
            },
            layouts: vec![table::tokenizer_files().clone()],
            shared_tokenizer: None,
            kind: None,
        }
    }
}
