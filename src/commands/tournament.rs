//! `phantasia render --candidates`

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use phantasia::clip::ClipActivation;
use phantasia::judge::tournament::{BRACKET, Tournament, TournamentOptions};
use phantasia::recipe::Recipe;
use phantasia::run::{IMAGE, METRICS};
use serde::Serialize;
use serde_json::Value;

use super::arguments::{SessionArgs, positive};
use super::console::{UsageError, eprint_line, print_json, print_line, warn_all};
use super::frontend::FrontendArgs;
use super::interrupt::{INTERRUPTED, interrupt};
use super::judge::check_activation;
use super::progress::Progress;
use super::table::{Side, Table};

/// Arguments of a tournament of seeds.
#[derive(Clone, Debug, Args)]
pub struct TournamentArgs {
    /// Paint this many seeds, from the recipe's own on, and let a judge rank them
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = positive,
        conflicts_with_all = ["watch", "control", "preview", "hold", "memory"])]
    pub candidates: Option<usize>,
    /// Paint this many of the candidates to the end; after each round the judge drops the worse half [default: all]
    #[arg(long, value_name = "K", allow_negative_numbers = true, value_parser = positive, requires = "candidates")]
    keep: Option<usize>,
    /// The CLIP that judges the candidates; may be given several times [default: the recipe's]
    #[arg(long, value_name = "MODEL", requires = "candidates")]
    pub judge: Vec<String>,
    /// quick_gelu or gelu: the nonlinearity of the CLIPs of --judge, overriding their files
    #[arg(long, value_name = "NAME", requires = "judge")]
    activation: Option<ClipActivation>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    run: String,
    /// The winner's; none where the tournament was stopped before its end.
    image: Option<String>,
    steps: usize,
    seconds: f64,
    loss: Value,
    similarity: Value,
    device: String,
    judge: &'a [String],
    judge_is_guide: bool,
    /// Steps as a share of painting all candidates to the end.
    cost: f64,
    bracket: String,
    /// Best first.
    candidates: Vec<Standing<'a>>,
}

#[derive(Serialize)]
struct Standing<'a> {
    seed: u64,
    run: Option<String>,
    image: Option<String>,
    score: Option<f64>,
    /// Rounds that it was in.
    rounds: usize,
    finished: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<&'a str>,
}

/// Plays a new tournament of that many candidates in a new folder `out/name-NNN`.
pub fn begin(
    args: &TournamentArgs,
    candidates: usize,
    recipe: &Recipe,
    (out, name): (&Path, &str),
    session: &SessionArgs,
    frontend: &FrontendArgs,
) -> Result<ExitCode> {
    let keep = args.keep.unwrap_or(candidates);
    if keep > candidates {
        bail!(UsageError(format!(
            "--keep {keep}: there are {candidates} candidates"
        )));
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
        eprint_line("candidates leave no videos: render the winner's recipe for one");
    }
    play(session, frontend, |device| {
        Tournament::new(out, name, recipe, &options, session.options(), device)
    })
}

/// Resumes the tournament in a folder.
pub fn resume(run: &Path, session: &SessionArgs, frontend: &FrontendArgs) -> Result<ExitCode> {
    play(session, frontend, |device| {
        Tournament::resume(run, session.options(), device)
    })
}

fn play(
    session: &SessionArgs,
    frontend: &FrontendArgs,
    load: impl FnOnce(&candle_core::Device) -> Result<Tournament>,
) -> Result<ExitCode> {
    let stop = interrupt()?;
    let (device, device_name) = session.models.device.open()?;
    let mut tournament = load(&device)?;
    warn_all(tournament.warnings());
    let standings = tournament.standings();
    if standings.judge_is_guide {
        eprint_line(format_args!(
            "the judge ({}) is also the guide: it judges its own work; --judge names another",
            standings.judge.join(", ")
        ));
    }
    let start = Instant::now();
    let mut progress = Progress::new("step", 0, frontend.quiet);
    let is_over = tournament.play(&stop, |event| progress.update(event.done, event.total, ""))?;
    drop(progress);
    let (folder, standings) = (tournament.folder(), tournament.standings());
    for candidate in &standings.candidates {
        if let Some(why) = &candidate.failed {
            eprint_line(format_args!("seed {} failed: {why}", candidate.seed));
        }
    }
    if frontend.json {
        let seconds = start.elapsed().as_secs_f64();
        print_json(&report(&tournament, is_over, seconds, device_name))?;
    } else {
        table(&tournament)?;
        if is_over {
            print_line(folder.join(IMAGE).display())?;
        }
    }
    if is_over {
        return Ok(ExitCode::SUCCESS);
    }
    eprint_line(format_args!(
        "interrupted; the standings are in {}; `phantasia resume {}` continues",
        folder.join(BRACKET).display(),
        folder.display()
    ));
    Ok(ExitCode::from(INTERRUPTED))
}

fn table(tournament: &Tournament) -> Result<()> {
    let standings = tournament.standings();
    let columns = ["rank", "score", "seed", "rounds"].map(|header| (header, Side::Right));
    let mut table = Table::new(columns);
    for (rank, candidate) in (1u32..).zip(standings.order()) {
        let score = (candidate.score()).map_or("-".to_owned(), |score| format!("{score:.4}"));
        let rounds = format!("{} of {}", candidate.scores.len(), standings.rounds.len());
        table.row([rank.to_string(), score, candidate.seed.to_string(), rounds]);
    }
    table.print()
}

fn report(tournament: &Tournament, is_over: bool, seconds: f64, device: String) -> Report<'_> {
    let (folder, standings) = (tournament.folder(), tournament.standings());
    let order = standings.order();
    let last = (order.first().and_then(|winner| winner.run.as_ref()))
        .and_then(|run| last_line(&folder.join(run).join(METRICS)))
        .unwrap_or(Value::Null);
    Report {
        run: folder.display().to_string(),
        image: is_over.then(|| folder.join(IMAGE).display().to_string()),
        steps: last["step"].as_u64().unwrap_or(0) as usize,
        seconds,
        loss: last["loss"].clone(),
        similarity: last["similarity"].clone(),
        device,
        judge: &standings.judge,
        judge_is_guide: standings.judge_is_guide,
        cost: standings.cost(),
        bracket: folder.join(BRACKET).display().to_string(),
        candidates: (order.iter())
            .map(|candidate| {
                let run = candidate.run.as_ref().map(|run| folder.join(run));
                Standing {
                    seed: candidate.seed,
                    image: (run.as_ref()).map(|run| run.join(IMAGE).display().to_string()),
                    run: run.map(|run| run.display().to_string()),
                    score: candidate.score(),
                    rounds: candidate.scores.len(),
                    finished: candidate.scores.len() == standings.rounds.len(),
                    failed: candidate.failed.as_deref(),
                }
            })
            .collect(),
    }
}

/// The last object of a file of JSON lines.
fn last_line(path: &Path) -> Option<Value> {
    let text = fs::read_to_string(path).ok()?;
    serde_json::from_str(text.lines().last()?).ok()
}
