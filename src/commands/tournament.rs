//! `phantasia render --candidates`

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use phantasia::clip::ClipActivation;
use phantasia::judge::tournament::{BRACKET, Candidate, Tournament, TournamentOptions};
use phantasia::recipe::Recipe;
use phantasia::run::{IMAGE, METRICS};
use serde_json::{Value, json};

use super::arguments::{SessionArgs, positive};
use super::console::{
    UsageError, counted, duration, eprint_line, print_json, print_line, warn_all,
};
use super::frontend::FrontendArgs;
use super::interrupt::{exit_code, interrupt};
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
    /// Activation function of the CLIPs of --judge, quick_gelu or gelu, overriding their files
    #[arg(long, value_name = "NAME", requires = "judge")]
    activation: Option<ClipActivation>,
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
    let stop = interrupt("step")?;
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
    let is_over = tournament.play(&stop, Progress::callback("step", frontend.quiet))?;
    let (folder, standings) = (tournament.folder(), tournament.standings());
    for candidate in &standings.candidates {
        if let Some(why) = &candidate.failed {
            eprint_line(format_args!("seed {} failed: {why}", candidate.seed));
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    if is_over && !frontend.quiet {
        let count = counted(standings.candidates.len(), "candidate");
        eprint_line(format_args!("{count} in {}", duration(seconds)));
    }
    if frontend.json {
        print_json(&report(&tournament, is_over, seconds, &device_name))?;
    } else {
        table(&tournament)?;
        if is_over {
            print_line(folder.join(IMAGE).display())?;
        }
    }
    if !is_over {
        eprint_line(format_args!(
            "interrupted; the standings are in {}; `phantasia resume {}` continues",
            folder.join(BRACKET).display(),
            folder.display()
        ));
    }
    Ok(exit_code(!is_over))
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

fn report(tournament: &Tournament, is_over: bool, seconds: f64, device: &str) -> Value {
    let (folder, standings) = (tournament.folder(), tournament.standings());
    let order = standings.order();
    let inside = |name: &str| folder.join(name).display().to_string();
    let candidate = |candidate: &&Candidate| {
        let run = candidate.run.as_ref();
        let mut standing = json!({
            "seed": candidate.seed,
            "run": run.map(|run| inside(run)),
            "image": run.map(|run| inside(&format!("{run}/{IMAGE}"))),
            "score": candidate.score(),
            "rounds": candidate.scores.len(),
            "finished": candidate.scores.len() == standings.rounds.len(),
        });
        if let Some(why) = &candidate.failed {
            standing["failed"] = json!(why);
        }
        standing
    };
    let last = (order.first().and_then(|winner| winner.run.as_ref()))
        .and_then(|run| last_line(&folder.join(run).join(METRICS)))
        .unwrap_or_default();
    json!({
        "run": folder.display().to_string(),
        // the winner's
        "image": is_over.then(|| inside(IMAGE)),
        "steps": last["step"].as_u64().unwrap_or(0),
        "seconds": seconds,
        "loss": last["loss"],
        "similarity": last["similarity"],
        "device": device,
        "judge": standings.judge,
        "judge_is_guide": standings.judge_is_guide,
        "cost": standings.cost(),
        "bracket": inside(BRACKET),
        "candidates": order.iter().map(candidate).collect::<Vec<_>>(),
    })
}

/// The last object of a file of JSON lines.
fn last_line(path: &Path) -> Option<Value> {
    let text = fs::read_to_string(path).ok()?;
    serde_json::from_str(text.lines().last()?).ok()
}
