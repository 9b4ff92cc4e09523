//! `render --candidates`: the standings, what it costs, and going on after a stop.

use std::fs;
use std::path::Path;

use phantasia::judge::tournament::{Tournament, TournamentOptions};
use phantasia::recipe::Recipe;
use phantasia::session::SessionOptions;
use tempfile::TempDir;

use crate::common::ball;
use crate::common::program::{assert_refused, json, program, run, text};

fn folder() -> TempDir {
    ball::folder(
        "prompts: [a red ball, { text: blurry, weight: -0.2 }]\nsize: [48, 32]\nsteps: 6\nseed: 7\n\
         cutouts: { count: 1 }\n",
    )
}

#[test]
fn a_tournament_keeps_the_best_and_tells_the_standings() {
    let folder = folder();
    let args = [
        "render",
        "ball.yaml",
        "--candidates",
        "4",
        "--keep",
        "1",
        "--device",
        "cpu",
        "--json",
        "--quiet",
    ];
    let output = run(folder.path(), &args);
    let report = json(&output);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("is also the guide"), "{stderr}");
    assert_eq!(report["judge_is_guide"], true);
    assert_eq!(report["steps"], 6);
    let candidates = report["candidates"].as_array().expect("candidates");
    let rounds: Vec<_> = candidates
        .iter()
        .map(|c| c["rounds"].as_u64().expect("a number"))
        .collect();
    assert_eq!(rounds, [3, 2, 1, 1]);
    let mut seeds: Vec<_> = candidates
        .iter()
        .map(|c| c["seed"].as_u64().expect("a seed"))
        .collect();
    seeds.sort_unstable();
    assert_eq!(seeds, [7, 8, 9, 10]);

    // the tournament's recipe is the winner's: it paints the same picture
    let image = folder
        .path()
        .join(report["image"].as_str().expect("a picture"));
    let recipe = image.with_file_name("recipe.yaml");
    let again = json(&run(
        folder.path(),
        &[
            "render",
            recipe.to_str().expect("a path"),
            "--device",
            "cpu",
            "--json",
            "--quiet",
        ],
    ));
    let again = folder
        .path()
        .join(again["image"].as_str().expect("a picture"));
    let pixels = |path: &Path| image::open(path).expect("a picture").into_rgb8();
    assert_eq!(pixels(&image), pixels(&again));
    assert!(image.with_file_name("bracket.png").is_file());
}

/// A dropped candidate ends there, and its recipe records the stop.
#[test]
fn the_recipe_of_a_candidate_that_was_dropped_paints_its_picture() {
    let out = tempfile::tempdir().expect("a folder");
    let mut tournament = tournament(out.path());
    let stop = std::sync::atomic::AtomicBool::new(false);
    assert!(tournament.play(&stop, |_, _| {}).expect("an end"));
    let folder = tournament.folder();
    for candidate in &tournament.standings().candidates {
        let run_folder = folder.join(candidate.run.as_ref().expect("a run"));
        let recipe = run_folder.join("recipe.yaml");
        let stops = Recipe::load(&recipe).expect("a recipe").stops_at();
        assert_eq!(stops.is_some(), candidate.dropped.is_some());
        let recipe = recipe.to_str().expect("a path");
        let args = [
            "render", recipe, "--device", "cpu", "--out", "again", "--json",
        ];
        let again = json(&run(out.path(), &args));
        let again = out.path().join(again["image"].as_str().expect("a picture"));
        let bytes = |path: &Path| fs::read(path).expect("a picture");
        assert!(bytes(&run_folder.join("image.png")) == bytes(&again));
    }
    // in use until it is dropped
    let error = resume(folder).err().expect("a folder in use");
    assert!(
        format!("{error:#}").contains("is painting in it"),
        "{error:#}"
    );
}

