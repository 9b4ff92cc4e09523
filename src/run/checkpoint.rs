//! The checkpoint of a run: all that is needed to go on exactly where it stopped.
//!
//! A safetensors file. Its tensors are the generator's; its metadata holds the session's numbers as JSON, the recipe as YAML, and a
//! checksum of everything, so that damage is noticed. The checkpoint before it is kept.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use generators::State;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use thiserror::Error;

use super::folder::{CHECKPOINT, PREVIOUS, RunFolder};
use crate::files::{OutputError, failed, write_whole};
use crate::session::{SavedSession, SavedState};

/// What the metadata's entries are called.
const SESSION: &str = "session";
const RECIPE_TEXT: &str = "recipe";
const CHECKSUM: &str = "crc32";
/// What the names of the tensors begin with: the generator's, and those of the generator before the last restart.
const NOW: &str = "generator/";
const BEFORE: &str = "before/";
/// What follows for tensors and for single numbers.
const TENSORS: &str = "tensors/";
const SCALARS: &str = "scalars/";

/// Why a checkpoint cannot be used.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// There is none.
    #[error("{} has no checkpoint: render the recipe again", .0.display())]
    None(PathBuf),
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] OutputError),
    /// It is not as it was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Its tensors could not be made.
    #[error("the checkpoint {}: {source}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// What candle says.
        source: candle_core::Error,
    },
}

impl RunFolder {
    /// Writes a checkpoint. The one that was there becomes the previous one.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write_checkpoint(&self, saved: &SavedState) -> Result<(), CheckpointError> {
        let path = self.path().join(CHECKPOINT);
        let bytes = encode(saved).map_err(|source| CheckpointError::Tensor {
            path: path.clone(),
            source,
        })?;
        let fresh = self.path().join(format!(".{CHECKPOINT}.partial"));
        write_whole(&fresh, true, |file| file.write_all(&bytes))
            .map_err(|error| failed("write", &path)(error.into_source()))?;
        if path.exists() {
            fs::rename(&path, self.path().join(PREVIOUS)).map_err(failed("rename", &path))?;
        }
        Ok(fs::rename(&fresh, &path).map_err(failed("write", &path))?)
    }

    /// The checkpoint to go on from: the last one, or with `previous` the one before it. Its tensors go to `device`.
    ///
    /// # Errors
    /// When there is none, or it is damaged. Where the program was killed between writing the last one and naming it, the one before
    /// it is read.
    pub fn read_checkpoint(
        &self,
        previous: bool,
        device: &Device,
    ) -> Result<SavedState, CheckpointError> {
        let [last, before] = [CHECKPOINT, PREVIOUS].map(|name| self.path().join(name));
        let path = if previous || !last.exists() {
            before
        } else {
            last
        };
        if !path.exists() {
            return Err(CheckpointError::None(self.path().to_owned()));
        }
        read(&path, device)
    }

    /// Whether there is a checkpoint before the last one.
    pub fn has_previous(&self) -> bool {
        self.path().join(PREVIOUS).is_file()
    }
}

fn read(path: &Path, device: &Device) -> Result<SavedState, CheckpointError> {
    let bytes = fs::read(path).map_err(failed("read", path))?;
    let damaged = |what: String| CheckpointError::Damaged {
        path: path.to_owned(),
        what,
    };
    let (_, metadata) = SafeTensors::read_metadata(&bytes)
        .map_err(|error| damaged(format!("it is not a whole safetensors file ({error})")))?;
    let tensors = SafeTensors::deserialize(&bytes)
        .map_err(|error| damaged(format!("it is not a whole safetensors file ({error})")))?;
    let texts = metadata.metadata().clone().unwrap_or_default();
    let text = |name: &str| {
        texts.get(name).ok_or_else(|| {
            damaged(format!(
                "it lacks `{name}`: it is not a checkpoint of a run"
            ))
        })
    };
    let session_text = text(SESSION)?;
    // checkpoints of older versions have none
    let recipe = texts.get(RECIPE_TEXT);
    let mut views = tensors.tensors();
    views.sort_by(|a, b| a.0.cmp(&b.0));
    let sum = checksum(
        [Some(session_text), recipe],
        views
            .iter()
            .map(|(name, view)| (name.as_str(), view.data())),
    );
    if *text(CHECKSUM)? != sum {
        return Err(damaged("its checksum is wrong".to_owned()));
    }
    let session: SavedSession = serde_json::from_str(session_text)
        .map_err(|error| damaged(format!("its numbers cannot be read ({error})")))?;
    let (mut generator, mut before) = (State::default(), State::default());
    for (name, view) in views {
        let (state, rest) = match (name.strip_prefix(NOW), name.strip_prefix(BEFORE)) {
            (Some(rest), _) => (&mut generator, rest),
            (None, Some(rest)) => (&mut before, rest),
            (None, None) => return Err(damaged(format!("it holds the unknown `{name}`"))),
        };
        let tensor = tensor(&view, device).map_err(|source| CheckpointError::Tensor {
            path: path.to_owned(),
            source,
        })?;
        if let Some(name) = rest.strip_prefix(TENSORS) {
            state.tensors.insert(name.to_owned(), tensor);
        } else if let Some(name) = rest.strip_prefix(SCALARS) {
            let value = (tensor.to_device(&Device::Cpu))
                .and_then(|tensor| tensor.to_dtype(DType::F64)?.to_scalar::<f64>())
                .map_err(|_| damaged(format!("`{name}` in it is not a number")))?;
            state.scalars.insert(name.to_owned(), value);
        }
    }
    let before_restart = session.before_restart.is_some().then_some(before);
    Ok(SavedState {
        session,
        generator,
        before_restart,
        recipe: recipe.cloned(),
    })
}

