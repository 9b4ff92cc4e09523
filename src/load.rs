//! Where the weights that a recipe names come from: the program itself, a folder or file, or the Hugging Face cache.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::Device;

use crate::clip::files::{ClipFiles, TokenizerFiles, WEIGHTS};
use crate::clip::{Clip, ClipActivation, ClipChoice, Numbers, Tokenizer};
use crate::models::{self, Cache, Kind, Located, ModelError};
use guidance::aesthetic_head;

pub use clip::{EMBEDDED, EMBEDDED_ACTIVATION};

const DIFFUSION_WEIGHTS: [&str; 6] = [
    "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.bin",
];
const AUTOENCODER_WEIGHTS: [&str; 20] = [
    "diffusion_pytorch_model.safetensors",
    "vqvae/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "taesd_decoder.safetensors",
    "taesdxl_decoder.safetensors",
    "taesd3_decoder.safetensors",
    "taef1_decoder.safetensors",
    "taef2_decoder.safetensors",
    "taesana_decoder.safetensors",
    "taesd_decoder.pth",
    "taesdxl_decoder.pth",
    "taesd3_decoder.pth",
    "taef1_decoder.pth",
    "taef2_decoder.pth",
    "taesana_decoder.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "diffusion_pytorch_model.bin",
    "model.ckpt",
    "vqgan.ckpt",
];

/// The names of weights of each kind of model.
const KINDS: [&[&str]; 4] = [
    WEIGHTS,
    &DIFFUSION_WEIGHTS,
    &AUTOENCODER_WEIGHTS,
    aesthetic_head::WEIGHTS,
];

/// Loads the CLIP of that name: `embedded`, a folder or a file, or a known model or repository that the Hugging Face cache holds.
/// A relative path is looked for from `base`, then from the working folder.
///
/// # Errors
/// Where it is nowhere, with the command that fetches it, or its files cannot be used.
pub fn load(name: &str, base: &Path, device: &Device) -> Result<Clip> {
    load_as(name, base, ClipChoice::default(), device)
}

/// [`load`] with a precision and a nonlinearity.
///
/// # Errors
/// As [`load`], and where a nonlinearity is given for the embedded CLIP.
pub fn load_as(name: &str, base: &Path, choice: ClipChoice, device: &Device) -> Result<Clip> {
    let numbers = Numbers::of(choice.precision, device);
    if name == EMBEDDED {
        if choice.activation.is_some() {
            bail!("{EMBEDDED_ACTIVATION}");
        }
        return Ok(Clip::embedded_in(numbers, device)?);
    }
    let located = models::locate(name, base, WEIGHTS)?;
    let context = || format!("cannot load the CLIP in {}", located.path.display());
    let mut files = files(&located).with_context(context)?;
    files.activation = choice.activation.or(files.activation);
    Clip::from_files_in(name, &files, numbers, device).with_context(context)
}

/// The tokenizer of the CLIP of that name, without its towers; none where the CLIP or a tokenizer for it is not on this machine.
///
/// # Errors
/// Where the CLIP's files cannot be used.
pub fn tokenizer(name: &str) -> Result<Option<Tokenizer>> {
    if name == EMBEDDED {
        return Ok(Some(Tokenizer::embedded()?));
    }
    let Ok(located) = models::locate(name, Path::new("."), WEIGHTS) else {
        return Ok(None);
    };
    let context = || format!("cannot load the CLIP in {}", located.path.display());
    let files = files(&located).with_context(context)?;
    if files.tokenizer.is_none() {
        return Ok(None);
    }
    let (_, config) = files.open().with_context(context)?;
    let tokenizer = Tokenizer::of_clip(name, &files, &config).with_context(context)?;
    Ok(Some(tokenizer))
}

/// Checks that a model of that name, of any kind, is on this machine. Returns the note on which snapshot is used, if there is one.
///
/// # Errors
/// Where it is not.
pub fn at_hand(name: &str) -> Result<Option<String>, ModelError> {
    if name == EMBEDDED {
        return Ok(None);
    }
    let mut missing = None;
    for weights in KINDS {
        match models::locate(name, Path::new(""), weights) {
            Ok(located) => return Ok(located.note),
            Err(error) => missing = Some(error),
        }
    }
    missing.map_or(Ok(None), Err)
}

/// Whether a CLIP that is on this machine can read texts: it has a tokenizer, or the one that all CLIPs share is here too.
pub fn has_tokenizer(name: &str) -> bool {
    (models::locate(name, Path::new(""), WEIGHTS).ok())
        .and_then(|located| files(&located).ok())
        .is_some_and(|files| files.tokenizer.is_some())
}

/// The files of a located CLIP, and the tokenizer that all CLIPs share where it has none of its own.
fn files(located: &Located) -> Result<ClipFiles> {
    let mut files = if located.path.is_dir() {
        ClipFiles::in_folder(&located.path)?
    } else {
        ClipFiles::of_file(&located.path)
    };
    if let Some(model) = located.model {
        files.activation = match (model.quick_gelu, files.config.is_some()) {
            (true, _) => Some(ClipActivation::QuickGelu),
            (false, false) => Some(ClipActivation::Gelu),
            // the configuration says it
            (false, true) => None,
        };
    }
    files.pads |= located.model.is_some_and(|model| model.pads);
    if files.tokenizer.is_none() {
        files.tokenizer = standard_tokenizer();
    }
    Ok(files)
}

/// The tokenizer of any known CLIP in the cache: they all use the same one.
fn standard_tokenizer() -> Option<TokenizerFiles> {
    let cache = Cache::from_env();
    (models::all().iter())
        .filter(|model| model.kind == Kind::Clip)
        .flat_map(|model| cache.snapshots(model.repository))
        .find_map(|snapshot| TokenizerFiles::in_folder(&snapshot.path))
}

/// The folder of the diffusion model of that name: a folder, or a known model or repository that the Hugging Face cache holds.
///
/// # Errors
/// Where it is neither.
pub fn diffusion(name: &str) -> Result<PathBuf, ModelError> {
    Ok(models::locate(name, Path::new(""), &DIFFUSION_WEIGHTS)?.path)
}

/// The file or folder of the autoencoder of that name.
///
/// # Errors
/// Where it is not on this machine.
pub fn autoencoder(name: &str) -> Result<PathBuf, ModelError> {
    Ok(models::locate(name, Path::new(""), &AUTOENCODER_WEIGHTS)?.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_weights_that_can_be_loaded_can_be_located() {
        for name in KINDS.concat() {
            assert!(models::ANY_WEIGHTS.contains(&name), "{name}");
        }
    }
}
