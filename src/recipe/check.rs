//! What a recipe's types cannot hold: ranges, values that must fit each other, files that must be there.

use std::path::{Path, PathBuf};

use phantasia_core::check::{
    Checker as SectionChecker, LONGEST_SIDE, MAX_PIXELS, MODEL_FORMAT, check_ranges, format_of,
};
use phantasia_core::diagnostic::DiagnosticKind;
use phantasia_core::schema::walk;
use schemars::JsonSchema;
use serde::Serialize;

use super::{GeneratorConfig, Prompt, Recipe, Select, StepOrPercent, Terms, terms};
use crate::models::{ModelRef, ResolveError};

/// The largest number of steps of a render.
pub const MOST_STEPS: usize = 10_000_000;

/// A fault, and the value that it is about.
pub(super) struct Finding {
    pub path: String,
    pub fault: DiagnosticKind,
}

/// A file or folder that a recipe names.
pub(super) enum FileOf<'a> {
    Image(&'a mut PathBuf),
    Model(&'a mut String),
}

impl FileOf<'_> {
    /// Resolves a relative path against `base`, and one that begins with `~/` against the user's home folder. A model's name is a path if it begins
    /// like one or exists.
    pub fn resolve(self, base: &Path) {
        match self {
            Self::Image(path) => *path = of_home(path).unwrap_or_else(|| base.join(&*path)),
            Self::Model(name) => {
                let path = of_home(Path::new(name)).unwrap_or_else(|| base.join(&*name));
                let named = name != super::EMBEDDED && !name.trim().is_empty();
                if named && (looks_like_path(name) || path.exists()) {
                    *name = path.to_string_lossy().into_owned();
                }
            }
        }
    }
}

fn looks_like_path(model: &str) -> bool {
    model.starts_with(['.', '~']) || Path::new(model).has_root()
}

/// A path that begins with `~/`, expanded as a shell would.
fn of_home(path: &Path) -> Option<PathBuf> {
    let rest = path.strip_prefix("~").ok()?;
    Some(std::env::home_dir()?.join(rest))
}

/// All files that a recipe names, with the values that name them.
pub(super) fn files(recipe: &mut Recipe) -> Vec<(String, FileOf<'_>)> {
    let mut files = vec![];
    let Recipe {
        prompts,
        generator,
        timeline,
        terms,
        ..
    } = recipe;
    let single = generator.0.len() == 1 && generator.0[0].is_plain();
    let mut stages = vec![];
    let mut all_terms = vec![("terms".to_owned(), terms)];
    for (index, stage) in generator.0.iter_mut().enumerate() {
        for (key, model) in stage.config.settings_mut().models_mut() {
            let path = match single {
                true => format!("generator.{key}"),
                false => format!("generator.{index}.{key}"),
            };
            files.push((path, FileOf::Model(model)));
        }
        stages.push((format!("generator.{index}.prompts"), &mut stage.prompts));
        if let Some(terms) = &mut stage.terms {
            all_terms.push((format!("generator.{index}.terms"), terms));
        }
    }
    for (index, edit) in timeline.iter_mut().enumerate() {
        stages.push((format!("timeline.{index}.prompts"), &mut edit.prompts));
        if let Some(terms) = &mut edit.terms {
            all_terms.push((format!("timeline.{index}.terms"), terms));
        }
    }
    for (path, terms) in all_terms {
        if let Some(aesthetic) = &mut terms.aesthetic {
            let terms::aesthetic::Config { model, clip, .. } = &mut **aesthetic;
            files.push((format!("{path}.aesthetic.model"), FileOf::Model(model)));
            files.push((format!("{path}.aesthetic.clip"), FileOf::Model(clip)));
        }
    }
    let others = (stages.into_iter()).filter_map(|(path, prompts)| Some((path, prompts.as_mut()?)));
    for (path, prompts) in std::iter::once(("prompts".to_owned(), prompts)).chain(others) {
        for (index, prompt) in prompts.iter_mut().enumerate() {
            if let Some(image) = &mut prompt.image {
                files.push((format!("{path}.{index}.image"), FileOf::Image(image)));
            }
        }
    }
    for (index, clip) in recipe.clip.iter_mut().enumerate() {
        files.push((
            format!("clip.{index}.model"),
            FileOf::Model(&mut clip.model),
        ));
    }
    for (name, path) in [("mask", &mut recipe.mask), ("init", &mut recipe.init)] {
        if let Some(path) = path {
            files.push((name.to_owned(), FileOf::Image(path)));
        }
    }
    files
}

