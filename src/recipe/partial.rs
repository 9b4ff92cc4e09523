//! A recipe between its text and its checked form: it is read, single values are set from the command line, then it is checked.

mod file;
mod set;

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use phantasia_core::diagnostic::nearest;
use phantasia_core::{Diagnostic, DiagnosticKind, Location};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::check;
use super::decode::decode;
use super::node::{Content, Node, Scalar};
use super::{PLACE, Prompt, Recipe, RecipeError, hint, seed, wildcard, yaml};

/// The largest recipe in bytes.
pub(super) const MAX_BYTES: u64 = 1 << 20;
/// The most errors about keys and types that one reading of a recipe reports.
const MAX_DIAGNOSTICS: usize = 20;

/// A recipe that was read but not yet checked, so that single values can be changed first.
#[derive(Clone, Debug)]
pub struct PartialRecipe {
    root: Node,
    origin: String,
    folder: PathBuf,
    /// Where relative paths in values of flags start from.
    flag_folder: PathBuf,
    warnings: Vec<String>,
}

impl PartialRecipe {
    /// Reads a recipe file, or the recipe in a PNG that Phantasia wrote.
    ///
    /// # Errors
    /// When the file cannot be read or is not YAML.
    pub fn load(path: &Path) -> Result<Self, RecipeError> {
        let origin = path.display().to_string();
        let text =
            file::read(path).map_err(|kind| RecipeError::at(&origin, Location::File, kind))?;
        Self::parse(&text, &origin, path.parent().unwrap_or(Path::new("")))
    }

    /// Reads a recipe, or a PNG that Phantasia wrote, from a stream. `origin` names it in errors; relative paths start from the working folder.
    ///
    /// # Errors
    /// When it cannot be read or is not YAML.
    pub fn read(input: impl Read, origin: &str) -> Result<Self, RecipeError> {
        let text = file::read_stream(input)
            .map_err(|kind| RecipeError::at(origin, Location::File, kind))?;
        Self::parse(&text, origin, Path::new(""))
    }

    /// A recipe of these prompts with the default of everything else. `origin` names them in errors.
    pub fn of_prompts(prompts: &[Prompt], origin: &str) -> Self {
        Self::from_value(&json!({ "prompts": prompts }), origin)
    }

    /// Whether its seed is drawn each time that the recipe is read.
    pub fn has_random_seed(&self) -> bool {
        let seed = self.root.child("seed").map(|node| &node.content);
        matches!(seed, Some(Content::Scalar { text, .. }) if **text == *seed::RANDOM)
    }

    /// Reads a recipe's text. `origin` names it in errors; relative paths start from `folder`.
    ///
    /// # Errors
    /// When the text is not YAML.
    pub fn parse(text: &str, origin: &str, folder: &Path) -> Result<Self, RecipeError> {
        if text.len() as u64 > MAX_BYTES {
            let kind = DiagnosticKind::TooLarge { most: MAX_BYTES };
            return Err(RecipeError::at(origin, Location::File, kind));
        }
        let root =
            yaml::read(text).map_err(|diagnostic| RecipeError::new(origin, vec![diagnostic]))?;
        let mut partial = Self::new(root, origin, folder);
        partial.warnings = (hint::about_prompts(&partial.root, text).into_iter())
            .map(|(location, message)| partial.message(location, "", message))
            .collect();
        Ok(partial)
    }

    pub(super) fn from_value(value: &Value, origin: &str) -> Self {
        Self::new(
            Node::from_value(value, &Location::File),
            origin,
            Path::new(""),
        )
    }

    /// A recipe in a tree that was read; `origin` and `folder` as in [`PartialRecipe::parse`].
    pub(crate) fn new(root: Node, origin: &str, folder: &Path) -> Self {
        Self {
            root,
            origin: origin.to_owned(),
            folder: folder.to_owned(),
            flag_folder: PathBuf::new(),
            warnings: vec![],
        }
    }

