//! Changing single values of a recipe that was read.

use std::path::Path;

use phantasia_core::{Diagnostic, DiagnosticKind, Location};
use serde_json::Value;

use super::super::node::{Content, Key, Node};
use super::super::stage::STAGE_KEYS;
use super::super::{Prompt, Recipe, RecipeError, yaml};
use super::PartialRecipe;

impl PartialRecipe {
    /// Changes one value: `generator.lr=0.1`, `prompts.0.weight=2`, `size=[512, 256]`. The value is YAML; nothing after the `=` is null.
    /// Relative paths in it start from the working folder.
    ///
    /// # Errors
    /// When there is no `=`, the value is not YAML or the path leads through a single value. Whether the key exists and the value fits is checked
    /// by [`PartialRecipe::finish`].
    pub fn set(&mut self, assignment: &str) -> Result<(), RecipeError> {
        let location = Location::Flag(format!("--set {assignment}").into());
        self.assign(assignment, &location)
            .map_err(|kind| RecipeError::at(&self.origin, location, kind))
    }

    fn assign(&mut self, assignment: &str, location: &Location) -> Result<(), DiagnosticKind> {
        let Some((path, value)) = assignment.split_once('=') else {
            let message = "expected path=value, such as generator.lr=0.1";
            return Err(DiagnosticKind::Invalid(message.to_owned()));
        };
        let node = match yaml::read(value) {
            Ok(mut node) => {
                node.relocate(location);
                node
            }
            Err(Diagnostic {
                kind: DiagnosticKind::Empty,
                ..
            }) => Node::null(location.clone()),
            Err(diagnostic) => return Err(diagnostic.kind),
        };
        self.put_value(path.trim(), node)
    }

    /// Changes one value to what another file gives, as [`PartialRecipe::set`] does; `origin` is where it stands there, and names it in errors.
    /// Relative paths in it start from `folder`, and so do those of all values that are changed.
    ///
    /// # Errors
    /// When the path leads through a single value.
    pub(crate) fn set_value(
        &mut self,
        path: &str,
        mut value: Node,
        origin: &str,
        folder: &Path,
    ) -> Result<(), RecipeError> {
        let location = Location::Flag(origin.into());
        value.relocate(&location);
        self.flag_folder = folder.to_owned();
        self.put_value(path, value)
            .map_err(|kind| RecipeError::at(&self.origin, location, kind))
    }

    fn put_value(&mut self, path: &str, node: Node) -> Result<(), DiagnosticKind> {
        let generator = (path.strip_suffix(".kind")).filter(|path| path.starts_with("generator"));
        match (generator, &node.content) {
            (Some(generator), Content::Scalar { text, .. })
                if !self.forget_kind(generator, text) =>
            {
                self.put(generator, node)
            }
            _ => self.put(path, node),
        }
    }

    /// Removes the settings of a generator when another kind is set, so that the new one has its defaults. Returns whether there is more than
    /// the name of a kind, which another name can replace.
    fn forget_kind(&mut self, path: &str, kind: &str) -> bool {
        let node = (path.split('.')).try_fold(&mut self.root, |node, key| node.child_mut(key));
        let entries = match node.map(|node| &mut node.content) {
            Some(Content::Map(entries)) => entries,
            Some(Content::List(_)) => return true,
            _ => return false,
        };
        let is_same = |(key, node): &(Key, Node)| {
            key.name == "kind"
                && matches!(&node.content, Content::Scalar { text, .. } if **text == *kind)
        };
        if !entries.iter().any(is_same) {
            // the stage's own keys stay, and so do those of the command line
            entries.retain(|(key, node)| {
                let is_from_flag = matches!(node.location, Location::Flag(_));
                is_from_flag || STAGE_KEYS.contains(&key.name.as_str())
            });
        }
        true
    }

    /// Changes one value to what a flag of the command line gave; `flag` names it in errors.
    ///
    /// # Errors
    /// When the path leads through a single value.
    pub fn replace(&mut self, path: &str, value: &Value, flag: &str) -> Result<(), RecipeError> {
        let location = Location::Flag(flag.into());
        self.put(path, Node::from_value(value, &location))
            .map_err(|kind| RecipeError::at(&self.origin, location, kind))
    }

    fn put(&mut self, path: &str, value: Node) -> Result<(), DiagnosticKind> {
        let (recipe, _) = self.decode_valid();
        let recipe = recipe.unwrap_or_else(|| Recipe::new(vec![Prompt::new("")]));
        let complete = recipe.to_value()?;
        let mut complete = Some(&complete);
        let location = &value.location;
        let mut node = &mut self.root;
        let segments: Vec<_> = path.split('.').collect();
        for (depth, segment) in segments.iter().enumerate() {
            let parents = &segments[..depth];
            let content = expanded(node, complete, location);
            complete = complete.and_then(|value| match value {
                Value::Array(items) => items.get(segment.parse::<usize>().ok()?),
                value => value.get(segment),
            });
            node = match content {
                _ if segment.is_empty() => {
                    return Err(DiagnosticKind::Invalid(format!(
                        "`{path}` is not a path of keys and indices, such as prompts.0.weight"
                    )));
                }
                Content::Map(entries) => {
                    let found = entries.iter().position(|(key, _)| key.name == *segment);
                    let index = found.unwrap_or(entries.len());
                    if found.is_none() {
                        let null = Node::null(location.clone());
                        entries.push((Key::new(segment, location), null));
                    }
                    &mut entries[index].1
                }
                Content::List(items) => {
                    let count = items.len();
                    let index = segment.parse::<usize>().ok();
                    let index = index.filter(|index| *index <= count);
                    let index = index.ok_or_else(|| {
                        DiagnosticKind::Invalid(format!(
                            "`{}` has {count} entries, counted from 0: there is no `{segment}`",
                            parents.join(".")
                        ))
                    })?;
                    if index == count {
                        items.push(Node::null(location.clone()));
                    }
                    &mut items[index]
                }
                Content::Scalar { .. } | Content::Removed => {
                    return Err(DiagnosticKind::Invalid(format!(
                        "`{}` is a single value: there is no `{segment}` in it",
                        parents.join(".")
                    )));
                }
            };
        }
        *node = value;
        Ok(())
    }
}

/// The content of a node, with shorthand expanded as in the `complete` recipe, so that it has keys or indices.
fn expanded<'n>(
    node: &'n mut Node,
    complete: Option<&Value>,
    location: &Location,
) -> &'n mut Content {
    match (&node.content, complete) {
        (Content::Scalar { .. }, Some(complete @ (Value::Object(_) | Value::Array(_)))) => {
            let at = if node.is_null() {
                location
            } else {
                &node.location
            };
            *node = Node::from_value(complete, &at.clone());
        }
        (Content::Map(_), Some(Value::Array(_))) => {
            node.content = Content::List(vec![node.clone()]);
        }
        _ if node.is_null() => node.content = Content::Map(vec![]),
        _ => {}
    }
    &mut node.content
}
