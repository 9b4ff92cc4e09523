//! Which files of a folder make a CLIP.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use weights::checkpoint::Checkpoint;
use weights::models::{Cache, FileSet, Model, ModelKind, all, file_in, only_weights};

use crate::activation::ClipActivation;
use crate::config::{ClipConfig, Layout, TextKind, VisionKind, VisionPool};
use crate::error::ClipError;
use crate::preprocess::ResizeMode;
use crate::{coca, derive, unsupported};

/// Tensors that identify a CLIP whatever the prefix of its names: those of the image tower in OpenCLIP's layout (ViT, ResNet, timm's towers)
/// and in transformers' layout.
const MARKS: &[&str] = &[
    "visual.conv1.weight",
    "visual.trunk.patch_embed.proj.weight",
    "visual.trunk.patch_embed.backbone.0.conv.weight",
    "visual.trunk.patch_embed.backbone.stem.conv1.weight",
    "visual.trunk.stem.0.weight",
    "visual.trunk.stem.0.conv_kxk.0.conv.weight",
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

/// A text file that was found and read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFile {
    /// Its path.
    pub path: PathBuf,
    /// Its content.
    pub text: String,
}

impl TextFile {
    /// The file of that name in a folder, if there is one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn in_folder(folder: &Path, name: &str) -> Result<Option<Self>, ClipError> {
        let Some(path) = file_in(folder, [name]) else {
            return Ok(None);
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(Self { path, text })),
            Err(source) => Err(ClipError::Read(path.display().to_string(), source)),
        }
    }

    /// A key's value at the root of its JSON; null if there is none.
    fn json(&self, key: &str) -> Result<Value, ClipError> {
        let json: Value = serde_json::from_str(&self.text)
            .map_err(|error| self.error(format!("cannot be read: {error}")))?;
        Ok(json[key].clone())
    }

    pub(crate) fn error(&self, what: String) -> ClipError {
        ClipError::config(&self.path, what)
    }
}

