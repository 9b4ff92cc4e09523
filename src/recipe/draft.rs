//! A recipe between its text and its checked form: read, changed from the command line, then finished.

mod recipe;

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::check::{self, Finding};
use super::decode::decode;
use super::hint;
use super::stage::STAGE_KEYS;
use super::yaml::{self, Content, Key, Node};
use super::{Prompt, Recipe};
use crate::metadata;
use phantasia_core::diagnostic::{
    Diagnostic, DiagnosticKind, Location, RECIPE, RecipeError, nearest,
};

/// No recipe is larger.
const LARGEST: u64 = 1 << 20;
/// After so many problems a reader has enough to do.
const MOST_PROBLEMS: usize = 20;

/// A recipe that was read but not yet checked, so that single values can be changed first.
#[derive(Clone, Debug)]
pub struct PartialRecipe {
    root: Node,
    origin: String,
    folder: PathBuf,
    /// Warnings about parts of the text that may not mean what their author intended.
    warnings: Vec<String>,
}

impl PartialRecipe {
    /// Reads a recipe file, or the recipe in a PNG that Phantasia wrote.
    ///
    /// # Errors
    /// When the file cannot be read or is no YAML.
    pub fn load(path: &Path) -> Result<Self, RecipeError> {
        let origin = path.display().to_string();
        let text = read_text(path)
            .map_err(|fault| match fault {
                DiagnosticKind::Folder if path.join(RECIPE).is_file() => {
                    DiagnosticKind::RunFolder(path.to_owned())
                }
                fault => fault,
            })
            .map_err(|fault| {
                RecipeError::new(&origin, vec![Diagnostic::new(Location::File, fault)])
            })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, &origin, folder)
    }

    /// Reads a recipe's text. `origin` names it in errors; relative paths start from `folder`.
    ///
    /// # Errors
    /// When the text is no YAML.
    pub fn parse(text: &str, origin: &str, folder: &Path) -> Result<Self, RecipeError> {
        let refuse = |problem| RecipeError::new(origin, vec![problem]);
        if text.len() as u64 > LARGEST {
            let fault = DiagnosticKind::TooLarge { most: LARGEST };
            return Err(refuse(Diagnostic::new(Location::File, fault)));
        }
        let mut draft = Self {
            root: yaml::read(text).map_err(refuse)?,
            origin: origin.to_owned(),
            folder: folder.to_owned(),
            warnings: vec![],
        };
        draft.warnings = (hint::of_prompts(&draft.root, text).into_iter())
            .map(|(place, words)| draft.located_text(&place, "", &words))
            .collect();
        Ok(draft)
    }

    /// Warnings about prompts that YAML reads as something else: comments after a text without quotes, anchors.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// A remark about the value at `path`, with its place.
    pub(crate) fn remark(&self, path: &str, words: &str) -> String {
        self.located_text(&self.place(path), path, words)
    }

    fn located_text(&self, place: &Location, path: &str, words: &str) -> String {
        let problem = Diagnostic {
            place: place.clone(),
            path: path.to_owned(),
            fault: DiagnosticKind::Invalid(words.to_owned()),
        };
        RecipeError::new(&self.origin, vec![problem]).to_string()
    }

    /// Changes one value: `generator.lr=0.1`, `prompts.0.weight=2`, `size=[512, 256]`. The value is YAML; nothing
    /// after the `=` is null. Relative paths in it start from the working folder.
    ///
    /// # Errors
    /// When there is no `=`, the value is no YAML or the path leads through a single value. Whether the key exists
    /// and the value fits is found out by [`PartialRecipe::finish`].
    pub fn set(&mut self, assignment: &str) -> Result<(), RecipeError> {
        let place = Location::Flag(format!("--set {assignment}").into());
        let refuse = |draft: &Self, fault| {
            RecipeError::new(&draft.origin, vec![Diagnostic::new(place.clone(), fault)])
        };
        let Some((path, value)) = assignment.split_once('=') else {
            let message = "expected path=value, such as generator.lr=0.1".to_owned();
            return Err(refuse(self, DiagnosticKind::Invalid(message)));
        };
        let node = match yaml::read(value) {
            Ok(mut node) => {
                node.relocate(&place);
                node
            }
            // an empty value is `null`
            Err(Diagnostic {
                fault: DiagnosticKind::Empty,
                ..
            }) => Node::null(place.clone()),
            Err(problem) => return Err(refuse(self, problem.fault)),
        };
        let mut path = path.trim();
        if let Content::Scalar { text, .. } = &node.content {
            self.forget_kind(path, text);
        }
        // another kind than the default has none of its settings
        if path == "generator.kind" && self.root.child_mut("generator").is_none() {
            path = "generator";
        }
        self.put(path, node).map_err(|fault| refuse(self, fault))
    }

    /// Removes the options of the generator that the file names when another kind is set, so that the new one has its defaults.
    fn forget_kind(&mut self, path: &str, kind: &str) {
        let Some(path) = path
            .strip_suffix(".kind")
            .filter(|path| path.starts_with("generator"))
        else {
            return;
        };
        let node = path
            .split('.')
            .try_fold(&mut self.root, |node, segment| node.child_mut(segment));
        let Some(Content::Map(entries)) = node.map(|node| &mut node.content) else {
            return;
        };
        let same =
            |node: &Node| matches!(&node.content, Content::Scalar { text, .. } if **text == *kind);
        if entries
            .iter()
            .any(|(key, node)| key.name == "kind" && same(node))
        {
            return;
        }
        // the stage's own keys stay, and so do those of the command line
        entries.retain(|(key, node)| {
            STAGE_KEYS.contains(&key.name.as_str()) || matches!(node.place, Location::Flag(_))
        });
    }

    /// Changes one value to what a flag of the command line gave; `flag` names it in errors.
    ///
    /// # Errors
    /// When the path leads through a single value.
    pub fn replace(&mut self, path: &str, value: &Value, flag: &str) -> Result<(), RecipeError> {
        let place = Location::Flag(flag.into());
        self.put(path, Node::from_value(value, &place))
            .map_err(|fault| RecipeError::new(&self.origin, vec![Diagnostic::new(place, fault)]))
    }

    /// Checks everything and fills in the defaults.
    ///
    /// # Errors
    /// Tells all that is wrong, as far as one fault does not hide another.
    pub fn finish(&self) -> Result<Recipe, RecipeError> {
        let recipe = self.unchecked()?;
        let problems = check::all(&recipe)
            .into_iter()
            .map(|finding| self.located(finding))
            .collect();
        self.verdict(problems)?;
        (recipe.check_length(1)).map_err(|fault| {
            RecipeError::new(&self.origin, vec![Diagnostic::new(Location::File, fault)])
        })?;
        Ok(recipe)
    }

    /// The recipe with its defaults and resolved paths, without the checks of ranges and files: for comparison with a recipe that was valid
    /// when it was written.
    ///
    /// # Errors
    /// When a key or a type is wrong.
    pub fn unchecked(&self) -> Result<Recipe, RecipeError> {
        let mut recipe = self.decode()?;
        for (path, file) in check::files(&mut recipe) {
            let from_flag = matches!(self.place(&path), Location::Flag(_));
            let base = if from_flag {
                Path::new("")
            } else {
                &self.folder
            };
            file.resolve(base);
        }
        Ok(recipe)
    }

    /// An error that refuses the values at these paths, each for a reason of the caller's. The message gives their places in the text.
    pub fn refusal(&self, reasons: Vec<(String, String)>) -> RecipeError {
        let problems = (reasons.into_iter())
            .map(|(path, why)| {
                let fault = DiagnosticKind::Invalid(why);
                self.located(Finding { path, fault })
            })
            .collect();
        RecipeError::new(&self.origin, problems)
    }

    /// The recipe, or all faults in types and keys: what is at fault is taken out and the rest read again.
    fn decode(&self) -> Result<Recipe, RecipeError> {
        let mut root = self.root.clone();
        let mut removed: HashSet<Vec<String>> = HashSet::new();
        let mut misspelled: HashSet<Vec<String>> = HashSet::new();
        let mut problems = vec![];
        while problems.len() < MOST_PROBLEMS {
            let error = match decode(&root) {
                Ok(recipe) if problems.is_empty() => return Ok(recipe),
                Ok(recipe) => {
                    state_limits(&recipe, &mut problems);
                    break;
                }
                Err(error) => error,
            };
            let path = error.path();
            let problem = error.into_problem();
            if let DiagnosticKind::NotInDigits { digits, .. } = &problem.fault
                && root.write(&path, digits)
            {
                problems.push(problem);
                continue;
            }
            let consequence = match &problem.fault {
                DiagnosticKind::MissingKey { key } => {
                    let mut missing = path.clone();
                    missing.push(key.clone());
                    removed.contains(&missing) || misspelled.contains(&missing)
                }
                _ => removed.iter().any(|gone| gone.starts_with(&path)),
            };
            if let DiagnosticKind::UnknownKey { key, valid } = &problem.fault
                && let Some(meant) = nearest(key, valid)
            {
                let mut meant_path = path.clone();
                meant_path.pop();
                meant_path.push(meant.to_owned());
                misspelled.insert(meant_path);
            }
            if !consequence {
                problems.push(problem);
            }
            // what is gone already and still at fault, such as the 3 of `affine: 3`, goes with what holds it
            let mut path = path;
            while !path.is_empty() && !root.remove(&path) {
                path.pop();
            }
            if path.is_empty() {
                break;
            }
            removed.insert(path);
        }
        self.verdict(problems)?;
        // Not reached: without a problem the recipe was returned above.
        Err(RecipeError::new(&self.origin, vec![]))
    }

    fn verdict(&self, mut problems: Vec<Diagnostic>) -> Result<(), RecipeError> {
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort_by_key(|problem| match problem.place {
            Location::Text { line, column } => (line, column),
            Location::Flag(_) | Location::File => (usize::MAX, 0),
        });
        Err(RecipeError::new(&self.origin, problems))
    }

    fn located(&self, finding: Finding) -> Diagnostic {
        Diagnostic {
            place: self.place(&finding.path),
            path: finding.path,
            fault: finding.fault,
        }
    }

    /// Where the value at `path` stands, or the nearest that holds it.
    fn place(&self, path: &str) -> Location {
        let mut node = &self.root;
        for segment in path.split('.') {
            match node.child(segment) {
                Some(child) => node = child,
                None => break,
            }
        }
        node.place.clone()
    }

    fn put(&mut self, path: &str, value: Node) -> Result<(), DiagnosticKind> {
        let place = value.place.clone();
        let mut node = &mut self.root;
        let mut walked: Vec<&str> = vec![];
        for segment in path.split('.') {
            if segment.is_empty() {
                return Err(DiagnosticKind::Invalid(format!(
                    "`{path}` is not a path of keys and indices, such as prompts.0.weight"
                )));
            }
            lengthen(node, &walked, &place);
            node = match &mut node.content {
                Content::Map(entries) => {
                    let found = entries.iter().position(|(key, _)| key.name == segment);
                    let index = found.unwrap_or_else(|| {
                        let key = Key {
                            place: place.clone(),
                            name: segment.to_owned(),
                        };
                        entries.push((key, Node::null(place.clone())));
                        entries.len() - 1
                    });
                    &mut entries[index].1
                }
                Content::List(items) => {
                    let count = items.len();
                    match segment.parse::<usize>() {
                        Ok(index) if index <= count => {
                            if index == count {
                                items.push(Node::null(place.clone()));
                            }
                            &mut items[index]
                        }
                        _ => {
                            return Err(DiagnosticKind::Invalid(format!(
                                "`{}` has {count} entries, counted from 0: there is no `{segment}`",
                                walked.join(".")
                            )));
                        }
                    }
                }
                Content::Scalar { .. } | Content::Removed => {
                    return Err(DiagnosticKind::Invalid(format!(
                        "`{}` is a single value: there is no `{segment}` in it",
                        walked.join(".")
                    )));
                }
            };
            walked.push(segment);
        }
        *node = value;
        Ok(())
    }
}

