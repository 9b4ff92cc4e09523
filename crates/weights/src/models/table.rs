//! The table of known models, `models.json`: one line a model, and the files that each layout of a repository has.
//!
//! It holds every pair of an architecture and a tag in open_clip's registry of pretrained models, under open_clip's own names;
//! `architectures.json` says what its architectures are made of, in the keys of `open_clip_config.json`. Both are brought up to date with the
//! registry by `tools/clip-table`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Value, json};

/// The CLIP whose tokenizer the others share.
pub(super) const STANDARD_CLIP: &str = "openai/clip-vit-base-patch32";

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let table = serde_json::from_str(include_str!("models.json"));
    table.expect("models.json is part of the program and tested")
});

/// open_clip's configurations by the name of the architecture.
static ARCHITECTURES: LazyLock<BTreeMap<String, Value>> = LazyLock::new(|| {
    let table = serde_json::from_str(include_str!("architectures.json"));
    table.expect("architectures.json is part of the program and tested")
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
    /// The generator of a GAN, for `kind: gan`.
    Gan,
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
            Self::Gan => "gan",
            Self::Diffusion => "diffusion",
            Self::Aesthetic => "aesthetic",
        }
    }

    /// What such a model is, and where a recipe names it.
    pub(super) fn description(self) -> [&'static str; 2] {
        match self {
            Self::Clip => ["a CLIP", "`clip`"],
            Self::Vqgan => ["a VQGAN", "a generator of `kind: vqgan` or `latent`"],
            Self::Latent => ["an autoencoder", "a generator of `kind: latent`"],
            Self::Gan => ["a GAN", "a generator of `kind: gan`"],
            Self::Diffusion => [
                "a diffusion model",
                "a generator of `kind: diffusion` or `noise`",
            ],
            Self::Aesthetic => ["an aesthetic head", "the term `aesthetic`"],
        }
    }

    /// Whether a model of that kind can be read where one of this kind is named: an autoencoder may have a codebook, or be a part of a diffusion model.
    pub fn reads(self, kind: Self) -> bool {
        match self {
            Self::Latent => matches!(kind, Self::Latent | Self::Vqgan | Self::Diffusion),
            _ => self == kind,
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
    /// The family of a CLIP's architecture, such as `siglip2`.
    #[serde(default)]
    family: Option<String>,
    /// The name of its architecture in open_clip, of which it has one if it is in open_clip's registry.
    #[serde(default)]
    pub architecture: Option<String>,
    /// Whether the configuration in its repository is that of another architecture.
    #[serde(default)]
    pub own_configuration: bool,
    /// Its repository on the hub.
    pub repository: String,
    /// The revisions in which it is looked for, in order.
    #[serde(default = "main")]
    pub revisions: Vec<String>,
    /// The names of the layouts in which its repository may hold it, in the order in which they are tried.
    layouts: Vec<String>,
    /// Whether its repository may lack the tokenizer, which is then that of [`Self::tokenizer`] or else of the standard CLIP.
    #[serde(default)]
    pub shared_tokenizer: bool,
    /// The repository whose tokenizer it was trained with, if that is not CLIP's.
    #[serde(default)]
    pub tokenizer: Option<String>,
    /// Whether it was trained with OpenAI's approximation of GELU, even if its configuration does not say so.
    #[serde(default)]
    pub quick_gelu: bool,
    /// Whether it was trained on pictures that were padded to a square, even if its configuration does not say so.
    #[serde(default)]
    pub pads: bool,
    /// How its registry preprocesses pictures, in the keys of open_clip's `preprocess_cfg`; what is left out is as OpenAI does it.
    #[serde(default)]
    pub preprocess: Option<Value>,
    /// Whether this program can use it: of open_clip's registry, whether a small model of its configuration gave the same cosines as open_clip.
    #[serde(default = "yes")]
    pub supported: bool,
    /// Whether lists show it that were not asked for all models.
    #[serde(default = "yes")]
    pub common: bool,
    /// About how large a download it is, in megabytes, if that is known.
    #[serde(default)]
    pub megabytes: Option<u32>,
    /// The parameters of its image tower and of everything else, in thousands, if they are known.
    #[serde(default)]
    pub parameters: Option<[u32; 2]>,
    /// The licence of its weights, as its authors name it.
    pub licence: String,
    /// What it is, in a few words.
    pub about: String,
}

fn yes() -> bool {
    true
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

    /// The family of a CLIP's architecture; what it is for, if it is no CLIP.
    pub fn family(&self) -> &str {
        (self.family.as_deref()).unwrap_or_else(|| self.kind.name())
    }

    /// What its architecture is made of, in the keys of open_clip's `model_cfg`, if it is in open_clip's registry.
    pub fn configuration(&self) -> Option<&'static Value> {
        ARCHITECTURES.get(self.architecture.as_ref()?)
    }

    /// How open_clip preprocesses pictures for it, in the keys of `preprocess_cfg`, if it is in open_clip's registry.
    pub fn preprocessing(&self) -> Option<Value> {
        self.architecture.as_ref()?;
        Some(self.preprocess.clone().unwrap_or_else(|| json!({})))
    }

    /// Whether its transformers use QuickGELU by the table or by the configuration of its architecture.
    pub fn is_quick_gelu(&self) -> bool {
        let configured = self.configuration().map(|config| &config["quick_gelu"]);
        self.quick_gelu || configured == Some(&Value::Bool(true))
    }

    /// Whether its licence forbids commercial use.
    pub fn is_non_commercial(&self) -> bool {
        let licence = self.licence.to_ascii_lowercase();
        licence.contains("non-commercial") || licence.contains("-nc")
    }

    /// The repository whose tokenizer it uses if its own has none.
    pub fn tokenizer_repository(&self) -> Option<&str> {
        let other = self.tokenizer.as_deref().unwrap_or(STANDARD_CLIP);
        self.shared_tokenizer.then_some(other)
    }

    /// How large it is, for the user: its download, or else its parameters.
    pub fn size(&self) -> Option<String> {
        let parameters = |[image, rest]: [u32; 2]| {
            let millions = (f64::from(image) + f64::from(rest)) / 1000.0;
            if millions < 1000.0 {
                format!("{millions:.0} M parameters")
            } else {
                format!("{:.1} G parameters", millions / 1000.0)
            }
        };
        (self.megabytes.map(megabytes)).or_else(|| self.parameters.map(parameters))
    }

    /// Its name and its aliases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        [&self.name]
            .into_iter()
            .chain(&self.aliases)
            .map(|name| &**name)
    }
}

