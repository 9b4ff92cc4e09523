//! The images that a recipe names, copied into its run folder.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::names::file_name;
use crate::files::{CREATE_FOLDER, OutputError, failed, write_whole};

/// The folder of copied input images in a run folder.
const INPUTS: &str = "inputs";

/// The copies so far.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    by_source: HashMap<PathBuf, PathBuf>,
}

impl Inputs {
    /// Copies a file to the run's inputs, once; returns the copy's path relative to the run.
    pub fn copy(&mut self, source: &Path, run: &Path) -> Result<PathBuf, OutputError> {
        if let Some(copy) = self.by_source.get(source) {
            return Ok(copy.clone());
        }
        let folder = run.join(INPUTS);
        // an input of this run, when it is resumed
        if let Ok(name) = source.strip_prefix(&folder)
            && source.is_file()
        {
            return Ok(Path::new(INPUTS).join(name));
        }
        fs::create_dir_all(&folder).map_err(failed(CREATE_FOLDER, &folder))?;
        let name = file_name(&source.file_name().unwrap_or_default().to_string_lossy());
        let copy = (1..)
            .map(|number| match number {
                1 => Path::new(INPUTS).join(&name),
                _ => Path::new(INPUTS).join(format!("{number}-{name}")),
            })
            .find(|copy| !run.join(copy).exists())
            .unwrap_or_default();
        let mut input = File::open(source).map_err(failed("read", source))?;
        write_whole(&run.join(&copy), true, |file| {
            io::copy(&mut input, file).map(drop)
        })?;
        self.by_source.insert(source.to_owned(), copy.clone());
        Ok(copy)
    }
}
