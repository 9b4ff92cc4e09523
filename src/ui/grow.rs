//! The window of a growing pattern: a click damages the pattern, and it heals.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::draw::{Canvas, Fonts, Rect, Style, Weight, fit, resize};
use crate::grow::{Command, Frame};

use super::pace::Pace;
use super::paint::{GROUND, PANEL, SOFT, TEXT};
use super::panel::{Action, Input, Key};
use super::window::Content;

/// The line below the pattern, in logical pixels.
const FOOTER: f32 = 34.0;
const MARGIN: f32 = 14.0;
const TEXT_SIZE: f32 = 13.0;
/// New frames are drawn at most this often.
const FASTEST: Duration = Duration::from_millis(16);
/// Drawing takes at most this share of the machine's time.
const SHARE: f64 = 0.5;
/// The radius of what a click damages, as a share of the pattern's shorter side.
const REACH: f64 = 1.0 / 8.0;
const KEYS: &str = "Click damages   Space pauses   R restarts   S saves   Q closes";

/// A growing pattern, and a line about it.
#[derive(Debug)]
pub struct GrowContent {
    fonts: Fonts,
    canvas: Canvas,
    frame: Option<Frame>,
    /// Where the pattern was drawn last.
    place: Rect,
    /// Where the pattern was damaged last, while the button is held.
    damaged: Option<(f64, f64)>,
    error: Option<String>,
}

impl Content for GrowContent {
    type Frame = Frame;
    type Command = Command;
    const STOP: Command = Command::Stop;
    const SIZE: (f32, f32) = (720.0, 760.0);

    fn new() -> Result<Self> {
        Ok(Self {
            fonts: Fonts::embedded()?,
            canvas: Canvas::new(0, 0, GROUND),
            frame: None,
            place: Rect::default(),
            damaged: None,
            error: None,
        })
    }

    fn pace() -> Pace {
        Pace::new(FASTEST, SHARE)
    }

    fn show(&mut self, frame: Frame, _now: Instant) {
        self.frame = Some(frame);
    }

    fn fail(&mut self, text: &str, _now: Instant) {
        self.error = Some(text.to_owned());
    }

    fn canvas(&self) -> &Canvas {
        &self.canvas
    }

    fn input(&mut self, input: &Input, now: Instant) -> Vec<Action<Command>> {
        let command = match input {
            Input::Char(' ') => Command::Pause,
            Input::Char('r' | 'R') => Command::Restart,
            Input::Char('s' | 'S') => Command::Snapshot,
            Input::Char('q' | 'Q') | Input::Key(Key::Escape, _) => return self.close(now),
            _ => return vec![],
        };
        vec![Action::Send(command)]
    }

    fn press(&mut self, at: (f32, f32), _: bool, _: bool, now: Instant) -> Vec<Action<Command>> {
        self.damaged = None;
        self.drag(at, now)
    }

    /// Damages the pattern at a place that is not near the last one.
    fn drag(&mut self, (x, y): (f32, f32), _now: Instant) -> Vec<Action<Command>> {
        let Some(frame) = &self.frame else {
            return vec![];
        };
        let place = self.place;
        if !place.contains(x.floor() as i32, y.floor() as i32) {
            return vec![];
        }
        let (width, height) = frame.image.dimensions();
        let across = |at: f32, start: i32, extent: i32, size: u32| {
            f64::from(at - start as f32) / f64::from(extent) * f64::from(size)
        };
        let x = across(x, place.x, place.width, width);
        let y = across(y, place.y, place.height, height);
        let radius = f64::from(width.min(height)) * REACH;
        if (self.damaged).is_some_and(|last| (x - last.0).hypot(y - last.1) < radius / 2.0) {
            return vec![];
        }
        self.damaged = Some((x, y));
        vec![Action::Send(Command::Damage { x, y, radius })]
    }

    fn paint(&mut self, (width, height): (usize, usize), scale: f32, _newer: bool, _now: Instant) {
        let px = |logical: f32| (logical * scale).round() as i32;
        self.canvas.reset(width, height, GROUND);
        let mut area = self.canvas.bounds();
        let line = area.cut_bottom(px(FOOTER));
        self.canvas.fill(line, PANEL);
        let Some(frame) = &self.frame else {
            return;
        };
        let place = fit(frame.image.dimensions(), area.inset(px(MARGIN)));
        let picture = resize(&frame.image, (place.width as u32, place.height as u32));
        self.canvas.put((place.x, place.y), &picture);
        self.place = place;

        let style = Style {
            size: TEXT_SIZE * scale,
            weight: Weight::Regular,
        };
        let baseline = (line.y + (line.height + px(TEXT_SIZE * 0.7)) / 2) as f32;
        let left = px(MARGIN) as f32;
        let paused = if frame.paused { ", paused" } else { "" };
        let state = format!("{} iterations{paused}", frame.steps);
        let (fonts, canvas) = (&mut self.fonts, &mut self.canvas);
        let end = fonts.draw(canvas, (left, baseline), &state, style, TEXT, line);
        let words = self.error.as_deref().or(frame.message.as_deref());
        let room = line.width as f32 - left - (end + 2.0 * left);
        let words = fonts.truncated(words.unwrap_or(KEYS), style, room);
        let start = line.width as f32 - left - fonts.width(&words, style);
        fonts.draw(canvas, (start, baseline), &words, style, SOFT, line);
    }
}
