//! Parsing of model names: a known model or a repository, and an optional revision.

use super::cache::is_repository;
use super::hub::HOSTS;
use super::table::{ANY, MAIN};
use super::{Files, Model, ModelError, all, nearest};

/// A parsed model name that is not a file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The repository on the hub, `owner/name`.
    pub repository: String,
    /// The branch, tag, pull request (`refs/pr/15`) or commit after the `@`.
    pub revision: Option<String>,
    /// Its entry in the table of known models.
    pub model: Option<&'static Model>,
}

impl Reference {
    /// Parses `NAME` or `NAME@REVISION`. A trailing slash and open_clip's prefix `hf-hub:` are ignored; the URL of a repository's page
    /// (`https://huggingface.co/OWNER/NAME`, optionally with `/tree/REVISION`) works too.
    ///
    /// # Errors
    /// If NAME is neither a known model nor a repository's name, or REVISION is not valid.
    pub fn parse(typed: &str) -> Result<Self, ModelError> {
        let page = of_page(typed);
        let name = page.as_deref().unwrap_or(typed);
        let name = name.strip_prefix("hf-hub:").unwrap_or(name);
        let name = name.trim_end_matches('/');
        if let Some(found) = Self::named(name) {
            return Ok(found);
        }
        // known names may contain an `@` (`ViT-L/14@336px`), and so may branches: the longest name wins
        let split = name.rmatch_indices('@').find_map(|(at, _)| {
            let found = Self::named(name[..at].trim_end_matches('/'))?;
            Some((found, &name[at + 1..]))
        });
        let Some((mut found, revision)) = split else {
            return Err(ModelError::Unknown {
                name: typed.to_owned(),
                nearest: nearest(name),
            });
        };
        if !is_revision(revision) {
            return Err(ModelError::Revision {
                name: typed.to_owned(),
                revision: revision.to_owned(),
            });
        }
        found.revision = Some(revision.to_owned());
        Ok(found)
    }

    fn named(name: &str) -> Option<Self> {
        let model = known(name);
        let repository = model.map_or(name, |model| model.repository);
        is_repository(repository).then(|| Self {
            repository: repository.to_owned(),
            revision: None,
            model,
        })
    }

    /// The revisions that are tried, in order.
    pub fn revisions(&self) -> Vec<&str> {
        match (&self.revision, self.model) {
            (Some(revision), _) => vec![revision],
            (None, Some(model)) => model.revisions.to_vec(),
            (None, None) => MAIN.to_vec(),
        }
    }

    /// The sets of files that make the model, in the order in which they are tried.
    pub fn layouts(&self) -> &'static [Files] {
        self.model.map_or(ANY, |model| model.layouts)
    }
}

/// The name that the URL of a repository's page on the hub refers to.
fn of_page(address: &str) -> Option<String> {
    let rest = address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"))?;
    let (host, path) = rest.split_once('/')?;
    if !HOSTS.contains(&host.to_ascii_lowercase().as_str()) {
        return None;
    }
    let path = path.split(['?', '#']).next()?.trim_end_matches('/');
    match path.split_once("/tree/") {
        Some((repository, revision)) => {
            // a revision such as refs/pr/15 is percent-encoded there
            Some(format!("{repository}@{}", revision.replace("%2F", "/")))
        }
        None => Some(path.to_owned()),
    }
}

/// The known model of that name, alias or repository; upper and lower case are the same.
fn known(name: &str) -> Option<&'static Model> {
    // a repository may hold several models: the one that bears its name is meant, else the first
    (all().iter().find(|model| model.is_called(name))).or_else(|| {
        all()
            .iter()
            .find(|model| model.repository.eq_ignore_ascii_case(name))
    })
}

/// Whether a text is a valid branch, tag, pull request or commit: git's rules, restricted to characters that every file system allows.
pub fn is_revision(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && !part.ends_with('.') && !part.contains("..")
    };
    let allowed = |c: char| c.is_alphanumeric() || "-_./+=@#!,()".contains(c);
    text.len() <= 200 && text.chars().all(allowed) && text.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parsed(name: &str) -> (String, Option<String>) {
        let found = Reference::parse(name).expect("a reference");
        (found.repository, found.revision)
    }

    #[test]
    fn names_revisions_and_slashes_are_taken_apart() {
        let base = "openai/clip-vit-base-patch32";
        for (name, repository, revision) in [
            ("a/b", "a/b", None),
            ("a/b/", "a/b", None),
            ("a/b//", "a/b", None),
            ("hf-hub:a/b", "a/b", None),
            ("a/b@v1.0", "a/b", Some("v1.0")),
            ("a/b@refs/pr/15", "a/b", Some("refs/pr/15")),
            ("a/b@main/", "a/b", Some("main")),
            ("a/b/@main", "a/b", Some("main")),
            ("a/b@x@y", "a/b", Some("x@y")),
            ("hf-hub:a/b@main", "a/b", Some("main")),
            ("https://huggingface.co/a/b", "a/b", None),
            ("https://HF.co/a/b/?library=open_clip", "a/b", None),
            ("https://huggingface.co/a/b/tree/main", "a/b", Some("main")),
            (
                "https://huggingface.co/a/b/tree/refs%2Fpr%2F1",
                "a/b",
                Some("refs/pr/1"),
            ),
            ("ViT-B/32", base, None),
            ("ViT-B/32@main", base, Some("main")),
            ("ViT-L/14@336px", "openai/clip-vit-large-patch14-336", None),
            (
                "ViT-L/14@336px@main",
                "openai/clip-vit-large-patch14-336",
                Some("main"),
            ),
            (
                "wikiart@main",
                "johnowhitaker/sd-class-wikiart-from-bedrooms",
                Some("main"),
            ),
        ] {
            assert_eq!(
                parsed(name),
                (repository.to_owned(), revision.map(str::to_owned)),
                "{name}"
            );
        }
    }

    #[test]
    fn a_revision_that_leads_elsewhere_is_refused() {
        for revision in [
            "", "..", "../x", "a/../b", "/a", "a//b", ".hidden", "a\\b", "a b", "a:b", "a?b",
            "a\nb", "%2e%2e", "~", "a^",
        ] {
            let error = Reference::parse(&format!("a/b@{revision}")).expect_err("no revision");
            assert!(
                matches!(
                    error,
                    ModelError::Revision { .. } | ModelError::Unknown { .. }
                ),
                "{revision:?}: {error}"
            );
        }
        let error = Reference::parse("a/b@../x")
            .expect_err("no revision")
            .to_string();
        assert!(
            error.contains("`../x`") && error.contains("refs/pr/15"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_name_is_unknown() {
        for name in [
            "",
            "/",
            "@",
            "@main",
            "a",
            "a@main",
            "../a",
            "a/b/c",
            "a/b c",
            "./a@b",
            "https://huggingface.co/",
            "https://elsewhere.example/a/b",
        ] {
            assert!(
                matches!(Reference::parse(name), Err(ModelError::Unknown { .. })),
                "{name:?}"
            );
        }
    }

    #[test]
    fn conversions_on_a_branch_are_asked_for_one_repository_alone() {
        for model in all() {
            let branch = model.repository == "openai/clip-vit-base-patch32";
            assert_eq!(
                model.revisions.contains(&"refs/pr/15"),
                branch,
                "{}",
                model.name
            );
        }
        assert_eq!(
            Reference::parse("a/b").expect("a reference").revisions(),
            ["main"]
        );
    }
}