/// A size in megabytes, for the user.
pub fn megabytes(count: u32) -> String {
    match count {
        0..1000 => format!("{count} MB"),
        _ => format!("{:.1} GB", f64::from(count) / 1000.0),
    }
}

/// All known models.
pub fn all() -> &'static [Model] {
    &TABLE.models
}

/// The families of all known models, in the order in which the table has them.
pub fn families() -> Vec<&'static str> {
    let mut families = vec![];
    for family in all().iter().map(Model::family) {
        if !families.contains(&family) {
            families.push(family);
        }
    }
    families
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
    // a repository may hold several models: the one with its name is meant, else the first that it describes
    let of_repository =
        |model: &&Model| !model.own_configuration && model.repository.eq_ignore_ascii_case(name);
    (all().iter().find(named)).or_else(|| all().iter().find(of_repository))
}

/// The names of an architecture with its tags, `architecture/tag`; upper and lower case are the same.
pub(super) fn with_tags(architecture: &str) -> Vec<&'static str> {
    let plain = |name: &str| name.to_ascii_lowercase().replace("-quickgelu", "");
    (all().iter())
        .filter(|model| {
            (model.architecture.as_deref()).is_some_and(|own| plain(own) == plain(architecture))
        })
        .flat_map(Model::names)
        .filter(|name| {
            (name.split_once('/'))
                .is_some_and(|(owner, _)| owner.eq_ignore_ascii_case(architecture))
        })
        .collect()
}

/// The name that is nearest to an unknown one, of the table's and of `others`, as part of a message; empty if none is close.
pub(super) fn nearest(name: &str, others: &[&'static str]) -> String {
    let lower = name.to_ascii_lowercase();
    (all().iter().flat_map(Model::names))
        .chain(others.iter().copied())
        .map(|known| (strsim::jaro(&lower, &known.to_ascii_lowercase()), known))
        .filter(|(score, _)| *score > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(String::new(), |(_, known)| {
            format!(" (did you mean `{known}`?)")
        })
}

#[cfg(test)]
mod tests;
