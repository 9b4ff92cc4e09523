//! The real window on a display without a screen: keys are pressed, pixels compared, the window closed.
//!
//! Needs Xvfb, xdotool and ImageMagick, and says so where they are missing.
#![cfg(target_os = "linux")]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use super::display::{Display, Running, difference, recipe, shows, steps_done, wait_for};
use phantasia::Region;
use phantasia::recipe::Recipe;

/// `phantasia live` with more arguments: the program, its window, and its run folder.
fn live(display: &Display, out: &Path, more: &[&str]) -> (Running, u32, PathBuf) {
    let file = recipe();
    let arguments = ["live", file.to_str().expect("a path")];
    let mut program = display.phantasia(&[&arguments[..], more].concat(), out);
    let window = display.window(&mut program);
    (program, window, out.join("first-light-001"))
}

#[test]
fn a_prompt_typed_into_the_window_changes_the_picture_and_closing_it_saves() {
    const TEXT: &str = "a dark blue sea";
    let Some(display) = Display::start() else {
        return;
    };
    let out = tempfile::tempdir().expect("a folder");
    let file = recipe();
    let arguments = [
        "live",
        file.to_str().expect("a path"),
        "--steps",
        "5000",
        "--fade",
        "3",
        "--json",
    ];
    let mut program = display.phantasia(&arguments, out.path());
    let window = display.window(&mut program);
    let run = out.path().join("first-light-001");
    let metrics = || steps_done(&run);
    wait_for("some steps", || (metrics() >= 5).then_some(()));
    // the window is in the middle of the screen, the picture in its left part
    let picture = (320, 200, 300, 300);
    let before = display.screenshot(&out.path().join("before.png"));

    display.keys(&["Return", "ctrl+a"]);
    display.typed(TEXT);
    display.keys(&["Return"]);
    wait_for("the text in the window", || {
        let screenshot = display.screenshot(&out.path().join("editing.png"));
        shows(&screenshot, TEXT).then_some(())
    });
    let edit = wait_for("the edit in the timeline", || {
        let recipe = Recipe::load(&run.join("recipe.yaml")).ok()?;
        recipe.timeline.into_iter().find(|edit| {
            (edit.prompts.iter().flatten()).any(|prompt| prompt.text.as_deref() == Some(TEXT))
        })
    });
    let then = metrics();
    wait_for("steps after the edit", || {
        (metrics() >= then + 25).then_some(())
    });
    let after = display.screenshot(&out.path().join("after.png"));
    let changed = difference(&before, &after, picture);
    assert!(changed > 3.0, "the picture changed by {changed} levels");

    display.close(window);
    let status = program.0.wait().expect("an end");
    let mut said = String::new();
    (program.0.stderr.take().expect("its words"))
        .read_to_string(&mut said)
        .expect("text");
    assert_eq!(status.code(), Some(0), "{said}");

    // everything that is left is whole
    let steps = metrics();
    assert!(
        edit.step < steps && steps < 5000,
        "{} of {steps}",
        edit.step
    );
    let lines = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    for line in lines.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("a whole line");
    }
    image::open(run.join("image.png")).expect("a whole picture");
    Recipe::load(&run.join("recipe.yaml")).expect("a whole recipe");
    assert!(
        run.join("checkpoint.safetensors")
            .metadata()
            .expect("a checkpoint")
            .len()
            > 0
    );
    let leftovers: Vec<_> = (std::fs::read_dir(&run).expect("the run"))
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with('.') || name.ends_with(".tmp"))
        .collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}

