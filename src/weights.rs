//! Where weights come from: the program itself, a folder, or the Hugging Face cache.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::Device;
use generators::Autoencoder;

use crate::clip::Clip;

/// The name of the model that is part of the program.
pub const EMBEDDED: &str = "embedded";

/// A model that can be asked for by name.
#[derive(Clone, Debug)]
pub struct KnownModel {
    /// What a recipe calls it.
    pub name: &'static str,
    /// What it is.
    pub description: &'static str,
    /// The folder that holds it on this machine; the embedded one needs none.
    pub cached: Option<PathBuf>,
}

/// Name and description of the repositories whose layout is read.
const REPOSITORIES: &[(&str, &str)] = &[
    (
        "openai/clip-vit-base-patch32",
        "OpenAI's ViT-B/32, 224 px: the field's workhorse",
    ),
    (
        "openai/clip-vit-base-patch16",
        "OpenAI's ViT-B/16, 224 px: finer patches",
    ),
    ("openai/clip-vit-large-patch14", "OpenAI's ViT-L/14, 224 px"),
    (
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        "OpenCLIP's ViT-B/32, trained on LAION-2B",
    ),
    (
        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        "OpenCLIP's ViT-H/14, trained on LAION-2B; 4 GB",
    ),
];

const CLIP_WEIGHTS: [&str; 3] = [
    "model.safetensors",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
];
const DIFFUSION_WEIGHTS: [&str; 4] = [
    "unet/diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.bin",
];

/// The models that are known by name.
pub fn known() -> Vec<KnownModel> {
    let mut models = vec![KnownModel {
        name: EMBEDDED,
        description: "part of the program: 64 px, for drawings and simple scenes",
        cached: None,
    }];
    models.extend(REPOSITORIES.iter().map(|(name, description)| KnownModel {
        name,
        description,
        cached: cached(name),
    }));
    models
}

/// Loads the model of that name: `embedded`, a folder, or a repository that the Hugging Face cache holds.
/// A relative folder is looked for from `base`, then from the working folder.
pub fn load(name: &str, base: &Path, device: &Device) -> Result<Clip> {
    if name == EMBEDDED {
        return Ok(Clip::embedded(device)?);
    }
    let folder = [base.join(name), PathBuf::from(name)]
        .into_iter()
        .find(|path| path.is_dir())
        .or_else(|| cached(name));
    let Some(folder) = folder else {
        if looks_like_repository(name) {
            bail!(
                "the CLIP `{name}` is not on this machine. Download it into the Hugging Face cache (`hf download {name} config.json model.safetensors tokenizer.json preprocessor_config.json`), \
                 or give the folder that holds its files as the model"
            );
        }
        bail!(
            "there is no CLIP `{name}`: it is neither `{EMBEDDED}`, nor a folder, nor the name of a repository such as `openai/clip-vit-base-patch32`"
        );
    };
    Clip::from_folder(name, &folder, device)
        .with_context(|| format!("cannot load the CLIP in {}", folder.display()))
}

/// The folder of the diffusion model of that name: a folder, or a repository that the Hugging Face cache holds.
///
/// # Errors
/// Where it is neither.
pub fn diffusion(name: &str) -> Result<PathBuf> {
    let path = PathBuf::from(name);
    if path.is_dir() {
        return Ok(path);
    }
    if let Some(folder) = cached_with(name, &DIFFUSION_WEIGHTS) {
        return Ok(folder);
    }
    if looks_like_repository(name) {
        bail!(
            "the diffusion model `{name}` is not on this machine. Download it into the Hugging Face cache (`hf download {name}`), \
             or give the folder that holds its files as the model"
        );
    }
    bail!(
        "there is no diffusion model `{name}`: it is neither a folder, nor the name of a repository such as `google/ddpm-cat-256`"
    );
}

/// Short names of autoencoders, and the repositories that hold them.
const AUTOENCODERS: &[(&str, &str)] = &[
    ("f16_1024", "thomwolf/vqgan_imagenet_f16_1024"),
    ("f16_16384", "valhalla/vqgan_imagenet_f16_16384"),
    ("taesd", "madebyollin/taesd"),
];

/// Loads the autoencoder of that name: a file, a folder, a short name, or a repository that the Hugging Face cache holds.
///
/// # Errors
/// Where it is not on this machine, or is no autoencoder that can be read.
pub fn autoencoder(name: &str, device: &Device) -> Result<Autoencoder> {
    let short = AUTOENCODERS.iter().find(|(short, _)| *short == name);
    let repository = short.map_or(name, |(_, repository)| repository);
    let here = Path::new(name);
    let found = match here.exists() {
        true => Some(here.to_owned()),
        false => snapshot(repository),
    };
    let Some(path) = found else {
        if looks_like_repository(repository) {
            bail!(
                "the autoencoder `{name}` is not on this machine. Download it into the Hugging Face cache (`hf download {repository}`), \
                 or give the folder that holds its files as the model"
            );
        }
        bail!(
            "there is no autoencoder `{name}`: it is neither a folder nor a file, nor the name of a repository such as `madebyollin/taesd`"
        );
    };
    Autoencoder::open(&path, device)
        .with_context(|| format!("cannot load the autoencoder in {}", path.display()))
}

/// The folder of the cache that holds the newest snapshot of a repository, whatever is in it.
fn snapshot(repository: &str) -> Option<PathBuf> {
    if !looks_like_repository(repository) {
        return None;
    }
    let folder = cache_folder()?.join(format!("models--{}", repository.replace('/', "--")));
    let commit = std::fs::read_to_string(folder.join("refs/main")).ok()?;
    Some(folder.join("snapshots").join(commit.trim())).filter(|folder| folder.is_dir())
}

/// `owner/name`, of the characters that the hub allows.
fn looks_like_repository(name: &str) -> bool {
    let allowed = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && (part.chars()).all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    name.split_once('/')
        .is_some_and(|(owner, model)| allowed(owner) && allowed(model))
}

/// The folder of the cache that holds the newest snapshot of a repository.
///
/// The layout is that of huggingface_hub: `models--owner--name/refs/main` names the snapshot in `snapshots/`.
fn cached(repository: &str) -> Option<PathBuf> {
    cached_with(repository, &CLIP_WEIGHTS)
}

/// The same, of a repository that holds one of these files.
fn cached_with(repository: &str, weights: &[&str]) -> Option<PathBuf> {
    if !looks_like_repository(repository) {
        return None;
    }
    let folder = cache_folder()?.join(format!("models--{}", repository.replace('/', "--")));
    // some repositories keep safetensors on a branch of conversions
    ["main", "refs/pr/15"].into_iter().find_map(|reference| {
        let commit = std::fs::read_to_string(folder.join("refs").join(reference)).ok()?;
        let snapshot = folder.join("snapshots").join(commit.trim());
        let has_weights = weights.iter().any(|name| snapshot.join(name).is_file());
        has_weights.then_some(snapshot)
    })
}

/// Where huggingface_hub keeps its downloads: HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub.
fn cache_folder() -> Option<PathBuf> {
    let variable = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("HF_HUB_CACHE")
        .or_else(|| Some(variable("HF_HOME")?.join("hub")))
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("huggingface/hub")))
        .or_else(|| Some(std::env::home_dir()?.join(".cache/huggingface/hub")))
}
