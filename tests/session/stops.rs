//! Renders that are stopped: their recipe paints the same picture, and `resume` continues as if there had been no stop. Also run folders
//! that are in use, or whose recipe was changed.

use std::path::{Path, PathBuf};

use candle_core::Device;
use phantasia::recipe::{Edit, Prompt, Recipe};
use phantasia::run::{IMAGE, RECIPE, Resumption, Run, RunFolder};
use phantasia::session::{Session, SessionOptions};

use crate::common::ball::{folder, lines};
use crate::common::bytes;
use crate::common::program::text;

pub const BALL: &str = "prompts: [a red ball, { text: blurry, weight: -0.2 }]\nsize: [40, 32]\nsteps: 12\nseed: 7\n\
     cutouts: { count: 1 }\noutput: { checkpoint: 3 }\n";

/// The picture and the recipe are the same bytes.
#[track_caller]
pub fn assert_same(a: &Path, b: &Path) {
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
pub struct Harness(pub SessionOptions);

impl Harness {
    pub fn begin(&self, recipe: &Recipe, out: &Path) -> Run {
        let session = Session::with_options(recipe, &Device::Cpu, &self.0).expect("a session");
        let folder = RunFolder::create(out, "ball").expect("a run");
        Run::new(session, folder, recipe).expect("a run")
    }

    pub fn resume(&self, run: &Path) -> Run {
        let folder = RunFolder::open(run).expect("the run");
        let resumption = Resumption::read(folder, false, &Device::Cpu).expect("a checkpoint");
        let (render, changes) = resumption.into_run(&self.0).expect("a run");
        assert!(changes.is_empty(), "{changes:?}");
        render
    }

    /// A render of a file to its end. Returns its run's folder.
    pub fn whole(&self, recipe: &Path, out: &Path) -> PathBuf {
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
fn the_embedded_vqgan_stops_replays_and_resumes() {
    let chain = format!(
        "{BALL}generator:\n  - {{ kind: pyramid, steps: 2, size: [24, 24] }}\n  \
         - {{ kind: vqgan, model: embedded, steps: 4 }}\n"
    );
    assert_stops(&Harness::default(), &chain, 4, &[]);
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
