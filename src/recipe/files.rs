//! The files that a recipe names: images, and models that are files or folders.

use std::path::Path;

use phantasia_core::DiagnosticKind;
use phantasia_core::check::{IMAGE_FORMAT, MODEL_FORMAT, format_of};
use phantasia_core::schema::walk;

use super::{Recipe, RecipeError, SCHEMA, from_json, refused};
use crate::models::is_embedded;

/// A name of a file in a recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The path of the value: `prompts.0.image`.
    pub path: String,
    /// What it names.
    pub kind: FileKind,
    /// The path of the file, or the name of a known model.
    pub name: String,
}

/// What a name in a recipe stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// An image.
    Image,
    /// A model: a file, a folder, or a known model's name.
    Model,
}

impl Recipe {
    /// The files and models that it names.
    ///
    /// # Errors
    /// When a path is not UTF-8.
    pub fn files(&self) -> Result<Vec<NamedFile>, RecipeError> {
        let value = self.to_value().map_err(refused)?;
        let mut files: Vec<NamedFile> = vec![];
        walk(&SCHEMA, &value, &mut |path, schema, value| {
            let kind = match format_of(schema) {
                Some(IMAGE_FORMAT) => FileKind::Image,
                Some(MODEL_FORMAT) => FileKind::Model,
                _ => return,
            };
            if let Some(name) = value.as_str() {
                files.push(NamedFile {
                    path: path.to_owned(),
                    kind,
                    name: name.to_owned(),
                });
            }
        });
        Ok(files)
    }

    /// The recipe with these names for the files that it names.
    ///
    /// # Errors
    /// When a path is not UTF-8.
    pub fn with_files(
        &self,
        files: impl IntoIterator<Item = NamedFile>,
    ) -> Result<Self, RecipeError> {
        let mut value = self.to_value().map_err(refused)?;
        for NamedFile { path, name, .. } in files {
            let pointer = format!("/{}", path.replace('.', "/"));
            if let Some(value) = value.pointer_mut(&pointer) {
                *value = name.into();
            }
        }
        from_json(&value, "recipe")
    }

    /// The recipe with these files' paths resolved, relative ones from the folder that `base` gives.
    pub(super) fn resolved<'p>(
        &self,
        files: impl IntoIterator<Item = NamedFile>,
        base: impl Fn(&str) -> &'p Path,
    ) -> Result<Self, RecipeError> {
        let mut resolved = vec![];
        for mut file in files {
            file.resolve(base(&file.path)).map_err(refused)?;
            resolved.push(file);
        }
        self.with_files(resolved)
    }
}

impl NamedFile {
    /// Resolves a relative path against `base`, and one that begins with `~/` against the user's home folder. A model's name is a path if it
    /// begins like one or exists.
    fn resolve(&mut self, base: &Path) -> Result<(), DiagnosticKind> {
        let written = Path::new(&self.name);
        let home = written.strip_prefix("~").ok().zip(std::env::home_dir());
        let path = home.map_or_else(|| base.join(written), |(rest, home)| home.join(rest));
        let is_path = match self.kind {
            FileKind::Image => true,
            FileKind::Model => {
                let is_named = !is_embedded(&self.name) && !self.name.trim().is_empty();
                is_named && (looks_like_path(&self.name) || path.exists())
            }
        };
        if is_path {
            self.name = path.into_os_string().into_string().map_err(|path| {
                let message = format!("the path `{}` is not UTF-8", path.display());
                DiagnosticKind::Invalid(message)
            })?;
        }
        Ok(())
    }
}

/// Whether the name of a model begins like a path.
pub(super) fn looks_like_path(model: &str) -> bool {
    model.starts_with(['.', '~']) || Path::new(model).has_root()
}
