//! What a generator leaves in the run folder in addition to its picture: a safetensors file whose metadata holds settings.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use generators::Artifact;
use weights::safetensors::TensorFile;

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
    let metadata = artifact.settings.clone().into_iter().collect();
    let bytes = (TensorFile { tensors, metadata }.to_bytes())
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
    let mut file = file.take(LARGEST + 1);
    file.read_to_end(&mut bytes).with_context(cannot)?;
    if bytes.len() as u64 > LARGEST {
        bail!(
            "`{}` has more than {} MB, and a rule some tens of kilobytes",
            path.display(),
            LARGEST >> 20
        );
    }
    let file = TensorFile::parse(&bytes)
        .with_context(|| format!("`{}` is not a whole safetensors file", path.display()))?;
    for (name, tensor) in &file.tensors {
        if tensor.dtype() != DType::F32 {
            let dtype = tensor.dtype().as_str();
            bail!(
                "cannot read `{}`: `{name}` is {dtype}, and f32 is expected",
                path.display()
            );
        }
    }
    Ok((file.tensors, file.metadata))
}
