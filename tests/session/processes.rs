//! Renders as processes: Ctrl-C, commands and watched recipes while they paint, locks of run folders.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use phantasia::recipe::{Prompt, Recipe};
use phantasia::run::{IMAGE, RECIPE};
use serde_json::Value;

use super::stops::{BALL, assert_same};
use crate::common::ball::{folder, lines};
use crate::common::program::{assert_refused, interrupt, json, program, run, text};
use crate::common::wait_for;

fn spawn(folder: &Path, args: &[&str]) -> Child {
    (program(folder, args).args(["--device", "cpu"]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program")
}

fn tell(child: &mut Child, line: &str) {
    let input = child.stdin.as_mut().expect("its input");
    writeln!(input, "{line}").expect("a listener");
}

fn end(child: Child) -> Output {
    child.wait_with_output().expect("its end")
}

/// Long enough that it does not end before it is stopped.
fn long() -> String {
    BALL.replace("steps: 12", "steps: 4000")
}

/// Renders the run's recipe and its picture, and compares.
#[track_caller]
fn assert_replays(folder: &Path, run_path: &str) {
    for (file, out) in [(RECIPE, "by-recipe"), (IMAGE, "by-image")] {
        let path = format!("{run_path}/{file}");
        let output = run(folder, &["render", &path, "--out", out, "--device", "cpu"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("stops the render after step"));
        assert_same(&folder.join(run_path), &folder.join(out).join("ball-001"));
    }
}

#[test]
#[cfg(unix)]
fn ctrl_c_is_a_stop() {
    let folder = folder(&long());
    let folder = folder.path();
    let mut child = spawn(folder, &["render", "ball.yaml"]);
    let path = folder.join("outputs/ball-001");
    wait_for("steps", || lines(&path) >= 4);
    interrupt(&child);
    drop(child.stdin.take());
    let output = end(child);
    assert_eq!(output.status.code(), Some(130));
    let done = lines(&path);
    let stderr = text(&output.stderr);
    let said = format!("interrupted after step {done} of 4000; the picture so far is saved");
    assert!(stderr.contains(&said), "{stderr}");
    assert_replays(folder, "outputs/ball-001");
}

#[test]
fn a_ctrl_c_that_arrives_twice_is_one_stop() {
    let folder = folder(&long());
    let folder = folder.path();
    let mut child = spawn(folder, &["render", "ball.yaml"]);
    let path = folder.join("outputs/ball-001");
    wait_for("steps", || lines(&path) >= 4);
    interrupt(&child);
    interrupt(&child);
    drop(child.stdin.take());
    let output = end(child);
    assert_eq!(output.status.code(), Some(130));
    let recipe = Recipe::load(&path.join(RECIPE)).expect("a recipe");
    assert_eq!(recipe.stops_at(), Some(lines(&path)));
}

/// A step that takes longer than anyone waits.
#[test]
#[cfg(unix)]
fn a_second_ctrl_c_ends_a_long_step() {
    let folder = folder(&BALL.replace("count: 1", "count: 4096"));
    let folder = folder.path();
    let run_path = folder.join("outputs/ball-001");
    let mut child = spawn(folder, &["render", "ball.yaml"]);
    let mut said = BufReader::new(child.stderr.take().expect("its messages")).lines();
    wait_for("the run's recipe", || run_path.join(RECIPE).exists());
    interrupt(&child);
    let line = said.next().expect("a line").expect("text");
    assert_eq!(line, "stopping after this step; Ctrl-C again ends at once");
    // the two are not one that arrives twice
    std::thread::sleep(Duration::from_millis(100));
    interrupt(&child);
    assert_eq!(end(child).status.code(), Some(130));
    assert_eq!((lines(&run_path), said.count()), (0, 0));
    Recipe::load(&run_path.join(RECIPE)).expect("a recipe");
}

#[test]
fn a_command_stops_even_a_paused_render() {
    let folder = folder(&long());
    let folder = folder.path();
    let mut child = spawn(folder, &["render", "ball.yaml", "--control", "-", "--json"]);
    let path = folder.join("outputs/ball-001");
    wait_for("steps", || lines(&path) >= 3);
    tell(&mut child, "{\"set_prompts\":[\"a green leaf\"]}");
    tell(&mut child, "{\"pause\":true}");
    tell(&mut child, "{\"stop\":true}");
    let output = end(child);
    let report = json(&output);
    let done = lines(&path);
    assert_eq!(report["steps"], done);
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains(&format!("stopped after step {done} of 4000")),
        "{stderr}"
    );
    assert_replays(folder, "outputs/ball-001");
    // more steps ignore the stop
    let total = (done + 3).to_string();
    let steps = [
        "render",
        "outputs/ball-001/image.png",
        "--steps",
        &total,
        "--out",
        "more",
        "--json",
    ];
    let output = run(folder, &steps);
    assert_eq!(json(&output)["steps"], done + 3);
    assert!(text(&output.stderr).contains("it is ignored"));
}

#[test]
fn a_held_render_waits_for_edits_and_ends_with_them() {
    let folder = folder(&BALL.replace("steps: 12", "steps: 3"));
    let folder = folder.path();
    let args = [
        "render",
        "ball.yaml",
        "--control",
        "-",
        "--hold",
        "--fade",
        "1",
        "--extend",
        "4",
        "--json",
    ];
    let mut child = spawn(folder, &args);
    let path = folder.join("outputs/ball-001");
    wait_for("the end", || {
        path.join("checkpoint.safetensors").exists() && lines(&path) == 3
    });
    tell(&mut child, "{\"set_prompts\":[\"a green leaf\"]}");
    wait_for("the fade and four steps", || lines(&path) == 8);
    tell(&mut child, "{\"lr\":0.5}");
    wait_for("as many again", || lines(&path) == 13);
    assert!(
        child.try_wait().expect("a status").is_none(),
        "it did not wait"
    );
    // the end of its input is the end
    let output = end(child);
    assert_eq!(json(&output)["steps"], 13);
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("an edit would continue painting for 5 steps"),
        "{stderr}"
    );
    assert!(
        stderr.contains("step 8 of 8") && stderr.contains("step 13 of 13"),
        "{stderr}"
    );
    let recipe = Recipe::load(&path.join(RECIPE)).expect("a recipe");
    let edits: Vec<_> = (recipe.timeline.iter())
        .map(|edit| (edit.step, edit.steps))
        .collect();
    assert_eq!(edits, [(3, Some(8)), (8, Some(13))]);
    let recipe = path.join(RECIPE);
    let again = [
        "render",
        recipe.to_str().expect("a path"),
        "--out",
        "again",
        "--device",
        "cpu",
    ];
    assert!(run(folder, &again).status.success());
    assert_same(&path, &folder.join("again/ball-001"));
}

#[test]
fn a_program_is_answered_on_standard_output() {
    let folder = folder(&long());
    let args = [
        "render",
        "ball.yaml",
        "--control",
        "-",
        "--hold",
        "--events",
        "--quiet",
    ];
    let mut child = spawn(folder.path(), &args);
    let mut output = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut next = |wanted: &dyn Fn(&Value) -> bool| {
        output.find_map(|line| {
            let event = serde_json::from_str(&line.expect("a line")).expect("an event a line");
            wanted(&event).then_some(event)
        })
    };
    let mut next = |wanted: &dyn Fn(&Value) -> bool| next(wanted).expect("an event");
    let first = next(&|_| true);
    assert_eq!(first["event"], "state");
    assert_eq!(first["timeline"].as_array().map(Vec::len), Some(0));
    let measured = next(&|event| event["event"] == "metrics");
    assert!(measured["steps"][0]["loss"].is_f64(), "{measured}");
    // an edit that is made, one that is refused, and a line that cannot be read
    tell(&mut child, "{\"set_prompts\":[\"a green leaf\"]}");
    let state = next(&|event| {
        event["timeline"]
            .as_array()
            .is_some_and(|all| all.len() == 1)
    });
    assert_eq!(state["prompts"][0]["prompt"]["text"], "a green leaf");
    // as long as it is the same, the timeline is not told again
    let state = next(&|event| event["event"] == "state");
    assert_eq!(state.get("timeline"), None);
    tell(&mut child, "{\"set_prompts\":[{\"text\":\"\"}]}");
    let refused = next(&|event| event["severity"] == "error");
    let why = refused["text"].as_str().expect("a text");
    assert!(why.starts_with("control line 2"), "{why}");
    tell(&mut child, "{\"jump\":true}");
    let refused = next(&|event| event["severity"] == "error");
    let why = refused["text"].as_str().expect("a text");
    assert!(
        why.starts_with("control line 3") && why.contains("jump"),
        "{why}"
    );
    // the end of its input ends a pause, and a stop the render
    tell(&mut child, "{\"stop\":true}");
    next(&|event| event["ended"] == true);
    let report = next(&|event| event["event"] == "report");
    assert_eq!(report["run"], "outputs/ball-001");
    assert!(child.wait().expect("its end").success());
    let shown = ["render", "ball.yaml", "--events", "--preview", "terminal"];
    assert_refused(&run(folder.path(), &shown), 2, "--events cannot go with");
}

#[test]
fn a_held_render_is_stopped_by_a_command_and_needs_a_source_of_edits() {
    let folder = folder(&BALL.replace("steps: 12", "steps: 2"));
    let mut child = spawn(
        folder.path(),
        &["render", "ball.yaml", "--control", "-", "--hold", "--json"],
    );
    let path = folder.path().join("outputs/ball-001");
    wait_for("the end", || {
        path.join("checkpoint.safetensors").exists() && lines(&path) == 2
    });
    tell(&mut child, "{\"stop\":true}");
    // it ends while its input is still open
    wait_for("its end", || child.try_wait().expect("a status").is_some());
    assert_eq!(json(&end(child))["steps"], 2);
    // the run was complete, so its recipe has no stop
    assert_eq!(
        Recipe::load(&path.join(RECIPE)).expect("a recipe").timeline,
        []
    );
    let output = run(folder.path(), &["render", "ball.yaml", "--hold"]);
    assert_refused(&output, 2, "--hold waits for edits");
    let output = run(folder.path(), &["render", "ball.yaml", "--extend", "0"]);
    assert_refused(&output, 2, "expected a whole number from 1");
}

/// Lines that are read during one step: what is refused does not take what came before it along.
#[test]
fn lines_that_come_at_once_are_checked_one_by_one() {
    let folder = folder(BALL);
    let folder = folder.path();
    let mut child = spawn(folder, &["render", "ball.yaml", "--control", "-"]);
    let lines = [
        r#"{"set_prompts":["a green leaf"]}"#,
        r#"{"set_prompts":[]}"#,
        r#"{"set_prompts":[{"text":"ice","source":"fire"}]}"#,
        r#"{"set_terms":{"style":"none.png"}}"#,
        r#"{"set_terms":{"total_variation":0.1}}"#,
        r#"{"lr":1e308}"#,
        r#"{"lr":0.5}"#,
    ];
    tell(&mut child, &lines.join("\n"));
    let output = end(child);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let refused = [
        (2, "there is no prompt"),
        (3, "starts from none"),
        (4, "none.png"),
        (6, "at most 1000000, found 1e308"),
    ];
    for (number, words) in refused {
        let start = format!("error: control line {number}: ");
        let is_told = (stderr.lines()).any(|line| line.starts_with(&start) && line.contains(words));
        assert!(is_told, "no `{start}` with `{words}` in:\n{stderr}");
    }
    let errors = stderr.lines().filter(|line| line.starts_with("error: "));
    assert_eq!(errors.count(), refused.len(), "{stderr}");
    let recipe = Recipe::load(&folder.join("outputs/ball-001").join(RECIPE)).expect("a recipe");
    let [leaf, terms, rate] = recipe.timeline.as_slice() else {
        panic!("{:?}", recipe.timeline);
    };
    assert_eq!(leaf.prompts, Some(vec![Prompt::new("a green leaf")]));
    assert!(terms.terms.is_some() && rate.lr == Some(0.5));
}

/// Everything that is refused or cut is reported on standard error, and the render continues to its end.
#[test]
fn edits_that_are_refused_are_reported() {
    let folder = folder(&BALL.replace("steps: 12", "steps: 60"));
    let folder = folder.path();
    // no head is on this machine
    let mut child = (program(
        folder,
        &["render", "ball.yaml", "--control", "-", "--quiet"],
    ))
    .env("HF_HUB_CACHE", folder)
    .stdin(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .expect("the program");
    wait_for("steps", || lines(&folder.join("outputs/ball-001")) >= 2);
    let long = "very ".repeat(100);
    for line in [
        "{\"set_terms\":{\"aesthetic\":1.0}}",
        "{\"undo\":true}",
        "{\"set_prompts\":[\"(%) &\"]}",
        // prompts that follow each other at once are one edit
        "{\"fade\":5}",
        &format!("{{\"set_prompts\":[\"a {long} long text\"]}}"),
        "{\"set_terms\":{\"mean\":3}}",
        "{\"steps\":0}",
    ] {
        tell(&mut child, line);
    }
    let output = end(child);
    assert!(output.status.success());
    let stderr = text(&output.stderr);
    let told = |start: &str, word: &str| {
        let is_told = (stderr.lines()).any(|line| line.starts_with(start) && line.contains(word));
        assert!(is_told, "no `{start}` with `{word}` in:\n{stderr}");
    };
    told("error: control line 1: ", "laion-aesthetic");
    told("error: control line 2: ", "there is no edit to take back");
    told("warning: ", "does not read all of a prompt");
    told(
        "error: control line 6: ",
        "terms.mean: expected a number from 0 to 1",
    );
    told(
        "error: control line 7: ",
        "steps: expected a whole number from 1",
    );
    told(
        "control line 4 changes nothing by itself",
        "fade over 5 steps",
    );
    // the fifth is for the text of which nothing is left
    let errors = (stderr.lines()).filter(|line| line.starts_with("error: "));
    assert_eq!(errors.count(), 5, "{stderr}");
    // what was refused is not in the recipe, which can be read
    let recipe = Recipe::load(&folder.join("outputs/ball-001").join(RECIPE)).expect("a recipe");
    assert_eq!(recipe.timeline.len(), 1, "{:?}", recipe.timeline);
}

#[test]
#[cfg(unix)]
fn a_change_of_a_watched_recipe_that_is_refused_is_reported() {
    let folder = folder(&long());
    let folder = folder.path();
    let child = (program(folder, &["render", "ball.yaml", "--watch", "--quiet"]))
        .env("HF_HUB_CACHE", folder)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let path = folder.join("outputs/ball-001");
    wait_for("steps", || lines(&path) >= 2);
    fs::write(
        folder.join("ball.yaml"),
        format!("{}terms: {{ aesthetic: 1.0 }}\n", long()),
    )
    .expect("a file");
    std::thread::sleep(Duration::from_millis(600));
    let before = lines(&path);
    wait_for("more steps", || lines(&path) > before + 2);
    interrupt(&child);
    let stderr = text(&end(child).stderr);
    let told = (stderr.lines())
        .any(|line| line.starts_with("error: ball.yaml: ") && line.contains("aesthetic"));
    assert!(told, "{stderr}");
}

#[test]
fn a_run_in_use_is_locked_and_a_killed_one_is_not() {
    let folder = folder(&long());
    let folder = folder.path();
    let mut child = spawn(folder, &["render", "ball.yaml"]);
    let path = folder.join("outputs/ball-001");
    wait_for("a checkpoint", || lines(&path) >= 4);
    let resume = ["resume", "outputs/ball-001"];
    let output = run(folder, &resume);
    assert_refused(&output, 1, "outputs/ball-001");
    assert_refused(&output, 1, &format!("({}) is painting in it", child.id()));
    child.kill().expect("a render to kill");
    child.wait().expect("its end");
    assert!(path.join(".lock").exists());
    // of two processes that resume it at once, one succeeds
    let mut two = [spawn(folder, &resume), spawn(folder, &resume)];
    let mut over = [false; 2];
    wait_for("one that is refused", || {
        over = [0, 1].map(|which: usize| two[which].try_wait().expect("a status").is_some());
        over.contains(&true)
    });
    assert_ne!(over, [true; 2]);
    let [mut first, mut second] = two;
    let (refused, mut going) = if over[0] {
        drop(first.stdin.take());
        (first, second)
    } else {
        drop(second.stdin.take());
        (second, first)
    };
    let stderr = text(&end(refused).stderr);
    assert!(stderr.contains("is painting in it"), "{stderr}");
    going.kill().expect("a render to kill");
    going.wait().expect("its end");
}
