//! The window's pixels, compared with pictures of them. `PHANTASIA_REWRITE=1 cargo test --lib ui::paint` makes the pictures anew: look at
//! them before you commit them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use image::RgbImage;

use super::super::layout::growth;
use super::super::panel::{Input, Key, Modifiers, Panel, Shortcut, Target};
use super::super::tests as sample;
use super::Painter;
use crate::live::{Frame, Message, PromptStatus, Severity, View};
use crate::recipe::Prompt;
use crate::{NamedRegion, Region};

/// Levels by which a channel may differ: another machine's rounding.
const TOLERANCE: u8 = 1;

fn compare(name: &str, painted: &RgbImage) {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/ui", name]
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
        let painted_path = std::env::temp_dir().join(format!("phantasia-{name}.png"));
        painted.save(&painted_path).expect("a file");
        panic!(
            "{far} values of {name} differ; what was painted is {}",
            painted_path.display()
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
        self.with(Input::Key(key, Modifiers::default()))
    }

    fn typed(self, text: &str) -> Self {
        text.chars()
            .fold(self, |scene, c| scene.with(Input::Char(c)))
    }

    fn paint(&mut self, size: (usize, usize), scale: f32) -> RgbImage {
        let mut painter = Painter::new().expect("a painter");
        painter.paint(&mut self.panel, size, scale, self.now);
        painter.canvas().to_picture()
    }

    fn compare(mut self, name: &str, size: (usize, usize), scale: f32) {
        compare(name, &self.paint(size, scale));
    }
}

fn message(severity: Severity, text: &str) -> Option<Message> {
    Some(Message {
        number: 1,
        severity,
        text: text.to_owned(),
    })
}