    /// Warnings about prompts that YAML reads as something else: comments after a text without quotes, anchors.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Warnings about parts of the finished recipe that a render does not use as they may be meant: edits of the timeline after the last step, and
    /// places for the prompts of a comparison.
    pub fn warnings_about(&self, recipe: &Recipe) -> Vec<String> {
        let texts = recipe.texts().into_iter();
        let places = texts.filter(|(_, text)| text.contains(PLACE)).map(|(path, _)| {
            let message = format!(
                "only `phantasia compare --prompts FILE` fills `{PLACE}`: a render reads it as a part of the text"
            );
            self.message_about(&path, &message)
        });
        let unused = self.unused_steps(recipe).into_iter();
        let late = recipe.edits_after_end().into_iter();
        late.map(|(index, end)| {
            let message = format!(
                "the render ends after step {end}, so that this edit never takes effect: give it an earlier step, or the recipe more `steps`"
            );
            self.message_about(&format!("timeline.{index}.step"), &message)
        })
        .chain(places)
        .chain(unused)
        .collect()
    }

    /// The warning about `steps` that were set from outside of a recipe whose stages all have steps of their own.
    fn unused_steps(&self, recipe: &Recipe) -> Option<String> {
        let stages = &recipe.generator.0;
        let is_set = self.root.child("steps").is_some()
            && matches!(self.location("steps"), Location::Flag(_));
        if !is_set || !stages.iter().all(|stage| stage.steps.is_some()) {
            return None;
        }
        let path = recipe.stage_path(stages.len() - 1);
        let message = format!(
            "every stage of `generator` has `steps` of its own, so that this changes nothing: set `{path}.steps`"
        );
        Some(self.message_about("steps", &message))
    }

    /// A message about the value at `path`, with its location.
    pub(crate) fn message_about(&self, path: &str, message: &str) -> String {
        self.message(self.location(path), path, message.to_owned())
    }

    fn message(&self, location: Location, path: &str, message: String) -> String {
        let diagnostic = Diagnostic {
            location,
            path: path.to_owned(),
            kind: DiagnosticKind::Invalid(message),
        };
        RecipeError::new(&self.origin, vec![diagnostic]).to_string()
    }

    /// Checks everything and fills in the defaults.
    ///
    /// # Errors
    /// Lists all that is wrong, as far as one error does not hide another.
    pub fn finish(&self) -> Result<Recipe, RecipeError> {
        let recipe = self.unchecked()?;
        let diagnostics = check::all(&recipe);
        if !diagnostics.is_empty() {
            return Err(self.error(self.located(diagnostics)));
        }
        (recipe.check_length(1))
            .map_err(|kind| RecipeError::at(&self.origin, Location::File, kind))?;
        Ok(recipe)
    }

    /// The recipe with its defaults and resolved paths, without the checks of ranges and files: to compare it with a recipe that was valid when
    /// it was written.
    ///
    /// # Errors
    /// When a key or a type is wrong.
    pub fn unchecked(&self) -> Result<Recipe, RecipeError> {
        let mut recipe = self.decode()?;
        let wrong = recipe.draw_wildcards();
        if !wrong.is_empty() {
            return Err(self.refusal(wrong));
        }
        recipe.resolved(recipe.files()?, |path| match self.location(path) {
            Location::Flag(_) => &self.flag_folder,
            _ => &self.folder,
        })
    }

    /// The texts of prompts as they are written, their wildcards not drawn, each with its path; none where the recipe cannot be read.
    pub(crate) fn written_texts(&self) -> Vec<(String, String)> {
        let (recipe, _) = self.decode_valid();
        let recipe = recipe.iter().flat_map(Recipe::texts);
        recipe.map(|(path, text)| (path, text.to_owned())).collect()
    }

    /// What the seed of the finished recipe drew for the texts with wildcards, a message for each.
    pub fn drawn_texts(&self, recipe: &Recipe) -> Vec<String> {
        let written = self.written_texts().into_iter();
        let drawn = written
            .zip(recipe.texts())
            .filter(|((path, text), (same, drawn))| {
                path == same && text != drawn && wildcard::has_wildcards(text)
            });
        let seed = recipe.seed;
        drawn
            .map(|((path, text), (_, drawn))| {
                format!("{path} is \"{drawn}\", drawn from \"{text}\" by the seed {seed}")
            })
            .collect()
    }

    /// An error that refuses the values at these paths, each for a reason that the caller gives.
    pub fn refusal(&self, reasons: Vec<(String, String)>) -> RecipeError {
        let diagnostic = |(path, reason)| Diagnostic {
            location: Location::File,
            path,
            kind: DiagnosticKind::Invalid(reason),
        };
        let diagnostics = reasons.into_iter().map(diagnostic).collect();
        RecipeError::new(&self.origin, self.located(diagnostics))
    }

