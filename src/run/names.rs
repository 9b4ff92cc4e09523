//! Names of runs and of the files in their folders.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::{Component, Path};

pub use phantasia_core::diagnostic::RECIPE;

/// The picture's file name in a run folder.
pub const IMAGE: &str = "image.png";
/// The prefix of the names of pictures that were kept when a complete run was resumed.
pub(super) const KEPT: &str = "image-";
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
/// The file name of a rule in the run folder of a cellular automaton.
pub const RULE: &str = "rule.safetensors";
/// Longest name of a run, in bytes, before its number.
const LONGEST_NAME: usize = 80;

/// The name of a recipe's runs: the file's stem; for a file of a run folder the folder's name without its number.
pub fn run_name(recipe: &Path) -> String {
    fn text(name: Option<&OsStr>) -> Cow<'_, str> {
        name.unwrap_or_default().to_string_lossy()
    }
    let folder = text(recipe.parent().and_then(Path::file_name));
    let file = text(recipe.file_name());
    let name = without_number(&folder);
    // a run's number has at least three digits
    let is_numbered = folder.len() > name.len() + 3;
    if is_numbered && (file == IMAGE || file == RECIPE || file.starts_with(KEPT)) {
        name.to_owned()
    } else {
        text(recipe.file_stem()).into_owned()
    }
}

/// `name` of `name-NNN`; other names as they are.
pub fn without_number(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((name, number)) if is_number(number) => name,
        _ => name,
    }
}

/// `NNN` of `name-NNN`.
pub(super) fn number_of(folder: &str, name: &str) -> Option<u64> {
    let digits = folder.strip_prefix(name)?.strip_prefix('-')?;
    is_number(digits).then(|| digits.parse().ok())?
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A name of letters, digits, `-`, `_` and inner dots.
pub(crate) fn file_name(name: &str) -> String {
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
    match safe.trim_matches(['-', '.']) {
        "" => "render".to_owned(),
        safe => safe.to_owned(),
    }
}

/// The path from a folder to an existing file or folder, with `/`. `None` if there is no such path.
pub(super) fn relative(from: &Path, to: &Path) -> Option<String> {
    let (from, to) = (from.canonicalize().ok()?, to.canonicalize().ok()?);
    let pairs = from.components().zip(to.components());
    let common = pairs.take_while(|(a, b)| a == b).count();
    if common == 0 {
        return None;
    }
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    let parts: Option<Vec<_>> = (up.chain(to.components().skip(common)))
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
            ("pictures-12/image.png", "image"),
        ] {
            assert_eq!(run_name(Path::new(path)), name);
        }
    }
}
