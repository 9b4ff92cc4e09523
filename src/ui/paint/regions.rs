//! Regions: their outlines on the picture, and their names in the list of prompts.

use crate::Region;
use crate::draw::{Fonts, Rect, Style, Weight, elide};
use crate::live::View;

use super::super::layout::RowPlace;
use super::super::panel::{Panel, Row};
use super::{ACCENT, Color, GROUND, Painter, SOFT, TEXT};

/// Instructions while a region is drawn, from the longest wording to the shortest.
const HINTS: [&str; 3] = [
    "Drag over what the selected prompt is about",
    "Drag its region",
    "Drag",
];

/// The longest name of a region that is shown in full, in logical pixels: names of files may be longer.
const LONGEST: f32 = 84.0;

impl Painter {
    /// Outlines the regions of all prompts while one is drawn, or while the selected prompt has one.
    pub(super) fn regions(&mut self, panel: &Panel, rows: &[Row]) {
        let region = |row: &Row| row.prompt.region.as_ref().and_then(Region::rectangle);
        let selected = rows.get(panel.selected).and_then(region);
        let is_image = (panel.frame.as_ref()).is_some_and(|frame| frame.view == View::Image);
        if !is_image || selected.is_none() && !panel.is_drawing {
            return;
        }
        for (index, row) in rows.iter().enumerate() {
            if index != panel.selected
                && let Some(rectangle) = region(row)
            {
                self.outline(rectangle, 1.0, TEXT);
            }
        }
        let drawn = panel.drawn();
        if let Some(rectangle) = drawn.or(selected) {
            self.outline(rectangle, 2.0, ACCENT);
        }
        if let Some(rectangle) = drawn {
            self.picture_chip(&[&extent(rectangle)]);
        } else if panel.is_drawing {
            self.picture_chip(&HINTS);
        }
    }

    /// Draws a rectangle on the picture, given in shares of it, with dark edges, so that it shows on every colour.
    fn outline(&mut self, [left, top, width, height]: [f64; 4], thickness: f32, color: Color) {
        let Some((place, _)) = &self.picture else {
            return;
        };
        let place = *place;
        let x = |share: f64| place.x + (share * f64::from(place.width)).round() as i32;
        let y = |share: f64| place.y + (share * f64::from(place.height)).round() as i32;
        let (x, right) = (x(left), x(left + width));
        let (y, bottom) = (y(top), y(top + height));
        let rect = Rect::new(x, y, right - x, bottom - y);
        let (line, edge) = (self.px(thickness).max(1), 1);
        self.frame(rect, line + 2 * edge, GROUND);
        self.frame(rect.inset(edge), line, color);
    }

    /// Fills the border of a rectangle, inwards.
    fn frame(&mut self, rect: Rect, thickness: i32, color: Color) {
        let mut rest = rect;
        for edge in [
            rest.cut_top(thickness),
            rest.cut_bottom(thickness),
            rest.cut_left(thickness),
            rest.cut_right(thickness),
        ] {
            self.canvas.fill(edge, color);
        }
    }

    /// Draws the name of a prompt's region behind its text.
    pub(super) fn region_name(&mut self, place: &RowPlace, region: &Region) {
        let scale = self.layout.scale;
        let name = name(&self.fonts, region, scale);
        let (right, baseline) = (place.text.right(), place.text.y + self.px(17.0));
        self.text_to(right, baseline, &name, name_style(scale), SOFT);
    }
}

fn name_style(scale: f32) -> Style {
    Style {
        size: 11.5 * scale,
        weight: Weight::Regular,
    }
}

/// The width that the name of a prompt's region takes from its text.
pub(super) fn room(fonts: &Fonts, row: &Row, scale: f32) -> f32 {
    row.prompt.region.as_ref().map_or(0.0, |region| {
        let name = name(fonts, region, scale);
        fonts.width(&name, name_style(scale))
    })
}

/// A region in a few letters.
fn name(fonts: &Fonts, region: &Region, scale: f32) -> String {
    let name = match region {
        Region::Named(_) => region.to_string(),
        Region::Rectangle(rectangle) => extent(*rectangle),
        Region::Image(path) => {
            let name = path.file_name().unwrap_or(path.as_os_str());
            elide::one_line(&name.to_string_lossy())
        }
    };
    fonts.truncated(&name, name_style(scale), LONGEST * scale)
}

/// How much of the picture a rectangle takes.
fn extent([_, _, width, height]: [f64; 4]) -> String {
    format!("{:.0} × {:.0} %", width * 100.0, height * 100.0)
}
