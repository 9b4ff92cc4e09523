//! Models by name: which are known, where they lie on this machine, and how they get there.

mod by_hand;
mod cache;
mod choose;
mod divided;
mod hub;
mod patience;
mod reference;
mod table;

use std::path::{Path, PathBuf};

use thiserror::Error;

use choose::Chosen;

pub use cache::{Cache, Snapshot, is_repository};
pub use hub::{FetchError, Fetched, Hub, Progress};
pub use reference::Reference;

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
#[derive(Debug, PartialEq, Eq)]
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
    /// The layouts in which its repository may hold it, in the order in which they are tried.
    pub layouts: &'static [Files],
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

impl Model {
    /// Whether that is its name or one of its aliases; upper and lower case are the same.
    fn is_called(&self, name: &str) -> bool {
        (self.names()).any(|known| known.eq_ignore_ascii_case(name))
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.name].into_iter().chain(self.aliases.iter().copied())
    }
}

/// Why a model is not at hand.
#[derive(Debug, Error)]
pub enum ModelError {
    /// It is known but not on this machine.
    #[error(
        "`{name}` is not on this machine: `phantasia models fetch {name}` downloads it{size}; or give a folder or file that holds it{remains}"
    )]
    Missing {
        /// What it was asked for as.
        name: String,
        /// Its size as part of the sentence.
        size: String,
        /// The cached snapshots of its repository, as part of the sentence.
        remains: String,
    },
    /// There is nothing of that name.
    #[error(
        "there is no model `{name}`{nearest}: it is neither a folder nor a file, nor a known model (`phantasia models list`), nor the name of a repository such as `openai/clip-vit-base-patch32`, optionally followed by `@` and a revision"
    )]
    Unknown {
        /// What it was asked for as.
        name: String,
        /// The nearest known name, as part of the sentence.
        nearest: String,
    },
    /// The text after the `@` is not a valid revision.
    #[error(
        "`{revision}` in `{name}` is not a valid revision: expected a branch, a tag, a pull request (`refs/pr/15`) or a commit after the `@`"
    )]
    Revision {
        /// What it was asked for as.
        name: String,
        /// The text after the `@`.
        revision: String,
    },
}

/// The names under which repositories keep weights that this program reads.
pub const ANY_WEIGHTS: &[&str] = table::ANY_WEIGHTS;

/// All known models.
pub fn all() -> &'static [Model] {
    table::MODELS
}

/// The known model of that name, alias or repository, with or without a revision; upper and lower case are the same.
pub fn find(name: &str) -> Option<&'static Model> {
    Reference::parse(name).ok()?.model
}

/// A model that is found: where it lies, and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// A folder, or a single file.
    pub path: PathBuf,
    /// What the table says of it.
    pub model: Option<&'static Model>,
    /// Which snapshot was chosen and why, if it is not the one that the name means.
    pub note: Option<String>,
}

/// Finds what a recipe calls a model: a folder or a file, from `base` and then from the working folder; a known model in the cache; or any
/// repository that the cache holds with one of these `weights`, at the revision after an `@`, if there is one.
///
/// # Errors
/// Where it is nowhere, with the command that fetches it.
pub fn locate(name: &str, base: &Path, weights: &[&str]) -> Result<Located, ModelError> {
    let paths = [base.join(name), PathBuf::from(name)];
    if let Some(path) = paths.into_iter().find(|path| path.exists()) {
        return Ok(Located {
            path,
            model: None,
            note: None,
        });
    }
    let reference = Reference::parse(name)?;
    located(&reference, weights).ok_or_else(|| ModelError::Missing {
        name: name.trim_end_matches('/').to_owned(),
        size: (reference.model).map_or(nearest(&reference.repository), |model| {
            format!(" ({})", megabytes(model.megabytes))
        }),
        remains: choose::remains(&Cache::from_env(), &reference),
    })
}

