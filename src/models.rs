//! Models by name: which are known, where they lie on this machine, and how they get there.

mod cache;
mod hub;
mod patience;
mod table;

use std::path::{Path, PathBuf};

use thiserror::Error;

pub use cache::{Cache, is_repository};
pub use hub::{FetchError, Fetched, Hub, Progress};

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A CLIP, to guide and to judge.
    Clip,
    /// A VQGAN, for `kind: vqgan`.
    Vqgan,
    /// An autoencoder of continuous latents, for `kind: latent`.
    Latent,
    /// A diffusion model, for `kind: diffusion` and `kind: noise`.
    Diffusion,
    /// A head that scores a CLIP's image embeddings, for the term `aesthetic`.
    Aesthetic,
}

impl Kind {
    /// As lists call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Clip => "clip",
            Self::Vqgan => "vqgan",
            Self::Latent => "latent",
            Self::Diffusion => "diffusion",
            Self::Aesthetic => "aesthetic",
        }
    }
}

/// The files of a repository that a model is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Files {
    /// What must be there.
    pub required: &'static [&'static str],
    /// Its weights: the first of these that is there is taken, and one must be.
    pub weights: &'static [&'static str],
    /// What is taken if it is there.
    pub optional: &'static [&'static str],
}

/// A model that the program knows.
#[derive(Debug, PartialEq)]
pub struct Model {
    /// What this program calls it.
    pub name: &'static str,
    /// What others call it: open_clip's `architecture/tag`, OpenAI's names.
    pub aliases: &'static [&'static str],
    /// What it is for.
    pub kind: Kind,
    /// Its repository on the hub.
    pub repository: &'static str,
    /// The revisions that are asked for it, in order.
    pub revisions: &'static [&'static str],
    /// Its files.
    pub files: Files,
    /// Whose tokenizer it uses, where its own repository has none.
    pub tokenizer: Option<&'static str>,
    /// Whether it was trained with OpenAI's approximation of GELU, even if its configuration does not say so.
    pub quick_gelu: bool,
    /// Whether it was trained on pictures that were padded to a square, even if its configuration does not say so.
    pub pads: bool,
    /// About how large a download it is, in megabytes.
    pub megabytes: u32,
    /// The licence of its weights, as its authors name it.
    pub licence: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
}

/// Why a model is not at hand.
#[derive(Debug, Error)]
pub enum ModelError {
    /// It is known but not on this machine.
    #[error(
        "`{name}` is not on this machine: `phantasia models fetch {name}` downloads it{size}; or give a folder or file that holds it"
    )]
    Missing {
        /// What it was asked for as.
        name: String,
        /// Its size as part of the sentence.
        size: String,
    },
    /// There is nothing of that name.
    #[error(
        "there is no model `{name}`{nearest}: it is neither a folder nor a file, nor a known model (`phantasia models list`), nor the name of a repository such as `openai/clip-vit-base-patch32`"
    )]
    Unknown {
        /// What it was asked for as.
        name: String,
        /// The nearest known name, as part of the sentence.
        nearest: String,
    },
}

/// The names under which repositories keep weights that this program reads.
pub const ANY_WEIGHTS: &[&str] = table::ANY.weights;

/// All known models.
pub fn all() -> &'static [Model] {
    table::MODELS
}

/// The known model of that name, alias or repository; upper and lower case are the same.
pub fn find(name: &str) -> Option<&'static Model> {
    let name = bare(name);
    let called = |model: &&Model| {
        [model.name]
            .iter()
            .chain(model.aliases)
            .any(|known| known.eq_ignore_ascii_case(name))
    };
    // a repository may hold several models: the one that bears its name is meant, else the first
    (all().iter().find(called)).or_else(|| {
        all()
            .iter()
            .find(|model| model.repository.eq_ignore_ascii_case(name))
    })
}

/// A model that is found: where it lies, and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// A folder, or a single file.
    pub path: PathBuf,
    /// What the table says of it.
    pub model: Option<&'static Model>,
}

/// Finds what a recipe calls a model: a folder or a file, from `base` and then from the working folder; a known model in the cache; or any
/// repository that the cache holds with one of these `weights`.
///
/// # Errors
/// Where it is nowhere, with the command that fetches it.
pub fn locate(name: &str, base: &Path, weights: &[&str]) -> Result<Located, ModelError> {
    let cache = Cache::from_env();
    let paths = [base.join(name), PathBuf::from(name)];
    if let Some(path) = paths.into_iter().find(|path| path.exists()) {
        return Ok(Located { path, model: None });
    }
    let missing = |size| ModelError::Missing {
        name: name.to_owned(),
        size,
    };
    if let Some(model) = find(name) {
        // another program may have brought it in its other layout
        let found = (cache.model(model))
            .or_else(|| cache.snapshot(model.repository, model.revisions, weights));
        return match found {
            Some(path) => Ok(Located {
                path,
                model: Some(model),
            }),
            None => Err(missing(format!(" ({})", megabytes(model.megabytes)))),
        };
    }
    let repository = bare(name);
    if !is_repository(repository) {
        return Err(ModelError::Unknown {
            name: name.to_owned(),
            nearest: nearest(name),
        });
    }
    match cache.snapshot(repository, table::REVISIONS, weights) {
        Some(path) => Ok(Located { path, model: None }),
        None => Err(missing(nearest(name))),
    }
}

