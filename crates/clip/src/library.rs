//! CLIPs by name, each resolved and loaded once.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use candle_core::Device;
use weights::models::{EmbeddedModel, ModelKind, ResolveError, ResolvedModel, resolve};

use crate::dtype::DTypePolicy;
use crate::embedded::{self, EMBEDDED_ACTIVATION};
use crate::files::ClipFiles;
use crate::model::Clip;
use crate::options::ClipChoice;
use crate::tokenizer::Tokenizer;

/// The CLIPs and tokenizers that have been loaded, to be shared by several sessions. Clones share what they hold.
#[derive(Clone, Default)]
pub struct Library(Arc<Mutex<HashMap<String, Entry>>>);

/// A model that was found.
struct Entry {
    model: ResolvedModel,
    tokenizer: Option<Arc<Tokenizer>>,
    clips: HashMap<ClipChoice, Arc<Clip>>,
}

impl Library {
    /// The CLIP of that name: `embedded` or a part of it, a folder or a file, or a known model or repository that the Hugging Face cache holds.
    ///
    /// # Errors
    /// If it is not on this machine, with the command that fetches it, or its files cannot be used.
    pub fn clip(&self, name: &str, choice: ClipChoice, device: &Device) -> Result<Arc<Clip>> {
        self.with(name, |entry| {
            if let Some(clip) = entry.clips.get(&choice) {
                return Ok(Arc::clone(clip));
            }
            let clip = read_clip(&entry.model, entry.tokenizer.clone(), choice, device)?;
            let clip = Arc::new(clip);
            entry.clips.insert(choice, Arc::clone(&clip));
            Ok(clip)
        })?
    }

    /// The tokenizer of the CLIP of that name, read without its towers; none if the CLIP or a tokenizer for it is not on this machine.
    ///
    /// # Errors
    /// If the CLIP's files cannot be used.
    pub fn tokenizer(&self, name: &str) -> Result<Option<Arc<Tokenizer>>> {
        let tokenizer = self.with(name, |entry| {
            if entry.tokenizer.is_none() {
                entry.tokenizer = read_tokenizer(&entry.model)?.map(Arc::new);
            }
            Ok(entry.tokenizer.clone())
        });
        tokenizer.unwrap_or(Ok(None))
    }

    fn with<T>(
        &self,
        name: &str,
        read: impl FnOnce(&mut Entry) -> Result<T>,
    ) -> Result<Result<T>, ResolveError> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !entries.contains_key(name) {
            let entry = Entry {
                model: resolve(name, ModelKind::Clip)?,
                tokenizer: None,
                clips: HashMap::new(),
            };
            entries.insert(name.to_owned(), entry);
        }
        Ok(entries.get_mut(name).map(read).expect("it was inserted"))
    }
}

fn read_clip(
    model: &ResolvedModel,
    tokenizer: Option<Arc<Tokenizer>>,
    choice: ClipChoice,
    device: &Device,
) -> Result<Clip> {
    let dtypes = DTypePolicy::of(choice.precision, device);
    let Some(path) = &model.path else {
        if choice.activation.is_some() {
            bail!("{EMBEDDED_ACTIVATION}");
        }
        let tokenizer = tokenizer.map_or_else(|| Tokenizer::embedded().map(Arc::new), Ok)?;
        let part = EmbeddedModel::parse(&model.name).unwrap_or_default();
        return Ok(embedded::load(part, tokenizer, dtypes, device)?);
    };
    let read = || {
        let mut files = ClipFiles::of_model(path, model.model)?;
        files.activation = choice.activation.or(files.activation);
        Clip::read(&model.name, &files, tokenizer, dtypes, device)
    };
    read().with_context(|| format!("cannot load the CLIP in {}", path.display()))
}

fn read_tokenizer(model: &ResolvedModel) -> Result<Option<Tokenizer>> {
    let Some(path) = &model.path else {
        return Ok(Some(Tokenizer::embedded()?));
    };
    let read = || {
        let files = ClipFiles::of_model(path, model.model)?;
        if files.tokenizer.is_none() {
            return Ok(None);
        }
        let (_, config) = files.open()?;
        Tokenizer::of_clip(&model.name, &files, &config).map(Some)
    };
    read().with_context(|| format!("cannot load the CLIP in {}", path.display()))
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Library")
    }
}
