//! The state of a render, to test with.

use std::time::Instant;

use image::{Rgb, RgbImage};

use crate::live::{Frame, PromptStatus, View};
use crate::recipe::{Prompt, Schedule};

use super::panel::Panel;

/// A frame at a step of 200, of a sky over a field with a sun.
pub(super) fn frame(step: usize) -> Frame {
    let image = RgbImage::from_fn(96, 96, |x, y| {
        let (dx, dy) = (x as f32 - 62.0, y as f32 - 40.0);
        Rgb(if dx * dx + dy * dy < 180.0 {
            [250, 214, 120]
        } else if y > 62 {
            [(40 + y / 2) as u8, 80, 52]
        } else {
            [(230 - 2 * y) as u8, (120 + y / 2) as u8, (90 + y) as u8]
        })
    });
    let prompt = |text: &str, weight: f64, similarity: f64| PromptStatus {
        prompt: Prompt {
            weight: Schedule::from(weight),
            ..Prompt::new(text)
        },
        weight,
        similarity,
    };
    Frame {
        image,
        view: View::Image,
        step,
        steps: 200,
        loss: 0.95 - 0.4 * (step as f64 / 200.0).sqrt(),
        prompts: vec![
            prompt("an oil painting of a sunset over wheat fields", 1.0, 0.287),
            prompt("ein schöner Abend – вечер", 0.5, 0.214),
            prompt("text, watermark, blurry", -0.3, 0.093),
        ],
        plan: Default::default(),
        steps_per_second: 4.2,
        eta: (200 - step.min(200)) as f64 / 4.2,
        device: "cpu".to_owned(),
        learning_rate: 1.0,
        fade: 10,
        paused: false,
        finished: step >= 200,
        extension: (step >= 200).then_some(60),
        message: None,
    }
}

/// A panel at step 57.
pub(super) fn panel() -> Panel {
    let (mut panel, now) = (Panel::new(), Instant::now());
    for step in (1..=57).step_by(4) {
        panel.show(frame(step), now);
    }
    panel
}
