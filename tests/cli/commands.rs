//! The program as scripts see it: exit codes, JSON, files, and what a person is told.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::ball;
use crate::common::program::{assert_refused, json, program, run, text};

/// A picture of one colour would do: small, few steps, the embedded model.
pub const RECIPE: &str = "prompts: [a red ball, { text: blurry, weight: -0.2 }]\nsize: [48, 32]\nsteps: 3\nseed: 7\n\
                      cutouts: { count: 2 }\noutput: { every: 2 }\n";

/// A folder with `ball.yaml`.
pub fn folder() -> TempDir {
    ball::folder(RECIPE)
}

#[test]
fn the_version_is_told_at_once() {
    let folder = folder();
    let start = Instant::now();
    let output = run(folder.path(), &["--version"]);
    assert_eq!(
        text(&output.stdout),
        format!("phantasia {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn bad_usage_exits_with_2() {
    let folder = folder();
    for args in [
        &[][..],
        &["paint"],
        &["render"],
        &["render", "ball.yaml", "--sise", "3"],
        &["render", "ball.yaml", "--seed", "-1"],
        &["render", "ball.yaml", "--device", "tpu"],
        &["recipe", "new", "collage"],
        &["recipe", "check"],
    ] {
        assert_eq!(run(folder.path(), args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn a_bad_recipe_exits_with_2_and_leaves_no_run() {
    let folder = folder();
    fs::write(folder.path().join("bad.yaml"), "prompts: a\nsetps: 1\n").expect("a file");
    let told = [
        (
            &["render", "bad.yaml"][..],
            "error: bad.yaml:2:1: unknown key `setps`; did you mean `steps`?",
        ),
        (
            &["render", "none.yaml"],
            "error: none.yaml: cannot read the recipe: ",
        ),
        (&["render", "."], "is a folder"),
        (
            &["render", "ball.yaml", "--set", "generator.lrr=1"],
            "error: --set generator.lrr=1: generator: unknown key `lrr`",
        ),
        (
            &["render", "ball.yaml", "--size", "48"],
            "error: --size 48: size: expected width and height",
        ),
        (
            &["render", "ball.yaml", "--size", "0x5"],
            "error: --size 0x5: size.0: expected a whole number from 1",
        ),
        (
            &["render", "ball.yaml", "--steps", "0"],
            "error: --steps 0: steps: expected",
        ),
        (
            &["render", "ball.yaml", "--prompt", ""],
            "prompts.0.text: the text is empty",
        ),
    ];
    for (args, message) in told {
        assert_refused(&run(folder.path(), args), 2, message);
    }
    assert!(!folder.path().join("outputs").exists());
}

#[test]
fn check_tells_all_faults_of_all_files() {
    let folder = folder();
    fs::write(
        folder.path().join("a.yaml"),
        "prompts: a\nsetps: 1\nsize: x\n",
    )
    .expect("a file");
    fs::write(folder.path().join("b.yaml"), "prompts: [\n").expect("a file");
    let output = run(
        folder.path(),
        &["recipe", "check", "a.yaml", "ball.yaml", "b.yaml"],
    );
    assert_refused(&output, 2, "error: a.yaml:2:1: ");
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("error: a.yaml:3:7: ") && stderr.contains("error: b.yaml:"),
        "{stderr}"
    );
    assert_eq!(text(&output.stdout), "ball.yaml: ok\n");
    assert!(
        run(folder.path(), &["recipe", "check", "ball.yaml"])
            .status
            .success()
    );
}

#[test]
fn an_edit_after_the_last_step_is_mentioned() {
    let folder = folder();
    let recipe = "prompts: a\nsize: [32, 32]\nsteps: 2\ntimeline:\n  - { step: 1, lr: 1 }\n  - { step: 3, lr: 2 }\n";
    fs::write(folder.path().join("late.yaml"), recipe).expect("a file");
    for command in [
        &["recipe", "check", "late.yaml"][..],
        &["render", "late.yaml"],
    ] {
        let output = run(folder.path(), command);
        let stderr = text(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        let expected = "warning: late.yaml:6:13: timeline.1.step: the render ends after step 2";
        assert_eq!(stderr.matches(expected).count(), 1, "{stderr}");
        assert!(!stderr.contains("timeline.0"), "{stderr}");
    }
}

#[test]
fn a_place_for_prompts_is_mentioned() {
    let folder = folder();
    let recipe = "prompts: 'an oil painting of {prompt}'\n";
    fs::write(folder.path().join("place.yaml"), recipe).expect("a file");
    let output = run(folder.path(), &["recipe", "check", "place.yaml"]);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let expected = "prompts.0.text: only `phantasia compare --prompts FILE` fills `{prompt}`";
    assert_eq!(stderr.matches(expected).count(), 1, "{stderr}");
}

#[test]
fn a_value_cannot_move_the_terminal_s_cursor() {
    let folder = folder();
    let long = "very ".repeat(150);
    let recipe = format!("prompts: a\n\"b\\e[2J{long}\": 1\nsteps: \"c\\e[31m{long}\"\n");
    fs::write(folder.path().join("escape.yaml"), recipe).expect("a file");
    let output = run(folder.path(), &["recipe", "check", "escape.yaml"]);
    assert_refused(&output, 2, "unknown key `b\\u{1b}[2Jvery");
    let stderr = text(&output.stderr);
    assert!(!stderr.contains('\u{1b}'), "{stderr}");
    assert!(stderr.lines().all(|line| line.len() < 600), "{stderr}");
}

#[test]
fn a_new_recipe_is_a_recipe() {
    let folder = folder();
    for kind in ["pyramid", "stack", "ascent"] {
        let output = run(folder.path(), &["recipe", "new", kind]);
        fs::write(folder.path().join("new.yaml"), output.stdout).expect("a file");
        let output = run(folder.path(), &["recipe", "check", "new.yaml"]);
        assert!(output.status.success(), "{kind}: {}", text(&output.stderr));
    }
}

#[test]
fn shells_complete_every_command() {
    let folder = folder();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(folder.path(), &["completions", shell]);
        let script = text(&output.stdout);
        assert!(output.status.success(), "{}", text(&output.stderr));
        for word in ["phantasia", "render", "completions", "seed"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_refused(&run(folder.path(), &["completions", "csh"]), 2, "bash");
}

#[test]
fn manual_pages_are_printed_and_written() {
    let folder = folder();
    let output = run(folder.path(), &["man"]);
    assert!(text(&output.stdout).contains(".TH phantasia 1"));
    let output = run(folder.path(), &["man", "share/man1"]);
    assert_eq!(text(&output.stdout), "share/man1\n");
    let pages = folder.path().join("share/man1");
    for page in [
        "phantasia.1",
        "phantasia-render.1",
        "phantasia-recipe-new.1",
    ] {
        let text = fs::read_to_string(pages.join(page)).expect(page);
        assert!(text.starts_with(".ie"), "{page}: {text}");
    }
    let output = run(folder.path(), &["man", "ball.yaml"]);
    assert_refused(&output, 1, "cannot write manual pages into `ball.yaml`");
}

#[test]
fn the_schema_is_json() {
    let folder = folder();
    let output = run(folder.path(), &["recipe", "schema"]);
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        schema["properties"]["prompts"]["anyOf"]
            .as_array()
            .map(Vec::len),
        Some(3)
    );
}

#[test]
fn the_embedded_model_is_listed() {
    let folder = folder();
    for args in [&["models"][..], &["models", "list"]] {
        let output = run(folder.path(), args);
        assert!(output.status.success());
        let stdout = text(&output.stdout);
        let row = stdout.lines().nth(1).expect("a line under the headers");
        assert!(row.starts_with("embedded "), "{stdout}");
    }
}

#[test]
fn a_closed_standard_output_is_no_panic() {
    let folder = folder();
    let mut child = program(folder.path(), &["recipe", "schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the program");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn the_doctor_paints_a_step() {
    let folder = folder();
    let report = json(&run(folder.path(), &["doctor", "--json"]));
    assert_eq!(report["ok"], true);
    assert_eq!(report["devices_built"][0], "cpu");
    let ffmpeg = report["ffmpeg"].as_str().expect("whether it is found");
    assert!(
        ffmpeg.starts_with("found") || ffmpeg.contains("install ffmpeg"),
        "{ffmpeg}"
    );
    assert!(
        report["self_test"]
            .as_str()
            .is_some_and(|words| words.starts_with("one step on "))
    );
    assert!(text(&run(folder.path(), &["doctor"]).stdout).contains("all is well"));
}
