//! Renders that are stopped, killed, steered and replayed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use phantasia::picture;
use phantasia::recipe::{Prompt, Recipe};
use phantasia::run::{CHECKPOINT, FRAMES, IMAGE, PREVIOUS, RECIPE};

use crate::common::ball::{folder, lines};
use crate::common::program::{assert_done, assert_refused, program, run};
use crate::common::{bytes, wait_for};

/// Small, with a checkpoint at every step.
const RECIPE_TEXT: &str = "prompts: [a red ball, { text: blurry, weight: -0.2 }]\nsize: [40, 32]\nsteps: 16\nseed: 7\n\
     cutouts: { count: 1 }\noutput: { every: 3, checkpoint: 1 }\n";

/// Lets a render go on until it has left so many lines of metrics, then kills it without a warning.
fn kill_after(child: &mut Child, run: &Path, steps: usize) {
    wait_for("steps", || lines(run) >= steps);
    child.kill().expect("a render to kill");
    child.wait().expect("its end");
}

/// A render of the recipe that is killed after some steps. Returns its run's folder.
fn killed(folder: &Path, steps: usize) -> PathBuf {
    let mut child = program(folder, &["render", "ball.yaml", "--out", "killed"])
        .spawn()
        .expect("the program");
    let run = folder.join("killed/ball-001");
    kill_after(&mut child, &run, steps);
    run
}

/// Every file that has its name is whole.
fn assert_whole(run: &Path) {
    for entry in fs::read_dir(run).expect("a folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        match name.to_string_lossy().as_ref() {
            IMAGE => drop(picture::load_rgb(&path).expect("a whole picture")),
            RECIPE => drop(Recipe::load(&path).expect("a whole recipe")),
            CHECKPOINT | PREVIOUS => {
                safetensors::SafeTensors::deserialize(&bytes(&path)).expect("a whole checkpoint");
            }
            FRAMES => {
                for frame in fs::read_dir(&path).expect("a folder").flatten() {
                    if !frame.file_name().to_string_lossy().ends_with(".partial") {
                        picture::load_rgb(&frame.path()).expect("a whole frame");
                    }
                }
            }
            _ => {}
        }
    }
}

#[test]
fn a_run_that_was_killed_goes_on_to_the_same_bytes() {
    let folder = folder(RECIPE_TEXT);
    let folder = folder.path();
    assert_done(&run(folder, &["render", "ball.yaml", "--out", "whole"]));
    let killed = killed(folder, 7);
    assert!(lines(&killed) < 16, "it was complete before it was killed");
    assert_done(&run(folder, &["resume", "killed/ball-001"]));
    let whole = folder.join("whole/ball-001");
    assert!(bytes(&killed.join(IMAGE)) == bytes(&whole.join(IMAGE)));
    assert_eq!(lines(&killed), 16);
    let frames = |run: &Path| fs::read_dir(run.join(FRAMES)).expect("frames").count();
    assert_eq!(frames(&killed), frames(&whole));
}

#[test]
fn a_run_with_regions_goes_on_to_the_same_bytes() {
    let text = "prompts: [{ text: a red ball, region: left }, { text: a lake, region: lake.png, from: 4 }]";
    let folder = folder(&RECIPE_TEXT.replace(
        "prompts: [a red ball, { text: blurry, weight: -0.2 }]",
        text,
    ));
    let folder = folder.path();
    let lake = image::RgbImage::from_fn(5, 4, |x, _| image::Rgb([50 * x as u8; 3]));
    lake.save(folder.join("lake.png")).expect("a picture");
    assert_done(&run(folder, &["render", "ball.yaml", "--out", "whole"]));
    let killed = killed(folder, 7);
    // the run has its own copy
    fs::remove_file(folder.join("lake.png")).expect("no picture");
    assert_done(&run(folder, &["resume", "killed/ball-001"]));
    assert!(bytes(&killed.join(IMAGE)) == bytes(&folder.join("whole/ball-001").join(IMAGE)));
    // so does the recipe in its metadata
    let recipe = Recipe::load(&killed.join(IMAGE)).expect("a recipe");
    let region = recipe.prompts[1].region.as_ref().expect("a region");
    assert_eq!(
        region.to_string(),
        killed.join("inputs/lake.png").to_string_lossy()
    );
}

#[test]
fn a_complete_run_goes_on_to_more_steps_and_other_prompts() {
    let folder = folder(RECIPE_TEXT);
    let folder = folder.path();
    assert_done(&run(folder, &["render", "ball.yaml"]));
    let path = folder.join("outputs/ball-001");
    let before = bytes(&path.join(IMAGE));
    let more = [
        "resume",
        "outputs/ball-001",
        "--steps",
        "20",
        "--prompt",
        "a blue ball",
    ];
    assert_done(&run(folder, &more));
    assert_eq!(lines(&path), 20);
    assert!(bytes(&path.join(IMAGE)) != before);
    let recipe = Recipe::load(&path.join(RECIPE)).expect("a recipe");
    let [edit] = recipe.timeline.as_slice() else {
        panic!("one edit: {:?}", recipe.timeline)
    };
    assert_eq!((edit.step, edit.steps), (16, Some(20)));
    assert_eq!(edit.prompts, Some(vec![Prompt::new("a blue ball")]));
    // and from the start, all of it
    assert_done(&run(
        folder,
        &["render", "outputs/ball-001/recipe.yaml", "--out", "again"],
    ));
    assert!(bytes(&path.join(IMAGE)) == bytes(&folder.join("again/ball-001").join(IMAGE)));
    assert_refused(
        &run(folder, &["resume", "outputs/ball-001", "--steps", "3"]),
        1,
        "20 steps already",
    );
}