fn encode(saved: &SavedState) -> candle_core::Result<Vec<u8>> {
    let session = serde_json::to_string(&saved.session).map_err(candle_core::Error::wrap)?;
    let mut all: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    let states = [
        (NOW, Some(&saved.generator)),
        (BEFORE, saved.before_restart.as_ref()),
    ];
    for (prefix, state) in states {
        let Some(state) = state else { continue };
        for (name, tensor) in &state.tensors {
            let (dtype, data) = raw(tensor)?;
            let name = format!("{prefix}{TENSORS}{name}");
            all.insert(name, (dtype, tensor.dims().to_vec(), data));
        }
        for (name, value) in &state.scalars {
            let name = format!("{prefix}{SCALARS}{name}");
            all.insert(name, (Dtype::F64, vec![], value.to_le_bytes().to_vec()));
        }
    }
    let sum = checksum(
        [Some(&session), saved.recipe.as_ref()],
        all.iter()
            .map(|(name, (_, _, data))| (name.as_str(), data.as_slice())),
    );
    let views = (all.iter())
        .map(|(name, (dtype, shape, data))| {
            let view = TensorView::new(*dtype, shape.clone(), data);
            Ok((name.as_str(), view.map_err(candle_core::Error::wrap)?))
        })
        .collect::<candle_core::Result<Vec<_>>>()?;
    let mut metadata = HashMap::from([(SESSION.to_owned(), session), (CHECKSUM.to_owned(), sum)]);
    if let Some(recipe) = &saved.recipe {
        metadata.insert(RECIPE_TEXT.to_owned(), recipe.clone());
    }
    safetensors::serialize(views, Some(metadata)).map_err(candle_core::Error::wrap)
}

/// Of the texts, and of every tensor's name and values, in the order of the names.
fn checksum<'a>(
    texts: [Option<&String>; 2],
    tensors: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> String {
    let mut hasher = crc32fast::Hasher::new();
    for text in texts.into_iter().flatten() {
        hasher.update(text.as_bytes());
    }
    for (name, data) in tensors {
        hasher.update(name.as_bytes());
        hasher.update(data);
    }
    format!("{:08x}", hasher.finalize())
}

/// A tensor's values as bytes, little end first.
fn raw(tensor: &Tensor) -> candle_core::Result<(Dtype, Vec<u8>)> {
    let flat = tensor.flatten_all()?.to_device(&Device::Cpu)?;
    fn bytes<T: candle_core::WithDType, const N: usize>(
        flat: &Tensor,
        to_bytes: impl Fn(T) -> [u8; N],
    ) -> candle_core::Result<Vec<u8>> {
        Ok(flat
            .to_vec1::<T>()?
            .into_iter()
            .flat_map(to_bytes)
            .collect())
    }
    Ok(match tensor.dtype() {
        DType::F32 => (Dtype::F32, bytes(&flat, f32::to_le_bytes)?),
        DType::F64 => (Dtype::F64, bytes(&flat, f64::to_le_bytes)?),
        DType::U8 => (Dtype::U8, bytes(&flat, u8::to_le_bytes)?),
        DType::U32 => (Dtype::U32, bytes(&flat, u32::to_le_bytes)?),
        DType::I64 => (Dtype::I64, bytes(&flat, i64::to_le_bytes)?),
        other => {
            // half precision loses nothing in single
            let wide = flat.to_dtype(DType::F32)?;
            if !other.is_float() {
                candle_core::bail!("a checkpoint does not hold tensors of type {other:?}");
            }
            (Dtype::F32, bytes(&wide, f32::to_le_bytes)?)
        }
    })
}

