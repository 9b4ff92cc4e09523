//! Renders that are stopped: their recipe paints the same picture, and `resume` continues as if there had been no stop. Also run folders
//! that are in use, or whose recipe was changed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use candle_core::Device;
use phantasia::recipe::{Edit, Prompt, Recipe};
use phantasia::run::{IMAGE, RECIPE, Resumption, Run, RunFolder};
use phantasia::session::{Session, SessionOptions};
use tempfile::TempDir;

use crate::common::ball::{folder, lines};
use crate::common::program::{assert_refused, interrupt, json, program, run, text};
use crate::common::{bytes, wait_for};

const BALL: &str = "prompts: [a red ball, { text: blurry, weight: -0.2 }]\nsize: [40, 32]\nsteps: 12\nseed: 7\n\
     cutouts: { count: 1 }\noutput: { checkpoint: 3 }\n";

/// The picture and the recipe are the same bytes.
#[track_caller]
fn assert_same(a: &Path, b: &Path) {
    for name in [RECIPE, IMAGE] {
        assert!(
            bytes(&a.join(name)) == bytes(&b.join(name)),
            "{name} of {} and {}:\n{}\n{}",
            a.display(),
            b.display(),
            text(&bytes(&a.join(RECIPE))),
            text(&bytes(&b.join(RECIPE)))
        );
    }
}

/// Renders in this process, with the models loaded once.
#[derive(Default)]
struct Harness(SessionOptions);

impl Harness {
    fn begin(&self, recipe: &Recipe, out: &Path) -> Run {
        let session = Session::with_options(recipe, &Device::Cpu, &self.0).expect("a session");
        let folder = RunFolder::create(out, "ball").expect("a run");
        Run::new(session, folder, recipe).expect("a run")
    }

    fn resume(&self, run: &Path) -> Run {
        let folder = RunFolder::open(run).expect("the run");
        let resumption = Resumption::read(folder, false, &Device::Cpu).expect("a checkpoint");
        let (render, changes) = resumption.into_run(&self.0).expect("a run");
        assert!(changes.is_empty(), "{changes:?}");
        render
    }

    /// A render of a file to its end. Returns its run's folder.
    fn whole(&self, recipe: &Path, out: &Path) -> PathBuf {
        let render = self.begin(&Recipe::load(recipe).expect("a recipe"), out);
        finish(render)
    }
}

fn steps(render: &mut Run, count: usize) {
    for _ in 0..count {
        render.step().expect("a step");
    }
}

/// Paints what is left. Returns the run's folder.
fn finish(mut render: Run) -> PathBuf {
    let run = render.folder().path().to_owned();
    while !render.is_finished() {
        render.step().expect("a step");
    }
    render.finish().expect("a picture");
    run
}

/// A render that is edited and stopped after some steps replays from its recipe and from its picture, and resumes to the picture that it
/// would have painted without the stop.
#[track_caller]
fn assert_stops(harness: &Harness, recipe: &str, at: usize, edits: &[Edit]) {
    let folder = folder(recipe);
    let folder = folder.path();
    let recipe = Recipe::load(&folder.join("ball.yaml")).expect("a recipe");
    let begin = |out: &str, until: usize| {
        let mut render = harness.begin(&recipe, &folder.join(out));
        for edit in edits.iter().filter(|edit| edit.step <= until) {
            let done = render.session().step();
            steps(&mut render, edit.step - done);
            render.edit(edit.clone()).expect("an edit");
        }
        let done = render.session().step();
        steps(&mut render, until - done);
        render
    };
    let render = begin("stopped", at);
    let run = render.folder().path().to_owned();
    let outcome = render.finish().expect("a picture");
    assert_eq!((outcome.steps, outcome.stopped), (at, true));
    let timeline = Recipe::load(&run.join(RECIPE)).expect("a recipe").timeline;
    let last = timeline.last().expect("a stop");
    assert_eq!((last.step, last.stop), (at, true));
    assert_eq!(
        timeline.len(),
        edits.iter().filter(|edit| edit.step <= at).count() + 1
    );

    let again = harness.whole(&run.join(RECIPE), &folder.join("by-recipe"));
    assert_same(&run, &again);
    let again = harness.whole(&run.join(IMAGE), &folder.join("by-image"));
    assert_same(&run, &again);

    // after resuming, the stop leaves no trace, neither in the run nor in its replay
    let last = edits.last().map_or(at, |edit| edit.step.max(at));
    let never = finish(begin("never", last));
    for stopped in [run, again] {
        let mut render = harness.resume(&stopped);
        assert_eq!(render.session().step(), at);
        for edit in edits.iter().filter(|edit| edit.step > at) {
            let done = render.session().step();
            steps(&mut render, edit.step - done);
            render.edit(edit.clone()).expect("an edit");
        }
        assert_same(&finish(render), &never);
    }
}

