//! The window's pixels: a pure function of the panel, the size and the moment.

use std::time::Instant;

use anyhow::Result;

use crate::live::{Frame, View};

use super::canvas::{Canvas, Color, Rect};
use super::editor::scrolled;
use super::layout::{Layout, RowPlace};
use super::panel::{Panel, Row, Target};
use super::scale::{fitted, scaled};
use super::text::{Fonts, Style, Weight};

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
const CALM: Color = Color::rgb(0x7f, 0xa8, 0x93);
const SELECTION: Color = Color::rgb(0x4d, 0x42, 0x2e);

/// The prompts' letters, in logical pixels.
const PROMPT_SIZE: f32 = 15.0;
/// What is left free between a prompt and its weight.
const PROMPT_GAP: f32 = 8.0;
/// From one line of a prompt to the next.
const PROMPT_LINE: f32 = 19.0;

/// What the help says: keys, and what they do.
pub const KEYS: [(&str, &str); 15] = [
    ("Enter, click", "edit the prompt"),
    ("Enter / Esc", "keep the edit / drop it"),
    ("Tab", "to the next prompt"),
    ("N / X", "add a prompt / remove it"),
    ("↑ / ↓", "its weight (with Shift: faster)"),
    ("Space", "pause, go on"),
    ("V", "what CLIP sees: the cutouts"),
    ("S", "save a snapshot"),
    ("R", "begin again from this picture"),
    ("Shift R", "begin again from scratch"),
    ("+ / −", "learning rate"),
    ("F / Shift F", "longer / shorter fade of edits"),
    ("Z", "take the last edit back"),
    ("H", "these keys"),
    ("Q", "stop and save"),
];

/// Draws the window. Keeps what is costly to make: glyphs, and the picture in the size in which it is shown.
#[derive(Debug)]
pub struct Painter {
    fonts: Fonts,
    canvas: Canvas,
    layout: Option<Layout>,
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

    /// Paints a window of this size in pixels, with `scale` pixels to a logical one.
    pub fn paint(
        &mut self,
        panel: &mut Panel,
        (width, height): (usize, usize),
        scale: f32,
        now: Instant,
    ) -> &Canvas {
        let rows = panel.rows();
        let style = Style {
            size: PROMPT_SIZE * scale,
            weight: Weight::Regular,
        };
        let is_long = |index: usize, room: i32| {
            let text = rows.get(index).map(words).unwrap_or_default();
            self.fonts.width(&text, style) > (room as f32 - PROMPT_GAP * scale)
        };
        let layout = Layout::new(panel, width, height, scale, &is_long);
        self.canvas.reset(width, height, GROUND);
        self.keep_caret_in_sight(panel, &layout);
        self.paint_picture(panel, &layout);
        if !layout.panel.is_empty() {
            self.canvas.fill(layout.panel, PANEL);
            let mut brush = Brush {
                fonts: &mut self.fonts,
                canvas: &mut self.canvas,
                layout: &layout,
            };
            brush.panel(panel, now);
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
        match () {
            () if layout.add.contains(x, y) => Target::Add,
            () if layout.footer.contains(x, y) => Target::Help,
            () if layout.picture.contains(x, y) => Target::Picture,
            () => Target::Elsewhere,
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
        let style = prompt_style(layout);
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
        let rows = panel.rows();
        let text = (rows.get(place.index)).and_then(|row| row.prompt.text.as_deref());
        let text = text.unwrap_or_default();
        let room = place.text.width as f32 - PROMPT_GAP * layout.scale;
        let lines = self.fonts.wrapped(text, style, room, lines(layout, place));
        let line = ((y - place.text.y).max(0) / layout.px(PROMPT_LINE + 3.0).max(1)) as usize;
        // the lines are parts of the text, one after the other, up to an ellipsis
        let mut start = 0;
        for (index, part) in lines.iter().enumerate() {
            let part = part.trim_end_matches('…');
            start += text[start..].find(part).unwrap_or(0);
            if index == line.min(lines.len() - 1) {
                return start + nearest(part, x);
            }
            start += part.len().min(text.len() - start);
        }
        0
    }

    fn keep_caret_in_sight(&self, panel: &mut Panel, layout: &Layout) {
        let style = prompt_style(layout);
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
        (Some(text), _) => text.clone(),
        (None, Some(path)) => {
            let name = path.file_name().unwrap_or(path.as_os_str());
            format!("Image: {}", name.to_string_lossy())
        }
        (None, None) => String::new(),
    }
}

/// How many lines a prompt has room for.
fn lines(layout: &Layout, place: &RowPlace) -> usize {
    if place.text.height > layout.px(30.0) {
        2
    } else {
        1
    }
}

/// Where a prompt's text is edited: one line, in the middle of where it stands otherwise.
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

fn prompt_style(layout: &Layout) -> Style {
    Style {
        size: PROMPT_SIZE * layout.scale,
        weight: Weight::Regular,
    }
}

/// What draws at one layout.
struct Brush<'a> {
    fonts: &'a mut Fonts,
    canvas: &'a mut Canvas,
    layout: &'a Layout,
}

impl Brush<'_> {
    fn style(&self, size: f32, weight: Weight) -> Style {
        Style {
            size: size * self.layout.scale,
            weight,
        }
    }

