//! The window's pixels: a pure function of the panel, the size and the moment.

mod brush;
mod help;
mod numbers;
mod prompts;

use std::time::Instant;

use anyhow::Result;

use crate::live::View;

use super::canvas::{Canvas, Color, Rect};
use super::editor::scrolled;
use super::elision::{self, Line};
use super::layout::{Layout, RowPlace};
use super::panel::{Panel, Row, Target};
use super::scale::{fitted, scaled};
use super::text::{Fonts, Style, Weight};

use brush::Brush;
pub use help::KEYS;

pub(super) const GROUND: Color = Color::rgb(0x13, 0x14, 0x16);
pub(super) const PANEL: Color = Color::rgb(0x1b, 0x1d, 0x20);
const RAISED: Color = Color::rgb(0x27, 0x2a, 0x2f);
const SUNKEN: Color = Color::rgb(0x10, 0x11, 0x13);
const LINE: Color = Color::rgb(0x34, 0x38, 0x3e);
pub(super) const TEXT: Color = Color::rgb(0xe8, 0xe6, 0xe1);
pub(super) const SOFT: Color = Color::rgb(0xa6, 0xa9, 0xaf);
const FAINT: Color = Color::rgb(0x7c, 0x80, 0x88);
const ACCENT: Color = Color::rgb(0xe0, 0xa9, 0x5c);
const AGAINST: Color = Color::rgb(0xd6, 0x7a, 0x6a);
/// Errors.
const PROBLEM: Color = Color::rgb(0xec, 0x8f, 0x7e);
const CALM: Color = Color::rgb(0x7f, 0xa8, 0x93);
const SELECTION: Color = Color::rgb(0x4d, 0x42, 0x2e);

/// The prompts' letters, in logical pixels.
const PROMPT_SIZE: f32 = 15.0;
/// What is left free between a prompt and its weight.
const PROMPT_GAP: f32 = 8.0;
/// From one line of a prompt to the next.
const PROMPT_LINE: f32 = 19.0;

/// Draws the window. Keeps what is costly to make: glyphs, and the picture in the size in which it is shown.
#[derive(Debug)]
pub struct Painter {
    fonts: Fonts,
    canvas: Canvas,
    layout: Option<Layout>,
    /// What shows of each prompt of the layout's rows.
    lines: Vec<Vec<Line>>,
    picture: Option<(Rect, Vec<u32>)>,
}

impl Painter {
    /// A painter.
    ///
    /// # Errors
    /// When the embedded font is damaged.
    pub fn new() -> Result<Self> {
        Ok(Self {
            fonts: Fonts::embedded()?,
            canvas: Canvas::new(0, 0, GROUND),
            layout: None,
            lines: vec![],
            picture: None,
        })
    }

    /// The picture has changed: it is scaled anew at the next [`Painter::paint`].
    pub fn refresh(&mut self) {
        self.picture = None;
    }

    /// What was painted last.
    pub fn canvas(&self) -> &Canvas {
        &self.canvas
    }

    /// Paints a window of this size in pixels, with `scale` pixels to a logical one. The picture is the one of the last time, unless
    /// [`Painter::refresh`] was called or its place has changed.
    pub fn paint(
        &mut self,
        panel: &mut Panel,
        (width, height): (usize, usize),
        scale: f32,
        now: Instant,
    ) -> &Canvas {
        let rows = panel.rows();
        let style = prompt_style(scale);
        let is_long = |index: usize, room: i32| {
            let text = rows.get(index).map(words).unwrap_or_default();
            self.fonts.width(&text, style) > (room as f32 - PROMPT_GAP * scale)
        };
        let layout = Layout::new(panel, width, height, scale, &is_long);
        self.canvas.reset(width, height, GROUND);
        self.keep_caret_in_sight(panel, &layout);
        self.lines = self.set(&rows, &layout);
        self.paint_picture(panel, &layout);
        if !layout.panel.is_empty() {
            self.canvas.fill(layout.panel, PANEL);
            let mut brush = Brush {
                fonts: &mut self.fonts,
                canvas: &mut self.canvas,
                layout: &layout,
            };
            brush.panel(panel, &self.lines, now);
        }
        if panel.help() {
            let mut brush = Brush {
                fonts: &mut self.fonts,
                canvas: &mut self.canvas,
                layout: &layout,
            };
            brush.help();
        }
        self.layout = Some(layout);
        &self.canvas
    }

    /// What is at a place of what was painted last.
    pub fn target(&self, panel: &Panel, x: i32, y: i32) -> Target {
        let Some(layout) = &self.layout else {
            return Target::Elsewhere;
        };
        if let Some(place) = layout.rows.iter().find(|place| place.all.contains(x, y)) {
            return Target::Prompt(place.index, self.offset(panel, place, layout, (x, y)));
        }
        if layout.add.contains(x, y) {
            Target::Add
        } else if layout.footer.contains(x, y) {
            Target::Help
        } else if layout.picture.contains(x, y) {
            Target::Picture
        } else {
            Target::Elsewhere
        }
    }

    /// The offset in the edited prompt's text that is nearest to a place, wherever the pointer is.
    pub fn dragged(&self, panel: &Panel, x: i32) -> Option<Target> {
        let (layout, editing) = (self.layout.as_ref()?, panel.editing()?);
        let place = layout
            .rows
            .iter()
            .find(|place| place.index == editing.row)?;
        Some(Target::Prompt(
            place.index,
            self.offset(panel, place, layout, (x, 0)),
        ))
    }

