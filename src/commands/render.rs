//! `phantasia render`

use std::process::ExitCode;

use anyhow::Result;
use phantasia::proofread::proofread;
use phantasia::recipe::{PartialRecipe, Recipe, RecipeError};
use phantasia::run::{self, Run, RunFolder, video};
use phantasia::session::{Session, SessionOptions};
use serde_json::{Value, json};

use super::company::{self, Company};
use super::console::{Misuse, note, warn};
use super::{device, models, tournament};
use crate::cli::{PreviewChoice, PromptArg, RenderArgs};

/// Paints a picture; it shows at `preview` where the flags do not say.
pub fn run(args: &RenderArgs, preview: PreviewChoice) -> Result<ExitCode> {
    if args.candidates.is_some() && preview == PreviewChoice::Window {
        return Err(Misuse(
            "`live` shows one render in a window, and --candidates makes several: use `phantasia render --candidates`, whose judge \
             ranks them, then `live` with the winner's recipe"
                .to_owned(),
        )
        .into());
    }
    let draft = draft(args)?;
    for warning in draft.warnings() {
        warn(warning);
    }
    let (recipe, ignored_stop) = finished(args, &draft)?;
    if let Some(stop) = ignored_stop {
        note(format_args!(
            "the recipe's timeline has a stop after step {stop}: it is ignored, because a number of steps is given"
        ));
    } else if let Some(stop) = recipe.stops_at().filter(|_| !args.company.quiet) {
        note(format_args!(
            "the recipe's timeline stops the render after step {stop}, where it was stopped before; `--steps {}` ignores that stop",
            recipe.steps
        ));
    }
    models::need_of(&recipe, &args.judge, args.yes, args.company.quiet)?;
    // only for its errors: the session, which has the models, gives the same warnings
    proofread(&draft, &recipe)?;
    if let Some(candidates) = args.candidates {
        return tournament::begin(args, &recipe, candidates);
    }
    let preview = company::choose(args.company.preview.unwrap_or(preview))?;
    company::check_hold(&args.company, preview, args.watch)?;
    if let Some(kind) = recipe.output.video {
        video::available(kind)?;
    }
    let stop = company::interrupt()?;
    let (device, device_name) = device::open(args.device)?;
    let mut session = Session::with_options(&recipe, &device, &options(args.memory))?;
    for warning in session.take_warnings() {
        warn(warning);
    }
    let window = company::window(preview)?;
    let folder = RunFolder::create(&args.out, &run::run_name(&args.recipe))?;
    let run = Run::new(session, folder, &recipe)?;
    let company = Company {
        args: args.company.clone(),
        preview,
        window,
        device: device_name,
        stop,
    };
    let watched = args.watch.then_some((args, recipe));
    company.keep(run, |commands, log| {
        watched
            .map(|(args, recipe)| company::watch(args, recipe, commands, log))
            .transpose()
    })
}

/// How a session works, within so many MiB where that is said.
pub(super) fn options(memory: Option<usize>) -> SessionOptions {
    let mut options = SessionOptions::default();
    if let Some(mebibytes) = memory {
        options.memory = mebibytes.saturating_mul(1 << 20);
    }
    options
}

/// The recipe, with what the flags change in it.
pub(super) fn recipe(args: &RenderArgs) -> Result<Recipe, RecipeError> {
    finished(args, &draft(args)?).map(|(recipe, _)| recipe)
}

/// The recipe as a draft, with what the flags change in it.
fn draft(args: &RenderArgs) -> Result<PartialRecipe, RecipeError> {
    let mut draft = PartialRecipe::load(&args.recipe)?;
    for assignment in &args.set {
        draft.set(assignment)?;
    }
    if !args.prompt.is_empty() {
        let typed: Vec<&str> = args
            .prompt
            .iter()
            .map(|prompt| prompt.typed.as_str())
            .collect();
        let flag = format!("--prompt {}", typed.join(" --prompt "));
        draft.replace("prompts", &prompts(&args.prompt), &flag)?;
    }
    if let Some(seed) = args.seed {
        draft.replace("seed", &seed.into(), &format!("--seed {seed}"))?;
    }
    if let Some(steps) = args.steps {
        draft.replace("steps", &steps.into(), &format!("--steps {steps}"))?;
    }
    if let Some(size) = &args.size {
        draft.replace("size", &size.clone().into(), &format!("--size {size}"))?;
    }
    Ok(draft)
}

/// The recipe, and the step of its timeline's stop if that is ignored because the flags ask for a number of steps.
fn finished(
    args: &RenderArgs,
    draft: &PartialRecipe,
) -> Result<(Recipe, Option<usize>), RecipeError> {
    let recipe = draft.finish()?;
    let steps_asked = args.steps.is_some()
        || (args.set.iter())
            .filter_map(|assignment| assignment.split_once('='))
            .any(|(path, _)| path.trim() == "steps");
    Ok(match recipe.stops_at() {
        Some(stop) if steps_asked => (recipe.without_stops(usize::MAX), Some(stop)),
        _ => (recipe, None),
    })
}

/// Prompts of the command line as a recipe has them.
pub(super) fn prompts(typed: &[PromptArg]) -> Value {
    let prompts = typed.iter().map(|PromptArg { text, weight, .. }| {
        if *weight == 1.0 {
            json!(text)
        } else {
            json!({ "text": text, "weight": weight })
        }
    });
    prompts.collect()
}