    fn regular(&self, size: f32) -> Style {
        self.style(size, Weight::Regular)
    }

    fn semibold(&self, size: f32) -> Style {
        self.style(size, Weight::Semibold)
    }

    fn px(&self, logical: f32) -> i32 {
        self.layout.px(logical)
    }

    /// A text from a left edge on; returns its right edge.
    fn text(&mut self, x: i32, baseline: i32, text: &str, style: Style, color: Color) -> i32 {
        let clip = self.canvas.bounds();
        let end = (self.fonts).draw(
            self.canvas,
            (x as f32, baseline as f32),
            text,
            style,
            color,
            clip,
        );
        end.ceil() as i32
    }

    /// A text that ends at a right edge; returns its left edge.
    fn text_to(
        &mut self,
        right: i32,
        baseline: i32,
        text: &str,
        style: Style,
        color: Color,
    ) -> i32 {
        let x = right - self.fonts.width(text, style).round() as i32;
        self.text(x, baseline, text, style, color);
        x
    }

    /// A word on a round ground, from an upper left corner on.
    fn chip(&mut self, (x, y): (i32, i32), text: &str, color: Color) {
        let style = self.semibold(12.0);
        let (pad, height) = (self.px(9.0), self.px(22.0));
        let width = self.fonts.width(text, style).ceil() as i32 + 2 * pad;
        let rect = Rect::new(x, y, width, height);
        self.canvas.fill_round(rect, height as f32 / 2.0, RAISED);
        self.text(x + pad, y + self.px(15.5), text, style, color);
    }

    fn waiting(&mut self) {
        let style = self.regular(15.0);
        let text = "Reading the models…";
        let area = self.layout.picture;
        let x = area.x + (area.width - self.fonts.width(text, style) as i32) / 2;
        self.text(x, area.y + area.height / 2, text, style, FAINT);
    }

    fn panel(&mut self, panel: &Panel, now: Instant) {
        let layout = self.layout;
        if let Some(frame) = panel.frame() {
            self.status(layout.status, frame, panel.paused());
            if !layout.figures.is_empty() {
                let speed = match frame.steps_per_second {
                    speed if speed > 0.0 => rate(speed),
                    _ => "–".to_owned(),
                };
                let left = if frame.finished || !(frame.eta.is_finite() && frame.eta > 0.0) {
                    "–".to_owned()
                } else {
                    duration(frame.eta)
                };
                let loss = if frame.loss.is_finite() && frame.step > 0 {
                    format!("{:.4}", frame.loss)
                } else {
                    "–".to_owned()
                };
                self.figures(
                    layout.figures,
                    [("Loss", &loss), ("Speed", &speed), ("Left", &left)],
                );
            }
            if !layout.settings.is_empty() {
                let lr = format!("× {}", factor(panel.rate()));
                let fade = match panel.fade() {
                    0 => "none".to_owned(),
                    1 => "1 step".to_owned(),
                    steps => format!("{steps} steps"),
                };
                let settings = [
                    ("Learning rate", lr.as_str()),
                    ("Fade", &fade),
                    ("Device", &frame.device),
                ];
                self.figures(layout.settings, settings);
            }
            if !layout.curve.is_empty() {
                self.curve(layout.curve, panel.losses());
            }
        }
        self.prompts(panel);
        if let Some(message) = panel.message(now) {
            self.message(layout.message, message);
        }
        self.footer(panel);
    }

