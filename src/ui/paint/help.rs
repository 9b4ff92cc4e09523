//! The help: a card with all keys.

use super::{ACCENT, FAINT, GROUND, LINE, PANEL, Painter, TEXT};
use crate::draw::Rect;

/// Keys, and what they do.
const KEYS: [(&str, &str); 16] = [
    ("Enter, click", "edit the prompt"),
    ("Enter / Esc", "keep the edit / drop it"),
    ("Tab", "to the next prompt"),
    ("N / X", "add a prompt / remove it"),
    ("↑ / ↓", "its weight (with Shift: faster)"),
    ("G, drag", "draw its region (G G: remove it)"),
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

/// The largest and smallest line height, and the font sizes that go with them, in logical pixels.
const LINES: (f32, f32) = (27.0, 15.0);
const LETTERS: (f32, f32) = (13.5, 11.5);
const WIDTH: f32 = 430.0;
/// The width of the keys' column at the largest font size.
const COLUMN: f32 = 128.0;
const HEADING: f32 = 44.0;

impl Painter {
    /// Draws a card with all keys over everything.
    pub(super) fn help(&mut self) {
        self.canvas.overlay(GROUND, 190);
        let bounds = self.canvas.bounds();
        let scale = self.layout.scale;
        let high = bounds.height as f32 / scale;
        let count = KEYS.len() as f32;
        // in small windows, first the line height shrinks, then the heading is left out, then lines
        let mut pad = 28.0_f32.min(high / 12.0);
        let mut heading = HEADING;
        let mut free = high - heading - 2.0 * pad;
        if free / count < LINES.1 {
            (pad, heading) = (6.0, 0.0);
            free = high - 2.0 * pad;
        }
        let line = (free / count).clamp(LINES.1, LINES.0);
        let visible = KEYS.len().min((free / line).max(0.0) as usize);
        let tightness = (LINES.0 - line) / (LINES.0 - LINES.1);
        let letters = LETTERS.0 + (LETTERS.1 - LETTERS.0) * tightness;
        let height = self.px(line * visible as f32 + heading + 2.0 * pad);
        let (width, height) = (self.px(WIDTH).min(bounds.width), height.min(bounds.height));
        let (left, top) = ((bounds.width - width) / 2, (bounds.height - height) / 2);
        let card = Rect::new(left, top, width, height);
        self.canvas.fill_round(card, 12.0 * scale, PANEL);
        (self.canvas).border_round(card, 12.0 * scale, scale.max(1.0), LINE);
        let pad = self.px(pad.max(12.0));
        let (left, right) = (card.x + pad, card.right() - pad);
        let mut y = (card.height - self.px(line * visible as f32)) as f32 / 2.0;
        if heading > 0.0 {
            let baseline = card.y + pad + self.px(14.0);
            let end = self.text(left, baseline, "Keys", self.semibold(18.0), TEXT);
            let (words, style) = ("any key closes this", self.regular(12.0));
            if end + self.px(12.0) + (self.fonts.width(words, style) as i32) < right {
                self.text_to(right, baseline, words, style, FAINT);
            }
            y = (pad + self.px(HEADING)) as f32;
        }
        let (keys_style, style) = (self.semibold(letters), self.regular(letters));
        let does_at = left + self.px(COLUMN * letters / LETTERS.0);
        for (index, (keys, does)) in KEYS.iter().take(visible).enumerate() {
            let middle = card.y as f32 + y + (index as f32 + 0.5) * line * scale;
            let baseline = (middle + 0.36 * letters * scale).round() as i32;
            self.text(left, baseline, keys, keys_style, ACCENT);
            let does = self.fonts.truncated(does, style, (right - does_at) as f32);
            self.text(does_at, baseline, &does, style, TEXT);
        }
    }
}
