//! Which cached snapshot a name refers to.

use std::path::{Path, PathBuf};

use super::cache::Snapshot;
use super::{Cache, Files, Reference, divided};

/// The cached model that a name refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// A folder, or the file of a model that is a single one.
    pub path: PathBuf,
    /// Which snapshot was chosen and why, if it is not the one that the name means.
    pub note: Option<String>,
}

/// How much of a model a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Held {
    /// Weights, possibly without the other files.
    Weights,
    /// Everything that belongs to the model.
    Whole,
}

/// Chooses a snapshot. With a revision, exactly that one; otherwise the first of the default revisions that is complete, then the newest
/// complete snapshot, then one that has at least one of these `weights`.
pub(super) fn choose(cache: &Cache, reference: &Reference, weights: &[&str]) -> Option<Chosen> {
    let named: Vec<Snapshot> = (reference.revisions().iter())
        .filter_map(|revision| cache.revision(&reference.repository, revision))
        .collect();
    let mut candidates = named.clone();
    if reference.revision.is_none() {
        let others = cache.snapshots(&reference.repository).into_iter();
        candidates.extend(others.filter(|snapshot| !named.contains(snapshot)));
    }
    let mut best: Option<(Held, PathBuf, Snapshot)> = None;
    for snapshot in candidates {
        let Some((held, path)) = held(&snapshot.path, reference, weights) else {
            continue;
        };
        if best.as_ref().is_none_or(|(most, ..)| held > *most) {
            best = Some((held, path, snapshot));
        }
    }
    let (_, path, snapshot) = best?;
    let note = (!named.contains(&snapshot)).then(|| note(reference, &named, &snapshot));
    Some(Chosen { path, note })
}

fn note(reference: &Reference, named: &[Snapshot], taken: &Snapshot) -> String {
    let Reference { repository, .. } = reference;
    let wanted = reference.revisions()[0];
    let why = match named.first() {
        None => format!("the cache has no snapshot of `{wanted}`"),
        Some(snapshot) => format!(
            "the cached snapshot of `{wanted}`, {}, is incomplete (it has {})",
            snapshot.commit,
            contents(snapshot)
        ),
    };
    format!(
        "`{repository}`: {why}; using the newest one that has the model, {} (`{repository}@{}` selects it, `phantasia models fetch {repository}` gets `{wanted}`)",
        taken.path.display(),
        taken.commit,
    )
}

/// A short list of a snapshot's files.
fn contents(snapshot: &Snapshot) -> String {
    const SHOWN: usize = 3;
    let files = snapshot.files();
    match files.len() {
        0 => "nothing".to_owned(),
        count if count <= SHOWN => format!("only {}", files.join(", ")),
        count => format!("{} and {} more", files[..SHOWN].join(", "), count - SHOWN),
    }
}

/// The cached snapshots of a repository, for the error that the requested one is missing, as part of a sentence.
pub(super) fn remains(cache: &Cache, reference: &Reference) -> String {
    let snapshots = cache.snapshots(&reference.repository);
    let (Some(folder), false) = (
        cache.repository(&reference.repository),
        snapshots.is_empty(),
    ) else {
        return String::new();
    };
    let each: Vec<String> = (snapshots.iter())
        .map(|snapshot| {
            let names = match snapshot.references.as_slice() {
                [] => String::new(),
                names => format!("{}: ", names.join(", ")),
            };
            format!("{} ({names}{})", snapshot.commit, contents(snapshot))
        })
        .collect();
    format!(
        "; the cache has these snapshots of it in {}: {}",
        folder.join("snapshots").display(),
        each.join(", ")
    )
}

/// How much of the model a snapshot holds, and the path to load.
fn held(folder: &Path, reference: &Reference, weights: &[&str]) -> Option<(Held, PathBuf)> {
    if let Some(model) = reference.model {
        let whole = model.layouts.iter().find(|files| files.are_in(folder));
        if let Some(files) = whole {
            return Some((Held::Whole, files.place(folder)));
        }
        // timm's own files are an image tower, not another layout of the same model
        if model.repository.starts_with("timm/") {
            return None;
        }
    }
    let found: Vec<&str> = (weights.iter().copied())
        .filter(|file| divided::is_whole(&folder.join(file)))
        .collect();
    let whole = reference.model.is_none() && found.iter().any(|file| is_described(folder, file));
    match (found.is_empty(), whole) {
        (true, _) => None,
        (false, true) => Some((Held::Whole, folder.to_owned())),
        (false, false) => Some((Held::Weights, folder.to_owned())),
    }
}

/// Whether the configuration that a weights file needs is beside it.
fn is_described(folder: &Path, weights: &str) -> bool {
    let path = folder.join(weights);
    let beside = |name: &str| path.with_file_name(name).is_file();
    let file = weights.rsplit('/').next().unwrap_or(weights);
    if file.starts_with("open_clip_") {
        return beside("open_clip_config.json");
    }
    let described = ["model.", "pytorch_model.", "diffusion_pytorch_model."]
        .iter()
        .any(|start| file.starts_with(start));
    !described || file.ends_with(".ckpt") || beside("config.json")
}

