//! `phantasia resume`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use phantasia::judge::comparison::{Comparison, RECORD, Record};
use phantasia::judge::tournament::{Standings, Tournament};
use phantasia::recipe::Edit;
use phantasia::run::{CheckpointError, Resumption, Run, RunFolder, video};
use phantasia::session::Session;
use phantasia::sweep;

use super::arguments::{PromptArg, SessionArgs, steps};
use super::console::{UsageError, eprint_line, warn_all};
use super::frontend::{Frontend, FrontendArgs, PreviewChoice};
use super::interrupt::interrupt;
use super::{compare, models, tournament};

/// Where `render` puts runs by default.
const OUTPUTS: &str = "outputs";

/// Arguments of `resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// A run's folder, such as outputs/first-light-001
    run: PathBuf,
    /// Continue to this total number of steps
    #[arg(long, value_name = "N", value_parser = steps, allow_negative_numbers = true)]
    steps: Option<usize>,
    /// Paint this from here on instead of the run's prompts, with weights as in `render`; may be given several times
    #[arg(long, value_name = "TEXT[::WEIGHT]", allow_hyphen_values = true)]
    prompt: Vec<PromptArg>,
    /// Resume from the checkpoint before the last one
    #[arg(long)]
    previous: bool,
    /// How the session computes
    #[command(flatten)]
    session: SessionArgs,
    /// How the render is shown and controlled
    #[command(flatten)]
    frontend: FrontendArgs,
}

impl ResumeArgs {
    /// Refuses flags that are for a single run alone. `work` is what is resumed instead, such as `a tournament`; `where_runs` ends the message and
    /// says where single runs are found.
    fn refuse_changes(&self, work: &str, where_runs: &str) -> Result<()> {
        let frontend = &self.frontend;
        let steered = frontend.hold || frontend.control.is_some() || frontend.preview.is_some();
        if self.steps.is_some() || !self.prompt.is_empty() || self.previous || steered {
            bail!(UsageError(format!(
                "{work} resumes as it began: --steps, --prompt, --previous, --hold, --control and --preview are for single runs{where_runs}"
            )));
        }
        Ok(())
    }
}

/// Resumes a render, a tournament or a comparison.
pub fn run(args: &ResumeArgs) -> Result<ExitCode> {
    refuse_sweeps(&args.run)?;
    check_folder(&args.run)?;
    let frontend = &args.frontend;
    let (yes, quiet) = (args.session.models.yes, frontend.quiet);
    if Comparison::is_at(&args.run) {
        args.refuse_changes("a comparison", "")?;
        let record = Record::load(&args.run)?;
        let recipes = record.recipes_in(&args.run)?;
        models::ensure_for(&recipes, &record.judges, yes, quiet)?;
        return compare::resume(&args.run, &args.session, (frontend.json, quiet));
    }
    if Tournament::is_at(&args.run) {
        args.refuse_changes("a tournament", ", such as those in its folder")?;
        let standings = Standings::load(&args.run)?;
        let recipe = standings.recipe_in(&args.run)?;
        models::ensure_for([&recipe], &standings.judge, yes, quiet)?;
        return tournament::resume(&args.run, &args.session, frontend);
    }
    if Comparison::has_lost_record(&args.run) {
        bail!(
            "{} looks like the folder of a comparison, but its record, {RECORD}, is missing: it cannot be resumed without it",
            args.run.display()
        );
    }
    let mut frontend = Frontend::new(frontend, PreviewChoice::None, false)?;
    let folder = RunFolder::open(&args.run)?;
    let has_previous = folder.has_previous();
    let (device, device_name) = args.session.models.device.open()?;
    let resumption = Resumption::read(folder, args.previous, &device).map_err(|error| {
        if offers_previous(&error) && has_previous && !args.previous {
            error.context(format!(
                "the run cannot be resumed from its last checkpoint; `phantasia resume {} --previous` uses the one before it",
                args.run.display()
            ))
        } else {
            error
        }
    })?;
    let recipe = resumption.recipe();
    let mut prompts = None;
    if !args.prompt.is_empty() {
        let all = args.prompt.iter().map(|arg| arg.prompt.clone()).collect();
        let edit = Edit::with(|edit| edit.prompts = Some(all));
        // now, because loading models may take long
        prompts = recipe.check_edit(edit)?.prompts;
    }
    models::ensure_for([recipe], &[], yes, quiet)?;
    if let Some(kind) = recipe.output.video {
        video::available(kind)?;
    }
    let stop = interrupt("step")?;
    let (mut run, mut edit) = resumption.into_run(&args.session.options())?;
    warn_all(run.session_mut().take_warnings());
    // flags take precedence over the recipe
    edit.steps.take_if(|_| args.steps.is_some());
    edit.prompts.take_if(|_| prompts.is_some());
    if !edit.is_empty() {
        eprint_line(format_args!(
            "the run's recipe was changed: its new {} apply from step {} on and are recorded in its timeline",
            changed(&edit),
            run.session().step()
        ));
    }
    if let Some(steps) = args.steps {
        edit.steps = total(run.session(), steps)?;
    }
    edit.prompts = prompts.or(edit.prompts);
    edit.fade = edit.prompts.as_ref().map(|_| args.frontend.fade);
    apply(&mut run, edit, args)?;
    frontend.open_window()?;
    frontend.run(run, &device_name, stop, |_| Ok(()))
}