/// If a number that is not written in digits is also out of range, only the range is reported.
fn state_limits(recipe: &Recipe, problems: &mut [Diagnostic]) {
    let mut findings = check::all(recipe);
    for problem in problems {
        let same = |finding: &Finding| finding.path == problem.path;
        if let DiagnosticKind::NotInDigits { .. } = problem.fault
            && let Some(place) = findings.iter().position(same)
        {
            problem.fault = findings.swap_remove(place).fault;
        }
    }
}

/// Brings what stands at `path` to the form that has keys or indices: short forms are written out, and what is not
/// given becomes the default.
fn lengthen(node: &mut Node, path: &[&str], place: &Location) {
    if node.is_null() {
        let defaults = serde_json::to_value(Recipe::new(vec![Prompt::new("")])).unwrap_or_default();
        let default = path
            .iter()
            .try_fold(&defaults, |value, segment| value.get(segment));
        *node = match default {
            Some(default @ (Value::Object(_) | Value::Array(_))) => {
                Node::from_value(default, place)
            }
            _ => Node::map(place.clone()),
        };
        return;
    }
    if matches!(path, ["prompts" | "clip"]) && !matches!(node.content, Content::List(_)) {
        let only = std::mem::replace(node, Node::map(place.clone()));
        node.place = only.place.clone();
        node.content = Content::List(vec![only]);
        return;
    }
    let Content::Scalar { text, .. } = &node.content else {
        return;
    };
    let key = match path {
        ["prompts", _] => "text",
        ["clip", _] => "model",
        ["generator"] | ["generator", _] => "kind",
        ["cutouts", "augment", _] | ["clip", _, "cutouts", "augment", _] => text,
        ["terms", "aesthetic"] => "weight",
        _ => return,
    };
    let key = Key {
        place: node.place.clone(),
        name: key.to_owned(),
    };
    let value = match path {
        [.., "augment", _] => Node::map(node.place.clone()),
        // a number stays one
        ["terms", "aesthetic"] => node.clone(),
        _ => Node::text(text, node.place.clone()),
    };
    node.content = Content::Map(vec![(key, value)]);
}