#[test]
fn a_damaged_checkpoint_is_refused_and_the_one_before_it_offered() {
    let folder = folder(RECIPE_TEXT);
    let folder = folder.path();
    let killed = killed(folder, 6);
    let path = killed.join(CHECKPOINT);
    // a render that is killed between its two renames leaves the one before alone
    if !path.exists() {
        fs::copy(killed.join(PREVIOUS), &path).expect("a checkpoint");
    }
    let mut damaged = bytes(&path);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    fs::write(&path, &damaged).expect("a file");
    let output = run(folder, &["resume", "killed/ball-001"]);
    assert_refused(&output, 1, "is damaged");
    assert_refused(&output, 1, "--previous");
    assert_done(&run(folder, &["resume", "killed/ball-001", "--previous"]));
    assert_eq!(lines(&killed), 16);
}

#[test]
fn what_is_no_run_is_refused() {
    let folder = folder(RECIPE_TEXT);
    let missing = || run(folder.path(), &["resume", "nowhere"]);
    assert_refused(&missing(), 1, "nowhere: there is no such folder: ");
    assert_refused(&missing(), 1, "`phantasia render` makes them in outputs");
    fs::create_dir_all(folder.path().join("outputs/nowhere")).expect("a folder");
    assert_refused(&missing(), 1, "did you mean outputs/nowhere?");
    fs::write(folder.path().join("file"), "").expect("a file");
    assert_refused(&run(folder.path(), &["resume", "file"]), 1, "it is a file");
    fs::create_dir(folder.path().join("empty")).expect("a folder");
    assert_refused(
        &run(folder.path(), &["resume", "empty"]),
        1,
        "not the folder of a render",
    );
}

#[test]
fn a_render_that_was_steered_replays_to_the_same_bytes() {
    let folder = folder(&RECIPE_TEXT.replace("steps: 16", "steps: 60"));
    let folder = folder.path();
    let mut child = program(
        folder,
        &["render", "ball.yaml", "--control", "-", "--fade", "4"],
    )
    .stdin(Stdio::piped())
    .spawn()
    .expect("the program");
    let path = folder.join("outputs/ball-001");
    let mut input = child.stdin.take().expect("its input");
    let mut tell = |steps: usize, line: &str| {
        wait_for("steps", || lines(&path) >= steps);
        writeln!(input, "{line}").expect("a listener");
    };
    tell(2, "{\"set_prompts\":[\"a green leaf\"]}");
    tell(5, "{\"lr\":0.5}");
    tell(8, "{\"restart\":\"image\"}");
    tell(11, "{\"undo\":true,\"snapshot\":true}");
    tell(14, "{\"restart\":\"scratch\",\"steps\":9}");
    drop(input);
    assert!(child.wait().expect("its end").success());
    let recipe = Recipe::load(&path.join(RECIPE)).expect("a recipe");
    assert!(recipe.timeline.len() >= 4, "{:?}", recipe.timeline);
    assert_eq!(
        fs::read_dir(path.join("snapshots"))
            .expect("snapshots")
            .count(),
        1
    );
    assert_done(&run(
        folder,
        &["render", "outputs/ball-001/recipe.yaml", "--out", "again"],
    ));
    assert!(bytes(&path.join(IMAGE)) == bytes(&folder.join("again/ball-001").join(IMAGE)));
}

#[test]
fn a_chain_goes_on_where_it_was_killed() {
    let chain = format!(
        "{RECIPE_TEXT}generator:\n  - {{ kind: pyramid, steps: 5, size: [24, 24] }}\n  - {{ kind: pyramid, layers: 3, prompts: a blue ball }}\n"
    );
    let folder = folder(&chain);
    let folder = folder.path();
    assert_done(&run(folder, &["render", "ball.yaml", "--out", "whole"]));
    let killed = killed(folder, 9);
    assert_done(&run(folder, &["resume", "killed/ball-001"]));
    let whole = folder.join("whole/ball-001");
    assert_eq!(lines(&killed), 21);
    assert!(bytes(&killed.join(IMAGE)) == bytes(&whole.join(IMAGE)));
}

/// Killed a hundred times, at whatever it is doing: no file is ever half there, and every time the run goes on.
#[test]
fn no_kill_leaves_half_a_file() {
    let folder = folder(&RECIPE_TEXT.replace("steps: 16", "steps: 100000"));
    let folder = folder.path();
    let path = killed(folder, 2);
    let mut moment = 17u64;
    let mut least = 0;
    for kill in 0..100 {
        assert_whole(&path);
        let mut child = program(folder, &["resume", "killed/ball-001"])
            .spawn()
            .expect("the program");
        // once it paints, at any moment of a step
        let (start, before) = (Instant::now(), lines(&path));
        while lines(&path) == before && start.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(1));
        }
        moment = moment
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        std::thread::sleep(Duration::from_millis((moment >> 33) % 40));
        assert!(
            child.try_wait().expect("a status").is_none(),
            "kill {kill}: it had ended by itself"
        );
        child.kill().expect("a render to kill");
        child.wait().expect("its end");
        // at most the step at hand is lost
        let now = lines(&path);
        assert!(now >= least, "kill {kill}: {now} steps after {least}");
        least = now.saturating_sub(2);
    }
    assert_whole(&path);
}
