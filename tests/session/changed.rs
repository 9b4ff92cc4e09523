//! Run folders whose recipe was changed, and complete runs that are resumed.

use std::fs;
use std::path::Path;

use phantasia::recipe::Recipe;
use phantasia::run::{IMAGE, RECIPE};
use tempfile::TempDir;

use super::stops::{BALL, Harness, assert_same};
use crate::common::ball::{folder, lines};
use crate::common::bytes;
use crate::common::program::{assert_refused, json, run, text};

/// A complete run of twelve steps.
fn complete() -> TempDir {
    let folder = folder(BALL);
    let output = run(folder.path(), &["render", "ball.yaml", "--device", "cpu"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    folder
}

/// Changes the recipe of the run.
fn change(folder: &Path, change: impl Fn(&str) -> String) {
    let path = folder.join("outputs/ball-001").join(RECIPE);
    let recipe = fs::read_to_string(&path).expect("a recipe");
    let other = change(&recipe);
    assert_ne!(recipe, other);
    fs::write(&path, other).expect("a file");
}

#[test]
fn a_recipe_that_was_changed_is_refused_by_the_key() {
    let folder = complete();
    for (from, to, path) in [
        (
            "layers: 5",
            "layers: 3",
            "generator.layers: it is 3 here, and 5 in",
        ),
        ("seed: 7", "seed: 9", "seed: it is 9 here"),
        (
            "model: embedded",
            "model: openai/clip-vit-base-patch32",
            "clip.0.model",
        ),
        ("size: [40, 32]", "size: [48, 32]", "size.0: it is 48 here"),
        ("count: 1", "count: 2", "cutouts.count"),
        (
            "timeline: []",
            "timeline: [{ step: 3, lr: 2 }]",
            "timeline.0.step",
        ),
        (
            "steps: 12",
            "steps: 5",
            "steps: 5 is fewer than the 12 that the run has made",
        ),
    ] {
        change(folder.path(), |recipe| recipe.replace(from, to));
        let resume = [
            "resume",
            "outputs/ball-001",
            "--device",
            "cpu",
            "--steps",
            "24",
        ];
        let output = run(folder.path(), &resume);
        assert_refused(&output, 2, path);
        assert!(text(&output.stderr).contains("recipe.yaml:"), "{path}");
        change(folder.path(), |recipe| recipe.replace(to, from));
    }
    assert_eq!(lines(&folder.path().join("outputs/ball-001")), 12);
}

#[test]
fn changed_prompts_and_steps_become_edits_and_replay() {
    let folder = complete();
    change(folder.path(), |recipe| {
        let recipe = recipe.replace("text: a red ball", "text: a green leaf");
        recipe.replace("steps: 12", "steps: 15")
    });
    let resume = ["resume", "outputs/ball-001", "--device", "cpu"];
    let output = run(folder.path(), &resume);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.contains("its new prompts and steps apply from step 12 on"),
        "{stderr}"
    );
    let path = folder.path().join("outputs/ball-001");
    let recipe = Recipe::load(&path.join(RECIPE)).expect("a recipe");
    let [edit] = recipe.timeline.as_slice() else {
        panic!("one edit: {:?}", recipe.timeline)
    };
    assert_eq!((edit.step, edit.steps, recipe.steps), (12, Some(15), 12));
    assert_eq!(recipe.prompts[0].text.as_deref(), Some("a red ball"));
    let prompts = edit.prompts.as_ref().expect("prompts");
    assert_eq!(prompts[0].text.as_deref(), Some("a green leaf"));
    let harness = Harness::default();
    let again = harness.whole(&path.join(RECIPE), &folder.path().join("again"));
    assert_same(&path, &again);
    // what has become an edit is not a change the next time
    let output = run(folder.path(), &resume);
    let stderr = text(&output.stderr);
    assert!(
        output.status.success() && !stderr.contains("was changed"),
        "{stderr}"
    );
    assert_same(&path, &again);
}

#[test]
fn a_complete_run_that_is_resumed_keeps_its_picture() {
    let folder = complete();
    let folder = folder.path();
    let path = folder.join("outputs/ball-001");
    let before = bytes(&path.join(IMAGE));
    let more = [
        "resume",
        "outputs/ball-001",
        "--prompt",
        "a green leaf",
        "--fade",
        "2",
        "--extend",
        "3",
        "--json",
    ];
    let output = run(folder, &more);
    // without a number of steps it is the fade and the extension
    assert_eq!(json(&output)["steps"], 17);
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("the picture of 12 steps is kept as outputs/ball-001/image-0012.png"),
        "{stderr}"
    );
    assert!(bytes(&path.join("image-0012.png")) == before);
    assert!(bytes(&path.join(IMAGE)) != before);
    // without anything new to paint, nothing is copied
    let output = run(folder, &["resume", "outputs/ball-001", "--device", "cpu"]);
    assert!(text(&output.stderr).contains("the run is complete with 17 steps"));
    assert!(!path.join("image-0017.png").exists());
}

#[test]
fn a_run_folder_is_no_recipe_and_steps_are_counted_from_0() {
    let folder = folder(BALL);
    let folder = folder.path();
    assert!(
        run(folder, &["render", "ball.yaml", "--steps", "1"])
            .status
            .success()
    );
    let output = run(folder, &["render", "outputs/ball-001"]);
    assert_refused(
        &output,
        2,
        "`phantasia resume outputs/ball-001` continues it",
    );
    assert_refused(
        &output,
        2,
        "`phantasia render outputs/ball-001/recipe.yaml`",
    );
    fs::create_dir(folder.join("empty")).expect("a folder");
    assert_refused(
        &run(folder, &["render", "empty"]),
        2,
        "is a folder; a recipe is",
    );
    for command in [
        ["render", "ball.yaml"],
        ["live", "ball.yaml"],
        ["resume", "outputs/ball-001"],
    ] {
        for steps in ["-3", "1e9", "100000000"] {
            let output = run(folder, &[&command[..], &["--steps", steps]].concat());
            assert_refused(&output, 2, "expected a whole number from 0 to 10000000");
        }
    }
}
