//! The files of an autoencoder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use weights::checkpoint::file_in;

use super::AutoencoderError;

/// The names of weights, the best first.
const FILES: &[&str] = &[
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "model.safetensors",
    "vqgan.safetensors",
];
/// Names of weights that come after TAESD's family.
const OLDER_FILES: &[&str] = &[
    "pytorch_model.bin",
    "diffusion_pytorch_model.bin",
    "model.ckpt",
    "last.ckpt",
    "vqgan.ckpt",
];
/// The words in the file names of the two halves of TAESD's family: `taesd_decoder.safetensors` and `taesd_encoder.safetensors`,
/// `taef2_decoder.pth` and `taef2_encoder.pth`.
const DECODER: &str = "decoder";
const ENCODER: &str = "encoder";
/// The endings of their names, the best first.
const ENDINGS: [&str; 3] = ["safetensors", "pth", "pt"];
/// Where larger models keep their autoencoder, and taming-transformers its checkpoints.
const FOLDERS: &[&str] = &["vqvae", "vae", "vqgan", "checkpoints", "ckpts"];

/// The files of an autoencoder.
pub(super) struct Weights {
    /// The whole autoencoder, or its decoder.
    pub main: PathBuf,
    /// Its encoder, if that is a separate file.
    pub encoder: Option<PathBuf>,
}

/// The files at a path, which is a folder, a file, or one of the two halves.
pub(super) fn find(path: &Path) -> Result<Weights, AutoencoderError> {
    let path = if path.is_dir() {
        &in_folder(path)?
    } else {
        path
    };
    if let Some(encoder) = other_half(path, DECODER, ENCODER) {
        return Ok(Weights {
            main: path.to_owned(),
            encoder: encoder.into_iter().find(|path| path.is_file()),
        });
    }
    if let Some(decoders) = other_half(path, ENCODER, DECODER) {
        let main = decoders.iter().find(|path| path.is_file());
        let Some(main) = main.cloned() else {
            return Err(AutoencoderError::NoDecoder {
                encoder: path.display().to_string(),
                decoder: decoders
                    .first()
                    .map_or_else(String::new, |decoder| decoder.display().to_string()),
            });
        };
        return Ok(Weights {
            main,
            encoder: Some(path.to_owned()),
        });
    }
    Ok(Weights {
        main: path.to_owned(),
        encoder: None,
    })
}

/// Possible paths of the other half, if the name says that the file is a half.
fn other_half(path: &Path, half: &str, other: &str) -> Option<Vec<PathBuf>> {
    let name = path.file_name()?.to_str()?;
    if !name.contains(half) {
        return None;
    }
    let same = path.with_file_name(name.replace(half, other));
    let endings = ENDINGS.map(|ending| same.with_extension(ending));
    Some(std::iter::once(same).chain(endings).collect())
}

/// The weights in a folder, or in one of its usual subfolders.
fn in_folder(folder: &Path) -> Result<PathBuf, AutoencoderError> {
    let inner = FOLDERS.iter().map(|name| folder.join(name));
    for folder in std::iter::once(folder.to_owned()).chain(inner) {
        if let Some(path) = file_in(&folder, FILES) {
            return Ok(path);
        }
        if let Some(path) = decoder(&folder)? {
            return Ok(path);
        }
        if let Some(path) = file_in(&folder, OLDER_FILES).or_else(|| only_weights(&folder)) {
            return Ok(path);
        }
    }
    Err(AutoencoderError::Empty {
        folder: folder.display().to_string(),
        wanted: format!(
            "{}, a `taesd_decoder.safetensors` or another decoder of its family, {}",
            FILES.join(", "),
            OLDER_FILES.join(", ")
        ),
    })
}

/// The decoder of TAESD's family in a folder.
fn decoder(folder: &Path) -> Result<Option<PathBuf>, AutoencoderError> {
    let Ok(files) = std::fs::read_dir(folder) else {
        return Ok(None);
    };
    let suffix = format!("_{DECODER}");
    let models: BTreeSet<String> = (files.flatten())
        .filter_map(|entry| {
            let path = entry.path();
            let ending = path.extension()?.to_str()?;
            let stem = path.file_stem()?.to_str()?;
            (ENDINGS.contains(&ending) && stem.starts_with("tae") && stem.ends_with(&suffix))
                .then(|| stem.to_owned())
        })
        .collect();
    if models.len() > 1 {
        return Err(AutoencoderError::Several {
            folder: folder.display().to_string(),
            found: models.into_iter().collect::<Vec<_>>().join(", "),
        });
    }
    Ok(models.first().and_then(|stem| {
        let names = ENDINGS.map(|ending| format!("{stem}.{ending}"));
        file_in(folder, &names.each_ref().map(String::as_str))
    }))
}

/// The only file in a folder with an extension of weights, if there is exactly one.
fn only_weights(folder: &Path) -> Option<PathBuf> {
    let is_weights = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        matches!(ending, Some("safetensors" | "ckpt" | "bin" | "pt" | "pth"))
    };
    let files = std::fs::read_dir(folder).ok()?;
    let mut files = files.flatten().map(|entry| entry.path()).filter(is_weights);
    let first = files.next()?;
    files.next().is_none().then_some(first)
}