#[test]
fn impossible_tournaments_exit_with_2() {
    let folder = folder();
    for args in [
        &["--keep", "1"][..],
        &["--judge", "embedded"],
        &["--candidates", "0"],
        &["--candidates", "2", "--keep", "3"],
    ] {
        let output = run(folder.path(), &[&["render", "ball.yaml"], args].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
    assert!(!folder.path().join("outputs").exists());
}

fn tournament(out: &Path) -> Tournament {
    let options = TournamentOptions {
        candidates: 4,
        keep: 1,
        judge: vec!["embedded".to_owned()],
        activation: None,
    };
    let device = candle_core::Device::Cpu;
    let path = out.join("small.yaml");
    let text = "prompts: a red ball\nsize: [32, 32]\nsteps: 6\nseed: 7\ncutouts: { count: 1 }\n";
    fs::write(&path, text).expect("a file");
    let recipe = Recipe::load(&path).expect("a recipe");
    let session = SessionOptions::default();
    Tournament::new(out, "ball", &recipe, &options, session, &device).expect("a tournament")
}

fn resume(path: &Path) -> anyhow::Result<Tournament> {
    Tournament::resume(path, SessionOptions::default(), &candle_core::Device::Cpu)
}

#[test]
fn a_tournament_that_is_stopped_anywhere_ends_as_if_it_was_not() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let out = tempfile::tempdir().expect("a folder");
    let mut whole = tournament(out.path());
    assert!(
        whole
            .play(&AtomicBool::new(false), |_, _| {})
            .expect("an end")
    );
    let mut total = 0;
    let mut other = tournament(out.path());
    let mut over = false;
    while !over {
        // three steps at a time
        let stop = AtomicBool::new(false);
        let mut steps = 0;
        over = other
            .play(&stop, |done, of| {
                steps += 1;
                total += 1;
                assert!(done <= of);
                stop.store(steps >= 3, Ordering::Relaxed);
            })
            .expect("a part");
        let path = other.folder().to_owned();
        // a folder in use is locked
        drop(other);
        other = resume(&path).expect("the tournament");
    }
    let scores = |tournament: &Tournament| {
        let candidates = &tournament.standings().candidates;
        let each = candidates
            .iter()
            .map(|c| (c.seed, c.scores.clone(), c.dropped));
        each.collect::<Vec<_>>()
    };
    assert_eq!(scores(&whole), scores(&other));
    let pixels = |tournament: &Tournament| {
        phantasia::picture::load_rgb(&tournament.folder().join("image.png")).expect("a picture")
    };
    assert_eq!(pixels(&whole), pixels(&other));
    // no step was made twice
    let rounds = &whole.standings().rounds;
    let mut before = 0;
    let planned: usize = (rounds.iter())
        .map(|round| {
            let steps = round.candidates * (round.until - before);
            before = round.until;
            steps
        })
        .sum();
    assert_eq!(total, planned);
}

#[test]
fn a_recipe_that_was_changed_is_refused_by_the_key() {
    let out = tempfile::tempdir().expect("a folder");
    let path = tournament(out.path()).folder().to_owned();
    resume(&path).expect("the tournament as it began");
    let recipe = path.join("recipe.yaml");
    let other = fs::read_to_string(&recipe)
        .expect("a recipe")
        .replace("steps: 6", "steps: 9");
    fs::write(&recipe, other).expect("a file");
    let error = format!("{:#}", resume(&path).err().expect("another recipe"));
    assert!(error.contains("steps: it is 9 here, and was 6"), "{error}");
}

#[test]
fn a_candidate_whose_recipe_was_changed_is_not_judged() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let out = tempfile::tempdir().expect("a folder");
    let mut stopped = tournament(out.path());
    let stop = AtomicBool::new(false);
    let stop_now = |_, _| stop.store(true, Ordering::Relaxed);
    assert!(!stopped.play(&stop, stop_now).expect("a part"));
    let path = stopped.folder().to_owned();
    let candidates = &stopped.standings().candidates;
    let place = (candidates.iter())
        .position(|candidate| candidate.run.is_some() && candidate.scores.is_empty())
        .expect("a candidate that was stopped");
    let run = candidates[place].run.clone().expect("a run");
    drop(stopped);
    let recipe = path.join(run).join("recipe.yaml");
    let other = fs::read_to_string(&recipe)
        .expect("a recipe")
        .replace("a red ball", "a green leaf");
    fs::write(&recipe, other).expect("a file");
    let mut resumed = resume(&path).expect("the tournament");
    assert!(
        resumed
            .play(&AtomicBool::new(false), |_, _| {})
            .expect("an end")
    );
    let candidate = &resumed.standings().candidates[place];
    let failed = candidate.failed.as_deref().expect("a failure");
    assert!(failed.contains("was changed"), "{failed}");
    assert!(candidate.scores.is_empty());
}

#[test]
fn damaged_standings_are_told() {
    let out = tempfile::tempdir().expect("a folder");
    let path = tournament(out.path()).folder().to_owned();
    for text in [
        "",
        "{}",
        "{\"judge\":[],\"judge_is_guide\":false,\"rounds\":[],\"candidates\":[]}",
    ] {
        fs::write(path.join("standings.json"), text).expect("a file");
        let resumed = resume(&path);
        let error = resumed.err().expect("damage");
        assert!(format!("{error:#}").contains("damaged"), "{error:#}");
    }
}

/// A tournament may go on where its judge is not: on another machine, or after the cache was cleared.
#[test]
fn a_missing_judge_is_named_before_anything_begins() {
    let out = tempfile::tempdir().expect("a folder");
    let path = tournament(out.path()).folder().to_owned();
    let file = path.join("standings.json");
    let standings = fs::read_to_string(&file).expect("standings");
    let other = standings.replace("\"embedded\"", "\"owner/judge\"");
    assert_ne!(standings, other);
    fs::write(&file, other).expect("a file");
    let output = program(out.path(), &["resume", path.to_str().expect("a path")])
        .env("HF_HUB_CACHE", out.path())
        .output()
        .expect("the program");
    assert_refused(&output, 1, "phantasia models fetch owner/judge");
    assert!(text(&output.stderr).contains("--yes"));
}
