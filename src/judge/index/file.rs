//! The index's file.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};

use super::{Digest, FileEntry, ModelEntry};
use crate::files::write_whole;

/// Larger files are no index of ours: a million pictures and a wide model take half of it.
const LARGEST: u64 = 8 << 30;

/// A row of `files`: path, size, seconds and nanoseconds of the change, and the number of its content.
#[derive(Deserialize, Serialize)]
struct Row(String, u64, u64, u32, usize);

/// A tensor to be written: name, type, shape and bytes.
type Part = (String, Dtype, Vec<usize>, Vec<u8>);

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
            let time = (entry.is_settled.then_some(entry.changed)).unwrap_or_default();
            let (seconds, nanos) = (time.as_secs(), time.subsec_nanos());
            let number = number(&entry.digest);
            Row(path.clone(), entry.size, seconds, nanos, number)
        })
        .collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    let rows = serde_json::to_vec(&rows)?;
    let mut parts: Vec<Part> = vec![
        ("files".to_owned(), Dtype::U8, vec![rows.len()], rows),
        (
            "digests".to_owned(),
            Dtype::U8,
            vec![digests.len(), 32],
            digests.concat(),
        ),
    ];
    for (k, model) in models.iter().enumerate() {
        let width = model.probe.len();
        let mut seen: Vec<(usize, &Vec<f32>)> = (model.vectors.iter())
            .map(|(digest, vector)| (number(digest), vector))
            .collect();
        seen.sort_by_key(|(number, _)| *number);
        let numbers = (seen.iter()).flat_map(|(number, _)| (*number as u32).to_le_bytes());
        let vectors = (seen.iter()).flat_map(|(_, vector)| le_bytes(vector));
        let mut part = |name: &str, dtype: Dtype, shape: Vec<usize>, bytes: Vec<u8>| {
            parts.push((format!("model.{k}.{name}"), dtype, shape, bytes));
        };
        part(
            "probe",
            Dtype::F32,
            vec![width],
            le_bytes(&model.probe).collect(),
        );
        part("seen", Dtype::U32, vec![seen.len()], numbers.collect());
        part(
            "vectors",
            Dtype::F32,
            vec![seen.len(), width],
            vectors.collect(),
        );
    }
    let views = (parts.iter())
        .map(|(name, dtype, shape, bytes)| {
            Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>>>()?;
    let bytes = serialize(views, None)?;
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
    let bytes = fs::read(path)?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let table = |name: &str, dtype: Dtype, dims: usize| -> Result<TensorView<'_>> {
        let table = tensors.tensor(name)?;
        if table.dtype() != dtype || table.shape().len() != dims {
            bail!("its table `{name}` is of another kind");
        }
        Ok(table)
    };
    let digests = table("digests", Dtype::U8, 2)?;
    if digests.shape()[1] != 32 {
        bail!("its table `digests` is of another kind");
    }
    let (digests, _) = digests.data().as_chunks::<32>();
    let digest = |number: usize| {
        (digests.get(number).copied()).context("it refers to a content that it does not hold")
    };
    let rows: Vec<Row> = serde_json::from_slice(table("files", Dtype::U8, 1)?.data())?;
    let mut files = HashMap::with_capacity(rows.len());
    for Row(path, size, seconds, nanos, number) in rows {
        if nanos >= 1_000_000_000 {
            bail!("it holds an impossible time");
        }
        let changed = Duration::new(seconds, nanos);
        let entry = FileEntry {
            size,
            changed,
            digest: digest(number)?,
            is_settled: changed > Duration::ZERO,
        };
        files.insert(path, entry);
    }
    let mut models: Vec<ModelEntry> = vec![];
    while tensors
        .tensor(&format!("model.{}.probe", models.len()))
        .is_ok()
    {
        let k = models.len();
        let table = |name: &str, dtype, dims| table(&format!("model.{k}.{name}"), dtype, dims);
        let probe = floats(table("probe", Dtype::F32, 1)?.data());
        let (seen, vectors) = (
            table("seen", Dtype::U32, 1)?,
            table("vectors", Dtype::F32, 2)?,
        );
        let width = probe.len();
        if width == 0 || vectors.shape() != [seen.shape()[0], width] {
            bail!("the tables of its model {k} do not fit each other");
        }
        let (seen, _) = seen.data().as_chunks::<4>();
        let rows = vectors.data().chunks_exact(4 * width);
        let vectors = (seen.iter().zip(rows))
            .map(|(number, row)| {
                let vector = floats(row);
                if vector.iter().any(|value| !value.is_finite()) {
                    bail!("a vector of its model {k} holds a value that is not finite");
                }
                Ok((digest(u32::from_le_bytes(*number) as usize)?, vector))
            })
            .collect::<Result<_>>()?;
        models.push(ModelEntry { probe, vectors });
    }
    Ok((files, models))
}

fn le_bytes(values: &[f32]) -> impl Iterator<Item = u8> {
    values.iter().flat_map(|value| value.to_le_bytes())
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (values, _) = bytes.as_chunks::<4>();
    (values.iter())
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}