/// Refuses a path that is not a folder, and says what `resume` needs.
fn check_folder(run: &Path) -> Result<()> {
    if run.is_dir() {
        return Ok(());
    }
    let what = if run.exists() {
        "it is a file"
    } else {
        "there is no such folder"
    };
    let likely = Path::new(OUTPUTS).join(run);
    let likely = if likely.is_dir() {
        format!(" (did you mean {}?)", likely.display())
    } else {
        String::new()
    };
    bail!(
        "{}: {what}{likely}: `phantasia resume` needs the folder of a run, such as {OUTPUTS}/a-cat-001; `phantasia render` makes them in {OUTPUTS} or in \
         its --out, and `phantasia serve` shows them",
        run.display()
    );
}

/// Refuses sweeps, which another command goes on with, and their runs, which stay as their table says.
fn refuse_sweeps(run: &Path) -> Result<()> {
    let why = if let Some(advice) = sweep::advice_on_url(run) {
        advice
    } else if sweep::runs_in(run).is_some() {
        "it is a sweep's: `phantasia sweep` with its file goes on with it".to_owned()
    } else if sweep::is_run_of_sweep(run) {
        "it is a finished run of a sweep, whose table and sheet show it: copy the folder, and resume the copy".to_owned()
    } else {
        return Ok(());
    };
    bail!(UsageError(format!("{}: {why}", run.display())))
}

/// Applies an edit to a resumed run. If the run was complete, its picture is kept under another name.
fn apply(run: &mut Run, mut edit: Edit, args: &ResumeArgs) -> Result<()> {
    let (done, complete) = (run.session().step(), run.session().is_exhausted());
    if !edit.is_empty() {
        if complete && args.steps.is_none() && edit.steps.is_none() {
            // without more steps the edit would have no effect
            let more = args.frontend.fade.saturating_add(args.frontend.extend);
            edit.steps = Some(run.session().extended_by(more)?);
        }
        run.edit(edit)?;
    }
    if run.session().is_exhausted() {
        eprint_line(format_args!(
            "the run is complete with {done} steps; `--steps {}` would continue it",
            done.max(1) * 2
        ));
    } else if complete && let Some(kept) = run.keep_image()? {
        let kept = kept.display();
        eprint_line(format_args!(
            "the picture of {done} steps is kept as {kept}"
        ));
    }
    Ok(())
}

/// How many steps the current stage needs for a run of `steps` in all; `None` if the run has that many already.
fn total(session: &Session, steps: usize) -> Result<Option<usize>> {
    let (done, segment) = (session.step(), session.segment());
    if steps < done {
        bail!("--steps {steps}: the run has made {done} steps already; --steps is the new total");
    }
    let planned = session.planned_steps();
    if steps == planned {
        return Ok(None);
    }
    // later stages keep their steps
    let later = planned - segment.end();
    (steps.checked_sub(segment.origin + later))
        .filter(|own| segment.origin + own >= done && *own > 0)
        .with_context(|| format!("--steps {steps}: the later stages have {later} steps"))
        .map(Some)
}

/// The names of what an edit changes, joined by "and".
fn changed(edit: &Edit) -> String {
    let prompts = edit.prompts.as_ref().map(|_| "prompts");
    let terms = edit.terms.as_ref().map(|_| "terms");
    let steps = edit.steps.map(|_| "steps");
    Vec::from_iter([prompts, terms, steps].into_iter().flatten()).join(" and ")
}

/// Whether the checkpoint before the last one may do what the last one could not.
fn offers_previous(error: &anyhow::Error) -> bool {
    use CheckpointError::{Damaged, File, Tensor};
    let error = error.downcast_ref();
    matches!(error, Some(Damaged { .. } | File(_) | Tensor { .. }))
}
