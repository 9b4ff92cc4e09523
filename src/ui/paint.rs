//! The window's pixels: a pure function of the panel, the size and the moment.

mod format;
mod help;
mod messages;
mod prompts;
mod regions;
mod status;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::time::Instant;

use anyhow::Result;
use image::RgbImage;

use crate::draw::elide::{self, Line, one_line};
use crate::draw::{Canvas, Color, Fonts, Rect, Style, Weight, fit, resize};
use crate::live::{Frame, View};

use super::editor::scrolled;
use super::layout::{Layout, RowPlace};
use super::panel::{Panel, Row, Target};

pub(super) const GROUND: Color = Color::rgb(0x13, 0x14, 0x16);
pub(super) const PANEL: Color = Color::rgb(0x1b, 0x1d, 0x20);
const RAISED: Color = Color::rgb(0x27, 0x2a, 0x2f);
const SUNKEN: Color = Color::rgb(0x10, 0x11, 0x13);
const LINE: Color = Color::rgb(0x34, 0x38, 0x3e);
pub(super) const TEXT: Color = Color::rgb(0xe8, 0xe6, 0xe1);
pub(super) const SOFT: Color = Color::rgb(0xa6, 0xa9, 0xaf);
const FAINT: Color = Color::rgb(0x7c, 0x80, 0x88);
const ACCENT: Color = Color::rgb(0xe0, 0xa9, 0x5c);
/// Prompts of a negative weight.
const AGAINST: Color = Color::rgb(0xd6, 0x7a, 0x6a);
/// Errors.
const PROBLEM: Color = Color::rgb(0xec, 0x8f, 0x7e);
/// What is done.
const CALM: Color = Color::rgb(0x7f, 0xa8, 0x93);
const SELECTION: Color = Color::rgb(0x4d, 0x42, 0x2e);

/// The size of the prompts' letters, in logical pixels.
const PROMPT_SIZE: f32 = 15.0;
/// The space between a prompt and its weight.
const PROMPT_GAP: f32 = 8.0;
/// From one line of a prompt to the next.
const PROMPT_LINE: f32 = 19.0;

/// Draws the window. Keeps what is costly to make: glyphs, and the picture in the size in which it is shown.
#[derive(Debug)]
pub(super) struct Painter {
    fonts: Fonts,
    canvas: Canvas,
    layout: Rc<Layout>,
    /// The visible lines of each prompt of the layout's rows.
    lines: Vec<Vec<Line>>,
    picture: Option<(Rect, RgbImage)>,
}

