//! The checkpoint of a run: the state to continue from.
//!
//! A safetensors file. Its tensors are the generator's; its metadata holds the session's numbers as JSON, the recipe as YAML, and a
//! checksum of everything, so that damage is noticed. The previous checkpoint is kept.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use generators::State;
use thiserror::Error;
use weights::safetensors::TensorFile;

use super::folder::RunFolder;
use super::names::{CHECKPOINT, PREVIOUS};
use crate::files::{OutputError, failed, write_whole};
use crate::session::{SavedSession, SavedState};

type Result<T, E = CheckpointError> = std::result::Result<T, E>;

/// The keys of the metadata.
const SESSION: &str = "session";
const RECIPE_TEXT: &str = "recipe";
const CHECKSUM: &str = "crc32";
/// The pictures that the segment, and the one before the last restart, started from.
const BASES: [&str; 2] = ["base", "base/before"];
/// Prefixes of the names of tensors: the generator's, and those of the generator before the last restart.
const NOW: &str = "generator/";
const BEFORE: &str = "before/";
/// The prefixes that follow, for tensors and for single numbers.
const TENSORS: &str = "tensors/";
const SCALARS: &str = "scalars/";

/// Why a checkpoint cannot be used.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// There is none.
    #[error("{} has no checkpoint: render the recipe again", .0.display())]
    None(PathBuf),
    /// There is only one checkpoint, and the one before it was asked for.
    #[error("{} has no checkpoint before the last one: resume without `--previous`, from the last one", .0.display())]
    NoPrevious(PathBuf),
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] OutputError),
    /// It was changed or cut off after it was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Its tensors could not be read or written.
    #[error("the checkpoint {}: {source}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The error of candle.
        source: candle_core::Error,
    },
}

impl RunFolder {
    /// Writes a checkpoint. The last one becomes the previous one.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write_checkpoint(&self, saved: &SavedState) -> Result<()> {
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

    /// The checkpoint to continue from: the last one, or with `previous` the one before it. Its tensors go to `device`.
    ///
    /// # Errors
    /// When there is none, or it is damaged. Where the program was killed between writing the last one and naming it, the one before
    /// it is read.
    pub fn read_checkpoint(&self, previous: bool, device: &Device) -> Result<SavedState> {
        let [last, before] = [CHECKPOINT, PREVIOUS].map(|name| self.path().join(name));
        let has_last = last.exists();
        let path = if previous || !has_last { before } else { last };
        if !path.exists() {
            let folder = self.path().to_owned();
            return Err(if has_last {
                CheckpointError::NoPrevious(folder)
            } else {
                CheckpointError::None(folder)
            });
        }
        read(&path, device)
    }

    /// Whether there is a checkpoint before the last one.
    pub fn has_previous(&self) -> bool {
        self.path().join(PREVIOUS).is_file()
    }
}