/// All that is wrong with a recipe whose paths are resolved.
pub(super) fn all(recipe: &Recipe) -> Vec<Finding> {
    let mut checker = Checker::default();
    checker.recipe(recipe);
    checker.findings
}

#[derive(Default)]
struct Checker {
    findings: Vec<Finding>,
}

impl Checker {
    fn recipe(&mut self, recipe: &Recipe) {
        self.prompts("prompts", &recipe.prompts, recipe.steps, recipe.select);
        self.size("size", recipe.size);
        let rests = recipe
            .generator
            .0
            .iter()
            .all(|stage| stage.config.settings().allows_zero_steps());
        self.count("steps", recipe.steps, usize::from(!rests), MOST_STEPS);
        self.stages(recipe);
        self.timeline(recipe);
        self.clip(recipe);
        let cutouts = &recipe.cutouts;
        self.section("cutouts", cutouts, |checker| cutouts.check(checker));
        self.terms("terms", &recipe.terms, recipe);
        self.range("output.fps", recipe.output.fps, 0.1, 120.0);
        for (name, path) in [("mask", &recipe.mask), ("init", &recipe.init)] {
            if let Some(path) = path {
                self.image(name, path);
            }
        }
    }

    fn clip(&mut self, recipe: &Recipe) {
        if recipe.clip.is_empty() {
            self.invalid(
                "clip",
                "there is no model to judge the picture: `embedded` is always there",
            );
            return;
        }
        for (index, clip) in recipe.clip.iter().enumerate() {
            self.section(&format!("clip.{index}"), clip, |checker| {
                clip.check(&recipe.cutouts, checker);
            });
        }
        let mut weights = recipe.clip.iter().map(|clip| clip.weight.bounds());
        if weights.all(|bounds| bounds == (0.0, 0.0)) {
            self.invalid("clip", "all weights are 0, so that no model would count");
        }
    }

    fn terms(&mut self, path: &str, terms: &Terms, recipe: &Recipe) {
        self.section(path, terms, |checker| terms.check(&recipe.cutouts, checker));
    }

    /// Checks a section against its schema, and what its schema cannot say.
    fn section<T: Serialize + JsonSchema>(
        &mut self,
        path: &str,
        section: &T,
        check: impl FnOnce(&mut SectionChecker),
    ) {
        let schema = schemars::schema_for!(T).to_value();
        let value = serde_json::to_value(section).unwrap_or_default();
        let mut checker = SectionChecker::default();
        checker.section(path, |checker| {
            check_ranges(&schema, &value, checker);
            check(checker);
        });
        for finding in checker.into_findings() {
            self.push(&finding.path, finding.kind);
        }
        walk(&schema, &value, &mut |key, schema, value| {
            if let (Some(MODEL_FORMAT), Some(model)) = (format_of(schema), value.as_str()) {
                self.model(&format!("{path}.{key}"), model);
            }
        });
    }

