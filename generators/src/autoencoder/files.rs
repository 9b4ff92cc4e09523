//! The files of an autoencoder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use weights::models::{ModelKind, file_in, only_weights};

use super::AutoencoderError;

/// The words in the file names of the two halves of TAESD's family: `taesd_decoder.safetensors` and `taesd_encoder.safetensors`,
/// `taef2_decoder.pth` and `taef2_encoder.pth`.
const DECODER: &str = "decoder";
const ENCODER: &str = "encoder";
/// The endings of their names, the best first.
const ENDINGS: [&str; 3] = ["safetensors", "pth", "pt"];
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

/// Possible paths of the other half, if the file is a half by its name.
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
    let weights = ModelKind::Latent.weights();
    // TAESD's family has names of its own, which come after safetensors and before the formats of PyTorch
    let names = (weights.names.iter()).filter(|name| !name.contains(DECODER));
    let (safetensors, others): (Vec<_>, Vec<_>) =
        names.partition(|name| name.ends_with(".safetensors"));
    for folder in weights.folders.iter().map(|name| folder.join(name)) {
        if let Some(path) = file_in(&folder, &safetensors) {
            return Ok(path);
        }
        if let Some(path) = decoder(&folder)? {
            return Ok(path);
        }
        if let Some(path) = file_in(&folder, &others).or_else(|| only_weights(&folder)) {
            return Ok(path);
        }
    }
    let list = |names: &[&String]| {
        (names.iter().map(|name| name.as_str()))
            .collect::<Vec<_>>()
            .join(", ")
    };
    Err(AutoencoderError::Empty {
        folder: folder.display().to_string(),
        wanted: format!(
            "{}, a `taesd_decoder.safetensors` or another decoder of its family, {}",
            list(&safetensors),
            list(&others)
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
    Ok(models
        .first()
        .and_then(|stem| file_in(folder, ENDINGS.map(|ending| format!("{stem}.{ending}")))))
}