fn read(path: &Path, device: &Device) -> Result<SavedState> {
    let bytes = fs::read(path).map_err(failed("read", path))?;
    let damaged = |what: String| CheckpointError::Damaged {
        path: path.to_owned(),
        what,
    };
    let TensorFile { tensors, metadata } = TensorFile::parse(&bytes)
        .map_err(|error| damaged(format!("it is not a whole safetensors file ({error})")))?;
    let failed = |source| CheckpointError::Tensor {
        path: path.to_owned(),
        source,
    };
    let text = |name: &str| {
        metadata.get(name).ok_or_else(|| {
            damaged(format!(
                "it lacks `{name}`: it is not a checkpoint of a run"
            ))
        })
    };
    let session_text = text(SESSION)?;
    // checkpoints of older versions have none
    let recipe = metadata.get(RECIPE_TEXT);
    let sum = checksum([Some(session_text), recipe], &tensors).map_err(failed)?;
    if *text(CHECKSUM)? != sum {
        return Err(damaged("its checksum is wrong".to_owned()));
    }
    let session: SavedSession = serde_json::from_str(session_text)
        .map_err(|error| damaged(format!("its numbers cannot be read ({error})")))?;
    let (mut generator, mut before) = (State::default(), State::default());
    let mut bases = [None, None];
    for (name, tensor) in &tensors {
        if let Some(index) = BASES.iter().position(|base| base == name) {
            bases[index] = Some(tensor.to_device(device).map_err(failed)?);
            continue;
        }
        let (state, rest) = match (name.strip_prefix(NOW), name.strip_prefix(BEFORE)) {
            (Some(rest), _) => (&mut generator, rest),
            (None, Some(rest)) => (&mut before, rest),
            (None, None) => return Err(damaged(format!("it holds the unknown `{name}`"))),
        };
        if let Some(name) = rest.strip_prefix(TENSORS) {
            let tensor = tensor.to_device(device).map_err(failed)?;
            state.tensors.insert(name.to_owned(), tensor);
        } else if let Some(name) = rest.strip_prefix(SCALARS) {
            let value = (tensor.to_scalar())
                .map_err(|_| damaged(format!("`{name}` in it is not a number")))?;
            state.scalars.insert(name.to_owned(), value);
        }
    }
    let before_restart = session.before_restart.is_some().then_some(before);
    Ok(SavedState {
        session,
        generator,
        before_restart,
        bases,
        recipe: recipe.cloned(),
    })
}

fn encode(saved: &SavedState) -> candle_core::Result<Vec<u8>> {
    let session = serde_json::to_string(&saved.session).map_err(candle_core::Error::wrap)?;
    let states = [
        (NOW, Some(&saved.generator)),
        (BEFORE, saved.before_restart.as_ref()),
    ];
    let mut tensors = BTreeMap::new();
    for (prefix, state) in states {
        let Some(state) = state else { continue };
        for (name, tensor) in &state.tensors {
            let tensor = match tensor.dtype() {
                // loses nothing
                DType::F16 | DType::BF16 => tensor.to_dtype(DType::F32)?,
                _ => tensor.clone(),
            };
            let name = format!("{prefix}{TENSORS}{name}");
            tensors.insert(name, tensor.to_device(&Device::Cpu)?);
        }
        for (name, value) in &state.scalars {
            let name = format!("{prefix}{SCALARS}{name}");
            tensors.insert(name, Tensor::new(*value, &Device::Cpu)?);
        }
    }
    for (name, base) in BASES.iter().zip(&saved.bases) {
        if let Some(base) = base {
            tensors.insert((*name).to_owned(), base.to_device(&Device::Cpu)?);
        }
    }
    let sum = checksum([Some(&session), saved.recipe.as_ref()], &tensors)?;
    let mut metadata = BTreeMap::from([(SESSION.to_owned(), session), (CHECKSUM.to_owned(), sum)]);
    if let Some(recipe) = &saved.recipe {
        metadata.insert(RECIPE_TEXT.to_owned(), recipe.clone());
    }
    TensorFile { tensors, metadata }.to_bytes()
}

/// Of the texts, and of every tensor's name and bytes, in the order of the names.
fn checksum(
    texts: [Option<&String>; 2],
    tensors: &BTreeMap<String, Tensor>,
) -> candle_core::Result<String> {
    let mut hasher = crc32fast::Hasher::new();
    for text in texts.into_iter().flatten() {
        hasher.update(text.as_bytes());
    }
    for (name, tensor) in tensors {
        let mut bytes = vec![];
        tensor.write_bytes(&mut bytes)?;
        hasher.update(name.as_bytes());
        hasher.update(&bytes);
    }
    Ok(format!("{:08x}", hasher.finalize()))
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
            bases: [
                Some(Tensor::zeros((1, 3, 2, 2), DType::F32, &Device::Cpu).expect("a picture")),
                None,
            ],
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
            assert!(matches!(
                (step, run.read_checkpoint(true, &Device::Cpu)),
                (1, Err(CheckpointError::None(_))) | (2, Err(CheckpointError::NoPrevious(_)))
            ));
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
