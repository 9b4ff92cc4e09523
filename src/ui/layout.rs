//! Where things are in the window.

use super::panel::Panel;
use crate::draw::Rect;

/// The window size at which the growth is 1, in logical pixels.
const USUAL: (f32, f32) = (1040.0, 680.0);
/// The smallest and the largest growth.
const GROWTHS: (f32, f32) = (0.9, 2.5);
/// The exponent of growth: below 1, so that a larger window also shows more.
const GROWTH: f32 = 2.0 / 3.0;
/// The width of the panel at the side of the picture, in logical pixels like everything below.
const SIDE_WIDTH: f32 = 348.0;
/// Narrower or lower windows have a [`COMPACT`] panel.
const LEAST: (f32, f32) = (380.0, 280.0);
const FIGURES: f32 = 44.0;
const CURVE: f32 = 60.0;
const HEADING: f32 = 28.0;
/// The heading with a second line, which says what the bars measure.
const HEADING_TWO: f32 = 46.0;
/// A second line of a long prompt.
const LINE: f32 = 19.0;
const ADD: f32 = 36.0;
/// At most this many lines of messages, if nothing else needs the room; two always have room.
const MESSAGE_LINES: f32 = 6.0;
/// The line height of messages.
pub(super) const MESSAGE_LINE: f32 = 18.0;
const MESSAGE_GAP: f32 = 8.0;
/// The curve is left out if fewer prompts than this would fit.
const LEAST_ROWS: usize = 2;
/// A compact panel is at the side of the picture if it has this much room there.
const COMPACT_SIDE: f32 = 150.0;
/// A compact panel below the picture takes at most this share of the window.
const COMPACT_SHARE: f32 = 0.45;
/// Windows smaller than this have no room for text.
const COMPACT_LEAST: (f32, f32) = (120.0, 90.0);

/// The sizes of a panel's parts, in logical pixels.
struct Sizes {
    margin: f32,
    status: f32,
    row: f32,
    row_gap: f32,
    /// From a row's top to its text, and to its bar.
    text: f32,
    bar: f32,
    /// From a row's sides to its content.
    pad: f32,
    message: f32,
    footer: f32,
    gap: f32,
}

const FULL: Sizes = Sizes {
    margin: 20.0,
    status: 52.0,
    row: 56.0,
    row_gap: 6.0,
    text: 8.0,
    bar: 40.0,
    pad: 12.0,
    message: 44.0,
    footer: 20.0,
    gap: 12.0,
};

/// In a small window. Messages take the footer's place.
const COMPACT: Sizes = Sizes {
    margin: 8.0,
    status: 30.0,
    row: 42.0,
    row_gap: 2.0,
    text: 2.0,
    bar: 31.0,
    pad: 6.0,
    message: 0.0,
    footer: 17.0,
    gap: 2.0,
};

/// The factor by which everything is enlarged in a window of this size, on a display with `scale` pixels to a logical one. The user's
/// zoom is applied in addition.
pub(super) fn growth((width, height): (usize, usize), scale: f32) -> f32 {
    let (wide, high) = (width as f32 / scale, height as f32 / scale);
    let ratio = (wide / USUAL.0).min(high / USUAL.1);
    // in steps, so that glyphs are not rasterised again for every pixel while a window is resized
    let growth = (ratio.powf(GROWTH) * 20.0).round() / 20.0;
    growth.clamp(GROWTHS.0, GROWTHS.1)
}

/// Where one prompt is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowPlace {
    /// The prompt's index.
    pub(super) index: usize,
    /// The whole row.
    pub(super) all: Rect,
    /// The prompt's text.
    pub(super) text: Rect,
    /// The bar of its similarity.
    pub(super) bar: Rect,
    /// The column of its weight and similarity.
    pub(super) numbers: Rect,
}

/// Where everything is, in pixels. Parts that do not show are empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Layout {
    /// Real pixels to a logical one.
    pub(super) scale: f32,
    /// Whether the window is so small that only the most important parts are shown, in small letters.
    pub(super) compact: bool,
    /// The room of the picture.
    pub(super) picture: Rect,
    /// The ground of everything else.
    pub(super) panel: Rect,
    /// Steps, and the bar of progress.
    pub(super) status: Rect,
    /// Loss, speed, time left.
    pub(super) figures: Rect,
    /// Learning rate, fade, device.
    pub(super) settings: Rect,
    /// The loss so far.
    pub(super) curve: Rect,
    /// The heading of the prompts.
    pub(super) heading: Rect,
    /// The prompts that show.
    pub(super) rows: Vec<RowPlace>,
    /// The line that adds a prompt.
    pub(super) add: Rect,
    /// Messages.
    pub(super) message: Rect,
    /// The most used keys.
    pub(super) footer: Rect,
}

