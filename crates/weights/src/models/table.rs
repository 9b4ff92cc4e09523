//! The table of known models, `models.json`: one line a model, and the files that each layout of a repository has.
//!
//! Names and tags of CLIPs are those of open_clip's table of pretrained models.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// The CLIP whose tokenizer the others share.
pub(super) const STANDARD_CLIP: &str = "openai/clip-vit-base-patch32";

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let table = serde_json::from_str(include_str!("models.json"));
    table.expect("models.json is part of the program and tested")
});

#[derive(Deserialize)]
struct Table {
    layouts: BTreeMap<String, FileSet>,
    /// The layouts that are tried for a repository that is not in the table.
    any_layout: Vec<String>,
    weights: BTreeMap<String, WeightsNames>,
    models: Vec<Model>,
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// A CLIP, to guide and to score.
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

impl ModelKind {
    /// Its name in lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clip => "clip",
            Self::Vqgan => "vqgan",
            Self::Latent => "latent",
            Self::Diffusion => "diffusion",
            Self::Aesthetic => "aesthetic",
        }
    }

    /// The names under which such models keep their weights.
    pub fn weights(self) -> &'static WeightsNames {
        &TABLE.weights[match self {
            Self::Vqgan | Self::Latent => "autoencoder",
            kind => kind.name(),
        }]
    }
}

/// The names of weights files that are looked for in a folder.
#[derive(Debug, Deserialize)]
pub struct WeightsNames {
    /// The subfolders in which they are looked for, in order; an empty name is the folder itself.
    #[serde(default = "root")]
    pub folders: Vec<String>,
    /// The file names, the preferred first.
    pub names: Vec<String>,
}

impl WeightsNames {
    /// Their paths relative to the folder.
    pub(super) fn paths(&self) -> impl Iterator<Item = String> {
        self.folders.iter().flat_map(|folder| {
            (self.names.iter()).map(move |name| match folder.as_str() {
                "" => name.clone(),
                folder => format!("{folder}/{name}"),
            })
        })
    }
}

/// The files of a repository that a model is made of, as paths in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FileSet {
    /// The files that must be there.
    pub required: Vec<String>,
    /// The weights: the first of these that exists is used, and one must exist.
    pub weights: Vec<String>,
    /// The files that are used if they exist.
    pub optional: Vec<String>,
}

impl FileSet {
    /// Whether the model is one file.
    pub(super) fn is_single(&self) -> bool {
        self.required.is_empty() && self.optional.is_empty() && self.weights.len() == 1
    }
}

/// A known model.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Model {
    /// Its name here.
    pub name: String,
    /// Its names elsewhere: open_clip's `architecture/tag`, OpenAI's names.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What it is for.
    pub kind: ModelKind,
    /// Its repository on the hub.
    pub repository: String,
    /// The revisions in which it is looked for, in order.
    #[serde(default = "main")]
    pub revisions: Vec<String>,
    /// The names of the layouts in which its repository may hold it, in the order in which they are tried.
    layouts: Vec<String>,
    /// Whether its repository may lack the tokenizer, which is then that of the standard CLIP.
    #[serde(default)]
    pub shared_tokenizer: bool,
    /// Whether it was trained with OpenAI's approximation of GELU, even if its configuration does not say so.
    #[serde(default)]
    pub quick_gelu: bool,
    /// Whether it was trained on pictures that were padded to a square, even if its configuration does not say so.
    #[serde(default)]
    pub pads: bool,
    /// About how large a download it is, in megabytes.
    pub megabytes: u32,
    /// The licence of its weights, as its authors name it.
    pub licence: String,
    /// What it is, in a few words.
    pub about: String,
}

fn root() -> Vec<String> {
    vec![String::new()]
}

fn main() -> Vec<String> {
    vec!["main".to_owned()]
}

impl Model {
    /// The layouts in which its repository may hold it, in the order in which they are tried.
    pub fn layouts(&self) -> impl Iterator<Item = &'static FileSet> {
        self.layouts.iter().map(|name| &TABLE.layouts[name])
    }

    /// Its name and its aliases.
    fn names(&self) -> impl Iterator<Item = &str> {
        [&self.name]
            .into_iter()
            .chain(&self.aliases)
            .map(|name| &**name)
    }
}

/// All known models.
pub fn all() -> &'static [Model] {
    &TABLE.models
}

/// All supported layouts, for repositories that are not in the table.
pub(super) fn any_layout() -> impl Iterator<Item = &'static FileSet> {
    TABLE.any_layout.iter().map(|name| &TABLE.layouts[name])
}

/// The files of a tokenizer without a model.
pub(super) fn tokenizer_files() -> &'static FileSet {
    &TABLE.layouts["tokenizer"]
}

/// The names under which models of any kind keep their weights.
pub(super) fn any_weights() -> impl Iterator<Item = String> {
    TABLE.weights.values().flat_map(WeightsNames::paths)
}

/// The known model of that name, alias or repository; upper and lower case are the same.
pub(super) fn known(name: &str) -> Option<&'static Model> {
    let named = |model: &&Model| (model.names()).any(|known| known.eq_ignore_ascii_case(name));
    // a repository may hold several models: the one with its name is meant, else the first
    (all().iter().find(named))
        .or_else(|| (all().iter()).find(|model| model.repository.eq_ignore_ascii_case(name)))
}

/// The known name that is nearest to an unknown one, as part of a message; empty if none is close.
pub(super) fn nearest(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    (all().iter().flat_map(Model::names))
        .map(|known| (strsim::jaro(&lower, &known.to_ascii_lowercase()), known))
        .filter(|(score, _)| *score > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(String::new(), |(_, known)| {
            format!(" (did you mean `{known}`?)")
        })
}

#[cfg(test)]
mod tests {
    use super::super::names::is_repository;
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
            let name = &model.name;
            assert!(is_repository(&model.repository), "{name}");
            assert!(model.layouts().count() > 0, "{name}");
            assert!(
                model.layouts().all(|files| !files.weights.is_empty()),
                "{name}"
            );
            assert!(model.megabytes > 0 && !model.licence.is_empty(), "{name}");
            assert!(!model.revisions.is_empty(), "{name}");
            assert!(
                model.kind == ModelKind::Clip || !model.shared_tokenizer,
                "{name}"
            );
        }
        assert_eq!(known(STANDARD_CLIP).expect("a model").name, STANDARD_CLIP);
    }

    #[test]
    fn open_clip_and_hugging_face_names_are_known() {
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
        ] {
            let found = known(name).map(|model| model.repository.as_str());
            assert_eq!(found, Some(wanted), "{name}");
        }
    }

    #[test]
    fn properties_of_single_models_are_right() {
        for (name, megabytes, licence) in [
            ("f16_16384", 289, "not stated"),
            ("f16_1024", 359, "not stated"),
            ("laion-aesthetic", 4, "Apache-2.0"),
            ("google/ddpm-bedroom-256", 455, "Apache-2.0"),
        ] {
            let model = known(name).expect("a known model");
            let found = (model.megabytes, model.licence.as_str());
            assert_eq!(found, (megabytes, licence), "{name}");
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
                known(name).expect("a known model").quick_gelu,
                quick,
                "{name}"
            );
        }
        for model in all() {
            // only one repository has its conversion on a branch
            let branch = model.repository == STANDARD_CLIP;
            let asked = model.revisions.iter().any(|name| name == "refs/pr/15");
            assert_eq!(asked, branch, "{}", model.name);
        }
    }
}
