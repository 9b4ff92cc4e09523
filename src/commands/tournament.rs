//! `phantasia render --candidates`

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::Result;
use phantasia::rank::tournament::{BRACKET, Tournament, TournamentOptions};
use phantasia::recipe::Recipe;
use phantasia::run::{IMAGE, METRICS, run_name};
use serde::Serialize;
use serde_json::Value;

use super::company::{INTERRUPTED, interrupt};
use super::console::{Misuse, note, say, warn};
use super::judge::{Progress, check_activation};
use super::table::{Side, Table};
use super::{device, render};
use crate::cli::{CompanyArgs, RenderArgs, ResumeArgs};

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    run: String,
    /// The winner's; none where the tournament was stopped before its end.
    image: Option<String>,
    steps: usize,
    seconds: f64,
    loss: Value,
    similarity: Value,
    device: String,
    judge: Vec<String>,
    judge_is_guide: bool,
    /// Steps as a share of painting all candidates to the end.
    cost: f64,
    bracket: String,
    /// Best first.
    candidates: Vec<Standing>,
}

#[derive(Serialize)]
struct Standing {
    seed: u64,
    run: Option<String>,
    image: Option<String>,
    score: Option<f64>,
    /// Rounds that it was in.
    rounds: usize,
    finished: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
}

/// A new tournament.
pub fn begin(args: &RenderArgs, recipe: &Recipe, candidates: usize) -> Result<ExitCode> {
    let keep = args.keep.unwrap_or(candidates);
    if keep > candidates {
        return Err(Misuse(format!("--keep {keep}: there are {candidates} candidates")).into());
    }
    let judge = match args.judge.as_slice() {
        [] => recipe.clip.iter().map(|clip| clip.model.clone()).collect(),
        judge => judge.to_vec(),
    };
    check_activation(args.activation, &judge)?;
    let options = TournamentOptions {
        candidates,
        keep,
        judge,
        activation: args.activation,
    };
    if recipe.output.video.is_some() {
        note("candidates leave no videos: render the winner's recipe for one");
    }
    let stop = interrupt()?;
    let (device, name) = device::open(args.device)?;
    let tournament = Tournament::new(
        &args.out,
        &run_name(&args.recipe),
        recipe,
        &options,
        render::options(args.memory),
        &device,
    )?;
    play(tournament, &args.company, &stop, name)
}

/// Goes on with a tournament.
pub fn go_on(args: &ResumeArgs) -> Result<ExitCode> {
    let stop = interrupt()?;
    let (device, name) = device::open(args.device)?;
    play(
        Tournament::resume(&args.run, render::options(args.memory), &device)?,
        &args.company,
        &stop,
        name,
    )
}

fn play(
    mut tournament: Tournament,
    args: &CompanyArgs,
    stop: &Arc<AtomicBool>,
    device: String,
) -> Result<ExitCode> {
    for warning in tournament.warnings() {
        warn(warning);
    }
    let standings = tournament.standings();
    let judge = standings.judge.join(", ");
    if standings.judge_is_guide {
        note(format_args!(
            "the judge ({judge}) is also the guide: it judges its own work; --judge names another"
        ));
    }
    let start = Instant::now();
    let mut progress = Progress::new("steps", args.quiet);
    let over = tournament.play(stop, |event| progress.at(event.done, event.total));
    progress.clear();
    let over = over?;
    report(
        &tournament,
        args.json,
        over,
        start.elapsed().as_secs_f64(),
        device,
    )?;
    if over {
        return Ok(ExitCode::SUCCESS);
    }
    note(format_args!(
        "interrupted; the standings are in {}; `phantasia resume {}` goes on",
        tournament.folder().join(BRACKET).display(),
        tournament.folder().display()
    ));
    Ok(ExitCode::from(INTERRUPTED))
}

fn report(
    tournament: &Tournament,
    json: bool,
    over: bool,
    seconds: f64,
    device: String,
) -> Result<()> {
    let folder = tournament.folder();
    let standings = tournament.standings();
    let order = standings.order();
    for candidate in &standings.candidates {
        if let Some(why) = &candidate.failed {
            note(format_args!("seed {} failed: {why}", candidate.seed));
        }
    }
    if !json {
        let columns = ["rank", "score", "seed", "rounds"].map(|header| (header, Side::Right));
        let mut table = Table::new(columns);
        for (rank, candidate) in (1u32..).zip(&order) {
            let score = (candidate.score()).map_or("-".to_owned(), |score| format!("{score:.4}"));
            let rounds = format!("{} of {}", candidate.scores.len(), standings.rounds.len());
            table.row([rank.to_string(), score, candidate.seed.to_string(), rounds]);
        }
        table.print()?;
        if over {
            say(folder.join(IMAGE).display())?;
        }
        return Ok(());
    }
    let last = (order.first().and_then(|winner| winner.run.as_ref()))
        .and_then(|run| last_line(&folder.join(run).join(METRICS)))
        .unwrap_or(Value::Null);
    let report = Report {
        run: folder.display().to_string(),
        image: over.then(|| folder.join(IMAGE).display().to_string()),
        steps: last["step"].as_u64().unwrap_or(0) as usize,
        seconds,
        loss: last["loss"].clone(),
        similarity: last["similarity"].clone(),
        device,
        judge: standings.judge.clone(),
        judge_is_guide: standings.judge_is_guide,
        cost: standings.cost(),
        bracket: folder.join(BRACKET).display().to_string(),
        candidates: (order.iter())
            .map(|candidate| {
                let run = candidate.run.as_ref().map(|run| folder.join(run));
                Standing {
                    seed: candidate.seed,
                    image: run
                        .as_ref()
                        .map(|run| run.join(IMAGE).display().to_string()),
                    run: run.map(|run| run.display().to_string()),
                    score: candidate.score(),
                    rounds: candidate.scores.len(),
                    finished: candidate.scores.len() == standings.rounds.len(),
                    failed: candidate.failed.clone(),
                }
            })
            .collect(),
    };
    Ok(say(serde_json::to_string(&report)?)?)
}

/// The last object of a file of lines.
fn last_line(path: &Path) -> Option<Value> {
    let text = fs::read_to_string(path).ok()?;
    serde_json::from_str(text.lines().last()?).ok()
}