/// Whether a prompt, by its index, does not fit on one line of a width in pixels.
type IsLong<'a> = &'a dyn Fn(usize, i32) -> bool;

/// What is left of a column, from which places are taken in logical pixels.
struct Column {
    rest: Rect,
    scale: f32,
}

impl Column {
    fn top(&mut self, height: f32) -> Rect {
        self.rest.cut_top(px(self.scale, height))
    }

    fn bottom(&mut self, height: f32) -> Rect {
        self.rest.cut_bottom(px(self.scale, height))
    }

    fn left(&self) -> f32 {
        self.rest.height as f32 / self.scale
    }
}

fn px(scale: f32, logical: f32) -> i32 {
    (logical * scale).round() as i32
}

impl Layout {
    /// The layout of a window of this size in pixels, with `scale` pixels to a logical one. A long prompt gets two lines, if there is room.
    pub(super) fn new(
        panel: &Panel,
        is_long: IsLong<'_>,
        (width, height): (usize, usize),
        scale: f32,
    ) -> Self {
        let window = Rect::new(0, 0, width as i32, height as i32);
        let (wide, high) = (width as f32 / scale, height as f32 / scale);
        let mut layout = Self {
            scale,
            compact: wide < LEAST.0 || high < LEAST.1,
            picture: window,
            ..Self::default()
        };
        if layout.compact {
            layout.small(panel, is_long, window, (wide, high));
        } else if wide >= SIDE_WIDTH + LEAST.0.min(high * 0.6) {
            layout.side(panel, is_long, window);
        } else {
            layout.below(panel, is_long, window, high);
        }
        layout
    }

    /// The place of a prompt, if it shows.
    pub(super) fn row(&self, index: usize) -> Option<&RowPlace> {
        self.rows.iter().find(|place| place.index == index)
    }

    /// Logical pixels as real ones.
    pub(super) fn px(&self, logical: f32) -> i32 {
        px(self.scale, logical)
    }

    fn column(&self, rest: Rect) -> Column {
        let scale = self.scale;
        Column { rest, scale }
    }

