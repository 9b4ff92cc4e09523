//! The real window on a display without a screen: keys are pressed, pixels compared, the window closed.
//!
//! Needs Xvfb, xdotool and ImageMagick, and says so where they are missing.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use image::RgbImage;
use phantasia::draw::{Canvas, Color};
use phantasia::draw::{Fonts, Style, Weight};
use phantasia::recipe::Recipe;
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{AtomEnum, ClientMessageEvent, ConnectionExt, EventMask, PropMode};
use x11rb::wrapper::ConnectionExt as _;

/// Loading models and the first step, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(180);

fn has(tool: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(tool).is_file()))
}

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An X server without a screen.
struct Display {
    name: String,
    _server: Running,
}

impl Display {
    fn start() -> Option<Self> {
        if let Some(missing) = ["Xvfb", "xdotool", "import"]
            .into_iter()
            .find(|tool| !has(tool))
        {
            eprintln!("skipped: {missing} is not installed");
            assert!(
                std::env::var_os("CI").is_none(),
                "CI must run this: install {missing}"
            );
            return None;
        }
        // two that start at once may choose the same number, and one of them ends
        let stays = (0..5).find_map(|_| Self::try_start());
        Some(stays.expect("an X server that stays"))
    }

    /// One whose display can be opened, and that is still there then.
    fn try_start() -> Option<Self> {
        // it chooses a number that is free, and tells it once it is ready
        let mut server = Command::new("Xvfb")
            .args([
                "-displayfd",
                "1",
                "-screen",
                "0",
                "1280x800x24",
                "-nolisten",
                "tcp",
                // it would start anew whenever its last client leaves, and refuse others meanwhile
                "-noreset",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("an X server");
        let mut number = String::new();
        let out = server.stdout.take().expect("its output");
        let mut server = Running(server);
        BufReader::new(out).read_line(&mut number).ok()?;
        let name = format!(":{}", number.trim());
        x11rb::connect(Some(&name)).ok()?;
        sleep(Duration::from_millis(200));
        let ended = server.0.try_wait().expect("its state");
        ended.is_none().then_some(Self {
            name,
            _server: server,
        })
    }

    fn xdotool(&self, arguments: &[&str]) -> Output {
        (Command::new("xdotool")
            .args(arguments)
            .env("DISPLAY", &self.name)
            .output())
        .expect("xdotool")
    }

    fn keys(&self, keys: &[&str]) {
        self.xdotool(&[&["key", "--delay", "40"], keys].concat());
        sleep(Duration::from_millis(200));
    }

    fn typed(&self, text: &str) {
        self.xdotool(&["type", "--delay", "25", text]);
        sleep(Duration::from_millis(200));
    }

    /// The program's window, with the keyboard's attention.
    fn window(&self, program: &mut Running) -> u32 {
        let mut window = None;
        wait_for("the window", || {
            if let Some(status) = program.0.try_wait().expect("its state") {
                let mut said = String::new();
                let errors = program.0.stderr.as_mut().expect("its errors");
                errors.read_to_string(&mut said).expect("its errors");
                panic!("the program ended without a window, {status}: {said}");
            }
            let found = self.xdotool(&["search", "--onlyvisible", "--name", "Phantasia"]);
            window = String::from_utf8_lossy(&found.stdout)
                .lines()
                .next()?
                .parse()
                .ok();
            window.map(|_| ())
        });
        let window: u32 = window.expect("a window");
        // there is no window manager that would
        self.xdotool(&["windowfocus", "--sync", &window.to_string()]);
        window
    }

    fn screenshot(&self, path: &Path) -> RgbImage {
        let status = Command::new("import")
            .args(["-window", "root"])
            .arg(path)
            .env("DISPLAY", &self.name)
            .status();
        assert!(status.expect("import").success());
        image::open(path).expect("a screenshot").into_rgb8()
    }

    /// What a window manager sends when the cross is clicked.
    fn close(&self, window: u32) {
        let (connection, _) = x11rb::connect(Some(&self.name)).expect("a connection");
        let atom = |name: &str| {
            (connection.intern_atom(false, name.as_bytes()))
                .expect("a request")
                .reply()
                .expect("an atom")
                .atom
        };
        let data = [atom("WM_DELETE_WINDOW"), 0, 0, 0, 0];
        let event = ClientMessageEvent::new(32, window, atom("WM_PROTOCOLS"), data);
        (connection.send_event(false, window, EventMask::NO_EVENT, event)).expect("an event");
        connection.flush().expect("a connection");
        connection.sync().expect("a connection");
    }

    /// What a desktop of this resolution tells programs.
    fn set_dpi(&self, dpi: u32) {
        let (connection, screen) = x11rb::connect(Some(&self.name)).expect("a connection");
        let root = connection.setup().roots[screen].root;
        let resources = format!("Xft.dpi:\t{dpi}\n");
        connection
            .change_property8(
                PropMode::REPLACE,
                root,
                AtomEnum::RESOURCE_MANAGER,
                AtomEnum::STRING,
                resources.as_bytes(),
            )
            .expect("a property");
        connection.sync().expect("a connection");
    }

    fn phantasia(&self, arguments: &[&str], out: &Path) -> Running {
        let program = Command::new(env!("CARGO_BIN_EXE_phantasia"))
            .args(arguments)
            .arg("--out")
            .arg(out)
            .env("DISPLAY", &self.name)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Running(program.expect("the program"))
    }
}

/// How many steps a run has made so far.
fn steps_done(run: &Path) -> usize {
    std::fs::read_to_string(run.join("metrics.jsonl"))
        .unwrap_or_default()
        .lines()
        .count()
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited for {what} in vain");
        sleep(Duration::from_millis(100));
    }
}

fn recipe() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/first-light.yaml")
}

