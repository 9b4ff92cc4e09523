//! What the types of a recipe cannot express. Ranges are in the schema, and each section checks itself; here is what spans sections.

use std::path::Path;

use phantasia_core::check::{Checker, MODEL_FORMAT, MODEL_KIND, check_ranges, format_of};
use phantasia_core::schema::walk;
use phantasia_core::{Diagnostic, DiagnosticKind};

use super::files::looks_like_path;
use super::{Edit, Prompt, Recipe, SCHEMA, Select, Stage};
use crate::models::{ModelKind, ModelRef, ResolveError};
use crate::objective::NO_BASE;

/// The largest number of steps of a render.
pub const MAX_STEPS: usize = 10_000_000;

/// All that is wrong with a recipe whose paths are resolved.
pub(super) fn all(recipe: &Recipe) -> Vec<Diagnostic> {
    let mut checker = Checker::default();
    check(recipe, &mut checker);
    checker.into_diagnostics()
}

fn check(recipe: &Recipe, checker: &mut Checker) {
    match recipe.to_value() {
        Ok(value) => {
            check_ranges(&SCHEMA, &value, checker);
            walk(&SCHEMA, &value, &mut |path, schema, value| {
                if let (Some(MODEL_FORMAT), Some(name)) = (format_of(schema), value.as_str()) {
                    let kind = schema.get(MODEL_KIND).cloned();
                    let kind = kind.and_then(|kind| serde_json::from_value(kind).ok());
                    check_model(path, name.trim(), kind, checker);
                }
            });
        }
        Err(kind) => checker.push("", kind),
    }
    checker.pixels("size", recipe.size);
    let allows_zero = |stage: &Stage| stage.config.settings().allows_zero_steps();
    let all_allow_zero = recipe.generator.0.iter().all(allows_zero);
    check_steps("steps", recipe.steps, all_allow_zero, checker);
    check_prompts("prompts", &recipe.prompts, recipe.steps, recipe, checker);
    check_stages(recipe, checker);
    check_symmetry(recipe, checker);
    check_blocks(recipe, checker);
    check_sources(recipe, checker);
    check_start(recipe, checker);
    check_timeline(&recipe.timeline, recipe, checker);
    if recipe.clip.is_empty() {
        let message = "there is no model to judge the picture: `embedded` is always there";
        checker.invalid("clip", message);
    } else if (recipe.clip.iter()).all(|clip| clip.weight.bounds() == (0.0, 0.0)) {
        checker.invalid("clip", "all weights are 0, so that no model would count");
    }
    for (index, clip) in recipe.clip.iter().enumerate() {
        checker.section(format_args!("clip.{index}"), |checker| {
            clip.check(&recipe.cutouts, checker);
        });
    }
    checker.section("cutouts", |checker| recipe.cutouts.check(checker));
    checker.section("terms", |checker| {
        recipe.terms.check(&recipe.cutouts, checker)
    });
}

fn check_stages(recipe: &Recipe, checker: &mut Checker) {
    let stages = &recipe.generator.0;
    if stages.is_empty() {
        let message = "there is no generator: name at least one kind, such as `pyramid`";
        checker.invalid("generator", message);
    }
    for (index, stage) in stages.iter().enumerate() {
        let settings = stage.config.settings();
        checker.section(recipe.stage_path(index), |checker| {
            if let Some(steps) = stage.steps {
                check_steps("steps", steps, settings.allows_zero_steps(), checker);
            }
            if let Some(size) = stage.size {
                checker.pixels("size", size);
            }
            if let Some(prompts) = &stage.prompts {
                check_prompts(
                    "prompts",
                    prompts,
                    recipe.stage_steps(index),
                    recipe,
                    checker,
                );
            }
            if let Some(terms) = &stage.terms {
                checker.section("terms", |checker| terms.check(&recipe.cutouts, checker));
            }
            settings.check(checker);
            if recipe.seamless.any() {
                settings.check_seamless(recipe.seamless, checker);
            }
            if recipe.symmetry.is_some() {
                settings.check_symmetry(checker);
            }
            if let Some(key) = settings.needs_init()
                && index == 0
                && recipe.init.is_none()
            {
                let message = "there is no image to start from: give one as `init`";
                checker.invalid(key, message);
            }
        });
    }
}

/// A symmetry has to fit every stage's picture; what is wrong with several is reported once.
fn check_symmetry(recipe: &Recipe, checker: &mut Checker) {
    let Some(symmetry) = &recipe.symmetry else {
        return;
    };
    let stages = 0..recipe.generator.0.len();
    let mut sizes: Vec<_> = stages.map(|stage| recipe.stage_size(stage)).collect();
    // the first that is not square stands for all of them
    sizes.sort_by_key(|[width, height]| width == height);
    if let Some(&size) = sizes.first() {
        checker.section("symmetry", |checker| {
            symmetry.check(recipe.seamless, size, checker);
        });
    }
}

