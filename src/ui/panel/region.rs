//! The region of the selected prompt, drawn on the picture with the mouse.

use std::time::Instant;

use crate::Region;
use crate::live::{Severity, View};

use super::Panel;

/// A rectangle that is narrower or lower than this share of the picture is no region: it was a click, or a slip of the hand.
const LEAST: f64 = 0.03;
/// An edge that is at most this share of the picture's side away from the picture's edge snaps to it.
const SNAP: f64 = 0.015;
/// Shares are rounded to multiples of one over this number, so that recipes have short numbers.
const PARTS: f64 = 1000.0;

/// A drag over the picture: where it began and where the pointer is, as shares of the picture's width and height. Both may lie outside of
/// the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Drag {
    from: [f64; 2],
    to: [f64; 2],
}

impl Drag {
    /// Left, top, width and height of what it encloses of the picture; `None` if that is too small.
    fn rectangle(&self) -> Option<[f64; 4]> {
        let (left, width) = span(self.from[0], self.to[0])?;
        let (top, height) = span(self.from[1], self.to[1])?;
        Some([left, top, width, height])
    }
}

/// The start and the length of what lies between two places on one side of the picture.
fn span(a: f64, b: f64) -> Option<(f64, f64)> {
    let [start, end] = [a.min(b), a.max(b)].map(|share| {
        let share = match share {
            share if share < SNAP => 0.0,
            share if share > 1.0 - SNAP => 1.0,
            share => share,
        };
        (share * PARTS).round()
    });
    let length = end - start;
    (length >= LEAST * PARTS).then_some((start / PARTS, length / PARTS))
}

impl Panel {
    /// The rectangle that is being drawn, as shares of the picture, once it is large enough.
    pub(in crate::ui) fn drawn(&self) -> Option<[f64; 4]> {
        let drag = self.drag.filter(|_| self.is_drawing)?;
        drag.rectangle()
    }

    /// Begins to draw a region for the selected prompt; the second time, makes the whole picture its region again.
    pub(super) fn draw_or_remove_region(&mut self, now: Instant) {
        if self.is_drawing {
            return self.remove_region(now);
        }
        if self.prompts.value.is_empty() {
            return;
        }
        self.is_drawing = true;
        // it is drawn on the picture
        if self.view.value == View::Cutouts {
            self.view.set(View::Image, now);
        }
    }

    /// Makes the whole picture the region of the selected prompt, and ends drawing.
    pub(super) fn remove_region(&mut self, now: Instant) {
        self.end_drawing();
        self.set_region(None, now);
    }

    /// Ends drawing without a change.
    pub(super) fn end_drawing(&mut self) {
        self.is_drawing = false;
        self.drag = None;
    }

    /// The button is pressed at a place of the picture.
    pub(super) fn begin_drag(&mut self, at: [f64; 2]) {
        self.drag = Some(Drag { from: at, to: at });
    }

    /// The pointer moves, with the button held since it was pressed on the picture.
    pub(super) fn drag_to(&mut self, at: [f64; 2]) {
        if let Some(drag) = &mut self.drag {
            drag.to = at;
        }
    }

    /// The button is released. A click without a drag changes nothing, and drawing goes on.
    pub(super) fn end_drag(&mut self, now: Instant) {
        let drawn = self.drag.take().and_then(|drag| drag.rectangle());
        let Some(rectangle) = drawn else {
            return;
        };
        if self.is_drawing {
            self.is_drawing = false;
            self.set_region(Some(Region::Rectangle(rectangle)), now);
        } else {
            let text = "To draw a region for the selected prompt, press G, then drag";
            self.notify(text, Severity::Info, now);
        }
    }

    fn set_region(&mut self, region: Option<Region>, now: Instant) {
        if let Some(prompt) = self.prompts.value.get_mut(self.selected)
            && prompt.region != region
        {
            prompt.region = region;
            self.prompts.due = Some(now);
        }
    }
}
