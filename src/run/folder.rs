//! The folder of a run: its picture, recipe, snapshots and frames.
//!
//! Every file but the metrics is written to a temporary file in the same folder and then renamed, so that it is complete whenever it
//! exists. A run folder is self-contained: the images that the recipe starts from are copied into it, and its recipe names no path
//! outside of it except those of models.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use image::RgbImage;

use super::inputs::Inputs;
use super::lock::Lock;
use super::names::{FRAMES, IMAGE, KEPT, RECIPE, SNAPSHOTS, file_name, number_of, relative};
use crate::clip::is_embedded;
use crate::files::{CREATE_FOLDER, OutputError, failed, write_whole};
use crate::metadata;
use crate::recipe::{FileKind, NamedFile, Recipe, RecipeError};

type Result<T, E = OutputError> = std::result::Result<T, E>;

const SOFTWARE: &str = concat!("phantasia ", env!("CARGO_PKG_VERSION"));

/// The folder of one run. No other process can open it while this value exists.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Opened by the first line.
    pub(super) metrics: Option<File>,
    inputs: Inputs,
    _lock: Lock,
}

impl RunFolder {
    /// Makes the folder `out/name-NNN` with the next free number, and `out` too if it does not exist. Two programs
    /// that do so at once get two folders.
    ///
    /// # Errors
    /// When `out` is no folder, or cannot be written to.
    pub fn create(out: &Path, name: &str) -> Result<Self> {
        fs::create_dir_all(out).map_err(failed(CREATE_FOLDER, out))?;
        let name = file_name(name);
        let taken = fs::read_dir(out)
            .map_err(failed("look into", out))?
            .filter_map(|entry| number_of(entry.ok()?.file_name().to_str()?, &name));
        let mut number = taken.max().map_or(1, |greatest| greatest.saturating_add(1));
        loop {
            let path = out.join(format!("{name}-{number:03}"));
            match fs::create_dir(&path) {
                Ok(()) => return Self::locked(path),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && number < u64::MAX => {
                    number += 1;
                }
                Err(error) => return Err(failed(CREATE_FOLDER, &path)(error)),
            }
        }
    }

    /// Makes a folder of exactly this path, which does not exist yet.
    ///
    /// # Errors
    /// When it exists, or cannot be made.
    pub(crate) fn create_at(path: &Path) -> Result<Self> {
        fs::create_dir(path).map_err(failed(CREATE_FOLDER, path))?;
        Self::locked(path.to_owned())
    }

