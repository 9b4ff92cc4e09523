//! Where things are in the window.

use super::canvas::Rect;
use super::panel::Panel;

/// The window size at which everything is drawn without growth, in logical pixels.
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
/// At most this many lines of messages, if nothing else needs the room; two are always free.
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
pub fn growth((width, height): (usize, usize), scale: f32) -> f32 {
    let (wide, high) = (width as f32 / scale, height as f32 / scale);
    let ratio = (wide / USUAL.0).min(high / USUAL.1);
    // in steps, so that glyphs are not rasterised again for every pixel while a window is resized
    let growth = (ratio.powf(GROWTH) * 20.0).round() / 20.0;
    growth.clamp(GROWTHS.0, GROWTHS.1)
}

/// Where one prompt is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowPlace {
    /// Its index.
    pub index: usize,
    /// All of it.
    pub all: Rect,
    /// Its text.
    pub text: Rect,
    /// The bar of its similarity.
    pub bar: Rect,
    /// The column of its weight and similarity.
    pub numbers: Rect,
}

/// Where everything is, in pixels. What does not show is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Real pixels to a logical one.
    pub scale: f32,
    /// Whether the window is so small that only the most important parts are shown, in small letters.
    pub compact: bool,
    /// The room of the picture.
    pub picture: Rect,
    /// The ground of everything else.
    pub panel: Rect,
    /// Steps, and the bar of progress.
    pub status: Rect,
    /// Loss, speed, time left.
    pub figures: Rect,
    /// Learning rate, fade, device.
    pub settings: Rect,
    /// The loss so far.
    pub curve: Rect,
    /// The heading of the prompts.
    pub heading: Rect,
    /// The prompts that show.
    pub rows: Vec<RowPlace>,
    /// The line that adds a prompt.
    pub add: Rect,
    /// What the person should know.
    pub message: Rect,
    /// The most used keys.
    pub footer: Rect,
}

/// Takes space from the top of a column.
struct Column {
    rest: Rect,
    scale: f32,
}

impl Column {
    fn top(&mut self, height: f32) -> Rect {
        let height = px(self.scale, height).min(self.rest.height);
        let taken = Rect::new(self.rest.x, self.rest.y, self.rest.width, height);
        self.rest = Rect::new(
            self.rest.x,
            self.rest.y + height,
            self.rest.width,
            self.rest.height - height,
        );
        taken
    }

    fn bottom(&mut self, height: f32) -> Rect {
        let height = px(self.scale, height).min(self.rest.height);
        self.rest.height -= height;
        Rect::new(self.rest.x, self.rest.bottom(), self.rest.width, height)
    }

    fn left(&self) -> f32 {
        self.rest.height as f32 / self.scale
    }
}

fn px(scale: f32, logical: f32) -> i32 {
    (logical * scale).round() as i32
}

impl Layout {
    /// The layout of a window of this size in pixels, with `scale` pixels to a logical one. `is_long` says whether a prompt does not fit
    /// on one line of a width in pixels: it gets two, if there is room.
    pub fn new(
        panel: &Panel,
        width: usize,
        height: usize,
        scale: f32,
        is_long: &dyn Fn(usize, i32) -> bool,
    ) -> Self {
        let window = Rect::new(0, 0, width as i32, height as i32);
        let (wide, high) = (width as f32 / scale, height as f32 / scale);
        let mut layout = Self {
            scale,
            compact: wide < LEAST.0 || high < LEAST.1,
            picture: window,
            panel: Rect::default(),
            status: Rect::default(),
            figures: Rect::default(),
            settings: Rect::default(),
            curve: Rect::default(),
            heading: Rect::default(),
            rows: vec![],
            add: Rect::default(),
            message: Rect::default(),
            footer: Rect::default(),
        };
        if layout.compact {
            layout.small(panel, window, (wide, high), is_long);
        } else if wide >= SIDE_WIDTH + LEAST.0.min(high * 0.6) {
            layout.beside(panel, window, is_long);
        } else {
            layout.below(panel, window, high, is_long);
        }
        layout
    }