    fn stages(&mut self, recipe: &Recipe) {
        let stages = &recipe.generator.0;
        if stages.is_empty() {
            self.invalid(
                "generator",
                "there is no generator: name at least one kind, such as `pyramid`",
            );
        }
        for (index, stage) in stages.iter().enumerate() {
            // a single generator that says nothing of its own stands without a list
            let path = match stages.len() == 1 && stage.is_plain() {
                true => "generator".to_owned(),
                false => format!("generator.{index}"),
            };
            if let Some(steps) = stage.steps {
                let least = usize::from(!stage.config.settings().allows_zero_steps());
                self.count(&format!("{path}.steps"), steps, least, MOST_STEPS);
            }
            if let Some(size) = stage.size {
                self.size(&format!("{path}.size"), size);
            }
            if let Some(prompts) = &stage.prompts {
                let steps = recipe.stage_steps(index);
                self.prompts(&format!("{path}.prompts"), prompts, steps, recipe.select);
            }
            if let Some(terms) = &stage.terms {
                self.terms(&format!("{path}.terms"), terms, recipe);
            }
            self.generator(&path, &stage.config);
            if let Some(key) = stage.config.settings().needs_init()
                && index == 0
                && recipe.init.is_none()
            {
                self.invalid(
                    &format!("{path}.{key}"),
                    "there is no image to start from: give one as `init`",
                );
            }
        }
    }

    /// A generator's own keys; `path` leads to its section.
    fn generator(&mut self, path: &str, config: &GeneratorConfig) {
        let schema = schemars::schema_for!(GeneratorConfig).to_value();
        let value = serde_json::to_value(config).unwrap_or_default();
        let mut checker = phantasia_core::check::Checker::default();
        checker.section(path, |checker| {
            check_ranges(&schema, &value, checker);
            config.settings().check(checker);
        });
        for finding in checker.into_findings() {
            self.push(&finding.path, finding.kind);
        }
        walk(&schema, &value, &mut |key, schema, value| {
            if let (Some(MODEL_FORMAT), Some(model)) = (format_of(schema), value.as_str()) {
                self.model(&format!("{path}.{key}"), model);
            }
        });
    }

    /// The name of a model.
    fn model(&mut self, path: &str, model: &str) {
        let name = model.trim();
        if name.is_empty() {
            self.invalid(
                path,
                "there is no model: give a folder, or a repository's name",
            );
        } else if looks_like_path(name) && !Path::new(name).exists() {
            self.missing(path, "model", Path::new(name));
        } else if let Err(error @ ResolveError::Revision { .. }) = ModelRef::parse(name)
            && !Path::new(name).exists()
        {
            self.invalid(path, &error.to_string());
        }
    }

    fn timeline(&mut self, recipe: &Recipe) {
        let mut last = 0;
        for (index, edit) in recipe.timeline.iter().enumerate() {
            let path = format!("timeline.{index}");
            if edit.step < last {
                self.invalid(
                    &format!("{path}.step"),
                    &format!("it is before the edit above, which is at step {last}: put edits in the order of their steps"),
                );
            }
            last = last.max(edit.step);
            if let Some(prompts) = &edit.prompts {
                self.prompts(
                    &format!("{path}.prompts"),
                    prompts,
                    recipe.steps,
                    recipe.select,
                );
            }
            if let Some(terms) = &edit.terms {
                self.terms(&format!("{path}.terms"), terms, recipe);
            }
            if let Some(lr) = edit.lr
                && !(lr.is_finite() && lr > 0.0)
            {
                self.unexpected(&format!("{path}.lr"), "a number above 0", lr);
            }
            if let Some(steps) = edit.steps {
                self.count(&format!("{path}.steps"), steps, 1, MOST_STEPS);
            }
        }
    }