/// Blocks have to fit every stage's picture; what is wrong with several is reported once.
fn check_blocks(recipe: &Recipe, checker: &mut Checker) {
    let side = recipe.output.pixel_size.max(1);
    let mut sizes = (0..recipe.generator.0.len()).map(|stage| recipe.stage_size(stage));
    let is_odd = |size: &[usize; 2]| size.iter().any(|pixels| !pixels.is_multiple_of(side));
    if let Some([width, height]) = sizes.find(is_odd) {
        let fitting = |pixels: usize| ((pixels + side / 2) / side).max(1) * side;
        let message = format!(
            "a picture of {width} x {height} cannot be divided into whole blocks of {side}: give a `size` of {} x {}, or other blocks",
            fitting(width),
            fitting(height)
        );
        checker.invalid("output.pixel_size", message);
    }
}

/// Refuses `terms.init` in a recipe that never has a picture to start from.
fn check_start(recipe: &Recipe, checker: &mut Checker) {
    let is_given = recipe.init.is_some()
        || recipe.generator.0.len() > 1
        || (recipe.timeline.iter()).any(|edit| edit.restart.is_some());
    let counts =
        (recipe.terms.init.as_ref()).is_some_and(|init| init.weight.constant() != Some(0.0));
    if !is_given && counts {
        let message =
            "there is no picture to stay near: give one as `init`, or put a stage before this one";
        checker.invalid("terms.init", message);
    }
}

/// Refuses prompts with a `source` in a first stage that starts from no picture.
fn check_sources(recipe: &Recipe, checker: &mut Checker) {
    if recipe.init.is_some() {
        return;
    }
    let own = (recipe.generator.0.first()).is_some_and(|stage| stage.prompts.is_some());
    let path = if own {
        recipe.stage_path(0) + "."
    } else {
        String::new()
    };
    for (index, prompt) in recipe.stage_prompts(0).iter().enumerate() {
        if prompt.source.is_some() {
            checker.invalid(&format!("{path}prompts.{index}.source"), NO_BASE);
        }
    }
}

fn check_timeline(timeline: &[Edit], recipe: &Recipe, checker: &mut Checker) {
    let mut last = 0;
    for (index, edit) in timeline.iter().enumerate() {
        checker.section(format_args!("timeline.{index}"), |checker| {
            if edit.step < last {
                let message = format!(
                    "it is before the edit above, which is at step {last}: put edits in the order of their steps"
                );
                checker.invalid("step", message);
            }
            if let Some(lr) = edit.lr.filter(|lr| !lr.is_finite()) {
                checker.unexpected("lr", "a number above 0", lr);
            }
            if let Some(prompts) = &edit.prompts {
                check_prompts("prompts", prompts, recipe.steps, recipe, checker);
            }
            if let Some(terms) = &edit.terms {
                checker.section("terms", |checker| terms.check(&recipe.cutouts, checker));
            }
        });
        last = last.max(edit.step);
    }
}

fn check_prompts(
    path: &str,
    prompts: &[Prompt],
    steps: usize,
    recipe: &Recipe,
    checker: &mut Checker,
) {
    for (index, prompt) in prompts.iter().enumerate() {
        checker.section(format_args!("{path}.{index}"), |checker| {
            prompt.check(steps, checker);
            if prompt.source.is_some() && recipe.select != Select::All {
                let message = "a prompt with a `source` asks for a change, which cannot be compared with what other prompts ask for: it needs \
                               `select: all`";
                checker.invalid("source", message);
            }
        });
    }
    let constant: Option<f64> = prompts.iter().map(|prompt| prompt.weight.constant()).sum();
    if prompts.is_empty() {
        checker.invalid(path, "there is no prompt: say what the picture should show");
    } else if (prompts.iter()).all(|prompt| prompt.weight.bounds() == (0.0, 0.0)) {
        let message =
            "all weights are 0, so that nothing is asked for: give one prompt another weight";
        checker.invalid(path, message);
    } else if recipe.select == Select::Mix && constant.is_some_and(|sum| sum.abs() < 1e-9) {
        let message = "the weights sum to 0, so that `select: mix` has no mean to compare with: \
                       change a weight, or take `select: all`";
        checker.invalid(path, message);
    }
}

/// The least number of steps depends on the generator.
fn check_steps(path: &str, steps: usize, allows_zero: bool, checker: &mut Checker) {
    let least = usize::from(!allows_zero);
    if !(least..=MAX_STEPS).contains(&steps) {
        let expected = format!("a whole number from {least} to {MAX_STEPS}");
        checker.unexpected(path, expected, steps);
    }
}

/// `kind` is the kind of model that the setting takes, if its schema says so.
fn check_model(path: &str, name: &str, kind: Option<ModelKind>, checker: &mut Checker) {
    let exists = Path::new(name).exists();
    if name.is_empty() {
        let message = "there is no model: give a folder, or a repository's name";
        checker.invalid(path, message);
    } else if looks_like_path(name) && !exists {
        let (what, resolved) = ("model", name.into());
        checker.push(path, DiagnosticKind::MissingFile { what, resolved });
    } else if !exists {
        let error = match ModelRef::parse(name) {
            Ok(model) => kind.and_then(|kind| model.check_kind(name, kind).err()),
            Err(error @ (ResolveError::Revision { .. } | ResolveError::Embedded { .. })) => {
                Some(error)
            }
            // loading it says what it could be
            Err(_) => None,
        };
        if let Some(error) = error {
            checker.invalid(path, error.to_string());
        }
    }
}