/// Whether a text stands somewhere in a screenshot, letter for letter and pixel for pixel, as a selected prompt does.
fn shows(screenshot: &RgbImage, text: &str) -> bool {
    let style = Style {
        size: 15.0,
        weight: Weight::Regular,
    };
    let mut fonts = Fonts::embedded().expect("the fonts");
    let (ground, ink) = (Color::rgb(0x27, 0x2a, 0x2f), Color::rgb(0xe8, 0xe6, 0xe1));
    let width = fonts.width(text, style).ceil() as usize;
    let mut canvas = Canvas::new(width, 20, ground);
    let clip = canvas.bounds();
    fonts.draw(&mut canvas, (0.0, 15.0), text, style, ink, clip);
    let expected = |x: usize, y: usize| {
        let [_, rgb @ ..] = canvas.pixels()[y * width + x].to_be_bytes();
        rgb
    };
    let (wide, high) = (screenshot.width() as usize, screenshot.height() as usize);
    (0..high.saturating_sub(20)).any(|top| {
        (0..wide.saturating_sub(width)).any(|left| {
            (0..20).all(|y| {
                (0..width).all(|x| {
                    screenshot.get_pixel((left + x) as u32, (top + y) as u32).0 == expected(x, y)
                })
            })
        })
    })
}

/// The mean difference of a part of two screenshots, in levels.
fn difference(a: &RgbImage, b: &RgbImage, (left, top, width, height): (u32, u32, u32, u32)) -> f64 {
    let mut sum = 0.0;
    for y in top..top + height {
        for x in left..left + width {
            for (a, b) in a.get_pixel(x, y).0.into_iter().zip(b.get_pixel(x, y).0) {
                sum += f64::from(a.abs_diff(b));
            }
        }
    }
    sum / f64::from(width * height * 3)
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
    let file = recipe();
    let arguments = ["live", file.to_str().expect("a path"), "--steps", "5000"];
    let mut program = display.phantasia(&arguments, out.path());
    display.window(&mut program);
    let run = out.path().join("first-light-001");
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
    let file = recipe();
    let arguments = ["live", file.to_str().expect("a path"), "--steps", "5000"];
    let mut program = display.phantasia(&arguments, out.path());
    let window = display.window(&mut program);
    let run = out.path().join("first-light-001");
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
    let Some(display) = Display::start() else {
        return;
    };
    let out = tempfile::tempdir().expect("a folder");
    let file = recipe();
    let arguments = ["live", file.to_str().expect("a path"), "--steps", "6"];
    let more = ["--fade", "2", "--extend", "5"];
    let mut program = display.phantasia(&[&arguments[..], &more].concat(), out.path());
    let window = display.window(&mut program);
    let run = out.path().join("first-light-001");
    let steps = |wanted: usize| {
        wait_for("steps", || {
            (steps_done(&run) == wanted && run.join("image.png").is_file()).then_some(())
        });
    };
    steps(6);
    sleep(Duration::from_secs(2));
    display.keys(&["Return", "ctrl+a"]);
    display.typed(TEXT);
    display.keys(&["Return"]);
    steps(13);
    // and it is done again
    sleep(Duration::from_secs(3));
    steps(13);
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
