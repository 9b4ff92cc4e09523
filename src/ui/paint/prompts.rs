//! The prompts: their texts, weights and similarities.

use std::rc::Rc;

use crate::draw::elide::Line;
use crate::draw::{Fonts, Rect};

use super::super::layout::RowPlace;
use super::super::panel::{Editing, Panel, Row};
use super::format::signed;
use super::{
    ACCENT, AGAINST, FAINT, LINE, PROMPT_LINE, Painter, RAISED, SELECTION, SOFT, SUNKEN, TEXT,
    label, prompt_style,
};

/// What the bars measure, from the longest wording to the shortest.
const MEASURES: [&str; 3] = [
    "bars: similarity to the picture, 0 to 1",
    "bars: similarity, 0 to 1",
    "bars: 0 to 1",
];

impl Painter {
    /// Draws the prompts with their heading, and the line that adds one.
    pub(super) fn prompts(&mut self, panel: &Panel, rows: &[Row]) {
        let layout = Rc::clone(&self.layout);
        if !layout.heading.is_empty() {
            self.heading(layout.heading, rows.len());
        }
        let lines = std::mem::take(&mut self.lines);
        for (place, lines) in layout.rows.iter().zip(&lines) {
            if let Some(row) = rows.get(place.index) {
                self.prompt(panel, place, row, lines);
            }
        }
        self.lines = lines;
        if !layout.add.is_empty() {
            let (x, baseline) = (layout.add.x + self.px(12.0), layout.add.y + self.px(22.0));
            let end = self.text(x, baseline, "+", self.regular(15.0), FAINT);
            let (x, style) = (end + self.px(8.0), self.regular(14.0));
            self.text(x, baseline, "New prompt", style, FAINT);
            self.key_to(layout.add.right() - self.px(12.0), baseline, "N");
        }
    }

    fn heading(&mut self, area: Rect, count: usize) {
        let baseline = area.y + self.px(14.0);
        let style = self.semibold(13.0);
        let end = self.text(area.x, baseline, "Prompts", style, SOFT);
        let rows = &self.layout.rows;
        if count > rows.len()
            && let (Some(first), Some(last)) = (rows.first(), rows.last())
        {
            let which = format!("{}–{} of {count}", first.index + 1, last.index + 1);
            let (x, style) = (end + self.px(8.0), self.regular(12.0));
            self.text(x, baseline, &which, style, FAINT);
        }
        let right = area.right() - self.px(12.0);
        let style = self.regular(11.5);
        self.text_to(right, baseline, "weight", style, FAINT);
        let second = baseline + self.px(17.0);
        if second < area.bottom() {
            let left = self.text_to(right, second, "cosine", style, FAINT);
            let room = (left - self.px(8.0) - area.x) as f32;
            let fits = |words: &&&str| self.fonts.width(words, style) <= room;
            if let Some(words) = MEASURES.iter().find(fits) {
                self.text(area.x, second, words, style, FAINT);
            }
        }
    }

    /// Draws a key's name, as on a key, ending at a right edge.
    fn key_to(&mut self, right: i32, baseline: i32, name: &str) {
        let style = self.semibold(11.0);
        let (pad, up, height) = (self.px(6.0), self.px(14.0), self.px(19.0));
        let width = (self.fonts.width(name, style).ceil() as i32 + 2 * pad).max(self.px(20.0));
        let rect = Rect::new(right - width, baseline - up, width, height);
        let scale = self.layout.scale;
        (self.canvas).border_round(rect, 4.0 * scale, scale.max(1.0), LINE);
        let x = rect.x + (width - self.fonts.width(name, style).round() as i32) / 2;
        self.text(x, baseline, name, style, FAINT);
    }

    fn prompt(&mut self, panel: &Panel, place: &RowPlace, row: &Row, lines: &[Line]) {
        let editing = (panel.editing.as_ref()).filter(|editing| editing.row == place.index);
        let is_selected = panel.selected == place.index;
        let scale = self.layout.scale;
        let radius = 6.0 * scale;
        if editing.is_some() {
            self.canvas.fill_round(place.all, radius, SUNKEN);
            (self.canvas).border_round(place.all, radius, 1.5 * scale, ACCENT);
        } else if is_selected {
            self.canvas.fill_round(place.all, radius, RAISED);
        }
        let baseline = place.text.y + self.px(17.0);
        if let Some(editing) = editing {
            self.edited(editing, place);
        } else {
            let is_text = row.text.is_some();
            let color = if is_text { TEXT } else { SOFT };
            let (text, style) = (label(row), prompt_style(scale));
            for (line, index) in lines.iter().zip(0..) {
                let baseline = baseline + self.px(PROMPT_LINE) * index;
                self.text(place.text.x, baseline, &line.display(&text), style, color);
            }
            if let Some(region) = &row.prompt.region {
                self.region_name(place, region);
            }
        }
        let weight = panel.weight(&row.prompt);
        let against = weight < 0.0;
        let color = if against {
            AGAINST
        } else if (weight - 1.0).abs() < 1e-9 {
            SOFT
        } else {
            TEXT
        };
        let (right, style) = (place.numbers.right(), self.regular(14.0));
        self.text_to(right, baseline, &signed(weight, 1), style, color);
        // always of the same scale, so that lengths can be compared between prompts, moments and runs
        let share = row.similarity.unwrap_or(0.0) as f32;
        self.bar(place.bar, share, if against { AGAINST } else { ACCENT });
        let (text, color) = match row.similarity {
            Some(similarity) => (signed(similarity, 3), SOFT),
            None => ("…".to_owned(), FAINT),
        };
        let baseline = place.bar.y + self.px(6.0);
        self.text_to(right, baseline, &text, self.regular(12.0), color);
    }

    /// Draws the text that is being edited: on one line, vertically centred in the text's place.
    fn edited(&mut self, editing: &Editing, place: &RowPlace) {
        let height = self.px(24.0).min(place.text.height);
        let top = place.text.y + (place.text.height - height) / 2;
        let area = Rect::new(place.text.x, top, place.text.width, height);
        let (line, style) = (editing.line.text(), prompt_style(self.layout.scale));
        let x = area.x as f32 - editing.scroll;
        let at =
            |fonts: &Fonts, offset: usize| (x + fonts.width(&line[..offset], style)).round() as i32;
        let selection = editing.line.selection();
        let from = at(&self.fonts, selection.start);
        let selected = at(&self.fonts, selection.end) - from;
        let selected = Rect::new(from, area.y, selected, height);
        self.canvas.fill(selected.intersection(area), SELECTION);
        let clip = Rect::new(area.x - 1, area.y, area.width + 1, height);
        let baseline = area.y + self.px(17.0);
        let start = (x, baseline as f32);
        (self.fonts).draw(&mut self.canvas, start, line, style, TEXT, clip);
        if line.is_empty() {
            let room = (area.width - self.px(3.0)) as f32;
            let hint = self.fonts.truncated("What should appear?", style, room);
            self.text(area.x + self.px(3.0), baseline, &hint, style, FAINT);
        }
        let x = at(&self.fonts, editing.line.caret());
        let (gap, width) = (self.px(2.0), self.px(1.5).max(1));
        let caret = Rect::new(x, area.y + gap, width, height - self.px(4.0));
        self.canvas.fill(caret.intersection(clip), ACCENT);
    }
}
