//! A display without a screen: keys that are pressed, pixels that are looked at.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use image::RgbImage;
use phantasia::draw::{Canvas, Color};
use phantasia::draw::{Fonts, Style, Weight};
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{AtomEnum, ClientMessageEvent, ConnectionExt, EventMask, PropMode};
use x11rb::wrapper::ConnectionExt as _;

/// Loading models and the first step, on a machine that does other things too.
pub const PATIENCE: Duration = Duration::from_secs(180);

pub fn has(tool: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(tool).is_file()))
}

/// A program that is ended with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An X server without a screen.
pub struct Display {
    pub name: String,
    pub _server: Running,
}

impl Display {
    pub fn start() -> Option<Self> {
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
    pub fn try_start() -> Option<Self> {
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

    pub fn xdotool(&self, arguments: &[&str]) -> Output {
        (Command::new("xdotool")
            .args(arguments)
            .env("DISPLAY", &self.name)
            .output())
        .expect("xdotool")
    }

    pub fn keys(&self, keys: &[&str]) {
        self.xdotool(&[&["key", "--delay", "40"], keys].concat());
        sleep(Duration::from_millis(200));
    }

    pub fn typed(&self, text: &str) {
        self.xdotool(&["type", "--delay", "25", text]);
        sleep(Duration::from_millis(200));
    }

    /// The program's window, with the keyboard's attention.
    pub fn window(&self, program: &mut Running) -> u32 {
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

    pub fn screenshot(&self, path: &Path) -> RgbImage {
        let status = Command::new("import")
            .args(["-window", "root"])
            .arg(path)
            .env("DISPLAY", &self.name)
            .status();
        assert!(status.expect("import").success());
        image::open(path).expect("a screenshot").into_rgb8()
    }

    /// What a window manager sends when the cross is clicked.
    pub fn close(&self, window: u32) {
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
    pub fn set_dpi(&self, dpi: u32) {
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

    pub fn phantasia(&self, arguments: &[&str], out: &Path) -> Running {
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
pub fn steps_done(run: &Path) -> usize {
    std::fs::read_to_string(run.join("metrics.jsonl"))
        .unwrap_or_default()
        .lines()
        .count()
}

pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited for {what} in vain");
        sleep(Duration::from_millis(100));
    }
}

pub fn recipe() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/first-light.yaml")
}

/// Whether a text stands somewhere in a screenshot, letter for letter and pixel for pixel, as a selected prompt does.
pub fn shows(screenshot: &RgbImage, text: &str) -> bool {
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
pub fn difference(
    a: &RgbImage,
    b: &RgbImage,
    (left, top, width, height): (u32, u32, u32, u32),
) -> f64 {
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
