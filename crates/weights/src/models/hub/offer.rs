//! Which of a model's layouts a repository on the hub has.

use std::collections::HashMap;

use super::{About, FetchError, Hub};
use crate::models::reference::is_revision;
use crate::models::{Files, Wanted};

/// What can be fetched: one complete layout at one commit.
pub struct Offer<'a> {
    pub revision: &'a str,
    pub commit: String,
    /// The required files, then the weights.
    pub files: Vec<(&'static str, About)>,
    /// Fetched if present.
    pub optional: &'static [&'static str],
}

/// How complete a layout is.
enum Layout {
    /// Complete: its commit and its required files, then the weights.
    Whole(String, Vec<(&'static str, About)>),
    /// Incomplete: how many of its files were found before the first missing one, and that one.
    Lacks(usize, String),
}

/// Answers about one revision's files, kept because several layouts share files.
struct Asked<'a> {
    hub: &'a Hub,
    wanted: &'a Wanted,
    revision: &'a str,
    /// Known from the first answer; later requests ask for exactly this commit.
    commit: Option<String>,
    answers: HashMap<&'static str, Option<About>>,
}

impl Hub {
    /// The first complete layout, by revision and then by layout.
    pub(super) fn offer<'a>(&self, wanted: &'a Wanted) -> Result<Offer<'a>, FetchError> {
        let mut nearest: Option<(usize, String)> = None;
        for revision in wanted.revisions.iter().filter(|name| is_revision(name)) {
            let mut asked = Asked {
                hub: self,
                wanted,
                revision,
                commit: None,
                answers: HashMap::new(),
            };
            for layout in wanted.layouts {
                match asked.layout(layout)? {
                    Layout::Whole(commit, files) => {
                        return Ok(Offer {
                            revision,
                            commit,
                            files,
                            optional: layout.optional,
                        });
                    }
                    Layout::Lacks(there, missing) => {
                        if nearest.as_ref().is_none_or(|(most, _)| there > *most) {
                            nearest = Some((there, missing));
                        }
                    }
                }
            }
        }
        let file = match nearest {
            Some((there, missing)) if there > 0 || wanted.layouts.len() == 1 => missing,
            _ => "supported model files".to_owned(),
        };
        Err(self.not_found(wanted, &file))
    }
}

impl Asked<'_> {
    fn layout(&mut self, layout: &Files) -> Result<Layout, FetchError> {
        let mut files = vec![];
        for &file in layout.required {
            match self.about(file)? {
                Some(found) => files.push((file, found)),
                None => return Ok(Layout::Lacks(files.len(), file.to_owned())),
            }
        }
        for &file in layout.weights {
            if let Some(found) = self.about(file)? {
                let commit = found.commit.clone();
                files.push((file, found));
                return Ok(Layout::Whole(commit, files));
            }
        }
        Ok(Layout::Lacks(files.len(), layout.weights.join(" or ")))
    }

    fn about(&mut self, file: &'static str) -> Result<Option<About>, FetchError> {
        if let Some(answer) = self.answers.get(file) {
            return Ok(answer.clone());
        }
        let revision = self.commit.as_deref().unwrap_or(self.revision);
        let answer = self.hub.about(self.wanted, revision, file)?;
        if let Some(about) = &answer {
            self.commit.get_or_insert_with(|| about.commit.clone());
        }
        self.answers.insert(file, answer.clone());
        Ok(answer)
    }
}
