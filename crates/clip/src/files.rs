//! Which files of a folder make a CLIP.

use std::path::{Path, PathBuf};

use serde_json::Value;
use weights::checkpoint::Checkpoint;
use weights::models::{Cache, Model, ModelKind, all, file_in, only_weights};

use crate::activation::ClipActivation;
use crate::config::{ClipConfig, Layout};
use crate::error::ClipError;
use crate::preprocess::ResizeMode;
use crate::{derive, unsupported};

/// Tensors that identify a CLIP whatever the prefix of its names: those of the image tower in OpenCLIP's layout (ViT, ResNet, timm's towers)
/// and in transformers' layout.
pub const MARKS: &[&str] = &[
    "visual.conv1.weight",
    "visual.trunk.patch_embed.proj.weight",
    "visual.trunk.stem.0.weight",
    "vision_model.embeddings.patch_embedding.weight",
];
const WANTED: &str = "config.json, model.safetensors or pytorch_model.bin, and tokenizer.json (Hugging Face), or open_clip_config.json, open_clip_model.safetensors or open_clip_pytorch_model.bin, and tokenizer.json (OpenCLIP)";

/// The files of a tokenizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenizerFiles {
    /// `tokenizer.json`, which holds everything.
    Json(PathBuf),
    /// CLIP's byte-pair encoding as its words and its merges.
    Pairs {
        /// `vocab.json`.
        vocabulary: PathBuf,
        /// `merges.txt`.
        merges: PathBuf,
    },
}

impl TokenizerFiles {
    /// The tokenizer's files in a folder.
    pub fn in_folder(folder: &Path) -> Option<Self> {
        if let Some(path) = file_in(folder, ["tokenizer.json"]) {
            return Some(Self::Json(path));
        }
        Some(Self::Pairs {
            vocabulary: file_in(folder, ["vocab.json"])?,
            merges: file_in(folder, ["merges.txt"])?,
        })
    }

    /// The folder that they are in.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Json(path) => path.parent(),
            Self::Pairs { vocabulary, .. } => vocabulary.parent(),
        }
    }
}

/// A setting of a tokenizer that is a text or a token, such as `padding_side` or `pad_token`, from the files next to it. If both files have it,
/// the map of special tokens takes precedence: Stable Diffusion 2's `tokenizer_config.json` names a padding token that it was not trained with.
pub(super) fn tokenizer_setting(folder: &Path, key: &str) -> Result<Option<String>, ClipError> {
    for name in ["special_tokens_map.json", "tokenizer_config.json"] {
        let Some(path) = file_in(folder, [name]) else {
            continue;
        };
        let json: Value = serde_json::from_str(&read_text(&path)?)
            .map_err(|error| ClipError::config(&path, format!("cannot be read: {error}")))?;
        let value = &json[key];
        if let Some(text) = value.as_str().or_else(|| value["content"].as_str()) {
            return Ok(Some(text.to_owned()));
        }
    }
    Ok(None)
}

/// The files of a CLIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipFiles {
    /// Its configuration; without one, its shape is taken from its tensors.
    pub config: Option<(PathBuf, Layout)>,
    /// How pictures are shown to it, in the Hugging Face layout.
    pub preprocessor: Option<PathBuf>,
    /// Its weights.
    pub weights: PathBuf,
    /// Its tokenizer.
    pub tokenizer: Option<TokenizerFiles>,
    /// The nonlinearity of its transformers, whatever the configuration says.
    pub activation: Option<ClipActivation>,
    /// Whether pictures are padded to a square even if the configuration does not say so.
    pub pads: bool,
}

