//! `phantasia resume`

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use phantasia::output::{CheckpointError, RECIPE, RunFolder};
use phantasia::paint::Painter;
use phantasia::rank::tournament::{Standings, Tournament};
use phantasia::recipe::{Edit, Prompt, Recipe, prompts_from_json};
use phantasia::video;

use super::company::{self, Company};
use super::console::{Misuse, note};
use super::{device, models, render, tournament};
use crate::cli::{PreviewChoice, ResumeArgs};

/// Goes on with a render.
pub fn run(args: &ResumeArgs) -> Result<ExitCode> {
    if Tournament::is_at(&args.run) {
        if args.steps.is_some() || !args.prompt.is_empty() || args.previous {
            bail!(Misuse(
                "a tournament goes on as it was begun: --steps, --prompt and --previous are for single runs, such as those in its folder"
                    .to_owned()
            ));
        }
        let recipe = Recipe::load(&args.run.join(RECIPE))?;
        let judges = Standings::load(&args.run)?.judge;
        models::need_of(&recipe, &judges, args.yes, args.company.quiet)?;
        return tournament::go_on(args);
    }
    let preview = company::choose(args.company.preview.unwrap_or(PreviewChoice::None))?;
    let folder = RunFolder::open(&args.run)?;
    let recipe = Recipe::load(&args.run.join(RECIPE))?;
    models::need_of(&recipe, &[], args.yes, args.company.quiet)?;
    if let Some(kind) = recipe.output.video {
        video::available(kind)?;
    }
    let prompts = prompts(&args.prompt)?;
    let stop = company::interrupt()?;
    let (device, device_name) = device::open(args.device)?;
    let has_previous = folder.has_previous();
    let options = render::options(args.memory);
    let resumed = Painter::resume(folder, &recipe, args.previous, &device, &options);
    let mut painter = match resumed {
        Err(error) if offers_previous(&error) && has_previous && !args.previous => {
            return Err(error.context(format!(
                "the run cannot go on from its last checkpoint; `phantasia resume {} --previous` goes on from the one before it",
                args.run.display()
            )));
        }
        resumed => resumed?,
    };
    for warning in painter.session_mut().take_warnings() {
        note(format_args!("warning: {warning}"));
    }
    let (done, course) = (painter.session().step(), painter.session().course().clone());
    let mut edit = Edit::default();
    if let Some(steps) = args.steps {
        if steps < done {
            bail!(
                "--steps {steps}: the run has made {done} steps already; --steps is the new total"
            );
        }
        let planned = painter.session().steps();
        if steps != planned {
            // what later stages make stays as it is
            let later = planned - course.end();
            edit.steps = Some(
                (steps.checked_sub(course.origin + later))
                    .filter(|own| course.origin + own >= done && *own > 0)
                    .with_context(|| {
                        format!("--steps {steps}: the stages that follow alone have {later} steps")
                    })?,
            );
        }
    }
    if let Some(prompts) = prompts {
        edit.prompts = Some(prompts);
        edit.fade = Some(args.company.fade);
    }
    if edit != Edit::default() {
        painter.edit(edit)?;
    }
    if painter.is_finished() {
        note(format_args!(
            "the run is complete with {done} steps; `--steps {}` would go on",
            done * 2
        ));
    }
    let company = Company {
        args: args.company.clone(),
        preview,
        device: device_name,
        stop,
    };
    company.keep(painter, |_| Ok(()))
}

fn prompts(texts: &[String]) -> Result<Option<Vec<Prompt>>> {
    Ok(match texts {
        [] => None,
        texts => Some(prompts_from_json(&texts.to_vec().into())?),
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