impl Painter {
    /// A painter that has drawn nothing.
    ///
    /// # Errors
    /// When the embedded font is damaged.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            fonts: Fonts::embedded()?,
            canvas: Canvas::new(0, 0, GROUND),
            layout: Rc::default(),
            lines: vec![],
            picture: None,
        })
    }

    /// The picture has changed: it is scaled again by the next [`Painter::paint`].
    pub(super) fn refresh(&mut self) {
        self.picture = None;
    }

    /// What was painted last.
    pub(super) fn canvas(&self) -> &Canvas {
        &self.canvas
    }

    /// Paints a window of this size in pixels, with `scale` pixels to a logical one. The picture is the one of the last time, unless
    /// [`Painter::refresh`] was called or its place has changed.
    pub(super) fn paint(
        &mut self,
        panel: &mut Panel,
        size: (usize, usize),
        scale: f32,
        now: Instant,
    ) {
        let rows = panel.rows();
        let style = prompt_style(scale);
        let is_long = |index: usize, room: i32| {
            let Some(row) = rows.get(index) else {
                return false;
            };
            let room = room as f32 - PROMPT_GAP * scale - regions::room(&self.fonts, row, scale);
            self.fonts.width(&label(row), style) > room
        };
        self.layout = Rc::new(Layout::new(panel, &is_long, size, scale));
        self.canvas.reset(size.0, size.1, GROUND);
        self.keep_caret_in_sight(panel);
        self.lines = self.prompt_lines(&rows);
        match &panel.frame {
            Some(frame) => {
                self.picture(frame);
                self.regions(panel, &rows);
            }
            None => self.waiting(),
        }
        if !self.layout.panel.is_empty() {
            self.canvas.fill(self.layout.panel, PANEL);
            self.status(panel);
            self.prompts(panel, &rows);
            let has_messages = self.messages(panel, now);
            // in a small window both have one place
            let is_covered = has_messages && self.layout.compact;
            if !is_covered && !self.layout.footer.is_empty() {
                self.footer(panel);
            }
        }
        if panel.help {
            self.help();
        }
    }

    /// What is at a place of what was painted last.
    pub(super) fn target(&self, panel: &Panel, (x, y): (i32, i32)) -> Target {
        let layout = &self.layout;
        if let Some(place) = layout.rows.iter().find(|place| place.all.contains(x, y)) {
            Target::Prompt(place.index, self.offset(panel, place, (x, y)))
        } else if layout.add.contains(x, y) {
            Target::Add
        } else if layout.footer.contains(x, y) {
            Target::Help
        } else if layout.panel.contains(x, y) {
            Target::Elsewhere
        } else {
            (self.on_picture(panel, (x, y))).map_or(Target::Elsewhere, Target::Picture)
        }
    }

    /// What a drag is over, wherever the pointer is: the offset in the edited prompt's text that is nearest to it, else its place relative to
    /// the picture.
    pub(super) fn dragged(&self, panel: &Panel, (x, y): (i32, i32)) -> Option<Target> {
        let Some(editing) = &panel.editing else {
            return self.on_picture(panel, (x, y)).map(Target::Picture);
        };
        let place = self.layout.row(editing.row)?;
        let offset = self.offset(panel, place, (x, 0));
        Some(Target::Prompt(place.index, offset))
    }

    /// A place relative to the picture, in shares of its sides, while the picture shows.
    fn on_picture(&self, panel: &Panel, (x, y): (i32, i32)) -> Option<[f64; 2]> {
        let is_image = (panel.frame.as_ref()).is_some_and(|frame| frame.view == View::Image);
        let (place, _) = self.picture.as_ref().filter(|_| is_image)?;
        let share = |at: i32, side: i32| f64::from(at) / f64::from(side);
        (!place.is_empty()).then(|| {
            [
                share(x - place.x, place.width),
                share(y - place.y, place.height),
            ]
        })
    }

    /// Whether a text that can be edited is at a place.
    pub(super) fn is_text(&self, (x, y): (i32, i32)) -> bool {
        (self.layout.rows.iter()).any(|place| place.text.contains(x, y))
    }

    /// The offset in a prompt's text that is nearest to a place.
    fn offset(&self, panel: &Panel, place: &RowPlace, (x, y): (i32, i32)) -> usize {
        let layout = &self.layout;
        let x = (x - place.text.x) as f32;
        let nearest = |text: &str, x: f32| {
            let positions = self.fonts.positions(text, prompt_style(layout.scale));
            (positions.into_iter())
                .min_by(|a, b| (a.1 - x).abs().total_cmp(&(b.1 - x).abs()))
                .map_or(0, |(offset, _)| offset)
        };
        if let Some(editing) = &panel.editing
            && editing.row == place.index
        {
            return nearest(editing.line.text(), x + editing.scroll);
        }
        // a prompt that has changed since it was painted has no offset until it is painted again
        let rows = panel.rows();
        let lines = (layout.rows.iter().zip(&self.lines))
            .find_map(|(row, lines)| (row.index == place.index).then_some(lines));
        let (Some(row), Some(lines)) = (rows.get(place.index), lines) else {
            return 0;
        };
        let line = ((y - place.text.y).max(0) / layout.px(PROMPT_LINE + 3.0).max(1)) as usize;
        let text = label(row);
        (lines.get(line.min(lines.len().saturating_sub(1))))
            .filter(|line| line.fits(&text))
            .map_or(0, |line| line.offset(nearest(&line.display(&text), x)))
    }

    /// The visible lines of each prompt that has a place.
    fn prompt_lines(&self, rows: &[Row]) -> Vec<Vec<Line>> {
        let layout = &self.layout;
        let labels: Vec<String> = rows.iter().map(label).collect();
        let scale = layout.scale;
        let texts: Vec<(&str, usize, f32)> = (labels.iter().zip(rows).enumerate())
            .map(|(index, (text, row))| {
                let Some(place) = layout.row(index) else {
                    return (text.as_str(), 0, 0.0);
                };
                let is_two = place.text.height > layout.px(30.0);
                let room = place.text.width as f32 - PROMPT_GAP * scale;
                let room = room - regions::room(&self.fonts, row, scale);
                (text.as_str(), 1 + usize::from(is_two), room)
            })
            .collect();
        let mut all = elide::distinguished(&self.fonts, &texts, prompt_style(scale));
        let mut take = |place: &RowPlace| all.get_mut(place.index).map(std::mem::take);
        (layout.rows.iter())
            .map(|place| take(place).unwrap_or_default())
            .collect()
    }

    fn keep_caret_in_sight(&self, panel: &mut Panel) {
        let style = prompt_style(self.layout.scale);
        if let Some(editing) = &mut panel.editing
            && let Some(place) = self.layout.row(editing.row)
        {
            let text = editing.line.text();
            let caret = self.fonts.width(&text[..editing.line.caret()], style);
            let width = self.fonts.width(text, style) + self.px(2.0) as f32;
            let room = place.text.width as f32;
            editing.scroll = scrolled(editing.scroll, caret, width, room).round();
        }
    }

    fn picture(&mut self, frame: &Frame) {
        let place = fit(frame.image.dimensions(), self.layout.picture);
        let picture = match self.picture.take() {
            Some((before, picture)) if before == place => picture,
            _ => resize(&frame.image, (place.width as u32, place.height as u32)),
        };
        self.canvas.put((place.x, place.y), &picture);
        self.picture = Some((place, picture));
        if frame.view == View::Cutouts {
            self.picture_chip(&["What CLIP sees"]);
        }
    }

    /// Draws the first of several wordings that fits into the upper left corner of the picture. A tiny window has no room for text.
    fn picture_chip(&mut self, wordings: &[&str]) {
        let Some((place, _)) = self
            .picture
            .as_ref()
            .filter(|_| !self.layout.panel.is_empty())
        else {
            return;
        };
        let margin = self.px(10.0);
        let (at, room) = (
            (place.x + margin, place.y + margin),
            place.width - 2 * margin,
        );
        if let Some(text) = wordings.iter().find(|text| self.chip_width(text) <= room) {
            self.chip(at, text, TEXT);
        }
    }

    fn waiting(&mut self) {
        let style = self.regular(15.0);
        let text = "Reading the models…";
        let area = self.layout.picture;
        let x = area.x + (area.width - self.fonts.width(text, style) as i32) / 2;
        self.text(x, area.y + area.height / 2, text, style, FAINT);
    }

    fn style(&self, size: f32, weight: Weight) -> Style {
        let size = size * self.layout.scale;
        Style { size, weight }
    }

    fn regular(&self, size: f32) -> Style {
        self.style(size, Weight::Regular)
    }

    fn semibold(&self, size: f32) -> Style {
        self.style(size, Weight::Semibold)
    }

    /// Logical pixels as real ones.
    fn px(&self, logical: f32) -> i32 {
        self.layout.px(logical)
    }

    /// Draws a text from a left edge on; returns its right edge.
    fn text(&mut self, x: i32, baseline: i32, text: &str, style: Style, color: Color) -> i32 {
        let at = (x as f32, baseline as f32);
        let clip = self.canvas.bounds();
        let end = (self.fonts).draw(&mut self.canvas, at, text, style, color, clip);
        end.ceil() as i32
    }

    /// Draws a text that ends at a right edge; returns its left edge.
    fn text_to(&mut self, end: i32, baseline: i32, text: &str, style: Style, color: Color) -> i32 {
        let x = end - self.fonts.width(text, style).round() as i32;
        self.text(x, baseline, text, style, color);
        x
    }

    /// Draws a word on a round ground, from an upper left corner on.
    fn chip(&mut self, (x, y): (i32, i32), text: &str, color: Color) {
        let style = self.semibold(12.0);
        let (pad, height) = (self.px(9.0), self.px(22.0));
        let rect = Rect::new(x, y, self.chip_width(text), height);
        self.canvas.fill_round(rect, height as f32 / 2.0, RAISED);
        self.text(x + pad, y + self.px(15.5), text, style, color);
    }

    fn chip_width(&self, text: &str) -> i32 {
        self.fonts.width(text, self.semibold(12.0)).ceil() as i32 + 2 * self.px(9.0)
    }

    /// Draws a bar, filled from the left by a share of 0..=1.
    fn bar(&mut self, track: Rect, share: f32, color: Color) {
        let radius = track.height as f32 / 2.0;
        self.canvas.fill_round(track, radius, LINE);
        let width = (track.width as f32 * share.clamp(0.0, 1.0)).round() as i32;
        if width > 0 {
            let filled = Rect::new(track.x, track.y, width.max(track.height), track.height);
            self.canvas.fill_round(filled, radius, color);
        }
    }
}

/// What a prompt is called: its text, or its image's name.
fn label(row: &Row) -> String {
    match (&row.text, &row.prompt.image) {
        (Some(text), _) => one_line(text),
        (None, Some(path)) => {
            let name = path.file_name().unwrap_or(path.as_os_str());
            format!("Image: {}", name.to_string_lossy())
        }
        (None, None) => String::new(),
    }
}

fn prompt_style(scale: f32) -> Style {
    Style {
        size: PROMPT_SIZE * scale,
        weight: Weight::Regular,
    }
}