impl ClipFiles {
    /// Those of a folder in the Hugging Face or the OpenCLIP layout. Safetensors are preferred to pickles, and where both layouts
    /// are there, the Hugging Face one, unless its configuration is of no CLIP: repositories of timm hold its image tower under these
    /// names, beside the whole CLIP in the OpenCLIP layout.
    pub fn in_folder(folder: &Path) -> Result<Self, ClipError> {
        let missing = |missing| ClipError::NoFile {
            folder: folder.display().to_string(),
            missing,
            wanted: WANTED,
        };
        let hugging_face = file_in(folder, ["config.json"]);
        let open = file_in(folder, ["open_clip_config.json"]);
        let known = (hugging_face.as_deref()).is_some_and(is_of_clip);
        let mut names: Vec<&String> = weights_names().iter().collect();
        if !known && open.is_some() {
            names.sort_by_key(|name| !name.starts_with("open_clip"));
        }
        let mut found = None;
        for name in names {
            let (config, layout) = if name.starts_with("open_clip") {
                (&open, Layout::OpenClip)
            } else {
                (&hugging_face, Layout::HuggingFace)
            };
            if let (Some(config), Some(weights)) = (config, file_in(folder, [name])) {
                found = Some((config.clone(), layout, weights));
                break;
            }
        }
        let Some((config, layout, weights)) = found else {
            // weights under transformers' name with OpenCLIP's configuration, or with none, which is then derived from the shapes
            if let (None, Some(weights)) = (&hugging_face, file_in(folder, weights_names())) {
                return Ok(Self {
                    config: open.map(|open| (open, Layout::OpenClip)),
                    ..Self::single(&weights)
                });
            }
            if let (None, None, Some(weights)) = (&hugging_face, &open, only_weights(folder)) {
                return Ok(Self::single(&weights));
            }
            return Err(missing(match (hugging_face, open) {
                (_, Some(_)) => "open_clip_model.safetensors",
                (Some(_), None) => "model.safetensors",
                (None, None) => "config.json",
            }));
        };
        Ok(Self {
            config: Some((config, layout)),
            preprocessor: match layout {
                Layout::HuggingFace => preprocessor(folder),
                Layout::OpenClip => None,
            },
            weights,
            tokenizer: TokenizerFiles::in_folder(folder),
            activation: None,
            pads: false,
        })
    }

    /// The files of a CLIP in a folder or a file; `model` is its entry in the table of known models. Without a tokenizer of its own, it gets the
    /// standard one from the cache.
    ///
    /// # Errors
    /// As [`ClipFiles::in_folder`].
    pub fn of_model(path: &Path, model: Option<&Model>) -> Result<Self, ClipError> {
        let mut files = if path.is_dir() {
            Self::in_folder(path)?
        } else {
            Self::of_file(path)
        };
        if let Some(model) = model {
            files.activation = match (model.quick_gelu, files.config.is_some()) {
                (true, _) => Some(ClipActivation::QuickGelu),
                (false, false) => Some(ClipActivation::Gelu),
                // the configuration says it
                (false, true) => None,
            };
            files.pads |= model.pads;
        }
        files.tokenizer = files.tokenizer.or_else(standard_tokenizer);
        Ok(files)
    }

    /// A file of weights that was named itself, with the configuration next to it: OpenCLIP's, unless the file has a name of transformers' layout
    /// and lies next to that library's configuration of a CLIP. Without one, the shape is taken from the tensors.
    pub fn of_file(weights: &Path) -> Self {
        let beside = |name: &str| weights.parent().and_then(|folder| file_in(folder, [name]));
        let name = weights
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let of_transformers = !name.starts_with("open_clip") && weights_names().contains(&name);
        let hugging_face = beside("config.json").filter(|path| of_transformers && is_of_clip(path));
        let config = match (hugging_face, beside("open_clip_config.json")) {
            (Some(path), _) => Some((path, Layout::HuggingFace)),
            (None, Some(path)) => Some((path, Layout::OpenClip)),
            (None, None) => None,
        };
        Self {
            preprocessor: (config.as_ref())
                .filter(|(_, layout)| *layout == Layout::HuggingFace)
                .and_then(|_| weights.parent().and_then(preprocessor)),
            config,
            ..Self::single(weights)
        }
    }

    /// One file of weights alone, in OpenAI's and OpenCLIP's layout; a tokenizer may lie beside it.
    pub fn single(weights: &Path) -> Self {
        Self {
            config: None,
            preprocessor: None,
            weights: weights.to_owned(),
            tokenizer: weights.parent().and_then(TokenizerFiles::in_folder),
            activation: None,
            pads: false,
        }
    }

    /// Opens the weights and finds the shape of the model.
    ///
    /// # Errors
    /// Where the weights cannot be read, and as [`ClipFiles::config`].
    pub fn open(&self) -> Result<(Checkpoint, ClipConfig), ClipError> {
        let mut checkpoint = Checkpoint::open(&self.weights)?;
        checkpoint.locate(MARKS)?;
        let config = self.config(&checkpoint)?;
        Ok((checkpoint, config))
    }

