//! `phantasia resume`

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use phantasia::rank::tournament::{Standings, Tournament};
use phantasia::recipe::{Edit, Prompt, prompts_from_json};
use phantasia::run::{CheckpointError, Resumption, Run, RunFolder, video};
use phantasia::session::Session;

use super::company::{self, Company};
use super::console::{Misuse, note, warn};
use super::{device, models, render, tournament};
use crate::cli::{PreviewChoice, PromptArg, ResumeArgs};

/// Goes on with a render.
pub fn run(args: &ResumeArgs) -> Result<ExitCode> {
    if Tournament::is_at(&args.run) {
        let company = &args.company;
        let steered = company.hold || company.control.is_some() || company.preview.is_some();
        if args.steps.is_some() || !args.prompt.is_empty() || args.previous || steered {
            bail!(Misuse(
                "a tournament resumes as it began: --steps, --prompt, --previous, --hold, --control and --preview are for single runs, such as those in its folder"
                    .to_owned()
            ));
        }
        let standings = Standings::load(&args.run)?;
        let recipe = standings.recipe_in(&args.run)?;
        models::need_of(&recipe, &standings.judge, args.yes, args.company.quiet)?;
        return tournament::go_on(args);
    }
    let preview = company::choose(args.company.preview.unwrap_or(PreviewChoice::None))?;
    company::check_hold(&args.company, preview, false)?;
    let prompts = prompts(&args.prompt)?;
    let folder = RunFolder::open(&args.run)?;
    let has_previous = folder.has_previous();
    let (device, device_name) = device::open(args.device)?;
    let resumption = Resumption::read(folder, args.previous, &device).map_err(|error| {
        if offers_previous(&error) && has_previous && !args.previous {
            error.context(format!(
                "the run cannot go on from its last checkpoint; `phantasia resume {} --previous` goes on from the one before it",
                args.run.display()
            ))
        } else {
            error
        }
    })?;
    let recipe = resumption.recipe();
    models::need_of(recipe, &[], args.yes, args.company.quiet)?;
    if let Some(kind) = recipe.output.video {
        video::available(kind)?;
    }
    let stop = company::interrupt()?;
    let (mut run, mut edit) = resumption.into_run(&render::options(args.memory))?;
    for warning in run.session_mut().take_warnings() {
        warn(warning);
    }
    // flags take precedence over the recipe
    if args.steps.is_some() {
        edit.steps = None;
    }
    if prompts.is_some() {
        edit.prompts = None;
    }
    if !edit.is_empty() {
        note(format_args!(
            "the run's recipe was changed: its new {} apply from step {} on and are recorded in its timeline",
            changed(&edit),
            run.session().step()
        ));
    }
    if let Some(steps) = args.steps {
        edit.steps = total(run.session(), steps)?;
    }
    if let Some(prompts) = prompts {
        edit.prompts = Some(prompts);
    }
    if edit.prompts.is_some() {
        edit.fade = Some(args.company.fade);
    }
    apply(&mut run, edit, args)?;
    let company = Company {
        args: args.company.clone(),
        preview,
        window: company::window(preview)?,
        device: device_name,
        stop,
    };
    company.keep(run, |_, _| Ok(()))
}

/// Applies an edit to a resumed run. If the run was complete, its picture is kept under another name.
fn apply(run: &mut Run, mut edit: Edit, args: &ResumeArgs) -> Result<()> {
    let (done, complete) = (run.session().step(), run.session().is_exhausted());
    if !edit.is_empty() {
        if complete && args.steps.is_none() && edit.steps.is_none() {
            // without more steps the edit would have no effect
            let more = args.company.fade.saturating_add(args.company.extend);
            edit.steps = Some(run.session().extended_by(more)?);
        }
        run.edit(edit)?;
    }
    if run.session().is_exhausted() {
        note(format_args!(
            "the run is complete with {done} steps; `--steps {}` would continue it",
            done.max(1) * 2
        ));
    } else if complete && let Some(kept) = run.keep_image()? {
        note(format_args!(
            "the picture of {done} steps is kept as {}",
            kept.display()
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
        .with_context(|| {
            format!("--steps {steps}: the stages that follow alone have {later} steps")
        })
        .map(Some)
}

/// The names of what an edit changes, joined by "and".
fn changed(edit: &Edit) -> String {
    let parts = [
        (edit.prompts.is_some(), "prompts"),
        (edit.terms.is_some(), "terms"),
        (edit.steps.is_some(), "steps"),
    ];
    let words: Vec<_> = (parts.into_iter())
        .filter_map(|(is_changed, word)| is_changed.then_some(word))
        .collect();
    words.join(" and ")
}

fn prompts(typed: &[PromptArg]) -> Result<Option<Vec<Prompt>>> {
    Ok(match typed {
        [] => None,
        typed => Some(prompts_from_json(&render::prompts(typed))?),
    })
}

/// Whether the checkpoint before the last one may do what the last one could not.
fn offers_previous(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(
            CheckpointError::Damaged { .. }
                | CheckpointError::File(_)
                | CheckpointError::Tensor { .. }
        )
    )
}
