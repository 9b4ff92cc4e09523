//! Which files of a folder make a CLIP.

use std::path::{Path, PathBuf};

use frozen::checkpoint::{Checkpoint, file_in};

use super::config::{ClipConfig, Layout};
use super::preprocess::Fit;
use super::{ClipError, derive, read_text};

/// The names of a CLIP's weights, in either layout.
pub const WEIGHTS: &[&str] = &[
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin",
];
/// Tensors by which a CLIP is found whatever stands in front of its names: the image tower's in OpenCLIP's layout, of a vision transformer, a
/// residual network and timm's towers, and in transformers' layout.
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
    /// Those of a folder.
    pub fn in_folder(folder: &Path) -> Option<Self> {
        if let Some(path) = file_in(folder, &["tokenizer.json"]) {
            return Some(Self::Json(path));
        }
        Some(Self::Pairs {
            vocabulary: file_in(folder, &["vocab.json"])?,
            merges: file_in(folder, &["merges.txt"])?,
        })
    }
}

/// The files of a CLIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipFiles {
    /// Its configuration; without one, its shape is taken from its tensors.
    pub config: Option<(PathBuf, Layout)>,
    /// Mean and standard deviation of its input, in the Hugging Face layout.
    pub preprocessor: Option<PathBuf>,
    /// Its weights.
    pub weights: PathBuf,
    /// Its tokenizer.
    pub tokenizer: Option<TokenizerFiles>,
    /// Whether OpenAI's approximation of GELU is used even if the configuration does not say so.
    pub quick_gelu: bool,
    /// Whether pictures are padded to a square even if the configuration does not say so.
    pub pads: bool,
}

impl ClipFiles {
    /// Those of a folder in the Hugging Face or the OpenCLIP layout. Safetensors are preferred to pickles, and where both layouts
    /// are there, the Hugging Face one.
    pub fn in_folder(folder: &Path) -> Result<Self, ClipError> {
        let missing = |missing| ClipError::NoFile {
            folder: folder.display().to_string(),
            missing,
            wanted: WANTED,
        };
        let hugging_face = file_in(folder, &["config.json"]);
        let open = file_in(folder, &["open_clip_config.json"]);
        let mut found = None;
        for &name in WEIGHTS {
            let (config, layout) = match name.starts_with("open_clip") {
                true => (&open, Layout::OpenClip),
                false => (&hugging_face, Layout::HuggingFace),
            };
            if let (Some(config), Some(weights)) = (config, file_in(folder, &[name])) {
                found = Some((config.clone(), layout, weights));
                break;
            }
        }
        let Some((config, layout, weights)) = found else {
            return Err(missing(match (hugging_face, open) {
                (_, Some(_)) => "open_clip_model.safetensors",
                (Some(_), None) => "model.safetensors",
                (None, None) => "config.json",
            }));
        };
        Ok(Self {
            config: Some((config, layout)),
            preprocessor: match layout {
                Layout::HuggingFace => file_in(folder, &["preprocessor_config.json"]),
                Layout::OpenClip => None,
            },
            weights,
            tokenizer: TokenizerFiles::in_folder(folder),
            quick_gelu: false,
            pads: false,
        })
    }

    /// One file of weights alone, in OpenAI's and OpenCLIP's layout; a tokenizer may lie beside it.
    pub fn single(weights: &Path) -> Self {
        let name = weights.file_name().unwrap_or_default().to_string_lossy();
        Self {
            config: None,
            preprocessor: None,
            weights: weights.to_owned(),
            tokenizer: weights.parent().and_then(TokenizerFiles::in_folder),
            quick_gelu: name.contains("quickgelu"),
            pads: false,
        }
    }

    /// What the configuration says, or else the tensors.
    pub fn config(&self, checkpoint: &Checkpoint) -> Result<ClipConfig, ClipError> {
        let (path, config) = match &self.config {
            None => (&self.weights, derive::config(checkpoint)),
            Some((path, Layout::OpenClip)) => (path, ClipConfig::open_clip(&read_text(path)?)),
            Some((path, Layout::HuggingFace)) => {
                let preprocessor = self.preprocessor.as_deref().map(read_text).transpose()?;
                let config = ClipConfig::hugging_face(&read_text(path)?, preprocessor.as_deref());
                (path, config)
            }
        };
        let mut config = config.map_err(|what| ClipError::Config {
            path: path.display().to_string(),
            what,
        })?;
        if self.quick_gelu {
            config.use_quick_gelu();
        }
        if self.pads {
            config.fit = Fit::Pad;
        }
        Ok(config)
    }
}