    /// The folder of an earlier run. Partial files that a killed program left are removed.
    ///
    /// # Errors
    /// When there is no such folder, it is not a run's, or another process is painting in it.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, RECIPE, "it is not the folder of a render")
    }

    /// Opens the folder of earlier work, which is recognised by a file in it. `missing` is the error if that file does not exist.
    ///
    /// # Errors
    /// As [`RunFolder::open`].
    pub(crate) fn open_with(path: &Path, file: &str, missing: &str) -> Result<Self> {
        let file = path.join(file);
        if !file.is_file() {
            // a missing folder is named itself
            fs::read_dir(path).map_err(failed("look into", path))?;
            let error = io::Error::new(ErrorKind::NotFound, missing);
            return Err(failed("find", &file)(error));
        }
        Self::cleaned(path.to_owned())
    }

    /// Opens a folder inside of this one, and creates it if needed.
    ///
    /// # Errors
    /// When it cannot be written to, or another process is painting in it.
    pub(crate) fn inside(&self, name: &Path) -> Result<Self> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).map_err(failed(CREATE_FOLDER, &path))?;
        Self::cleaned(path)
    }

    /// A folder without the partial files that a killed program left.
    fn cleaned(path: PathBuf) -> Result<Self> {
        // before anything is removed: another process may still be writing its partial files
        let folder = Self::locked(path)?;
        let path = &folder.path;
        let entries = fs::read_dir(path).map_err(failed("look into", path))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(".partial") {
                // one that stays does no harm
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(folder)
    }

    fn locked(path: PathBuf) -> Result<Self> {
        Ok(Self {
            _lock: Lock::take(&path)?,
            path,
            metrics: None,
            inputs: Inputs::default(),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Copies the images that the recipe names into the folder and writes the recipe. Returns it as it was written: with
    /// the copies' paths, relative to the folder.
    ///
    /// # Errors
    /// When an image cannot be read or the folder cannot be written to.
    pub fn write_recipe(&mut self, recipe: &Recipe) -> Result<Recipe> {
        let path = self.path.join(RECIPE);
        let failed = |error: RecipeError| failed("write", &path)(io::Error::other(error));
        let mut files = recipe.files().map_err(failed)?;
        for NamedFile { kind, name, .. } in &mut files {
            match kind {
                FileKind::Image => {
                    let copy = self.inputs.copy(Path::new(name), &self.path)?;
                    *name = copy.to_string_lossy().into_owned();
                }
                FileKind::Model if is_embedded(name) => {}
                FileKind::Model => {
                    if let Some(relative) = relative(&self.path, Path::new(name)) {
                        *name = relative;
                    }
                }
            }
        }
        let written = recipe.with_files(files).map_err(failed)?;
        let text = format!(
            "# The complete recipe of this run, by {SOFTWARE}; `phantasia render` paints it again.\n{}",
            yaml(&written, &path)?
        );
        write_whole(&path, true, |file| file.write_all(text.as_bytes()))?;
        Ok(written)
    }

    /// Writes the picture, with its recipe in its metadata if it has one. Replaces the one that was there before.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write_image(&self, image: &RgbImage, recipe: Option<&Recipe>) -> Result<PathBuf> {
        write_picture(self.path.join(IMAGE), image, recipe)
    }

    /// Writes a picture under a name of its own, with its recipe in its metadata, whose paths start from this folder.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub(crate) fn write_picture(
        &self,
        name: &str,
        image: &RgbImage,
        recipe: &Recipe,
    ) -> Result<PathBuf> {
        write_picture(self.path.join(name), image, Some(recipe))
    }

    /// Copies the picture under a name with its number of steps, such as `image-0200.png`, before another one replaces it. Returns the
    /// copy's path; `None` if there is no picture.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn keep_image(&self, steps: usize) -> Result<Option<PathBuf>> {
        let image = self.path.join(IMAGE);
        if !image.is_file() {
            return Ok(None);
        }
        let mut kept = self.path.join(format!("{KEPT}{steps:04}.png"));
        let mut number = 1;
        while kept.exists() {
            number += 1;
            kept = self.path.join(format!("{KEPT}{steps:04}-{number}.png"));
        }
        let mut input = File::open(&image).map_err(failed("read", &image))?;
        write_whole(&kept, true, |file| io::copy(&mut input, file).map(drop))?;
        Ok(Some(kept))
    }

    /// Writes the picture after `step` steps to `snapshots/`, with its recipe in its metadata if it has one.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write_snapshot(
        &self,
        step: usize,
        image: &RgbImage,
        recipe: Option<&Recipe>,
    ) -> Result<PathBuf> {
        let folder = self.subfolder(SNAPSHOTS)?;
        write_picture(folder.join(format!("step-{step:05}.png")), image, recipe)
    }

    /// Writes the picture after `step` steps to `frames/`.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write_frame(&self, step: usize, image: &RgbImage) -> Result<PathBuf> {
        let path = (self.subfolder(FRAMES)?).join(format!("frame-{step:05}.png"));
        write_whole(&path, false, |file| metadata::write(file, image, &[]))?;
        Ok(path)
    }

    fn subfolder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.path.join(name);
        fs::create_dir_all(&folder).map_err(failed(CREATE_FOLDER, &folder))?;
        Ok(folder)
    }
}

/// The recipe as text for the file at `path`.
fn yaml(recipe: &Recipe, path: &Path) -> Result<String> {
    (recipe.to_yaml().map_err(io::Error::other)).map_err(failed("write", path))
}

