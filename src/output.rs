//! The run folder: where a render leaves its picture, its recipe, its metrics and its frames.
//!
//! Every file but the metrics is written aside in the same folder and then renamed, so that whatever stops the program,
//! what is there under its name is whole. Metrics are appended a line at a time. A run folder is complete in itself: the
//! images that the recipe starts from are copied into it, and nothing in it names a folder outside of it, but for a
//! model's that is no part of a run.

mod checkpoint;
mod copies;
mod full;
mod lock;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::{Component, Path, PathBuf};

use image::RgbImage;
use serde::Serialize;

use crate::files::{CREATE_FOLDER, failed, write_whole};
use crate::load::EMBEDDED;
use crate::metadata;
use crate::recipe::Recipe;

use copies::Copies;
use lock::Lock;

pub use crate::files::OutputError;
pub use checkpoint::CheckpointError;
pub use full::disk_full;

/// The picture's file name in a run folder.
pub const IMAGE: &str = "image.png";
/// The prefix of the names of pictures that were kept when a complete run was resumed.
const KEPT: &str = "image-";
/// The recipe's file name in a run folder.
pub const RECIPE: &str = "recipe.yaml";
/// The metrics' file name in a run folder.
pub const METRICS: &str = "metrics.jsonl";
/// The folder of frames in a run folder.
pub const FRAMES: &str = "frames";
/// The checkpoint's file name in a run folder.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// The file name of the checkpoint before it.
pub const PREVIOUS: &str = "checkpoint-previous.safetensors";
/// The folder of snapshots in a run folder.
pub const SNAPSHOTS: &str = "snapshots";
/// The folder of copied input images in a run folder.
const INPUTS: &str = "inputs";
/// Longest name of a run, in bytes, before its number.
const LONGEST_NAME: usize = 80;

/// The folder of one render.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    metrics: Option<File>,
    copies: Copies,
    /// Held as long as the folder is.
    _lock: Lock,
}

impl RunFolder {
    /// Makes the folder `out/name-NNN` with the next number that is free; `out` too, if it is not there. Two programs
    /// that do so at once get two folders.
    ///
    /// # Errors
    /// When `out` is no folder, or cannot be written to.
    pub fn create(out: &Path, name: &str) -> Result<Self, OutputError> {
        fs::create_dir_all(out).map_err(failed(CREATE_FOLDER, out))?;
        let name = file_name(name);
        let taken = fs::read_dir(out)
            .map_err(failed("look into", out))?
            .filter_map(|entry| number_of(entry.ok()?.file_name().to_str()?, &name));
        let mut number = taken.max().map_or(1, |greatest| greatest.saturating_add(1));
        loop {
            let path = out.join(format!("{name}-{number:03}"));
            match fs::create_dir(&path) {
                Ok(()) => {
                    return Ok(Self {
                        _lock: Lock::take(&path)?,
                        path,
                        metrics: None,
                        copies: Copies::default(),
                    });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists && number < u64::MAX => {
                    number += 1;
                }
                Err(error) => return Err(failed(CREATE_FOLDER, &path)(error)),
            }
        }
    }

    /// The folder of a render that was begun before. What a program that was killed left half written is removed.
    ///
    /// # Errors
    /// When there is no such folder, it is not a run's, or another process is painting in it.
    pub fn open(path: &Path) -> Result<Self, OutputError> {
        let entries = fs::read_dir(path).map_err(failed("look into", path))?;
        let recipe = path.join(RECIPE);
        if !recipe.is_file() {
            let error = io::Error::new(ErrorKind::NotFound, "it is not the folder of a render");
            return Err(failed("find", &recipe)(error));
        }
        // before anything is removed: another process may still be writing its partial files
        let lock = Lock::take(path)?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(".partial") {
                // it is in nobody's way
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Self {
            path: path.to_owned(),
            metrics: None,
            copies: Copies::default(),
            _lock: lock,
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
    pub fn write_recipe(&mut self, recipe: &Recipe) -> Result<Recipe, OutputError> {
        let mut written = recipe.clone();
        for path in written.images_mut() {
            *path = self.copies.copy(path, &self.path)?;
        }
        for model in written.models_mut() {
            if model != EMBEDDED
                && let Some(relative) = relative(&self.path, Path::new(model))
            {
                *model = relative;
            }
        }
        let text = format!(
            "# The complete recipe of this run, by phantasia {}; `phantasia render` paints it again.\n{}",
            env!("CARGO_PKG_VERSION"),
            written.to_yaml()
        );
        let path = self.path.join(RECIPE);
        write_whole(&path, true, |file| file.write_all(text.as_bytes()))?;
        Ok(written)
    }

    /// Writes the picture with its recipe in its metadata; the one that was there before is replaced.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write_image(&self, image: &RgbImage, recipe: &Recipe) -> Result<PathBuf, OutputError> {
        self.write_picture(self.path.join(IMAGE), image, recipe)
    }

    /// Copies the picture under a name with its number of steps, such as `image-0200.png`, before another one replaces it. Returns the
    /// copy's path; `None` if there is no picture.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn keep_image(&self, steps: usize) -> Result<Option<PathBuf>, OutputError> {
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

    /// Writes the picture after `step` steps to `snapshots/`, with its recipe in its metadata.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write_snapshot(
        &self,
        step: usize,
        image: &RgbImage,
        recipe: &Recipe,
    ) -> Result<PathBuf, OutputError> {
        let folder = self.path.join(SNAPSHOTS);
        fs::create_dir_all(&folder).map_err(failed(CREATE_FOLDER, &folder))?;
        self.write_picture(folder.join(format!("step-{step:05}.png")), image, recipe)
    }

    fn write_picture(
        &self,
        path: PathBuf,
        image: &RgbImage,
        recipe: &Recipe,
    ) -> Result<PathBuf, OutputError> {
        let yaml = recipe.to_yaml();
        let seed = recipe.seed.to_string();
        let version = concat!("phantasia ", env!("CARGO_PKG_VERSION"));
        let texts = [
            (metadata::SOFTWARE, version),
            (metadata::SEED, &seed),
            (metadata::RECIPE, &yaml),
        ];
        write_whole(&path, true, |file| metadata::write(file, image, &texts))?;
        Ok(path)
    }

    /// Writes the picture of a run that has no recipe.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write_grown(&self, image: &RgbImage) -> Result<PathBuf, OutputError> {
        grown_png(self.path.join(IMAGE), image)
    }

    /// Writes a grown pattern as it was after so many iterations to `snapshots/`.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write_grown_snapshot(
        &self,
        steps: usize,
        image: &RgbImage,
    ) -> Result<PathBuf, OutputError> {
        let folder = self.path.join(SNAPSHOTS);
        fs::create_dir_all(&folder).map_err(failed(CREATE_FOLDER, &folder))?;
        grown_png(folder.join(format!("step-{steps:05}.png")), image)
    }

