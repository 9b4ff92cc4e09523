//! The Hugging Face cache, in huggingface_hub's layout, so that what any program of this field has downloaded is found, and the other way round.
//!
//! `models--owner--name/` holds `refs/REVISION` (the commit of that name), `snapshots/COMMIT/` (the files, as links), and `blobs/` (their
//! bytes, named by their etag).

use std::path::{Component, Path, PathBuf};

use super::Model;

/// A cache folder.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: Option<PathBuf>,
}

impl Cache {
    /// Where huggingface_hub keeps its downloads: HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub.
    pub fn from_env() -> Self {
        let folder = variable("HF_HUB_CACHE")
            .or_else(|| variable("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(home()?.join("hub")));
        Self { folder }
    }

    /// That folder.
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: Some(folder.to_owned()),
        }
    }

    /// The folder of a repository, whether it is there or not; none without a home.
    pub fn repository(&self, repository: &str) -> Option<PathBuf> {
        let name = format!("models--{}", repository.replace('/', "--"));
        is_repository(repository).then_some(self.folder.as_ref()?.join(name))
    }

    /// The folder of the first of these revisions that holds one of these files.
    pub fn snapshot(
        &self,
        repository: &str,
        revisions: &[&str],
        files: &[&str],
    ) -> Option<PathBuf> {
        let folder = self.repository(repository)?;
        revisions.iter().find_map(|revision| {
            let commit = std::fs::read_to_string(folder.join("refs").join(revision)).ok()?;
            let commit = Path::new(commit.trim());
            // a name and nothing else, whoever wrote the file
            let mut parts = commit.components();
            let (Some(Component::Normal(name)), None) = (parts.next(), parts.next()) else {
                return None;
            };
            let snapshot = folder.join("snapshots").join(name);
            (files.iter().any(|file| snapshot.join(file).is_file())).then_some(snapshot)
        })
    }

    /// Where a known model lies, if it is whole: a folder, or the file of a model that is a single one.
    pub fn model(&self, model: &Model) -> Option<PathBuf> {
        let files = &model.files;
        model.revisions.iter().find_map(|revision| {
            let folder = self.snapshot(model.repository, &[revision], files.weights)?;
            let whole = files
                .required
                .iter()
                .all(|file| folder.join(file).is_file());
            if !whole {
                return None;
            }
            let single = files.required.is_empty() && files.optional.is_empty();
            match (single, files.weights) {
                (true, [file]) => Some(folder.join(file)),
                _ => Some(folder),
            }
        })
    }

    /// How many bytes a repository takes in the cache.
    pub fn bytes(&self, repository: &str) -> u64 {
        let blobs = self
            .repository(repository)
            .map(|folder| folder.join("blobs"));
        let Some(Ok(entries)) = blobs.map(std::fs::read_dir) else {
            return 0;
        };
        (entries.filter_map(Result::ok))
            .filter_map(|entry| entry.metadata().ok())
            .map(|metadata| metadata.len())
            .sum()
    }
}

/// HF_HOME, else the usual folder.
pub(super) fn home() -> Option<PathBuf> {
    variable("HF_HOME")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("huggingface")))
        .or_else(|| Some(std::env::home_dir()?.join(".cache/huggingface")))
}

/// A variable that is set and not empty, as a path; `~/` is the home folder.
pub(super) fn variable(name: &str) -> Option<PathBuf> {
    let value = PathBuf::from(std::env::var_os(name)?);
    match value.strip_prefix("~") {
        Ok(rest) => Some(std::env::home_dir()?.join(rest)),
        Err(_) if value.as_os_str().is_empty() => None,
        Err(_) => Some(value),
    }
}

/// `owner/name`, of the characters that the hub allows.
pub fn is_repository(name: &str) -> bool {
    let allowed = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.contains("--")
            && (part.chars()).all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    name.split_once('/')
        .is_some_and(|(owner, model)| allowed(owner) && allowed(model))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_leads_out_of_the_cache_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let repository = folder.path().join("models--a--b");
        std::fs::create_dir_all(repository.join("refs")).expect("a folder");
        std::fs::create_dir_all(repository.join("snapshots/abc")).expect("a folder");
        std::fs::write(repository.join("snapshots/abc/w"), "").expect("a file");
        std::fs::write(folder.path().join("w"), "").expect("a file");
        let cache = Cache::at(folder.path());
        for (commit, found) in [
            ("abc\n", true),
            ("../..", false),
            ("/", false),
            ("", false),
            (".", false),
        ] {
            std::fs::write(repository.join("refs/main"), commit).expect("a file");
            assert_eq!(
                cache.snapshot("a/b", &["main"], &["w"]).is_some(),
                found,
                "{commit:?}"
            );
        }
    }

    #[test]
    fn repositories_are_two_plain_names() {
        for (name, good) in [
            ("a/b", true),
            ("laion/CLIP-ViT-bigG-14-laion2B-39B-b160k", true),
            ("a", false),
            ("a/b/c", false),
            ("../b", false),
            ("a/", false),
            ("a/.b", false),
            ("a/b c", false),
        ] {
            assert_eq!(is_repository(name), good, "{name}");
        }
    }
}
