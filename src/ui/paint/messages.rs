//! Messages, and the most used keys below them.

use std::time::Instant;

use crate::draw::Rect;
use crate::draw::elide::{self, one_line};
use crate::live::Severity;

use super::super::layout::MESSAGE_LINE;
use super::super::panel::Panel;
use super::{ACCENT, CALM, Color, FAINT, GROUND, PROBLEM, Painter, SOFT};

impl Painter {
    /// Draws the messages, the newest at the bottom. Returns whether there are any.
    pub(super) fn messages(&mut self, panel: &Panel, now: Instant) -> bool {
        let area = self.layout.message;
        let mut messages: Vec<(Option<Severity>, String)> = (panel.messages(now))
            .map(|message| (Some(message.severity), one_line(&message.text)))
            .collect();
        if let Some(frame) = panel.frame.as_ref().filter(|frame| frame.finished)
            && messages.is_empty()
            && !self.layout.compact
        {
            let words = match frame.extension {
                Some(steps) => {
                    format!("Done and saved. An edit would continue painting for {steps} steps.")
                }
                None => "Done and saved. R begins again from this picture.".to_owned(),
            };
            messages.push((None, words));
        }
        if area.is_empty() || messages.is_empty() {
            return false;
        }
        let style = self.regular(13.0);
        let height = self.px(MESSAGE_LINE);
        let free = ((area.height / height.max(1)) as usize).max(1);
        messages.truncate(free);
        // each has one line at least; errors take what they need of the others first
        let mut lines = vec![vec![]; messages.len()];
        let mut spare = free - messages.len();
        let mut order: Vec<usize> = (0..messages.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(messages[*index].0));
        for index in order {
            let (severity, text) = &messages[index];
            let room = (area.width - self.indent(*severity)) as f32;
            lines[index] = elide::lines(&self.fonts, text, style, room, spare + 1);
            spare -= lines[index].len().max(1) - 1;
        }
        let mut baseline = area.bottom() - self.px(if self.layout.compact { 5.0 } else { 12.0 });
        for ((severity, text), lines) in messages.iter().zip(&lines) {
            let color = match severity {
                None => SOFT,
                Some(Severity::Info) => CALM,
                Some(Severity::Warning) => ACCENT,
                Some(Severity::Error) => PROBLEM,
            };
            let x = area.x + self.indent(*severity);
            let first = baseline - height * (lines.len() as i32 - 1).max(0);
            for (line, down) in lines.iter().zip(0..) {
                self.text(x, first + height * down, &line.display(text), style, color);
            }
            if x > area.x {
                self.mark(area.x, first, color);
            }
            baseline = first - height;
        }
        true
    }

    /// The room for the mark before a message.
    fn indent(&self, severity: Option<Severity>) -> i32 {
        self.px(20.0) * i32::from(severity > Some(Severity::Info))
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

    /// Draws the most used keys.
    pub(super) fn footer(&mut self, panel: &Panel) {
        let area = self.layout.footer;
        let space = if panel.paused.value { "go on" } else { "pause" };
        let keys = if panel.editing.is_some() {
            [
                ("Enter", "keep"),
                ("Esc", "drop"),
                ("Tab", "next"),
                ("↑↓", "weight"),
            ]
        } else if panel.is_drawing {
            [
                ("Drag", "region"),
                ("G", "remove"),
                ("Esc", "cancel"),
                ("Tab", "next"),
            ]
        } else if panel.frame.as_ref().is_some_and(|frame| frame.finished) {
            [
                ("Enter", "edit"),
                ("R", "again"),
                ("H", "keys"),
                ("Q", "close"),
            ]
        } else {
            [
                ("Enter", "edit"),
                ("Space", space),
                ("H", "keys"),
                ("Q", "stop"),
            ]
        };
        let baseline = area.bottom() - self.px(5.0);
        let (name, meaning) = (self.semibold(12.0), self.regular(12.0));
        let mut x = area.x;
        for (key, means) in keys {
            let width = |text: &str, style| self.fonts.width(text, style) as i32;
            let end = x + width(key, name) + self.px(5.0) + width(means, meaning);
            if end > area.right() {
                break;
            }
            x = self.text(x, baseline, key, name, SOFT) + self.px(5.0);
            x = self.text(x, baseline, means, meaning, FAINT) + self.px(16.0);
        }
    }
}