/// A setting of a tokenizer that is a text or a token, such as `padding_side` or `pad_token`, from the files next to it. If both files have it,
/// the map of special tokens takes precedence: Stable Diffusion 2's `tokenizer_config.json` names a padding token that it was not trained with.
pub(super) fn tokenizer_setting(folder: &Path, key: &str) -> Result<Option<String>, ClipError> {
    for name in ["special_tokens_map.json", "tokenizer_config.json"] {
        let Some(file) = TextFile::in_folder(folder, name)? else {
            continue;
        };
        let value = file.json(key)?;
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
    pub config: Option<(TextFile, Layout)>,
    /// Its preprocessing, in the Hugging Face layout.
    pub preprocessor: Option<TextFile>,
    /// Its weights.
    pub weights: PathBuf,
    /// Its tokenizer.
    pub tokenizer: Option<TokenizerFiles>,
    /// Whether that is the one that the model was trained with although it is not beside the weights, by the table of known models.
    pub tokenizer_is_known: bool,
    /// The nonlinearity of its transformers, whatever the configuration says.
    pub activation: Option<ClipActivation>,
    /// Whether pictures are padded to a square even if the configuration does not say so.
    pub pads: bool,
}

impl ClipFiles {
    /// The files of a folder in the Hugging Face or the OpenCLIP layout. Safetensors are preferred to pickles. If both layouts
    /// are there, the Hugging Face one is used, unless its configuration is not that of a CLIP: repositories of timm hold an image tower under
    /// these names, next to the whole CLIP in the OpenCLIP layout.
    ///
    /// # Errors
    /// If a file is missing or cannot be read.
    pub fn in_folder(folder: &Path) -> Result<Self, ClipError> {
        let hugging_face = TextFile::in_folder(folder, "config.json")?;
        let open = TextFile::in_folder(folder, "open_clip_config.json")?;
        let mut names: Vec<&String> = weights_names().iter().collect();
        if open.is_some() && !hugging_face.as_ref().is_some_and(is_of_clip) {
            names.sort_by_key(|name| !name.starts_with("open_clip"));
        }
        let found = names.into_iter().find_map(|name| {
            let (config, layout) = if name.starts_with("open_clip") {
                (&open, Layout::OpenClip)
            } else {
                (&hugging_face, Layout::HuggingFace)
            };
            let config = config.clone()?;
            Some((file_in(folder, [name])?, Some((config, layout))))
        });
        if let Some((weights, config)) = found {
            return Self::with_config(&weights, config);
        }
        // weights under transformers' name with OpenCLIP's configuration, or with none, which is then derived from the shapes
        if hugging_face.is_none() {
            let weights = file_in(folder, weights_names());
            let only = || only_weights(folder).filter(|_| open.is_none());
            if let Some(weights) = weights.or_else(only) {
                return Self::with_config(&weights, open.map(|open| (open, Layout::OpenClip)));
            }
        }
        Err(ClipError::NoFile {
            folder: folder.display().to_string(),
            missing: match (hugging_face, open) {
                (_, Some(_)) => "open_clip_model.safetensors",
                (Some(_), None) => "model.safetensors",
                (None, None) => "config.json",
            },
            wanted: WANTED,
        })
    }

    /// The files of a CLIP in a folder or a file; `model` is its entry in the table of known models. Without a tokenizer of its own, it gets the
    /// one that it was trained with from the cache, which for most CLIPs is the standard one.
    ///
    /// Of a model in open_clip's registry, the registry says how pictures are preprocessed in the OpenCLIP layout, and what the model is made of
    /// if its folder does not.
    ///
    /// # Errors
    /// As [`ClipFiles::in_folder`].
    pub fn of_model(path: &Path, model: Option<&Model>) -> Result<Self, ClipError> {
        let mut files = match model {
            _ if !path.is_dir() => Self::of_file(path)?,
            Some(model) if model.architecture.is_some() => Self::of_registry(path, model)?,
            _ => Self::in_folder(path)?,
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
        if files.tokenizer.is_none() {
            let other = model.and_then(|model| model.tokenizer.as_deref());
            files.tokenizer_is_known = other.is_some();
            files.tokenizer = match other {
                Some(repository) => cached_tokenizer(repository),
                None => standard_tokenizer(),
            };
        }
        Ok(files)
    }

    /// The files of a model of open_clip's registry in a folder.
    fn of_registry(folder: &Path, model: &Model) -> Result<Self, ClipError> {
        // whatever else lies in a cached snapshot, such as timm's image tower or the code of another library
        let of_open_clip =
            |files: &&FileSet| !files.required.iter().any(|file| file == "config.json");
        let weights = (model.layouts().filter(of_open_clip))
            .find_map(|files| file_in(folder, &files.weights));
        let Some(weights) = weights else {
            return Self::in_folder(folder);
        };
        let own = TextFile::in_folder(folder, "open_clip_config.json")?;
        let own = own.filter(|_| !model.own_configuration);
        let (path, text) = match own {
            Some(file) => (file.path, file.text),
            None => (
                weights.clone(),
                json!({ "model_cfg": model.configuration() }).to_string(),
            ),
        };
        let text = with_preprocessing(&text, model.preprocessing()).unwrap_or(text);
        Self::with_config(&weights, Some((TextFile { path, text }, Layout::OpenClip)))
    }

    /// A file of weights with the configuration next to it: OpenCLIP's, unless the file has a name of transformers' layout
    /// and lies next to that library's configuration of a CLIP. Without one, the shape is taken from the tensors.
    ///
    /// # Errors
    /// If the configuration cannot be read.
    pub fn of_file(weights: &Path) -> Result<Self, ClipError> {
        let config = |name| match weights.parent() {
            Some(folder) => TextFile::in_folder(folder, name),
            None => Ok(None),
        };
        let name = (weights.file_name().unwrap_or_default().to_string_lossy()).into_owned();
        let of_transformers = !name.starts_with("open_clip") && weights_names().contains(&name);
        let hugging_face =
            config("config.json")?.filter(|file| of_transformers && is_of_clip(file));
        let config = match hugging_face {
            Some(file) => Some((file, Layout::HuggingFace)),
            None => config("open_clip_config.json")?.map(|file| (file, Layout::OpenClip)),
        };
        Self::with_config(weights, config)
    }

    /// One file of weights alone, in OpenAI's and OpenCLIP's layout; a tokenizer may be next to it.
    pub fn single(weights: &Path) -> Self {
        Self {
            config: None,
            preprocessor: None,
            weights: weights.to_owned(),
            tokenizer: weights.parent().and_then(TokenizerFiles::in_folder),
            tokenizer_is_known: false,
            activation: None,
            pads: false,
        }
    }

    fn with_config(weights: &Path, config: Option<(TextFile, Layout)>) -> Result<Self, ClipError> {
        let preprocessor = match (&config, weights.parent()) {
            (Some((_, Layout::HuggingFace)), Some(folder)) => preprocessor(folder)?,
            _ => None,
        };
        Ok(Self {
            config,
            preprocessor,
            ..Self::single(weights)
        })
    }

    /// Opens the weights and finds the shape of the model.
    ///
    /// # Errors
    /// If the weights cannot be read; as [`ClipFiles::config`].
    pub fn open(&self) -> Result<(Checkpoint, ClipConfig), ClipError> {
        let mut checkpoint = Checkpoint::open(&self.weights)?;
        checkpoint.locate(MARKS)?;
        let config = self.config(&checkpoint)?;
        Ok((checkpoint, config))
    }

    /// The shape of the model, from its configuration or else from its tensors.
    ///
    /// # Errors
    /// If the files are of another kind of model, or ask for something that is not supported.
    pub fn config(&self, checkpoint: &Checkpoint) -> Result<ClipConfig, ClipError> {
        let other = |expected: &[&str]| {
            let kind = unsupported::of_weights(checkpoint, expected);
            kind.map_or(Ok(()), |kind| {
                Err(ClipError::Unsupported(
                    self.weights.display().to_string(),
                    kind,
                ))
            })
        };
        let mut config = match &self.config {
            None => {
                other(&[])?;
                derive::config(checkpoint).map_err(|what| ClipError::config(&self.weights, what))?
            }
            Some((file, layout)) => {
                let config = match layout {
                    Layout::OpenClip => ClipConfig::open_clip(&file.text),
                    Layout::HuggingFace => ClipConfig::hugging_face(&file.text),
                };
                let config = config.map_err(|what| file.error(what))?;
                // the weights may show what the configuration does not
                let image: &[&str] = match &config.vision.kind {
                    VisionKind::Timm(_) => &["visual.trunk."],
                    VisionKind::Transformer(vit) if vit.pool == VisionPool::Map => {
                        &["vision_model.head."]
                    }
                    VisionKind::Transformer(vit)
                        if matches!(vit.pool, VisionPool::Attention { .. }) =>
                    {
                        &[coca::DECODER, "visual.attn_pool."]
                    }
                    _ => &[],
                };
                let text: &[&str] = match &config.text.kind {
                    TextKind::Clip | TextKind::Coca { .. } => &[],
                    TextKind::Hf(_) => unsupported::OF_TRANSFORMERS,
                };
                other(&[image, text].concat())?;
                config
            }
        };
        if let Some(file) = &self.preprocessor {
            config = (config.with_preprocessor(&file.text)).map_err(|what| file.error(what))?;
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

    /// The tokenizer that the configuration names in open_clip's layout, after the key that names it.
    pub(super) fn tokenizer_name(&self) -> Option<(&'static str, String)> {
        let (file, _) = self.config.as_ref()?;
        let text = file.json("model_cfg").ok()?["text_cfg"].take();
        ["hf_tokenizer_name", "hf_model_name"]
            .into_iter()
            .find_map(|key| {
                let name = text[key].as_str().filter(|name| !name.is_empty())?;
                Some((key, name.to_owned()))
            })
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
fn is_of_clip(file: &TextFile) -> bool {
    let kind = file.json("model_type").unwrap_or_default();
    unsupported::MODEL_TYPES.iter().any(|known| kind == *known)
}

/// The file with transformers' preprocessing. Version 5 writes it to `processor_config.json`, which takes precedence; in older versions that file
/// only names a class.
fn preprocessor(folder: &Path) -> Result<Option<TextFile>, ClipError> {
    let newer = TextFile::in_folder(folder, "processor_config.json")?;
    // a broken file counts: the error is reported when its keys are read
    let newer = newer.filter(|file| {
        file.json("image_processor")
            .map_or(true, |section| !section.is_null())
    });
    match newer {
        Some(file) => Ok(Some(file)),
        None => TextFile::in_folder(folder, "preprocessor_config.json"),
    }
}

/// The names of a CLIP's weights, in either layout.
fn weights_names() -> &'static [String] {
    &ModelKind::Clip.weights().names
}

/// An `open_clip_config.json` with another `preprocess_cfg`; none if it cannot be read, which is reported when its keys are.
fn with_preprocessing(config: &str, preprocessing: Option<Value>) -> Option<String> {
    let mut config: Value = serde_json::from_str(config).ok()?;
    (config.as_object_mut()?).insert("preprocess_cfg".to_owned(), preprocessing?);
    Some(config.to_string())
}

/// The tokenizer of any known CLIP in the cache that has the standard one: they all use the same.
fn standard_tokenizer() -> Option<TokenizerFiles> {
    (all().iter())
        .filter(|model| model.kind == ModelKind::Clip && model.tokenizer.is_none())
        .find_map(|model| cached_tokenizer(&model.repository))
}

/// The tokenizer of a repository in the cache.
fn cached_tokenizer(repository: &str) -> Option<TokenizerFiles> {
    (Cache::from_env().snapshots(repository).iter())
        .find_map(|snapshot| TokenizerFiles::in_folder(&snapshot.path))
}