#[test]
fn what_a_render_stops_at_is_what_its_recipe_paints() {
    let harness = Harness::default();
    for at in [0, 1, 5, 11] {
        assert_stops(&harness, BALL, at, &[]);
    }
}

#[test]
fn edits_stand_before_the_stop() {
    let harness = Harness::default();
    let edits = [
        Edit {
            prompts: Some(vec![Prompt::new("a green leaf")]),
            fade: Some(4),
            ..Edit::at(2)
        },
        Edit {
            restart: Some(phantasia::recipe::Restart::Scratch),
            lr: Some(0.5),
            ..Edit::at(5)
        },
        Edit {
            steps: Some(9),
            ..Edit::at(8)
        },
    ];
    // at an edit, within a fade, right after a restart, before and after a change of length
    for at in [2, 4, 5, 7, 10] {
        assert_stops(&harness, BALL, at, &edits);
    }
}

#[test]
fn a_chain_stops_in_any_stage_and_between_two() {
    let chain = format!(
        "{BALL}generator:\n  - {{ kind: pyramid, steps: 4, size: [24, 24] }}\n  \
         - {{ kind: pyramid, layers: 3, steps: 4, prompts: a blue ball }}\n"
    );
    let harness = Harness::default();
    for at in [3, 4, 6] {
        assert_stops(&harness, &chain, at, &[]);
    }
}

#[test]
fn later_edits_of_the_timeline_wait_after_the_stop() {
    let timeline = format!("{BALL}timeline: [{{ step: 8, prompts: [a green leaf], fade: 2 }}]\n");
    let folder = folder(&timeline);
    let harness = Harness::default();
    let file = folder.path().join("ball.yaml");
    let never = harness.whole(&file, &folder.path().join("never"));
    let recipe = Recipe::load(&file).expect("a recipe");
    let mut render = harness.begin(&recipe, &folder.path().join("stopped"));
    steps(&mut render, 5);
    render.stop().expect("a picture");
    let run = render.folder().path().to_owned();
    drop(render);
    let stopped = Recipe::load(&run.join(RECIPE)).expect("a recipe");
    let places: Vec<_> = (stopped.timeline.iter())
        .map(|edit| (edit.step, edit.stop))
        .collect();
    assert_eq!(places, [(5, true), (8, false)]);
    let again = harness.whole(&run.join(RECIPE), &folder.path().join("again"));
    assert_same(&run, &again);
    assert_same(&finish(harness.resume(&run)), &never);
}

#[test]
fn a_stop_leaves_no_trace_in_the_video_of_a_resumed_run() {
    let folder = folder(&BALL.replace("checkpoint: 3", "checkpoint: 3, video: webp"));
    let harness = Harness::default();
    let file = folder.path().join("ball.yaml");
    let never = harness.whole(&file, &folder.path().join("never"));
    let recipe = Recipe::load(&file).expect("a recipe");
    let mut render = harness.begin(&recipe, &folder.path().join("stopped"));
    steps(&mut render, 5);
    let outcome = render.finish().expect("a picture");
    let video = outcome.video.expect("a video");
    let stopped = bytes(&video);
    let run = outcome.image.with_file_name("");
    let again = harness.whole(&run.join(RECIPE), &folder.path().join("again"));
    assert!(bytes(&again.join("video.webp")) == stopped);
    assert_same(&finish(harness.resume(&run)), &never);
    assert!(bytes(&video) == bytes(&never.join("video.webp")));
}

#[test]
fn a_render_that_is_extended_at_its_end_replays() {
    // a schedule over the stage, so that other steps would change what was painted before
    let chain = format!(
        "{BALL}generator:\n  - {{ kind: fft, steps: 3 }}\n  - {{ kind: pyramid, steps: 5, lr: 0.3 * (1 - t) + 0.01 }}\n"
    );
    let folder = folder(&chain);
    let harness = Harness::default();
    let recipe = Recipe::load(&folder.path().join("ball.yaml")).expect("a recipe");
    let mut render = harness.begin(&recipe, &folder.path().join("live"));
    steps(&mut render, 8);
    assert!(render.session().is_exhausted());
    render
        .edit(Edit {
            prompts: Some(vec![Prompt::new("a green leaf")]),
            fade: Some(2),
            steps: Some(render.session().extended_by(6).expect("more steps")),
            ..Edit::default()
        })
        .expect("an edit");
    assert_eq!(render.session().steps(), 14);
    let run = finish(render);
    let timeline = Recipe::load(&run.join(RECIPE)).expect("a recipe").timeline;
    assert_eq!((timeline[0].step, timeline[0].steps), (8, Some(11)));
    assert_same(
        &run,
        &harness.whole(&run.join(RECIPE), &folder.path().join("again")),
    );
}