    /// Whether a text that can be edited is at a place.
    pub fn is_text(&self, x: i32, y: i32) -> bool {
        (self.layout.iter().flat_map(|layout| &layout.rows)).any(|place| place.text.contains(x, y))
    }

    /// The offset in a prompt's text that is nearest to a place.
    fn offset(
        &self,
        panel: &Panel,
        place: &RowPlace,
        layout: &Layout,
        (x, y): (i32, i32),
    ) -> usize {
        let style = prompt_style(layout.scale);
        let x = (x - place.text.x) as f32;
        let nearest = |text: &str, x: f32| {
            (self.fonts.places(text, style).into_iter())
                .min_by(|a, b| (a.1 - x).abs().total_cmp(&(b.1 - x).abs()))
                .map_or(0, |(offset, _)| offset)
        };
        if let Some(editing) = panel.editing()
            && editing.row == place.index
        {
            return nearest(editing.line.text(), x + editing.scroll);
        }
        // a prompt that has changed since it was painted has no offset until it is painted again
        let rows = panel.rows();
        let (Some(row), Some(at)) = (
            rows.get(place.index),
            layout.rows.iter().position(|other| other == place),
        ) else {
            return 0;
        };
        let lines = self.lines.get(at).map_or(&[][..], Vec::as_slice);
        let line = ((y - place.text.y).max(0) / layout.px(PROMPT_LINE + 3.0).max(1)) as usize;
        let text = words(row);
        (lines.get(line.min(lines.len().saturating_sub(1))))
            .filter(|line| line.fits(&text))
            .map_or(0, |line| line.offset(nearest(&line.shown(&text), x)))
    }

    /// What shows of each prompt that has a place.
    fn set(&self, rows: &[Row], layout: &Layout) -> Vec<Vec<Line>> {
        let texts: Vec<(String, usize)> = (rows.iter().enumerate())
            .map(|(index, row)| {
                let place = layout.rows.iter().find(|place| place.index == index);
                (words(row), place.map_or(0, |place| lines(layout, place)))
            })
            .collect();
        let texts: Vec<(&str, usize)> = (texts.iter())
            .map(|(text, most)| (text.as_str(), *most))
            .collect();
        let room = layout.rows.first().map_or(0, |place| place.text.width) as f32;
        let room = room - PROMPT_GAP * layout.scale;
        let mut all = elision::distinguished(&self.fonts, &texts, prompt_style(layout.scale), room);
        (layout.rows.iter())
            .map(|place| {
                all.get_mut(place.index)
                    .map(std::mem::take)
                    .unwrap_or_default()
            })
            .collect()
    }

    fn keep_caret_in_sight(&self, panel: &mut Panel, layout: &Layout) {
        let style = prompt_style(layout.scale);
        if let Some(editing) = panel.editing_mut()
            && let Some(place) = layout.rows.iter().find(|place| place.index == editing.row)
        {
            let text = editing.line.text();
            let caret = self.fonts.width(&text[..editing.line.caret()], style);
            let width = self.fonts.width(text, style) + layout.px(2.0) as f32;
            editing.scroll =
                scrolled(editing.scroll, caret, width, place.text.width as f32).round();
        }
    }

    fn paint_picture(&mut self, panel: &Panel, layout: &Layout) {
        let Some(frame) = panel.frame() else {
            let mut brush = Brush {
                fonts: &mut self.fonts,
                canvas: &mut self.canvas,
                layout,
            };
            return brush.waiting();
        };
        let place = fitted(frame.width, frame.height, layout.picture);
        if self
            .picture
            .as_ref()
            .is_none_or(|(before, _)| *before != place)
        {
            let size = (place.width as usize, place.height as usize);
            let pixels = scaled(&frame.rgb, (frame.width, frame.height), size);
            self.picture = Some((place, pixels));
        }
        if let Some((place, pixels)) = &self.picture {
            self.canvas
                .put((place.x, place.y), place.width as usize, pixels);
        }
        if frame.view == View::Cutouts && !layout.panel.is_empty() {
            let mut brush = Brush {
                fonts: &mut self.fonts,
                canvas: &mut self.canvas,
                layout,
            };
            let at = (place.x + layout.px(10.0), place.y + layout.px(10.0));
            brush.chip(at, "What CLIP sees", TEXT);
        }
    }
}

/// What a prompt is called: its text, or its image's name.
fn words(row: &Row) -> String {
    match (&row.prompt.text, &row.prompt.image) {
        (Some(text), _) => one_line(text),
        (None, Some(path)) => {
            let name = path.file_name().unwrap_or(path.as_os_str());
            format!("Image: {}", name.to_string_lossy())
        }
        (None, None) => String::new(),
    }
}

/// A text with spaces in place of line breaks and tabs, which have no shape.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}

/// How many lines a prompt has room for.
fn lines(layout: &Layout, place: &RowPlace) -> usize {
    if place.text.height > layout.px(30.0) {
        2
    } else {
        1
    }
}

/// Where a prompt's text is edited: on one line, vertically centred in the text's place.
fn edited(layout: &Layout, place: &RowPlace) -> Rect {
    let height = layout.px(24.0).min(place.text.height);
    let free = place.text.height - height;
    Rect::new(
        place.text.x,
        place.text.y + free / 2,
        place.text.width,
        height,
    )
}

fn prompt_style(scale: f32) -> Style {
    Style {
        size: PROMPT_SIZE * scale,
        weight: Weight::Regular,
    }
}