    /// Writes the picture after `step` steps to `frames/`.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write_frame(&self, step: usize, image: &RgbImage) -> Result<PathBuf, OutputError> {
        let folder = self.path.join(FRAMES);
        fs::create_dir_all(&folder).map_err(failed(CREATE_FOLDER, &folder))?;
        let path = folder.join(format!("frame-{step:05}.png"));
        write_whole(&path, false, |file| metadata::write(file, image, &[]))?;
        Ok(path)
    }

    /// Appends a line to the metrics.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn append_metrics(&mut self, line: &impl Serialize) -> Result<(), OutputError> {
        let path = self.path.join(METRICS);
        let mut append = || -> io::Result<()> {
            let mut text = serde_json::to_vec(line)?;
            text.push(b'\n');
            let file = match &mut self.metrics {
                Some(file) => file,
                none => none.insert(OpenOptions::new().create(true).append(true).open(&path)?),
            };
            // In one call, so that no reader sees half a line.
            file.write_all(&text)
        };
        append().map_err(|error| {
            // on a full disk a part of the line may have been written; the first error is the one to report
            let _ = cut_half_line(&path);
            failed("write", &path)(error)
        })
    }
}

impl RunFolder {
    /// Forgets the metrics of steps after `step`: they will be made again.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn cut_metrics(&mut self, step: usize) -> Result<(), OutputError> {
        #[derive(serde::Deserialize)]
        struct Line {
            step: usize,
        }
        self.metrics = None;
        let path = self.path.join(METRICS);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        write_whole(&path, true, |out| {
            for line in BufReader::new(file).split(b'\n') {
                let line = line?;
                // a program that was killed may have left half a line
                let kept = serde_json::from_slice(&line).is_ok_and(|line: Line| line.step <= step);
                if kept {
                    out.write_all(&line)?;
                    out.write_all(b"\n")?;
                }
            }
            Ok(())
        })
    }
}

/// Removes what follows the last line break.
fn cut_half_line(path: &Path) -> io::Result<()> {
    let text = fs::read(path)?;
    let end = text.iter().rposition(|byte| *byte == b'\n');
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(end.map_or(0, |end| end as u64 + 1))
}

/// Writes a picture that has no recipe.
fn grown_png(path: PathBuf, image: &RgbImage) -> Result<PathBuf, OutputError> {
    let version = concat!("phantasia ", env!("CARGO_PKG_VERSION"));
    let texts = [(metadata::SOFTWARE, version)];
    write_whole(&path, true, |file| metadata::write(file, image, &texts))?;
    Ok(path)
}

/// The name of a recipe's runs: the file's stem. What lies in a run folder is named after it, without the number.
pub fn run_name(recipe: &Path) -> String {
    let stem = |path: &Path| {
        path.file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let folder = recipe
        .parent()
        .and_then(Path::file_name)
        .unwrap_or_default()
        .to_string_lossy();
    let is_ours = recipe.file_name().is_some_and(|name| {
        let kept = || name.to_string_lossy().starts_with(KEPT);
        name == IMAGE || name == RECIPE || kept()
    });
    match folder.rsplit_once('-') {
        Some((name, number))
            if is_ours && number_of(&folder, name).is_some() && number.len() >= 3 =>
        {
            name.to_owned()
        }
        _ => stem(recipe),
    }
}

/// The number of `name-NNN`.
fn number_of(folder: &str, name: &str) -> Option<u64> {
    let digits = folder.strip_prefix(name)?.strip_prefix('-')?;
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        digits.parse().ok()
    } else {
        None
    }
}

