//! The index's file.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use weights::safetensors::TensorFile;

use super::{Digest, FileEntry, ModelEntry, Stat};
use crate::files::write_whole;

/// Larger files are no index of ours: a million pictures and a wide model take half of it.
const LARGEST: u64 = 8 << 30;

/// A row of `files`: path, size, seconds and nanoseconds of the change, the number of its content, and the time when it was changed or replaced,
/// which older indexes do not have.
#[derive(Deserialize, Serialize)]
struct Row(String, u64, u64, u32, usize, #[serde(default)] (u64, u32));

/// Writes an index.
pub(super) fn write(
    path: &Path,
    files: &HashMap<String, FileEntry>,
    models: &[ModelEntry],
) -> Result<()> {
    let in_models = models.iter().flat_map(|model| model.vectors.keys());
    let mut digests: Vec<Digest> = (files.values().map(|entry| &entry.digest))
        .chain(in_models)
        .copied()
        .collect();
    digests.sort_unstable();
    digests.dedup();
    let number = |digest: &Digest| digests.binary_search(digest).unwrap_or_default();
    let mut rows: Vec<Row> = (files.iter())
        .map(|(path, entry)| {
            // an impossible time marks a file that could change without notice
            let time = if entry.is_settled {
                entry.stat.changed
            } else {
                Duration::ZERO
            };
            let (seconds, nanos) = (time.as_secs(), time.subsec_nanos());
            let number = number(&entry.digest);
            let replaced = entry.stat.replaced;
            let replaced = (replaced.as_secs(), replaced.subsec_nanos());
            Row(
                path.clone(),
                entry.stat.size,
                seconds,
                nanos,
                number,
                replaced,
            )
        })
        .collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    let rows = serde_json::to_vec(&rows)?;
    let cpu = &Device::Cpu;
    let table = Tensor::from_vec(digests.concat(), (digests.len(), 32), cpu)?;
    let mut tensors = BTreeMap::from([
        ("files".to_owned(), Tensor::new(rows, cpu)?),
        ("digests".to_owned(), table),
    ]);
    for (k, model) in models.iter().enumerate() {
        let mut seen: Vec<(u32, &[f32])> = (model.vectors.iter())
            .map(|(digest, vector)| (number(digest) as u32, vector.as_slice()))
            .collect();
        seen.sort_by_key(|(number, _)| *number);
        let (numbers, vectors): (Vec<u32>, Vec<&[f32]>) = seen.into_iter().unzip();
        let shape = (numbers.len(), model.probe.len());
        for (name, tensor) in [
            ("probe", Tensor::new(model.probe.as_slice(), cpu)?),
            ("seen", Tensor::new(numbers, cpu)?),
            ("vectors", Tensor::from_vec(vectors.concat(), shape, cpu)?),
        ] {
            tensors.insert(format!("model.{k}.{name}"), tensor);
        }
    }
    let metadata = BTreeMap::new();
    let bytes = TensorFile { tensors, metadata }.to_bytes()?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(write_whole(path, true, |file| file.write_all(&bytes))?)
}

/// Reads an index.
///
/// # Errors
/// When the file cannot be read, or is damaged.
pub(super) fn read(path: &Path) -> Result<(HashMap<String, FileEntry>, Vec<ModelEntry>)> {
    if fs::metadata(path)?.len() > LARGEST {
        bail!("it is larger than {} GiB", LARGEST >> 30);
    }
    let mut tensors = TensorFile::parse(&fs::read(path)?)?.tensors;
    let mut take =
        |name: &str| (tensors.remove(name)).with_context(|| format!("it has no table `{name}`"));
    let digests = (take("digests")?.to_vec2::<u8>()?.into_iter())
        .map(|digest| digest.try_into().ok())
        .collect::<Option<Vec<Digest>>>()
        .context("its digests are of another length")?;
    let digest = |number: usize| {
        (digests.get(number).copied()).context("it refers to a content that it does not hold")
    };
    let rows: Vec<Row> = serde_json::from_slice(&take("files")?.to_vec1::<u8>()?)?;
    let mut files = HashMap::with_capacity(rows.len());
    for Row(path, size, seconds, nanos, number, replaced) in rows {
        if nanos.max(replaced.1) >= 1_000_000_000 {
            bail!("it holds an impossible time");
        }
        let changed = Duration::new(seconds, nanos);
        let stat = Stat {
            size,
            changed,
            replaced: Duration::new(replaced.0, replaced.1),
        };
        let entry = FileEntry {
            stat,
            digest: digest(number)?,
            is_settled: changed > Duration::ZERO,
        };
        files.insert(path, entry);
    }
    let mut models = vec![];
    while let Ok(probe) = take(&format!("model.{}.probe", models.len())) {
        let mut take = |name: &str| take(&format!("model.{}.{name}", models.len()));
        let probe = probe.to_vec1::<f32>()?;
        let (seen, vectors) = (take("seen")?.to_vec1::<u32>()?, take("vectors")?);
        if probe.is_empty() || vectors.dims() != [seen.len(), probe.len()] {
            bail!("the tables of one of its models do not fit each other");
        }
        let vectors = (seen.into_iter().zip(vectors.to_vec2::<f32>()?))
            .map(|(number, vector)| {
                if vector.iter().any(|value| !value.is_finite()) {
                    bail!("a vector of one of its models holds a value that is not finite");
                }
                Ok((digest(number as usize)?, vector))
            })
            .collect::<Result<_>>()?;
        models.push(ModelEntry { probe, vectors });
    }
    Ok((files, models))
}
