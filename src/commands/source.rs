//! What a render is made from: a recipe's file, a recipe on standard input, or a prompt.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf, is_separator};

use phantasia::recipe::{Diagnostic, DiagnosticKind, Location, PartialRecipe, RecipeError};
use phantasia::run;
use phantasia_core::diagnostic::nearest;

use super::arguments::PromptArg;

/// The argument that stands for standard input.
pub const INPUT: &str = "-";
/// Extensions of recipes.
const RECIPES: [&str; 4] = ["yaml", "yml", "json", "png"];
/// Extensions of other files, which are no recipes, but no prompts either.
const OTHER_FILES: [&str; 8] = [
    "jpg",
    "jpeg",
    "webp",
    "gif",
    "bmp",
    "tiff",
    "txt",
    "safetensors",
];
/// Where recipes are looked for when the name of one seems to be meant.
const FOLDERS: [&str; 2] = ["", "recipes"];

/// What a render is made from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A recipe's file, or a picture with its recipe.
    File(PathBuf),
    /// A recipe on standard input.
    Input,
    /// A prompt, painted with the default of everything else.
    Prompt(Box<PromptArg>),
}

impl Source {
    /// What an argument means: `-` is standard input; what exists, has a path separator, or ends like a file's name is a file; anything else
    /// is a prompt.
    ///
    /// # Errors
    /// When a prompt cannot be read as one, or is the name of a recipe without its extension.
    pub fn of(argument: OsString) -> Result<Self, String> {
        let path = Path::new(&argument);
        if argument == INPUT {
            return Ok(Self::Input);
        }
        if path.exists() || is_file_name(path) {
            return Ok(Self::File(argument.into()));
        }
        let Some(text) = argument.to_str() else {
            return Err("it is neither a file nor a prompt in UTF-8".to_owned());
        };
        if let Some(recipe) = recipe_of_name(text) {
            return Err(format!(
                "there is a recipe `{}`: give that path, or `--prompt {text}` to paint the word",
                recipe.display()
            ));
        }
        (text.parse().map(Box::new)).map(Self::Prompt)
    }

    /// The name of its runs.
    pub fn run_name(&self) -> String {
        match self {
            Self::File(path) => run::run_name(path),
            Self::Input => "recipe".to_owned(),
            Self::Prompt(arg) => arg.prompt.label(),
        }
    }
}

/// The recipe on standard input.
pub fn load_input() -> Result<PartialRecipe, RecipeError> {
    PartialRecipe::read(io::stdin().lock(), "standard input")
}

/// The recipe in a file; a missing one gets advice.
pub fn load_file(path: &Path) -> Result<PartialRecipe, RecipeError> {
    if path.exists() {
        return PartialRecipe::load(path);
    }
    let advice = advice(path);
    let message = format!("cannot read the recipe: there is no such file{advice}");
    let diagnostic = Diagnostic::new(Location::File, DiagnosticKind::Invalid(message));
    let origin = path.display().to_string();
    Err(RecipeError::new(&origin, vec![diagnostic]))
}

/// Whether an argument is meant as a file, whether or not there is one. `ball.yml` and `ball.ymal` are; `Dr. No` is not.
fn is_file_name(path: &Path) -> bool {
    let text = path.to_string_lossy();
    if text.contains(is_separator) {
        return true;
    }
    let Some(extension) = path.extension().and_then(|extension| extension.to_str()) else {
        return false;
    };
    let lower = extension.to_ascii_lowercase();
    let is_known = RECIPES
        .iter()
        .chain(&OTHER_FILES)
        .any(|known| *known == lower);
    let is_word = !text.contains(char::is_whitespace) && (1..=5).contains(&extension.len());
    is_known || is_word && extension.chars().all(|c| c.is_ascii_alphabetic())
}

/// The recipe that a word names without its extension. A text of several words may well be the name of a picture of it.
fn recipe_of_name(word: &str) -> Option<PathBuf> {
    if word.is_empty() || word.contains(char::is_whitespace) {
        return None;
    }
    let mut files = FOLDERS.iter().flat_map(|folder| {
        let file = |extension| Path::new(folder).join(format!("{word}.{extension}"));
        ["yaml", "yml", "json"].map(file)
    });
    files.find(|file| file.is_file())
}

/// What to do about a file that does not exist: the one that was probably meant, or how to paint a text.
fn advice(path: &Path) -> String {
    let folders = match path.parent() {
        Some(folder) if folder != Path::new("") => vec![folder],
        _ => FOLDERS.map(Path::new).to_vec(),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    for folder in folders {
        let names = recipes_in(folder);
        let stem = Path::new(&*name).file_stem();
        let same_stem = |other: &&String| Path::new(other).file_stem() == stem;
        let found = names.iter().find(same_stem).map(String::as_str);
        if let Some(found) = found.or_else(|| nearest(&name, &names)) {
            return format!("; did you mean `{}`?", folder.join(found).display());
        }
    }
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    if RECIPES.contains(&extension.to_ascii_lowercase().as_str()) {
        "; `phantasia recipe new pyramid` prints one to start from".to_owned()
    } else {
        format!(
            "; to paint it as a text, give it as `--prompt \"{}\"`",
            path.display()
        )
    }
}

/// The names of the recipes in a folder, sorted.
fn recipes_in(folder: &Path) -> Vec<String> {
    // the working folder has no name
    let entries = std::fs::read_dir(Path::new(".").join(folder));
    let entries = entries.into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_recipe = |name: &String| {
        let extension = Path::new(name).extension().unwrap_or_default();
        RECIPES
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    };
    let mut names = Vec::from_iter(names.filter(is_recipe));
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_files_or_prompts() {
        let is_file = |text: &str| is_file_name(Path::new(text));
        for file in [
            "ball.yaml",
            "ball.yml",
            "ball.ymal",
            "a b.png",
            "photo.JPG",
            "recipes/ball",
            "./ball",
            "a black/white cat",
        ] {
            assert!(is_file(file), "{file}");
        }
        for prompt in [
            "a cat",
            "cat",
            "first-light",
            "Dr. No",
            "a cat. A dog",
            "a cat.",
            "version 2.5",
            "v2.5",
            "...",
            "a cat::0.5",
        ] {
            assert!(!is_file(prompt), "{prompt}");
        }
    }
}