    fn prompts(&mut self, path: &str, prompts: &[Prompt], steps: usize, select: Select) {
        if prompts.is_empty() {
            self.invalid(path, "there is no prompt: say what the picture should show");
            return;
        }
        for (index, prompt) in prompts.iter().enumerate() {
            self.prompt(&format!("{path}.{index}"), prompt, steps);
        }
        if prompts
            .iter()
            .all(|prompt| prompt.weight.bounds() == (0.0, 0.0))
        {
            self.invalid(
                path,
                "all weights are 0, so that nothing is asked for: give one prompt another weight",
            );
        } else if select == Select::Mix {
            let constant: Option<f64> = prompts.iter().map(|prompt| prompt.weight.constant()).sum();
            if constant.is_some_and(|sum| sum.abs() < 1e-9) {
                self.invalid(
                    path,
                    "the weights sum to 0, so that `select: mix` has no mean to compare with: \
                     change a weight, or take `select: all`",
                );
            }
        }
    }

    fn prompt(&mut self, path: &str, prompt: &Prompt, steps: usize) {
        match (&prompt.text, &prompt.image) {
            (Some(_), Some(_)) => self.invalid(
                path,
                "a prompt is a `text` or an `image`: make these two entries of `prompts`",
            ),
            (None, None) => self.invalid(path, "a prompt needs a `text` or an `image`"),
            (Some(text), None) if text.trim().is_empty() => {
                self.invalid(&format!("{path}.text"), "the text is empty");
            }
            (Some(_), None) => {}
            (None, Some(image)) => self.image(&format!("{path}.image"), image),
        }
        if let Some(stop) = prompt.stop
            && !stop.is_finite()
        {
            self.unexpected(&format!("{path}.stop"), "a finite number", stop);
        }
        let step =
            |moment: Option<StepOrPercent>, default: f64| moment.map_or(default, |m| m.step(steps));
        if step(prompt.from, 0.0) >= steps as f64 && steps > 0 {
            self.invalid(
                &format!("{path}.from"),
                &format!("the render has {steps} steps, so that the prompt would never count"),
            );
        } else if step(prompt.from, 0.0) >= step(prompt.until, f64::INFINITY) {
            self.invalid(
                path,
                "`until` is not after `from`, so that the prompt would never count",
            );
        }
    }

    fn size(&mut self, path: &str, [width, height]: [usize; 2]) {
        let mut fits = true;
        for (index, side) in [width, height].into_iter().enumerate() {
            fits &= self.count(&format!("{path}.{index}"), side, 1, LONGEST_SIDE);
        }
        if fits && width * height > MAX_PIXELS {
            self.unexpected(
                path,
                &format!("at most {MAX_PIXELS} pixels"),
                format_args!("{width} x {height} = {}", width * height),
            );
        }
    }

    fn image(&mut self, path: &str, file: &Path) {
        if !file.exists() {
            self.missing(path, "image", file);
        } else if file.is_dir() {
            self.invalid(
                path,
                &format!("`{}` is a folder, not an image", file.display()),
            );
        }
    }

    fn count(&mut self, path: &str, value: usize, least: usize, most: usize) -> bool {
        let fits = (least..=most).contains(&value);
        if !fits {
            self.unexpected(
                path,
                &format!("a whole number from {least} to {most}"),
                value,
            );
        }
        fits
    }

    fn range(&mut self, path: &str, value: f64, least: f64, most: f64) {
        if !(least..=most).contains(&value) {
            self.unexpected(path, &format!("a number from {least} to {most}"), value);
        }
    }

    fn missing(&mut self, path: &str, what: &'static str, file: &Path) {
        let resolved = file.to_owned();
        self.push(path, DiagnosticKind::MissingFile { what, resolved });
    }

    fn unexpected(&mut self, path: &str, expected: &str, found: impl std::fmt::Display) {
        let fault = DiagnosticKind::Unexpected {
            expected: expected.to_owned(),
            found: found.to_string(),
        };
        self.push(path, fault);
    }

    fn invalid(&mut self, path: &str, message: &str) {
        self.push(path, DiagnosticKind::Invalid(message.to_owned()));
    }

    fn push(&mut self, path: &str, fault: DiagnosticKind) {
        self.findings.push(Finding {
            path: path.to_owned(),
            fault,
        });
    }
}