/// A name that is safe on every file system: letters, digits, `-`, `_` and inner dots.
fn file_name(name: &str) -> String {
    let mut safe = String::new();
    for c in name.chars() {
        if safe.len() + c.len_utf8() > LONGEST_NAME {
            break;
        }
        if c.is_alphanumeric() || c == '_' || c == '.' {
            safe.push(c);
        } else if !safe.ends_with('-') {
            safe.push('-');
        }
    }
    let safe = safe.trim_matches(['-', '.']);
    if safe.is_empty() {
        "render".to_owned()
    } else {
        safe.to_owned()
    }
}

/// The path from a folder to a file or folder that is there, with `/`. `None` where there is no such path.
fn relative(from: &Path, to: &Path) -> Option<String> {
    let (from, to) = (from.canonicalize().ok()?, to.canonicalize().ok()?);
    let common = from
        .components()
        .zip(to.components())
        .take_while(|(a, b)| a == b)
        .count();
    if common == 0 {
        return None;
    }
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    let down = to.components().skip(common);
    let parts: Option<Vec<_>> = up
        .chain(down)
        .map(|part| part.as_os_str().to_str())
        .collect();
    match parts?.join("/") {
        path if path.starts_with('.') => Some(path),
        path => Some(format!("./{path}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Prompt;

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
            .filter(|name| name != lock::LOCK)
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
    fn names_are_made_safe() {
        for (name, safe) in [
            ("first-light", "first-light"),
            ("a b/c\\d:e", "a-b-c-d-e"),
            ("../..", "render"),
            (".hidden.", "hidden"),
            ("Grün 2", "Grün-2"),
            ("", "render"),
        ] {
            assert_eq!(file_name(name), safe);
        }
        assert!(file_name(&"é".repeat(300)).len() <= LONGEST_NAME);
    }

    #[test]
    fn runs_of_a_run_keep_its_name() {
        for (path, name) in [
            ("recipes/first-light.yaml", "first-light"),
            ("outputs/first-light-012/image.png", "first-light"),
            ("outputs/first-light-012/recipe.yaml", "first-light"),
            (
                "outputs/first-light-012/frames/frame-00010.png",
                "frame-00010",
            ),
            ("outputs/first-light-012/image-0200.png", "first-light"),
            ("pictures/image.png", "image"),
        ] {
            assert_eq!(run_name(Path::new(path)), name);
        }
    }

    #[test]
    fn a_picture_carries_its_recipe() {
        let out = tempfile::tempdir().expect("a folder");
        let run = RunFolder::create(out.path(), "cat").expect("a run");
        let mut recipe = recipe();
        recipe.seed = u64::MAX;
        let path = run
            .write_image(&RgbImage::new(4, 3), &recipe)
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
        recipe.prompts[0].image = Some(a);
        let mut run = RunFolder::create(out.path(), "cat").expect("a run");
        let written = run.write_recipe(&recipe).expect("a recipe");
        assert_eq!(written.init, Some("inputs/start-image.png".into()));
        assert_eq!(written.prompts[0].image, written.init);
        assert_eq!(written.mask, Some("inputs/2-start-image.png".into()));
        let text = fs::read_to_string(run.path().join(RECIPE)).expect("a text");
        assert!(!text.contains(&*out.path().to_string_lossy()), "{text}");
        Recipe::load(&run.path().join(RECIPE)).expect("a recipe that finds its images");
    }

    #[test]
    fn a_model_beside_the_run_is_named_from_it() {
        let out = tempfile::tempdir().expect("a folder");
        fs::create_dir(out.path().join("model")).expect("a folder");
        let mut recipe = recipe();
        recipe.clip[0].model = out.path().join("model").to_string_lossy().into_owned();
        let mut run = RunFolder::create(&out.path().join("outputs"), "cat").expect("a run");
        let written = run.write_recipe(&recipe).expect("a recipe");
        assert_eq!(written.clip[0].model, "../../model");
    }

    #[test]
    fn metrics_are_a_line_a_step() {
        let out = tempfile::tempdir().expect("a folder");
        let mut run = RunFolder::create(out.path(), "cat").expect("a run");
        for step in 1..=2 {
            run.append_metrics(&serde_json::json!({ "step": step }))
                .expect("a line");
        }
        let text = fs::read_to_string(run.path().join(METRICS)).expect("a text");
        assert_eq!(text, "{\"step\":1}\n{\"step\":2}\n");
    }

    #[test]
    fn half_a_line_is_cut() {
        let out = tempfile::tempdir().expect("a folder");
        let path = out.path().join(METRICS);
        for (text, whole) in [("{}\n{\"st", "{}\n"), ("{\"st", ""), ("{}\n", "{}\n")] {
            fs::write(&path, text).expect("a file");
            cut_half_line(&path).expect("a file");
            assert_eq!(fs::read_to_string(&path).expect("a file"), whole);
        }
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