    fn sizes(&self) -> &'static Sizes {
        if self.compact { &COMPACT } else { &FULL }
    }

    /// The panel at the right of the picture.
    fn side(&mut self, panel: &Panel, is_long: IsLong<'_>, mut window: Rect) {
        let margin = self.px(FULL.margin);
        self.panel = window.cut_right(self.px(SIDE_WIDTH));
        self.picture = window.inset(margin);
        let mut column = self.column(self.panel.inset(margin));
        self.status = column.top(FULL.status);
        self.foot(&mut column);
        let rows = panel.rows().len();
        let wanted = HEADING + ADD + rows.min(LEAST_ROWS) as f32 * (FULL.row + FULL.row_gap);
        let spare = column.left() - wanted;
        self.statistics(&mut column, spare);
        column.top(FULL.gap);
        self.prompts(panel, is_long, &mut column);
        self.widen_message(&column);
    }

    /// The panel below the picture, in two columns.
    fn below(&mut self, panel: &Panel, is_long: IsLong<'_>, mut window: Rect, high: f32) {
        let margin = self.px(FULL.margin);
        self.panel = window.cut_bottom(self.px((high * 0.42).clamp(176.0, 330.0)));
        self.picture = window.inset(margin);
        let mut right = self.panel.inset(margin);
        let left = ((right.width - margin) * 2 / 5).max(self.px(150.0).min(right.width / 2));
        let mut column = self.column(right.cut_left(left));
        right.cut_left(margin);
        self.status = column.top(FULL.status);
        self.foot(&mut column);
        let spare = column.left();
        self.statistics(&mut column, spare);
        self.widen_message(&column);
        let mut column = self.column(right);
        self.prompts(panel, is_long, &mut column);
    }

    /// A panel of few, small lines, at the side of the picture or below it.
    fn small(
        &mut self,
        panel: &Panel,
        is_long: IsLong<'_>,
        mut window: Rect,
        (wide, high): (f32, f32),
    ) {
        if wide < COMPACT_LEAST.0 || high < COMPACT_LEAST.1 {
            return;
        }
        let aspect = (panel.frame.as_ref()).map_or(1.0, |frame| {
            frame.image.width().max(1) as f32 / frame.image.height().max(1) as f32
        });
        // the width that a picture of the window's height leaves free
        let free = wide - high * aspect;
        let at_side = free >= COMPACT_SIDE;
        let room = high * if at_side { 1.0 } else { COMPACT_SHARE };
        let each = COMPACT.row + COMPACT.row_gap;
        let rest = COMPACT.status + COMPACT.footer + COMPACT.gap + 2.0 * COMPACT.margin;
        let fitting = ((room - rest).max(0.0) / each) as usize;
        // the line that is being typed is more important than the progress
        let typing = fitting == 0 && panel.editing.is_some();
        let margin = self.px(COMPACT.margin);
        if at_side {
            self.panel = window.cut_right(self.px(free.min(SIDE_WIDTH)));
        } else {
            let rows = panel.rows().len().min(fitting) as f32;
            let height = if typing {
                COMPACT.row + 2.0 * COMPACT.margin
            } else if room < rest {
                COMPACT.status + 2.0 * COMPACT.margin
            } else {
                rest + rows * each
            };
            self.panel = window.cut_bottom(self.px(height) + 1);
        }
        self.picture = window.inset(margin);
        let mut column = self.column(self.panel.inset(margin));
        if !typing {
            self.status = column.top(COMPACT.status);
            self.foot(&mut column);
            column.top(COMPACT.gap);
        }
        self.prompts(panel, is_long, &mut column);
        self.message = self.footer;
        self.widen_message(&column);
    }

    /// Figures, settings and curve, as far as they fit into some height.
    fn statistics(&mut self, column: &mut Column, mut spare: f32) {
        for (place, height) in [
            (&mut self.figures, FIGURES),
            (&mut self.settings, FIGURES),
            (&mut self.curve, CURVE),
        ] {
            spare -= height;
            if spare >= 0.0 {
                *place = column.top(height);
            }
        }
    }

    fn foot(&mut self, column: &mut Column) {
        let sizes = self.sizes();
        if column.left() >= sizes.footer {
            self.footer = column.bottom(sizes.footer);
        }
        if sizes.message > 0.0 && column.left() >= sizes.message {
            self.message = column.bottom(sizes.message);
        }
    }

    /// Gives messages the unused room above them.
    fn widen_message(&mut self, rest: &Column) {
        let most = self.px(MESSAGE_LINES * MESSAGE_LINE);
        let free = rest.rest.height - self.px(MESSAGE_GAP);
        let more = free.min(most - self.message.height).max(0);
        if !self.message.is_empty() {
            self.message.y -= more;
            self.message.height += more;
        }
    }

    /// The prompts, in what is left of a column: those around the selected one, if not all have room.
    fn prompts(&mut self, panel: &Panel, is_long: IsLong<'_>, column: &mut Column) {
        let sizes = self.sizes();
        let count = panel.rows().len();
        let each = sizes.row + sizes.row_gap;
        if !self.compact {
            let least = count.clamp(1, LEAST_ROWS) as f32 * each;
            if column.left() >= HEADING_TWO + least {
                self.heading = column.top(HEADING_TWO);
            } else if column.left() >= HEADING + sizes.row {
                self.heading = column.top(HEADING);
            }
        }
        // the last row needs no gap after it
        let room = ((column.left() + sizes.row_gap) / each) as usize;
        let room_and_add = ((column.left() - ADD).max(0.0) / each) as usize;
        let visible = if count <= room_and_add {
            count
        } else {
            room.min(count)
        };
        let first = (panel.selected + 1).saturating_sub(visible);
        let pad = self.px(sizes.pad);
        let numbers = self.px(48.0).min((column.rest.width - 2 * pad).max(0));
        let text = (column.rest.width - 2 * pad).max(0) - numbers;
        let mut spare = column.left() - ADD - visible as f32 * each;
        for index in first..first + visible {
            let mut second = 0.0;
            if spare >= LINE && is_long(index, text) {
                second = LINE;
                spare -= LINE;
            }
            let all = column.top(sizes.row + second);
            column.top(sizes.row_gap);
            let x = all.x + pad;
            let part = |top: f32, height: i32| Rect::new(x, all.y + self.px(top), text, height);
            self.rows.push(RowPlace {
                index,
                all,
                text: part(sizes.text, self.px(24.0 + second)),
                bar: part(sizes.bar + second, self.px(4.0).max(1)),
                numbers: Rect::new(x + text, all.y, numbers, all.height),
            });
        }
        if column.left() >= ADD {
            self.add = column.top(ADD);
        }
    }
}

#[cfg(test)]
mod tests;
