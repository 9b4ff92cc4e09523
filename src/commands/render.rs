//! `phantasia render` and `phantasia live`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::SyncSender;

use anyhow::{Result, bail};
use clap::Args;
use phantasia::live::{Command, RecipeWatch};
use phantasia::prompt_check::check_prompts;
use phantasia::recipe::{PartialRecipe, Prompt, Recipe, RecipeError};
use phantasia::run::{self, Run, RunFolder, video};
use phantasia::session::Session;
use serde_json::json;

use super::arguments::{PromptArg, RecipeChanges, SessionArgs, seed};
use super::console::{UsageError, eprint_line, warn_all};
use super::frontend::{Frontend, FrontendArgs, PreviewChoice};
use super::interrupt::interrupt;
use super::models;
use super::progress::eprint_above;
use super::tournament::{self, TournamentArgs};

/// Arguments of `render`.
#[derive(Clone, Debug, Args)]
pub struct RenderArgs {
    /// A recipe (.yaml), or a picture by Phantasia (.png, which has its recipe in its metadata)
    recipe: PathBuf,
    /// Changes of its values
    #[command(flatten)]
    changes: RecipeChanges,
    /// Paint this instead of the recipe's prompts; `TEXT::WEIGHT` gives it a weight, below 0 to push the picture away from it. May be given
    /// several times
    #[arg(long, value_name = "TEXT[::WEIGHT]", allow_hyphen_values = true)]
    prompt: Vec<PromptArg>,
    /// The seed of every random number
    #[arg(long, value_name = "N", value_parser = seed, allow_negative_numbers = true)]
    seed: Option<u64>,
    /// How the session computes
    #[command(flatten)]
    session: SessionArgs,
    /// Create run folders in this folder
    #[arg(long, value_name = "DIR", default_value = "outputs")]
    out: PathBuf,
    /// A tournament of seeds
    #[command(flatten)]
    tournament: TournamentArgs,
    /// Apply changes of the recipe's prompts and terms when its file changes
    #[arg(long)]
    watch: bool,
    /// How the render is shown and controlled
    #[command(flatten)]
    frontend: FrontendArgs,
}

/// Paints a picture.
pub fn run(args: &RenderArgs) -> Result<ExitCode> {
    render(args, PreviewChoice::None)
}

/// Paints a picture in a window.
pub fn run_live(args: &RenderArgs) -> Result<ExitCode> {
    if args.tournament.candidates.is_some() {
        bail!(UsageError(
            "`live` shows one render in a window, and --candidates makes several: use `phantasia render --candidates`, whose judge \
             ranks them, then `live` with the winner's recipe"
                .to_owned(),
        ));
    }
    render(args, PreviewChoice::Window)
}

/// Paints a picture, which is shown at `preview` if the flags do not choose.
fn render(args: &RenderArgs, preview: PreviewChoice) -> Result<ExitCode> {
    let partial = partial(args)?;
    warn_all(partial.warnings());
    let (recipe, ignored_stop) = args.changes.finish(&partial)?;
    warn_all(partial.warnings_about(&recipe));
    let quiet = args.frontend.quiet;
    if let Some(stop) = ignored_stop {
        eprint_line(format_args!(
            "the recipe's timeline has a stop after step {stop}: it is ignored, because a number of steps is given"
        ));
    } else if let Some(stop) = recipe.stops_at().filter(|_| !quiet) {
        eprint_line(format_args!(
            "the recipe's timeline stops the render after step {stop}, where it was stopped before; `--steps {}` ignores that stop",
            recipe.steps
        ));
    }
    let (session, name) = (&args.session, run::run_name(&args.recipe));
    models::ensure_for([&recipe], &args.tournament.judge, session.models.yes, quiet)?;
    // only for its errors: the session, which has the models, gives the same warnings
    let options = session.options();
    check_prompts(&partial, &recipe, &options.library)?;
    if let Some(candidates) = args.tournament.candidates {
        let place = (args.out.as_path(), name.as_str());
        return tournament::begin(
            &args.tournament,
            candidates,
            &recipe,
            place,
            session,
            &args.frontend,
        );
    }
    let mut frontend = Frontend::new(&args.frontend, preview, args.watch)?;
    if let Some(kind) = recipe.output.video {
        video::available(kind)?;
    }
    let stop = interrupt("step")?;
    let (device, device_name) = session.models.device.open()?;
    let mut session = Session::with_options(&recipe, &device, &options)?;
    warn_all(session.take_warnings());
    frontend.open_window()?;
    let folder = RunFolder::create(&args.out, &name)?;
    let run = Run::new(session, folder, &recipe)?;
    let watched = args.watch.then_some((args, recipe));
    frontend.run(run, &device_name, stop, |commands| {
        let start = |(args, recipe)| watch(args, recipe, commands);
        watched.map(start).transpose()
    })
}

/// Applies changes of the recipe's file while it is painted.
fn watch(args: &RenderArgs, recipe: Recipe, commands: SyncSender<Command>) -> Result<RecipeWatch> {
    let path = args.recipe.clone();
    let args = args.clone();
    let read = move || {
        args.changes
            .finish(&partial(&args)?)
            .map(|(recipe, _)| recipe)
    };
    RecipeWatch::start(&path, recipe, commands, read, |line| eprint_above(line))
}

/// The recipe, not yet checked, with the changes that the flags make.
fn partial(args: &RenderArgs) -> Result<PartialRecipe, RecipeError> {
    let mut partial = args.changes.load(&args.recipe)?;
    if !args.prompt.is_empty() {
        let typed = Vec::from_iter(args.prompt.iter().map(|prompt| prompt.typed.as_str()));
        let flag = format!("--prompt {}", typed.join(" --prompt "));
        let prompts: Vec<&Prompt> = args.prompt.iter().map(|arg| &arg.prompt).collect();
        partial.replace("prompts", &json!(prompts), &flag)?;
    }
    if let Some(seed) = args.seed {
        partial.replace("seed", &seed.into(), &format!("--seed {seed}"))?;
    }
    Ok(partial)
}
