//! Which of a model's layouts a hub has.

use std::collections::HashMap;

use super::{About, FetchError, Hub};
use crate::models::reference::is_revision;
use crate::models::{Files, Wanted};

/// The model that a hub has: one layout at one commit.
pub struct Offer<'a> {
    pub revision: &'a str,
    pub commit: String,
    /// What must be there, the weights last.
    pub files: Vec<(&'static str, About)>,
    /// What is fetched if it is there.
    pub optional: &'static [&'static str],
}

/// What a hub has of a layout.
enum Layout {
    /// All that must be there, the weights last.
    Whole(String, Vec<(&'static str, About)>),
    /// So many of its files, and not this one.
    Lacks(usize, String),
}

/// What is known of a revision's files: several layouts ask about the same ones.
struct Asked<'a> {
    hub: &'a Hub,
    wanted: &'a Wanted,
    revision: &'a str,
    /// Once an answer has named it, the others are asked of it.
    commit: Option<String>,
    answers: HashMap<&'static str, Option<About>>,
}

impl Hub {
    /// The first layout that the first revision that has any has in whole.
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
            _ => "model of a layout that is read here".to_owned(),
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