    fn status(&mut self, area: Rect, frame: &Frame, paused: bool) {
        let baseline = area.y + self.px(22.0);
        let x = self.text(
            area.x,
            baseline,
            &frame.step.to_string(),
            self.semibold(24.0),
            TEXT,
        );
        let of = format!("of {} steps", frame.steps);
        self.text(x + self.px(7.0), baseline, &of, self.regular(14.0), SOFT);
        let word = match () {
            () if frame.finished => Some(("Done", CALM)),
            () if paused => Some(("Paused", ACCENT)),
            () => None,
        };
        if let Some((word, color)) = word {
            let width = self.fonts.width(word, self.semibold(12.0)).ceil() as i32 + self.px(18.0);
            self.chip((area.right() - width, area.y + self.px(4.0)), word, color);
        }
        let track = Rect::new(
            area.x,
            area.y + self.px(34.0),
            area.width,
            self.px(4.0).max(1),
        );
        let share = frame.step as f32 / frame.steps.max(1) as f32;
        let color = if frame.finished { CALM } else { ACCENT };
        self.bar(track, share, color);
    }

    /// A bar, filled from the left by a share of 0..=1.
    fn bar(&mut self, track: Rect, share: f32, color: Color) {
        let radius = track.height as f32 / 2.0;
        self.canvas.fill_round(track, radius, LINE);
        let width = (track.width as f32 * share.clamp(0.0, 1.0)).round() as i32;
        if width > 0 {
            let filled = Rect::new(track.x, track.y, width.max(track.height), track.height);
            self.canvas.fill_round(filled, radius, color);
        }
    }

    /// Three numbers with their names above, side by side.
    fn figures(&mut self, area: Rect, figures: [(&str, &str); 3]) {
        // where there is no room for three, the one in the middle is left out
        let columns = if area.width < self.px(220.0) {
            [(0, 58), (0, 0), (58, 100)]
        } else {
            [(0, 37), (37, 70), (70, 100)]
        };
        for ((name, value), (start, end)) in figures.into_iter().zip(columns) {
            if start == end {
                continue;
            }
            let x = area.x + area.width * start / 100;
            let room = (area.width * (end - start) / 100 - self.px(4.0)) as f32;
            let style = self.regular(11.5);
            let name = self.fonts.fitted(name, style, room);
            self.text(x, area.y + self.px(12.0), &name, style, FAINT);
            let style = self.regular(14.5);
            let value = self.fonts.fitted(value, style, room);
            self.text(x, area.y + self.px(31.0), &value, style, TEXT);
        }
    }

    /// The loss so far, between its least and its greatest value.
    fn curve(&mut self, area: Rect, losses: &[(usize, f64)]) {
        let area = Rect::new(
            area.x,
            area.y + self.px(8.0),
            area.width,
            area.height - self.px(16.0),
        );
        let (Some(first), Some(last)) = (losses.first(), losses.last()) else {
            return;
        };
        let (least, greatest) = losses
            .iter()
            .fold((f64::MAX, f64::MIN), |(least, greatest), (_, loss)| {
                (least.min(*loss), greatest.max(*loss))
            });
        let (steps, span) = (
            (last.0 - first.0).max(1) as f64,
            (greatest - least).max(1e-9),
        );
        // one point a pixel is enough
        let each = losses.len().div_ceil(area.width.max(1) as usize);
        let points: Vec<(f32, f32)> = (losses.iter().step_by(each).chain([last]))
            .map(|(step, loss)| {
                let across = (step - first.0) as f64 / steps * f64::from(area.width);
                let down = (greatest - loss) / span * f64::from(area.height);
                (area.x as f32 + across as f32, area.y as f32 + down as f32)
            })
            .collect();
        self.canvas.line(&points, 1.5 * self.layout.scale, FAINT);
    }

    fn prompts(&mut self, panel: &Panel) {
        let layout = self.layout;
        let rows = panel.rows();
        if !layout.heading.is_empty() {
            let baseline = layout.heading.y + self.px(14.0);
            let x = self.text(
                layout.heading.x,
                baseline,
                "Prompts",
                self.semibold(13.0),
                SOFT,
            );
            if rows.len() > layout.rows.len()
                && let (Some(first), Some(last)) = (layout.rows.first(), layout.rows.last())
            {
                let which = format!("{}–{} of {}", first.index + 1, last.index + 1, rows.len());
                self.text(
                    x + self.px(8.0),
                    baseline,
                    &which,
                    self.regular(12.0),
                    FAINT,
                );
            }
            let right = layout.heading.right() - self.px(12.0);
            self.text_to(right, baseline, "weight", self.regular(11.5), FAINT);
        }
        // the bars are of one length, and it holds the greatest of them
        let greatest = (rows.iter().filter_map(|row| row.similarity)).fold(0.0, f64::max);
        let full = ([0.4, 0.6, 0.8].into_iter()).find(|full| greatest <= *full);
        for place in &layout.rows {
            if let Some(row) = rows.get(place.index) {
                self.prompt(panel, place, row, full.unwrap_or(1.0));
            }
        }
        if !layout.add.is_empty() {
            let (x, baseline) = (layout.add.x + self.px(12.0), layout.add.y + self.px(22.0));
            let end = self.text(x, baseline, "+", self.regular(15.0), FAINT);
            self.text(
                end + self.px(8.0),
                baseline,
                "New prompt",
                self.regular(14.0),
                FAINT,
            );
            let right = layout.add.right() - self.px(12.0);
            self.key_to(right, baseline, "N");
        }
    }

