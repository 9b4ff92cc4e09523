//! The state of the render: steps, loss, speed, settings.

use std::rc::Rc;

use crate::draw::Rect;
use crate::live::Frame;

use super::super::panel::Panel;
use super::format::{duration, factor, rate};
use super::{ACCENT, CALM, FAINT, Painter, SOFT, TEXT};

impl Painter {
    /// Draws everything above the prompts.
    pub(super) fn status(&mut self, panel: &Panel) {
        let Some(frame) = &panel.frame else {
            return;
        };
        let layout = Rc::clone(&self.layout);
        if !layout.status.is_empty() {
            self.progress(layout.status, frame, panel.paused.value);
        }
        if !layout.figures.is_empty() {
            let known = frame.loss.is_finite() && frame.step > 0;
            let loss = known.then(|| format!("{:.4}", frame.loss));
            let speed = (frame.steps_per_second > 0.0).then(|| rate(frame.steps_per_second));
            let [loss, speed, left] = [loss, speed, time_left(frame)]
                .map(|number| number.unwrap_or_else(|| "–".to_owned()));
            let names = ["Loss", "Speed", "Left"];
            self.figures(layout.figures, names, [&loss, &speed, &left]);
        }
        if !layout.settings.is_empty() {
            let lr = format!("× {}", factor(panel.rate.value));
            let fade = match panel.fade.value {
                0 => "none".to_owned(),
                1 => "1 step".to_owned(),
                steps => format!("{steps} steps"),
            };
            let names = ["Learning rate", "Fade", "Device"];
            self.figures(layout.settings, names, [&lr, &fade, &frame.device]);
        }
        if !layout.curve.is_empty() {
            self.curve(layout.curve, &panel.losses);
        }
    }

    fn progress(&mut self, area: Rect, frame: &Frame, paused: bool) {
        let compact = self.layout.compact;
        // the sizes of the number and of what follows it, their baseline, and the bar's place
        let (number, words, down, bar) = if compact {
            (16.0, 13.0, 15.0, 22.0)
        } else {
            (24.0, 14.0, 22.0, 34.0)
        };
        let baseline = area.y + self.px(down);
        let (strong, soft) = (self.semibold(number), self.regular(words));
        let x = self.text(area.x, baseline, &frame.step.to_string(), strong, TEXT);
        let x = x + self.px(if compact { 5.0 } else { 7.0 });
        let state =
            (frame.finished.then_some(("Done", CALM))).or(paused.then_some(("Paused", ACCENT)));
        let mut right = area.right();
        if let Some((word, color)) = state {
            let width = self.fonts.width(word, self.semibold(12.0)).ceil() as i32 + self.px(18.0);
            right -= width;
            let up = area.y + self.px(if compact { -1.0 } else { 4.0 });
            self.chip((right, up), word, color);
        } else if compact && let Some(left) = time_left(frame) {
            right = self.text_to(right, baseline, &format!("{left} left"), soft, SOFT);
        }
        let of = format!("of {} steps", frame.steps);
        let room = (right - self.px(8.0) - x) as f32;
        let of = self.fonts.truncated(&of, soft, room);
        self.text(x, baseline, &of, soft, SOFT);
        let top = area.y + self.px(bar);
        let track = Rect::new(area.x, top, area.width, self.px(4.0).max(1));
        let share = frame.step as f32 / frame.steps.max(1) as f32;
        let color = if frame.finished { CALM } else { ACCENT };
        self.bar(track, share, color);
    }

    /// Draws three numbers with their names above, side by side.
    fn figures(&mut self, area: Rect, names: [&str; 3], values: [&str; 3]) {
        // without room for three, the one in the middle is left out
        let columns = if area.width < self.px(220.0) {
            [(0, 58), (0, 0), (58, 100)]
        } else {
            [(0, 37), (37, 70), (70, 100)]
        };
        for ((name, value), (start, end)) in names.into_iter().zip(values).zip(columns) {
            if start == end {
                continue;
            }
            let x = area.x + area.width * start / 100;
            let room = (area.width * (end - start) / 100 - self.px(4.0)) as f32;
            let style = self.regular(11.5);
            let name = self.fonts.truncated(name, style, room);
            self.text(x, area.y + self.px(12.0), &name, style, FAINT);
            let style = self.regular(14.5);
            let value = self.fonts.truncated(value, style, room);
            self.text(x, area.y + self.px(31.0), &value, style, TEXT);
        }
    }

    /// Draws the loss so far, between its least and its greatest value.
    fn curve(&mut self, area: Rect, losses: &[(usize, f64)]) {
        let (gap, height) = (self.px(8.0), area.height - self.px(16.0));
        let area = Rect::new(area.x, area.y + gap, area.width, height);
        let (Some(first), Some(last)) = (losses.first(), losses.last()) else {
            return;
        };
        let values = || losses.iter().map(|(_, loss)| *loss);
        let greatest = values().fold(f64::MIN, f64::max);
        let span = (greatest - values().fold(f64::MAX, f64::min)).max(1e-9);
        let steps = (last.0 - first.0).max(1) as f64;
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
}

/// The time left, if it is known.
fn time_left(frame: &Frame) -> Option<String> {
    (!frame.finished && frame.eta.is_finite() && frame.eta > 0.0).then(|| duration(frame.eta))
}