fn read_text(path: &Path) -> Result<String, DiagnosticKind> {
    let mut file = File::open(path).map_err(DiagnosticKind::Unreadable)?;
    let about = file.metadata().map_err(DiagnosticKind::Unreadable)?;
    if about.is_dir() {
        return Err(DiagnosticKind::Folder);
    }
    let mut bytes = vec![];
    let mut read = |bytes: &mut Vec<u8>, most: u64| {
        (&mut file)
            .take(most)
            .read_to_end(bytes)
            .map_err(DiagnosticKind::Unreadable)
    };
    read(&mut bytes, metadata::SIGNATURE.len() as u64)?;
    if bytes == metadata::SIGNATURE {
        file.rewind().map_err(DiagnosticKind::Unreadable)?;
        return metadata::read(std::io::BufReader::new(file))
            .map_err(|error| DiagnosticKind::NoRecipe(format!("cannot read this PNG: {error}")))?
            .remove(metadata::RECIPE)
            .ok_or_else(|| {
                DiagnosticKind::NoRecipe("there is no recipe in this PNG: Phantasia did not write it, or another program has rewritten it".to_owned())
            });
    }
    if about.len() > LARGEST {
        return Err(DiagnosticKind::TooLarge { most: LARGEST });
    }
    read(&mut bytes, LARGEST)?;
    if bytes.len() as u64 > LARGEST {
        return Err(DiagnosticKind::TooLarge { most: LARGEST });
    }
    String::from_utf8(bytes).map_err(|error| DiagnosticKind::NotText {
        byte: error.utf8_error().valid_up_to(),
    })
}

/// Reads a JSON value as recipes are read, with their short forms and hints. `origin` begins the messages of errors.
pub(crate) fn from_json<T: DeserializeOwned>(
    value: &Value,
    origin: &str,
) -> Result<T, RecipeError> {
    decode(&Node::from_value(value, &Location::File))
        .map_err(|error| RecipeError::new(origin, vec![error.into_problem()]))
}
