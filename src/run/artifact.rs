//! What a generator leaves beside its picture: a safetensors file whose metadata holds the settings.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use generators::Artifact;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, View};

use crate::files;

/// No artifact that is read is larger; a rule has some tens of kilobytes.
const LARGEST: u64 = 64 << 20;

/// Writes the artifact to `folder/NAME.safetensors`; the one that was there is replaced. Returns where it is.
///
/// # Errors
/// When the file cannot be written.
pub fn write(folder: &Path, artifact: &Artifact) -> Result<PathBuf> {
    let path = folder.join(format!("{}.safetensors", artifact.name));
    let tensors = (artifact.tensors.iter())
        .map(|(name, tensor)| Ok((name.as_str(), Values::of(tensor)?)))
        .collect::<Result<Vec<_>>>()?;
    let settings: HashMap<String, String> = artifact.settings.clone().into_iter().collect();
    let bytes = safetensors::serialize(tensors, Some(settings))
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
    let no_rule = || format!("`{}` is not a whole safetensors file", path.display());
    let (_, metadata) = SafeTensors::read_metadata(&bytes).with_context(no_rule)?;
    let settings = metadata.metadata().clone().unwrap_or_default();
    let tensors = SafeTensors::deserialize(&bytes).with_context(no_rule)?;
    let tensors = (tensors.iter())
        .map(|(name, view)| Ok((name.to_owned(), tensor(name, &view)?)))
        .collect::<Result<_>>()
        .with_context(cannot)?;
    Ok((tensors, settings.into_iter().collect()))
}

fn tensor(name: &str, view: &TensorView<'_>) -> Result<Tensor> {
    if view.dtype() != Dtype::F32 {
        bail!("`{name}` is {:?}, and F32 is expected", view.dtype());
    }
    let (quads, _) = view.data().as_chunks::<4>();
    let values = quads
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect();
    Ok(Tensor::from_vec(values, view.shape(), &Device::Cpu)?)
}

/// A tensor as bytes of f32.
struct Values {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Values {
    fn of(tensor: &Tensor) -> Result<Self> {
        let values = tensor
            .to_dtype(DType::F32)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        Ok(Self {
            shape: tensor.dims().to_vec(),
            bytes: values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        })
    }
}

impl View for Values {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