#[test]
fn a_region_drawn_on_the_picture_is_an_edit_that_can_be_undone() {
    let Some(display) = Display::start() else {
        return;
    };
    let out = tempfile::tempdir().expect("a folder");
    let (mut program, window, run) = live(&display, out.path(), &["--steps", "5000"]);
    wait_for("some steps", || (steps_done(&run) >= 3).then_some(()));
    let regions = || {
        let timeline = Recipe::load(&run.join("recipe.yaml")).ok()?.timeline;
        let prompts = timeline.into_iter().filter_map(|edit| edit.prompts);
        Some(Vec::from_iter(
            prompts.map(|prompts| prompts[0].region.clone()),
        ))
    };
    let mouse = |words: &[&str]| assert!(display.xdotool(words).status.success());
    let window_id = window.to_string();
    let at = |x: &'static str, y: &'static str| ["mousemove", "--window", &window_id, x, y];
    // without the key nothing is drawn
    mouse(&[&at("100", "200")[..], &["mousedown", "1"]].concat());
    mouse(&[&at("300", "400")[..], &["mouseup", "1"]].concat());
    // a drag between two frames, and one that ends beside the picture
    display.keys(&["g"]);
    mouse(
        &[
            &at("100", "200")[..],
            &["mousedown", "1"],
            &at("300", "400")[..],
            &["mouseup", "1"],
        ]
        .concat(),
    );
    let drawn = wait_for("a region", || regions().filter(|all| !all.is_empty()));
    let [Some(Region::Rectangle([left, top, width, height]))] = drawn[..] else {
        panic!("{drawn:?}");
    };
    // 200 pixels each way, of a square picture of about 650
    assert!(
        (0.05..0.25).contains(&left) && (0.1..0.4).contains(&top),
        "{drawn:?}"
    );
    assert!(
        (0.25..0.4).contains(&width) && (width - height).abs() < 0.005,
        "{drawn:?}"
    );
    display.keys(&["g"]);
    mouse(&[&at("350", "350")[..], &["mousedown", "1"]].concat());
    mouse(&at("500", "500"));
    mouse(&["mousemove_relative", "--", "-800", "500", "mouseup", "1"]);
    let drawn = wait_for("another region", || regions().filter(|all| all.len() == 2));
    let Some(Region::Rectangle([left, top, _, height])) = drawn[1] else {
        panic!("{drawn:?}");
    };
    assert!(
        left == 0.0 && (top + height - 1.0).abs() < 1e-9,
        "{drawn:?}"
    );
    display.keys(&["z"]);
    wait_for("the region before it", || {
        regions().filter(|all| all.len() == 3 && all[2] == all[0])
    });
    display.close(window);
    assert_eq!(program.0.wait().expect("an end").code(), Some(0));
}

#[test]
fn a_click_damages_a_growing_pattern_and_it_heals() {
    const MOSS: &str = "prompts: [green moss]\nsize: [64, 64]\nsteps: 4\n\
                        generator: { kind: cellular, iterations: [8, 12], lr: 0.02 }\n";
    let Some(display) = Display::start() else {
        return;
    };
    let out = tempfile::tempdir().expect("a folder");
    let file = out.path().join("moss.yaml");
    std::fs::write(&file, MOSS).expect("a file");
    let arguments = [
        "render",
        file.to_str().expect("a path"),
        "--preview",
        "none",
    ];
    let mut program = display.phantasia(&arguments, out.path());
    assert!(program.0.wait().expect("an end").success());
    let run = out.path().join("moss-001");
    let arguments = [
        "grow",
        run.to_str().expect("a path"),
        "--live",
        "--size",
        "64x64",
    ];
    let mut program = display.phantasia(&arguments, out.path());
    let window = display.window(&mut program);
    let grown = out.path().join("moss-grown-001");
    let shot = |name: &str| display.screenshot(&out.path().join(name));
    sleep(Duration::from_secs(2));
    display.keys(&["space"]);
    sleep(Duration::from_millis(300));
    let before = shot("before.png");
    display.xdotool(&["mousemove", "--window", &window.to_string(), "360", "360"]);
    sleep(Duration::from_millis(300));
    // the middle of the screen, and with it that of the window
    let (middle, corner) = ((610, 350, 60, 60), (320, 70, 60, 60));
    // once, and without holding the button
    display.xdotool(&["mousedown", "1", "mouseup", "1"]);
    let damaged = wait_for("the damage", || {
        let damaged = shot("damaged.png");
        (difference(&before, &damaged, middle) > 3.0).then_some(damaged)
    });
    assert_eq!(difference(&before, &damaged, corner), 0.0);
    display.keys(&["s"]);
    wait_for("a snapshot", || {
        let files = std::fs::read_dir(grown.join("snapshots")).ok()?;
        let file = (files.flatten())
            .find(|file| !file.file_name().as_encoded_bytes().starts_with(b"."))?;
        image::open(file.path()).ok()
    });
    display.keys(&["space"]);
    wait_for("healing", || {
        let now = shot("healed.png");
        (difference(&damaged, &now, middle) > 3.0).then_some(())
    });
    display.close(window);
    assert_eq!(program.0.wait().expect("an end").code(), Some(0));
    image::open(grown.join("image.png")).expect("a whole picture");
}

#[test]
fn the_window_pauses_and_stops_by_its_keys_on_a_fine_display() {
    let Some(display) = Display::start() else {
        return;
    };
    display.set_dpi(192);
    let out = tempfile::tempdir().expect("a folder");
    let (mut program, _, run) = live(&display, out.path(), &["--steps", "5000"]);
    let metrics = || steps_done(&run);
    wait_for("some steps", || (metrics() >= 3).then_some(()));
    display.keys(&["space", "s"]);
    let _snapshot = wait_for("a snapshot", || {
        let mut files = std::fs::read_dir(run.join("snapshots")).ok()?;
        files.next()
    });
    let paused = metrics();
    sleep(Duration::from_secs(2));
    assert_eq!(metrics(), paused, "it waits while it is paused");
    display.keys(&["q"]);
    let status = program.0.wait().expect("an end");
    assert_eq!(status.code(), Some(0));
    image::open(run.join("image.png")).expect("a whole picture");
}