    /// A key's name, as on a key, ending at a right edge.
    fn key_to(&mut self, right: i32, baseline: i32, name: &str) {
        let style = self.semibold(11.0);
        let pad = self.px(6.0);
        let width = (self.fonts.width(name, style).ceil() as i32 + 2 * pad).max(self.px(20.0));
        let rect = Rect::new(
            right - width,
            baseline - self.px(14.0),
            width,
            self.px(19.0),
        );
        self.canvas.border_round(
            rect,
            4.0 * self.layout.scale,
            self.layout.scale.max(1.0),
            LINE,
        );
        let x = rect.x + (width - self.fonts.width(name, style).round() as i32) / 2;
        self.text(x, baseline, name, style, FAINT);
    }

    fn prompt(&mut self, panel: &Panel, place: &RowPlace, row: &Row, full: f64) {
        let selected = panel.selected() == place.index;
        let editing = panel.editing().filter(|editing| editing.row == place.index);
        let radius = 6.0 * self.layout.scale;
        let weight = panel.weight(&row.prompt);
        let against = weight < 0.0;
        if editing.is_some() {
            self.canvas.fill_round(place.all, radius, SUNKEN);
            let thickness = 1.5 * self.layout.scale;
            self.canvas
                .border_round(place.all, radius, thickness, ACCENT);
        } else if selected {
            self.canvas.fill_round(place.all, radius, RAISED);
        }
        let style = prompt_style(self.layout);
        let baseline = place.all.y + self.px(25.0);
        match editing {
            Some(editing) => {
                let text = edited(self.layout, place);
                let baseline = text.y + self.px(17.0);
                let x = text.x as f32 - editing.scroll;
                let at = |fonts: &Fonts, offset: usize| {
                    (x + fonts.width(&editing.line.text()[..offset], style)).round() as i32
                };
                let selection = editing.line.selection();
                let (from, to) = (
                    at(self.fonts, selection.start),
                    at(self.fonts, selection.end),
                );
                let marked = Rect::new(from, text.y, to - from, text.height);
                self.canvas.fill(marked.intersection(text), SELECTION);
                let clip = Rect::new(text.x - 1, text.y, text.width + 1, text.height);
                let line = editing.line.text();
                (self.fonts).draw(self.canvas, (x, baseline as f32), line, style, TEXT, clip);
                if line.is_empty() {
                    let hint = "What should appear?";
                    self.text(text.x + self.px(3.0), baseline, hint, style, FAINT);
                }
                let caret = at(self.fonts, editing.line.caret());
                let wide = self.px(1.5).max(1);
                let caret = Rect::new(
                    caret,
                    text.y + self.px(2.0),
                    wide,
                    text.height - self.px(4.0),
                );
                self.canvas.fill(caret.intersection(clip), ACCENT);
            }
            None => {
                let color = if row.prompt.text.is_some() {
                    TEXT
                } else {
                    SOFT
                };
                let room = place.text.width as f32 - PROMPT_GAP * self.layout.scale;
                let most = lines(self.layout, place);
                let lines = self.fonts.wrapped(&words(row), style, room, most);
                for (line, index) in lines.iter().zip(0..) {
                    let baseline = baseline + self.px(PROMPT_LINE) * index;
                    self.text(place.text.x, baseline, line, style, color);
                }
            }
        }
        let color = match () {
            () if against => AGAINST,
            () if (weight - 1.0).abs() < 1e-9 => SOFT,
            () => TEXT,
        };
        let right = place.numbers.right();
        self.text_to(
            right,
            baseline,
            &signed(weight, 1),
            self.regular(14.0),
            color,
        );
        let share = row.similarity.map_or(0.0, |similarity| similarity / full) as f32;
        self.bar(place.bar, share, if against { AGAINST } else { ACCENT });
        let baseline = place.bar.y + self.px(6.0);
        let (text, color) = match row.similarity {
            Some(similarity) => (signed(similarity, 3), SOFT),
            None => ("…".to_owned(), FAINT),
        };
        self.text_to(right, baseline, &text, self.regular(12.0), color);
    }

