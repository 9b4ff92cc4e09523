//! The window's pixels, held against pictures of them. `PHANTASIA_REWRITE=1 cargo test --test preview` makes the pictures anew: look at
//! them before you commit them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use image::{Rgb, RgbImage};
use phantasia::live::{Message, Severity, View};
use phantasia::preview::canvas::Canvas;
use phantasia::preview::paint::Painter;
use phantasia::preview::panel::{Held, Input, Key, Panel, Shortcut, Target};
use phantasia::preview::sample;

/// Levels by which a channel may differ: another machine's rounding.
const TOLERANCE: u8 = 1;

fn picture(canvas: &Canvas) -> RgbImage {
    RgbImage::from_fn(canvas.width() as u32, canvas.height() as u32, |x, y| {
        let [_, rgb @ ..] = canvas.pixels()[y as usize * canvas.width() + x as usize].to_be_bytes();
        Rgb(rgb)
    })
}

fn compare(name: &str, painted: &RgbImage) {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/preview", name]
        .iter()
        .collect();
    let path = path.with_extension("png");
    if std::env::var_os("PHANTASIA_REWRITE").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        return painted.save(&path).expect("a file");
    }
    let expected = image::open(&path)
        .expect("the picture to compare with")
        .into_rgb8();
    assert_eq!(painted.dimensions(), expected.dimensions());
    let far = (painted.as_raw().iter().zip(expected.as_raw()))
        .filter(|(a, b)| a.abs_diff(**b) > TOLERANCE)
        .count();
    if far > 0 {
        let beside = std::env::temp_dir().join(format!("phantasia-{name}.png"));
        painted.save(&beside).expect("a file");
        panic!(
            "{far} values of {name} differ; what was painted is {}",
            beside.display()
        );
    }
}

struct Scene {
    panel: Panel,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        Self {
            panel: sample::panel(),
            now: Instant::now(),
        }
    }

    fn with(mut self, input: Input) -> Self {
        self.panel.input(&input, self.now);
        self
    }

    fn key(self, key: Key) -> Self {
        self.with(Input::Key(key, Held::default()))
    }

    fn typed(self, text: &str) -> Self {
        text.chars()
            .fold(self, |scene, c| scene.with(Input::Char(c)))
    }

    fn paint(&mut self, size: (usize, usize), scale: f32) -> RgbImage {
        let mut painter = Painter::new().expect("a painter");
        picture(painter.paint(&mut self.panel, size, scale, self.now))
    }

    fn compare(mut self, name: &str, size: (usize, usize), scale: f32) {
        compare(name, &self.paint(size, scale));
    }
}

#[test]
fn a_render_that_runs() {
    Scene::new().compare("running", (820, 560), 1.0);
}

#[test]
fn a_prompt_in_an_edit_with_a_selection() {
    Scene::new()
        .key(Key::Tab)
        .key(Key::Enter)
        .typed(" über der Stadt e\u{301} 東京")
        .with(Input::Key(
            Key::Left,
            Held {
                shift: true,
                ctrl: true,
            },
        ))
        .with(Input::Key(
            Key::Left,
            Held {
                shift: true,
                ctrl: true,
            },
        ))
        .compare("editing", (820, 560), 1.0);
}

#[test]
fn the_help() {
    Scene::new().typed(" h").compare("help", (820, 560), 1.0);
}

#[test]
fn a_high_window() {
    Scene::new().compare("high", (480, 760), 1.0);
}

#[test]
fn a_fine_display() {
    Scene::new().compare("fine", (1240, 900), 1.75);
}

#[test]
fn a_small_window() {
    Scene::new().compare("small", (220, 160), 1.0);
}

#[test]
fn the_end_with_cutouts_and_a_message() {
    let mut scene = Scene::new();
    let mut frame = sample::frame(200);
    frame.view = View::Cutouts;
    frame.message = Some(Message {
        number: 1,
        severity: Severity::Info,
        text: "finished; saved outputs/sunset-001/image.png".to_owned(),
    });
    scene.panel.show(frame, scene.now);
    scene.compare("end", (820, 560), 1.0);
}

#[test]
fn before_the_first_frame() {
    let mut scene = Scene {
        panel: Panel::new(),
        ..Scene::new()
    };
    let painted = scene.paint((820, 560), 1.0);
    assert!(painted.pixels().any(|pixel| pixel.0[0] > 0x60));
}

#[test]
fn the_caret_moves_with_the_typing() {
    let mut scene = Scene::new().key(Key::Enter);
    let before = scene.paint((820, 560), 1.0);
    let mut scene = scene.with(Input::Key(Key::Home, Held::default()));
    assert_ne!(before, scene.paint((820, 560), 1.0));
}

#[test]
fn a_click_on_a_letter_puts_the_caret_there() {
    let mut scene = Scene::new();
    let mut painter = Painter::new().expect("a painter");
    painter.paint(&mut scene.panel, (1040, 680), 1.0, scene.now);
    // on every pixel of the window something is, and a prompt's offset is within its text
    let mut offsets = std::collections::BTreeSet::new();
    for y in 0..680 {
        for x in 692..1040 {
            if let Target::Prompt(row, offset) = painter.target(&scene.panel, x, y) {
                let text = scene.panel.rows()[row]
                    .prompt
                    .text
                    .clone()
                    .unwrap_or_default();
                assert!(text.is_char_boundary(offset));
                if row == 0 {
                    offsets.insert(offset);
                }
            }
        }
    }
    // both lines of the long one can be reached, letter by letter
    assert!(offsets.len() > 40, "{offsets:?}");
}

#[test]
fn a_long_text_is_painted_at_any_size() {
    let mut scene = Scene::new()
        .key(Key::Enter)
        .with(Input::Pasted("wide ".repeat(900)))
        .with(Input::Shortcut(Shortcut::SelectAll));
    let start = Instant::now();
    for size in [
        (0, 0),
        (1, 1),
        (379, 280),
        (400, 300),
        (700, 300),
        (1900, 400),
    ] {
        for scale in [0.5, 1.0, 3.0] {
            scene.paint(size, scale);
        }
    }
    assert!(start.elapsed() < Duration::from_secs(60));
}
