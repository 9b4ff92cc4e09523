//! Whether two names mean the same CLIP, or CLIPs with an image tower in common.

use std::path::{Path, PathBuf};

use crate::models::{EmbeddedModel, ModelKind, ModelRef, resolve};
use crate::recipe::{FileKind, NamedFile, Recipe, RecipeError};

/// What a model's name stands for, in each form by which two names can be compared.
struct Meaning {
    embedded: Option<EmbeddedModel>,
    /// The known model's name, or the repository, whatever the revision: the branches of a repository mostly hold the same weights.
    hub: Option<String>,
    /// The folder or file.
    path: Option<PathBuf>,
}

impl Meaning {
    fn of(name: &str) -> Self {
        let (mut embedded, mut hub) = (None, None);
        match ModelRef::parse(name) {
            Ok(ModelRef::Embedded(model)) => embedded = Some(model),
            Ok(ModelRef::Hub(found)) => {
                let known = found.model.map(|model| model.name.clone());
                hub = Some(known.unwrap_or(found.repository).to_lowercase());
            }
            // loading it reports what is wrong
            Ok(ModelRef::Path(_)) | Err(_) => {}
        }
        let path = resolve(name, ModelKind::Clip).ok();
        Self {
            embedded,
            hub,
            path: path.and_then(|model| model.path),
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        let both = |a: Option<_>, b: Option<_>| a.zip(b);
        both(self.embedded, other.embedded).is_some_and(|(a, b)| a.overlaps(b))
            || (self.hub.is_some() && self.hub == other.hub)
            || (self.path.as_ref().zip(other.path.as_ref())).is_some_and(|(a, b)| {
                canonical(a) == canonical(b) || is_file_of(a, b) || is_file_of(b, a)
            })
    }
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Whether a file lies directly in a folder, which is another name for its model. What counts is where the file is named, because the
/// cache's files are links.
fn is_file_of(file: &Path, folder: &Path) -> bool {
    let parent = file.parent().filter(|_| file.is_file() && folder.is_dir());
    parent.is_some_and(|parent| canonical(&Path::new(".").join(parent)) == canonical(folder))
}

/// Whether two names mean CLIPs with an image tower in common.
pub(super) fn overlap(a: &str, b: &str) -> bool {
    a == b || Meaning::of(a).overlaps(&Meaning::of(b))
}

/// The models of a recipe that have an image tower in common with this one, which therefore takes part in guiding it: CLIPs, and the models of
/// terms. What a generator paints with guides nothing, even where it is called `embedded` too.
///
/// # Errors
/// When a path in the recipe is not UTF-8.
pub(super) fn guides_like(recipe: &Recipe, model: &str) -> Result<Vec<NamedFile>, RecipeError> {
    let models = (recipe.files()?.into_iter()).filter(|file| file.kind == FileKind::Model);
    let guides = models.filter(|file| !is_of_generator(&file.path));
    Ok(guides.filter(|file| overlap(&file.name, model)).collect())
}

/// Whether the path of a setting is that of a generator's own, and not of the terms of its stage.
fn is_of_generator(path: &str) -> bool {
    let own = path.strip_prefix("generator.");
    own.is_some_and(|own| !own.contains("terms."))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::recipe::{Edit, Prompt, Terms};

    #[test]
    fn spellings_of_one_model_are_the_same() {
        for (a, b, same) in [
            ("embedded", "embedded", true),
            ("embedded", "embedded/resnet", true),
            ("embedded/transformer", "embedded/resnet", false),
            ("openai/clip-vit-base-patch32", "ViT-B/32", true),
            ("ViT-B/32", "ViT-B/32@main", true),
            ("https://huggingface.co/a/b", "A/b@refs/pr/15", true),
            ("ViT-B/32", "ViT-L/14", false),
            ("hpsv2", "hpsv2.1", false),
            ("a/b", "a/c", false),
            ("", "..", false),
        ] {
            assert_eq!(overlap(a, b), same, "{a} and {b}");
            assert_eq!(overlap(b, a), same, "{b} and {a}");
        }
    }

    #[test]
    fn a_folder_is_the_same_by_every_path_to_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        for name in ["one", "two"] {
            fs::create_dir(at(name)).expect("a folder");
        }
        fs::write(at("one/model.safetensors"), "").expect("a file");
        assert!(overlap(&at("one"), &at("two/../one/")));
        assert!(overlap(&at("one"), &at("one/model.safetensors")));
        assert!(!overlap(&at("two"), &at("one/model.safetensors")));
        // two files in one folder are two models
        fs::write(at("one/other.safetensors"), "").expect("a file");
        assert!(!overlap(
            &at("one/model.safetensors"),
            &at("one/other.safetensors")
        ));
    }

    #[test]
    fn a_model_guides_wherever_the_recipe_names_it() {
        let mut recipe = Recipe::new(vec![Prompt::new("a cat")]);
        let like = |recipe: &Recipe, model: &str| {
            let models = guides_like(recipe, model).expect("models").into_iter();
            Vec::from_iter(models.map(|file| file.path))
        };
        assert_eq!(like(&recipe, "embedded/resnet"), ["clip.0.model"]);
        assert_eq!(like(&recipe, "ViT-L/14"), [""; 0]);
        (recipe.set("generator={ kind: vqgan, model: embedded }")).expect("a recipe");
        assert_eq!(like(&recipe, "embedded"), ["clip.0.model"]);
        let terms = || Terms {
            aesthetic: Some(Box::default()),
            ..Terms::default()
        };
        recipe.timeline = vec![Edit::with(|edit| edit.terms = Some(terms()))];
        assert_eq!(
            like(&recipe, "ViT-L/14"),
            ["timeline.0.terms.aesthetic.clip"]
        );
    }
}