    /// The shape of the model, from its configuration or else from its tensors.
    ///
    /// # Errors
    /// Where the files are of another kind of model, or ask for something that is not supported.
    pub fn config(&self, checkpoint: &Checkpoint) -> Result<ClipConfig, ClipError> {
        let at = |path| move |what| ClipError::config(path, what);
        let other = || {
            unsupported::of_weights(checkpoint).map(|kind| ClipError::Unsupported {
                path: self.weights.display().to_string(),
                kind,
            })
        };
        let mut config = match &self.config {
            None => match other() {
                Some(other) => return Err(other),
                None => derive::config(checkpoint).map_err(at(&self.weights))?,
            },
            Some((path, layout)) => {
                let text = read_text(path)?;
                let config = match layout {
                    Layout::OpenClip => ClipConfig::open_clip(&text),
                    Layout::HuggingFace => ClipConfig::hugging_face(&text),
                };
                let config = config.map_err(at(path))?;
                // what the configuration did not give away
                if let Some(other) = other() {
                    return Err(other);
                }
                config
            }
        };
        if let Some(path) = &self.preprocessor {
            config = (config.with_preprocessor(&read_text(path)?)).map_err(at(path))?;
        }
        if let Some((activation, _)) = self.activation_of(checkpoint) {
            config.use_activation(activation.into());
        }
        if self.pads {
            config.preprocess.resize_mode = ResizeMode::Longest;
            config.preprocess.resize = config.preprocess.size;
        }
        Ok(config)
    }

    /// The nonlinearity that overrides the configuration's, and whether it is certain.
    fn activation_of(&self, checkpoint: &Checkpoint) -> Option<(ClipActivation, bool)> {
        if let Some(activation) = self.activation {
            return Some((activation, true));
        }
        if self.config.is_some() || derive::tells_activation(checkpoint) {
            return None;
        }
        Some(ClipActivation::of_file(&self.weights).unwrap_or((ClipActivation::Gelu, false)))
    }

    /// A warning if the nonlinearity had to be assumed, with the setting that chooses it.
    pub(super) fn assumption(&self, checkpoint: &Checkpoint) -> Option<String> {
        let (assumed, certain) = self.activation_of(checkpoint)?;
        if certain {
            return None;
        }
        let (why, other) = match assumed {
            ClipActivation::Gelu => (
                "GELU is assumed, as in open_clip for weights without OpenAI's `input_resolution`; models fine-tuned from OpenAI's, MetaCLIP's or DFN's use QuickGELU",
                ClipActivation::QuickGelu,
            ),
            ClipActivation::QuickGelu => (
                "QuickGELU is assumed, as MetaCLIP's models of that name use it",
                ClipActivation::Gelu,
            ),
        };
        Some(format!(
            "{} does not state its nonlinearity. {why}. To choose: `activation: {other}` (or `{assumed}`) in the recipe's `clip`, or `--activation {other}`",
            self.weights.display()
        ))
    }
}

/// Whether a `config.json` describes a supported CLIP.
fn is_of_clip(path: &Path) -> bool {
    let kind = (std::fs::read_to_string(path).ok())
        .and_then(|text| serde_json::from_str::<Value>(&text).ok())
        .map(|json| json["model_type"].clone());
    kind.is_some_and(|kind| unsupported::MODEL_TYPES.iter().any(|known| kind == *known))
}

/// The file with transformers' preprocessing. Version 5 writes it to `processor_config.json`, which takes precedence; in older versions that file
/// only names a class.
fn preprocessor(folder: &Path) -> Option<PathBuf> {
    let says = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // a broken file counts: the error is reported when it is read again
        serde_json::from_str::<Value>(&text).map_or(true, |json| !json["image_processor"].is_null())
    };
    file_in(folder, ["processor_config.json"])
        .filter(says)
        .or_else(|| file_in(folder, ["preprocessor_config.json"]))
}

/// The names of a CLIP's weights, in either layout.
fn weights_names() -> &'static [String] {
    &ModelKind::Clip.weights().names
}

/// The tokenizer of any known CLIP in the cache: they all use the same one.
fn standard_tokenizer() -> Option<TokenizerFiles> {
    let cache = Cache::from_env();
    (all().iter())
        .filter(|model| model.kind == ModelKind::Clip)
        .flat_map(|model| cache.snapshots(&model.repository))
        .find_map(|snapshot| TokenizerFiles::in_folder(&snapshot.path))
}

pub(crate) fn read_text(path: &Path) -> Result<String, ClipError> {
    std::fs::read_to_string(path).map_err(|source| ClipError::Read {
        path: path.display().to_string(),
        source,
    })
}