#[test]
fn a_picture_that_was_stopped_can_be_edited_past_its_stop() {
    let folder = folder(BALL);
    let harness = Harness::default();
    let recipe = Recipe::load(&folder.path().join("ball.yaml")).expect("a recipe");
    let mut render = harness.begin(&recipe, &folder.path().join("stopped"));
    steps(&mut render, 4);
    render.stop().expect("a picture");
    let stopped = render.folder().path().join(IMAGE);
    drop(render);
    // as in a window that holds at the stop
    let recipe = Recipe::load(&stopped).expect("a recipe");
    let mut render = harness.begin(&recipe, &folder.path().join("live"));
    steps(&mut render, 4);
    assert!(render.is_finished() && !render.session().is_exhausted());
    render
        .edit(Edit {
            prompts: Some(vec![Prompt::new("a green leaf")]),
            ..Edit::default()
        })
        .expect("an edit");
    let run = finish(render);
    let timeline = Recipe::load(&run.join(RECIPE)).expect("a recipe").timeline;
    assert_eq!(timeline.len(), 1, "{timeline:?}");
    assert_eq!(lines(&run), 12);
    assert_same(
        &run,
        &harness.whole(&run.join(RECIPE), &folder.path().join("again")),
    );
}

#[test]
fn an_edit_that_a_recipe_could_not_hold_is_refused() {
    let folder = folder(BALL);
    let recipe = Recipe::load(&folder.path().join("ball.yaml")).expect("a recipe");
    let mut render = Harness::default().begin(&recipe, folder.path());
    let terms = phantasia::recipe::Terms {
        mean: Some(phantasia::recipe::terms::mean::Config(3.0.into())),
        ..recipe.terms.clone()
    };
    for (edit, path) in [
        (
            Edit {
                terms: Some(terms),
                ..Edit::default()
            },
            "terms.mean",
        ),
        (
            Edit {
                steps: Some(0),
                ..Edit::default()
            },
            "steps",
        ),
        (
            Edit {
                lr: Some(-1.0),
                ..Edit::default()
            },
            "lr",
        ),
    ] {
        let error = format!("{:#}", render.edit(edit).expect_err("a bad edit"));
        assert!(
            error.starts_with(&format!("the edit: {path}: expected")),
            "{error}"
        );
    }
    let no_prompts = Edit {
        prompts: Some(vec![]),
        ..Edit::default()
    };
    let error = format!("{:#}", render.edit(no_prompts).expect_err("a bad edit"));
    assert!(
        error.starts_with("the edit: prompts: there is no prompt"),
        "{error}"
    );
    assert_eq!(render.session().timeline(), []);
}

#[test]
fn edits_that_would_make_the_recipe_too_long_to_be_read_are_refused() {
    let folder = folder(BALL);
    let recipe = Recipe::load(&folder.path().join("ball.yaml")).expect("a recipe");
    let mut render = Harness::default().begin(&recipe, folder.path());
    let edit = |letter: &str| Edit {
        prompts: Some(vec![
            Prompt::new("ball"),
            Prompt::new(&letter.repeat(200_000)),
        ]),
        ..Edit::default()
    };
    for letter in ["a", "b"] {
        render.edit(edit(letter)).expect("an edit");
    }
    let told = format!("{:#}", render.edit(edit("c")).expect_err("too much"));
    assert!(told.contains("could not be read again"), "{told}");
    for _ in ["b", "a"] {
        render.undo(0, None).expect("room to take back");
    }
    let image = render.finish().expect("a picture").image;
    Recipe::load(&image.with_file_name(RECIPE)).expect("the run's recipe");
}

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
    told("error: ", "laion-aesthetic");
    told("error: ", "there is no edit to take back");
    told("warning: ", "does not read all of a prompt");
    told("error: ", "terms.mean: expected a number from 0 to 1");
    told("error: ", "steps: expected a whole number from 1");
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
    let told =
        (stderr.lines()).any(|line| line.starts_with("error: ") && line.contains("aesthetic"));
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
