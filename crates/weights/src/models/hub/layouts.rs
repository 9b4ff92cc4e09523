//! Which of a model's layouts a repository on the hub has.

use std::collections::HashMap;

use super::error::FetchError;
use super::{FileMetadata, Hub};
use crate::models::names::is_revision;
use crate::models::request::FetchRequest;
use crate::models::table::FileSet;

/// What can be fetched: one complete layout at one commit.
pub struct AvailableLayout<'a> {
    pub revision: &'a str,
    pub commit: String,
    /// The required files, then the weights.
    pub files: Vec<(&'a str, FileMetadata)>,
    /// Fetched if present.
    pub optional: &'a [String],
}

/// A layout that lacks a file: how many of its files were found before that, and the missing file or the possible ones.
type Incomplete = (usize, String);

/// What the hub has answered about one revision's files, kept because several layouts share files.
struct Answers<'a> {
    hub: &'a Hub,
    request: &'a FetchRequest,
    revision: &'a str,
    /// Known from the first answer; later requests ask for exactly this commit.
    commit: Option<String>,
    answers: HashMap<&'a str, Option<FileMetadata>>,
}

impl Hub {
    /// The first complete layout, by revision and then by layout.
    pub(super) fn available_layout<'a>(
        &'a self,
        request: &'a FetchRequest,
    ) -> Result<AvailableLayout<'a>, FetchError> {
        let mut nearest: Option<Incomplete> = None;
        for revision in request.revisions.iter().filter(|name| is_revision(name)) {
            let mut answers = Answers {
                hub: self,
                request,
                revision,
                commit: None,
                answers: HashMap::new(),
            };
            for layout in &request.layouts {
                match answers.layout(layout)? {
                    Ok(available) => return Ok(available),
                    Err((found, _)) if nearest.as_ref().is_some_and(|(most, _)| found <= *most) => {
                    }
                    Err(incomplete) => nearest = Some(incomplete),
                }
            }
        }
        let file = match nearest {
            Some((found, missing)) if found > 0 || request.layouts.len() == 1 => missing,
            _ => "supported model files".to_owned(),
        };
        Err(self.not_found(request, &file))
    }
}

impl<'a> Answers<'a> {
    fn layout(
        &mut self,
        layout: &'a FileSet,
    ) -> Result<Result<AvailableLayout<'a>, Incomplete>, FetchError> {
        let mut files = vec![];
        for file in &layout.required {
            let Some(metadata) = self.metadata(file)? else {
                return Ok(Err((files.len(), file.clone())));
            };
            files.push((file.as_str(), metadata));
        }
        for file in &layout.weights {
            if let Some(metadata) = self.metadata(file)? {
                let commit = metadata.commit.clone();
                files.push((file, metadata));
                return Ok(Ok(AvailableLayout {
                    revision: self.revision,
                    commit,
                    files,
                    optional: &layout.optional,
                }));
            }
        }
        Ok(Err((files.len(), layout.weights.join(" or "))))
    }

    fn metadata(&mut self, file: &'a str) -> Result<Option<FileMetadata>, FetchError> {
        if let Some(answer) = self.answers.get(file) {
            return Ok(answer.clone());
        }
        let revision = self.commit.as_deref().unwrap_or(self.revision);
        let answer = self.hub.metadata(self.request, revision, file)?;
        if let Some(metadata) = &answer {
            self.commit.get_or_insert_with(|| metadata.commit.clone());
        }
        self.answers.insert(file, answer.clone());
        Ok(answer)
    }
}