/// A size as people read it.
pub fn megabytes(count: u32) -> String {
    match count {
        0..1000 => format!("{count} MB"),
        _ => format!("{:.1} GB", f64::from(count) / 1000.0),
    }
}

/// What is fetched for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The repository.
    pub repository: String,
    /// Its revisions, in the order in which they are tried.
    pub revisions: &'static [&'static str],
    /// Its files.
    pub files: Files,
}

/// What to fetch for a name: a known model, and the tokenizer's repository where its own has none; or whatever of use a repository holds.
///
/// # Errors
/// Where the name is neither.
pub fn wanted(name: &str) -> Result<Wanted, ModelError> {
    if let Some(model) = find(name) {
        return Ok(Wanted {
            repository: model.repository.to_owned(),
            revisions: model.revisions,
            files: model.files,
        });
    }
    let repository = bare(name);
    if !is_repository(repository) {
        return Err(ModelError::Unknown {
            name: name.to_owned(),
            nearest: nearest(name),
        });
    }
    Ok(Wanted {
        repository: repository.to_owned(),
        revisions: table::REVISIONS,
        files: table::ANY,
    })
}

/// The tokenizer that all CLIPs share, as a download of its own.
pub fn wanted_tokenizer(model: &Model) -> Option<Wanted> {
    Some(Wanted {
        repository: find(model.tokenizer?)?.repository.to_owned(),
        revisions: table::REVISIONS,
        files: table::TOKENIZER,
    })
}

/// Without open_clip's prefix for repositories.
fn bare(name: &str) -> &str {
    name.strip_prefix("hf-hub:").unwrap_or(name)
}

fn nearest(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    all()
        .iter()
        .flat_map(|model| {
            [model.name]
                .into_iter()
                .chain(model.aliases.iter().copied())
        })
        .map(|known| (strsim::jaro(&lower, &known.to_ascii_lowercase()), known))
        .filter(|(score, _)| *score > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(String::new(), |(_, known)| {
            format!(" (did you mean `{known}`?)")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_mean_one_model_each() {
        let mut names: Vec<String> = (all().iter())
            .flat_map(|model| {
                [model.name]
                    .into_iter()
                    .chain(model.aliases.iter().copied())
            })
            .map(str::to_ascii_lowercase)
            .collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn every_model_can_be_fetched() {
        for model in all() {
            assert!(is_repository(model.repository), "{}", model.name);
            assert!(
                !model.files.weights.is_empty() && model.megabytes > 0,
                "{}",
                model.name
            );
            assert!(
                !model.revisions.is_empty() && !model.licence.is_empty(),
                "{}",
                model.name
            );
            let tokenizer = model
                .tokenizer
                .map(|name| find(name).expect("a known model"));
            assert!(
                tokenizer.is_none_or(|model| model.kind == Kind::Clip),
                "{}",
                model.name
            );
        }
    }

    #[test]
    fn open_clip_and_hugging_face_names_are_known() {
        let repository = |name: &str| find(name).map(|model| model.repository);
        for (name, wanted) in [
            (
                "ViT-B-32/laion2b_s34b_b79k",
                "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
            ),
            (
                "vit-h-14/laion2b_s32b_b79k",
                "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
            ),
            ("RN50/openai", "timm/resnet50_clip.openai"),
            (
                "hf-hub:laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
                "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
            ),
            (
                "openai/clip-vit-base-patch32",
                "openai/clip-vit-base-patch32",
            ),
            ("ViT-B/32", "openai/clip-vit-base-patch32"),
            (
                "robust/fare4-vit-b-32",
                "chs20/FARE4-ViT-B-32-laion2B-s34B-b79K",
            ),
            ("pickscore", "yuvalkirstain/PickScore_v1"),
        ] {
            assert_eq!(repository(name), Some(wanted), "{name}");
        }
    }

    #[test]
    fn a_name_that_comes_close_is_offered() {
        let error = locate("ViT-B-32/laion2b_s34b_b79", Path::new(""), &[]).expect_err("missing");
        assert!(
            error
                .to_string()
                .contains("did you mean `ViT-B-32/laion2b_s34b_b79k`"),
            "{error}"
        );
        let error = locate("nothing of the kind", Path::new(""), &[]).expect_err("missing");
        assert!(error.to_string().contains("models list"), "{error}");
    }
}