#[test]
fn pictures_continue_after_a_message_and_short_clicks_are_registered() {
    let Some(display) = Display::start() else {
        return;
    };
    let out = tempfile::tempdir().expect("a folder");
    let (mut program, window, run) = live(&display, out.path(), &["--steps", "5000"]);
    let metrics = || steps_done(&run);
    let shot = |name: &str| display.screenshot(&out.path().join(name));
    wait_for("some steps", || (metrics() >= 3).then_some(()));
    display.keys(&["s"]);
    let _snapshot = wait_for("a snapshot", || {
        std::fs::read_dir(run.join("snapshots")).ok()?.next()
    });
    // the message's eight seconds are over then
    sleep(Duration::from_secs(10));
    for round in 0..2 {
        let before = shot("before.png");
        let step = metrics();
        wait_for("steps after the message", || {
            (metrics() >= step + 20).then_some(())
        });
        sleep(Duration::from_secs(2));
        let changed = difference(&before, &shot("after.png"), (320, 200, 300, 300));
        assert!(changed > 0.0, "the picture stands still in round {round}");
    }
    // the first prompt is edited once it is clicked, by a frame of this colour
    let is_edited = || {
        let shot = shot("edited.png");
        shot.enumerate_pixels()
            .filter(|(x, _, pixel)| *x > 820 && pixel.0 == [0xe0, 0xa9, 0x5c])
            .count()
            > 800
    };
    let at = display.xdotool(&["mousemove", "--window", &window.to_string(), "800", "300"]);
    assert!(at.status.success());
    sleep(Duration::from_millis(300));
    for _ in 0..5 {
        display.xdotool(&["mousedown", "1", "mouseup", "1"]);
        sleep(Duration::from_millis(700));
        assert!(is_edited(), "the click was missed");
        display.keys(&["Escape"]);
        sleep(Duration::from_millis(500));
        assert!(!is_edited());
    }
    display.close(window);
    assert_eq!(program.0.wait().expect("an end").code(), Some(0));
}

#[test]
fn an_edit_at_the_end_continues_painting() {
    const TEXT: &str = "a dark blue sea";
    // of the recipe's diffusion model, which paints before the pyramid's six
    const START: usize = 16;
    let Some(display) = Display::start() else {
        return;
    };
    let out = tempfile::tempdir().expect("a folder");
    let more = ["--steps", "6", "--fade", "2", "--extend", "5"];
    let (mut program, window, run) = live(&display, out.path(), &more);
    let steps = |wanted: usize| {
        wait_for("steps", || {
            (steps_done(&run) == wanted && run.join("image.png").is_file()).then_some(())
        });
    };
    steps(START + 6);
    sleep(Duration::from_secs(2));
    display.keys(&["Return", "ctrl+a"]);
    display.typed(TEXT);
    display.keys(&["Return"]);
    steps(START + 13);
    // and it is done again
    sleep(Duration::from_secs(3));
    steps(START + 13);
    display.close(window);
    assert_eq!(program.0.wait().expect("an end").code(), Some(0));
    let recipe = Recipe::load(&run.join("recipe.yaml")).expect("a recipe");
    let texts = recipe
        .timeline
        .iter()
        .flat_map(|edit| edit.prompts.iter().flatten());
    assert!(
        texts
            .into_iter()
            .any(|prompt| prompt.text.as_deref() == Some(TEXT))
    );
}

#[test]
fn live_without_a_display_says_what_to_do() {
    let out = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_phantasia"))
        .arg("live")
        .arg(recipe())
        .arg("--out")
        .arg(out.path())
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .output()
        .expect("the program");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--preview terminal"), "{said}");
    assert_eq!(
        std::fs::read_dir(out.path()).expect("the folder").count(),
        0
    );
}

#[test]
fn live_on_a_display_that_does_not_answer_leaves_nothing_behind() {
    let out = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_phantasia"))
        .arg("live")
        .arg(recipe())
        .arg("--out")
        .arg(out.path().join("runs"))
        // far from any that is in use
        .env("DISPLAY", ":4711")
        .env_remove("WAYLAND_DISPLAY")
        .output()
        .expect("the program");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains(":4711") && said.contains("--preview terminal"),
        "{said}"
    );
    assert!(!out.path().join("runs").exists());
}

#[test]
fn live_refuses_candidates_and_leaves_nothing_behind() {
    let out = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_phantasia"))
        .arg("live")
        .arg(recipe())
        .args(["--candidates", "2", "--out"])
        .arg(out.path().join("runs"))
        .output()
        .expect("the program");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("phantasia render --candidates"), "{said}");
    assert!(!out.path().join("runs").exists());
}