    /// Logical pixels as real ones.
    pub fn px(&self, logical: f32) -> i32 {
        px(self.scale, logical)
    }

    fn column(&self, rest: Rect) -> Column {
        Column {
            rest,
            scale: self.scale,
        }
    }

    fn sizes(&self) -> &'static Sizes {
        if self.compact { &COMPACT } else { &FULL }
    }

    /// The panel at the right of the picture.
    fn beside(&mut self, panel: &Panel, window: Rect, is_long: &dyn Fn(usize, i32) -> bool) {
        let side = self.px(SIDE_WIDTH);
        let margin = self.px(FULL.margin);
        self.panel = Rect::new(window.right() - side, 0, side, window.height);
        self.picture = Rect::new(0, 0, window.width - side, window.height).inset(margin);
        let mut column = self.column(self.panel.inset(margin));
        self.status = column.top(FULL.status);
        self.foot(&mut column);
        let rows = panel.rows().len();
        let wanted = HEADING + ADD + rows.min(LEAST_ROWS) as f32 * (FULL.row + FULL.row_gap);
        let mut spare = column.left() - wanted;
        let mut fits = |height: f32| {
            spare -= height;
            spare >= 0.0
        };
        if fits(FIGURES) {
            self.figures = column.top(FIGURES);
        }
        if fits(FIGURES) {
            self.settings = column.top(FIGURES);
        }
        if fits(CURVE) {
            self.curve = column.top(CURVE);
        }
        column.top(FULL.gap);
        self.prompts(panel, &mut column, is_long);
        self.widen_message(&column);
    }

    /// The panel below the picture, in two columns.
    fn below(
        &mut self,
        panel: &Panel,
        window: Rect,
        high: f32,
        is_long: &dyn Fn(usize, i32) -> bool,
    ) {
        let margin = self.px(FULL.margin);
        let height = self
            .px((high * 0.42).clamp(176.0, 330.0))
            .min(window.height);
        self.panel = Rect::new(0, window.height - height, window.width, height);
        self.picture = Rect::new(0, 0, window.width, window.height - height).inset(margin);
        let inner = self.panel.inset(margin);
        let left = ((inner.width - margin) * 2 / 5).max(self.px(150.0).min(inner.width / 2));
        let mut column = self.column(Rect::new(inner.x, inner.y, left, inner.height));
        self.status = column.top(FULL.status);
        self.foot(&mut column);
        for place in [&mut self.figures, &mut self.settings] {
            if column.left() >= FIGURES {
                *place = column.top(FIGURES);
            }
        }
        if column.left() >= CURVE {
            self.curve = column.top(CURVE);
        }
        self.widen_message(&column);
        let right = Rect::new(
            inner.x + left + margin,
            inner.y,
            inner.width - left - margin,
            inner.height,
        );
        let mut column = self.column(right);
        self.prompts(panel, &mut column, is_long);
    }

    /// A panel of few, small lines, at the side of the picture or below it.
    fn small(
        &mut self,
        panel: &Panel,
        window: Rect,
        (wide, high): (f32, f32),
        is_long: &dyn Fn(usize, i32) -> bool,
    ) {
        if wide < COMPACT_LEAST.0 || high < COMPACT_LEAST.1 {
            return;
        }
        let aspect = (panel.frame()).map_or(1.0, |frame| {
            frame.width.max(1) as f32 / frame.height.max(1) as f32
        });
        // the width that a picture of the window's height leaves free
        let free = wide - high * aspect;
        let beside = free >= COMPACT_SIDE;
        let room = high * if beside { 1.0 } else { COMPACT_SHARE };
        let each = COMPACT.row + COMPACT.row_gap;
        let rest = COMPACT.status + COMPACT.footer + COMPACT.gap + 2.0 * COMPACT.margin;
        let fitting = ((room - rest).max(0.0) / each) as usize;
        // the line that is being typed is more important than the progress
        let typing = fitting == 0 && panel.editing().is_some();
        let margin = self.px(COMPACT.margin);
        if beside {
            let side = self.px(free.min(SIDE_WIDTH));
            self.panel = Rect::new(window.right() - side, 0, side, window.height);
            self.picture = Rect::new(0, 0, self.panel.x, window.height);
        } else {
            let rows = panel.rows().len().min(fitting) as f32;
            let height = if typing {
                COMPACT.row + 2.0 * COMPACT.margin
            } else if room < rest {
                COMPACT.status + 2.0 * COMPACT.margin
            } else {
                rest + rows * each
            };
            let height = (self.px(height) + 1).min(window.height);
            self.panel = Rect::new(0, window.height - height, window.width, height);
            self.picture = Rect::new(0, 0, window.width, self.panel.y);
        }
        self.picture = self.picture.inset(margin);
        let mut column = self.column(self.panel.inset(margin));
        if !typing {
            self.status = column.top(COMPACT.status);
            self.foot(&mut column);
            column.top(COMPACT.gap);
        }
        self.prompts(panel, &mut column, is_long);
        self.message = self.footer;
        self.widen_message(&column);
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
    fn prompts(
        &mut self,
        panel: &Panel,
        column: &mut Column,
        is_long: &dyn Fn(usize, i32) -> bool,
    ) {
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
        let shown = if count <= room_and_add {
            count
        } else {
            room.min(count)
        };
        let first = (panel.selected() + 1).saturating_sub(shown);
        let pad = self.px(sizes.pad);
        let numbers = self.px(48.0).min((column.rest.width - 2 * pad).max(0));
        let text = (column.rest.width - 2 * pad).max(0) - numbers;
        let mut spare = column.left() - ADD - shown as f32 * each;
        for index in first..first + shown {
            let mut height = sizes.row;
            if spare >= LINE && is_long(index, text) {
                height += LINE;
                spare -= LINE;
            }
            let all = column.top(height);
            column.top(sizes.row_gap);
            let second = height - sizes.row;
            let inner = Rect::new(all.x + pad, all.y, all.width - 2 * pad, all.height);
            self.rows.push(RowPlace {
                index,
                all,
                text: Rect::new(
                    inner.x,
                    all.y + self.px(sizes.text),
                    text,
                    self.px(24.0 + second),
                ),
                bar: Rect::new(
                    inner.x,
                    all.y + self.px(sizes.bar + second),
                    text,
                    self.px(4.0).max(1),
                ),
                numbers: Rect::new(inner.x + text, all.y, numbers, all.height),
            });
        }
        if column.left() >= ADD {
            self.add = column.top(ADD);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn disjoint(layout: &Layout) {
        let mut places = vec![
            layout.picture,
            layout.status,
            layout.figures,
            layout.settings,
            layout.curve,
            layout.heading,
            layout.add,
            layout.message,
            layout.footer,
        ];
        places.extend(layout.rows.iter().map(|row| row.all));
        if layout.compact {
            // a message takes the place of the keys, and nothing else
            places.retain(|place| *place != layout.footer);
        }
        for (index, a) in places.iter().enumerate() {
            for b in &places[index + 1..] {
                assert!(
                    a.intersection(*b).is_empty(),
                    "{a:?} and {b:?} in {layout:?}"
                );
            }
        }
    }

    #[test]
    fn nothing_lies_on_anything_else_at_any_size() {
        let panel = sample::panel();
        for scale in [1.0, 1.25, 2.0] {
            for width in (0..2400).step_by(83) {
                for height in (0..1800).step_by(97) {
                    let layout = Layout::new(&panel, width, height, scale, &|index, _| index == 0);
                    disjoint(&layout);
                    let window = Rect::new(0, 0, width as i32, height as i32);
                    assert_eq!(layout.panel.intersection(window), layout.panel);
                    assert!(
                        layout
                            .rows
                            .iter()
                            .all(|row| { layout.panel.intersection(row.all) == row.all })
                    );
                }
            }
        }
    }

    #[test]
    fn a_wide_window_has_its_panel_at_the_side() {
        let layout = Layout::new(&sample::panel(), 1000, 640, 1.0, &|_, _| true);
        assert_eq!((layout.panel.y, layout.panel.height), (0, 640));
        assert_eq!(layout.rows.len(), 3);
        assert!(!layout.add.is_empty());
    }

    #[test]
    fn a_high_window_has_its_panel_below() {
        let layout = Layout::new(&sample::panel(), 500, 900, 1.0, &|_, _| true);
        assert_eq!((layout.panel.x, layout.panel.width), (0, 500));
        assert!(!layout.rows.is_empty());
    }

    #[test]
    fn a_tiny_window_shows_the_picture_alone() {
        let layout = Layout::new(&sample::panel(), 110, 80, 1.0, &|_, _| true);
        assert_eq!(layout.picture, Rect::new(0, 0, 110, 80));
        assert!(layout.panel.is_empty() && layout.rows.is_empty());
    }

    #[test]
    fn the_panel_of_a_small_window_gives_way_without_vanishing() {
        let panel = sample::panel();
        for ((width, height), rows) in [((320, 240), 1), ((420, 240), 3), ((200, 160), 0)] {
            let layout = Layout::new(&panel, width, height, 0.9, &|_, _| false);
            assert!(!layout.status.is_empty(), "{width} x {height}: {layout:?}");
            assert_eq!(layout.rows.len(), rows, "{width} x {height}: {layout:?}");
            // the picture keeps more than half of what it could have at most
            let side = layout.picture.height.min(layout.picture.width);
            assert!(2 * side > height as i32, "{width} x {height}: {layout:?}");
        }
    }

    #[test]
    fn what_is_typed_shows_in_a_small_window() {
        use crate::preview::panel::{Held, Input, Key};
        let mut panel = sample::panel();
        let now = std::time::Instant::now();
        panel.input(&Input::Key(Key::End, Held::default()), now);
        panel.input(&Input::Key(Key::Enter, Held::default()), now);
        for (width, height) in [(320, 240), (240, 160), (160, 120)] {
            let layout = Layout::new(&panel, width, height, 0.9, &|_, _| false);
            let shown: Vec<usize> = layout.rows.iter().map(|row| row.index).collect();
            assert_eq!(shown, [2], "{width} x {height}: {layout:?}");
        }
    }

    #[test]
    fn things_grow_with_the_window_and_shrink_a_little() {
        assert_eq!(growth((1040, 680), 1.0), 1.0);
        assert_eq!(growth((2080, 1360), 2.0), 1.0);
        assert_eq!(growth((320, 240), 1.0), GROWTHS.0);
        assert_eq!(growth((0, 0), 1.0), GROWTHS.0);
        assert_eq!(growth((40_000, 40_000), 1.0), GROWTHS.1);
        let sizes = [(1280, 800), (1920, 1080), (2560, 1440), (3840, 2160)];
        let growths = sizes.map(|size| growth(size, 1.0));
        assert!(
            growths.windows(2).all(|pair| pair[0] < pair[1]),
            "{growths:?}"
        );
        assert!((1.3..1.5).contains(&growths[1]), "{growths:?}");
    }

    #[test]
    fn the_selected_prompt_shows() {
        use crate::preview::panel::{Held, Input, Key};
        let mut panel = sample::panel();
        let now = std::time::Instant::now();
        panel.input(&Input::Key(Key::End, Held::default()), now);
        let layout = Layout::new(&panel, 800, 420, 1.0, &|_, _| true);
        assert!(layout.rows.len() < 3, "{layout:?}");
        assert!(layout.rows.iter().any(|row| row.index == panel.selected()));
    }
}
