//! The window of a render: the picture and its panel.

use std::time::{Duration, Instant};

use anyhow::Result;
use minifb::CursorStyle;

use crate::draw::Canvas;
use crate::live::{Command, Frame, Severity};

use super::pace::Pace;
use super::paint::Painter;
use super::panel::{Action, Input, Panel, Target};
use super::window::Content;

/// New pictures are drawn at most this often.
const FASTEST: Duration = Duration::from_millis(33);
/// Drawing new pictures takes at most this share of the machine's time, which the render needs: there, all cores wait for the one that is
/// late.
const SHARE: f64 = 0.006;

/// The panel of a render, and its pixels.
#[derive(Debug)]
pub struct RenderContent {
    panel: Panel,
    painter: Painter,
}

impl Content for RenderContent {
    type Frame = Frame;
    type Command = Command;
    const STOP: Command = Command::Stop;
    const SIZE: (f32, f32) = (1040.0, 680.0);

    fn new() -> Result<Self> {
        let (panel, painter) = (Panel::new(), Painter::new()?);
        Ok(Self { panel, painter })
    }

    fn pace() -> Pace {
        Pace::new(FASTEST, SHARE)
    }

    fn show(&mut self, frame: Frame, now: Instant) {
        self.panel.show(frame, now);
    }

    fn fail(&mut self, text: &str, now: Instant) {
        self.panel.notify(text, Severity::Error, now);
    }

    fn paint(&mut self, size: (usize, usize), scale: f32, newer: bool, now: Instant) {
        if newer {
            self.painter.refresh();
        }
        self.painter.paint(&mut self.panel, size, scale, now);
    }

    fn canvas(&self) -> &Canvas {
        self.painter.canvas()
    }

    fn input(&mut self, input: &Input, now: Instant) -> Vec<Action> {
        self.panel.input(input, now)
    }

    fn press(&mut self, at: (f32, f32), shift: bool, double: bool, now: Instant) -> Vec<Action> {
        let input = Input::Click {
            target: self.painter.target(&self.panel, pixel(at)),
            shift,
            double,
        };
        self.panel.input(&input, now)
    }

    fn drag(&mut self, at: (f32, f32), now: Instant) -> Vec<Action> {
        let target = self.painter.dragged(&self.panel, pixel(at));
        let input = Input::Drag(target.unwrap_or(Target::Elsewhere));
        self.panel.input(&input, now)
    }

    fn release(&mut self, now: Instant) -> Vec<Action> {
        self.panel.input(&Input::Release, now)
    }

    fn cursor(&self, at: (f32, f32)) -> CursorStyle {
        let is_on_picture = || {
            matches!(
                self.painter.target(&self.panel, pixel(at)),
                Target::Picture(_)
            )
        };
        if self.painter.is_text(pixel(at)) && !self.panel.is_drawing {
            CursorStyle::Ibeam
        } else if self.panel.is_drawing && is_on_picture() {
            CursorStyle::Crosshair
        } else {
            CursorStyle::Arrow
        }
    }

    fn next_change(&self) -> Option<Instant> {
        self.panel.next_change()
    }

    fn tick(&mut self, now: Instant) -> Vec<Action> {
        self.panel.tick(now)
    }

    fn close(&mut self, now: Instant) -> Vec<Action> {
        self.panel.close(now)
    }
}

/// The pixel that a place is in.
fn pixel((x, y): (f32, f32)) -> (i32, i32) {
    (x.floor() as i32, y.floor() as i32)
}
