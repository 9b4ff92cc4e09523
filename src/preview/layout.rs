//! Where things are in the window.

use super::canvas::Rect;
use super::panel::Panel;

/// Logical pixels; [`Layout::px`] makes them real ones.
const MARGIN: f32 = 20.0;
const SIDE_WIDTH: f32 = 348.0;
/// Narrower or lower windows show the picture alone.
const LEAST: (f32, f32) = (380.0, 280.0);
const STATUS: f32 = 52.0;
const FIGURES: f32 = 44.0;
const CURVE: f32 = 60.0;
const HEADING: f32 = 28.0;
const ROW: f32 = 56.0;
/// A second line of a long prompt.
const LINE: f32 = 19.0;
const ROW_GAP: f32 = 6.0;
const ADD: f32 = 36.0;
const MESSAGE: f32 = 44.0;
const FOOTER: f32 = 20.0;
const GAP: f32 = 12.0;
/// Prompts that show at least before the curve gives way.
const LEAST_ROWS: usize = 2;

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
    /// Where things are in a window of this size in pixels, with so many pixels to a logical one. `is_long` says which prompts do not
    /// fit on a line of a width in pixels: they get two, if there is room.
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
        if wide < LEAST.0 || high < LEAST.1 {
            return layout;
        }
        if wide >= SIDE_WIDTH + LEAST.0.min(high * 0.6) {
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

    /// The panel at the right of the picture.
    fn beside(&mut self, panel: &Panel, window: Rect, is_long: &dyn Fn(usize, i32) -> bool) {
        let side = self.px(SIDE_WIDTH);
        let margin = self.px(MARGIN);
        self.panel = Rect::new(window.right() - side, 0, side, window.height);
        self.picture = Rect::new(0, 0, window.width - side, window.height).inset(margin);
        let mut column = self.column(self.panel.inset(margin));
        self.status = column.top(STATUS);
        self.foot(&mut column);
        let rows = panel.rows().len();
        let wanted = HEADING + ADD + rows.min(LEAST_ROWS) as f32 * (ROW + ROW_GAP);
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
        column.top(GAP);
        self.prompts(panel, column, is_long);
    }

    /// The panel below the picture, in two columns.
    fn below(
        &mut self,
        panel: &Panel,
        window: Rect,
        high: f32,
        is_long: &dyn Fn(usize, i32) -> bool,
    ) {
        let margin = self.px(MARGIN);
        let height = self
            .px((high * 0.42).clamp(176.0, 330.0))
            .min(window.height);
        self.panel = Rect::new(0, window.height - height, window.width, height);
        self.picture = Rect::new(0, 0, window.width, window.height - height).inset(margin);
        let inner = self.panel.inset(margin);
        let left = ((inner.width - margin) * 2 / 5).max(self.px(150.0).min(inner.width / 2));
        let mut column = self.column(Rect::new(inner.x, inner.y, left, inner.height));
        self.status = column.top(STATUS);
        self.foot(&mut column);
        for place in [&mut self.figures, &mut self.settings] {
            if column.left() >= FIGURES {
                *place = column.top(FIGURES);
            }
        }
        if column.left() >= CURVE {
            self.curve = column.top(CURVE);
        }
        let right = Rect::new(
            inner.x + left + margin,
            inner.y,
            inner.width - left - margin,
            inner.height,
        );
        self.prompts(panel, self.column(right), is_long);
    }

    fn foot(&mut self, column: &mut Column) {
        self.footer = column.bottom(FOOTER);
        if column.left() >= MESSAGE {
            self.message = column.bottom(MESSAGE);
        }
    }

    /// The prompts, in what is left of a column: those around the selected one, if not all have room.
    fn prompts(&mut self, panel: &Panel, mut column: Column, is_long: &dyn Fn(usize, i32) -> bool) {
        let count = panel.rows().len();
        if column.left() >= HEADING + ROW {
            self.heading = column.top(HEADING);
        }
        let each = ROW + ROW_GAP;
        let room = (column.left() / each) as usize;
        let room_and_add = ((column.left() - ADD).max(0.0) / each) as usize;
        let shown = if count <= room_and_add {
            count
        } else {
            room.min(count)
        };
        let first = (panel.selected() + 1).saturating_sub(shown);
        let pad = self.px(12.0);
        let numbers = self.px(48.0).min((column.rest.width - 2 * pad).max(0));
        let text = (column.rest.width - 2 * pad).max(0) - numbers;
        let mut spare = column.left() - ADD - shown as f32 * each;
        for index in first..first + shown {
            let mut height = ROW;
            if spare >= LINE && is_long(index, text) {
                height += LINE;
                spare -= LINE;
            }
            let all = column.top(height);
            column.top(ROW_GAP);
            let second = height - ROW;
            let inner = Rect::new(all.x + pad, all.y, all.width - 2 * pad, all.height);
            self.rows.push(RowPlace {
                index,
                all,
                text: Rect::new(inner.x, all.y + self.px(8.0), text, self.px(24.0 + second)),
                bar: Rect::new(
                    inner.x,
                    all.y + self.px(40.0 + second),
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
    fn a_small_window_shows_the_picture_alone() {
        let layout = Layout::new(&sample::panel(), 200, 200, 1.0, &|_, _| true);
        assert_eq!(layout.picture, Rect::new(0, 0, 200, 200));
        assert!(layout.panel.is_empty() && layout.rows.is_empty());
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