fn write_picture(path: PathBuf, image: &RgbImage, recipe: Option<&Recipe>) -> Result<PathBuf> {
    let recipe = match recipe {
        Some(recipe) => Some((recipe.seed.to_string(), yaml(recipe, &path)?)),
        None => None,
    };
    let mut texts = vec![(metadata::SOFTWARE, SOFTWARE)];
    if let Some((seed, yaml)) = &recipe {
        texts.extend([(metadata::SEED, seed.as_str()), (metadata::RECIPE, yaml)]);
    }
    write_whole(&path, true, |file| metadata::write(file, image, &texts))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Prompt;
    use phantasia_core::Region;

    fn recipe() -> Recipe {
        Recipe::new(vec![Prompt::new("a cat")])
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .filter(|name| name != super::super::lock::LOCK)
            .collect();
        names.sort();
        names
    }

    #[test]
    fn numbers_go_on_after_the_greatest() {
        let out = tempfile::tempdir().expect("a folder");
        for name in ["cat-001", "cat-007", "cat-x", "cat", "dog-100"] {
            fs::create_dir(out.path().join(name)).expect("a folder");
        }
        let run = RunFolder::create(out.path(), "cat").expect("a run");
        assert!(run.path().ends_with("cat-008"));
    }

    #[test]
    fn many_at_once_get_a_folder_each() {
        let out = tempfile::tempdir().expect("a folder");
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| RunFolder::create(out.path(), "cat").expect("a run"));
            }
        });
        assert_eq!(names(out.path()).len(), 16);
    }

    #[test]
    fn a_picture_carries_its_recipe() {
        let out = tempfile::tempdir().expect("a folder");
        let run = RunFolder::create(out.path(), "cat").expect("a run");
        let mut recipe = recipe();
        recipe.seed = u64::MAX;
        let path = run
            .write_image(&RgbImage::new(4, 3), Some(&recipe))
            .expect("a picture");
        assert_eq!(Recipe::load(&path).expect("a recipe"), recipe);
        assert_eq!(names(run.path()), [IMAGE]);
    }

    #[test]
    fn a_run_holds_the_images_it_starts_from() {
        let out = tempfile::tempdir().expect("a folder");
        let [a, b] = ["a", "b"].map(|name| {
            let folder = out.path().join(name);
            fs::create_dir(&folder).expect("a folder");
            let file = folder.join("start image.png");
            RgbImage::new(1, 1).save(&file).expect("a picture");
            file
        });
        let mut recipe = recipe();
        recipe.init = Some(a.clone());
        recipe.mask = Some(b);
        recipe.prompts[0].text = None;
        recipe.prompts[0].image = Some(a.clone());
        recipe.prompts[0].region = Some(Region::Image(a));
        let mut run = RunFolder::create(out.path(), "cat").expect("a run");
        let written = run.write_recipe(&recipe).expect("a recipe");
        assert_eq!(written.init, Some("inputs/start-image.png".into()));
        assert_eq!(written.prompts[0].image, written.init);
        let region = Region::Image("inputs/start-image.png".into());
        assert_eq!(written.prompts[0].region, Some(region));
        assert_eq!(written.mask, Some("inputs/2-start-image.png".into()));
        let text = fs::read_to_string(run.path().join(RECIPE)).expect("a text");
        assert!(!text.contains(&*out.path().to_string_lossy()), "{text}");
        Recipe::load(&run.path().join(RECIPE)).expect("a recipe that finds its images");
    }

    #[test]
    fn a_model_near_the_run_has_a_relative_path() {
        let out = tempfile::tempdir().expect("a folder");
        fs::create_dir(out.path().join("model")).expect("a folder");
        let mut recipe = recipe();
        recipe.clip[0].model = out.path().join("model").to_string_lossy().into_owned();
        let mut run = RunFolder::create(&out.path().join("outputs"), "cat").expect("a run");
        let written = run.write_recipe(&recipe).expect("a recipe");
        assert_eq!(written.clip[0].model, "../../model");
    }

    #[test]
    fn a_failed_write_leaves_what_was_there() {
        let out = tempfile::tempdir().expect("a folder");
        let path = out.path().join("file");
        write_whole(&path, true, |file| file.write_all(b"whole")).expect("a file");
        write_whole(&path, true, |file| {
            file.write_all(b"half")?;
            Err(ErrorKind::StorageFull.into())
        })
        .expect_err("a full disk");
        assert_eq!(fs::read(&path).expect("a file"), b"whole");
        assert_eq!(names(out.path()), ["file"]);
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let out = tempfile::tempdir().expect("a folder");
        let file = out.path().join("file");
        fs::write(&file, "").expect("a file");
        let error = RunFolder::create(&file, "cat")
            .expect_err("no folder")
            .to_string();
        assert!(error.starts_with("cannot create the folder `"), "{error}");
        assert!(error.contains("a file is in the way"), "{error}");
    }

    #[test]
    fn frames_are_numbered() {
        let out = tempfile::tempdir().expect("a folder");
        let run = RunFolder::create(out.path(), "cat").expect("a run");
        let frame = run.write_frame(10, &RgbImage::new(1, 1)).expect("a frame");
        assert!(frame.ends_with("frames/frame-00010.png"));
    }
}