/// Finds a model in the cache, if it is there.
pub fn located(reference: &Reference, weights: &[&str]) -> Option<Located> {
    let Chosen { path, note } = choose::choose(&Cache::from_env(), reference, weights)?;
    Some(Located {
        path,
        model: reference.model,
        note,
    })
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
    pub revisions: Vec<String>,
    /// Its possible layouts: the first one that the repository has is fetched.
    pub layouts: &'static [Files],
    /// The repository of its tokenizer, if its own has none.
    pub tokenizer: Option<&'static str>,
    /// What it is, if it is known.
    pub kind: Option<Kind>,
}

/// What to fetch for a name: a known model, or a repository in any supported layout.
///
/// # Errors
/// Where the name is neither.
pub fn wanted(name: &str) -> Result<Wanted, ModelError> {
    let reference = Reference::parse(name)?;
    Ok(Wanted {
        revisions: reference
            .revisions()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        layouts: reference.layouts(),
        tokenizer: (reference.model)
            .and_then(|model| find(model.tokenizer?))
            .map(|model| model.repository),
        kind: reference.model.map(|model| model.kind),
        repository: reference.repository,
    })
}

/// The tokenizer that all CLIPs share, as a download of its own.
pub fn wanted_tokenizer(model: &Model) -> Option<Wanted> {
    let owner = find(model.tokenizer?)?;
    Some(Wanted {
        repository: owner.repository.to_owned(),
        revisions: owner
            .revisions
            .iter()
            .map(|name| (*name).to_owned())
            .collect(),
        layouts: table::TOKENIZER,
        tokenizer: None,
        kind: None,
    })
}

fn nearest(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    all()
        .iter()
        .flat_map(Model::names)
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
            .flat_map(Model::names)
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
            let has_weights = |files: &Files| !files.weights.is_empty();
            assert!(
                !model.layouts.is_empty() && model.layouts.iter().all(has_weights),
                "{}",
                model.name
            );
            assert!(model.megabytes > 0, "{}", model.name);
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
            ("RN50-quickgelu/cc12m", "timm/resnet50_clip.cc12m"),
            ("RN50/yfcc15m", "timm/resnet50_clip.yfcc15m"),
            (
                "ViT-B-32-quickgelu/metaclip_fullcc",
                "timm/vit_base_patch32_clip_224.metaclip_2pt5b",
            ),
            ("ViT-L-14/dfn2b", "apple/DFN2B-CLIP-ViT-L-14"),
            ("fashion-clip", "patrickjohncyh/fashion-clip"),
            (
                "valhalla/vqgan_imagenet_f16_16384",
                "valhalla/vqgan_imagenet_f16_16384",
            ),
            ("f16_16384", "valhalla/vqgan_imagenet_f16_16384"),
            ("wikiart", "johnowhitaker/sd-class-wikiart-from-bedrooms"),
            ("RN50/openai@main", "timm/resnet50_clip.openai"),
        ] {
            assert_eq!(repository(name), Some(wanted), "{name}");
        }
    }

    #[test]
    fn what_is_known_of_single_models_is_right() {
        for (name, megabytes, licence) in [
            ("f16_16384", 289, "not stated"),
            ("f16_1024", 359, "not stated"),
            ("laion-aesthetic", 4, "Apache-2.0"),
            ("google/ddpm-bedroom-256", 455, "Apache-2.0"),
        ] {
            let model = find(name).expect("a known model");
            assert_eq!(
                (model.megabytes, model.licence),
                (megabytes, licence),
                "{name}"
            );
        }
        for (name, quick) in [
            ("RN50/cc12m", true),
            ("RN50/yfcc15m", true),
            ("ViT-B-32/metaclip_400m", true),
            ("ViT-H-14/metaclip_altogether", false),
            ("ViT-L-14/dfn2b", true),
            ("ViT-L-14/dfn2b_s39b", false),
            ("ViT-B-32/laion400m_e32", true),
            ("ViT-B-32/laion2b_s34b_b79k", false),
        ] {
            assert_eq!(
                find(name).expect("a known model").quick_gelu,
                quick,
                "{name}"
            );
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