fn tensor(view: &TensorView<'_>, device: &Device) -> candle_core::Result<Tensor> {
    let dtype = match view.dtype() {
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::U8 => DType::U8,
        Dtype::U32 => DType::U32,
        Dtype::I64 => DType::I64,
        other => candle_core::bail!("tensors of type {other:?} are none of a checkpoint's"),
    };
    Tensor::from_raw_buffer(view.data(), dtype, view.shape(), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Segment;

    fn saved() -> SavedState {
        let segment = Segment {
            stage: 0,
            began: 0,
            origin: 0,
            steps: 9,
            from_image: false,
        };
        let mut generator = State::default();
        let values = Tensor::new(&[[1.5f32, -2.0], [f32::MIN_POSITIVE, 0.1]], &Device::Cpu);
        (generator.tensors).insert("layer.0".to_owned(), values.expect("a tensor"));
        let pool = Tensor::new(&[3u8, 255], &Device::Cpu).expect("a tensor");
        generator.tensors.insert("pool".to_owned(), pool);
        generator.scalars.insert("step".to_owned(), 7.0);
        SavedState {
            session: SavedSession {
                step: 7,
                segment: segment.clone(),
                learning_rate_scale: 0.1 + 0.2,
                objective_edits: vec![],
                edits: 0,
                before_restart: Some(segment),
            },
            before_restart: Some(generator.clone()),
            generator,
            recipe: Some("prompts:\n  - text: a cat\n".to_owned()),
        }
    }

    fn run() -> (tempfile::TempDir, RunFolder) {
        let out = tempfile::tempdir().expect("a folder");
        let run = RunFolder::create(out.path(), "cat").expect("a run");
        (out, run)
    }

    fn values(state: &State) -> Vec<f32> {
        let tensor = state.tensors["layer.0"].flatten_all().expect("values");
        tensor.to_vec1().expect("values")
    }

    #[test]
    fn a_checkpoint_reads_back() {
        let (_out, run) = run();
        run.write_checkpoint(&saved()).expect("a checkpoint");
        let read = run
            .read_checkpoint(false, &Device::Cpu)
            .expect("a checkpoint");
        assert_eq!(read.session, saved().session);
        assert_eq!(read.recipe, saved().recipe);
        for (read, saved) in [
            (&read.generator, &saved().generator),
            (&read.before_restart.expect("a state"), &saved().generator),
        ] {
            assert_eq!(values(read), values(saved));
            assert_eq!(read.scalars, saved.scalars);
            assert_eq!(
                read.tensors["pool"].to_vec1::<u8>().expect("bytes"),
                [3, 255]
            );
        }
    }

    #[test]
    fn the_one_before_is_kept() {
        let (_out, run) = run();
        assert!(matches!(
            run.read_checkpoint(false, &Device::Cpu),
            Err(CheckpointError::None(_))
        ));
        let mut state = saved();
        for step in [1, 2] {
            state.session.step = step;
            run.write_checkpoint(&state).expect("a checkpoint");
        }
        let step = |previous| {
            let read = run.read_checkpoint(previous, &Device::Cpu);
            read.expect("a checkpoint").session.step
        };
        assert_eq!((step(false), step(true)), (2, 1));
        fs::remove_file(run.path().join(CHECKPOINT)).expect("a file");
        assert_eq!(step(false), 1);
    }

    #[test]
    fn any_damage_is_noticed() {
        let (_out, run) = run();
        run.write_checkpoint(&saved()).expect("a checkpoint");
        let path = run.path().join(CHECKPOINT);
        let whole = fs::read(&path).expect("a file");
        for index in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[index] ^= 0x10;
            fs::write(&path, &bytes).expect("a file");
            let read = run.read_checkpoint(false, &Device::Cpu);
            // the header's spaces mean nothing
            assert!(read.is_err() || whole[index] == b' ', "byte {index}");
        }
        for length in [0, 7, 9, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).expect("a file");
            let error = run
                .read_checkpoint(false, &Device::Cpu)
                .expect_err("damage");
            assert!(error.to_string().contains("is damaged"), "{error}");
        }
    }
}
