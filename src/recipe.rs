//! Recipes: what a render is made of, as written by a user and as checked by the program.
//!
//! A [`Recipe`] is complete: every default is filled in, so that writing it out again gives everything that the render used.

mod check;
mod decode;
mod differences;
mod error;
mod files;
mod hint;
pub(crate) mod node;
mod partial;
mod seed;
mod segment;
mod stage;
mod timeline;
pub(crate) mod wildcard;
pub(crate) mod yaml;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use check::MAX_STEPS;
pub use clip::Precision;
pub use differences::Difference;
pub use error::RecipeError;
pub use files::{FileKind, NamedFile};
pub use generators::symmetry::{Config as Symmetry, Mirror};
pub use generators::{GeneratorConfig, PRESETS};
pub use guidance::{Augment, Border, Distance, Select, Terms, augment, clip_guide, cutouts, terms};
pub use partial::PartialRecipe;
pub(crate) use partial::from_json;
use phantasia_core::check::IMAGE_FORMAT;
use phantasia_core::shorthand;
pub use phantasia_core::{
    Diagnostic, DiagnosticKind, InvalidSchedule, Location, Prompt, Schedule, Seamless,
    StepOrPercent,
};
pub use segment::Segment;
pub use stage::{Stage, Stages};
pub use timeline::{Edit, Restart};

pub use crate::run::config::{OutputConfig, VideoKind};

/// The placeholder in a recipe's texts that a comparison replaces by its prompts.
pub const PLACE: &str = "{prompt}";

/// Everything that decides a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What the picture should show, and what not. At least one.
    #[serde(deserialize_with = "shorthand::entries")]
    #[schemars(schema_with = "phantasia_core::schema::entries::<Prompt>")]
    pub prompts: Vec<Prompt>,
    /// Width and height in pixels.
    #[serde(default = "default_size", deserialize_with = "shorthand::size")]
    #[schemars(schema_with = "phantasia_core::schema::size")]
    pub size: [usize; 2],
    /// Optimiser or sampler steps. 0 is for autoencoders: the picture is then the reconstruction of `init`.
    #[serde(default = "default_steps")]
    #[schemars(range(min = 0))]
    pub steps: usize,
    /// Whether the picture repeats without a seam: `true` along both axes, `x` from left to right, `y` from top to bottom.
    #[serde(default)]
    pub seamless: Seamless,
    /// The symmetry of the picture: mirrors and turns; none by default.
    #[serde(default)]
    pub symmetry: Option<Symmetry>,
    /// Decides every random number of the render. `random` draws one, which the run's recipe and the picture record.
    #[serde(default, deserialize_with = "seed::read")]
    #[schemars(schema_with = "seed::schema")]
    pub seed: u64,
    /// What is optimised: one generator, or several, one after the other.
    #[serde(default)]
    #[schemars(with = "Option<Stages>")]
    pub generator: Stages,
    /// The CLIP models that guide, each with a weight.
    #[serde(default = "default_clip", deserialize_with = "shorthand::entries")]
    #[schemars(schema_with = "phantasia_core::schema::entries::<clip_guide::Config>")]
    pub clip: Vec<clip_guide::Config>,
    /// The views of the picture that CLIP sees.
    #[serde(default)]
    #[schemars(with = "Option<cutouts::Config>")]
    pub cutouts: cutouts::Config,
    /// The distance between the embedding of an image and that of a prompt.
    #[serde(default)]
    pub distance: Distance,
    /// How several prompts are combined.
    #[serde(default)]
    pub select: Select,
    /// Losses besides those of the prompts.
    #[serde(default)]
    #[schemars(with = "Option<Terms>")]
    pub terms: Terms,
    /// A grey image: the picture changes where it is white and stays as `init` where it is black.
    #[serde(default)]
    #[schemars(extend("format" = IMAGE_FORMAT))]
    pub mask: Option<PathBuf>,
    /// The image to start from.
    #[serde(default)]
    #[schemars(extend("format" = IMAGE_FORMAT))]
    pub init: Option<PathBuf>,
    /// What is written while the render runs.
    #[serde(default)]
    #[schemars(with = "Option<OutputConfig>")]
    pub output: OutputConfig,
    /// The changes that were made while it was rendered, in the order of their steps.
    #[serde(default)]
    pub timeline: Vec<Edit>,
}

