//! The methods of a [`Recipe`] that read, check, change or write it as a whole.

use std::path::{Path, PathBuf};

use super::super::check::{self, FileOf, Finding};
use super::super::emit;
use serde_json::Value;

use super::super::yaml::{self, Node};
use super::super::{Edit, Recipe};
use super::{LARGEST, PartialRecipe};
use phantasia_core::diagnostic::{Diagnostic, DiagnosticKind, Location, RecipeError};

/// A run's file has a heading above its recipe, of fewer bytes than this.
const HEADING: usize = 256;

impl Recipe {
    /// Reads and checks a recipe file, or the recipe in a PNG that Phantasia wrote. Relative paths in it are resolved
    /// from the file's folder.
    ///
    /// # Errors
    /// Tells all that is wrong, each with line and column.
    pub fn load(path: &Path) -> Result<Self, RecipeError> {
        PartialRecipe::load(path)?.finish()
    }

    /// Reads and checks a recipe's text. `origin` names it in errors; relative paths start from `folder`.
    ///
    /// # Errors
    /// Tells all that is wrong, each with line and column.
    pub fn parse(text: &str, origin: &str, folder: &Path) -> Result<Self, RecipeError> {
        PartialRecipe::parse(text, origin, folder)?.finish()
    }

    /// Checks what the types alone cannot hold: ranges, counts, files that must be there.
    ///
    /// # Errors
    /// Tells all that is wrong.
    pub fn check(&self) -> Result<(), RecipeError> {
        let problems: Vec<_> = check::all(self)
            .into_iter()
            .map(|finding| Diagnostic {
                place: Location::File,
                path: finding.path,
                fault: finding.fault,
            })
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(RecipeError::new("recipe", problems))
        }
    }

    /// Resolves the paths of an edit, relative ones from the working folder, and checks it like the edits of the timeline. All edits
    /// of a render pass through here.
    ///
    /// # Errors
    /// Lists everything that is wrong.
    pub fn check_edit(&self, edit: Edit) -> Result<Edit, RecipeError> {
        let refuse = |problems| Err(RecipeError::new("the edit", problems));
        let mut edited = Self {
            timeline: vec![edit],
            ..self.clone()
        };
        for (path, file) in check::files(&mut edited) {
            if path.starts_with("timeline.") {
                file.resolve(Path::new(""));
            }
        }
        let problems: Vec<_> = check::all(&edited)
            .into_iter()
            .filter_map(|Finding { path, fault }| {
                Some(Diagnostic {
                    place: Location::File,
                    path: path.strip_prefix("timeline.0.")?.to_owned(),
                    fault,
                })
            })
            .collect();
        if !problems.is_empty() {
            return refuse(problems);
        }
        edited.timeline.splice(0..0, self.timeline.iter().cloned());
        // half, so that every edit can be undone, and the render stopped
        if let Err(fault) = edited.check_length(2) {
            return refuse(vec![Diagnostic::new(Location::File, fault)]);
        }
        Ok(edited.timeline.swap_remove(self.timeline.len()))
    }

    /// Checks that the complete recipe, with every value written out, can be read again; it may take one `part`th of what any recipe may.
    pub(super) fn check_length(&self, part: usize) -> Result<(), DiagnosticKind> {
        let most = LARGEST as usize / part;
        let values = yaml::MOST_NODES / part;
        let value = serde_json::to_value(self).unwrap_or_default();
        if count(&value) <= values && emit::write(&value).len() + HEADING <= most {
            return Ok(());
        }
        Err(DiagnosticKind::Invalid(format!(
            "the complete recipe, with every value and every edit written out, would have more than {most} bytes or {values} values, and \
             could not be read again: use fewer or shorter prompts and edits"
        )))
    }

    /// Changes one value (`generator.lr=0.1`) and checks the whole again. See [`PartialRecipe::set`].
    ///
    /// # Errors
    /// When the path or the value is wrong; the recipe is as before.
    pub fn set(&mut self, assignment: &str) -> Result<(), RecipeError> {
        let value = serde_json::to_value(&*self).unwrap_or_default();
        let mut draft = PartialRecipe {
            root: Node::from_value(&value, &Location::File),
            origin: "recipe".to_owned(),
            folder: PathBuf::new(),
            warnings: vec![],
        };
        draft.set(assignment)?;
        *self = draft.finish()?;
        Ok(())
    }

    /// The texts of all prompts, those of stages and of the timeline included, each with its path.
    pub fn texts(&self) -> Vec<(String, &str)> {
        let stages = self.generator.0.iter().enumerate().map(|(index, stage)| {
            (
                format!("generator.{index}.prompts"),
                stage.prompts.as_deref(),
            )
        });
        let edits =
            self.timeline.iter().enumerate().map(|(index, edit)| {
                (format!("timeline.{index}.prompts"), edit.prompts.as_deref())
            });
        let own = std::iter::once(("prompts".to_owned(), Some(self.prompts.as_slice())));
        let mut texts = vec![];
        for (path, prompts) in own.chain(stages).chain(edits) {
            for (index, prompt) in prompts.unwrap_or_default().iter().enumerate() {
                let text = prompt.text.as_deref();
                texts.extend(text.map(|text| (format!("{path}.{index}.text"), text)));
            }
        }
        texts
    }

    /// The images that it names.
    pub fn images_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        check::files(self)
            .into_iter()
            .filter_map(|(_, file)| match file {
                FileOf::Image(path) => Some(path),
                FileOf::Model(_) => None,
            })
    }

    /// The models that it names: by folder, by file or by a known name.
    pub fn models_mut(&mut self) -> impl Iterator<Item = &mut String> {
        check::files(self)
            .into_iter()
            .filter_map(|(_, file)| match file {
                FileOf::Model(name) => Some(name),
                FileOf::Image(_) => None,
            })
    }

    /// The complete recipe as YAML: it reads back as an equal recipe.
    pub fn to_yaml(&self) -> String {
        // A recipe's types serialise into plain values, numbers in them are finite: this cannot fail.
        emit::write(&serde_json::to_value(self).unwrap_or_default())
    }
}

/// The number of values in `value`, including itself.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(entries) => entries.values().map(count).sum::<usize>(),
        _ => 0,
    }
}