/// A frame with other prompts.
fn frame_of(step: usize, texts: &[&str]) -> Frame {
    let mut frame = sample::frame(step);
    frame.prompts = (texts.iter().zip(0..))
        .map(|(text, index)| PromptStatus {
            prompt: Prompt::new(text),
            weight: 1.0,
            similarity: 0.31 - 0.04 * f64::from(index),
        })
        .collect();
    frame
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
            Modifiers {
                shift: true,
                ctrl: true,
            },
        ))
        .with(Input::Key(
            Key::Left,
            Modifiers {
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

/// Three prompts, each with a region of another kind.
fn with_regions(mut scene: Scene) -> Scene {
    let mut frame = sample::frame(58);
    let regions = [
        Region::Rectangle([0.05, 0.4, 0.6, 0.5]),
        Region::Named(NamedRegion::Top),
        Region::Image("masks/lake.png".into()),
    ];
    for (status, region) in frame.prompts.iter_mut().zip(regions) {
        status.prompt.region = Some(region);
    }
    scene.panel.show(frame, scene.now);
    scene
}

#[test]
fn regions_are_outlined_and_named() {
    with_regions(Scene::new()).compare("regions", (820, 560), 1.0);
    let size = (320, 240);
    with_regions(Scene::new()).compare("small-regions", size, growth(size, 1.0));
}

#[test]
fn a_region_that_is_being_drawn() {
    let press = |at| Input::Click {
        target: Target::Picture(at),
        shift: false,
        double: false,
    };
    let (begin, drag) = (press([0.3, 0.2]), Input::Drag(Target::Picture([0.9, 0.55])));
    let scene = with_regions(Scene::new()).typed("g");
    scene.compare("drawing", (820, 560), 1.0);
    let scene = with_regions(Scene::new()).typed("g").with(begin).with(drag);
    scene.compare("drawn", (820, 560), 1.0);
}

#[test]
fn outlines_show_only_with_a_region() {
    let paint = |scene: &mut Scene| scene.paint((820, 560), 1.0);
    let mut frame = sample::frame(58);
    frame.prompts[1].prompt.region = Some(Region::Named(NamedRegion::Left));
    let mut scene = Scene::new();
    scene.panel.show(frame, scene.now);
    let picture =
        |painted: RgbImage| image::imageops::crop_imm(&painted, 0, 0, 472, 560).to_image();
    let plain = picture(Scene::new().paint((820, 560), 1.0));
    assert_eq!(
        picture(paint(&mut scene)),
        plain,
        "another prompt is selected"
    );
    let mut scene = scene.key(Key::Tab);
    assert_ne!(picture(paint(&mut scene)), plain);
}

#[test]
fn a_place_on_the_picture_is_a_share_of_it_at_any_size() {
    for (width, height) in [(110, 80), (320, 240), (820, 560), (480, 760), (1920, 1080)] {
        for scale in [0.9, 1.0, 2.0] {
            let mut scene = Scene::new();
            let mut painter = Painter::new().expect("a painter");
            painter.paint(&mut scene.panel, (width, height), scale, scene.now);
            let (mut inside, mut corners) = (0, [[f64::MAX; 2], [f64::MIN; 2]]);
            for y in 0..height as i32 {
                for x in 0..width as i32 {
                    let Target::Picture(at) = painter.target(&scene.panel, (x, y)) else {
                        continue;
                    };
                    // what is under the pointer is what is painted there
                    inside += usize::from(at.iter().all(|share| (0.0..1.0).contains(share)));
                    for axis in 0..2 {
                        corners[0][axis] = at[axis].min(corners[0][axis]);
                        corners[1][axis] = at[axis].max(corners[1][axis]);
                    }
                }
            }
            let (place, _) = painter.picture.as_ref().expect("a picture");
            let (wide, high) = (place.width as usize, place.height as usize);
            assert_eq!(inside, wide * high, "{width} x {height}, {scale}");
            let [[left, top], [right, bottom]] = corners;
            assert!(left <= 0.0 && top <= 0.0, "{corners:?}");
            assert!(right >= 1.0 - 1.0 / wide as f64, "{corners:?}");
            assert!(bottom >= 1.0 - 1.0 / high as f64, "{corners:?}");
        }
    }
}

#[test]
fn a_high_window() {
    Scene::new().compare("high", (480, 760), 1.0);
}

#[test]
fn a_fine_display() {
    let size = (1240, 900);
    Scene::new().compare("fine", size, 1.75 * growth(size, 1.75));
}

#[test]
fn small_windows() {
    for (name, size) in [
        ("small", (320, 240)),
        ("smaller", (220, 160)),
        ("wide-and-small", (480, 240)),
    ] {
        Scene::new().compare(name, size, growth(size, 1.0));
    }
}

#[test]
fn a_large_window_has_larger_letters() {
    let size = (1920, 1080);
    Scene::new().compare("large", size, growth(size, 1.0));
}

#[test]
fn the_help_in_a_small_window() {
    let size = (320, 240);
    (Scene::new().typed("h")).compare("small-help", size, growth(size, 1.0));
}

#[test]
fn an_edit_and_a_message_in_a_small_window() {
    let size = (320, 240);
    let mut scene = Scene::new().key(Key::Enter).typed(", a long evening");
    let text = "the prompt \"\" has no text: nothing is left of it";
    scene.panel.notify(text, Severity::Error, scene.now);
    scene.compare("small-editing", size, growth(size, 1.0));
}

#[test]
fn prompts_that_begin_alike_and_what_went_wrong() {
    let mut scene = Scene::new();
    let mut frame = frame_of(
        58,
        &[
            "an oil painting of a lighthouse at dusk by the northern sea, thick brush strokes",
            "an oil painting of a lighthouse at dusk by the southern sea, thick brush strokes",
            "an oil painting of a sailing ship at dusk by the southern sea, thick brush strokes",
            "übermäßig süße Äpfel 🍎🍏 東京",
        ],
    );
    frame.message = message(
        Severity::Error,
        "prompts[1]: the image style.png cannot be read: No such file or directory (os error 2)",
    );
    scene.panel.show(frame, scene.now);
    let later = "saved outputs/sunset-001/snapshots/000058.png";
    scene.panel.notify(later, Severity::Info, scene.now);
    scene.compare("alike", (820, 600), 1.0);
}

#[test]
fn the_end_says_what_an_edit_does() {
    let mut scene = Scene::new();
    scene.panel.show(sample::frame(200), scene.now);
    let end = scene.paint((820, 560), 1.0);
    let mut frame = sample::frame(200);
    frame.extension = None;
    scene.panel.show(frame, scene.now);
    assert_ne!(end, scene.paint((820, 560), 1.0));
    scene.panel.show(sample::frame(200), scene.now);
    scene.compare("end-quiet", (820, 560), 1.0);
}

#[test]
fn a_bar_s_length_is_its_own_similarity_alone() {
    // the bar of the first prompt, in orange, whatever the others are
    let orange = |similarities: [f64; 2]| {
        let mut scene = Scene::new();
        let mut frame = frame_of(58, &["a cat", "a dog"]);
        for (status, similarity) in frame.prompts.iter_mut().zip(similarities) {
            status.similarity = similarity;
        }
        scene.panel.show(frame, scene.now);
        let painted = scene.paint((820, 560), 1.0);
        // below the heading, to the first row's end
        (200..320)
            .map(|y| {
                let row = (472..820).map(|x| painted.get_pixel(x, y).0);
                row.filter(|pixel| *pixel == [0xe0, 0xa9, 0x5c]).count()
            })
            .max()
            .unwrap_or(0)
    };
    let length = orange([0.3, 0.2]);
    assert!(length > 40, "{length}");
    assert_eq!(orange([0.3, 0.9]), length);
    assert!(orange([0.6, 0.2]).abs_diff(2 * length) < 8);
}

#[test]
fn the_end_with_cutouts_and_a_message() {
    let mut scene = Scene::new();
    let mut frame = sample::frame(200);
    frame.view = View::Cutouts;
    frame.message = message(
        Severity::Info,
        "finished; saved outputs/sunset-001/image.png",
    );
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
    let mut scene = scene.with(Input::Key(Key::Home, Modifiers::default()));
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
            if let Target::Prompt(row, offset) = painter.target(&scene.panel, (x, y)) {
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
