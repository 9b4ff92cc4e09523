//! The Hugging Face cache, in huggingface_hub's layout, so that what any program of this field has downloaded is found, and the other way round.
//!
//! `models--owner--name/` holds `refs/REVISION` (the commit of that name), `snapshots/COMMIT/` (the files, as links, or as copies where
//! there are no links), and `blobs/` (their bytes, named by their etag). Downloading a commit by its hash writes no ref.

use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use super::names::{is_repository, is_revision};

/// The shortest abbreviation of a commit hash that is accepted.
const SHORT: usize = 7;
/// The deepest nesting of a ref's name that is read; `refs/pr/15` has three levels.
const DEEPEST: usize = 6;

/// A cache folder.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: Option<PathBuf>,
}

/// A cached commit of a repository, complete or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The commit hash.
    pub commit: String,
    /// The refs (branches, tags, pull requests) that pointed to it when they were last fetched.
    pub references: Vec<String>,
    /// Its folder.
    pub path: PathBuf,
    /// When its folder last changed.
    modified: SystemTime,
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

    /// The cache's folder; none without a home.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The folder of a repository, whether it is there or not; none without a home.
    pub fn repository(&self, repository: &str) -> Option<PathBuf> {
        let name = format!("models--{}", repository.replace('/', "--"));
        is_repository(repository).then_some(self.folder.as_ref()?.join(name))
    }

    /// The snapshot of a branch, a tag, a pull request (`refs/pr/15`) or a commit, whose hash may be abbreviated.
    pub fn revision(&self, repository: &str, revision: &str) -> Option<Snapshot> {
        let folder = self.repository(repository)?;
        let snapshots = self.snapshots(repository);
        let of = |commit: &str| {
            (snapshots.iter())
                .find(|found| found.commit == commit)
                .cloned()
        };
        if !is_revision(revision) {
            return None;
        }
        if let Some(commit) = reference(&folder.join("refs").join(revision)) {
            return of(&commit);
        }
        let is_hash = revision.len() >= SHORT && revision.bytes().all(|b| b.is_ascii_hexdigit());
        of(revision).or_else(|| {
            let mut alike = snapshots
                .iter()
                .filter(|snapshot| is_hash && snapshot.commit.starts_with(revision));
            let found = alike.next()?;
            alike.next().is_none().then(|| found.clone())
        })
    }

    /// All snapshots of a repository, the newest first.
    pub fn snapshots(&self, repository: &str) -> Vec<Snapshot> {
        let Some(folder) = self.repository(repository) else {
            return vec![];
        };
        let references = references(&folder.join("refs"));
        let entries = std::fs::read_dir(folder.join("snapshots"));
        let mut snapshots: Vec<Snapshot> = (entries.into_iter().flatten().flatten())
            .filter_map(|entry| {
                let path = entry.path();
                let metadata = std::fs::metadata(&path).ok()?;
                let commit = entry.file_name().into_string().ok()?;
                let references = (references.iter())
                    .filter(|(_, to)| *to == commit)
                    .map(|(name, _)| name.clone())
                    .collect();
                metadata.is_dir().then(|| Snapshot {
                    commit,
                    references,
                    path,
                    modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                })
            })
            .collect();
        snapshots.sort_by(|a, b| (b.modified, &a.commit).cmp(&(a.modified, &b.commit)));
        snapshots
    }
}

impl Snapshot {
    /// Its files, as sorted relative paths.
    pub fn files(&self) -> Vec<String> {
        let mut files = vec![];
        walk(&self.path, "", 0, &mut |name, path| {
            // a link to a blob that has not arrived is not a file
            if path.is_file() {
                files.push(name.to_owned());
            }
        });
        files.sort();
        files
    }
}

/// The commit in a ref's file, if it is a plain name: anything else could lead out of the cache.
fn reference(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let commit = text.trim();
    let mut parts = Path::new(commit).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(name)), None) if name == commit => Some(commit.to_owned()),
        _ => None,
    }
}

/// All refs with their commits.
fn references(folder: &Path) -> Vec<(String, String)> {
    let mut found = vec![];
    walk(folder, "", 0, &mut |name, path| {
        found.extend(reference(path).map(|commit| (name.to_owned(), commit)));
    });
    found.sort();
    found
}

/// Calls `visit` with the relative name and the path of everything below a folder that is not itself a folder; links to folders are not
/// followed.
fn walk(folder: &Path, within: &str, depth: usize, visit: &mut dyn FnMut(&str, &Path)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let name = match within {
            "" => name,
            within => format!("{within}/{name}"),
        };
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if depth < DEEPEST {
                walk(&entry.path(), &name, depth + 1, visit);
            }
        } else {
            visit(&name, &entry.path());
        }
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
            let snapshot = cache.revision("a/b", "main");
            let has_file = snapshot.is_some_and(|snapshot| snapshot.path.join("w").is_file());
            assert_eq!(has_file, found, "{commit:?}");
        }
    }
}
