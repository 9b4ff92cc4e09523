//! The prompts: their texts, weights and similarities.

use super::super::canvas::Rect;
use super::super::elision::Line;
use super::super::layout::RowPlace;
use super::super::panel::{Panel, Row};
use super::super::text::Fonts;
use super::brush::Brush;
use super::numbers::signed;
use super::{
    ACCENT, AGAINST, FAINT, LINE, PROMPT_LINE, RAISED, SELECTION, SOFT, SUNKEN, TEXT, edited,
    prompt_style, words,
};

/// What the bars measure, from the longest wording to the shortest.
const MEASURES: [&str; 3] = [
    "bars: similarity to the picture, 0 to 1",
    "bars: similarity, 0 to 1",
    "bars: 0 to 1",
];

impl Brush<'_> {
    pub(super) fn prompts(&mut self, panel: &Panel, lines: &[Vec<Line>]) {
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
            let style = self.regular(11.5);
            self.text_to(right, baseline, "weight", style, FAINT);
            let second = baseline + self.px(17.0);
            if second < layout.heading.bottom() {
                let left = self.text_to(right, second, "cosine", style, FAINT);
                let room = (left - self.px(8.0) - layout.heading.x) as f32;
                let words = (MEASURES.iter())
                    .find(|words| self.fonts.width(words, style) <= room)
                    .copied()
                    .unwrap_or_default();
                self.text(layout.heading.x, second, words, style, FAINT);
            }
        }
        for (place, lines) in layout.rows.iter().zip(lines) {
            if let Some(row) = rows.get(place.index) {
                self.prompt(panel, place, row, lines);
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

    fn prompt(&mut self, panel: &Panel, place: &RowPlace, row: &Row, lines: &[Line]) {
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
        let style = prompt_style(self.layout.scale);
        let baseline = place.text.y + self.px(17.0);
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
                    let room = (text.width - self.px(3.0)) as f32;
                    let hint = self.fonts.fitted("What should appear?", style, room);
                    self.text(text.x + self.px(3.0), baseline, &hint, style, FAINT);
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
                let text = words(row);
                for (line, index) in lines.iter().zip(0..) {
                    let baseline = baseline + self.px(PROMPT_LINE) * index;
                    self.text(place.text.x, baseline, &line.shown(&text), style, color);
                }
            }
        }
        let color = if against {
            AGAINST
        } else if (weight - 1.0).abs() < 1e-9 {
            SOFT
        } else {
            TEXT
        };
        let right = place.numbers.right();
        self.text_to(
            right,
            baseline,
            &signed(weight, 1),
            self.regular(14.0),
            color,
        );
        // always of the same scale, so that lengths can be compared between prompts, moments and runs
        let share = row.similarity.unwrap_or(0.0) as f32;
        self.bar(place.bar, share, if against { AGAINST } else { ACCENT });
        let baseline = place.bar.y + self.px(6.0);
        let (text, color) = match row.similarity {
            Some(similarity) => (signed(similarity, 3), SOFT),
            None => ("…".to_owned(), FAINT),
        };
        self.text_to(right, baseline, &text, self.regular(12.0), color);
    }
}