impl Files {
    /// Whether the model is one file.
    pub(super) fn is_single(&self) -> bool {
        self.required.is_empty() && self.optional.is_empty() && self.weights.len() == 1
    }

    /// Whether a folder holds all that must be there.
    fn are_in(&self, folder: &Path) -> bool {
        let path = |file: &str| folder.join(file);
        self.required.iter().all(|file| path(file).is_file())
            && self
                .weights
                .iter()
                .any(|file| divided::is_whole(&path(file)))
    }

    /// The folder, or the file of a model that is a single one.
    fn place(&self, folder: &Path) -> PathBuf {
        if self.is_single() {
            folder.join(self.weights[0])
        } else {
            folder.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const MAIN: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const OTHER: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    struct Made {
        folder: tempfile::TempDir,
    }

    impl Made {
        fn new() -> Self {
            Self {
                folder: tempfile::tempdir().expect("a folder"),
            }
        }

        fn cache(&self) -> Cache {
            Cache::at(self.folder.path())
        }

        fn snapshot(&self, repository: &str, commit: &str, files: &[&str]) -> PathBuf {
            let folder = (self.cache().repository(repository).expect("a repository"))
                .join("snapshots")
                .join(commit);
            fs::create_dir_all(&folder).expect("a folder");
            for file in files {
                let path = folder.join(file);
                fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                fs::write(path, "").expect("a file");
            }
            folder
        }

        fn refer(&self, repository: &str, name: &str, commit: &str) {
            let file = (self.cache().repository(repository).expect("a repository"))
                .join("refs")
                .join(name);
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            fs::write(file, commit).expect("a file");
        }

        fn chosen(&self, name: &str) -> Option<Chosen> {
            let reference = Reference::parse(name).expect("a reference");
            choose(&self.cache(), &reference, super::super::ANY_WEIGHTS)
        }
    }

    #[test]
    fn the_snapshot_of_main_is_taken_without_a_word() {
        let made = Made::new();
        made.snapshot("me/it", OTHER, &["config.json", "model.safetensors"]);
        let main = made.snapshot("me/it", MAIN, &["config.json", "model.safetensors"]);
        made.refer("me/it", "main", MAIN);
        let chosen = made.chosen("me/it").expect("a model");
        assert_eq!((chosen.path, chosen.note), (main, None));
    }

    #[test]
    fn a_snapshot_that_nothing_refers_to_is_taken_and_named() {
        let made = Made::new();
        let only = made.snapshot("me/it", OTHER, &["config.json", "model.safetensors"]);
        let chosen = made.chosen("me/it").expect("a model");
        assert_eq!(chosen.path, only);
        let note = chosen.note.expect("a note");
        assert!(
            note.contains(OTHER) && note.contains("no snapshot of `main`"),
            "{note}"
        );
    }

    #[test]
    fn where_main_went_on_without_its_weights_the_whole_one_is_taken() {
        let made = Made::new();
        let whole = made.snapshot("me/it", OTHER, &["config.json", "model.safetensors"]);
        made.snapshot("me/it", MAIN, &["config.json"]);
        made.refer("me/it", "main", MAIN);
        let chosen = made.chosen("me/it").expect("a model");
        assert_eq!(chosen.path, whole);
        let note = chosen.note.expect("a note");
        assert!(
            note.contains(MAIN) && note.contains("has only config.json"),
            "{note}"
        );
        assert!(note.contains(OTHER), "{note}");
    }

    #[test]
    fn weights_without_their_configuration_are_the_last_choice() {
        let made = Made::new();
        let main = made.snapshot("me/it", MAIN, &["model.safetensors"]);
        made.refer("me/it", "main", MAIN);
        assert_eq!(made.chosen("me/it").expect("a model").path, main);
        let whole = made.snapshot("me/it", OTHER, &["config.json", "model.safetensors"]);
        assert_eq!(made.chosen("me/it").expect("a model").path, whole);
    }

    #[test]
    fn a_revision_means_exactly_that_one() {
        let made = Made::new();
        let files = ["config.json", "model.safetensors"];
        let whole = made.snapshot("me/it", OTHER, &files);
        made.snapshot("me/it", MAIN, &["config.json"]);
        made.refer("me/it", "main", MAIN);
        made.refer("me/it", "refs/pr/15", OTHER);
        made.refer("me/it", "feature/x", OTHER);
        for revision in [OTHER, "aaaaaaa", "refs/pr/15", "feature/x"] {
            let chosen = made.chosen(&format!("me/it@{revision}")).expect("a model");
            assert_eq!(
                (chosen.path, chosen.note),
                (whole.clone(), None),
                "{revision}"
            );
        }
        for revision in ["main", MAIN, "aaaaaa", "v2", "cccccccccccccccc"] {
            assert_eq!(
                made.chosen(&format!("me/it@{revision}")),
                None,
                "{revision}"
            );
        }
        // a short hash that two snapshots begin with is neither
        made.snapshot("me/it", "aaaaaaaab", &files);
        assert_eq!(made.chosen("me/it@aaaaaaa"), None);
        let reference = Reference::parse("me/it@v2").expect("a reference");
        let remains = remains(&made.cache(), &reference);
        for part in [
            MAIN,
            OTHER,
            "main: only config.json",
            "feature/x, refs/pr/15",
        ] {
            assert!(remains.contains(part), "no {part} in {remains}");
        }
    }

    #[test]
    fn references_that_lead_out_of_the_cache_are_none() {
        let made = Made::new();
        made.snapshot("me/it", OTHER, &["config.json", "model.safetensors"]);
        fs::write(made.folder.path().join("model.safetensors"), "").expect("a file");
        fs::write(made.folder.path().join("config.json"), "").expect("a file");
        for commit in ["../../..", "/", "", ".", "..", "a/b", "../aaaa", "aaaa/"] {
            made.refer("me/it", "main", commit);
            assert_eq!(made.chosen("me/it@main"), None, "{commit:?}");
            let chosen = made.chosen("me/it").expect("a model");
            assert!(chosen.path.ends_with(OTHER) && chosen.note.is_some());
        }
    }

    #[test]
    fn a_divided_file_is_whole_with_all_its_parts() {
        let made = Made::new();
        let index =
            r#"{ "weight_map": { "a": "model-1.safetensors", "b": "model-2.safetensors" } }"#;
        let names = [
            "config.json",
            "model.safetensors.index.json",
            "model-1.safetensors",
        ];
        let main = made.snapshot("me/it", MAIN, &names);
        fs::write(main.join(names[1]), index).expect("a file");
        made.refer("me/it", "main", MAIN);
        let other = made.snapshot("me/it", OTHER, &["config.json", "model.safetensors"]);
        assert_eq!(made.chosen("me/it").expect("a model").path, other);
        fs::write(main.join("model-2.safetensors"), "").expect("a file");
        assert_eq!(made.chosen("me/it").expect("a model").path, main);
    }

    #[cfg(unix)]
    #[test]
    fn links_to_bytes_that_have_not_come_are_no_files() {
        let made = Made::new();
        let folder = made.snapshot("me/it", OTHER, &["config.json"]);
        let blobs = made.folder.path().join("models--me--it/blobs");
        fs::create_dir_all(&blobs).expect("a folder");
        fs::write(blobs.join("abc.incomplete"), "").expect("a file");
        std::os::unix::fs::symlink("../../blobs/abc", folder.join("model.safetensors"))
            .expect("a link");
        fs::create_dir_all(
            made.folder
                .path()
                .join("models--me--it/.no_exist")
                .join(OTHER),
        )
        .expect("a folder");
        assert_eq!(made.chosen("me/it"), None);
        fs::write(blobs.join("abc"), "").expect("a file");
        assert_eq!(made.chosen("me/it").expect("a model").path, folder);
    }

    #[test]
    fn a_diffusion_model_is_found_at_the_root_and_as_a_pipeline() {
        let repository = "johnowhitaker/sd-class-wikiart-from-bedrooms";
        for files in [
            [
                "config.json",
                "scheduler_config.json",
                "diffusion_pytorch_model.bin",
            ],
            [
                "unet/config.json",
                "scheduler/scheduler_config.json",
                "unet/diffusion_pytorch_model.safetensors",
            ],
        ] {
            let made = Made::new();
            let folder = made.snapshot(repository, MAIN, &files);
            made.refer(repository, "main", MAIN);
            for name in ["wikiart", repository, "wikiart@main"] {
                assert_eq!(made.chosen(name).expect("a model").path, folder, "{name}");
            }
        }
    }

    #[test]
    fn an_image_tower_of_timm_is_not_its_clip() {
        let made = Made::new();
        let repository = "timm/resnet50_clip.cc12m";
        made.snapshot(repository, MAIN, &["config.json", "model.safetensors"]);
        made.refer(repository, "main", MAIN);
        assert_eq!(made.chosen("RN50/cc12m"), None);
        let files = ["open_clip_config.json", "open_clip_model.safetensors"];
        let folder = made.snapshot(repository, MAIN, &files);
        assert_eq!(made.chosen("RN50/cc12m").expect("a model").path, folder);
    }

    #[test]
    fn a_model_that_is_one_file_is_that_file() {
        let made = Made::new();
        let folder = made.snapshot("xswu/HPSv2", OTHER, &["HPS_v2.1_compressed.pt"]);
        let chosen = made.chosen("hpsv2.1").expect("a model");
        assert_eq!(chosen.path, folder.join("HPS_v2.1_compressed.pt"));
        assert!(chosen.note.is_some());
        assert_eq!(made.chosen("hpsv2"), None);
    }
}
