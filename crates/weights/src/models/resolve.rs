//! From a name to the files of a model on this machine.

use std::path::{Path, PathBuf};

use super::cache::{Cache, Snapshot};
use super::files::{holds, is_complete, is_described};
use super::model_ref::{HubModel, ModelRef, ResolveError};
use super::table::{self, Model, ModelKind};

/// A model whose files have been found.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedModel {
    /// Its name in the recipe or command.
    pub name: String,
    /// A folder or a single file; none for an embedded model, which has no files.
    pub path: Option<PathBuf>,
    /// Its entry in the table of known models.
    pub model: Option<&'static Model>,
    /// Which cached snapshot was chosen and why, if it is not the one that the name means.
    pub note: Option<String>,
}

/// Finds the files that a name means: an embedded model, a folder or a file, or what the cache holds of a known model or of any repository, at the
/// revision after an `@`, if there is one. Of repositories outside the table, those count that have weights of this `kind`, or of any.
///
/// # Errors
/// If the model is not on this machine, with the command that fetches it, is known to be of another kind, is of an unsupported family, or the name
/// means nothing.
pub fn resolve(
    name: &str,
    kind: impl Into<Option<ModelKind>>,
) -> Result<ResolvedModel, ResolveError> {
    let local = |path| ResolvedModel {
        name: name.to_owned(),
        path,
        model: None,
        note: None,
    };
    let kind = kind.into();
    let model = ModelRef::parse(name)?;
    if let Some(kind) = kind {
        model.check_kind(name, kind)?;
    }
    let hub = match model {
        ModelRef::Embedded(_) => return Ok(local(None)),
        ModelRef::Path(path) => return Ok(local(Some(path))),
        ModelRef::Hub(hub) => hub,
    };
    hub.check_supported(name)?;
    let cache = Cache::from_env();
    hub.resolve(name, kind, &cache)
        .ok_or_else(|| ResolveError::Missing {
            name: name.trim_end_matches('/').to_owned(),
            size: match hub.model {
                None => table::nearest(&hub.repository, &[]),
                Some(model) => (model.size()).map_or_else(String::new, |size| format!(" ({size})")),
            },
            instead: match hub.model.map(|model| model.kind) {
                Some(ModelKind::Vqgan) => {
                    ", or take `embedded`, a small VQGAN that is part of the program"
                }
                Some(ModelKind::Gan) => {
                    ", or take `embedded`, a small GAN of places that is part of the program"
                }
                Some(ModelKind::Diffusion) => {
                    ", or paint with `kind: diffusion` and `model: embedded`, a small model that is part of the program"
                }
                _ => "",
            },
            cached: describe_cached(&cache, &hub),
        })
}

/// The folder or file of a model that is not part of the program, as [`resolve`] finds it.
///
/// # Errors
/// As [`resolve`], and if the model is part of the program.
pub fn resolve_path(name: &str, kind: ModelKind) -> Result<PathBuf, ResolveError> {
    resolve(name, kind)?
        .path
        .ok_or_else(|| ResolveError::OtherKind {
            name: name.to_owned(),
            kind,
        })
}

impl HubModel {
    /// The model as the cache has it. With a revision, exactly that one; otherwise the first of the default revisions that is complete, then the
    /// newest complete snapshot, then one that has at least weights of this kind, or of any.
    pub fn resolve(
        &self,
        name: &str,
        kind: Option<ModelKind>,
        cache: &Cache,
    ) -> Option<ResolvedModel> {
        let weights: Vec<String> = match kind {
            Some(kind) => kind.weights().paths().collect(),
            None => table::any_weights().collect(),
        };
        let named: Vec<Snapshot> = (self.revisions().iter())
            .filter_map(|revision| cache.revision(&self.repository, revision))
            .collect();
        let mut candidates = named.clone();
        if self.revision.is_none() {
            let others = cache.snapshots(&self.repository).into_iter();
            candidates.extend(others.filter(|snapshot| !named.contains(snapshot)));
        }
        // of equals, the first
        let ((path, _), snapshot) = (candidates.into_iter())
            .filter_map(|snapshot| Some((find(&snapshot.path, self.model, &weights)?, snapshot)))
            .min_by_key(|((_, complete), _)| !complete)?;
        Some(ResolvedModel {
            name: name.to_owned(),
            path: Some(path),
            model: self.model,
            note: (!named.contains(&snapshot)).then(|| note(self, &named, &snapshot)),
        })
    }
}

fn note(model: &HubModel, named: &[Snapshot], taken: &Snapshot) -> String {
    let HubModel { repository, .. } = model;
    let wanted = model.revisions()[0];
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
pub(super) fn describe_cached(cache: &Cache, model: &HubModel) -> String {
    let snapshots = cache.snapshots(&model.repository);
    let (Some(folder), false) = (cache.repository(&model.repository), snapshots.is_empty()) else {
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

/// What a folder holds of a model: the folder, or the file of a model that is a single one, and whether more than weights is there.
fn find(folder: &Path, model: Option<&Model>, weights: &[String]) -> Option<(PathBuf, bool)> {
    if let Some(known) = model {
        if let Some(files) = known.layouts().find(|files| holds(folder, files)) {
            return Some(match files.weights.as_slice() {
                [file] if files.is_single() => (folder.join(file), true),
                _ => (folder.to_owned(), true),
            });
        }
        // timm's own files are an image tower, not another layout of the same model
        if known.repository.starts_with("timm/") {
            return None;
        }
    }
    let mut found = weights
        .iter()
        .filter(|file| is_complete(&folder.join(file)))
        .peekable();
    found.peek()?;
    let complete = model.is_none() && found.any(|file| is_described(folder, file));
    Some((folder.to_owned(), complete))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const MAIN: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const OTHER: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[derive(Debug, PartialEq)]
    struct Chosen {
        path: PathBuf,
        note: Option<String>,
    }

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
            let model = HubModel::parse(name).expect("a reference");
            let found = model.resolve(name, None, &self.cache())?;
            Some(Chosen {
                path: found.path?,
                note: found.note,
            })
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
        let model = HubModel::parse("me/it@v2").expect("a reference");
        let remains = describe_cached(&made.cache(), &model);
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

    #[test]
    fn a_repository_without_a_configuration_holds_a_model_whose_architecture_is_known() {
        let made = Made::new();
        let repository = "timm/ViT-B-16-SigLIP2";
        let folder = made.snapshot(repository, MAIN, &["open_clip_model.safetensors"]);
        made.refer(repository, "main", MAIN);
        let chosen = made.chosen("ViT-B-16-SigLIP2/webli").expect("a model");
        assert_eq!((chosen.path, chosen.note), (folder, None));
    }

    #[test]
    fn a_similar_name_is_suggested() {
        let error = resolve("ViT-B-32/laion2b_s34b_b79", ModelKind::Clip).expect_err("missing");
        let suggestion = "did you mean `ViT-B-32/laion2b_s34b_b79k`";
        assert!(error.to_string().contains(suggestion), "{error}");
        let error = resolve("nothing of the kind", None).expect_err("missing");
        assert!(error.to_string().contains("models list"), "{error}");
    }
}
