//! Draws the panel at one layout.

use std::time::Instant;

use crate::live::{Frame, Severity};

use super::super::canvas::{Canvas, Color, Rect};
use super::super::elision::{self, Line};
use super::super::layout::{Layout, MESSAGE_LINE};
use super::super::panel::Panel;
use super::super::text::{Fonts, Style, Weight};
use super::numbers::{duration, factor, rate};
use super::{ACCENT, CALM, FAINT, GROUND, LINE, PROBLEM, RAISED, SOFT, TEXT, one_line};

/// Draws at one layout.
pub(super) struct Brush<'a> {
    pub(super) fonts: &'a mut Fonts,
    pub(super) canvas: &'a mut Canvas,
    pub(super) layout: &'a Layout,
}

impl Brush<'_> {
    pub(super) fn style(&self, size: f32, weight: Weight) -> Style {
        Style {
            size: size * self.layout.scale,
            weight,
        }
    }

    pub(super) fn regular(&self, size: f32) -> Style {
        self.style(size, Weight::Regular)
    }

    pub(super) fn semibold(&self, size: f32) -> Style {
        self.style(size, Weight::Semibold)
    }

    pub(super) fn px(&self, logical: f32) -> i32 {
        self.layout.px(logical)
    }

    /// A text from a left edge on; returns its right edge.
    pub(super) fn text(
        &mut self,
        x: i32,
        baseline: i32,
        text: &str,
        style: Style,
        color: Color,
    ) -> i32 {
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
    pub(super) fn text_to(
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
    pub(super) fn chip(&mut self, (x, y): (i32, i32), text: &str, color: Color) {
        let style = self.semibold(12.0);
        let (pad, height) = (self.px(9.0), self.px(22.0));
        let width = self.fonts.width(text, style).ceil() as i32 + 2 * pad;
        let rect = Rect::new(x, y, width, height);
        self.canvas.fill_round(rect, height as f32 / 2.0, RAISED);
        self.text(x + pad, y + self.px(15.5), text, style, color);
    }

    pub(super) fn waiting(&mut self) {
        let style = self.regular(15.0);
        let text = "Reading the models…";
        let area = self.layout.picture;
        let x = area.x + (area.width - self.fonts.width(text, style) as i32) / 2;
        self.text(x, area.y + area.height / 2, text, style, FAINT);
    }

    pub(super) fn panel(&mut self, panel: &Panel, lines: &[Vec<Line>], now: Instant) {
        let layout = self.layout;
        if let Some(frame) = panel.frame() {
            if !layout.status.is_empty() {
                self.status(layout.status, frame, panel.paused());
            }
            if !layout.figures.is_empty() {
                let speed = match frame.steps_per_second {
                    speed if speed > 0.0 => rate(speed),
                    _ => "–".to_owned(),
                };
                let left = left(frame).unwrap_or_else(|| "–".to_owned());
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
        self.prompts(panel, lines);
        let said = self.messages(panel, now);
        // in a small window both have one place
        let covered = said && layout.compact;
        if !covered && !layout.footer.is_empty() {
            self.footer(panel);
        }
    }

    fn status(&mut self, area: Rect, frame: &Frame, paused: bool) {
        let compact = self.layout.compact;
        // the number, what follows it, their baseline, and the bar's place
        let (number, words, down, bar) = if compact {
            (16.0, 13.0, 15.0, 22.0)
        } else {
            (24.0, 14.0, 22.0, 34.0)
        };
        let baseline = area.y + self.px(down);
        let (strong, soft) = (self.semibold(number), self.regular(words));
        let x = self.text(area.x, baseline, &frame.step.to_string(), strong, TEXT);
        let x = x + self.px(if compact { 5.0 } else { 7.0 });
        let state = if frame.finished {
            Some(("Done", CALM))
        } else if paused {
            Some(("Paused", ACCENT))
        } else {
            None
        };
        let mut right = area.right();
        if let Some((word, color)) = state {
            let width = self.fonts.width(word, self.semibold(12.0)).ceil() as i32 + self.px(18.0);
            right -= width;
            let up = area.y + self.px(if compact { -1.0 } else { 4.0 });
            self.chip((right, up), word, color);
        } else if compact && let Some(left) = left(frame) {
            right = self.text_to(right, baseline, &format!("{left} left"), soft, SOFT);
        }
        let of = format!("of {} steps", frame.steps);
        let of = self
            .fonts
            .fitted(&of, soft, (right - self.px(8.0) - x) as f32);
        self.text(x, baseline, &of, soft, SOFT);
        let track = Rect::new(
            area.x,
            area.y + self.px(bar),
            area.width,
            self.px(4.0).max(1),
        );
        let share = frame.step as f32 / frame.steps.max(1) as f32;
        let color = if frame.finished { CALM } else { ACCENT };
        self.bar(track, share, color);
    }

    /// A bar, filled from the left by a share of 0..=1.
    pub(super) fn bar(&mut self, track: Rect, share: f32, color: Color) {
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

    /// The messages, the newest at the bottom. Returns whether there are any.
    fn messages(&mut self, panel: &Panel, now: Instant) -> bool {
        let area = self.layout.message;
        let mut said: Vec<(Option<Severity>, String)> = (panel.messages(now))
            .map(|said| (Some(said.severity), one_line(&said.text)))
            .collect();
        if let Some(frame) = panel.frame().filter(|frame| frame.finished)
            && said.is_empty()
            && !self.layout.compact
        {
            let words = match frame.extension {
                Some(steps) => {
                    format!("Done and saved. An edit would continue painting for {steps} steps.")
                }
                None => "Done and saved. R begins again from this picture.".to_owned(),
            };
            said.push((None, words));
        }
        if area.is_empty() || said.is_empty() {
            return false;
        }
        let style = self.regular(13.0);
        let line = self.px(MESSAGE_LINE);
        let free = ((area.height / line.max(1)) as usize).max(1);
        said.truncate(free);
        let set = |brush: &Self, (severity, text): &(Option<Severity>, String), most| {
            let room = (area.width - brush.indent(*severity)) as f32;
            elision::lines(brush.fonts, text, style, room, most)
        };
        // each has one line at least; errors take what they need of the others first
        let mut most = vec![1; said.len()];
        let mut spare = free - said.len();
        let mut order: Vec<usize> = (0..said.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(said[*index].0));
        for index in order {
            let more = set(self, &said[index], spare + 1).len().max(1) - 1;
            most[index] += more;
            spare -= more;
        }
        let mut baseline = area.bottom() - self.px(if self.layout.compact { 5.0 } else { 12.0 });
        for (said, most) in said.iter().zip(most) {
            let (severity, text) = said;
            let color = match severity {
                None => SOFT,
                Some(Severity::Info) => CALM,
                Some(Severity::Warning) => ACCENT,
                Some(Severity::Error) => PROBLEM,
            };
            let x = area.x + self.indent(*severity);
            let lines = set(self, said, most);
            let first = baseline - line * (lines.len() as i32 - 1).max(0);
            for (shown, down) in lines.iter().zip(0..) {
                self.text(x, first + line * down, &shown.shown(text), style, color);
            }
            if x > area.x {
                self.mark(area.x, first, color);
            }
            baseline = first - line;
        }
        true
    }

    /// The room for the mark before a message.
    fn indent(&self, severity: Option<Severity>) -> i32 {
        if severity > Some(Severity::Info) {
            self.px(20.0)
        } else {
            0
        }
    }

    /// An exclamation mark on a disc at the left of a line, so that errors are not marked by colour alone.
    fn mark(&mut self, x: i32, baseline: i32, color: Color) {
        let side = self.px(14.0);
        let disc = Rect::new(x, baseline - self.px(12.0), side, side);
        self.canvas.fill_round(disc, side as f32 / 2.0, color);
        let style = self.semibold(11.0);
        let at = x + (side - self.fonts.width("!", style).round() as i32) / 2;
        self.text(at, disc.y + self.px(11.0), "!", style, GROUND);
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
        } else if panel.frame().is_some_and(|frame| frame.finished) {
            &[
                ("Enter", "edit"),
                ("R", "again"),
                ("H", "keys"),
                ("Q", "close"),
            ]
        } else {
            let space = if panel.paused() { "go on" } else { "pause" };
            &[
                ("Enter", "edit"),
                ("Space", space),
                ("H", "keys"),
                ("Q", "stop"),
            ]
        };
        let baseline = area.bottom() - self.px(5.0);
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
}

/// The time left, if it is known.
fn left(frame: &Frame) -> Option<String> {
    (!frame.finished && frame.eta.is_finite() && frame.eta > 0.0).then(|| duration(frame.eta))
}