fn default_size() -> [usize; 2] {
    [256, 256]
}

fn default_steps() -> usize {
    200
}

fn default_clip() -> Vec<clip_guide::Config> {
    vec![clip_guide::Config::default()]
}

/// The file of a run has a heading above its recipe, of fewer bytes than this.
const HEADING: usize = 256;

impl Recipe {
    /// A recipe of these prompts, with the default of everything else.
    pub fn new(prompts: Vec<Prompt>) -> Self {
        Self {
            prompts,
            size: default_size(),
            steps: default_steps(),
            seamless: Seamless::No,
            symmetry: None,
            seed: 0,
            generator: Stages::default(),
            clip: default_clip(),
            cutouts: cutouts::Config::default(),
            distance: Distance::default(),
            select: Select::default(),
            terms: Terms::default(),
            mask: None,
            init: None,
            output: OutputConfig::default(),
            timeline: vec![],
        }
    }

    /// Reads and checks a recipe file, or the recipe in a PNG that Phantasia wrote. Relative paths in it are resolved
    /// from the file's folder.
    ///
    /// # Errors
    /// Lists all that is wrong, each with line and column.
    pub fn load(path: &Path) -> Result<Self, RecipeError> {
        PartialRecipe::load(path)?.finish()
    }

    /// Reads and checks a recipe's text. `origin` names it in errors; relative paths start from `folder`.
    ///
    /// # Errors
    /// Lists all that is wrong, each with line and column.
    pub fn parse(text: &str, origin: &str, folder: &Path) -> Result<Self, RecipeError> {
        PartialRecipe::parse(text, origin, folder)?.finish()
    }

    /// Checks what the types alone cannot express: ranges, values that must fit each other, files that must exist.
    ///
    /// # Errors
    /// Lists all that is wrong.
    pub fn check(&self) -> Result<(), RecipeError> {
        let diagnostics = check::all(self);
        if diagnostics.is_empty() {
            return Ok(());
        }
        Err(RecipeError::new("recipe", diagnostics))
    }

    /// Resolves the paths of an edit, relative ones from the working folder, and checks it like the edits of the timeline. All edits
    /// of a render pass through here.
    ///
    /// # Errors
    /// Lists all that is wrong.
    pub fn check_edit(&self, edit: Edit) -> Result<Edit, RecipeError> {
        let mut edited = self.clone();
        edited.timeline = vec![edit];
        edited.check_wildcards(self)?;
        let files = edited.files()?.into_iter();
        let files = files.filter(|file| file.path.starts_with("timeline."));
        let mut edited = edited.resolved(files, |_| Path::new(""))?;
        let diagnostics: Vec<_> = (check::all(&edited).into_iter())
            .filter_map(|diagnostic| {
                let path = diagnostic.path.strip_prefix("timeline.0.")?.to_owned();
                Some(Diagnostic { path, ..diagnostic })
            })
            .collect();
        if !diagnostics.is_empty() {
            return Err(RecipeError::new("the edit", diagnostics));
        }
        edited.timeline.splice(0..0, self.timeline.iter().cloned());
        // half, so that every edit can be undone, and the render stopped
        (edited.check_length(2))
            .map_err(|kind| RecipeError::at("the edit", Location::File, kind))?;
        Ok(edited.timeline.swap_remove(self.timeline.len()))
    }

    /// Refuses wildcards in the texts of an edit, which is the only one of this recipe's timeline. Texts that the render has already are as
    /// they are.
    fn check_wildcards(&self, before: &Self) -> Result<(), RecipeError> {
        let known: Vec<_> = before.texts().into_iter().map(|(_, text)| text).collect();
        let texts = self.texts().into_iter();
        let marked = texts.filter_map(|(path, text)| {
            let path = path.strip_prefix("timeline.0.")?.to_owned();
            let is_new = wildcard::is_marked(text) && !known.contains(&text);
            is_new.then_some(Diagnostic {
                location: Location::File,
                path,
                kind: DiagnosticKind::Invalid(
                    "wildcards in braces are drawn when a render begins: write one of the alternatives".to_owned(),
                ),
            })
        });
        let marked: Vec<_> = marked.collect();
        if marked.is_empty() {
            return Ok(());
        }
        Err(RecipeError::new("the edit", marked))
    }