    fn message(&mut self, area: Rect, message: &str) {
        if area.is_empty() {
            return;
        }
        let style = self.regular(13.0);
        let lines = self.fonts.wrapped(message, style, area.width as f32, 2);
        let first = area.bottom() - self.px(12.0) - self.px(18.0) * (lines.len() as i32 - 1);
        for (line, index) in lines.iter().zip(0..) {
            self.text(area.x, first + self.px(18.0) * index, line, style, CALM);
        }
    }

    fn footer(&mut self, panel: &Panel) {
        let area = self.layout.footer;
        let keys: &[(&str, &str)] = if panel.editing().is_some() {
            &[
                ("Enter", "keep"),
                ("Esc", "drop"),
                ("Tab", "next"),
                ("↑↓", "weight"),
            ]
        } else {
            &[
                ("Enter", "edit"),
                ("Space", "pause"),
                ("H", "keys"),
                ("Q", "stop"),
            ]
        };
        let baseline = area.y + self.px(15.0);
        let (name, what) = (self.semibold(12.0), self.regular(12.0));
        let mut x = area.x;
        for (key, does) in keys {
            let end = x
                + self.fonts.width(key, name) as i32
                + self.px(5.0)
                + self.fonts.width(does, what) as i32;
            if end > area.right() {
                break;
            }
            x = self.text(x, baseline, key, name, SOFT) + self.px(5.0);
            x = self.text(x, baseline, does, what, FAINT) + self.px(16.0);
        }
    }

    fn help(&mut self) {
        self.canvas.veil(GROUND, 190);
        let bounds = self.canvas.bounds();
        let pad = self.px(28.0).min(bounds.height / 12);
        let free = bounds.height - self.px(44.0) - 2 * pad;
        let line = self.px(27.0).min(free.max(0) / KEYS.len() as i32);
        let height = line * KEYS.len() as i32 + self.px(44.0) + 2 * pad;
        let width = self.px(430.0);
        let card = Rect::new(
            (bounds.width - width).max(0) / 2,
            (bounds.height - height).max(0) / 2,
            width.min(bounds.width),
            height.min(bounds.height),
        );
        self.canvas
            .fill_round(card, 12.0 * self.layout.scale, PANEL);
        self.canvas.border_round(
            card,
            12.0 * self.layout.scale,
            self.layout.scale.max(1.0),
            LINE,
        );
        let (x, mut y) = (card.x + pad, card.y + pad + self.px(14.0));
        self.text(x, y, "Keys", self.semibold(18.0), TEXT);
        self.text_to(
            card.right() - pad,
            y,
            "any key closes this",
            self.regular(12.0),
            FAINT,
        );
        y += self.px(38.0);
        for (keys, does) in KEYS {
            self.text(x, y, keys, self.semibold(13.5), ACCENT);
            self.text(x + self.px(128.0), y, does, self.regular(13.5), TEXT);
            y += line;
        }
    }
}

/// Steps in a second, or seconds to a step.
fn rate(speed: f64) -> String {
    match speed {
        speed if speed >= 10.0 => format!("{speed:.0} / s"),
        speed if speed >= 0.5 => format!("{speed:.1} / s"),
        speed => format!("{:.1} s each", 1.0 / speed),
    }
}

/// Seconds as hours, minutes and seconds.
fn duration(seconds: f64) -> String {
    let all = seconds.round().min(359_999.0) as u64;
    let (hours, minutes, seconds) = (all / 3600, all / 60 % 60, all % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// A number with a real minus sign.
fn signed(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
    if value < 0.0 && !is_zero {
        format!("\u{2212}{text}")
    } else {
        text
    }
}

/// A factor, with as many digits as it needs.
fn factor(value: f64) -> String {
    let text = if value >= 10.0 {
        format!("{value:.1}")
    } else if value >= 0.1 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            (signed(-0.3, 1), signed(-0.01, 1), signed(1.0, 1)),
            ("−0.3".into(), "0.0".into(), "1.0".into())
        );
        assert_eq!(
            [1.0, 1.25, 0.8, 0.512, 15.258789, 0.015625].map(factor),
            ["1", "1.25", "0.8", "0.51", "15.3", "0.016"]
        );
        assert_eq!(
            [5.4, 65.0, 3700.0].map(duration),
            ["0:05", "1:05", "1:01:40"]
        );
        assert_eq!(
            [24.4, 3.21, 0.1].map(rate),
            ["24 / s", "3.2 / s", "10.0 s each"]
        );
    }
}
