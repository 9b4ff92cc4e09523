//! `phantasia render`

use std::process::ExitCode;

use anyhow::Result;
use phantasia::output::{self, RunFolder};
use phantasia::paint::Painter;
use phantasia::recipe::{Draft, Recipe, RecipeError};
use phantasia::session::{Session, SessionOptions};
use phantasia::video;

use super::company::{self, Company};
use super::console::note;
use super::{device, models, tournament};
use crate::cli::{PreviewChoice, RenderArgs};

/// Paints a picture; it shows at `preview` where the flags do not say.
pub fn run(args: &RenderArgs, preview: PreviewChoice) -> Result<ExitCode> {
    let recipe = recipe(args)?;
    models::need_of(&recipe, &args.judge, args.yes, args.company.quiet)?;
    if let Some(candidates) = args.candidates {
        return tournament::begin(args, &recipe, candidates);
    }
    let preview = company::choose(args.company.preview.unwrap_or(preview))?;
    if let Some(kind) = recipe.output.video {
        video::available(kind)?;
    }
    let stop = company::interrupt()?;
    let (device, device_name) = device::open(args.device)?;
    let mut session = Session::with_options(&recipe, &device, &options(args.memory))?;
    for warning in session.take_warnings() {
        note(format_args!("warning: {warning}"));
    }
    let folder = RunFolder::create(&args.out, &output::run_name(&args.recipe))?;
    let painter = Painter::new(session, folder, &recipe)?;
    let company = Company {
        args: args.company.clone(),
        preview,
        device: device_name,
        stop,
    };
    let watched = args.watch.then_some((args, recipe));
    company.keep(painter, |commands| {
        watched
            .map(|(args, recipe)| company::watch(args, recipe, commands))
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
    let mut draft = Draft::load(&args.recipe)?;
    for assignment in &args.set {
        draft.set(assignment)?;
    }
    if !args.prompt.is_empty() {
        let flag = format!("--prompt {}", args.prompt.join(" --prompt "));
        draft.replace("prompts", &args.prompt.clone().into(), &flag)?;
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
    draft.finish()
}