    /// The recipe, or all errors in keys and types.
    fn decode(&self) -> Result<Recipe, RecipeError> {
        let (recipe, mut diagnostics) = self.decode_valid();
        match recipe {
            Some(recipe) if diagnostics.is_empty() => Ok(recipe),
            recipe => {
                if let Some(recipe) = recipe {
                    state_limits(&recipe, &mut diagnostics);
                }
                Err(self.error(diagnostics))
            }
        }
    }

    /// The recipe without what is wrong, and all errors in keys and types: what is wrong is removed, and the rest is read again.
    fn decode_valid(&self) -> (Option<Recipe>, Vec<Diagnostic>) {
        let mut root = self.root.clone();
        let mut removed: HashSet<Vec<String>> = HashSet::new();
        let mut misspelled: HashSet<Vec<String>> = HashSet::new();
        let mut diagnostics = vec![];
        while diagnostics.len() < MAX_DIAGNOSTICS {
            let error = match decode(&root) {
                Ok(recipe) => return (Some(recipe), diagnostics),
                Err(error) => error,
            };
            let path = error.path();
            let diagnostic = error.into_diagnostic();
            let is_consequence = match &diagnostic.kind {
                DiagnosticKind::NotInDigits { digits, .. } => {
                    let text = digits.as_str().into();
                    let scalar = Scalar::whole(digits).unwrap_or(Scalar::Text);
                    root.replace(&path, Content::Scalar { text, scalar });
                    diagnostics.push(diagnostic);
                    continue;
                }
                DiagnosticKind::MissingKey { key } => {
                    let missing = [path.as_slice(), std::slice::from_ref(key)].concat();
                    removed.contains(&missing) || misspelled.contains(&missing)
                }
                _ => removed.iter().any(|gone| gone.starts_with(&path)),
            };
            if let DiagnosticKind::UnknownKey { key, valid } = &diagnostic.kind
                && let Some(meant) = nearest(key, valid)
                && let Some((_, map)) = path.split_last()
            {
                misspelled.insert([map, &[meant.to_owned()]].concat());
            }
            if !is_consequence {
                diagnostics.push(diagnostic);
            }
            // the 3 of `affine: 3` is still wrong when it is removed: then the map around it is removed
            let mut path = path;
            while !path.is_empty() && !root.replace(&path, Content::Removed) {
                path.pop();
            }
            if path.is_empty() {
                break;
            }
            removed.insert(path);
        }
        (None, diagnostics)
    }

    /// An error with diagnostics in the order of their lines.
    fn error(&self, mut diagnostics: Vec<Diagnostic>) -> RecipeError {
        diagnostics.sort_by_key(|diagnostic| match diagnostic.location {
            Location::Text { line, column } => (line, column),
            Location::Flag(_) | Location::File => (usize::MAX, 0),
        });
        RecipeError::new(&self.origin, diagnostics)
    }

    fn located(&self, mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
        for diagnostic in &mut diagnostics {
            diagnostic.location = self.location(&diagnostic.path);
        }
        diagnostics
    }

    /// Where the value at `path` stands, or else the innermost value on the path that exists.
    fn location(&self, path: &str) -> Location {
        let mut node = &self.root;
        for segment in path.split('.') {
            match node.child(segment) {
                Some(child) => node = child,
                None => break,
            }
        }
        node.location.clone()
    }
}

/// If a number that is not written in digits is also out of range, only the range is reported.
fn state_limits(recipe: &Recipe, diagnostics: &mut [Diagnostic]) {
    let mut limits = check::all(recipe);
    for diagnostic in diagnostics {
        let same = |limit: &Diagnostic| limit.path == diagnostic.path;
        if let DiagnosticKind::NotInDigits { .. } = diagnostic.kind
            && let Some(index) = limits.iter().position(same)
        {
            diagnostic.kind = limits.swap_remove(index).kind;
        }
    }
}

/// Reads a JSON value as recipes are read, with their shorthand and hints. `origin` begins the messages of errors.
///
/// # Errors
/// When a key or a type is wrong.
pub(crate) fn from_json<T: DeserializeOwned>(
    value: &Value,
    origin: &str,
) -> Result<T, RecipeError> {
    decode(&Node::from_value(value, &Location::File))
        .map_err(|error| RecipeError::new(origin, vec![error.into_diagnostic()]))
}