    /// Checks that the complete recipe, with every value written out, can be read again; it may take one `part`th of what any recipe may.
    fn check_length(&self, part: usize) -> Result<(), DiagnosticKind> {
        let bytes = partial::MAX_BYTES as usize / part;
        let values = yaml::MAX_NODES / part;
        let value = self.to_value()?;
        if count(&value) <= values && write(&value)?.len() + HEADING <= bytes {
            return Ok(());
        }
        Err(DiagnosticKind::Invalid(format!(
            "the complete recipe, with every value and every edit written out, would have more than {bytes} bytes or {values} values, and \
             could not be read again: use fewer or shorter prompts and edits"
        )))
    }

    /// Changes one value (`generator.lr=0.1`) and checks the whole again. See [`PartialRecipe::set`].
    ///
    /// # Errors
    /// When the path or the value is wrong; the recipe is as before.
    pub fn set(&mut self, assignment: &str) -> Result<(), RecipeError> {
        let mut partial =
            PartialRecipe::from_value(&self.escaped().to_value().map_err(refused)?, "recipe");
        partial.set(assignment)?;
        *self = partial.finish()?;
        Ok(())
    }

    /// The texts of all prompts, those of stages and of the timeline included, each with its path.
    pub fn texts(&self) -> Vec<(String, &str)> {
        self.all_prompts()
            .into_iter()
            .flat_map(|(path, prompts)| {
                (prompts.iter().enumerate()).flat_map(move |(index, prompt)| {
                    let texts = prompt.texts_with_paths().into_iter();
                    let path = format!("{path}.{index}");
                    texts.map(move |(key, text)| (format!("{path}.{key}"), text))
                })
            })
            .collect()
    }

    /// All lists of prompts, each with its path.
    fn all_prompts(&self) -> Vec<(String, &[Prompt])> {
        let stages = self.generator.0.iter().map(|stage| &stage.prompts);
        let edits = self.timeline.iter().map(|edit| &edit.prompts);
        let stages = (stages.enumerate()).map(|(index, own)| (format!("generator.{index}"), own));
        let edits = (edits.enumerate()).map(|(index, own)| (format!("timeline.{index}"), own));
        let changes = (stages.chain(edits))
            .filter_map(|(path, own)| Some((format!("{path}.prompts"), own.as_deref()?)));
        std::iter::once(("prompts".to_owned(), self.prompts.as_slice()))
            .chain(changes)
            .collect()
    }

    /// The complete recipe as YAML: it reads back as an equal recipe.
    ///
    /// # Errors
    /// When a path in it is not UTF-8.
    pub fn to_yaml(&self) -> Result<String, RecipeError> {
        (self.escaped().to_value().and_then(|value| write(&value))).map_err(refused)
    }

    /// The recipe as a tree of values.
    fn to_value(&self) -> Result<Value, DiagnosticKind> {
        serde_json::to_value(self).map_err(|error| {
            DiagnosticKind::Invalid(format!("the recipe cannot be written: {error}"))
        })
    }

    /// The JSON Schema (2020-12) of recipe files.
    pub fn schema() -> Value {
        SCHEMA.clone()
    }
}

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    SchemaGenerator::default()
        .into_root_schema_for::<Recipe>()
        .to_value()
});

/// An error about the recipe as a whole.
fn refused(kind: DiagnosticKind) -> RecipeError {
    RecipeError::at("recipe", Location::File, kind)
}

fn write(value: &Value) -> Result<String, DiagnosticKind> {
    yaml::write(value).map_err(|error| DiagnosticKind::Invalid(error.to_string()))
}

/// The number of values in `value`, including itself.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(entries) => entries.values().map(count).sum::<usize>(),
        _ => 0,
    }
}
