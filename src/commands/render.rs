//! `phantasia render` and `phantasia live`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::SyncSender;

use anyhow::{Result, bail};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueHint};
use phantasia::live::{Command, RecipeWatch};
use phantasia::prompt_check::check_prompts;
use phantasia::recipe::{PartialRecipe, Prompt, Recipe, RecipeError};
use phantasia::run::{Run, RunFolder, video};
use phantasia::session::Session;
use phantasia::ui::terminal::shortened;
use serde_json::{Value, json};

use super::arguments::{PromptArg, RecipeChanges, SessionArgs, seed};
use super::console::{UsageError, counted, eprint_line, warn_all};
use super::frontend::{Frontend, FrontendArgs, PreviewChoice};
use super::interrupt::interrupt;
use super::models;
use super::progress::eprint_above;
use super::source::{Source, load_file, load_input};
use super::tournament::{self, TournamentArgs};

/// Arguments of `render`.
#[derive(Clone, Debug, Args)]
pub struct RenderArgs {
    /// What to paint: a text such as "a cat"; a recipe (.yaml), or a picture by Phantasia (.png, which has its recipe in its metadata); `-` for
    /// a recipe on standard input
    #[arg(value_parser = OsStringValueParser::new().try_map(Source::of), value_hint = ValueHint::FilePath, value_name = "TEXT|FILE|-")]
    #[arg(required_unless_present = "prompt")]
    source: Option<Source>,
    /// Changes of its values
    #[command(flatten)]
    changes: RecipeChanges,
    /// Paint this instead of the recipe's prompts, or besides the text; `TEXT::WEIGHT` gives it a weight, below 0 to push the picture away from
    /// it. May be given several times
    #[arg(long, value_name = "TEXT[::WEIGHT]", allow_hyphen_values = true)]
    prompt: Vec<PromptArg>,
    /// The seed of every random number; `random` draws one
    #[arg(long, value_name = "N|random", value_parser = seed, allow_negative_numbers = true)]
    seed: Option<Value>,
    /// How the session computes
    #[command(flatten)]
    session: SessionArgs,
    /// Create run folders in this folder
    #[arg(long, value_name = "DIR", default_value = "outputs")]
    out: PathBuf,
    /// A tournament of seeds
    #[command(flatten)]
    tournament: TournamentArgs,
    /// Apply changes of the recipe's prompts and terms whenever its file changes
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
    check_input(args)?;
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
    if !quiet {
        tell_defaults(args, &recipe);
        for drawn in partial.drawn_texts(&recipe) {
            eprint_line(drawn);
        }
        if partial.has_random_seed() {
            let seed = recipe.seed;
            eprint_line(format_args!(
                "the seed is {seed}: `--seed {seed}` paints this picture again"
            ));
        }
    }
    let (session, name) = (&args.session, run_name(args));
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
    let file = match &args.source {
        Some(Source::File(path)) if args.watch => Some(path),
        _ => None,
    };
    frontend.run(run, &device_name, stop, |commands| {
        file.map(|path| watch(path, args, recipe, commands))
            .transpose()
    })
}

/// Refuses flags that need a recipe's file, or standard input for themselves.
fn check_input(args: &RenderArgs) -> Result<()> {
    let is_file = matches!(args.source, Some(Source::File(_)));
    if args.watch && !is_file {
        bail!(UsageError(
            "--watch follows the changes of a recipe's file: give one, such as what `phantasia recipe new pyramid` prints"
                .to_owned(),
        ));
    }
    if matches!(args.source, Some(Source::Input)) && args.frontend.control.is_some() {
        bail!(UsageError(
            "`-` and `--control -` cannot both read standard input: give the recipe as a file"
                .to_owned(),
        ));
    }
    Ok(())
}

/// The name of the run: of the recipe, or of the first prompt if there is no recipe.
fn run_name(args: &RenderArgs) -> String {
    let first = || args.prompt.first().map(|arg| arg.prompt.label());
    (args.source.as_ref().map(Source::run_name))
        .or_else(first)
        .unwrap_or_default()
}

/// Without a recipe, what the defaults are.
fn tell_defaults(args: &RenderArgs, recipe: &Recipe) {
    const LONGEST: usize = 60;
    if let None | Some(Source::Prompt(_)) = &args.source {
        let text = |prompt: &Prompt| format!("\"{}\"", shortened(&prompt.label(), LONGEST));
        let texts = Vec::from_iter(recipe.prompts.iter().map(text)).join(", ");
        let ([width, height], steps) = (recipe.size, counted(recipe.steps, "step"));
        let seed = recipe.seed;
        eprint_line(format_args!(
            "painting {texts}: {width}x{height} pixels, {steps}, seed {seed}"
        ));
    }
}

/// Applies changes of the recipe's file while it is painted.
fn watch(
    path: &Path,
    args: &RenderArgs,
    recipe: Recipe,
    commands: SyncSender<Command>,
) -> Result<RecipeWatch> {
    let (args, seed) = (args.clone(), recipe.seed);
    let read = move || {
        let mut partial = partial(&args)?;
        if partial.has_random_seed() {
            // the one that was drawn
            partial.replace("seed", &seed.into(), "--seed random")?;
        }
        args.changes.finish(&partial).map(|(recipe, _)| recipe)
    };
    RecipeWatch::start(path, recipe, commands, read, |line| eprint_above(line))
}

/// The recipe, not yet checked, with the changes that the flags make.
fn partial(args: &RenderArgs) -> Result<PartialRecipe, RecipeError> {
    let prompts = Vec::from_iter(args.prompt.iter().map(|arg| arg.prompt.clone()));
    let mut partial = match &args.source {
        Some(Source::File(path)) => load_file(path)?,
        Some(Source::Input) => load_input()?,
        Some(Source::Prompt(first)) => {
            let all = [std::slice::from_ref(&first.prompt), &prompts].concat();
            PartialRecipe::of_prompts(&all, "the prompt")
        }
        None => PartialRecipe::of_prompts(&prompts, "--prompt"),
    };
    args.changes.apply(&mut partial)?;
    let has_recipe = matches!(args.source, Some(Source::File(_) | Source::Input));
    if has_recipe && !prompts.is_empty() {
        let typed = Vec::from_iter(args.prompt.iter().map(|prompt| prompt.typed.as_str()));
        let flag = format!("--prompt {}", typed.join(" --prompt "));
        partial.replace("prompts", &json!(prompts), &flag)?;
    }
    if let Some(seed) = &args.seed {
        let typed = seed
            .as_str()
            .map_or_else(|| seed.to_string(), str::to_owned);
        partial.replace("seed", seed, &format!("--seed {typed}"))?;
    }
    Ok(partial)
}
