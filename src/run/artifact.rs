//! What a generator leaves in the run folder in addition to its picture: a safetensors file whose metadata holds settings.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::safetensors::Load;
use candle_core::{DType, Device, Tensor};
use generators::Artifact;
use safetensors::{Dtype, SafeTensors};

use crate::files;

/// The largest artifact that is read; a rule has some tens of kilobytes.
const LARGEST: u64 = 64 << 20;

/// Writes the artifact to `folder/NAME.safetensors`, replacing an older one. Returns the file's path.
///
/// # Errors
/// When the file cannot be written.
pub fn write(folder: &Path, artifact: &Artifact) -> Result<PathBuf> {
    let path = folder.join(format!("{}.safetensors", artifact.name));
    let mut tensors = artifact.tensors.clone();
    for tensor in tensors.values_mut() {
        *tensor = tensor.to_dtype(DType::F32)?.to_device(&Device::Cpu)?;
    }
    let settings: HashMap<String, String> = artifact.settings.clone().into_iter().collect();
    let bytes = safetensors::serialize(&tensors, Some(settings))
        .with_context(|| format!("cannot write {}", path.display()))?;
    files::write_whole(&path, true, |file| file.write_all(&bytes))?;
    Ok(path)
}

/// Reads the tensors and the settings of an artifact.
///
/// # Errors
/// When the file cannot be read, is no safetensors file, or is far too large for one that [`write()`] wrote.
pub fn read(path: &Path) -> Result<(BTreeMap<String, Tensor>, BTreeMap<String, String>)> {
    let cannot = || format!("cannot read `{}`", path.display());
    let file = File::open(path).with_context(cannot)?;
    let mut bytes = vec![];
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .with_context(cannot)?;
    if bytes.len() as u64 > LARGEST {
        bail!(
            "`{}` has more than {} MB, and a rule some tens of kilobytes",
            path.display(),
            LARGEST >> 20
        );
    }
    let incomplete = || format!("`{}` is not a whole safetensors file", path.display());
    let (_, metadata) = SafeTensors::read_metadata(&bytes).with_context(incomplete)?;
    let settings = metadata.metadata().clone().unwrap_or_default();
    let tensors = SafeTensors::deserialize(&bytes).with_context(incomplete)?;
    let tensors = (tensors.iter())
        .map(|(name, view)| {
            if view.dtype() != Dtype::F32 {
                bail!("`{name}` is {:?}, and F32 is expected", view.dtype());
            }
            Ok((name.to_owned(), view.load(&Device::Cpu)?))
        })
        .collect::<Result<_>>()
        .with_context(cannot)?;
    Ok((tensors, settings.into_iter().collect()))
}
